"""``worldgate gap``: imagined against held-out telemetry, and what of it holds at a new site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._recipe import SetOption
from worldgate.cli._workspace import WorkspaceOption, open_workspace
from worldgate.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worldgate.core.episodes import Episode
    from worldgate.core.worlds import WorldModel
    from worldgate.evidence.gap_report import GapConfig, GapReport
    from worldgate.evidence.gap_summary import GapRow
    from worldgate.evidence.onboarding import Onboarding
    from worldgate.record.events import Ref
    from worldgate.record.workspace import Workspace

app = App(name="gap")


@app.default
def gap(
    dataset: str,
    /,
    *,
    model: str | None = None,
    rollouts: Path | None = None,
    tasks: Path | None = None,
    split: str = "val",
    epsilon: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    set_: SetOption = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Measure what a world model imagines against held-out telemetry.

    For example:

        worldgate gap cell-1 --model arm-dynamics --epsilon "observation.state[rad]=0.1"
        worldgate gap cell-1 --rollouts predictions

    Error stands beside hold-last and constant velocity, with bounds over episodes; the report is recorded as evidence.

    Args:
        dataset: Id or name of a dataset.
        model: Id or name of a world model.
        rollouts: Instead of a model, the folder of predictions that any model made.
        tasks: Only write what to predict, contexts and actions in the form of the model, into this folder.
        split: Which of the dataset's splits; the model must not have learned from it.
        epsilon: Largest tolerable error of a signal in its own unit, as NAME=VALUE; gives H(ε).
    """
    from worldgate.core.config import resolve
    from worldgate.data import datasets
    from worldgate.evidence.decide import put_evidence
    from worldgate.evidence.gap_report import GapConfig
    from worldgate.evidence.gap_summary import summarise

    if (model is None) == (rollouts is None):
        raise UsageError("gap judges a model or a folder of predictions", hint="--model ID, or --rollouts FOLDER")
    config = resolve(GapConfig(epsilon=_epsilons(epsilon)), sets=set_, environment=False).value
    with open_workspace(workspace) as ws, progress("gap") as tell:
        held = ws.resolve(dataset, "dataset")
        episodes = datasets.load(ws, held.digest, split)
        if model is None:
            assert rollouts is not None
            report, inputs = _judge(rollouts, held, episodes, config, tell), [held]
        else:
            ref = ws.resolve(model, "world_model")
            world = _load(ws, ref)
            if tasks is not None:
                _write_tasks(tasks, world, episodes, config, as_json=json)
                return
            report, inputs = _measure(world, held, episodes, config, tell), [ref, held]
        evidence = put_evidence(ws, report, inputs=inputs)
    _tell(report, evidence, summarise(report), as_json=json)


