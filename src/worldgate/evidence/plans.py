"""Plans: what will be tried, on which scenes, in which order and how it will be judged; said before the first trial.

A plan names the gate policy (and with it the estimands, margins, looks and stopping rules), the release, the release it
is compared with, the suite, and every run in the order in which it will be made. Which scenes, in which order, with
which seeds and which side of a pair first follows from the suite, the release and the number of the attempt: nobody
chooses it, and anybody can draw it again.

Attempts wear a suite out. A plan is an attempt once it has a trial; plans at a common site that share a suite, a scene
or the release count together, and each spends an equal part of alpha, so that trying until it passes gains nothing.

What came of a plan is read in :mod:`worldgate.evidence.planned`.

Sources: Kress-Gazit et al., arXiv:2409.09491 (interleaved, blinded comparison); Nosek et al., PNAS 115 (2018)
(registration before data).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from worldgate.core.choices import settle
from worldgate.core.config import decode
from worldgate.core.digest import digest_json, sha256, short, to_json
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.names import Name, Slot
from worldgate.core.streams import Origin
from worldgate.evidence import policy as policies
from worldgate.evidence import scenarios
from worldgate.evidence.bootstrap import draws
from worldgate.evidence.scenarios import Scenario, Suite
from worldgate.record.events import Event, Ref
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/plan/1"
REGISTERED = "plan.registered"

Side: TypeAlias = Literal["new", "old"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run to be made."""

    scenario: str
    """Digest."""
    seed: int
    slot: str
    side: Side = "new"
    pair: int
    """From 1: runs of one pair share scene and seed. Without a baseline each row is its own."""
    tripwire: bool = False
    """Must be passed and enters no bound: an incident's scenario, or one that fails only where something is broken."""
    strata: Mapping[str, str] = field(default_factory=dict)
    """The scenario's, so that a plan can be read alone."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalPlan:
    """What will be tried."""

    schema: str = SCHEMA
    name: str
    policy: str
    """Digest of the gate policy: estimands, margins, looks, stopping."""
    release: str
    """Digest of the release that is judged."""
    baseline: str = ""
    """Digest of the release it is compared with; empty: none."""
    suite: str
    """Digest."""
    executor: Origin
    slots: tuple[str, ...]
    """Arms that the trials run on."""
    pairs: int
    """Scenes that enter bounds at most."""
    attempt: int
    """Which attempt this was when it was registered, from 1."""
    attempts: int
    """How many the suite may serve: alpha is divided by it."""
    exclusions: tuple[str, ...] = ()
    """Codes under which a run may be excluded. It counts as a failure all the same; both figures are told."""
    registered_ns: int
    """A trial that began before does not count as a success."""
    rows: tuple[Row, ...]
    """In the order in which they are run."""

    def __post_init__(self) -> None:
        settle(self)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return tree

    @property
    def digest(self) -> str:
        """Identity."""
        return digest_json(self.to_json())

    @property
    def sites(self) -> frozenset[str]:
        """Where it is run."""
        return frozenset(row.slot.split("/")[0] for row in self.rows)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "plan") -> EvalPlan:
        """Read back :meth:`to_json`.

        Raises:
            DataRefused: another schema.
        """
        if tree.get("schema") != SCHEMA:
            raise DataRefused("not a plan this version reads", got=tree.get("schema"), where=where)
        return decode(cls, tree, where=where)


def seed_of(suite: str, release: str, attempt: int) -> int:
    """The seed that a plan is drawn from: nobody's choice."""
    return int(sha256(f"{suite}/{release}/{attempt}".encode())[:15], 16)


