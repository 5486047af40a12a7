"""MCAP, one file an item: what Foxglove draws and every MCAP reader opens.

Source: https://mcap.dev/spec. Of an aligned episode each file holds the messages that its rows hold, each once, with
native times; of a log it holds everything. Coded video passes on packet by packet, PNG and JPEG pass unchanged, other
pictures become PNG. A file's metadata says origin and facts; streams imagined beside real ones keep their mark.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from worldgate.core.atomic import atomic_dir, sync_dir
from worldgate.core.choices import settle
from worldgate.core.config import decode
from worldgate.core.digest import to_json
from worldgate.core.errors import UsageError
from worldgate.core.names import Name
from worldgate.core.streams import Origin, Stream
from worldgate.data.exports import Item, LeftOut, Shipment
from worldgate.data.logs.mcap import write_log

CARD = {
    "line": "MCAP: one file an episode or log, with native times",
    "inputs": "aligned episodes, or a log as it is",
    "source": "https://mcap.dev/spec",
}

_IMAGINED = f"{Origin.IMAGINED}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How the files are written."""

    profile: Literal["foxglove", "ros2"] = "foxglove"
    """Family of message types."""

    def __post_init__(self) -> None:
        settle(self)


def write(shipment: Shipment, out: Path) -> LeftOut:
    """Write ``<split>/episode_000000.mcap`` …, ``README.md`` and ``export.json``.

    Raises:
        UsageError: values or times that the container cannot hold.
        AlreadyExists: the folder exists.
    """
    config = decode(Config, shipment.options, where="export.mcap")
    listed: list[dict[str, Any]] = []
    with atomic_dir(out) as root:
        for number, item in enumerate(shipment.items):
            file = f"{Name(item.split)}/" if item.split else ""
            file += f"episode_{number:06d}.mcap"
            (root / file).parent.mkdir(exist_ok=True)
            facts = {"name": item.name, **item.facts, **({"split": item.split} if item.split else {}), **item.marks}
            real, imagined = _by_mark(item)
            write_log(root / file, real, origin=item.origin, facts=facts, profile=config.profile, imagined=imagined)
            listed.append({"file": file, "name": item.name, "origin": item.origin, "split": item.split, **item.marks})
        if not listed:
            raise UsageError("nothing to export", where=shipment.name)
        (root / "README.md").write_text(shipment.readme, encoding="utf-8")
        about = to_json({"source": shipment.source, "files": listed})
        (root / "export.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
        for folder in (p for p in root.rglob("*") if p.is_dir()):
            sync_dir(folder)
    return {}


def _by_mark(item: Item) -> tuple[list[Stream], list[Stream]]:
    """Streams of the file's own origin, and those that are imagined beside them under their bare names."""
    own: list[Stream] = []
    imagined: list[Stream] = []
    for stream in (part.stream for part in item.parts.values()):
        marked = stream.info.name.startswith(_IMAGINED) and item.origin is not Origin.IMAGINED
        bare = replace(stream.info, name=stream.info.name.removeprefix(_IMAGINED))
        (imagined if marked else own).append(replace(stream, info=bare) if marked else stream)
    return own, imagined