@app.command
def onboard(
    policy: str,
    site: str,
    /,
    *evidence: str,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Say what a world model's evidence shows at a new site, what carries over, and how many episodes are missing.

    For example:

        worldgate gap onboard admission harbour 5d01b2aa
        worldgate gap onboard admission-full harbour 5d01b2aa 77c0de12

    Every check of the policy is asked over the new site's episodes alone; what it says elsewhere stands beside and
    never counts. Nothing is decided and nothing recorded.

    Args:
        policy: An admission policy: a TOML file, one that ships with Worldgate, or the id or name of a recorded one.
        site: The new site.
        evidence: Ids of the gap report and of the evidence by episode that `world evaluate` keeps.
    """
    from worldgate.evidence import policy as policies
    from worldgate.evidence.gate_evidence import TRAINING_SCHEMA
    from worldgate.evidence.onboarding import onboard as look

    with open_workspace(workspace) as ws:
        shipped = policy.endswith(".toml") or policy in policies.shipped()
        kept = None if shipped else ws.get_json(ws.resolve(policy, "gate_policy").digest)
        rule = policies.load(policy) if kept is None else policies.read(kept, where=policy)
        documents = [ws.get_json(ws.resolve(item).digest) for item in evidence]
        subjects = {str(doc.get("subject")) for doc in documents}
        made = [e.body for e in ws.ledger.events("evidence.made")]
        trained = [b for b in made if b["schema"] == TRAINING_SCHEMA and b["subject"] in subjects]
        documents += [ws.get_json(str(trained[0]["evidence"]))] if trained else []
        found = look(rule, documents, site)
    _tell_onboarding(found, as_json=json)


def _tell_onboarding(found: Onboarding, *, as_json: bool) -> None:
    from worldgate.evidence.onboarding import sentences

    columns = (
        "check",
        "signal",
        "statistic",
        "here",
        "elsewhere",
        "carries over",
        "estimate",
        "required",
        "n",
        "episodes more",
    )
    rows = [
        (
            *(
                c.check,
                c.signal,
                c.statistic,
                c.here,
                c.elsewhere or "-",
                c.carries,
                c.estimate or "-",
                c.required or "-",
                c.n,
            ),
            "-" if c.more is None else c.more,
        )
        for c in found.checks
    ]
    answer("gap.onboard", {"onboarding": found}, Table(columns=columns, rows=rows), *sentences(found), as_json=as_json)


def _epsilons(items: Sequence[str]) -> dict[str, float]:
    found = {}
    for item in items:
        name, _, value = item.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise UsageError("--epsilon takes NAME=VALUE", got=item, hint="observation.state[rad]=0.1") from error
    return found


def _load(ws: Workspace, ref: Ref) -> WorldModel:
    from worldgate.worlds.train import stage

    return stage.load(ws, ref.digest)


def _judge(
    folder: Path, dataset: Ref, episodes: Sequence[Episode], config: GapConfig, tell: Callable[[int, int], None]
) -> GapReport:
    from worldgate.evidence.rollouts import judge

    return judge(folder, episodes, config, tell, dataset=dataset.digest)


def _measure(
    world: WorldModel, dataset: Ref, episodes: Sequence[Episode], config: GapConfig, tell: Callable[[int, int], None]
) -> GapReport:
    from worldgate.evidence.gap import gap as measure

    return measure(world, episodes, config, tell, dataset=dataset.digest)


def _write_tasks(
    folder: Path, world: WorldModel, episodes: Sequence[Episode], config: GapConfig, *, as_json: bool
) -> None:
    from worldgate.evidence.rollouts import write_tasks

    count = write_tasks(folder, world.spec, episodes, config)
    said = f"{count} tasks in {folder}; next: predict them, then worldgate gap DATASET --rollouts FOLDER"
    answer("gap.tasks", {"folder": folder, "tasks": count}, said, as_json=as_json)


def _tell(report: GapReport, evidence: Ref, rows: Sequence[GapRow], *, as_json: bool) -> None:
    columns = ("signal", "unit", "horizon [s]", "model", "hold-last", "const. velocity", "skill", "lower bound")
    shown = [
        (
            *(row.signal, row.unit or "?", f"{row.seconds:g}"),
            *(_number(value) for value in (row.model, row.hold, row.velocity, row.skill)),
            row.skill_lower[:7] or "-",
            *(_number(row.sensitivity), _number(row.horizon_s)),
        )
        for row in rows
    ]
    told = [signal.name for signal in report.spec.reads]
    said = [
        *([f"left out, read out and not imagined: {', '.join(told)}; see worldgate world evaluate"] if told else []),
        f"imagined against {report.origin}, {len(report.episodes)} held-out episodes; bounds at 95 %, by episode",
        f"evidence {evidence.digest[:12]}",
        f"next: worldgate gate admission {report.subject[:12]} {evidence.digest[:12]} --site SITE",
    ]
    body = {"evidence": evidence, "subject": report.subject, "origin": report.origin, "rows": rows}
    table = Table(columns=(*columns, "action sensitivity", "H(ε) [s]"), rows=shown)
    answer("gap", body, table, *said, as_json=as_json)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
