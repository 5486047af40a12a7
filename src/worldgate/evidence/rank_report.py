"""A ranking as evidence: every outcome of every policy on both sides, so that each figure can be computed again.

The document is plain JSON (schema ``worldgate/ranking/1``), put into the store and named by its digest. It says which
side is imagined, whether the world model held an admission, and how far of each imagined run that admission reached.
No gate counts it as trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import to_json
from worldgate.core.errors import DataRefused
from worldgate.core.report import Table
from worldgate.core.streams import Origin
from worldgate.evidence.exact import shown
from worldgate.evidence.rank_bootstrap import Ranked, ranked
from worldgate.evidence.statistics import binomial_interval
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/ranking/1"
UNADMITTED = "the world model holds no admission here: its order is told, and is no evidence for a gate"
WORDS = {
    "pearson": "Pearson's r",
    "spearman": "Spearman's rho",
    "mmrv": "mean maximum rank violation",
    "bias": "bias, imagined minus true",
    "worst": "worst error of a policy",
    "regret": "regret of the model's favourite",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRuns:
    """One policy on both sides."""

    name: str
    release: str
    """Digest of the release."""
    true: tuple[float, ...]
    """Outcome by start in the true environment."""
    imagined: tuple[float, ...]
    """Outcome by start in the world model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """All of it."""

    subject: str
    """Digest of the world model."""
    origin: Origin
    """Of the true side: real or simulated."""
    task: str
    outcome: str
    unit: str
    seeds: tuple[int, ...]
    """Of the starts, in the order of the outcomes."""
    steps: int
    rate_hz: float
    admission: str
    """Digest of the decision that admits the model; empty: none is in force."""
    valid_steps: int
    """Steps of each imagined run that the admission covers."""
    policies: tuple[PolicyRuns, ...]
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return tree

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "ranking") -> RankReport:
        """Read back :meth:`to_json`.

        Raises:
            DataRefused: another schema.
        """
        if tree.get("schema") != SCHEMA:
            raise DataRefused("not a ranking this version reads", got=tree.get("schema"), where=where)
        return decode(cls, tree, where=where)

    def ranked(self, *, alpha: str = "0.025") -> Ranked:
        """Every figure with its interval."""
        true, imagined = {p.name: p.true for p in self.policies}, {p.name: p.imagined for p in self.policies}
        return ranked(real=true, imagined=imagined, alpha=alpha)

    def marks(self) -> tuple[str, ...]:
        """What must stand beside every figure."""
        seconds = self.steps / self.rate_hz
        valid = self.valid_steps / self.rate_hz
        beyond = f"imagined runs last up to {seconds:g} s, of which {valid:g} s lie within the model's valid horizon"
        return (beyond,) if self.admission else (UNADMITTED, beyond)


def policy_table(report: RankReport) -> Table:
    """One row a policy, the truly best first; imagined stands beside simulated or real, each under its name."""
    order = sorted(report.policies, key=lambda p: (-float(np.mean(p.true)), p.name))
    rows = [
        (p.name, p.release[:12], _mean(p.true), _mean(p.imagined), f"{np.mean(p.imagined) - np.mean(p.true):+.2f}")
        for p in order
    ]
    unit = "" if report.unit == "1" else f" [{report.unit}]"
    sides = tuple(f"{report.outcome}{unit}, {side}" for side in (report.origin.value, "imagined"))
    headings = ("policy", "release", *sides, "imagined minus true")
    caption = f"{report.task}: {len(report.seeds)} starts, the same on both sides; 95 % exact where outcomes are 0 or 1"
    return Table(headings=headings, rows=tuple(rows), caption=caption)


def figure_table(found: Ranked) -> Table:
    """One row a figure, with its interval and what was redrawn for it."""
    rows = []
    for name, words in WORDS.items():
        figure = found.figures.get(name)
        if figure is None:
            rows.append((words, "INCONCLUSIVE", "-", "-", found.why or "too few starts for an interval"))
        else:
            told = (shown(float(figure.lower)), shown(float(figure.upper)))
            rows.append((words, shown(figure.estimate), *told, figure.redrawn))
    return Table(headings=("figure", "value", "lower", "upper", "redrawn"), rows=tuple(rows))


def _mean(values: Sequence[float]) -> str:
    mean = float(np.mean(values))
    if not set(values) <= {0.0, 1.0}:
        return f"{mean:.2f}"
    low, high = binomial_interval(int(sum(values)), len(values), "0.05")
    return f"{mean:.2f} [{float(low):.2f}, {float(high):.2f}]"


def put(ws: Workspace, report: RankReport, *, inputs: Sequence[Ref] = ()) -> Ref:
    """Keep a ranking and record ``evidence.made``."""
    ref = Ref("evidence", ws.put_json(report.to_json()), "ranking")
    body = {
        "evidence": ref.digest,
        "schema": SCHEMA,
        "subject": report.subject,
        "origin": report.origin,
        "policies": len(report.policies),
        "starts": len(report.seeds),
        "admission": report.admission,
    }
    ws.record("evidence.made", body=body, inputs=inputs, outputs=(ref,))
    return ref
