"""One finished episode in the working folder of :class:`~worldgate.data.logs.lerobot.LeRobotWriter`.

A folder ``episode-000000`` with ``rows.parquet``, ``times.parquet`` and ``messages.parquet`` where there is something
to say, one ``<camera>.mp4`` a camera and ``episode.json``. It gets its name when all of it is on the disk: an episode
whose folder is there is whole, so the folders are the journal.

Shape legend: T rows, D values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from worldgate.core.config import decode
from worldgate.core.digest import canonical, read_json
from worldgate.core.errors import DataRefused, WorldgateError
from worldgate.core.streams import Array, StreamInfo
from worldgate.data.logs._lerobot_stats import Statistics
from worldgate.data.logs._lerobot_video import Camera

ABOUT: Final = "episode.json"
ROWS: Final = "rows.parquet"
TIMES: Final = "times.parquet"
MESSAGES: Final = "messages.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """What ``episode.json`` says."""

    length: int
    task: str
    split: str
    facts: str
    """What is known of the episode, as JSON text."""
    infos: Mapping[str, StreamInfo]
    """Streams of numbers, then cameras, then events and text."""
    dtypes: Mapping[str, str]
    """Element types of the streams of numbers."""
    cameras: Mapping[str, Camera]
    messages: tuple[str, ...] = ()
    """Streams of events and text, which stand beside the rows."""
    timed: tuple[str, ...] = ()
    """Streams whose native times stand beside the rows."""
    statistics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def stats(self) -> dict[str, Statistics]:
        """Statistics as arrays; JSON does not tell 1.0 from 1."""
        return {
            key: {n: np.asarray(v, np.int64 if n == "count" else np.float64) for n, v in stats.items()}
            for key, stats in self.statistics.items()
        }


def name_of(number: int) -> str:
    """Folder of an episode."""
    return f"episode-{number:06d}"


def save(folder: Path, fragment: Fragment) -> None:
    """Write ``episode.json``; counts of pixels and rows stay below 2^53, floats round-trip."""
    (folder / ABOUT).write_bytes(canonical(fragment))


def load(folder: Path) -> Fragment:
    """Read ``episode.json``.

    Raises:
        DataRefused: not what :func:`save` wrote.
    """
    try:
        return decode(Fragment, read_json((folder / ABOUT).read_bytes()), where=str(folder / ABOUT))
    except (OSError, ValueError, WorldgateError) as error:
        raise DataRefused("an unfinished recording that cannot be read", got=str(error)[:80], where=folder) from error


def lists(stats: Statistics) -> dict[str, Any]:
    """Statistics as JSON has them."""
    return {name: value.tolist() for name, value in stats.items()}


def column(value: Array) -> pa.Array:
    """A scalar column where D is 1, as lerobot has it, else lists of fixed length."""
    flat = pa.array(np.ascontiguousarray(value).reshape(-1))
    return flat if value.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, value.shape[1])
