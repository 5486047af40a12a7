"""Alarms: collapse and actions that make no difference are said, once, and only when they last."""

from __future__ import annotations

import json
import logging

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from tests.worlds.synthetic import debug_config, episodes

from worldgate.core.errors import WorldgateError
from worldgate.worlds.telemetry import TelemetryPhase
from worldgate.worlds.train.guards import Alarms, Losses, spread_of
from worldgate.worlds.train.loop import train


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(np.float64, (30, 4), elements=st.integers(-1000, 1000).map(float)))
def test_effective_rank_lies_between_one_and_the_width_and_does_not_depend_on_scale(held):
    told = spread_of(torch.tensor(held))
    assert told["effective_rank"] == 0 or 1 - 1e-9 <= told["effective_rank"] <= 4 + 1e-9
    again = spread_of(torch.tensor(held) * 8 + 16)
    assert again["effective_rank"] == pytest.approx(told["effective_rank"], rel=1e-3, abs=1e-3)


def test_effective_rank_counts_directions_and_dead_dimensions():
    rng = np.random.default_rng(0)
    round_cloud = torch.tensor(rng.normal(size=(4000, 8)))
    line = round_cloud[:, :1] @ torch.ones(1, 8, dtype=torch.float64)
    still = round_cloud.clone()
    still[:, 2:] *= 1e-5
    assert spread_of(round_cloud)["effective_rank"] == pytest.approx(8, abs=0.1)
    assert spread_of(line)["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert spread_of(line)["dead_share"] == 0
    assert spread_of(still)["dead_share"] == 0.75
    assert spread_of(torch.zeros(10, 3)) == {"effective_rank": 0.0, "latent_width": 3.0, "dead_share": 1.0}


def test_an_alarm_sounds_after_three_evaluations_once_and_again_after_a_recovery():
    alarms, told = Alarms(), []
    for value in (1.0, 1.01, 1.0, 1.0, 1.5, 1.0, 1.0, 1.0):
        told.append(alarms.read({"action_sensitivity_1s": value, "skill": 0.1}))
    assert [bool(t) for t in told] == [False, False, True, False, False, False, False, True]
    assert "actions make no difference: action_sensitivity_1s 1.000" in told[2][0]


def test_collapse_is_told_apart_from_a_narrow_but_living_latent():
    alarms = Alarms()
    dead = {"effective_rank": 1.01, "latent_width": 16.0, "dead_share": 0.0}
    alive = {"effective_rank": 3.0, "latent_width": 16.0, "dead_share": 0.5}
    assert not any(alarms.read(alive) for _ in range(5))
    assert [bool(alarms.read(dead)) for _ in range(4)] == [False, False, True, False]


def test_a_model_whose_actions_carry_nothing_sets_off_the_alarm_everywhere(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(TelemetryPhase, "evaluate", lambda self: {"action_sensitivity_1s": 1.001})
    config = debug_config("state")
    seen = []
    with caplog.at_level(logging.WARNING):
        train("state", episodes(6), [], config, tmp_path / "run", seen.append)
    assert not any(p.alarms for p in seen), "two evaluations are not several"
    import dataclasses

    often = dataclasses.replace(config, loop=dataclasses.replace(config.loop, evaluate_every=5))
    with caplog.at_level(logging.WARNING):
        train("state", episodes(6), [], often, tmp_path / "often", seen.append)
    assert [p.step for p in seen if p.alarms] == [15]
    assert "actions make no difference" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "often" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "alarms" in line] == [15]
    beat = json.loads((tmp_path / "often" / "heartbeat.json").read_text())
    assert len(beat["alarms"]) == 1


def test_a_loss_that_is_not_finite_or_runs_away_stops_the_run():
    with pytest.raises(WorldgateError, match="diverged"):
        Losses("p").add(float("nan"), 1.0, 3)
    with pytest.raises(WorldgateError, match="diverged"):
        Losses("p").add(1.0, float("inf"), 3)
    calm = Losses("p")
    for step in range(60):
        calm.add(0.5 + 0.1 * (step % 3), 1.0, step)
    wild = Losses("p")
    with pytest.raises(WorldgateError, match="at the start"):
        for step in range(60):
            wild.add(0.5 if step < 20 else 50.0, 1.0, step)
