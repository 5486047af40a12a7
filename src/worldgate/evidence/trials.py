"""Trials: runs of a policy in an environment over scenarios, judged by what the site measures, kept on the ledger.

The oracles of its scenario judge a run (:mod:`worldgate.evidence.judging`): whether it succeeded, how often it broke a
limit, and what was not measured. A run of which something was not measured is excluded with its reason, and an excluded
run counts as a failure in every bound (intention to test). Trials keep the origin of their environment: real, simulated
or imagined.

Source of the practice: Kress-Gazit et al., arXiv:2409.09491.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldgate.core.config import decode
from worldgate.core.digest import to_json
from worldgate.core.errors import DataRefused
from worldgate.core.evidence import Trial
from worldgate.core.times import now_ns
from worldgate.core.units import same_unit
from worldgate.core.worlds import Environment, Policy
from worldgate.evidence import judging
from worldgate.evidence.runs import Recorder
from worldgate.evidence.scenarios import Scenario
from worldgate.record.events import Draft, Ref
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/trial/1"
LIST_SCHEMA = "worldgate/trials/2"

EnvironmentFactory = Callable[[Scenario, int], Environment]
"""(scenario, seed) -> an environment set to its initial situation by ``reset``."""


def run_trial(
    policy: Policy,
    environment: Environment,
    scenario: Scenario,
    *,
    slot: str,
    seed: int,
    max_steps: int,
    clock: Callable[[], int] = now_ns,
) -> Trial:
    """Run a policy once and let the scenario's oracles judge it, by facts and described observations.

    Raises:
        DataRefused: what :func:`refuse_misfit` refuses.
    """
    refuse_misfit(scenario, environment)
    started = clock()
    observation = environment.reset(seed=seed)
    policy.reset(seed=seed)
    recorder = Recorder(
        rate_hz=environment.rate_hz, origin=environment.origin, signals=getattr(environment, "signals", ())
    )
    for _ in range(max_steps):
        transition = environment.step(policy.act(observation))
        observation = transition.observation
        recorder.add(transition)
        if transition.done:
            break
    judgement = judging.judge(scenario, run := recorder.run())
    return Trial(
        scenario=scenario.digest,
        release=policy.digest,
        executor=environment.origin,
        slot=slot,
        seed=seed,
        success=judgement.success,
        violations=judgement.violations,
        metrics={**judgement.metrics, "steps": float(len(run))},
        excluded=judgement.excluded,
        started_ns=started,
    )


def refuse_misfit(scenario: Scenario, environment: Environment | None = None) -> None:
    """Refuse a scenario that cannot be run, or not here.

    Args:
        scenario: what is to be run.
        environment: where; its attributes ``scenario_units`` (path -> unit) and ``scenario_frame``, if it has them,
            say what it takes.

    Raises:
        DataRefused: a scenario with variations, or one that tells another unit or frame.
    """
    if scenario.variations:
        raise DataRefused("a scenario with variations is drawn before it is run", got=scenario.name)
    takes: Mapping[str, str] = getattr(environment, "scenario_units", {})
    for path, unit in scenario.units.items():
        if path in takes and not same_unit(takes[path], unit):
            raise DataRefused("the environment takes another unit", got=unit, where=f"{scenario.name}:{path}")
    frame: str = getattr(environment, "scenario_frame", "")
    if scenario.frame and frame and scenario.frame != frame:
        raise DataRefused("the environment takes another frame", got=scenario.frame, where=scenario.name)


def record_trials(
    ws: Workspace,
    trials: Sequence[Trial],
    *,
    chosen_by: str = "",
    sources: Sequence[Ref] = (),
    actor: str | None = None,
) -> list[Ref]:
    """Keep trials and record one ``trial.run`` each, all in one transaction.

    Args:
        ws: the workspace.
        trials: in the order in which they were run: the sequential gate reads them in ledger order.
        chosen_by: digest of the world model that chose the scenarios; empty: none was used.
        sources: what else they came from: the sheet that an operator filled in.
        actor: key that signs.
    """
    refs, drafts = [], []
    for trial in trials:
        tree = to_json(trial)
        assert isinstance(tree, dict)
        ref = Ref("trial", ws.put_json({"schema": SCHEMA, **tree, "chosen_by": chosen_by}))
        inputs = [Ref("scenario", trial.scenario), Ref("release", trial.release)]
        inputs += [Ref("log", trial.log)] if trial.log else []
        inputs += [Ref("world_model", chosen_by)] if chosen_by else []
        inputs += [Ref("plan", trial.plan)] if trial.plan else []
        inputs += [Ref("world_model", trial.world)] if trial.world else []
        inputs += sources
        body = {
            "trial": ref.digest,
            "release": trial.release,
            "plan": trial.plan,
            "executor": trial.executor,
            "slot": trial.slot,
            "success": trial.success,
        }
        refs.append(ref)
        drafts.append(
            Draft(
                kind="trial.run",
                body=body,
                inputs=inputs,
                outputs=(ref,),
                valid_from_ns=trial.started_ns or None,
            )
        )
    if drafts:
        ws.record_many(drafts, actor=actor)
    return refs


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTrial:
    """A trial as the ledger holds it."""

    digest: str
    trial: Trial
    chosen_by: str
    early: bool = False
    """Whether it was on the ledger before the plan that the list is about."""


def collect(
    ws: Workspace,
    release: str,
    *,
    upto_seq: int,
    plan: str = "",
    plan_seq: int = 0,
    attempt: int = 0,
    problems: Sequence[str] = (),
) -> dict[str, Any]:
    """Every trial of a release on the ledger, and every other of a plan, in ledger order: nobody picks which ones.

    Args:
        ws: the workspace.
        release: digest.
        upto_seq: the ledger as it stood there.
        plan: digest of the plan that the gate reads; empty: none.
        plan_seq: its place on the ledger.
        attempt: which attempt it is, counted from the ledger.
        problems: what is wrong with the plan.

    Returns:
        ``{schema, release, plan, attempt, problems, trained_on, trials: [{digest, early, ...trial}]}``; a trial
        recorded twice stands once.
    """
    rows: dict[str, dict[str, Any]] = {}
    for event in ws.ledger.events("trial.run"):
        wanted = event.body.get("release") == release or (plan and event.body.get("plan") == plan)
        if event.seq <= upto_seq and wanted:
            digest = str(event.body["trial"])
            rows.setdefault(digest, {"digest": digest, "early": event.seq < plan_seq, **ws.get_json(digest)})
    return {
        "schema": LIST_SCHEMA,
        "release": release,
        "plan": plan,
        "attempt": attempt,
        "problems": list(problems),
        "trained_on": [],
        "trials": list(rows.values()),
    }


def read_list(tree: Mapping[str, Any], *, where: str = "trials") -> tuple[RecordedTrial, ...]:
    """Read back what :func:`collect` made.

    Raises:
        DataRefused: another schema, or a trial of another release and plan.
    """
    if tree.get("schema") != LIST_SCHEMA:
        raise DataRefused("not a list of trials this version reads", got=tree.get("schema"), where=where)
    out = []
    for row in tree["trials"]:
        fields = {k: v for k, v in row.items() if k not in {"schema", "digest", "chosen_by", "early"}}
        trial = decode(Trial, fields, where=f"{where}:{row['digest'][:12]}")
        if trial.release != tree["release"] and (not trial.plan or trial.plan != tree["plan"]):
            raise DataRefused("a trial of another release", got=trial.release[:12], where=where)
        out.append(RecordedTrial(digest=row["digest"], trial=trial, chosen_by=row["chosen_by"], early=row["early"]))
    return tuple(out)
