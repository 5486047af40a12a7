"""Past deployments from a spreadsheet: what was kept before there was a ledger, with its error declared.

Columns: ``slot, release, from, to, error_s, source`` and optionally ``plane``. ``release`` is a registered release's id
or digest; where only weights were noted, ``weights:DIGEST`` stands for them, because weights alone do not say which
machine ran. Every row is a closed span: an end that nobody noted is not filled in, and time without a row stays
UNKNOWN. All rows are checked first; one bad row and nothing is imported.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import combinations
from pathlib import Path

from worldgate.core.errors import DataRefused, NotFound, UsageError
from worldgate.core.names import Slot
from worldgate.core.times import SECOND, now_ns, parse_ns
from worldgate.fleet.deployments import REPORTED
from worldgate.fleet.planes import Form, Plane
from worldgate.record.events import Draft, Event, Ref, is_digest
from worldgate.record.workspace import Workspace

REQUIRED = ("slot", "release", "from", "to", "error_s", "source")
OPTIONAL = ("plane",)
WEIGHTS_ONLY = "weights:"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDeployment:
    """One row."""

    line: int
    slot: str
    release: str
    from_ns: int
    to_ns: int
    err_ns: int
    source: str
    plane: Plane

    def body(self) -> dict[str, str]:
        """Body of its event, which with the times is its identity."""
        return {
            "slot": self.slot,
            "release": self.release,
            "form": Form.SPAN,
            "plane": self.plane,
            "source": self.source,
        }


def backfill(ws: Workspace, path: Path, *, recorded_at_ns: int | None = None, by: str | None = None) -> list[Event]:
    """Import past deployments, all or none; rows that are on the ledger already are returned as they stand.

    Args:
        ws: the workspace.
        path: the CSV file, UTF-8.
        recorded_at_ns: when this was learned; now, unless a past is replayed.
        by: name of the key that vouches for the rows; the program's own without.

    Raises:
        NotFound: no such file.
        DataRefused: a row that cannot be taken as it stands, with ``file:line:column``, or rows that contradict each
            other. Nothing is imported.
    """
    learned = now_ns() if recorded_at_ns is None else recorded_at_ns
    rows = read(ws, path, until_ns=learned)
    known = {_key(e.body, e.valid_from_ns, e.valid_to_ns, e.valid_err_ns): e for e in ws.ledger.events(REPORTED)}
    fresh = {key: row for row in rows if (key := _key(row.body(), row.from_ns, row.to_ns, row.err_ns)) not in known}
    if fresh:
        sheet = Ref("report", ws.store.put_file(path), path.name if path.name.isascii() else "")
        drafts = [
            Draft(
                kind=REPORTED,
                body=row.body(),
                inputs=(sheet, *_refs(row)),
                valid_from_ns=row.from_ns,
                valid_to_ns=row.to_ns,
                valid_err_ns=row.err_ns,
                clock="declared",
                recorded_at_ns=learned,
            )
            for row in fresh.values()
        ]
        known |= dict(zip(fresh, ws.record_many(drafts, actor=by), strict=True))
    return [known[_key(row.body(), row.from_ns, row.to_ns, row.err_ns)] for row in rows]


def _key(body: object, *times: int | None) -> tuple[object, ...]:
    assert isinstance(body, dict)
    return (*(body.get(part) for part in ("slot", "release", "form", "plane", "source")), *times)


def _refs(row: PastDeployment) -> tuple[Ref, ...]:
    if row.release.startswith(WEIGHTS_ONLY):
        return (Ref("weights", row.release.removeprefix(WEIGHTS_ONLY)),)
    return (Ref("release", row.release),)


def read(ws: Workspace, path: Path, *, until_ns: int) -> list[PastDeployment]:
    """Read and check every row; see :func:`backfill`."""
    if not path.is_file():
        raise NotFound("no such file", where=path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(ws, file, path, until_ns))
    except UnicodeDecodeError as error:
        raise DataRefused("not a UTF-8 text file", got=f"byte {error.start}", where=path) from error
    except csv.Error as error:
        raise DataRefused("not a CSV file", got=error, where=path) from error
    if not rows:
        raise DataRefused("no rows to import", where=path)
    _refuse_contradictions(rows, path)
    return rows


def _rows(ws: Workspace, file: Iterator[str], path: Path, until_ns: int) -> Iterator[PastDeployment]:
    reader = csv.reader(file, strict=True)
    header = [name.strip() for name in next(reader, [])]
    hint = f"the first line is {','.join(REQUIRED)}"
    if len(set(header)) != len(header):
        raise DataRefused("a column stands twice", got=",".join(header), where=f"{path}:1", hint=hint)
    missing = [name for name in REQUIRED if name not in header]
    extra = [name for name in header if name not in (*REQUIRED, *OPTIONAL)]
    if missing or extra:
        what = f"missing column {missing[0]}" if missing else f"unknown column {extra[0]!a}"
        raise DataRefused(what, got=ascii(",".join(header))[:80], where=f"{path}:1", hint=hint)
    for values in reader:
        if not any(value.strip() for value in values):
            continue
        where = f"{path}:{reader.line_num}"
        if len(values) != len(header):
            raise DataRefused("another number of columns", got=f"{len(values)} of {len(header)}", where=where)
        cells = {name: value.strip() for name, value in zip(header, values, strict=True)}
        yield _row(ws, cells, reader.line_num, where, until_ns)


def _row(ws: Workspace, cells: dict[str, str], line: int, where: str, until_ns: int) -> PastDeployment:
    column = ""
    try:
        column = "slot"
        slot = str(Slot.parse(cells["slot"]))
        column = "release"
        release = _release(ws, cells["release"])
        column = "from"
        from_ns = parse_ns(cells["from"])
        column = "to"
        to_ns = parse_ns(cells["to"])
        column = "error_s"
        err_ns = _error_ns(cells["error_s"])
        column = "plane"
        plane = _plane(cells.get("plane", ""))
    except UsageError as error:
        hint = error.hint
        if column == "to" and not cells["to"]:
            hint = "say until when it is known to have run; at the latest, the day on which it was noted"
        raise DataRefused(error.what, got=error.got, where=f"{where}:{column}", hint=hint) from error
    if not cells["source"]:
        raise DataRefused("no source", where=f"{where}:source", hint="say where this was noted: shift book, deploy log")
    if not from_ns < to_ns:
        raise DataRefused("ends before it begins", got=cells["to"], where=f"{where}:to")
    if to_ns > until_ns:
        raise DataRefused("ends in the future", got=cells["to"], where=f"{where}:to", hint="import what has happened")
    return PastDeployment(
        line=line,
        slot=slot,
        release=release,
        from_ns=from_ns,
        to_ns=to_ns,
        err_ns=err_ns,
        source=cells["source"],
        plane=plane,
    )


def _release(ws: Workspace, text: str) -> str:
    digest = text.removeprefix(WEIGHTS_ONLY)
    if text.startswith(WEIGHTS_ONLY):
        if not is_digest(digest):
            raise UsageError("not a digest", got=ascii(text)[:80], hint="weights: and 64 hex digits")
        return text
    if is_digest(text):
        return text
    return ws.resolve(text, "release").digest


def _error_ns(text: str) -> int:
    try:
        seconds = Decimal(text)
    except InvalidOperation as error:
        raise UsageError("not a number of seconds", got=ascii(text)[:80], hint="the error of both times") from error
    if not (seconds.is_finite() and 0 <= seconds < 10**9):
        raise UsageError("not an error in seconds", got=ascii(text)[:80], hint="0 or more, for example 60")
    return int((seconds * SECOND).to_integral_value(rounding="ROUND_CEILING"))


def _plane(text: str) -> Plane:
    allowed = (Plane.REPORTED, Plane.OBSERVED)
    if not text:
        return Plane.REPORTED
    if text not in allowed:
        raise UsageError("not a plane that a past can be told of", got=ascii(text)[:80], hint="reported or observed")
    return Plane(text)


def _refuse_contradictions(rows: Sequence[PastDeployment], path: Path) -> None:
    """Two releases for longer than their errors on one arm: one of the rows is wrong, and we do not choose."""
    by_place: dict[tuple[str, Plane], list[PastDeployment]] = {}
    for row in rows:
        by_place.setdefault((row.slot, row.plane), []).append(row)
    for group in by_place.values():
        for a, b in combinations(group, 2):
            overlap = min(a.to_ns - a.err_ns, b.to_ns - b.err_ns) - max(a.from_ns + a.err_ns, b.from_ns + b.err_ns)
            if a.release != b.release and overlap > 0:
                raise DataRefused(
                    "two releases on one arm at one time",
                    got=f"lines {a.line} and {b.line}",
                    where=f"{path}:{b.line}",
                    hint="correct one of them, or declare a larger error_s",
                )
