"""Evidence levels L0 to L7: what a kind of evidence can show at most, so that no claim says more than its evidence.

Source: Yu, Zhang, Sheng, Ren and Lin, "How Should World Models Be Evaluated? A Decision-Making-Centric Position",
arXiv:2606.15032 (2026). Theirs: the ladder from visual plausibility (L0) to policy optimisation utility (L7); that L0
to L3 diagnose what a model generates, L4 is the first test by intervention, and L5 to L7 are the direct evidence of
usefulness for decisions. Ours: which of our checks and trials reaches which level, in the table below. It is strict:
predicting what followed on recorded actions intervenes in nothing, and a run inside a world model is something that
the model generated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LEVELS: Mapping[str, str] = {
    "L0": "diagnoses what is generated: looks plausible",
    "L1": "diagnoses what is generated",
    "L2": "diagnoses what is generated",
    "L3": "diagnoses what is generated: agrees with recordings",
    "L4": "intervenes: answers to other actions than the recorded ones",
    "L5": "useful for decisions: ranks or judges policies",
    "L6": "useful for decisions: a policy works in closed loop",
    "L7": "useful for decisions: a policy gets better by it",
}

OPEN_LOOP = "L3"
"""Recorded actions replayed, or runs imagined in a world model."""
CLOSED_LOOP = "L6"
"""A policy ran on a robot or in a simulator and met the consequences of its own actions."""

_CHECKS: Mapping[str, str] = {
    "action_sensitivity": "L4",
    "counterfactual": "L4",
    "rank": "L5",
    "success": CLOSED_LOOP,
    "violations": CLOSED_LOOP,
    "exceedance": CLOSED_LOOP,
    "strata": CLOSED_LOOP,
    "not_worse": CLOSED_LOOP,
    "incidents": CLOSED_LOOP,
}
"""Gate check -> level that a pass reaches; others reach :data:`OPEN_LOOP`. None reaches L7: not worse is no better."""


def rank(level: str) -> int:
    """Place on the ladder; -1: no level."""
    return int(level[1:]) if level else -1


def of_checks(checks: Iterable[Mapping[str, Any]]) -> str:
    """The highest level that the passed checks of a decision reach; none passed: none."""
    reached = [_CHECKS.get(str(c["check"]), OPEN_LOOP) for c in checks if c["status"] == "PASS"]
    return max(reached, key=rank, default="")


def short_of(stated: str, reached: str) -> str:
    """Why evidence does not carry the level that is stated of it, or nothing."""
    if rank(stated) <= rank(reached):
        return ""
    if not reached:
        return f"states {stated}, but this evidence has no level on that ladder"
    return f"states {stated} ({LEVELS[stated]}), but its evidence reaches {reached} ({LEVELS[reached]})"
