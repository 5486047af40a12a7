"""rosbag2's ``metadata.yaml``: what it says, and where that contradicts the files.

Format: https://github.com/ros2/rosbag2 (``rosbag2_storage``), versions 1 to 9. It is a description written when the
recording ended, so the files are the truth: what differs becomes a finding and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldgate.core.errors import LogUnreadable
from worldgate.core.streams import Finding
from worldgate.data.logs._mcap_read import MessageSource
from worldgate.data.logs._yaml import read_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class BagMetadata:
    """What a bag says of itself."""

    files: tuple[str, ...]
    """Paths as written; before version 4 with the bag's own folder in front."""
    packed_messages: bool = False
    message_count: int = 0
    start_ns: int = 0
    duration_ns: int = 0
    topics: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Topic to type and message count."""
    spans_ns: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """File to the half-open span of its messages; from version 5 on."""
    distro: str = ""
    facts: Mapping[str, str | float | bool] = field(default_factory=dict)


def read_metadata(path: Path) -> BagMetadata:
    """Read a bag's ``metadata.yaml``.

    Raises:
        LogUnreadable: YAML that does not parse, an entry that is missing, or a storage that is not read.
    """
    tree = read_yaml(path)
    try:
        info = tree["rosbag2_bagfile_information"]
        storage, mode = str(info["storage_identifier"]), str(info.get("compression_mode") or "none").lower()
        if storage not in ("sqlite3", "mcap"):
            raise LogUnreadable("a bag whose storage is not read", got=storage[:40], where=path)
        if mode != "none" and str(info.get("compression_format")) != "zstd":
            got = str(info.get("compression_format"))[:40]
            raise LogUnreadable("a bag whose compression is not read", got=got, where=path)
        topics = {
            str(t["topic_metadata"]["name"]): (str(t["topic_metadata"]["type"]), int(t["message_count"]))
            for t in info["topics_with_message_count"]
        }
        distro = str(info.get("ros_distro") or "")
        custom = info.get("custom_data") or {}
        return BagMetadata(
            files=tuple(str(name) for name in info["relative_file_paths"]),
            packed_messages=mode == "message",
            message_count=int(info["message_count"]),
            start_ns=int(info["starting_time"]["nanoseconds_since_epoch"]),
            duration_ns=int(info["duration"]["nanoseconds"]),
            topics=topics,
            spans_ns={str(f["path"]): _span(f) for f in info.get("files") or ()},
            distro=distro,
            facts={**({"ros_distro": distro} if distro else {}), **{str(k): str(v) for k, v in custom.items()}},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise LogUnreadable("a metadata.yaml that does not follow rosbag2", got=repr(error)[:80], where=path) from error


def _span(file: Mapping[str, Any]) -> tuple[int, int]:
    start = int(file["starting_time"]["nanoseconds_since_epoch"])
    return start, start + int(file["duration"]["nanoseconds"]) + 1


def contradictions(stated: BagMetadata, bag: MessageSource) -> list[Finding]:
    """Counts, topics, types and times that differ between the description and what was read."""
    read: dict[str, int] = {}
    types: dict[str, set[str]] = {}
    stamps = [m.times("log_ns") for m in bag.messages.values() if len(m)]
    for channel in bag.channels.values():
        read[channel.topic] = read.get(channel.topic, 0) + len(bag.messages.get(channel.id, ()))
        schema = bag.schemas.get(channel.schema_id)
        types.setdefault(channel.topic, set()).add("" if schema is None else schema.name)
    out = []
    for topic in sorted({*read, *stated.topics}):
        kind, count = stated.topics.get(topic, ("", 0))
        if count != read.get(topic, 0):
            message = f"{topic}: {read.get(topic, 0)} messages were read, metadata.yaml says {count}"
            out.append(_finding("count_mismatch", topic, message, read.get(topic, 0), count, "messages"))
        if kind and kind not in types.get(topic, {kind}):
            message = f"{topic} is {', '.join(sorted(types[topic]))}, metadata.yaml says {kind}"
            out.append(_finding("metadata_mismatch", topic, message, 1, 0, "1"))
    total = sum(read.values())
    if stated.message_count != total and stated.message_count != sum(n for _, n in stated.topics.values()):
        message = f"{total} messages were read, metadata.yaml says {stated.message_count} in all"
        out.append(_finding("count_mismatch", "", message, total, stated.message_count, "messages"))
    if stamps:
        first, last = min(int(s.min()) for s in stamps), max(int(s.max()) for s in stamps)
        for what, value, said in (("starts", first, stated.start_ns), ("lasts", last - first, stated.duration_ns)):
            if value != said:
                message = f"the bag {what} {'at ' * (what == 'starts')}{value} ns, metadata.yaml says {said} ns"
                out.append(_finding("metadata_mismatch", "", message, value, said, "ns"))
    return out


def _finding(check: str, stream: str, message: str, value: float, limit: float, unit: str) -> Finding:
    return Finding(check=check, stream=stream, message=message, value=float(value), limit=float(limit), unit=unit)
