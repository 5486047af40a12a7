"""Suites as people write them, fresh draws from them, and scenarios read off recorded episodes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import ConfigError, DataRefused, NotFound, UsageError
from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.evidence import from_episode, scenarios, suite_files
from worldgate.evidence.scenarios import Envelope, OracleSpec, Suite
from worldgate.record.workspace import Workspace

TOML = """
name = "lift"
role = "gate-holdout"
attempts = 3

[[scenario]]
name = "cup"
site = "bench"
frame = "table"
criterion = "the cup stands on the shelf"
rubric = ["touched", "lifted"]
initial = { cup = [0.1, 0.2], tall = false }
units = { "initial.cup" = "m" }
envelope = { clearance_m = 0.1 }
weight = 3.0
draws = 4
seed = 10

[[scenario.variation]]
name = "x"
path = "initial.cup.0"
unit = "m"
range = [0.0, 0.3]

[[scenario.oracle]]
oracle = "time"
params = { limit_s = 20 }

[[scenario]]
name = "bowl"
site = "bench"
initial = { bowl = [0.1, 0.2] }
strata = { light = "dim" }
photo = "bowl.png"

[[coverage]]
site = "bench"
name = "x"
path = "initial.cup.0"
unit = "m"
edges = [0.0, 0.15, 0.3]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    assert cv2.imwrite(str(tmp_path / "bowl.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "lift.toml").write_text(TOML)
    return tmp_path / "lift.toml"


def test_a_suite_file_is_recorded_with_its_draws_and_template(workspace: Workspace, file: Path) -> None:
    made = suite_files.add(workspace, file)
    suite = scenarios.load_suite(workspace, made.suite.digest)
    held = [scenarios.load(workspace, digest) for digest in suite.scenarios]
    assert [one.name for one in held] == ["cup-10", "cup-11", "cup-12", "cup-13", "bowl"]
    assert (suite.attempts, suite.weights, len(suite.coverage)) == (3, (0.75,) * 4 + (1.0,), 1)
    assert {one.parent for one in held[:4]} == {workspace.resolve("cup", "scenario").digest}
    assert held[0].oracles[0].params["limit_s"] == 20.0
    assert held[4].photo and workspace.store.has(held[4].photo)
    assert (held[0].criterion, held[0].rubric, held[0].frame) == (
        "the cup stands on the shelf",
        ("touched", "lifted"),
        "table",
    )


def test_the_same_file_gives_the_same_suite(workspace: Workspace, file: Path) -> None:
    first, head = suite_files.add(workspace, file), workspace.ledger.head().seq
    assert suite_files.add(workspace, file).suite.digest == first.suite.digest
    assert workspace.ledger.head().seq == head + 1, "its scenarios are not recorded again"


def test_scenarios_that_are_recorded_already_may_be_named(workspace: Workspace, file: Path, tmp_path: Path) -> None:
    suite_files.add(workspace, file)
    (tmp_path / "more.toml").write_text('name = "more"\nrole = "tripwire"\nscenarios = ["bowl", "cup-11"]\n')
    made = suite_files.add(workspace, tmp_path / "more.toml")
    suite = scenarios.load_suite(workspace, made.suite.digest)
    assert (suite.weights, len(suite.scenarios)) == ((), 2)
    (tmp_path / "more.toml").write_text('name = "more"\nrole = "tripwire"\nscenarios = ["plate"]\n')
    with pytest.raises(NotFound):
        suite_files.add(workspace, tmp_path / "more.toml")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("attempts = 3", "attempts = 0", "at least one plan"),
        ("attempts = 3", "atempts = 3", "unknown key"),
        ("clearance_m = 0.1", "clearance_mm = 100", "unknown key"),
        ('"gate-holdout"', '"holdout"', "input should be"),
        ('unit = "m"\nrange', 'unit = "mm"\nrange', "another unit"),
        ('unit = "m"\nrange', "range", "another unit"),
        ("range = [0.0, 0.3]", "range = [0.3, 0.0]", "to a larger one"),
        ('"initial.cup.0"\nunit', '"initial.cup.7"\nunit', "nothing there to vary|another unit"),
        ("limit_s = 20", "limit_ms = 20000", "unknown key"),
        ('oracle = "time"', 'oracle = "tme"', "no such entry"),
        ("draws = 4", "draws = 0", "draws come from variations"),
        ("draws = 4", "draws = -1", "draws come from variations"),
        ("seed = 10", "seed = -10", "draws come from variations"),
        ("weight = 3.0", "weight = -3.0", "positive weight"),
        ('name = "bowl"', 'name = "cup"', "stands twice"),
        ("edges = [0.0, 0.15, 0.3]", "edges = [0.0]", "edges increase"),
        ("bowl.png", "plate.png", "no such photograph"),
        ('site = "bench"\nframe', 'site = "../bench"\nframe', "usable name"),
        ("name = ", "name = name", "not valid TOML"),
    ],
)
def test_a_file_that_does_not_mean_what_it_says_records_nothing(
    workspace: Workspace, file: Path, old: str, new: str, match: str
) -> None:
    assert old in TOML
    file.write_text(TOML.replace(old, new, 1))
    head = workspace.ledger.head()
    with pytest.raises(UsageError, match=match):
        suite_files.add(workspace, file)
    assert workspace.ledger.head() == head


