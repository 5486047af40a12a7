"""Reaching: pairs are held out and whole, a protocol is its digest, and no rate is told without its controls."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from worldgate.core.errors import CapabilityMissing, ConfigError, DataRefused, NotFound, SplitLeak, UsageError
from worldgate.core.tasks import TRUTH
from worldgate.evidence.reaching import (
    Arm,
    PairConfig,
    ReachingProtocol,
    ReachingReport,
    Trial,
    draw_pairs,
    evaluate,
    put,
)
from worldgate.sim.tasks import open_actor, open_task
from worldgate.sim.watch import collect

OPTIONS = {"size": 8}
SMALL = PairConfig(offset=10, budget=20, groups=2, pairs=4)


@pytest.fixture(scope="module")
def episodes():
    task, actor = open_task("two_room", OPTIONS), open_actor("noisy", "two_room", OPTIONS)
    return [collect(task, actor, seed=seed) for seed in range(6)]


@pytest.fixture(scope="module")
def protocol(episodes):
    return drawn(episodes)


def drawn(episodes, trained=(), config=SMALL, task=None):
    return draw_pairs(task or open_task("two_room", OPTIONS), episodes, trained=trained, config=config, options=OPTIONS)


def with_rows(episode, stream=TRUTH, **changes):
    streams = dict(episode.streams)
    streams[stream] = replace(streams[stream], **changes)
    return replace(episode, streams=streams)


@settings(max_examples=15, deadline=None)
@given(
    offset=st.integers(8, 14),
    groups=st.integers(1, 4),
    pairs=st.integers(6, 10),
    seed=st.integers(0, 2**31),
    rows=st.sets(st.integers(0, 20), max_size=10),
)
def test_pairs_are_distinct_rows_of_held_out_episodes_outside_gaps_and_begin_where_they_were(
    episodes, offset, groups, pairs, seed, rows
) -> None:
    gap = np.isin(np.arange(len(episodes[0])), list(rows))
    held = [with_rows(episodes[0], gap=gap), *episodes[1:4]]
    config = PairConfig(offset=offset, budget=50, groups=groups, pairs=pairs, seed=seed)
    found = drawn(held, trained=[e.id for e in episodes[4:]], config=config)
    task, by_id = open_task("two_room", OPTIONS), {e.id: e for e in held}
    assert len(found.pairs) == groups * pairs
    assert len({(pair.episode, pair.start) for pair in found.pairs}) == len(found.pairs)
    assert found.examined == len(found.pairs) + found.already
    for pair in found.pairs:
        episode = by_id[pair.episode]
        assert pair.goal - pair.start == offset and not episode.streams[TRUTH].gap[[pair.start, pair.goal]].any()
        seen = task.begin(np.array(pair.start_truth), np.array(pair.goal_truth), seed=0)
        np.testing.assert_array_equal(
            seen["observation.images.top"], episode.array("observation.images.top")[pair.start]
        )
        np.testing.assert_array_equal(task.goal()["observation.state"], episode.array("observation.state")[pair.goal])
        assert task.measure()["distance"] >= 16.0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), order=st.permutations(range(6)))
def test_a_protocol_is_its_episodes_in_any_order_its_seed_and_what_was_trained_on(episodes, seed, order) -> None:
    config = replace(SMALL, seed=seed)
    first = drawn(episodes, trained=["b", "a"], config=config)
    assert drawn([episodes[i] for i in order], trained=["a", "b"], config=config).digest == first.digest
    assert drawn(episodes, trained=["a"], config=config).digest != first.digest
    assert drawn(episodes, trained=["b", "a"], config=replace(config, seed=seed + 1)).digest != first.digest


def test_every_part_of_a_protocol_is_in_its_digest_and_it_reads_back(protocol) -> None:
    assert ReachingProtocol.from_bytes(protocol.to_bytes()) == protocol
    changed = {
        "task": "wall",
        "options": {"size": 9},
        "dataset": "d",
        "split": "s",
        "trained": "t",
        "config": replace(SMALL, budget=21),
        "pairs": protocol.pairs[::-1],
        "examined": 99,
        "already": 98,
    }
    assert set(changed) == {f.name for f in dataclasses.fields(ReachingProtocol)}
    digests = {replace(protocol, **{name: value}).digest for name, value in changed.items()}
    assert len(digests | {protocol.digest}) == len(changed) + 1


@pytest.mark.parametrize(
    "data",
    [b"{", b"[]", b'{"schema": "other"}', b'{"schema": "worldgate.reaching.protocol/1"}'],
)
def test_what_is_no_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError):
        ReachingProtocol.from_bytes(data)


def test_a_protocol_with_a_pair_taken_out_is_refused(protocol) -> None:
    tree = json.loads(protocol.to_bytes())
    tree["pairs"] = tree["pairs"][1:]
    with pytest.raises(ConfigError, match="not as many pairs"):
        ReachingProtocol.from_bytes(json.dumps(tree).encode())


def test_an_episode_that_was_trained_on_is_refused(episodes) -> None:
    with pytest.raises(SplitLeak, match="trained on"):
        drawn(episodes, trained=[episodes[2].id])


def test_episodes_that_cannot_give_pairs_are_refused(episodes) -> None:
    blind = replace(episodes[0], streams={k: v for k, v in episodes[0].streams.items() if k != TRUTH})
    with pytest.raises(NotFound, match="simulator's state"):
        drawn([blind, *episodes[1:]])
    with pytest.raises(DataRefused, match="another task"):
        drawn([replace(episodes[0], facts={"environment": "wall"}), *episodes[1:]])
    with pytest.raises(DataRefused, match="too few rows"):
        drawn(episodes[:2], config=replace(SMALL, pairs=500))
    with pytest.raises(DataRefused, match="within one episode"):
        drawn(episodes[:1])
    still = with_rows(episodes[0], values=np.repeat(episodes[0].array(TRUTH)[:1], len(episodes[0]), 0))
    with pytest.raises(DataRefused, match=r"0 of 8, \d+ begin at their goal"):
        drawn([still])
    lost = np.full_like(episodes[0].array(TRUTH), np.nan)
    with pytest.raises(DataRefused, match="0 of 8, 0 begin"):
        drawn([with_rows(episodes[0], values=lost)])


@pytest.mark.parametrize("name", ["offset", "budget", "groups", "pairs"])
def test_a_protocol_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        replace(SMALL, **{name: 0})


def test_a_budget_beyond_the_tasks_longest_run_is_refused(episodes) -> None:
    with pytest.raises(ConfigError, match="longest run"):
        drawn(episodes, config=replace(SMALL, budget=101))


def test_a_task_without_goals_is_refused(episodes) -> None:
    task = open_task("two_room", OPTIONS)
    task.spec = replace(task.spec, takes_goals=False)
    with pytest.raises(CapabilityMissing, match="takes no goals"):
        drawn(episodes, task=task)


class Noting:
    """The scripted actor, noting what it was told."""

    digest = "noting"

    def __init__(self):
        self.actor, self.told = open_actor("scripted", "two_room"), []

    def reset(self, *, seed):
        self.actor.reset(seed=seed)

    def aim(self, goal, *, steps):
        assert steps == SMALL.budget
        self.told.append(tuple(goal["observation.state"]))
        self.actor.aim(goal, steps=steps)

    def act(self, observation):
        return self.actor.act(observation)


@pytest.fixture(scope="module")
def tried(protocol):
    policy = Noting()
    return policy, evaluate(open_task("two_room", OPTIONS), policy, protocol)


def test_the_policy_is_told_its_own_goal_and_one_of_another_episode(protocol, tried) -> None:
    policy, report = tried
    goals = [pair.goal_truth[:2] for pair in protocol.pairs]
    assert policy.told[::2] == goals
    own, shuffled, random = ([t for t in report.trials if t.arm is arm] for arm in Arm)
    assert [t.told for t in own] == list(range(8)) and {t.told for t in random} == {-1}
    assert policy.told[1::2] == [goals[t.told] for t in shuffled]
    assert all(protocol.pairs[t.told].episode != protocol.pairs[t.pair].episode for t in shuffled)


def test_a_competent_policy_reaches_its_own_goals_and_the_controls_fall_behind(tried) -> None:
    rates = tried[1].rates()
    assert rates[Arm.OWN].successes == 8 and rates[Arm.SHUFFLED].successes < 8 and rates[Arm.RANDOM].successes < 8
    assert rates[Arm.OWN].steps <= 20


def test_rates_have_exact_intervals_and_spread_over_groups(protocol) -> None:
    won = {Arm.OWN: [1, 1, 1, 0, 1, 1, 0, 0], Arm.SHUFFLED: [0] * 8, Arm.RANDOM: [1] * 8}
    report = ReachingReport(protocol=protocol, policy="p", trials=tuple(trials(won)))
    own, shuffled, random = report.rates().values()
    assert (own.successes, own.n, own.rate) == (5, 8, 0.625)
    assert float(own.lower) == pytest.approx(beta.ppf(0.025, 5, 4), rel=1e-9)
    assert float(own.upper) == pytest.approx(beta.ppf(0.975, 6, 3), rel=1e-9)
    assert own.group_mean == pytest.approx(0.625) and own.group_sd == pytest.approx(np.std([0.75, 0.5], ddof=1))
    assert (shuffled.lower, shuffled.steps, random.upper) == ("0", None, "1")
    low, high = map(float, report.rows()[0][3].split(" to "))
    assert low / 100 <= float(own.lower) < low / 100 + 0.001 and high / 100 - 0.001 < float(own.upper) <= high / 100
    single = replace(protocol, config=replace(SMALL, groups=1, pairs=8))
    assert ReachingReport(protocol=single, policy="p", trials=report.trials).rates()[Arm.OWN].group_sd is None


def trials(won):
    for arm, results in won.items():
        for pair, success in enumerate(results):
            times = (1.0, 2.0, 3.0, 10.0) if arm is Arm.OWN else (99.0,)
            yield Trial(
                arm=arm, pair=pair, told=pair, success=bool(success), steps=4, start_distance=50.0, end_distance=1.0,
                process_ms=times, wall_ms=tuple(2 * t for t in times),
            )  # fmt: skip


def test_what_a_decision_takes_is_the_policys_own(protocol) -> None:
    report = ReachingReport(protocol=protocol, policy="p", trials=tuple(trials({arm: [1] * 8 for arm in Arm})))
    assert report.latency().decisions == 32
    assert (report.latency().median, report.latency().worst) == (2.5, 10.0)
    assert report.latency("wall").worst == 20.0 and report.latency().p95 == pytest.approx(10.0)


def test_a_report_without_a_control_does_not_exist(tried) -> None:
    report = tried[1]
    for arm in Arm:
        with pytest.raises(UsageError, match="every pair in every arm"):
            replace(report, trials=tuple(t for t in report.trials if t.arm is not arm))
    with pytest.raises(UsageError, match="every pair in every arm"):
        replace(report, trials=report.trials[:-1])


def test_what_is_told_holds_every_arm_and_bounds_outward(tried) -> None:
    report = tried[1]
    assert [row[0] for row in report.rows()] == ["own", "shuffled", "random"]
    assert len(report.columns()) == len(report.rows()[0])
    text = "\n".join(report.lines())
    assert "own: 8 of 8" in text and "shuffled: " in text and "random: " in text and "left out: " in text
    body = json.loads(json.dumps(report.body()))
    assert set(body["arms"]) == {"own", "shuffled", "random"} and body["protocol"] == report.protocol.digest
    assert float(body["arms"]["own"]["lower"]) <= beta.ppf(0.025, 8, 1)
    assert float(body["decision_ms"]["wall"]["worst"]) >= report.latency("wall").worst
    assert len(body["trials"]) == 24


def test_the_same_protocol_tries_the_same(protocol, tried) -> None:
    again = evaluate(open_task("two_room", OPTIONS), Noting(), protocol)
    strip = [replace(t, process_ms=(), wall_ms=()) for t in again.trials]
    assert strip == [replace(t, process_ms=(), wall_ms=()) for t in tried[1].trials]


def test_a_pair_that_begins_at_its_goal_is_refused(protocol) -> None:
    still = replace(protocol.pairs[0], goal_truth=protocol.pairs[0].start_truth)
    with pytest.raises(DataRefused, match="begins at its goal"):
        evaluate(open_task("two_room", OPTIONS), Noting(), replace(protocol, pairs=(still, *protocol.pairs[1:])))


def test_pairs_of_a_single_episode_are_no_protocol(protocol) -> None:
    with pytest.raises(DataRefused, match="within one episode"):
        replace(protocol, pairs=tuple(replace(pair, episode="one") for pair in protocol.pairs))


def test_an_episode_without_a_stream_that_the_task_shows_gives_the_same_pairs(episodes, protocol) -> None:
    blind = [replace(e, streams={k: v for k, v in e.streams.items() if "images" not in k}) for e in episodes]
    assert drawn(blind).digest == protocol.digest


def test_a_report_is_kept_with_its_protocol_and_what_was_tried(tried, workspace) -> None:
    report = tried[1]
    ref = put(workspace, report, subject="s" * 64)
    kept = json.loads(workspace.store.get(ref.digest))
    assert kept["subject"] == "s" * 64 and kept["arms"] == report.body()["arms"]
    assert ReachingProtocol.from_bytes(workspace.store.get(kept["protocol_document"])) == report.protocol


def test_another_task_or_a_policy_that_takes_no_goals_is_refused(protocol) -> None:
    with pytest.raises(UsageError, match="another task"):
        evaluate(open_task("wall", OPTIONS), Noting(), protocol)
    with pytest.raises(UsageError, match="takes no goals"):
        evaluate(open_task("two_room", OPTIONS), open_actor("random", "two_room"), protocol)
