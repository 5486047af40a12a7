"""The training loop: it learns, it resumes to the bit, it stops when it should."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time

import numpy as np
import pytest
import torch
from tests.worlds.synthetic import debug_config, episodes, make

from worldgate.core.errors import AlreadyExists, DataRefused, Interrupted, NotFound, UsageError, WorldgateError
from worldgate.worlds import checkpoint
from worldgate.worlds.models import state
from worldgate.worlds.train import snapshots
from worldgate.worlds.train.loop import resume, train

LEARNABLE, HELD_OUT = episodes(6), episodes(2, first=50)


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["phase"], line["step"], line["loss"]) for line in lines]


def facts(run):
    out = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        out |= {k: v for k, v in json.loads(line).items() if "skill" in k or "sensitivity" in k or "psnr" in k}
    return out


def stop_at(phase, step):
    def report(progress):
        if (progress.phase, progress.step) == (phase, step):
            os.kill(os.getpid(), signal.SIGINT)

    return report


def test_the_loss_goes_down_in_every_phase(trained, family):
    by_phase = {}
    for phase, _, loss in losses(trained.parent):
        by_phase.setdefault(phase, []).append(loss)
    learned = {"state": {"telemetry"}, "conv": {"tokenizer", "dynamics"}}[family]
    for phase in learned:
        assert np.mean(by_phase[phase][-5:]) < np.mean(by_phase[phase][:3]), phase


def test_telemetry_beats_its_baselines_where_actions_matter(tmp_path):
    train("state", LEARNABLE, HELD_OUT, debug_config("state"), tmp_path / "run")
    measured = facts(tmp_path / "run")
    assert measured["skill_over_hold_last_0.5s"] > 0.9
    assert measured["skill_over_constant_velocity_1s"] > 0.9
    assert measured["action_sensitivity_1s"] > 2


def test_a_model_trained_on_shuffled_actions_is_found_out(tmp_path):
    config = debug_config("state")
    broken = dataclasses.replace(config, loop=dataclasses.replace(config.loop, shuffle_actions=True))
    learnable, held_out = episodes(16), episodes(6, first=50)
    for name, made in (("good", config), ("broken", broken)):
        train("state", learnable, held_out, made, tmp_path / name)
    good, bad = facts(tmp_path / "good"), facts(tmp_path / "broken")
    assert bad["action_sensitivity_0.5s"] < 1.2 < 5 < good["action_sensitivity_0.5s"]
    assert bad["skill_over_hold_last_0.5s"] < good["skill_over_hold_last_0.5s"] - 0.3


def test_without_evidence_the_model_holds_the_last_value(tmp_path):
    rng = np.random.default_rng(0)
    noise = [make(f"noise-{i}", rng.normal(0, 1, (60, 3)).cumsum(axis=0), rng.normal(0, 1, (60, 2))) for i in range(6)]
    folder = train("state", noise[:5], noise[5:], debug_config("state"), tmp_path / "run")
    world = checkpoint.load(folder)
    assert isinstance(world, state.StateWorld)
    measured = facts(tmp_path / "run")
    assert measured["skill_over_hold_last_0.5s"] > -0.25
    assert float(world.family.ensemble.gain_SD.mean(dim=0).max()) < 0.6


@pytest.mark.parametrize(
    ("name", "phase", "step"), [("state", "telemetry", 17), ("conv", "tokenizer", 7), ("conv", "dynamics", 13)]
)
def test_an_interrupted_run_goes_on_with_the_same_losses_to_the_bit(tmp_path, name, phase, step):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(name, LEARNABLE, HELD_OUT, debug_config(name), whole)
    with pytest.raises(Interrupted) as caught:
        train(name, LEARNABLE, HELD_OUT, debug_config(name), broken, stop_at(phase, step))
    assert "--resume broken" in str(caught.value)
    assert not (broken / "model").exists()
    torch.manual_seed(999)
    folder = resume(broken, LEARNABLE, HELD_OUT)
    assert losses(broken) == losses(whole)
    assert (folder / "model.safetensors").read_bytes() == (whole / "model" / "model.safetensors").read_bytes()


def test_a_killed_run_forgets_what_came_after_its_snapshot(tmp_path):
    def die(progress):
        if progress.step == 25:
            raise KeyboardInterrupt  # as if the process had vanished between two snapshots

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train("state", LEARNABLE, HELD_OUT, debug_config("state"), whole)
    with pytest.raises(KeyboardInterrupt):
        train("state", LEARNABLE, HELD_OUT, debug_config("state"), broken, die)
    assert losses(broken)[-1][1] == 25
    resume(broken, LEARNABLE, HELD_OUT)
    assert losses(broken) == losses(whole)


def test_a_finished_run_is_returned_as_it_is(tmp_path):
    folder = train("state", LEARNABLE, [], debug_config("state"), tmp_path / "run")
    before = (folder / "config.json").read_bytes()
    assert resume(tmp_path / "run", LEARNABLE, []) == folder
    assert (folder / "config.json").read_bytes() == before


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(tmp_path):
    config = debug_config("state")
    other = dataclasses.replace(config, loop=dataclasses.replace(config.loop, seed=1))
    made = [
        (train("state", LEARNABLE, [], c, tmp_path / n) / "model.safetensors").read_bytes()
        for n, c in (("a", config), ("b", config), ("c", other))
    ]
    assert made[0] == made[1] != made[2]


def test_resuming_with_other_episodes_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        train("state", LEARNABLE, [], debug_config("state"), tmp_path / "run", stop_at("telemetry", 5))
    with pytest.raises(UsageError, match="episodes it was started with"):
        resume(tmp_path / "run", LEARNABLE[:-1], [])


def test_nothing_existing_is_overwritten_and_no_run_is_made_up(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(AlreadyExists, match="this run exists"):
        train("state", LEARNABLE, [], debug_config("state"), tmp_path / "run")
    with pytest.raises(NotFound, match="no such run"):
        resume(tmp_path / "other", LEARNABLE, [])


def test_a_rate_that_is_far_too_high_stops_the_run_and_says_so(tmp_path):
    config = debug_config("state")
    wild = dataclasses.replace(config, phase=dataclasses.replace(config.phase, rate=1e6, clip=1e9, warmup=1))
    with pytest.raises(WorldgateError, match="diverged") as caught:
        train("state", LEARNABLE, [], wild, tmp_path / "run")
    assert "lower learning rate" in str(caught.value)
    assert snapshots.load(tmp_path / "run").step >= 0


def test_a_time_budget_ends_a_run_early(tmp_path):
    config = debug_config("state")
    long = dataclasses.replace(config.phase, steps=100_000)
    loop = dataclasses.replace(config.loop, max_seconds=1.0, evaluate_every=10**6, checkpoint_every=10**6)
    seen = []
    train(
        "state", LEARNABLE, HELD_OUT, dataclasses.replace(config, phase=long, loop=loop), tmp_path / "run", seen.append
    )
    assert losses(tmp_path / "run")[-1][1] < 100_000
    assert [bool(p.facts) for p in seen[-2:]] == [False, True], "it is judged where it ends"


def test_a_budget_of_processor_time_is_not_spent_by_waiting(tmp_path):
    config = debug_config("state")
    long = dataclasses.replace(config.phase, steps=100_000)
    loop = dataclasses.replace(
        config.loop, max_seconds=0.5, clock="process", evaluate_every=10**6, checkpoint_every=10**6
    )
    begun, steps = time.monotonic(), []

    def wait(note):
        if len(steps) < 3:
            time.sleep(0.5)
        steps.append(note.step)

    train("state", LEARNABLE, [], dataclasses.replace(config, phase=long, loop=loop), tmp_path / "run", wait)
    assert time.monotonic() - begun > 1.5, "three waits"
    assert 3 < steps[-1] < 100_000, "by the wall clock the first wait alone would have ended it"


def test_episodes_that_are_too_short_are_refused(tmp_path):
    with pytest.raises(DataRefused, match="too short"):
        train("state", episodes(3, length=6), [], debug_config("state"), tmp_path / "run")


def test_progress_says_phase_step_loss_rate_and_time_left(tmp_path):
    seen = []
    train("state", LEARNABLE, HELD_OUT, debug_config("state"), tmp_path / "run", seen.append)
    assert [p.step for p in seen] == list(range(1, 31))
    assert all(p.rate > 0 and p.eta_s >= 0 and np.isfinite(p.loss) for p in seen)
    assert any(p.facts for p in seen)
    assert json.loads((tmp_path / "run" / "heartbeat.json").read_text())["step"] == 30
