"""Everything about the clocks of one log on one sheet: estimates, lags of motion, skew as it is, and skew once mended.

What stands on the sheet is for people to judge; the lines of TOML at its end are what an alignment may then be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from worldgate.core.errors import DataRefused
from worldgate.core.streams import IMAGE_LIKE, Kind, Log, StreamInfo, log_digest
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align
from worldgate.data.alignment_report import AlignmentReport, report
from worldgate.data.clocks.estimate import MotionLag, StreamClock, clocks, lags
from worldgate.data.clocks.model import ClockModel, lines
from worldgate.data.resample import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSheet:
    """What one log says of its clocks."""

    log: str
    """Content digest."""
    name: str
    clocks: tuple[StreamClock, ...]
    lags: tuple[MotionLag, ...]
    spec: AlignmentSpec
    """How rows were made for the skew."""
    before: AlignmentReport | None
    """Skew with the stamps as they were recorded; None where they share no instant."""
    after: AlignmentReport | None
    """Skew with every model below; None where there are none, or the streams share no instant even so."""
    toml: tuple[str, ...]
    """The models as lines of TOML."""

    @property
    def models(self) -> Mapping[str, ClockModel]:
        """Stream -> what mends its clock."""
        return {clock.stream: clock.model for clock in self.clocks if clock.model is not None}


def sheet(log: Log, spec: AlignmentSpec | None = None, *, cameras: bool = True, most_s: float = 1.0) -> ClockSheet:
    """Estimate the clocks of a log, and show what mending them would do to an alignment.

    Args:
        log: what to look at.
        spec: the alignment to show; without one, every sampled stream at the stamps of the first camera, else of the
            slowest stream, by nearest messages.
        cameras: whether pictures are decoded for lags of motion.
        most_s: lags looked at, either way.
    """
    digest = log_digest(log)
    chosen = _within(log, spec) if spec is not None else _plain(log)
    found = clocks(log)
    models = {c.stream: c.model for c in found if c.model is not None and c.stream in _names(chosen)}
    mended = replace(chosen, logs={digest: models}) if models else None
    out: list[str] = []
    for stream, model in models.items():
        out += [*lines(stream, model, log=digest), ""]
    return ClockSheet(
        log=digest,
        name=log.name,
        clocks=found,
        lags=lags(log, most_s=most_s, cameras=cameras),
        spec=chosen,
        before=_report(log, chosen, digest),
        after=None if mended is None else _report(log, mended, digest),
        toml=tuple(out[:-1]),
    )


def _names(spec: AlignmentSpec) -> set[str]:
    return set(spec.streams) | ({spec.reference} if spec.reference else set())


def _within(log: Log, spec: AlignmentSpec) -> AlignmentSpec:
    """The spec without streams that this log does not have, and without rules that would refuse to show the skew."""
    have = {info.name for info in log.streams()}
    streams = {name: item for name, item in spec.streams.items() if name in have}
    return replace(spec, streams=streams or dict.fromkeys(have, spec.default), causal=False, logs={})


def _plain(log: Log) -> AlignmentSpec:
    infos = [i for i in log.streams() if i.kind not in {Kind.EVENT, Kind.TEXT} and i.count != 0]
    if not infos:
        raise DataRefused("no stream of this log holds a message", where=log.name)
    cameras = [info for info in infos if info.kind in IMAGE_LIKE]
    reference = cameras[0] if cameras else min(infos, key=_count)
    streams = {info.name: StreamAlignment(policy=Policy.NEAREST) for info in infos}
    return AlignmentSpec(reference=reference.name, streams=streams)


def _count(info: StreamInfo) -> tuple[bool, int]:
    """A stream of a few messages is no grid."""
    return info.count < 10, info.count


def _report(log: Log, spec: AlignmentSpec, digest: str) -> AlignmentReport | None:
    try:
        return report(align(log, spec, digest=digest))
    except DataRefused:
        return None
