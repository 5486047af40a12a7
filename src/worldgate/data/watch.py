"""Watching: a folder or bucket whose logs are ingested when they are complete, for as long as somebody wants it.

Each entry directly below the watched place is one unit: a file, or a folder with everything in it. A unit is complete
when its sizes and marks of change stayed the same for a while, or at once when its writer left a mark (``NAME.done``
beside it, ``done`` or ``_SUCCESS`` in it). Names that writers use for unfinished files are left alone, and a folder
with such a name in it is not complete; hidden entries are nobody's logs.

What was taken in is known by its digest, so a restart ingests nothing twice. The state beside the cache only saves
reading again what did not change; without it everything is read once more, to the same end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from worldgate.core.atomic import write_atomic
from worldgate.core.choices import settle
from worldgate.core.digest import canonical, digest_json, read_json, sha256
from worldgate.core.errors import DataRefused, NotFound, UsageError, WorldgateError
from worldgate.core.streams import Origin
from worldgate.data.ingest import Shelf
from worldgate.data.privacy.intake import ingest_under
from worldgate.data.staging import Entry, is_url, listing
from worldgate.engines import Engine
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

UNFINISHED = (".partial", ".part", ".tmp", ".temp", ".crdownload", ".active", ".swp", "~", ".lock", "-journal", "-wal")
"""How writers end the names of files that they have not finished."""
DONE = (".done", "done", "_SUCCESS")
"""A file ``NAME.done`` beside a unit, or one of the others in it: its writer is finished."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """How a place is watched."""

    settle_s: float = 10.0
    """How long a unit must stay as it is before it counts as complete."""
    poll_s: float = 2.0
    """Time between two looks."""
    site: str = ""
    robot: str = ""
    arm: str = ""
    origin: Origin | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    contract: Ref | None = None
    """Whose privacy rules are kept at ingest."""

    def __post_init__(self) -> None:
        settle(self)
        if self.settle_s < 0 or self.poll_s <= 0:
            raise UsageError("times below zero", got=f"settle {self.settle_s} s, poll {self.poll_s} s", where="watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a unit."""

    name: str
    state: Literal["taken", "refused", "waiting"]
    """``waiting``: something other than the unit was in the way; it is tried again."""
    logs: tuple[Ref, ...] = ()
    error: str = ""


@dataclass(slots=True)
class _Unit:
    """A unit between two looks."""

    mark: str
    since: float
    settled: Seen | None = None
    complaint: str = ""


