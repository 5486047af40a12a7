"""Trials as a CSV file, one line each; the columns' names tell the units.

Columns: ``scenario`` (name or digest), ``slot`` (site/robot/arm), ``success`` (1, 0, true, false, yes, no),
``violations`` (whole number), ``started`` (ISO 8601 with a zone); optional ``seed``, ``row`` (of the plan),
``excluded``, ``log`` (digest), and the figures that the scenario's oracles give, such as ``least_clearance_m``.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.times import parse_ns
from worldgate.evidence.told import Asked, Entry, Told

CARD = {
    "line": "one line a trial",
    "inputs": "a .csv file with scenario, slot, success, violations and started",
    "source": "RFC 4180",
}
_NEEDED = ("scenario", "slot", "success", "violations", "started")
_KNOWN = frozenset({*_NEEDED, "seed", "row", "excluded", "log"})
_TRUE, _FALSE = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no"})


def accepts(path: Path) -> bool:
    """Whether it is a CSV file by its name."""
    return path.suffix.lower() == ".csv"


def read(path: Path, asked: Asked) -> Told:
    """Read every line; columns besides the known ones are figures.

    Raises:
        DataRefused: a missing or doubled column, a line of another length, or a value that cannot be read, with its
            line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DataRefused("not a CSV file", got=str(error)[:80], where=path) from error
    header = [name.strip() for name in rows[0][1]] if rows else []
    missing = [c for c in _NEEDED if c not in header and not (c == "slot" and asked.slot)]
    if missing or len(set(header)) != len(header):
        what = "a column is missing" if missing else "a column stands twice"
        raise DataRefused(what, got=", ".join(missing or header)[:80], where=path, hint=", ".join(_NEEDED))
    if len(rows) < 2:
        raise DataRefused("no trials in this file", where=path)
    odd = next((line for line, row in rows[1:] if len(row) != len(header)), None)
    if odd is not None:
        raise DataRefused("a line with another number of columns", where=f"{path}:{odd}")
    lines = [(line, dict(zip(header, (c.strip() for c in row), strict=True))) for line, row in rows[1:]]
    return Told(entries=tuple(_entry(cell, f"{path}:{line}", asked) for line, cell in lines))


def _entry(cell: Mapping[str, str], where: str, asked: Asked) -> Entry:
    success = cell["success"].lower()
    if success not in _TRUE | _FALSE:
        raise DataRefused("success must be 1 or 0", got=repr(cell["success"]), where=where)
    violations = _whole(cell, "violations", where)
    if violations is None:
        raise DataRefused("violations and seed are whole numbers", got="nothing", where=where)
    try:
        started = parse_ns(cell["started"])
    except UsageError as error:
        raise DataRefused(error.what, got=error.got, where=where, hint=error.hint) from error
    return Entry(
        where=where,
        scenario=cell["scenario"],
        slot=cell.get("slot") or asked.slot,
        success=success in _TRUE,
        violations=violations,
        started_ns=started,
        seed=_whole(cell, "seed", where),
        excluded=cell.get("excluded", ""),
        log=cell.get("log", ""),
        row=_whole(cell, "row", where) or 0,
        metrics={name: _figure(name, text, where) for name, text in cell.items() if name not in _KNOWN and text},
    )


def _whole(cell: Mapping[str, str], name: str, where: str) -> int | None:
    text = cell.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise DataRefused("violations and seed are whole numbers", got=repr(text)[:80], where=f"{where}:{name}")
    return int(text)


def _figure(name: str, text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataRefused("a figure is a finite number", got=repr(text)[:80], where=f"{where}:{name}")
    return value
