"""``worldgate policy evaluate``: a release in a task, in a world model, or beside recorded actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldgate.cli._output import JsonFlag, Table, answer, note, progress
from worldgate.cli._recipe import SetOption
from worldgate.cli._workspace import WorkspaceOption, open_workspace
from worldgate.core.errors import UsageError

if TYPE_CHECKING:
    from worldgate.evidence.action_error import ChannelError
    from worldgate.record.events import Ref
    from worldgate.record.workspace import Workspace

IMAGINED = "imagined: where a policy ends in a world model is no success, and a model can be wrong off the recordings"


def evaluate(
    release: str,
    /,
    *,
    task: str | None = None,
    model: str | None = None,
    dataset: str | None = None,
    split: str = "val",
    runs: int = 50,
    steps: int = 16,
    seed: int = 0,
    set_: SetOption = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Measure a release in a simulated task, in a world model, or on recorded episodes.

    For example:

        worldgate policy evaluate pusher --dataset kitchen-2
        worldgate policy evaluate pusher --task two_room --runs 100 --set door=0
        worldgate policy evaluate pusher --model arm-dynamics --dataset kitchen-2 --steps 20

    In a task: its success rate with exact intervals, beside everyone else who acts there. In a world model, which also
    takes a dataset to start from: how far its imagined end lies from the recorded one. With a dataset alone: errors of
    its actions by channel and time ahead, beside the last action held and the mean action; that is not success.

    Args:
        release: Id or name of a release.
        task: A task of `worldgate list tasks`; --set takes its options.
        model: Id or name of a world model.
        dataset: Id or name of a dataset; with it alone --set takes rows, horizon, goal_steps and seed.
        split: Which of its splits.
        runs: Runs in a task; in a world model, runs from each episode at most.
        steps: Control periods of a run in a world model.
        seed: Of the first run.
    """
    if (task is None) == (dataset is None):
        hint = "--task NAME, --dataset DATASET, or --model WORLD --dataset DATASET"
        raise UsageError("a release is measured in one place", got="none" if task is None else "two", hint=hint)
    if task is not None and model is not None:
        raise UsageError("a release is measured in one place", got="a task and a model", hint="--task NAME")
    with open_workspace(workspace) as ws:
        ref = ws.resolve(release, "release")
        if task is not None:
            _task(ws, ref, task, set_, runs, seed, as_json=json)
            return
        data = ws.resolve(str(dataset), "dataset")
        if model is not None:
            _model(ws, ref, ws.resolve(model, "world_model"), data, split, (steps, runs, seed), as_json=json)
        else:
            _dataset(ws, ref, data, split, set_, as_json=json)


def _task(ws: Workspace, ref: Ref, task: str, sets: tuple[str, ...], runs: int, seed: int, *, as_json: bool) -> None:
    import dataclasses

    from worldgate.control.evaluating import in_task
    from worldgate.core.config import resolve
    from worldgate.sim.tasks import config_of

    options = dataclasses.asdict(resolve(config_of(task), sets=sets, environment=False).value)
    with progress("evaluate") as tell:
        tried = in_task(ws, ref, task, options, runs=runs, seed=seed, progress=tell)
    rows = [
        (t.who, f"{t.successes} of {t.runs}", f"{100 * t.successes / t.runs:.1f}",
         f"{100 * float(t.low):.1f} to {100 * float(t.high):.1f}", f"{t.reward:.3g}", _optional(t.distance),
         f"{100 * t.clipped:.1f}")
        for t in tried
    ]  # fmt: skip
    columns = ("who", "succeeded", "rate [%]", "95 % [%]", "reward", "distance at the end", "clipped [%]")
    body = {"release": ref, "task": task, "options": options, "seed": seed, "simulated": True, "tried": tried}
    answer("policy.evaluate", body, Table(title=f"{task}, simulated", columns=columns, rows=rows), as_json=as_json)


def _optional(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _model(
    ws: Workspace, ref: Ref, model: Ref, data: Ref, split: str, numbers: tuple[int, int, int], *, as_json: bool
) -> None:
    from worldgate.control.evaluating import in_model

    steps, windows, seed = numbers
    with progress("evaluate") as tell:
        ends = in_model(ws, ref, model, data, split, steps=steps, windows=windows, seed=seed, progress=tell)
    rows = [
        (e.stream, f"{e.policy:.3f}", f"{e.recorded:.3f}", f"{e.held:.3f}", f"{e.nearer} of {e.runs}") for e in ends
    ]
    columns = ("stream", "release [spreads]", "recorded actions", "action held", "nearer than held")
    title = f"imagined: distance from the recorded end after {steps} periods"
    body = {"release": ref, "model": model, "dataset": data, "steps": steps, "imagined": True, "ends": ends,
            "caveat": IMAGINED}  # fmt: skip
    answer("policy.evaluate", body, Table(title=title, columns=columns, rows=rows), as_json=as_json)
    note(IMAGINED)


def _dataset(ws: Workspace, ref: Ref, data: Ref, split: str, sets: tuple[str, ...], *, as_json: bool) -> None:
    from worldgate.control.evaluating import on_dataset
    from worldgate.core.config import resolve
    from worldgate.evidence.action_error import ActionErrorConfig

    config = resolve(ActionErrorConfig(), sets=sets, environment=False).value
    with progress("evaluate") as tell:
        found = on_dataset(ws, ref, data, split, config, tell)
    rows = [
        (c.channel, c.unit or "-", f"{c.step / found.rate_hz:.2f}", f"{c.policy:.4g}", f"{c.copy_last:.4g}",
         f"{c.mean_action:.4g}", _ratio(c))
        for c in found.channels
    ]  # fmt: skip
    columns = ("channel", "unit", "ahead [s]", "release", "last action held", "mean action", "ratio to the better")
    title = f"mean absolute error on {found.origin} {split}: {found.rows} rows of {found.episodes} episodes"
    body = {"release": ref, "dataset": data, "split": split, "errors": found}
    answer("policy.evaluate", body, Table(title=title, columns=columns, rows=rows), as_json=as_json)
    note(found.caveat)


def _ratio(error: ChannelError) -> str:
    if error.ratio is None:
        return "-"
    return f"{error.ratio.estimate:.3g} ({float(error.ratio.lower):.3g} to {float(error.ratio.upper):.3g})"
