"""Seams: a folder in which each file is one thing a user can name, found without being imported.

The entry's name is the file's name. Each file holds a literal ``CARD`` read with :mod:`ast`; the module is imported on
first use. Third parties add entry points in the group ``worldgate.<seam>``.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from worldgate.core.errors import MissingExtra, NotFound

SEAMS = {
    "stores": "worldgate.record.stores",
    "engines": "worldgate.engines",
    "logs": "worldgate.data.logs",
    "checks": "worldgate.data.checks",
    "injectors": "worldgate.data.injectors",
    "codecs": "worldgate.data.codecs",
    "exports": "worldgate.data.exports",
    "labels": "worldgate.data.labels",
    "labellers": "worldgate.data.labellers",
    "detectors": "worldgate.data.detectors",
    "metrics": "worldgate.evidence.metrics",
    "gates": "worldgate.evidence.gates",
    "oracles": "worldgate.evidence.oracles",
    "executors": "worldgate.evidence.executors",
    "trial_formats": "worldgate.evidence.trial_formats",
    "tasks": "worldgate.sim.tasks",
    "tokenizers": "worldgate.worlds.tokenizers",
    "models": "worldgate.worlds.models",
    "policies": "worldgate.control.policies",
    "planners": "worldgate.control.planners",
    "perception": "worldgate.control.perception",
    "recipes": "worldgate.recipes",
}
"""Seam name, as users type it after ``worldgate list``, to the package that holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a seam entry says of itself, read without importing it."""

    name: str
    line: str
    """One line: what it is."""
    inputs: str = ""
    needs: str = ""
    """The extra to install, or empty."""
    source: str = ""
    """Paper, specification or formula."""
    module: str = ""


def _literal_card(path: Path) -> dict[str, str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "CARD" for t in node.targets):
            card = ast.literal_eval(node.value)
            assert isinstance(card, dict), path
            return card
    raise AssertionError(f"{path} has no literal CARD")


@cache
def cards(seam: str) -> dict[str, Card]:
    """Every entry of a seam, by name.

    Raises:
        NotFound: no such seam.
    """
    package = SEAMS.get(seam)
    if package is None:
        raise NotFound("no such seam", got=seam, hint=f"one of {', '.join(SEAMS)}")
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None, package
    found: dict[str, Card] = {}
    for location in spec.submodule_search_locations:
        for module in pkgutil.iter_modules([location]):
            if not module.name.startswith("_") and not module.ispkg:
                card = _literal_card(Path(location) / f"{module.name}.py")
                found[module.name] = Card(name=module.name, module=f"{package}.{module.name}", **card)
    for point in entry_points(group=f"worldgate.{seam}"):
        assert point.name not in found, f"two entries named {point.name} in {seam}"
        found[point.name] = Card(name=point.name, line=f"from {point.value}", module=point.value)
    return dict(sorted(found.items()))


def load(seam: str, name: str) -> ModuleType:
    """Import one entry of a seam.

    Raises:
        NotFound: no such entry; the hint is the nearest name.
        MissingExtra: its optional dependency is not installed; the hint is the install line.
    """
    known = cards(seam)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
        raise NotFound(f"no such entry in {seam}", got=name, hint=hint)
    card = known[name]
    try:
        return importlib.import_module(card.module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("worldgate") or not card.needs:
            raise
        raise MissingExtra(
            f"{name} needs a package that is not installed",
            got=error.name,
            hint=f'pip install "worldgate[{card.needs}]"',
        ) from error
