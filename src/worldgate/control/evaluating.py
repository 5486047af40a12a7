"""Measuring a release: in a task of the simulator, in a world model, on recorded episodes; refusals come first.

A release acts only where its rate, its streams and its action are those of the place: the same identity check that
stands before a robot.
"""

from __future__ import annotations

from typing import Any

from worldgate.control import policies
from worldgate.control.regressions import actor
from worldgate.core.errors import DataRefused
from worldgate.core.tasks import TaskSpec
from worldgate.core.worlds import ModelSpec, Signal
from worldgate.data import datasets
from worldgate.evidence.action_error import ActionErrorConfig, ActionErrors, action_errors
from worldgate.evidence.closed_loop import Ended, Progress, Tried, try_in_model, try_in_task
from worldgate.fleet import releases
from worldgate.fleet.releases import Release
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim.tasks import actors_of, open_actor, open_task
from worldgate.worlds.train import stage


def in_task(
    ws: Workspace,
    release: Ref,
    task: str,
    options: dict[str, Any] | None = None,
    *,
    runs: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Tried]:
    """A release in a task, beside everyone who acts there, from the same starts.

    Args:
        ws: the workspace.
        release: who is tried.
        task: an entry of the seam tasks.
        options: of the task.
        runs: of each.
        seed: of the first run; run i begins at seed + i.
        progress: called after each run of the release.

    Raises:
        DataRefused: a release for another rate, other streams or another action, or one that follows instructions
            where none are given.
    """
    held = releases.load(ws, release.digest)
    place = open_task(task, options)
    fits(held, place.spec)
    policy, goals = policies.load(held, ws.store), policies.goals_of(held)
    aimed = bool(goals) and place.spec.takes_goals
    told = policies.follows(policy)
    if told and not place.spec.text:
        hint = "worldgate list tasks; the task instructed gives some"
        raise DataRefused("a release that follows instructions, where none are given", got=task, hint=hint)
    more: dict[str, Any] = {"runs": runs, "seed": seed}
    tried = [try_in_task(place, policy, who="release", aimed=aimed, told=told, progress=progress, **more)]
    for name in actors_of(task):
        other = open_actor(name, task, options)
        takes = place.spec.takes_goals and hasattr(other, "aim")
        hears = place.spec.text and hasattr(other, "tell")
        tried.append(try_in_task(place, other, who=name, aimed=takes, told=hears, **more))
    return tried


def in_model(
    ws: Workspace,
    release: Ref,
    model: Ref,
    dataset: Ref,
    split: str = "val",
    *,
    steps: int,
    windows: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Ended]:
    """A release in a world model, from rows of recorded episodes.

    Raises:
        DataRefused: a release for another rate, other streams or another action than the model's.
    """
    held, world = releases.load(ws, release.digest), stage.load(ws, model.digest)
    fits(held, world.spec)
    episodes = datasets.load(ws, dataset.digest, split)
    policy, goals = policies.load(held, ws.store), policies.goals_of(held)
    more: dict[str, Any] = {"steps": steps, "windows": windows, "seed": seed, "told": policies.follows(policy)}
    return try_in_model(world, policy, episodes, goals, progress=progress, **more)


def on_dataset(
    ws: Workspace,
    release: Ref,
    dataset: Ref,
    split: str = "val",
    config: ActionErrorConfig | None = None,
    progress: Progress | None = None,
) -> ActionErrors:
    """A release's actions beside recorded ones.

    Raises:
        DataRefused: episodes that do not fit the release.
    """
    held = releases.load(ws, release.digest)
    episodes = datasets.load(ws, dataset.digest, split)
    acting = actor(ws, release)
    told = policies.follows(acting.policy)
    return action_errors(episodes, acting, policies.goals_of(held), config, progress, told=told)


def fits(release: Release, place: TaskSpec | ModelSpec) -> None:
    """Refuse a place that shows or takes something else than the release says.

    Raises:
        DataRefused: another rate, a stream that is not shown or of another unit or width, another action.
    """
    policies.admit(release, rate_hz=place.rate_hz)
    name = place.name if isinstance(place, TaskSpec) else place.family
    shown = {s.name: s for s in (*place.states, *place.cameras)}
    for signal in release.observation:
        if signal.name not in shown:
            hint = f"it shows {', '.join(shown)}"
            raise DataRefused("a stream of the release is not shown here", got=signal.name, where=name, hint=hint)
        _same(signal, shown[signal.name], name)
    if place.action is None:
        raise DataRefused("no actions are taken here", got=release.action.name, where=name)
    _same(release.action, place.action, name)


def _same(own: Signal, other: Signal, where: str) -> None:
    picture = len(own.shape) == 3  # pictures are brought to the release's size
    for what in ("unit", "names", *(() if picture else ("shape",))):
        wanted, got = getattr(own, what), getattr(other, what)
        if wanted and got != wanted:
            hint = f"the release says {wanted}"
            raise DataRefused(f"{own.name} has another {what} here", got=got, where=where, hint=hint)
