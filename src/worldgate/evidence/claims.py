"""Claims: a safety case as a tree in a text file, whose solutions ask the ledger instead of quoting a document.

The elements are those of the Goal Structuring Notation: a goal is claimed, a strategy says how it is argued, a solution
is evidence, and context, assumption and justification say under which circumstances. One TOML table an element::

    schema = "worldgate/claims/1"
    title = "Placing blocks in cell A"

    [goal.G1]
    text = "The release may run on this arm"
    level = "L6"
    supported_by = ["S1"]
    in_context_of = ["C1"]

    [solution.E1]
    text = "A promotion decision is in force"
    query = { kind = "decision", release = "$release", slot = "$slot", fresh_days = 30 }

``$release``, ``$slot``, ``$site`` and ``$model`` are filled in when the tree is asked. What a claim is worth is worked
out in :mod:`worldgate.evidence.claim_status`; what a solution may ask is in :mod:`worldgate.evidence.claim_queries`.

Source: GSN Community Standard v3 (SCSC-141C, 2021): which element may support or give context to which.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldgate.core.config import decode
from worldgate.core.digest import digest_json
from worldgate.core.errors import ConfigError
from worldgate.evidence import claim_levels as levels
from worldgate.evidence.shipped import Shelf

SCHEMA = "worldgate/claims/1"
SUPPORTS: Mapping[str, tuple[str, ...]] = {
    "goal": ("goal", "strategy", "solution"),
    "strategy": ("goal",),
    "solution": (),
}
"""Kind of element -> kinds that may support it."""
CIRCUMSTANCES = ("context", "assumption", "justification")
"""What a goal or strategy may stand in the context of."""
KINDS = (*SUPPORTS, *CIRCUMSTANCES)

_SHELF = Shelf("cases", "tree of claims")
_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element of the tree."""

    id: str
    kind: str
    """goal, strategy, solution, context, assumption or justification."""
    text: str
    level: str = ""
    """Evidence level that its author states, ``L0`` to ``L7``; empty: none."""
    supported_by: tuple[str, ...] = ()
    in_context_of: tuple[str, ...] = ()
    undeveloped: bool = False
    """Goal or strategy: its author has not argued it yet, and says so."""
    query: Mapping[str, Any] = field(default_factory=dict)
    """Solution: what it asks of the ledger, placeholders included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A safety case as its file says it, checked for form."""

    title: str
    root: str
    elements: Mapping[str, Element]
    """By id: the root first, then depth first, each beside its circumstances."""
    digest: str
    """Of what the file says."""
    where: str
    """The file."""

    def of_kind(self, *kinds: str) -> list[Element]:
        """Elements of these kinds, in order."""
        return [e for e in self.elements.values() if e.kind in kinds]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Argued:
    text: str
    level: str = ""
    supported_by: tuple[str, ...] = ()
    in_context_of: tuple[str, ...] = ()
    undeveloped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Solution:
    text: str
    level: str = ""
    query: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Circumstance:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    schema: str
    title: str
    goal: Mapping[str, _Argued]
    strategy: Mapping[str, _Argued] = field(default_factory=dict)
    solution: Mapping[str, _Solution] = field(default_factory=dict)
    context: Mapping[str, _Circumstance] = field(default_factory=dict)
    assumption: Mapping[str, _Circumstance] = field(default_factory=dict)
    justification: Mapping[str, _Circumstance] = field(default_factory=dict)


def load(source: str | Path) -> Tree:
    """Read a tree from a file, or one that ships with Worldgate by its name: ``cell``.

    Raises:
        ConfigError: not a usable tree, naming file and key.
        NotFound: neither a file nor a shipped name.
    """
    tree, where = _SHELF.read(source)
    return read(tree, where=where)


def shipped() -> Sequence[str]:
    """Names of the trees that come with Worldgate."""
    return _SHELF.names()


def read(tree: Mapping[str, Any], *, where: str) -> Tree:
    """Check a tree's form.

    Raises:
        ConfigError: another schema, an unknown key or id, an element twice, a goal without support that does not say
            it is undeveloped, support that the notation does not allow, a circle, several roots, or an element that
            nothing leads to.
    """
    if tree.get("schema") != SCHEMA:
        raise ConfigError("not a tree of claims this version reads", got=tree.get("schema"), where=f"{where}:schema")
    told = decode(_File, tree, where=where)
    elements = _elements(told, where)
    for element in elements.values():
        _check_links(element, elements, where)
        _check_support(element, where)
    root = _root(elements, where)
    ordered = _below(root, elements)
    stray = [e for e in elements if e not in ordered]
    if stray:
        kind = elements[stray[0]].kind
        raise ConfigError("nothing leads to this element", got=stray[0], where=f"{where}:{kind}.{stray[0]}")
    return Tree(
        title=told.title,
        root=root,
        elements={name: elements[name] for name in ordered},
        digest=digest_json(tree),
        where=where,
    )