def test_a_file_without_scenarios_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.toml").write_text('name = "none"\nrole = "tripwire"\n')
    with pytest.raises(ConfigError, match="tries nothing"):
        suite_files.read(tmp_path / "none.toml")


def test_a_gate_suite_of_what_training_saw_is_refused(workspace: Workspace, file: Path) -> None:
    (file.parent / "seen.toml").write_text(TOML.replace("gate-holdout", "train-visible").replace('"lift"', '"seen"'))
    suite_files.add(workspace, file.parent / "seen.toml")
    (file.parent / "fresh.toml").write_text(TOML.replace("seed = 10", "seed = 50"))
    head = workspace.ledger.head()
    with pytest.raises(DataRefused, match="training may see"):
        suite_files.add(workspace, file.parent / "fresh.toml")
    assert workspace.ledger.head() == head, "nothing of it is recorded"


def test_draws_that_give_one_situation_twice_are_no_two_scenes(workspace: Workspace, file: Path) -> None:
    file.write_text(TOML.replace('unit = "m"\nrange = [0.0, 0.3]', "choices = [0.1, 0.2]"))
    with pytest.raises(DataRefused, match="are one scene"):
        suite_files.add(workspace, file)


def test_fresh_draws_are_new_and_shared_by_weight(workspace: Workspace, file: Path) -> None:
    made = suite_files.add(workspace, file)
    suite = scenarios.load_suite(workspace, made.suite.digest)
    fresh = suite_files.sample(workspace, suite, name="lift-2", count=5, seed=100)
    names = [ref.name for ref in fresh.scenarios]
    assert names == [f"cup-{seed}" for seed in range(100, 105)], "the bowl has nothing to draw"
    assert not set(suite.scenarios) & {ref.digest for ref in fresh.scenarios}
    held = scenarios.load_suite(workspace, fresh.suite.digest)
    assert (held.role, held.attempts, held.coverage) == (suite.role, suite.attempts, suite.coverage)
    with pytest.raises(ConfigError, match="made already"):
        suite_files.sample(workspace, suite, name="again", count=1, seed=100)
    bowl = Suite(name="bowl", role="gate-holdout", scenarios=(workspace.resolve("bowl", "scenario").digest,))
    for bad in ({"suite": bowl}, {"count": 0}, {"seed": -1}):
        with pytest.raises(ConfigError, match="nothing to draw from"):
            suite_files.sample(workspace, **{"suite": suite, "name": "x", "count": 1, "seed": 0, **bad})


@given(weights=st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 100), min_size=1), count=st.integers(1, 200))
def test_shares_add_up_and_are_within_one_of_the_exact_ones(weights: dict[str, float], count: int) -> None:
    shares = suite_files._shares(weights, count)
    assert sum(shares.values()) == count
    total = sum(weights.values())
    assert all(abs(shares.get(key, 0) - count * weight / total) < 1 + 1e-6 for key, weight in weights.items())


# from episodes


def rows(kind: Kind, values: Any, **told: Any) -> Rows:
    index = np.arange(len(values), dtype=np.int64)
    info = StreamInfo(name="s", kind=kind, count=len(values), shape=values.shape[1:], **told)
    zero, gap = np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    return Rows(info=info, values=values, index=index, source_ns=index, skew_ns=zero, staleness_ns=zero, gap=gap)


