"""Sheets: what a person at the cell notes of one planned run, and the trial that follows from it.

The sheet says which row was run and what came of it; which release that was follows from the plan alone, so whoever
scores never has to know. Sheet and trial stand on the ledger together, signed by the operator. A row is recorded once:
the same entry sent again changes nothing, and another entry for the row is kept as refused, where everyone sees it.

Source: Kress-Gazit et al., arXiv:2409.09491 (blinded scoring by rubric, every run written down).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worldgate.core.atomic import locked
from worldgate.core.config import decode
from worldgate.core.digest import short, to_json
from worldgate.core.errors import DataRefused
from worldgate.core.evidence import Trial
from worldgate.core.times import SECOND
from worldgate.evidence import plans, scenarios
from worldgate.evidence.plans import EvalPlan, Row
from worldgate.evidence.trials import record_trials
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/trial-sheet/1"
REFUSED = "trial.refused"
LONGEST_S = 86_400.0
LONGEST_NOTE = 2000
MOST = 1000
"""Interventions or violations of one run."""
_AHEAD_NS = 60 * SECOND
_ID = re.compile(r"[A-Za-z0-9-]{8,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One run as a person saw it."""

    schema: str = SCHEMA
    plan: str
    """Digest."""
    row: int
    """Of the plan, from 1."""
    entry: str
    """Made by the device when the run began, so that sending it twice is seen."""
    client: str
    """The device."""
    started_ns: int
    """By the server's clock, as the device knew it."""
    clock_error_ns: int = 0
    """Half the round trip by which the device learned the server's clock."""
    duration_s: float
    success: bool
    goals: Mapping[str, bool] = field(default_factory=dict)
    """Sub-goals of the scenario's rubric, and whether each was reached."""
    violations: int = 0
    """Times a limit of the envelope was broken."""
    interventions_s: tuple[float, ...] = ()
    """When a person stepped in, in seconds after the start."""
    excluded: str = ""
    """A code of the plan's list; empty: the run counts."""
    note: str = ""
    """What went wrong."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return tree

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "sheet") -> Sheet:
        """Read back :meth:`to_json`.

        Raises:
            DataRefused: another schema.
            ConfigError: a field that is missing, unknown or of another type.
        """
        if tree.get("schema") != SCHEMA:
            raise DataRefused("not a sheet this version reads", got=tree.get("schema"), where=where)
        return decode(cls, tree, where=where)


def check(plan: EvalPlan, sheet: Sheet, goals: Sequence[str], *, now_ns: int) -> Row:
    """The row that a sheet is about.

    Raises:
        DataRefused: a sheet of another plan, a row or code that the plan does not have, sub-goals of another rubric, a
            run that began before its plan or in the future, or figures outside their range.
    """
    where = f"row {sheet.row}"
    if not 1 <= sheet.row <= len(plan.rows):
        raise DataRefused("the plan has no such row", got=sheet.row, where=f"{len(plan.rows)} rows")
    if _ID.fullmatch(sheet.entry) is None or _ID.fullmatch(sheet.client) is None:
        raise DataRefused("not an id of an entry or device", got=ascii(sheet.entry)[:80], where=where)
    if sheet.excluded and sheet.excluded not in plan.exclusions:
        codes = ", ".join(plan.exclusions) or "the plan has none"
        raise DataRefused("not an exclusion of the plan", got=ascii(sheet.excluded)[:80], where=where, hint=codes)
    if set(sheet.goals) != set(goals):
        raise DataRefused("other sub-goals than the scenario's", got=", ".join(sheet.goals)[:80], where=where)
    _figures(sheet, where)
    if sheet.started_ns < plan.registered_ns:
        raise DataRefused("begun before its plan was made", got=str(sheet.started_ns)[:40], where=where)
    if sheet.started_ns > now_ns + _AHEAD_NS:
        raise DataRefused("begun in the future", got=str(sheet.started_ns)[:40], where=where, hint="set the clock")
    return plan.rows[sheet.row - 1]


def _figures(sheet: Sheet, where: str) -> None:
    if not (math.isfinite(sheet.duration_s) and 0 <= sheet.duration_s <= LONGEST_S):
        raise DataRefused("not how long a run took", got=sheet.duration_s, where=where)
    if not 0 <= sheet.violations <= MOST or not 0 <= sheet.clock_error_ns <= LONGEST_S * SECOND:
        raise DataRefused("a figure outside its range", got=sheet.violations, where=where)
    within = all(math.isfinite(t) and 0 <= t <= sheet.duration_s for t in sheet.interventions_s)
    if len(sheet.interventions_s) > MOST or not within:
        raise DataRefused("interventions outside the run", got=len(sheet.interventions_s), where=where)
    if sheet.success and sheet.interventions_s:
        raise DataRefused("a run that needed a hand is no success", got="success", where=where)
    if len(sheet.note) > LONGEST_NOTE:
        raise DataRefused("too long a note", got=f"{len(sheet.note)} characters", where=where)


def trial_of(plan: EvalPlan, digest: str, row: Row, sheet: Sheet) -> Trial:
    """The trial that a sheet tells of; the release comes from the plan."""
    metrics = {"duration_s": sheet.duration_s, "interventions": float(len(sheet.interventions_s))}
    metrics |= {"goals_reached": float(sum(sheet.goals.values()))} if sheet.goals else {}
    return Trial(
        scenario=row.scenario,
        release=plan.release if row.side == "new" else plan.baseline,
        executor=plan.executor,
        slot=row.slot,
        seed=row.seed,
        success=sheet.success,
        violations=sheet.violations,
        metrics=metrics,
        excluded=sheet.excluded,
        started_ns=sheet.started_ns,
        plan=digest,
        row=sheet.row,
    )


class Book:
    """The rows of one plan as the ledger holds them, and the one place where a sheet becomes a trial.

    Args:
        ws: the workspace.
        plan: digest of a registered plan.
        actor: name of the operator's key.

    Raises:
        DataRefused: a plan that is not on the ledger.
    """

    def __init__(self, ws: Workspace, plan: str, *, actor: str | None = None) -> None:
        self.ws, self.digest, self.actor = ws, plan, actor
        self.plan = plans.load(ws, plan)
        registered = [event.seq for event in ws.ledger.events(plans.REGISTERED) if event.body["plan"] == plan]
        if not registered:
            raise DataRefused("this plan is not on the ledger", got=short(plan), hint="worldgate gate prereg")
        ws.signer(actor)  # learn now whether the key can be used
        scenes = {digest: scenarios.load(ws, digest) for digest in {row.scenario for row in self.plan.rows}}
        self.scenes = [scenes[row.scenario] for row in self.plan.rows]
        """One a row."""
        self.whole = registered[0]
        """The ledger's sequence when every pair that had begun was complete: what may be told without unblinding."""
        self._seq = 0
        self._entries: dict[int, str] = {}
        self._refused: dict[str, str] = {}
        self.refresh()

    @property
    def done(self) -> frozenset[int]:
        """Rows that have a trial, from 1."""
        return frozenset(self._entries)

    def refresh(self) -> None:
        """Take in what was recorded since, by this program or another."""
        for event in self.ws.ledger.events(("trial.run", REFUSED), since=self._seq):
            self._seq = event.seq
            if event.body.get("plan") != self.digest:
                continue
            if event.kind == REFUSED:
                self._refused[str(event.body["entry"])] = str(event.body["reason"])
                continue
            trial = self.ws.get_json(str(event.body["trial"]))
            sheet = next((ref.digest for ref in event.inputs if ref.kind == "trial_sheet"), "")
            entry = str(self.ws.get_json(sheet)["entry"]) if sheet else ""
            self._entries.setdefault(int(trial["row"]), entry)
            if not self._open():
                self.whole = event.seq

    def _open(self) -> bool:
        """Whether a pair is half done."""
        rows = enumerate(self.plan.rows, 1)
        begun = {row.pair for number, row in rows if number in self._entries}
        return any(r.pair in begun and n not in self._entries for n, r in enumerate(self.plan.rows, 1))

    def record(self, sheet: Sheet, *, now_ns: int, held_by: str = "") -> str:
        """Put a sheet and its trial on the ledger; durable when it returns.

        Args:
            sheet: as filled in.
            now_ns: the caller's clock.
            held_by: another device that has the row now; empty: none.

        Returns:
            Empty where it stands on the ledger, also if it did already; else why it was refused.

        Raises:
            DataRefused: a sheet that is not of this plan; nothing is kept of it.
        """
        if sheet.plan != self.digest:
            raise DataRefused("a sheet of another plan", got=ascii(sheet.plan)[:12], where=short(self.digest))
        goals = self.scenes[sheet.row - 1].rubric if 1 <= sheet.row <= len(self.plan.rows) else ()
        row = check(self.plan, sheet, goals, now_ns=now_ns)
        with locked(self.ws.cache / "trials" / f"{short(self.digest)}.lock"):
            self.refresh()
            if self._entries.get(sheet.row) == sheet.entry:
                return ""
            if sheet.entry in self._refused:
                return self._refused[sheet.entry]
            reason = "this row has been run" if sheet.row in self._entries else ""
            reason = reason or ("another device has this row now" if held_by else "")
            ref = Ref("trial_sheet", self.ws.put_json(sheet.to_json()), f"row-{sheet.row}")
            if reason:
                body = {"plan": self.digest, "row": sheet.row, "entry": sheet.entry, "reason": reason}
                self.ws.record(REFUSED, body=body, inputs=[Ref("plan", self.digest)], outputs=[ref], actor=self.actor)
            else:
                trial = trial_of(self.plan, self.digest, row, sheet)
                record_trials(self.ws, [trial], sources=[ref], actor=self.actor)
            self.refresh()
        return reason
