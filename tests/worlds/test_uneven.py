"""Rows that come late or never, streams slower than the rows, commands that act late, and none at all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.worlds.synthetic import debug_config, episode, episodes, make, replace_inputs

from worldgate.core.errors import CapabilityMissing, ConfigError, DataRefused, UsageError
from worldgate.core.worlds import Capability, Prompt, rollout
from worldgate.evidence.bootstrap import ratio_interval
from worldgate.worlds import checkpoint, latency, telemetry_figures
from worldgate.worlds.imagine import rollouts
from worldgate.worlds.nn.ensemble import Core, Ensemble, EnsembleConfig
from worldgate.worlds.telemetry import TelemetryPhase, pieces
from worldgate.worlds.tracks import Inputs, fit_normaliser, make_tracks, resolve_layout
from worldgate.worlds.train.config import PhaseConfig
from worldgate.worlds.train.loop import train
from worldgate.worlds.uneven import Looks, evenly, starts, thinned, timing_of

INPUTS = Inputs(cameras=())


def tracks_of(made, inputs=INPUTS):
    layout = resolve_layout(made, inputs)
    return make_tracks(made, layout), layout


def fitted(tracks, layout, config=None):
    """The linear start and its calibration alone: enough to see what a model is told."""
    torch.manual_seed(0)
    ensemble = Ensemble(config or EnsembleConfig(members=3, width=8), layout, fit_normaliser(tracks, layout))
    phase = TelemetryPhase(ensemble, PhaseConfig(steps=1, batch=4), layout, tracks, [])
    phase.prepare()
    phase.finish()
    ensemble.trust_D.zero_()
    return ensemble, phase


def late(seed, lag, length=80):
    """A point that moves towards where it was told to be some rows ago."""
    rng = np.random.default_rng(seed)
    goals = rng.uniform(-0.8, 0.8, (length // 5 + 1, 2)).repeat(5, axis=0)[:length]
    place, places = np.zeros(2), []
    for row in range(length):
        places.append(place)
        place = place + 0.3 * (goals[max(row - lag, 0)] - place)
    return make(f"late-{seed}", np.array(places) + rng.normal(0, 1e-3, (length, 2)), goals)


def test_missing_rows_are_put_in_unknown_under_the_command_before_them():
    track = tracks_of([episode(0)])[0][0]
    thin = thinned(track, 0.4, 1)
    whole = evenly(thin)
    timing = timing_of(whole)
    assert len(thin) < len(track)
    assert len(whole) <= len(track)
    real = timing.known_TD.all(axis=1)
    assert int(real.sum()) == len(thin)
    kept = np.flatnonzero(real)
    assert np.array_equal(whole.states_TD[kept], thin.states_TD)
    gone = np.flatnonzero(~real)
    assert len(gone)
    assert np.array_equal(whole.actions_TA[gone], whole.actions_TA[gone - 1])
    assert (timing.pace_T == 1).all()


def test_a_stream_slower_than_the_rows_counts_once_a_message():
    made = episode(0)
    rows = made.streams["observation.state"]
    index = np.arange(len(rows)) // 2 * 2
    slow = dataclasses.replace(
        rows, index=index, values=rows.values[index], skew_ns=(index - np.arange(len(rows))) * 10**8
    )
    made = dataclasses.replace(made, streams={**made.streams, "observation.state": slow})
    track = tracks_of([made])[0][0]
    assert track.timing.known_TD[::2].all()
    assert not track.timing.known_TD[1::2].any()
    now = starts(evenly(track), 4, 5)
    look = Looks([track], torch.zeros(3)).take(now, 4, 5)
    assert set(look.window.age_XD[:, 0].tolist()) == {0.0, 1.0}


def test_a_grid_of_stamps_is_told_by_its_pace():
    made = episode(0)
    times = made.times_ns.copy()
    times[10:] += 3 * 10**8
    times[20:] += 2 * 10**7
    track = tracks_of([dataclasses.replace(made, times_ns=times)])[0][0]
    timing = timing_of(evenly(track))
    assert len(timing.pace_T) == len(track) + 3
    assert timing.pace_T[10:14].tolist() == [1, 1, 1, 1]
    assert timing.pace_T[23] == pytest.approx(1.2)


def test_a_window_needs_something_known_before_and_after_and_a_command_all_the_while():
    track = tracks_of([episode(0, length=30)])[0][0]
    driven = track.timing.driven_T.copy()
    driven[:8] = False
    known = track.timing.known_TD.copy()
    known[12:22] = False
    bad = dataclasses.replace(track, timing=dataclasses.replace(track.timing, known_TD=known, driven_T=driven))
    now = starts(evenly(bad), 3, 4)
    assert now.tolist() == [10, 22, 23, 24, 25]


def test_dropped_rows_degrade_gracefully_and_stay_ahead_of_baselines_that_know_the_true_times():
    tracks, layout = tracks_of(episodes(12))
    found = {}
    for share in (0.0, 0.3, 0.6):
        thin = [thinned(track, share, seed) for seed, track in enumerate(tracks)]
        ensemble, _ = fitted(thin[:8], layout)
        looks = Looks(thin[8:], ensemble.state_circular_D)
        found[share] = telemetry_figures.errors(ensemble, looks, layout.rate_hz, 0.5)
    skills = {share: (f.skill("hold"), f.skill("velocity")) for share, f in found.items()}
    for share, (hold, velocity) in skills.items():
        assert hold["low"] > 0.9 - share, (share, hold)
        assert velocity["low"] > 0.9 - share, (share, velocity)
    assert skills[0.0][0]["skill"] >= skills[0.6][0]["skill"] - 0.02
    assert 0.75 < np.nanmean(found[0.3].inside_ND) <= 1


@pytest.mark.parametrize("lag", [0, 4])
def test_how_late_commands_act_is_found(lag):
    tracks, layout = tracks_of([late(seed, lag) for seed in range(6)])
    ensemble, phase = fitted(tracks, layout)
    assert [found.rows for found in phase.lags] == [lag, lag]
    assert all(found.found and found.low_s <= lag / 10 <= found.high_s for found in phase.lags)
    assert phase.evaluate()["action_latency_s/observation.state/0"] == pytest.approx(lag / 10)
    assert int(ensemble.lag_D.max()) == min(lag, ensemble.past - 1)


def test_commands_that_move_nothing_have_no_latency():
    rng = np.random.default_rng(0)
    noise = [make(f"n{i}", rng.normal(0, 1, (60, 20)).cumsum(axis=0), rng.normal(0, 1, (60, 2))) for i in range(4)]
    tracks, _ = tracks_of(noise)
    lags = latency.estimate(tracks, np.zeros(20, bool), np.ones(20), 10.0, 1.0)
    assert sum(lag.found for lag in lags) <= 2


def test_where_commands_act_late_a_long_look_back_beats_a_short_one_with_its_interval():
    tracks, layout = tracks_of([late(seed, 5) for seed in range(18)])
    sums = []
    for seconds in (0.0, 0.8):
        ensemble, _ = fitted(tracks[:10], layout, EnsembleConfig(members=3, width=8, commands_s=seconds))
        looks = Looks(tracks[10:], ensemble.state_circular_D)
        found = telemetry_figures.errors(ensemble, looks, layout.rate_hz, 0.5, context=9)
        sums.append(telemetry_figures.by_unit(found.model_ND, found.unit_N).tolist())
    ratio = ratio_interval(sums[1], sums[0])
    assert float(ratio.upper) < 0.5


@pytest.mark.parametrize("core", [Core.GRU, Core.TRANSFORMER])
def test_a_core_with_memory_learns_is_kept_and_rolls_on_beyond_its_context(core, tmp_path):
    config = debug_config("state")
    ensemble = dataclasses.replace(config.ensemble, core=core, memory_s=0.8, memory=16)
    folder = train(
        "state", episodes(5), episodes(2, first=50), dataclasses.replace(config, ensemble=ensemble), tmp_path / "r"
    )
    world = checkpoint.load(folder)
    assert world.spec.context == 9
    prompt = Prompt(
        states={"observation.state": np.tile([[0.1, 0.2, 0.7]], (9, 1))}, actions=np.full((9, 2), 0.3, np.float32)
    )
    made = rollout(world, prompt, np.full((30, 2), 0.5, np.float32), seed=0)
    assert made.frame.states["observation.state"][0, -1, :2] == pytest.approx([0.5, 0.5], abs=0.1)


def test_a_log_without_actions_trains_and_rolls_forward_by_itself(tmp_path):
    config = replace_inputs(debug_config("state"), Inputs(cameras=(), action=""))
    world = checkpoint.load(train("state", episodes(5), [], config, tmp_path / "run"))
    assert Capability.ACTIONS not in world.capabilities
    states = {"observation.state": np.tile([[0.1, 0.2, 0.7]], (world.spec.context, 1))}
    made = rollout(world, Prompt(states=states), None, seed=0, horizon=5)
    assert made.frame.states["observation.state"].shape == (1, 5, 3)
    with pytest.raises(CapabilityMissing, match="takes no actions"):
        world.open(Prompt(states=states, actions=np.zeros((3, 2), np.float32)), seed=0)


def test_a_prompt_may_leave_numbers_out_but_not_all_of_a_channel(tmp_path):
    world = checkpoint.load(train("state", episodes(5), [], debug_config("state"), tmp_path / "run"))
    states = np.tile(np.float32([[0.1, 0.2, 0.7]]), (world.spec.context, 1))
    states[-1, 0] = np.nan
    actions = np.full((world.spec.context, 2), 0.3, np.float32)
    prompt = Prompt(states={"observation.state": states}, actions=actions)
    made = rollout(world, prompt, np.full((4, 2), 0.3, np.float32), samples=3, seed=0)
    assert np.isfinite(made.frame.states["observation.state"]).all()
    states[:, 0] = np.nan
    with pytest.raises(UsageError, match="not finite"):
        world.open(Prompt(states={"observation.state": states}, actions=actions), seed=0)


def test_an_episode_without_its_optional_action_teaches_what_happens_by_itself():
    made = episodes(4)
    quiet = dataclasses.replace(made[0], streams={"observation.state": made[0].streams["observation.state"]})
    tracks, layout = tracks_of([*made[1:], quiet], Inputs(cameras=(), optional=("action",)))
    ensemble, phase = fitted(tracks, layout)
    batch = phase.draw(np.random.default_rng(0))
    assert torch.isnan(batch["actions_MNTA"]).any()
    assert bool(torch.isfinite(phase.loss(batch)))
    assert bool(torch.isfinite(ensemble.ridge_MFD).all())


def test_an_episode_without_a_state_is_refused():
    made = episodes(3)
    lacking = dataclasses.replace(made[0], streams={"action": made[0].streams["action"]})
    with pytest.raises(DataRefused, match="every state"):
        tracks, layout = tracks_of([*made[1:], lacking], Inputs(cameras=(), optional=("observation.state",)))
        fitted(tracks, layout)


def test_a_single_log_is_cut_into_pieces_so_that_members_leave_something_out():
    track = tracks_of([episode(0, length=400)])[0][0]
    cut = pieces([track], 20, 10)
    assert len(cut) == 10
    assert sum(map(len, cut)) == 400
    assert pieces([track] * 3, 20, 10) == [track] * 3
    assert len(pieces([tracks_of([episode(0)])[0][0]], 20, 10)) == 1


def test_a_context_of_one_row_is_refused():
    with pytest.raises(ConfigError, match="two rows"):
        EnsembleConfig(context=1)


def test_an_episode_of_a_log_without_actions_is_imagined_without_any(tmp_path):
    config = replace_inputs(debug_config("state"), Inputs(cameras=(), action=""))
    world = checkpoint.load(train("state", episodes(5), [], config, tmp_path / "run"))
    made = rollouts.imagine(world, episode(60), row=10, horizon=6)
    assert made.actions.shape == (6, 0)
    assert made.frame.states["observation.state"].shape == (1, 6, 3)