def _elements(told: _File, where: str) -> dict[str, Element]:
    found: dict[str, Element] = {}
    for kind in KINDS:
        for name, item in getattr(told, kind).items():
            place = f"{where}:{kind}.{name}"
            if _ID.fullmatch(name) is None:
                raise ConfigError("not a usable id", got=ascii(name)[:40], where=place, hint="letter first: G1, E2.a")
            if name in found:
                raise ConfigError(f"this id is a {found[name].kind} already", got=name, where=place)
            if not item.text.strip():
                raise ConfigError("an element that says nothing", where=f"{place}.text")
            level = getattr(item, "level", "")
            if level and level not in levels.LEVELS:
                near = ", ".join(levels.LEVELS)
                raise ConfigError("no such evidence level", got=level, where=f"{place}.level", hint=f"one of {near}")
            found[name] = Element(
                id=name,
                kind=kind,
                text=" ".join(item.text.split()),
                level=level,
                supported_by=getattr(item, "supported_by", ()),
                in_context_of=getattr(item, "in_context_of", ()),
                undeveloped=getattr(item, "undeveloped", False),
                query=getattr(item, "query", {}),
            )
    return found


def _check_links(element: Element, elements: Mapping[str, Element], where: str) -> None:
    allowed = {"supported_by": SUPPORTS.get(element.kind, ()), "in_context_of": CIRCUMSTANCES}
    for key, kinds in allowed.items():
        place = f"{where}:{element.kind}.{element.id}.{key}"
        names: tuple[str, ...] = getattr(element, key)
        if len(set(names)) != len(names):
            raise ConfigError("an id stands twice", got=", ".join(names), where=place)
        for name in names:
            if name not in elements:
                near = difflib.get_close_matches(name, elements, n=1)
                hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(elements)}"
                raise ConfigError("no such element", got=name, where=place, hint=hint)
            if elements[name].kind not in kinds:
                hint = f"a {' or a '.join(kinds)}" if kinds else "nothing"
                raise ConfigError(f"a {elements[name].kind} cannot stand here", got=name, where=place, hint=hint)


def _check_support(element: Element, where: str) -> None:
    place = f"{where}:{element.kind}.{element.id}"
    if element.kind not in ("goal", "strategy"):
        return
    if not element.supported_by and not element.undeveloped:
        raise ConfigError(
            f"a {element.kind} without support",
            got=element.id,
            where=f"{place}.supported_by",
            hint="name what supports it, or write undeveloped = true",
        )
    if element.supported_by and element.undeveloped:
        raise ConfigError("undeveloped, and yet supported", got=element.id, where=f"{place}.undeveloped")


def _root(elements: Mapping[str, Element], where: str) -> str:
    circle = _circle(elements)
    if circle:
        raise ConfigError("the argument goes in a circle", got=" -> ".join(circle), where=f"{where}:goal.{circle[0]}")
    below = {name for element in elements.values() for name in element.supported_by}
    roots = [e.id for e in elements.values() if e.kind == "goal" and e.id not in below]
    if len(roots) != 1:
        got = ", ".join(roots) or "no goal"
        raise ConfigError("a tree has one goal at the top", got=got, where=f"{where}:goal")
    return roots[0]


def _circle(elements: Mapping[str, Element]) -> tuple[str, ...]:
    """A circle of support, its first element repeated at its end; empty: there is none."""
    done: set[str] = set()
    for start in elements:
        path: list[str] = []
        waiting = [(start, False)]
        while waiting:
            name, left = waiting.pop()
            if left:
                done.add(path.pop())
            elif name in path:
                return (*path[path.index(name) :], name)
            elif name not in done:
                path.append(name)
                waiting += [(name, True), *((other, False) for other in reversed(elements[name].supported_by))]
    return ()


def _below(start: str, elements: Mapping[str, Element]) -> dict[str, None]:
    """An element and everything that leads down from it, depth first; circumstances beside what they belong to."""
    found: dict[str, None] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.setdefault(name)
            found |= dict.fromkeys(elements[name].in_context_of)
            waiting += reversed(elements[name].supported_by)
    return found