def episode(**changes: Any) -> Episode:
    streams = {
        "observation.state": rows(
            Kind.VECTOR, np.arange(40.0).reshape(20, 2), names=("x", "y"), unit="m", frame="table"
        ),
        "observation.load": rows(Kind.VECTOR, np.ones((20, 1))),
        "action": rows(Kind.ACTION, np.ones((20, 2)), unit="m"),
        "observation.images.front": rows(Kind.IMAGE, np.full((20, 4, 6, 3), 7, np.uint8)),
    }
    fields: dict[str, Any] = {
        "id": "d" * 64, "log": "e" * 64, "name": "run", "alignment": "f" * 64, "origin": Origin.REAL, "rate_hz": 5.0,
        "times_ns": np.arange(20, dtype=np.int64) * 200_000_000, "streams": streams,
    }  # fmt: skip
    return Episode(**{**fields, **changes})


STATE = {"streams": ("observation.state",)}


def read(held: Episode, **changes: Any) -> Any:
    return from_episode.scenario(held, **{"name": "start", "site": "bench", **changes})


def test_the_initial_state_is_that_of_the_first_whole_row(workspace: Workspace) -> None:
    held = episode()
    held.streams["observation.state"].gap[0] = True
    np.asarray(held.streams["observation.state"].values)[1, 0] = np.nan
    made = read(
        held, **STATE, envelope=Envelope(clearance_m=0.1), strata={"shelf": "2"},
        oracles=(OracleSpec(oracle="time", params={"limit_s": 3.0}),),
    )  # fmt: skip
    assert made.initial == {"observation/state": {"values": [4.0, 5.0], "names": ["x", "y"], "frame": "table"}}
    assert (made.source, made.episode, made.frame, made.strata) == ("real", "d" * 64, "table", {"shelf": "2"})
    assert made.units == {"initial.observation/state.values": "m"}
    ref = scenarios.register(workspace, made)
    assert scenarios.unit_of(scenarios.load(workspace, ref.digest), "initial.observation/state.values.0") == "m"


def test_the_situation_may_be_wanted_from_a_later_time_on() -> None:
    made = read(episode(), **STATE, start_ns=1_000_000_001)
    assert made.initial["observation/state"]["values"] == [12.0, 13.0]
    with pytest.raises(DataRefused, match="no row on which everything"):
        read(episode(), **STATE, start_ns=10**12)


def test_a_start_that_was_never_whole_is_refused() -> None:
    held = episode()
    held.streams["observation.state"].gap[:11] = True
    with pytest.raises(DataRefused, match="no row on which everything"):
        read(held, **STATE)


def test_numbers_without_units_need_somebody_to_say_them() -> None:
    with pytest.raises(DataRefused, match="without units"):
        read(episode())
    made = read(episode(), units={"observation.load": "N"})
    assert made.units["initial.observation/load.values"] == "N"
    assert made.frame == "", "two frames are none"
    assert read(episode(), **STATE, units={"observation.state": "m"}).units
    with pytest.raises(DataRefused, match="declares another unit"):
        read(episode(), **STATE, units={"observation.state": "mm"})
    with pytest.raises(NotFound):
        read(episode(), **STATE, units={"observation.load": "N"})


@pytest.mark.parametrize("stream", ["action", "observation.images.front", "observation.other"])
def test_only_states_make_a_situation(stream: str) -> None:
    with pytest.raises(NotFound, match="no such stream of states"):
        read(episode(), streams=(stream,))


def test_a_simulated_run_gives_the_scenario_that_it_was_set_to() -> None:
    facts = {"scenario": json.dumps({"cup": [1, 2]})}
    simulated = episode(origin=Origin.SIMULATED, facts=facts)
    made = read(simulated)
    assert (made.initial, made.source) == ({"cup": [1, 2]}, "synthetic")
    assert read(simulated, **STATE).initial != made.initial
    with pytest.raises(DataRefused, match="without units"):
        read(episode(facts=facts))  # a real log that says so is not believed
    with pytest.raises(DataRefused, match="no object"):
        read(dataclasses.replace(simulated, facts={"scenario": "[1]"}))


def test_the_first_picture_that_is_there_is_taken() -> None:
    held = episode()
    held.streams["observation.images.front"].gap[0] = True
    assert from_episode.picture(held, "observation.images.front").shape == (4, 6, 3)
    film = np.asarray(held.streams["observation.images.front"].values)
    film[6:] = 9
    assert from_episode.picture(held, "observation.images.front", start_ns=1_100_000_000).max() == 9
    with pytest.raises(NotFound, match="no such camera"):
        from_episode.picture(held, "observation.state")
    held.streams["observation.images.front"].gap[:] = True
    with pytest.raises(DataRefused, match="no picture"):
        from_episode.picture(held, "observation.images.front")