def draw(
    listed: Mapping[str, Scenario], slots: Sequence[str], *, pairs: int, seed: int, baseline: bool = False
) -> tuple[Row, ...]:
    """The rows of a plan.

    Tripwires come first, by the new release alone. Then the scenes in a drawn order, each once, on the arms of its
    site in turn; with a baseline twice, the side that runs first drawn for each pair.

    Args:
        listed: digest -> scenario: what may be run, tripwires among them.
        slots: arms.
        pairs: scenes that enter bounds.
        seed: see :func:`seed_of`.
        baseline: whether each scene is also run by the baseline.

    Raises:
        UsageError: fewer scenes than pairs (a repeated scene is no second trial), or a scene at no site of the slots.
    """
    arms: dict[str, list[str]] = {}
    for slot in slots:
        arms.setdefault(Slot.parse(slot).site, []).append(slot)
    astray = next((s for s in listed.values() if s.site not in arms), None)
    if astray is not None:
        raise UsageError("a scene at a site without an arm", got=f"{astray.name} at {astray.site}", hint="--slot")
    digests = sorted(listed)
    order = np.argsort(draws(seed, len(digests), 1 << 32), kind="stable")
    seeds, firsts = draws(seed + 1, len(digests), 1 << 31), draws(seed + 2, len(digests), 2)
    drawn = [digests[i] for i in order]
    wires = [d for d in drawn if listed[d].tripwire]
    scenes = [d for d in drawn if not listed[d].tripwire]
    if not 0 < pairs <= len(scenes):
        raise UsageError(
            "a scene counts once, so a plan has at most as many as its suite",
            got=f"{pairs} of {len(scenes)}",
            hint="add scenes to the suite",
        )
    rows: list[Row] = []
    turns = dict.fromkeys(arms, 0)
    for pair, digest in enumerate([*wires, *scenes[:pairs]], 1):
        scenario = listed[digest]
        turn, turns[scenario.site] = turns[scenario.site], turns[scenario.site] + 1
        sides: tuple[Side, ...] = ("new",)
        if baseline and not scenario.tripwire:
            sides = ("new", "old") if firsts[pair - 1] else ("old", "new")
        rows += [
            Row(
                scenario=digest,
                seed=int(seeds[pair - 1]),
                slot=arms[scenario.site][turn % len(arms[scenario.site])],
                side=side,
                pair=pair,
                tripwire=scenario.tripwire,
                strata=scenario.strata,
            )
            for side in sides
        ]
    return tuple(rows)


def make(
    ws: Workspace,
    *,
    name: str,
    policy: Ref,
    release: Ref,
    suite: Ref,
    slots: Sequence[str],
    pairs: int,
    executor: Origin = Origin.REAL,
    baseline: Ref | None = None,
    exclusions: Sequence[str] = (),
    now_ns: int,
) -> EvalPlan:
    """Draw a plan from what the ledger holds: the suite's scenes at these sites, and every incident's scenario there.

    Raises:
        UsageError: a suite that is not held out, too few scenes, an executor that the policy does not count, or the
            release compared with itself.
        NotFound: no such policy, suite or scenario.
    """
    rule = policies.read(ws.get_json(policy.digest), where=short(policy.digest))
    held = suite_of(ws, suite.digest)
    if rule.kind != "promotion":
        raise UsageError("only a promotion has trials to plan", got=f"{rule.name} is an {rule.kind}")
    if executor not in rule.origins:
        raise UsageError("this policy does not count such trials", got=executor, hint=f"population: {rule.population}")
    if baseline is not None and baseline.digest == release.digest:
        raise UsageError("a release compared with itself", got=short(release.digest))
    listed = playable(ws, held, slots)
    loose = next((s.name for s in listed.values() if rule.envelope and not s.envelope.within(rule.envelope)), None)
    if loose is not None:
        raise UsageError("a scene with wider limits than the policy's envelope", got=loose, where=held.name)
    scenes = frozenset(digest for digest, scenario in listed.items() if not scenario.tripwire)
    attempt = 1 + len(attempts_before(ws, suite.digest, release.digest, scenes, sites=_sites(slots)))
    return EvalPlan(
        name=Name(name),
        policy=policy.digest,
        release=release.digest,
        baseline=baseline.digest if baseline else "",
        suite=suite.digest,
        executor=executor,
        slots=tuple(slots),
        pairs=pairs,
        attempt=attempt,
        attempts=held.attempts,
        exclusions=tuple(exclusions),
        registered_ns=now_ns,
        rows=draw(
            listed,
            slots,
            pairs=pairs,
            seed=seed_of(suite.digest, release.digest, attempt),
            baseline=baseline is not None,
        ),
    )


def suite_of(ws: Workspace, digest: str) -> Suite:
    """A suite from the store.

    Raises:
        NotFound: no such object.
        DataRefused: not a suite.
    """
    return Suite.from_json(ws.get_json(digest), where=short(digest))


def playable(ws: Workspace, suite: Suite, slots: Sequence[str], *, upto_seq: int | None = None) -> dict[str, Scenario]:
    """Scenes that a plan may draw from: the suite's at these arms' sites, and every incident's scenario there.

    Raises:
        UsageError: what training may see, under any name; or two names for one situation, which are one scene.
    """
    if suite.role == "train-visible":
        raise UsageError("what training may see proves nothing", got=suite.name, hint="a suite of role gate-holdout")
    sites, last = _sites(slots), ws.ledger.head().seq if upto_seq is None else upto_seq
    digests = [*suite.scenarios, *(i["scenario"] for i in scenarios.incident_scenarios(ws, upto_seq=last))]
    listed = {digest: scenarios.load(ws, digest) for digest in digests}
    seen = scenarios.train_visible(ws, upto_seq=last).intersection(listed)
    if seen:
        raise UsageError("what training may see proves nothing", got=listed[min(seen)].name, where=suite.name)
    scenes = [scenario.situation for scenario in listed.values() if not scenario.tripwire]
    if len(set(scenes)) < len(scenes):
        raise UsageError("two scenarios of one situation are one scene", where=suite.name, hint="name it once")
    return {digest: scenario for digest, scenario in listed.items() if scenario.site in sites}


