"""Trials as a JSON file of our own: ``worldgate/trial-file/1``.

``{"schema", "origin", "trials": [{"scenario", "slot", "success", "violations", "started", ...}]}`` with the
fields of :mod:`worldgate.evidence.trial_formats.csv`, JSON's own types, and the oracles' figures under ``metrics``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from worldgate.core.config import decode
from worldgate.core.errors import ConfigError, DataRefused, UsageError
from worldgate.core.streams import Origin
from worldgate.core.times import parse_ns
from worldgate.evidence.told import Asked, Entry, Told
from worldgate.evidence.trial_formats._json import load

CARD = {
    "line": "our own JSON, worldgate/trial-file/1",
    "inputs": "a .json file with schema, origin and trials",
    "source": "RFC 8259, without doubled keys",
}
SCHEMA = "worldgate/trial-file/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    scenario: str
    slot: str = ""
    success: bool
    violations: int
    started: str
    seed: int | None = None
    row: int = 0
    excluded: str = ""
    log: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    schema: Literal["worldgate/trial-file/1"]
    origin: Origin
    checkpoint: str = ""
    trials: tuple[_Trial, ...]


def accepts(path: Path) -> bool:
    """Whether it is a file of ours."""
    if path.suffix.lower() != ".json":
        return False
    tree = load(path)
    return isinstance(tree, dict) and tree.get("schema") == SCHEMA


def read(path: Path, asked: Asked) -> Told:
    """Read every trial.

    Raises:
        DataRefused: not JSON, an unknown key, or a value of another type, with its place.
    """
    tree = load(path)
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        raise DataRefused("not a file of trials", where=path, hint=f'"schema": "{SCHEMA}"')
    for place, row in enumerate(tree["trials"] if isinstance(tree.get("trials"), list) else []):
        _types(row, f"{path}:trials.{place}")
    try:
        file = decode(_File, tree, where=str(path))
    except ConfigError as error:
        raise DataRefused(error.what, got=error.got, where=error.where, hint=error.hint) from error
    if not file.trials:
        raise DataRefused("no trials in this file", where=path)
    entries = tuple(_entry(row, f"{path}:trials.{place}", asked) for place, row in enumerate(file.trials))
    return Told(entries=entries, origin=file.origin, checkpoint=file.checkpoint)


def _types(row: object, where: str) -> None:
    """Decoding takes 1 for true and true for 1; an outcome must be the one it is written as."""
    if not isinstance(row, dict):
        raise DataRefused("a trial is an object", got=repr(row)[:40], where=where)
    kinds = {"success": bool, "violations": int, "seed": int, "row": int}
    for name, kind in kinds.items():
        if name in row and type(row[name]) is not kind and not (name == "seed" and row[name] is None):
            raise DataRefused(f"{name} is a {kind.__name__}", got=repr(row[name])[:40], where=where)
        if kind is int and isinstance(row.get(name), int) and not 0 <= row[name] < 2**53:
            raise DataRefused(f"{name} is a whole number from 0", got=row[name], where=where)
    if any(isinstance(v, bool | str) for v in dict(row.get("metrics") or {}).values()):
        raise DataRefused("a figure is a number", where=where)


def _entry(row: _Trial, where: str, asked: Asked) -> Entry:
    try:
        started = parse_ns(row.started)
    except UsageError as error:
        raise DataRefused(error.what, got=error.got, where=where, hint=error.hint) from error
    if not all(math.isfinite(value) for value in row.metrics.values()):
        raise DataRefused("a figure is a finite number", where=where)
    return Entry(
        where=where,
        scenario=row.scenario,
        slot=row.slot or asked.slot,
        success=row.success,
        violations=row.violations,
        started_ns=started,
        seed=row.seed,
        excluded=row.excluded,
        log=row.log,
        row=row.row,
        metrics=dict(row.metrics),
    )
