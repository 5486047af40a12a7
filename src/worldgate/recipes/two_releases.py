"""Two releases and a world model before the gates: one release is hasty, one world model sees success where it fails.

Both are compared with the release that runs today, scene by scene, in a plan that was drawn before the first trial:
half of the rows are the old release, and nobody who sets a scene up knows which. Over all scenes the hasty one succeeds
about as often as many a site would accept; by stratum it does not.

Two world models of pushing stand before the other gate. They differ in one thing: in one, the object slides to the bay
by itself. It needs held-out episodes and no trial to be found.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldgate.control.demonstrations import demonstrate
from worldgate.control.policies import scripted
from worldgate.core.evidence import Status, Trial, Verdict
from worldgate.core.normalisers import Normaliser
from worldgate.core.report import Section, Table, write_report
from worldgate.core.streams import Origin
from worldgate.core.times import parse_ns
from worldgate.evidence import decide, plans, scenarios
from worldgate.evidence.decide import Decision, Scope
from worldgate.evidence.evaluation.keeping import measure
from worldgate.evidence.evaluation.measures import EvaluateConfig
from worldgate.evidence.sequential import SequentialPlan, fixed_trials
from worldgate.evidence.statistics import binomial_lower
from worldgate.recipes import _cell_gates as gates
from worldgate.recipes._cell_releases import Candidate, publish
from worldgate.recipes._cell_stage import DAY, SLOTS, Stage, build
from worldgate.recipes._kinematic import Kinematic
from worldgate.recipes._result import Result
from worldgate.recipes._story import Quiet, Story
from worldgate.record.events import Ref
from worldgate.sim import scenario as situations
from worldgate.sim.attributes import Attributes
from worldgate.sim.environment import CellEnvironment
from worldgate.sim.experts import Expert, ExpertConfig
from worldgate.sim.sensing import ACTION, AROUND, STATE

CARD = {
    "line": "two releases against the one that runs, one worse where the table is wet, and an optimistic world model",
    "inputs": "nothing; the embedded cell",
    "needs": "sim",
    "source": "Kress-Gazit et al., arXiv:2409.09491",
}

NOTICE = "Simulated data. The embedded cell stands in for the field; nothing on this page is evidence about real arms."
SITE = "south"
ARMS = tuple(slot for slot in SLOTS if slot.site == SITE)
SCENES: Mapping[str, Attributes] = {
    "plain": Attributes(),
    "person": Attributes(person=True),
    "wet": Attributes(spill=0.10),
}
"""Strata: what a scene may have, and physically has."""
RELEASES = {
    "today": ExpertConfig(),
    "quicker": ExpertConfig(speed_m_s=0.36),
    "hasty": ExpertConfig(push_m_s=0.30),
}
"""The one that runs; one that is quicker on the free way; one that pushes half as fast again."""
BATCH = 24
GATED = parse_ns("2026-11-16T09:00:00Z")
"""Gates decide; about the second release a day later."""
WORLDS = {
    "kinematic": "The object keeps its distance from the tool and stays where it was left.",
    "optimistic": "The same, but in every step the object slides 15 % of its way to the bay: seeded, as in a model that"
    " saw only what succeeded. It is right about every success, and says success where the recording fails.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoReleasesConfig:
    """Sizes."""

    pairs: int = 72
    """Scenes of the suite, a third of each stratum."""
    episodes: int = 24
    """Held-out episodes that the world models are judged on."""
    seed: int = 0
    """Of everything that is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the gate said of one release, and after how much."""

    plan: plans.EvalPlan
    decision: Decision
    trials: tuple[Trial, ...]
    scenes: int

    @property
    def caught(self) -> list[str]:
        """Which checks failed."""
        found = (c for c in self.decision.checks if c.status is Status.FAIL)
        return [f"{c.check} {c.signal}".rstrip() for c in found]


def run(folder: Path, config: TwoReleasesConfig | None = None, story: Story | None = None) -> Result:
    """Judge both releases in a new workspace and write one report.

    Args:
        folder: a folder that holds no workspace.
        config: sizes and seeds.
        story: where to tell what happens.

    Raises:
        AlreadyExists: the folder holds a workspace.
        MissingExtra: MuJoCo is not installed.
    """
    config, begun = config or TwoReleasesConfig(), time.monotonic()
    stage = build(folder, story or Quiet())
    believed = _world_models(stage, config)
    rule = gates.gate_policy(stage.ws, "two-releases")
    made = {name: _release(stage, name, settings, seed=config.seed) for name, settings in RELEASES.items()}
    held = _suite(stage, config)
    good = _judge(stage, rule, made["quicker"], made["today"], held, now_ns=GATED)
    stage.close_scene(_section("quicker", good, "It moves faster on the free way and pushes as before."))
    bad = _judge(stage, rule, made["hasty"], made["today"], held, now_ns=GATED + DAY)
    as_told = believed and good.decision.verdict is Verdict.PROMOTE and "strata scene=wet" in bad.caught
    stage.close_scene(_section("hasty", bad, f"It pushes half as fast again. {_fixed(bad)}"))
    report = write_report(
        folder / "report.html",
        title="Two releases and the gate",
        lead="Both were tried on the same drawn scenes as the release that runs, side by side and blind.",
        notice=NOTICE,
        sections=stage.sections,
    )
    facts = {
        name: {
            "verdict": str(judged.decision.verdict),
            "scenes": judged.scenes,
            "trials": len(judged.trials),
            "caught": judged.caught,
        }
        for name, judged in (("quicker", good), ("hasty", bad))
    }
    return Result(
        report=report,
        workspace=folder,
        seconds=time.monotonic() - begun,
        as_told=as_told,
        facts=stage.facts | facts,
        commands=(
            f"worldgate show {bad.decision.ref.digest[:12]} -w {folder}",
            f"worldgate record verify -w {folder}",
        ),
    )


def _world_models(stage: Stage, config: TwoReleasesConfig) -> bool:
    """The admission gate about both; true if the optimistic one alone is refused."""
    stage.scene("Which world model may speak about success?")
    ws = stage.ws
    rule = gates.gate_policy(ws, "two-releases-admission")
    shown = [
        demonstrate(
            CellEnvironment(SITE, attributes=SCENES["wet" if i % 2 else "plain"]),
            Expert(RELEASES["hasty"], SITE),
            (STATE, AROUND, ACTION),
            seed=config.seed + 9000 + i,
        )
        for i in range(config.episodes)
    ]
    data = Ref("dataset", ws.put_json({"schema": "worldgate/demonstrations/1", "episodes": [e.id for e in shown]}))
    ws.record("demonstrations.made", body={"episodes": len(shown)}, outputs=(data,))
    measured = EvaluateConfig(horizons=(10,), samples=1, other_actions=False, measures=("optimism", "determinism"))
    verdicts = []
    for name, pull in (("kinematic", 0.0), ("optimistic", 0.15)):
        model = Kinematic(pull=pull)
        _, _, evidence = measure(ws, model, shown, measured, dataset=data, site=SITE)
        subject, scope = Ref("world_model", model.spec.digest, name), Scope(sites=(SITE,))
        decision = decide.decide(ws, rule, subject, [evidence], scope=scope, now_ns=GATED, valid_for_ns=60 * DAY)
        failed = [c.signal or c.check for c in decision.checks if c.status is Status.FAIL]
        verdicts.append(decision.verdict)
        stage.close_scene(
            Section(
                title=f"The {name} world model",
                verdict=f"{decision.verdict} from {len(shown)} held-out episodes and no trial"
                + (f": {failed[0].split('/')[-1]}" if failed else ""),
                tone="good" if decision.verdict is Verdict.ADMIT else "bad",
                words=(WORLDS[name],),
                tables=(gates.table(decision, caption="The admission gate"),),
                commands=(f"worldgate show {decision.ref.digest[:12]}",),
            )
        )
    stage.facts["world_models"] = [str(verdict) for verdict in verdicts]
    return verdicts == [Verdict.ADMIT, Verdict.REJECT]


def _release(stage: Stage, name: str, settings: ExpertConfig, *, seed: int) -> Candidate:
    """A scripted controller as an executable release, with the record of what its statistics were taken from."""
    shown = [
        demonstrate(CellEnvironment(SITE), Expert(settings, SITE), (STATE, AROUND, ACTION), seed=seed + 100 + i)
        for i in range(4)
    ]
    document = {"schema": "worldgate/demonstrations/1", "site": SITE, "episodes": [e.id for e in shown]}
    dataset = Ref("dataset", stage.ws.put_json(document), f"demonstrations-{name}")
    stage.ws.record("demonstrations.made", body={"episodes": len(shown)}, outputs=(dataset,))
    rows = {s.name: np.concatenate([e.array(s.name) for e in shown]) for s in (STATE, AROUND)}
    fitted = scripted.configure(settings, SITE, Normaliser.fit(rows))
    return publish(stage, fitted, name=name, dataset=dataset, episodes=tuple(e.id for e in shown))


def _suite(stage: Stage, config: TwoReleasesConfig) -> Ref:
    """Scenes of every stratum in turn; it may serve both releases, each at half of the error."""
    digests, kinds = [], list(SCENES)
    for number in range(config.pairs):
        kind = kinds[number % len(kinds)]
        drawn = situations.sample(SITE, seed=config.seed + 40_000 + number, attributes=SCENES[kind])
        wrapped = gates.wrap(drawn, name=f"{SITE}-{kind}-{number}", strata={"scene": kind})
        digests.append(scenarios.register(stage.ws, wrapped).digest)
    suite = scenarios.Suite(name="three-kinds", role="gate-holdout", scenarios=tuple(digests), attempts=2)
    return scenarios.register_suite(stage.ws, suite)


def _judge(stage: Stage, rule: Ref, new: Candidate, old: Candidate, held: Ref, *, now_ns: int) -> Judged:
    """Register a plan with a baseline, run it in batches and ask the gate after each, until it has its answer."""
    ws, name = stage.ws, new.ref.name
    stage.scene(f"Is {name} good enough?")
    plan = plans.make(
        ws,
        name=f"{name}-against-{old.ref.name}",
        policy=rule,
        release=new.ref,
        baseline=old.ref,
        suite=held,
        slots=tuple(map(str, ARMS)),
        pairs=len(ws.get_json(held.digest)["scenarios"]),
        executor=Origin.SIMULATED,
        now_ns=now_ns,
    )
    found = gates.try_until_decided(
        stage, plan, rule, new.ref, {"new": new.policy, "old": old.policy}, batch=BATCH, now_ns=now_ns
    )
    return Judged(plan=plan, decision=found.decision, trials=found.trials, scenes=len(found.trials) // 2)


def _fixed(bad: Judged) -> str:
    """What a fixed number of trials and a threshold would have said of it, from the same runs."""
    own = [t.success for t in bad.trials if t.release == bad.decision.payload["subject"]["digest"]]
    test = SequentialPlan.make(p0="0.75", alpha="0.05", looks=(72,))
    needed = fixed_trials(test, 0.95) or len(own)
    wins, n = sum(own[:needed]), min(needed, len(own))
    lower = float(binomial_lower(wins, n, "0.05"))
    passed = "would have let it pass" if lower > 0.75 else "would have refused it, too"
    return (
        f"{wins} of its first {n} scenes succeeded, a lower bound of {lower:.2f}: a threshold on success alone, at"
        f" 0.75 after a fixed {needed} trials, {passed}"
    )


def _section(name: str, judged: Judged, words: str) -> Section:
    decision = judged.decision
    caught = f": {', '.join(judged.caught)}" if judged.caught else ""
    return Section(
        title=f"{name} against today's release",
        verdict=f"{decision.verdict} after {judged.scenes} scenes, {len(judged.trials)} trials{caught}",
        tone="good" if decision.verdict is Verdict.PROMOTE else "bad",
        words=(words,),
        tables=(gates.table(decision, caption="The promotion gate"), _by_stratum(judged)),
        commands=(f"worldgate show {decision.ref.digest[:12]}",),
    )


def _by_stratum(judged: Judged) -> Table:
    """Successes of both releases in each stratum."""
    rows = []
    for kind in SCENES:
        told = []
        for side in ("new", "old"):
            ran = [t.success for t in judged.trials if _row(judged, t).side == side and _stratum(judged, t) == kind]
            told.append(f"{sum(ran)} of {len(ran)}")
        rows.append((kind, *told))
    return Table(headings=("scene", "new", "old"), rows=tuple(rows), caption="Runs that succeeded")


def _row(judged: Judged, trial: Trial) -> plans.Row:
    return judged.plan.rows[trial.row - 1]


def _stratum(judged: Judged, trial: Trial) -> str:
    return _row(judged, trial).strata["scene"]