@dataclass(slots=True)
class Watch:
    """One watched place; each :meth:`look` takes in what is complete by then."""

    ws: Workspace
    source: Path | str
    config: WatchConfig = field(default_factory=WatchConfig)
    engine: Engine | None = None
    clock: Callable[[], float] = time.monotonic
    _units: dict[str, _Unit] = field(default_factory=dict)
    _known: dict[str, Any] = field(default_factory=dict)
    _shelf: Shelf = field(init=False)

    def __post_init__(self) -> None:
        self._shelf = Shelf(self.ws)
        if not is_url(self.source):
            self.source = Path(self.source).absolute()
            if not self.source.is_dir():
                raise NotFound("no such folder to watch", where=self.source)
        try:
            self._known = dict(read_json(self._state.read_bytes()))
        except (OSError, ValueError, TypeError):
            self._known = {}

    @property
    def _state(self) -> Path:
        place = sha256(str(self.source).encode())[:16]
        return self.ws.cache / "watch" / f"{place}.json"

    def look(self) -> Iterator[Seen]:
        """Take in every unit that is complete; yields what became of each that is new or changed.

        A unit that cannot be read is told of once, and again only when it changes. What else goes wrong (a full disk, a
        bucket that does not answer) is told of once, and the unit is tried again at the next look.
        """
        now, marks = self.clock(), self._marks()
        for name in set(self._units) - set(marks):
            del self._units[name]
        for name, (mark, done) in sorted(marks.items()):
            unit = self._units.get(name)
            if unit is None or unit.mark != mark:
                unit = self._units[name] = _Unit(mark=mark, since=now)
            if unit.settled is None and (done or now - unit.since >= self.config.settle_s):
                yield from self._settle(name, unit)

    def follow(self) -> Iterator[Seen]:
        """Look again and again; ends when the caller stops listening, or with Ctrl-C."""
        while True:
            yield from self.look()
            time.sleep(self.config.poll_s)

    def settle(self) -> Iterator[Seen]:
        """Look until everything that is there now was complete, or did not become so in twice the time to settle."""
        end = self.clock() + 2 * self.config.settle_s
        yield from self.look()
        while self.waiting() and self.clock() < end:
            time.sleep(min(self.config.poll_s, self.config.settle_s))
            yield from self.look()

    def waiting(self) -> list[str]:
        """Units that were seen and are not complete yet."""
        return sorted(name for name, unit in self._units.items() if unit.settled is None)

    def _settle(self, name: str, unit: _Unit) -> Iterator[Seen]:
        mark = self._key(unit.mark)
        if self._known.get(name, {}).get("mark") == mark:
            unit.settled = Seen(name=name, state=self._known[name]["state"])
            return
        seen = self._take(name)
        if seen.state == "waiting":
            if seen.error != unit.complaint:
                unit.complaint = seen.error
                yield seen
            return
        unit.settled = seen
        self._known[name] = {"mark": mark, "state": seen.state}
        write_atomic(self._state, canonical(self._known), overwrite=True)
        yield seen

    def _key(self, mark: str) -> str:
        """What was refused under one story may be taken under another."""
        return digest_json([mark, replace(self.config, settle_s=0.0, poll_s=1.0)])

    def _take(self, name: str) -> Seen:
        config = self.config
        told: dict[str, Any] = {"site": config.site, "robot": config.robot, "arm": config.arm, "origin": config.origin}
        told["facts"] = config.facts
        path = f"{str(self.source).rstrip('/')}/{name}" if is_url(self.source) else Path(self.source) / name
        if isinstance(path, Path) and not path.resolve().is_relative_to(Path(self.source).resolve()):
            return Seen(name=name, state="refused", error=str(DataRefused("a link that leaves its folder", where=path)))
        try:
            refs = ingest_under(self.ws, path, config.contract, **told, engine=self.engine, shelf=self._shelf)
        except (DataRefused, NotFound) as error:
            return Seen(name=name, state="refused", error=str(error))
        except UsageError:
            raise
        except (WorldgateError, OSError) as error:
            return Seen(name=name, state="waiting", error=str(error))
        return Seen(name=name, state="taken", logs=tuple(refs))

    def _marks(self) -> dict[str, tuple[str, bool]]:
        """Every unit that is there, with what would change if it did, and whether its writer said that it is done."""
        found: dict[str, dict[str, Entry]] = {}
        finished: set[str] = set()
        for name, entry in self._entries().items():
            top, _, rest = name.partition("/")
            if top.endswith(DONE[0]) and not rest:
                finished.add(top.removesuffix(DONE[0]))
            elif not top.startswith("."):
                found.setdefault(top, {})[rest] = entry
        marks = {}
        for top, parts in found.items():
            if any(_unfinished(part or top) for part in parts):
                continue
            held = {part: (entry.size, entry.mark) for part, entry in parts.items()}
            marks[top] = (digest_json(held), top in finished or any(part in DONE[1:] for part in parts))
        return marks

    def _entries(self) -> Mapping[str, Entry]:
        if is_url(self.source):
            try:
                return listing(str(self.source))
            except NotFound:  # an empty prefix is one that is not there yet
                return {}
        return dict(_files(Path(self.source)))


def _unfinished(name: str) -> bool:
    return any(part.endswith(UNFINISHED) for part in name.split("/"))


def _files(folder: Path) -> Iterator[tuple[str, Entry]]:
    """Every file below a folder; one that goes away meanwhile was not there."""
    for file in sorted(folder.rglob("*")):
        try:
            if file.is_dir() and not file.is_symlink():
                continue
            about = file.lstat()
        except OSError:
            continue
        yield file.relative_to(folder).as_posix(), Entry(size=about.st_size, mark=f"{about.st_mtime_ns} {about.st_ino}")
