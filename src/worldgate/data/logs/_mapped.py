"""Logs as a folder's mapping file describes them, whatever their format: renamed, joined, with units and facts.

Streams that are joined must carry the same stamps; nothing is resampled here. A stream that no entry uses stays as it
is. Shape legend: N messages, D channels.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from worldgate.core.errors import ConfigError, NotFound
from worldgate.core.streams import IMAGE_LIKE, NUMERIC, Finding, Kind, Log, LogFolder, Origin, Stream, StreamInfo
from worldgate.core.units import check_unit
from worldgate.data.logs._mapping import FILE, Facts, FolderMapping, StreamMapping, read_mapping

_logger = logging.getLogger(__name__)
_LESS_REAL = (Origin.REAL, Origin.SIMULATED, Origin.IMAGINED)


def mapped(folder: LogFolder) -> LogFolder:
    """The logs as the folder's mapping file describes them; unchanged where there is none.

    Raises:
        ConfigError: a mapping file that cannot be read, or an origin that would make a log more real.
    """
    mapping = read_mapping(folder.path)
    deeper = sorted(folder.path.glob(f"*/{FILE}")) if folder.path.is_dir() and folder.format != "table" else []
    if deeper:
        _logger.warning("%s is not used: open %s itself, or move the file up", deeper[0], deeper[0].parent)
    if not (mapping.origin or mapping.facts or mapping.streams or mapping.rate_hz):
        return folder
    where = folder.path / FILE
    for log in folder.logs:
        if mapping.origin is not None and _LESS_REAL.index(mapping.origin) < _LESS_REAL.index(log.origin):
            raise ConfigError(f"a log marked {log.origin} cannot become {mapping.origin}", where=f"{where}:origin")
    logs = tuple(MappedLog(log, mapping, where) for log in folder.logs)
    # The first log tells at once what would fail for all; the others are looked at when they are read.
    infos = [info for log in logs[:1] for info in log.streams()]
    if mapping.rate_hz and any(info.clock != "frame" for info in infos):
        raise ConfigError("a rate for a log that has stamps", got=mapping.rate_hz, where=f"{where}:rate_hz")
    return replace(folder, logs=logs)


@dataclass(frozen=True)
class MappedLog:
    """One log as a mapping file describes it."""

    log: Log
    mapping: FolderMapping
    where: Path

    @property
    def name(self) -> str:
        """As the container has it."""
        return self.log.name

    @property
    def origin(self) -> Origin:
        """As stated, else as the log says."""
        return self.mapping.origin or self.log.origin

    @property
    def facts(self) -> Facts:
        """The log's, and those stated."""
        return {**self.log.facts, **self.mapping.facts}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the reader noticed."""
        return self.log.findings

    def streams(self) -> tuple[StreamInfo, ...]:
        """Those of the mapping, then every stream that it does not use."""
        return tuple(info for info, _ in self._held.values())

    @cached_property
    def _held(self) -> Mapping[str, tuple[StreamInfo, tuple[str, ...]]]:
        """Stream -> what it is, and the log's own streams that it is made of."""
        infos = {info.name: info for info in self.log.streams()}
        # A container's own name, where it stands for one stream alone.
        topics = [info.topic for info in infos.values()]
        names = {info.topic: info.name for info in infos.values() if info.topic and topics.count(info.topic) == 1}
        out: dict[str, tuple[StreamInfo, tuple[str, ...]]] = {}
        for name, entry in self.mapping.streams.items():
            wanted = entry.sources or (name,)
            absent = [source for source in wanted if source not in infos and source not in names]
            if absent:
                hint = f"one of {', '.join([*infos][:12])}"
                raise ConfigError("no such stream", got=", ".join(absent), where=self._key(name), hint=hint)
            sources = tuple(source if source in infos else names[source] for source in wanted)
            out[name] = self._describe(name, entry, [infos[source] for source in sources]), sources
        used = {source for _, sources in out.values() for source in sources}
        return out | {name: (info, (name,)) for name, info in infos.items() if name not in used and name not in out}

    def _describe(self, name: str, entry: StreamMapping, parts: Sequence[StreamInfo]) -> StreamInfo:
        first = parts[0]
        several = len(parts) > 1
        if several and any(part.kind not in NUMERIC or len(part.shape) != 1 for part in parts):
            got = ", ".join(f"{part.name} {part.kind} {'x'.join(map(str, part.shape))}" for part in parts)
            raise ConfigError("streams that do not fit side by side", got=got, where=self._key(name))
        named = first.kind if first.kind is not Kind.VECTOR or name.split(".")[0] != "action" else Kind.ACTION
        kind = entry.kind or named
        if kind is not first.kind and not {kind, first.kind} <= NUMERIC:
            raise ConfigError(f"a stream of kind {first.kind} cannot be {kind}", where=self._key(name))
        shape = (sum(part.shape[0] for part in parts),) if several else first.shape
        width = shape[0] if kind in NUMERIC and len(shape) == 1 else None
        if kind not in IMAGE_LIKE:
            check_unit(entry.unit, channels=width)
        if entry.names and len(entry.names) != width:
            got = f"{len(entry.names)} names for {width} channels"
            raise ConfigError("as many names as channels", got=got, where=f"{self._key(name)}.names")
        joined = tuple(n for part in parts for n in part.names) if all(part.names for part in parts) else ()
        return replace(
            first,
            name=name,
            kind=kind,
            shape=shape,
            unit=entry.unit or ("" if several else first.unit),
            names=entry.names or joined,
            frame=entry.frame or first.frame,
            topic=" ".join(part.topic or part.name for part in parts),
        )

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        """Read one stream, whole or within the half-open window.

        Raises:
            NotFound: no such stream.
            ConfigError: joined streams whose stamps differ.
        """
        if stream not in self._held:
            raise NotFound("no such stream", got=stream, where=self.name, hint=f"one of {', '.join(self._held)}")
        info, sources = self._held[stream]
        parts = [self.log.read(source, window_ns) for source in sources]
        if len(parts) == 1:
            return replace(parts[0], info=info)
        if any(not np.array_equal(part.times_ns, parts[0].times_ns) for part in parts):
            got = ", ".join(f"{len(part)} of {part.info.name}" for part in parts)
            raise ConfigError("joined streams whose stamps differ", got=got, where=self._key(stream))
        return replace(parts[0], info=info, values=np.concatenate([part.array for part in parts], axis=1))

    def _key(self, name: str) -> str:
        return f"{self.where}:streams.{name}"
