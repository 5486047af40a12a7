"""LeRobot v3.0, as lerobot 0.4 and later load it: rows and videos of many episodes a file.

Source: https://github.com/huggingface/lerobot, dataset format v3.0. LeRobot's own time is ``frame_index / fps``; native
times of the messages that rows hold, events and text stand beside it, where lerobot does not look and Worldgate does.
Video that is coded already passes on packet by packet where each row holds the next frame; where rows repeat or miss
frames, pictures are encoded anew.

LeRobot cannot hold depth, segmentation or normals, a rate that is no whole number, pictures of odd size in a video, or
episodes of two origins in one dataset.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from worldgate.core.choices import settle
from worldgate.core.config import decode
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.streams import NUMERIC, Kind, Stream
from worldgate.data.exports import Item, LeftOut, Part, Shipment
from worldgate.data.logs.lerobot import Layout, LeRobotWriter, RowTimes

CARD = {
    "line": "LeRobot v3.0: parquet rows and videos, as lerobot 0.4 and later load them",
    "inputs": "aligned episodes of one origin, at a whole number of rows a second",
    "source": "https://github.com/huggingface/lerobot",
}

_TEXTUAL = frozenset({Kind.EVENT, Kind.TEXT})
_NO_PLACE = "LeRobot has no place for {kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How the dataset is written."""

    pictures: Literal["video", "image"] = "video"
    """``video`` (H.264 unless coded already), or ``image``: lossless PNG in the rows."""
    data_bytes: int = 100 << 20
    """When the next file of rows begins."""
    video_bytes: int = 200 << 20
    """When the next video file begins."""
    files_a_chunk: int = 1000

    def __post_init__(self) -> None:
        settle(self)


def write(shipment: Shipment, out: Path) -> LeftOut:
    """Write a LeRobot dataset.

    Raises:
        UsageError: a rate, a picture or names that LeRobot cannot hold.
        DataRefused: episodes of several origins.
        AlreadyExists: the folder exists.
    """
    config = decode(Config, shipment.options, where="export.lerobot")
    if len(shipment.origins) != 1:
        raise DataRefused(
            "a LeRobot dataset is of one origin",
            got=", ".join(sorted(shipment.origins)),
            hint="--to mcap, or a dataset of one origin: worldgate data subset",
        )
    left: dict[str, str] = {}
    items = iter(shipment.items)
    first = next(items, None)
    if first is None:
        raise UsageError("nothing to export", where=shipment.name)
    layout = Layout(data_bytes=config.data_bytes, video_bytes=config.video_bytes, files_a_chunk=config.files_a_chunk)
    with LeRobotWriter(
        out,
        fps=whole_rate(shipment.rate_hz, shipment.name),
        robot_type=str(first.facts.get("robot", "")),
        origin=next(iter(shipment.origins)),
        pictures=config.pictures,
        layout=layout,
        source=shipment.source,
        readme=shipment.readme,
        keep=False,
    ) as writer:
        for item in chain((first,), items):
            _add(writer, item, left)
    return left


def whole_rate(rate_hz: float, where: str) -> int:
    """LeRobot's frames a second; native times tell the true rate.

    Raises:
        UsageError: more than 1 % off a whole number.
    """
    rate = round(rate_hz)
    if rate < 1 or abs(rate_hz - rate) > 0.01 * rate:
        hint = "align at a whole rate: --contract with alignment.rate_hz"
        raise UsageError("LeRobot's rate is a whole number", got=f"{rate_hz:g} Hz", where=where, hint=hint)
    return rate


def _add(writer: LeRobotWriter, item: Item, left: dict[str, str]) -> None:
    parts = item.parts
    numbers = {name: part for name, part in parts.items() if part.info.kind in NUMERIC}
    cameras = {name: part for name, part in parts.items() if part.info.kind is Kind.IMAGE}
    texts = {name: part.stream for name, part in parts.items() if part.info.kind in _TEXTUAL}
    left |= {
        name: _NO_PLACE.format(kind=part.info.kind)
        for name, part in parts.items()
        if name not in {*numbers, *cameras, *texts}
    }
    task = str(item.facts.get("task", ""))
    writer.add_episode(
        {name: np.asarray(part.values()) for name, part in numbers.items()},
        {name: part.values() for name, part in cameras.items()},
        task=task,
        infos={name: part.info for name, part in (numbers | cameras).items()},
        facts={**{k: v for k, v in item.facts.items() if k != "task"}, **item.marks},
        split=item.split or "train",
        times={name: _times(part) for name, part in (numbers | cameras).items()},
        messages=texts,
    )


def _times(part: Part) -> RowTimes:
    """The messages of the rows, by their numbers in the log."""
    held: Stream = part.stream
    none = np.int64(-1)
    index = np.append(part.index, none)[part.rows]
    time_ns = np.append(held.times_ns, np.int64(0))[part.rows]
    log_ns = None if held.log_times_ns is None else np.append(held.log_times_ns, np.int64(0))[part.rows]
    return RowTimes(index=index, time_ns=time_ns, log_ns=log_ns)
