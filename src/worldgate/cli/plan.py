"""``worldgate plan``: search in a world model for the actions that lead to goals, tried in a simulated task."""

from __future__ import annotations

from pathlib import Path

from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._recipe import SetOption
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def plan(
    model: str,
    /,
    *,
    task: str,
    dataset: str | None = None,
    split: str = "val",
    planner: str = "icem",
    budget_ms: float = 0.0,
    groups: int = 1,
    pairs: int = 20,
    simulator: bool = False,
    warm: str | None = None,
    video: Path | None = None,
    set_: SetOption = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Plan in a world model from held-out starts to held-out goals, in a simulated task.

    For example:

        worldgate plan rooms-jepa --task two_room
        worldgate plan rooms-jepa --task two_room --planner direct --groups 5 --pairs 50
        worldgate plan rooms-jepa --task two_room --budget-ms 50 --video reached.mp4
        worldgate plan rooms-jepa --task two_room --dataset rooms --split test --set planning.horizon=15
        worldgate plan rooms-jepa --task two_room --planner cem --simulator --set options.plans=32
        worldgate plan rooms-jepa --task two_room --warm walker --set planning.cost.uncertainty=0.5

    Starts and goals are rows of held-out episodes. Beside the success rate stand two controls on the same pairs: told
    goals of other episodes, and random actions.

    Args:
        model: Id or name of a world model.
        task: A task of `worldgate list tasks` that takes goals.
        dataset: Id or name of a dataset with held-out episodes of the task; else the one the model was trained on.
        split: Which of its splits.
        planner: One of `worldgate list planners`; direct does not search.
        budget_ms: Time that a plan may take; 0 sets none.
        groups: Groups of pairs.
        pairs: Pairs of start and goal in each.
        simulator: Look ahead in a copy of the simulator instead of the model: the most that planning could reach.
        warm: Id or name of a release that begins the searches; else the model's inverse dynamics, where it has them.
        video: Film the first five trials into this mp4.
    """
    from worldgate.control.plan_recorded import Asked, PlanConfig, plan_recorded, told
    from worldgate.control.plan_video import write_plan_video
    from worldgate.control.planning import PlanningConfig
    from worldgate.core.config import resolve
    from worldgate.evidence.reaching import PairConfig

    base = PlanConfig(
        planner=planner,
        planning=PlanningConfig(budget_ms=budget_ms),
        pairs=PairConfig(groups=groups, pairs=pairs),
    )
    config = resolve(base, sets=set_, environment=False).value
    with open_workspace(workspace) as ws, progress("plan") as tell:
        made = plan_recorded(
            ws,
            ws.resolve(model, "world_model"),
            Asked(
                task=task,
                dataset=ws.resolve(dataset, "dataset") if dataset is not None else None,
                split=split,
                simulator=simulator,
                warm=ws.resolve(warm, "release") if warm is not None else None,
                config=config,
            ),
            progress=tell,
        )
    said = told(made.policy.planned, config.planning)
    if video is not None:
        write_plan_video(video, made.task, made.policy, made.report.protocol, trials=5)
        said.append(f"video: {video}, simulated")
    report = made.report
    title = f"{task}, simulated; planned with {config.planner} in {'the simulator' if simulator else 'imagination'}"
    table = Table(columns=report.columns(), rows=report.rows(), title=title)
    lines = [*report.lines()[3:], *said, f"evidence {made.evidence.digest[:12]}"]
    body = report.body() | {"evidence": made.evidence, "planner": config.planner, "said": said, "video": video}
    answer("plan", body, table, *lines, as_json=json)