def register(ws: Workspace, plan: EvalPlan, *, actor: str | None = None) -> Ref:
    """Keep a plan and record ``plan.registered``; only trials that come after it on the ledger count."""
    ref = Ref("plan", ws.put_json(plan.to_json()), plan.name)
    body = {
        "plan": ref.digest,
        "release": plan.release,
        "suite": plan.suite,
        "attempt": plan.attempt,
        "sites": sorted(plan.sites),
    }
    inputs = [Ref("gate_policy", plan.policy), Ref("release", plan.release), Ref("suite", plan.suite)]
    inputs += [Ref("release", plan.baseline)] if plan.baseline else []
    inputs += [Ref("scenario", digest) for digest in dict.fromkeys(row.scenario for row in plan.rows)]
    ws.record(REGISTERED, body=body, inputs=inputs, outputs=(ref,), valid_from_ns=plan.registered_ns, actor=actor)
    return ref


def problems(ws: Workspace, plan: EvalPlan, *, seq: int) -> list[str]:
    """What is wrong with a registered plan, which somebody may have written by hand; nothing if it was drawn.

    Args:
        ws: the workspace.
        plan: the plan.
        seq: its place on the ledger: what came later was not there to be drawn from.
    """
    rule = policies.read(ws.get_json(plan.policy), where=short(plan.policy))
    suite = suite_of(ws, plan.suite)
    found = []
    try:
        listed = playable(ws, suite, plan.slots, upto_seq=seq)
        seed = seed_of(plan.suite, plan.release, plan.attempt)
        drawn = draw(listed, plan.slots, pairs=plan.pairs, seed=seed, baseline=bool(plan.baseline))
    except UsageError as error:
        return [error.what]
    if drawn != plan.rows:
        found.append("its rows are not those that its suite, release and attempt give")
    if plan.attempts != suite.attempts:
        found.append("it says another number of attempts than its suite")
    if rule.envelope and not all(s.envelope.within(rule.envelope) for s in listed.values()):
        found.append("a scene has wider limits than the policy's envelope")
    if plan.executor not in rule.origins:
        found.append(f"its trials are {plan.executor}, which the policy does not count")
    return found


def load(ws: Workspace, digest: str) -> EvalPlan:
    """A plan from the store.

    Raises:
        NotFound: no such object.
        DataRefused: not a plan.
    """
    return EvalPlan.from_json(ws.get_json(digest), where=short(digest))


def newest(ws: Workspace, release: str, sites: Sequence[str], *, upto_seq: int) -> Event | None:
    """The plan that a gate reads: the newest of a release at any of these sites. Older ones count as attempts."""
    found = None
    for event in ws.ledger.events(REGISTERED):
        if event.seq <= upto_seq and event.body["release"] == release and set(event.body["sites"]) & set(sites):
            found = event
    return found


def attempts_before(
    ws: Workspace,
    suite: str,
    release: str,
    scenes: Mapping[str, Any] | frozenset[str],
    *,
    sites: frozenset[str],
    before: str = "",
    upto_seq: int | None = None,
) -> tuple[str, ...]:
    """Plans with a trial that wore out what a plan rests on, at its sites: the suite, one of its scenes, its release.

    Args:
        ws: the workspace.
        suite: digest.
        release: digest.
        scenes: digests of the plan's scenes.
        sites: of the plan.
        before: digest of the plan itself, where it is registered: only earlier ones count.
        upto_seq: the ledger as it stood there; None: now.
    """
    last = ws.ledger.head().seq if upto_seq is None else upto_seq
    tried = {str(e.body.get("plan", "")) for e in ws.ledger.events("trial.run") if e.seq <= last}
    found = []
    for event in ws.ledger.events(REGISTERED):
        digest = str(event.body["plan"])
        if digest == before or event.seq > last:
            break
        if digest not in tried or not set(event.body["sites"]) & sites:
            continue
        alike = event.body["suite"] == suite or event.body["release"] == release
        if alike or any(ref.kind == "scenario" and ref.digest in scenes for ref in event.inputs):
            found.append(digest)
    return tuple(found)


def _sites(slots: Sequence[str]) -> frozenset[str]:
    return frozenset(str(Slot.parse(slot).site) for slot in slots)
