"""Pairs of trials: what counts, what is refused, and who may not pick."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence import site_samples
from tests.evidence.site_samples import trials

from worldgate.core import seams
from worldgate.core.digest import sha256
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.evidence import Trial
from worldgate.core.streams import Origin
from worldgate.evidence.pairing import (
    BEYOND,
    SCHEMA,
    Paired,
    admitted_steps,
    collect,
    discounted,
    pair,
    read,
    within,
)
from worldgate.evidence.statistics import binomial_upper
from worldgate.evidence.trials import RecordedTrial, record_trials
from worldgate.record.workspace import Workspace

WORLD = format(0, "064x")
REAL = frozenset({Origin.REAL})


def put_together(found: Sequence[RecordedTrial], *, steps: int = 10) -> Paired:
    return pair(found, sites=["bench"], origins=REAL, steps=steps)


def changed(item: RecordedTrial, **fields: object) -> RecordedTrial:
    return dataclasses.replace(item, trial=dataclasses.replace(item.trial, **fields))


def test_outcomes_fall_into_the_table_of_four() -> None:
    outcomes = {0: (True, True), 1: (False, True), 2: (True, False), 3: (False, False)}
    found = trials(
        releases=1, scenes=4, real=lambda r, s: (outcomes[s][0], 0), imagined=lambda r, s: (outcomes[s][1], 0)
    )
    assert put_together(found).table() == {"k00": 1, "k01": 1, "k10": 1, "k11": 1}


def test_the_worst_pair_of_a_scene_speaks_for_it() -> None:
    found = trials(releases=3, scenes=2, real=lambda r, s: (r != 2, 0), imagined=lambda r, s: (True, 0))
    paired = put_together(found)
    assert len(paired.pairs) == 6
    assert paired.table() == {"k00": 0, "k01": 2, "k10": 0, "k11": 0}
    assert paired.optimistic().values == (1, 1)
    assert paired.optimistic().n == 2, "a scene counts once, however many releases ran on it"


def test_a_rollout_beyond_the_admitted_horizon_is_no_evidence() -> None:
    found = trials(releases=1, scenes=5, steps=30.0)
    paired = put_together(found, steps=29)
    assert (paired.pairs, paired.beyond, paired.share) == ((), 5, 0)
    assert len(put_together(found, steps=30).pairs) == 5
    assert put_together(trials(releases=1, scenes=5, steps=None)).beyond == 5, "one of unknown length is refused"
    assert put_together(found, steps=0).pairs == ()
    assert not within(dataclasses.replace(found[0].trial, metrics={"steps": float("nan")}), 10)


def test_a_rollout_that_its_executor_cut_short_says_neither_success_nor_failure() -> None:
    assert seams.load("executors", "world_model").BEYOND == BEYOND
    real, imagined = trials(releases=1, scenes=1, real=lambda r, s: (False, 0))
    cut = changed(imagined, excluded=f"{BEYOND}: 5 of 80 steps are evidence", success=False)
    paired = put_together([real, cut])
    assert (paired.pairs, paired.beyond) == ((), 1)


def test_running_a_refused_rollout_again_shorter_does_not_bring_it_in() -> None:
    found = trials(releases=1, scenes=1, steps=30.0)
    again = changed(found[1], metrics={"steps": 5.0}, success=True)
    paired = put_together([*found, again])
    assert (len(paired.pairs), paired.beyond, paired.repeats) == (0, 1, 1)


def test_the_first_of_several_runs_counts_on_either_side() -> None:
    real, imagined = trials(releases=1, scenes=1, real=lambda r, s: (False, 0), imagined=lambda r, s: (True, 0))
    paired = put_together([real, imagined, changed(imagined, success=False), changed(real, success=True)])
    assert (paired.table()["k01"], paired.repeats) == (1, 2)


def test_exclusions_count_against_the_world_model() -> None:
    real, imagined = trials(releases=1, scenes=1, real=lambda r, s: (True, 0), imagined=lambda r, s: (False, 3))
    assert put_together([changed(real, excluded="camera"), changed(imagined, excluded="seed")]).table()["k01"] == 1
    (both,) = put_together([changed(real, excluded="camera"), imagined]).pairs
    assert both.violated and not both.succeeded
    (other,) = put_together([real, changed(imagined, excluded="seed")]).pairs
    assert other.said_success and not other.said_violation and not other.warned


def test_trials_of_other_sites_origins_seeds_and_releases_are_not_paired() -> None:
    real, imagined = trials(releases=1, scenes=1)
    for other in (
        changed(real, slot="kitchen/ur5/left"),
        changed(real, executor=Origin.SIMULATED),
        changed(real, seed=7),
        changed(real, release=sha256(b"other")),
        changed(real, scenario=sha256(b"other")),
    ):
        assert put_together([other, imagined]).pairs == ()
    stands_in = pair([changed(real, executor=Origin.SIMULATED), imagined], sites=["bench"],
                     origins={Origin.REAL, Origin.SIMULATED}, steps=10)  # fmt: skip
    assert len(stands_in.pairs) == 1


def test_scenes_that_nobody_imagined_are_counted() -> None:
    paired = put_together(trials(releases=2, scenes=20, only=range(12)))
    assert (paired.scenes, paired.scenes_run, paired.share) == (12, 20, Fraction(3, 5))


def test_near_misses_are_known_failures() -> None:
    found = trials(
        releases=1, scenes=3, real=lambda r, s: (True, int(s < 2)), imagined=lambda r, s: (True, int(s == 0))
    )
    paired = put_together(found)
    assert paired.caught().values == (1, 0)
    assert paired.missed().values == (0, 1)
    assert paired.false_alarms().values == (0,)


def test_rates_are_over_the_scenes_that_both_ran() -> None:
    real, imagined, scenes = put_together(trials(releases=2, scenes=20, only=range(10))).rates()
    releases = [sha256(f"release{i}".encode()) for i in (0, 1)]
    assert scenes == dict.fromkeys(sorted(releases), 10)
    assert real == imagined
    assert [real[r] for r in releases] == [Fraction(4, 10), Fraction(6, 10)]


def test_every_trial_in_a_world_model_is_gathered_and_no_other(workspace: Workspace) -> None:
    found = trials(releases=2, scenes=3)
    elsewhere = trials(releases=1, scenes=2, world=sha256(b"another"), executor=Origin.SIMULATED)
    alone = Trial(
        scenario="5" * 64, release=sha256(b"never imagined"), executor=Origin.REAL, slot="bench/ur5/left", seed=0,
        success=True, violations=0, world=WORLD,
    )  # fmt: skip
    record_trials(workspace, [item.trial for item in (*found, *elsewhere)])
    record_trials(workspace, [alone])
    head = workspace.ledger.head().seq
    record_trials(workspace, [changed(found[0], seed=99).trial])
    told = collect(workspace, WORLD, upto_seq=head)
    kept = read(told)
    assert told["schema"] == SCHEMA
    worlds = {(t.trial.executor, t.trial.world) for t in kept}
    assert worlds == {(Origin.REAL, ""), (Origin.IMAGINED, WORLD), (Origin.SIMULATED, "")}
    assert len(kept) == len(found) + 2, "the other releases' real trials and what came later are left out"
    assert collect(workspace, sha256(b"unknown"), upto_seq=head)["trials"] == []


def test_a_list_that_is_not_of_this_world_model_is_refused() -> None:
    with pytest.raises(DataRefused, match="not paired trials"):
        read({"schema": "worldgate/trials/1"})
    imagined = trials(releases=1, scenes=1)[1]
    fields = {f.name: getattr(imagined.trial, f.name) for f in dataclasses.fields(Trial)}
    row = {**fields, "digest": imagined.digest, "executor": "imagined"}
    with pytest.raises(DataRefused, match="another world model"):
        read({"schema": SCHEMA, "world": sha256(b"other"), "trials": [row]})


def test_an_admission_lends_the_least_horizon_of_its_signals_where_it_holds() -> None:
    payload = {
        "gate": "admission", "verdict": "ADMIT", "scope": {"sites": ["bench"]},
        "admitted": [{"steps": 7}, {"steps": 4}],
    }  # fmt: skip
    assert admitted_steps(payload, "bench") == 4
    assert admitted_steps(payload, "kitchen") == 0
    assert admitted_steps({**payload, "verdict": "HOLD"}, "bench") == 0
    assert admitted_steps({**payload, "gate": "promotion"}, "bench") == 0
    assert admitted_steps({**payload, "admitted": []}, "bench") == 0


def test_the_discounted_bound_rests_on_pairs_within_the_horizon() -> None:
    found = list(trials(releases=1, scenes=30, real=lambda r, s: (s > 2, 0), imagined=lambda r, s: (True, 0)))
    more = [changed(t, scenario=sha256(f"more{i}".encode())) for i, t in enumerate(found) if t.trial.world]
    release = found[0].trial.release
    told = discounted([*found, *more], release=release, site="bench", origins=REAL, steps=10, alpha="0.05")
    assert len(told.optimistic) == 3
    assert told.optimism_upper == binomial_upper(3, 30, Fraction(45, 1000))
    long = [changed(t, metrics={"steps": 50.0}) if t.trial.world else t for t in (*found, *more)]
    nothing = discounted(long, release=release, site="bench", origins=REAL, steps=10, alpha="0.05")
    assert (nothing.simulated_lower, nothing.optimism_upper) == ("0", "1")
    with pytest.raises(UsageError):
        discounted(found, release=release, site="bench", origins=REAL, steps=10, alpha="2")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans(), st.booleans()), max_size=30))
def test_a_table_has_one_cell_a_scene_whatever_ran(runs: list[tuple[int, int, bool, bool]]) -> None:
    base = site_samples.trials(releases=1, scenes=1)
    found = [
        changed(base[side], scenario=sha256(f"s{scene}".encode()), seed=seed, success=ok)
        for scene, seed, side, ok in runs
    ]
    paired = put_together(found)
    table = paired.table()
    assert sum(table.values()) == paired.scenes <= paired.scenes_run <= 4
    assert table["k01"] == sum(paired.optimistic().counted(0))
