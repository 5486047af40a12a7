from __future__ import annotations

import numpy as np
import pytest

from worldgate.core.errors import NotFound
from worldgate.sim.attributes import Attributes
from worldgate.sim.environment import CellEnvironment
from worldgate.sim.experts import EXPERTS, Expert, ExpertConfig, give_way
from worldgate.sim.record import find_expert

NEAR_M = 0.05
"""Clearance below which a run counts as a near-miss."""


def outcomes(expert: str | ExpertConfig, site: str, seeds: range, *, person: bool) -> list[tuple[bool, float]]:
    """(success, smallest clearance in m) of runs without cameras."""
    found = []
    policy = Expert(EXPERTS[expert] if isinstance(expert, str) else expert, site)
    for seed in seeds:
        environment = CellEnvironment(site, attributes=Attributes(person=person))
        observation = environment.reset(seed=seed)
        policy.reset(seed=seed)
        done = False
        while not done:
            transition = environment.step(policy.act(observation))
            observation, done = transition.observation, transition.done
        outcome = environment.outcome()
        found.append((outcome["success"] == 1.0, outcome["clearance_m"]))
    return found


@pytest.mark.parametrize("site", ["north", "south"])
def test_the_scripted_expert_succeeds_in_at_least_nineteen_of_twenty(site: str) -> None:
    assert sum(ok for ok, _ in outcomes("scripted", site, range(20), person=False)) >= 19


def test_the_scripted_expert_gives_way_where_the_careless_one_comes_near() -> None:
    careful = outcomes("scripted", "north", range(12), person=True)
    careless = outcomes("careless", "north", range(12), person=True)
    assert all(clearance >= NEAR_M for _, clearance in careful)
    assert sum(clearance < NEAR_M for _, clearance in careless) >= 3
    assert sum(ok for ok, _ in careful) >= 10


def test_the_random_expert_hardly_ever_succeeds() -> None:
    assert sum(ok for ok, _ in outcomes("random", "south", range(6), person=False)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("site", ["north", "south"])
def test_over_a_hundred_seeds_the_scripted_expert_succeeds_in_95_percent_and_gives_way(site: str) -> None:
    alone = outcomes("scripted", site, range(100), person=False)
    beside = outcomes("scripted", site, range(100), person=True)
    assert sum(ok for ok, _ in alone) >= 95
    assert sum(ok for ok, _ in beside) >= 95
    assert sum(clearance < NEAR_M for _, clearance in beside) <= 1


def test_experts_of_other_settings_or_sites_have_other_digests() -> None:
    digests = {Expert(config, site).digest for config in EXPERTS.values() for site in ("north", "south")}
    assert len(digests) == 2 * len(EXPERTS)


def test_a_noisy_expert_repeats_with_its_seed_and_differs_with_another() -> None:
    seen = {
        "observation.state": np.zeros(11),
        "observation.environment_state": np.array([0.1, 0, 0, 0.11, 0.235, 0.95, 0]),
    }
    policy = Expert(EXPERTS["noisy"], "north")
    actions = []
    for seed in (1, 1, 2):
        policy.reset(seed=seed)
        actions.append(policy.act(seen))
    np.testing.assert_array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[0], actions[2])


def test_giving_way_leaves_a_far_hand_alone_and_turns_back_inside_the_keep_out() -> None:
    ahead = np.array([0.3, 0.0])
    np.testing.assert_array_equal(give_way(ahead, np.zeros(2), np.array([0.9, 0.0]), 0.16, 0.3), ahead)
    assert give_way(ahead, np.zeros(2), np.array([0.12, 0.0]), 0.16, 0.3)[0] < 0


def test_an_unknown_expert_is_refused_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean scripted"):
        find_expert("scriptet")


def test_a_smaller_keep_out_lets_the_tool_come_nearer() -> None:
    wide, narrow = (
        np.mean([clearance for _, clearance in outcomes(ExpertConfig(keep_out_m=m), "north", range(4), person=True)])
        for m in (0.16, 0.08)
    )
    assert narrow < wide - 0.02
