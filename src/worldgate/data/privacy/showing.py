"""What of a log may be shown or leave, by the strictest contract that a workspace holds.

A log carries no contract of its own: whoever recorded a contract that masks a camera meant every log with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from worldgate.core.streams import Kind
from worldgate.data import contracts
from worldgate.data.privacy.rules import MASKED, Privacy
from worldgate.data.summaries import IngestedLog
from worldgate.record.workspace import Workspace


def rules(ws: Workspace) -> list[Privacy]:
    """Of every recorded contract."""
    return [contracts.load(ws, ref.digest).privacy for ref in ws.artifacts("contract")]


def cameras_of(record: IngestedLog) -> list[str]:
    """Cameras whose pictures show what an eye would see."""
    return [stream.name for stream in record.streams if stream.kind is Kind.IMAGE]


def hidden_cameras(ws: Workspace, record: IngestedLog) -> list[str]:
    """Cameras that any recorded contract masks, unless the log is masked as one of these contracts asks."""
    cameras = cameras_of(record)
    meant = [rule for rule in rules(ws) if any(rule.rule(camera) is not None for camera in cameras)]
    if not meant or record.facts.get(MASKED) in {rule.digest() for rule in meant}:
        return []
    return sorted({camera for rule in meant for camera in cameras if rule.rule(camera) is not None})


def forbidden_streams(ws: Workspace, streams: Iterable[str]) -> list[str]:
    """Streams that any recorded contract forbids."""
    names = list(streams)
    return sorted({name for rule in rules(ws) for name in rule.forbids(names)})
