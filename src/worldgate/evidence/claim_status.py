"""What a safety case is worth now: every solution asked, every goal as good as its worst support, levels checked.

A stated evidence level is checked, not believed: a solution whose evidence cannot reach it has failed, and so has a
goal none of whose supports reaches what it states. Nothing is remembered: the same ledger at the same moment gives the
same assessment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worldgate.core.digest import to_json
from worldgate.core.times import format_ns
from worldgate.evidence import claim_levels as levels
from worldgate.evidence.claim_field import KINDS, read_query
from worldgate.evidence.claim_queries import Answer, Fresh, Standing, told
from worldgate.evidence.claims import Element, Tree
from worldgate.evidence.decide import DAY_NS
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/claims-report/1"
_WORST = list(Standing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An element of the tree with its standing."""

    element: Element
    standing: Standing | None
    """None: a context, assumption or justification, which claims nothing that could be asked."""
    reason: str = ""
    age_days: int | None = None
    evidence: tuple[str, ...] = ()
    level: str = ""
    """What its evidence reaches at most."""
    population: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A tree and what it is worth at a moment."""

    tree: Tree
    now_ns: int
    ledger_seq: int
    claims: Mapping[str, Claim]

    @property
    def root(self) -> Claim:
        """The goal at the top."""
        return self.claims[self.tree.root]

    @property
    def holds(self) -> bool:
        """Whether everything is shown and fresh."""
        return self.root.standing is Standing.FRESH


def assess(tree: Tree, ws: Workspace, *, now_ns: int, names: Mapping[str, str] | None = None) -> Assessment:
    """Ask every question of a tree and carry the answers up.

    Args:
        tree: a checked tree.
        ws: the workspace whose ledger is asked.
        now_ns: the moment.
        names: what ``$release``, ``$slot``, ``$site`` and ``$model`` mean here.

    Raises:
        ConfigError: a question that cannot be read, naming file and key.
        AmbiguousId: a name in a question that fits several things.
    """
    told_names = {"release": "", "slot": "", "site": "", "model": "", "witness": "", **(names or {})}
    questions = {
        e.id: read_query(e.query, told_names, where=f"{tree.where}:solution.{e.id}.query")
        for e in tree.of_kind("solution")
    }
    answers: dict[Fresh, Answer] = {}
    claims: dict[str, Claim] = {}
    for element in reversed(_upwards(tree)):
        if element.kind == "solution":
            question = questions[element.id]
            if question not in answers:
                answers[question] = question.aged(KINDS[question.kind][1](ws, question, now_ns), now_ns)
            claims[element.id] = _solution(element, answers[question], now_ns)
        elif element.kind in ("goal", "strategy"):
            claims[element.id] = _argued(element, [claims[name] for name in element.supported_by])
        else:
            claims[element.id] = Claim(element=element, standing=None)
    ordered = {name: claims[name] for name in tree.elements}
    return Assessment(tree=tree, now_ns=now_ns, ledger_seq=ws.ledger.head().seq, claims=ordered)


def _upwards(tree: Tree) -> list[Element]:
    """Every element before whatever supports it."""
    depth = dict.fromkeys(tree.elements, 0)
    changed = True
    while changed:  # a checked tree has no circle
        changed = False
        for element in tree.elements.values():
            for name in element.supported_by:
                if depth[name] <= depth[element.id]:
                    depth[name], changed = depth[element.id] + 1, True
    return sorted(tree.elements.values(), key=lambda e: depth[e.id])


def _solution(element: Element, answer: Answer, now_ns: int) -> Claim:
    if answer.standing is not Standing.UNDEVELOPED and element.level:
        wrong = levels.short_of(element.level, answer.level)
        answer = told(answer, Standing.FAILED, wrong) if wrong else answer
    return Claim(
        element=element,
        standing=answer.standing,
        reason=answer.reason,
        age_days=None if answer.at_ns is None else (now_ns - answer.at_ns) // DAY_NS,
        evidence=answer.evidence,
        level=answer.level,
        population=answer.population,
    )


def _argued(element: Element, below: list[Claim]) -> Claim:
    """A goal or strategy is as good as its worst support."""
    if element.undeveloped:
        return Claim(element=element, standing=Standing.UNDEVELOPED, reason="its author has not argued it yet")
    worst = max(below, key=lambda claim: _WORST.index(claim.standing or Standing.FRESH))
    standing = worst.standing or Standing.FRESH
    level = max((claim.level for claim in below), key=levels.rank)
    reason = "" if standing is Standing.FRESH else f"{worst.element.id} is {standing}"
    wrong = levels.short_of(element.level, level) if element.level else ""
    if wrong and standing in (Standing.FRESH, Standing.STALE):
        standing, reason = Standing.FAILED, wrong
    ages = [claim.age_days for claim in below if claim.age_days is not None]
    populations = sorted({p for claim in below for p in claim.population.split(", ") if p})
    return Claim(
        element=element,
        standing=standing,
        reason=reason,
        age_days=max(ages, default=None),
        level=level,
        population=", ".join(populations),
    )


def export(assessment: Assessment) -> dict[str, Any]:
    """Plain JSON: the standing of every element, and the argument in the terms of SACM.

    Goals and assumptions become ``Claim``, strategies ``ArgumentReasoning``, solutions and contexts
    ``ArtifactReference``; support becomes ``AssertedInference`` or ``AssertedEvidence``, circumstances
    ``AssertedContext``. It has SACM's classes and relations, not its XMI form.

    Source: OMG Structured Assurance Case Metamodel 2.3.
    """
    tree = assessment.tree
    body = {
        "schema": SCHEMA,
        "title": tree.title,
        "tree": tree.digest,
        "now_ns": assessment.now_ns,
        "ledger_seq": assessment.ledger_seq,
        "root": tree.root,
        "holds": assessment.holds,
        "elements": [_told(claim) for claim in assessment.claims.values()],
        "sacm": {"ArgumentPackage": {"gid": tree.digest, "name": tree.title, "argumentationElements": _sacm(tree)}},
    }
    out = to_json(body)
    assert isinstance(out, dict)
    return out


def _told(claim: Claim) -> dict[str, Any]:
    e = claim.element
    return {
        "id": e.id,
        "kind": e.kind,
        "text": e.text,
        "supported_by": e.supported_by,
        "in_context_of": e.in_context_of,
        "query": e.query,
        "standing": claim.standing,
        "reason": claim.reason,
        "age_days": claim.age_days,
        "level_stated": e.level,
        "level_reached": claim.level,
        "population": claim.population,
        "evidence": claim.evidence,
    }


_CLASSES = {
    "goal": "Claim",
    "strategy": "ArgumentReasoning",
    "solution": "ArtifactReference",
    "context": "ArtifactReference",
    "assumption": "Claim",
    "justification": "Claim",
}


def _sacm(tree: Tree) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for e in tree.elements.values():
        item: dict[str, Any] = {"class": _CLASSES[e.kind], "gid": e.id, "content": e.text}
        if _CLASSES[e.kind] == "Claim":
            developed = "needsSupport" if e.undeveloped else "asserted"
            declared = {"assumption": "assumed", "justification": "axiomatic"}
            item["assertionDeclaration"] = declared.get(e.kind, developed)
        out.append(item)
    for e in tree.elements.values():
        for name in e.supported_by:
            kind = "AssertedEvidence" if tree.elements[name].kind == "solution" else "AssertedInference"
            out.append({"class": kind, "gid": f"{name}-{e.id}", "source": [name], "target": [e.id]})
        for name in e.in_context_of:
            out.append({"class": "AssertedContext", "gid": f"{name}-{e.id}", "source": [name], "target": [e.id]})
    return out


def lines(assessment: Assessment) -> list[tuple[str, ...]]:
    """Rows for people: id, kind, standing, level stated and reached, age in days, population, text, reason."""
    return [
        (
            claim.element.id,
            claim.element.kind,
            claim.standing.value if claim.standing else "",
            "/".join(filter(None, (claim.element.level, claim.level))),
            "" if claim.age_days is None else str(claim.age_days),
            claim.population,
            claim.element.text,
            claim.reason,
        )
        for claim in assessment.claims.values()
    ]


def headline(assessment: Assessment) -> str:
    """One sentence."""
    root = assessment.root
    why = f": {root.reason}" if root.reason else ""
    return f"{root.element.id} is {root.standing} at {format_ns(assessment.now_ns)}{why}"
