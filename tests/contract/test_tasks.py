"""Every task of the seam: situations can be set, runs repeat, bounds hold, and who is competent beats who is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import CapabilityMissing, NotFound, UsageError
from worldgate.core.seams import cards, load
from worldgate.core.streams import Origin
from worldgate.core.tasks import TRUTH, Task
from worldgate.sim.tasks import open_actor, open_task
from worldgate.sim.watch import collect

TASKS = sorted(cards("tasks"))
SMALL = {"size": 32}
RUNS = 2


@pytest.fixture(params=TASKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def task(name: str) -> Task:
    return open_task(name, SMALL)


@pytest.fixture(scope="module")
def runs() -> dict[tuple[str, str], list[Any]]:
    return {}


def competent(name: str) -> str:
    """Who acts best here."""
    module: Any = load("tasks", name)
    return str(module.ACTORS[0])


def watched(runs: dict[tuple[str, str], list[Any]], name: str, who: str) -> list[Any]:
    """Episodes of an actor, made when first asked for."""
    if (name, who) not in runs:
        task, actor = open_task(name, SMALL), open_actor(who, name, SMALL)
        runs[name, who] = [collect(task, actor, seed=seed) for seed in range(RUNS)]
    return runs[name, who]


def test_it_says_what_it_shows_and_takes(name: str, task: Task) -> None:
    spec = task.spec
    assert spec.name == name and spec.rate_hz == task.rate_hz > 0 and spec.steps > 0
    assert task.origin is Origin.SIMULATED and spec.truth.name == TRUTH
    assert len(spec.low) == len(spec.high) == spec.action.shape[0] and (np.array(spec.low) < spec.high).all()
    seen = task.reset(seed=0)
    for signal in (*spec.states, *spec.cameras, spec.truth):
        row = seen[signal.name]
        assert row.shape == signal.shape and np.isfinite(row).all(), signal.name
        assert not signal.names or len(signal.names) == signal.shape[0], signal.name
    for camera in spec.cameras:
        assert seen[camera.name].dtype == np.uint8 and np.ptp(seen[camera.name]) > 30, "something is to be seen"


def test_a_recorded_truth_shows_the_same_again(name: str, runs: dict[tuple[str, str], list[Any]]) -> None:
    task = open_task(name, SMALL)
    for episode in watched(runs, name, competent(name)):
        truth = episode.array(TRUTH)
        for row in np.linspace(0, len(episode) - 1, 6).astype(int):
            seen = task.begin(truth[row], seed=1)
            np.testing.assert_allclose(seen[TRUTH], truth[row], rtol=1e-9, atol=1e-9)
            for signal in task.spec.states:
                then = episode.array(signal.name)[row]
                np.testing.assert_allclose(seen[signal.name], then, rtol=1e-6, atol=1e-6, err_msg=signal.name)
            for camera in task.spec.cameras:
                apart = np.abs(seen[camera.name].astype(int) - episode.array(camera.name)[row])
                assert apart.max() <= 1, camera.name


def test_the_same_seed_gives_the_same_run_and_another_another(
    name: str, runs: dict[tuple[str, str], list[Any]]
) -> None:
    first, other = watched(runs, name, competent(name))
    again = collect(open_task(name, SMALL), open_actor(competent(name), name, SMALL), seed=0)
    assert again.id == first.id != other.id


def test_two_of_a_kind_know_nothing_of_each_other(name: str) -> None:
    one, two = open_task(name, SMALL), open_task(name, SMALL)
    middle = (np.array(one.spec.low) + one.spec.high) / 2
    one.reset(seed=0)
    two.reset(seed=1)
    alone = open_task(name, SMALL)
    alone.reset(seed=0)
    for _ in range(3):
        two.step(np.array(two.spec.high))
        np.testing.assert_array_equal(one.step(middle).observation[TRUTH], alone.step(middle).observation[TRUTH])


def test_actions_outside_bounds_or_of_another_width_are_refused(name: str, task: Task) -> None:
    task.reset(seed=0)
    span = np.array(task.spec.high) - task.spec.low
    for wrong in (
        np.array(task.spec.high) + 0.01 * span,
        np.array(task.spec.low) - 0.01 * span,
        np.full(len(span), np.nan),
        np.zeros(len(span) + 1),
    ):
        with pytest.raises(UsageError):
            task.step(wrong)


def test_rows_that_are_no_truth_are_refused(name: str, task: Task) -> None:
    row = task.reset(seed=0)[TRUTH]
    for wrong in (row[:-1], np.append(row, 0.0), np.full_like(row, np.nan)):
        with pytest.raises(UsageError):
            task.begin(wrong, seed=0)
        if task.spec.takes_goals:
            with pytest.raises(UsageError):
                task.begin(row, wrong, seed=0)


def test_the_goal_in_force_is_shown(name: str, runs: dict[tuple[str, str], list[Any]]) -> None:
    task, episode = open_task(name, SMALL), watched(runs, name, competent(name))[0]
    truth, last = episode.array(TRUTH), len(episode) - 1
    if not task.spec.takes_goals:
        with pytest.raises(UsageError):
            task.begin(truth[0], truth[last], seed=0)
        return
    start = task.begin(truth[0], truth[last], seed=0)
    shown = task.goal()
    for signal in task.spec.states:
        assert shown[signal.name].shape == signal.shape
    for camera in task.spec.cameras:
        then = episode.array(camera.name)
        to_goal = np.abs(shown[camera.name].astype(int) - then[last]).mean()
        assert to_goal <= np.abs(start[camera.name].astype(int) - then[last]).mean()
        assert to_goal < 2.0
    before = task.measure()
    assert before["success"] in (0.0, 1.0) and before["distance"] >= 0
    task.begin(truth[last], truth[last], seed=0)
    assert task.measure()["success"] == 1.0, "who begins at the goal is there"


def test_a_task_without_goals_says_so(name: str, task: Task) -> None:
    task.reset(seed=0)
    if not task.spec.takes_goals:
        with pytest.raises(CapabilityMissing):
            task.goal()


def test_facts_of_a_step_are_those_of_the_situation_it_leads_to(
    name: str, runs: dict[tuple[str, str], list[Any]]
) -> None:
    task, truth = open_task(name, SMALL), watched(runs, name, competent(name))[0].array(TRUTH)
    task.begin(truth[0], truth[-1] if task.spec.takes_goals else None, seed=0)
    facts = task.step((np.array(task.spec.low) + task.spec.high) / 2).facts
    assert {"success", "reward"} <= set(facts)
    if task.spec.takes_goals:
        assert facts["distance"] >= 0
        for key in ("success", "distance"):
            assert task.measure()[key] == facts[key]


def test_a_run_ends_at_the_tasks_longest(name: str) -> None:
    task, actor = open_task(name, SMALL), open_actor("random", name, SMALL)
    episode = collect(task, actor, seed=0)
    assert len(episode) <= task.spec.steps


def test_who_is_competent_does_better_than_who_is_aimless(name: str, runs: dict[tuple[str, str], list[Any]]) -> None:
    if competent(name) == "random":
        pytest.skip("nobody is competent here")
    better, aimless = (
        float(np.mean([e.facts["success"] + e.array("reward").mean() for e in watched(runs, name, who)]))
        for who in (competent(name), "random")
    )
    assert better > aimless + 0.5, (better, aimless)


def test_an_instruction_is_there_where_one_is_announced(name: str, task: Task) -> None:
    task.reset(seed=0)
    assert bool(task.text) is task.spec.text


def test_actors_act_within_bounds_and_have_a_digest_of_their_own(name: str, task: Task) -> None:
    module: Any = load("tasks", name)
    digests = set()
    for who in module.ACTORS:
        actor = open_actor(who, name, SMALL)
        digests.add(actor.digest)
        seen = task.reset(seed=3)
        actor.reset(seed=3)
        for _ in range(5):
            action = actor.act(seen)
            task.spec.check(action)
            seen = task.step(action).observation
    assert len(digests) == len(module.ACTORS)


def test_an_unknown_actor_is_refused(name: str) -> None:
    with pytest.raises(NotFound, match="nobody of this name"):
        open_actor("nobody", name)
