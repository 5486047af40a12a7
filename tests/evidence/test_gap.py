"""The gap: what it measures, what it refuses, and what its bounds say of good, lazy and broken models."""

from __future__ import annotations

import dataclasses
import json
from types import ModuleType

import numpy as np
import pytest
from tests.evidence import worlds_to_judge as small

from worldgate.core.digest import canonical
from worldgate.core.errors import DataRefused, NotFound, UsageError
from worldgate.core.streams import FloatArray, Origin
from worldgate.core.worlds import Frame, Prompt, Signal, Unrolling
from worldgate.evidence import gap_bounds
from worldgate.evidence.baselines import constant_velocity, wrap
from worldgate.evidence.gap import gap
from worldgate.evidence.gap_report import GapConfig, GapReport, merge
from worldgate.evidence.metrics import class_error, depth_abs_rel

STATE = "observation.state"
FRONT = "observation.images.front"


def report(fakes: ModuleType, *, episodes: int = 12, config: GapConfig | None = None, **model: object) -> GapReport:
    config = config or GapConfig(windows=5, epsilon={STATE: 0.05})
    return gap(fakes.FakeModel(**{"noise": 0.001, **model}), [fakes.episode(i) for i in range(episodes)], config)


def test_a_good_model_beats_both_baselines_and_needs_its_actions(fakes: ModuleType) -> None:
    found = report(fakes)
    for baseline in ("hold", "velocity"):
        for step in (5, 10):
            assert float(gap_bounds.skill(found, STATE, baseline, step, alpha="0.05").lower) > 0.5
    assert float(gap_bounds.sensitivity(found, STATE, 10, alpha="0.05").lower) > 1.1


def test_a_model_that_ignores_its_actions_has_neither_skill_nor_sensitivity(fakes: ModuleType) -> None:
    found = report(fakes, gain=0.0)
    assert float(gap_bounds.skill(found, STATE, "hold", 10, alpha="0.05").lower) < 0.01
    assert float(gap_bounds.sensitivity(found, STATE, 10, alpha="0.05").upper) < 1.1


def test_the_table_holds_what_a_hand_computation_gives(fakes: ModuleType) -> None:
    episode = fakes.episode(3)
    found = gap(fakes.FakeModel(), [episode, fakes.episode(4)], GapConfig(horizon_s=0.3, windows=1))
    row, state = found.episodes[0].signals[STATE], episode.array(STATE).astype(np.float32).astype(np.float64)
    hold = np.sqrt(((state[2:5] - state[1]) ** 2).mean(axis=1))
    straight = state[1] + np.arange(1, 4)[:, None] * (state[1] - state[0])
    np.testing.assert_allclose(row.hold, hold)
    np.testing.assert_allclose(row.velocity, np.sqrt(((state[2:5] - straight) ** 2).mean(axis=1)))
    imagined = state[1] + np.cumsum(episode.array("action").astype(np.float32)[1:4].astype(np.float64), axis=0)
    np.testing.assert_allclose(row.model, np.sqrt(((state[2:5] - imagined) ** 2).mean(axis=1)), atol=1e-6)


def test_a_report_survives_json_and_its_digest_repeats(fakes: ModuleType) -> None:
    first, again = report(fakes), report(fakes)
    assert canonical(first.to_json()) == canonical(again.to_json())
    assert GapReport.from_json(json.loads(canonical(first.to_json()))) == first


def test_the_moving_region_and_the_whole_frame_are_judged_apart(fakes: ModuleType) -> None:
    episodes = [fakes.episode(i, video=True) for i in range(8)]
    model = fakes.FakeModel(spec=fakes.spec(video=True), noise=0.05)
    found = gap(model, episodes, GapConfig(windows=4), read_frames=fakes.read_frames)
    names = [s.name for s in found.signals]
    assert names == [STATE, f"{FRONT}/video_moving", f"{FRONT}/video_mse"]
    moving, whole = (found.episodes[0].signals[n].hold[-1] for n in names[1:])
    assert moving > whole > 0
    assert found.episodes[0].signals[names[1]].velocity == ()
    assert float(gap_bounds.skill(found, names[1], "hold", 10, alpha="0.05").lower) > 0


def test_depth_and_classes_are_judged_beside_colour() -> None:
    cameras = (small.FRONT, small.DEPTH, small.CLASSES)
    episodes = [small.episode(i) for i in range(8)]
    config = GapConfig(windows=4, samples=3, epsilon={f"{small.DEPTH}/depth_abs_rel": 0.01})
    model = small.Model(spec=small.spec(cameras=cameras), noise=0.0002)
    found = gap(model, episodes, config, read_frames=small.read_frames)
    depth, classes = f"{small.DEPTH}/depth_abs_rel", f"{small.CLASSES}/class_error"
    assert [s.name for s in found.signals][-2:] == [depth, classes]
    for name in (depth, classes):
        assert float(gap_bounds.skill(found, name, "hold", 10, alpha="0.05").lower) > 0
        assert found.episodes[0].signals[name].velocity == ()
    assert gap_bounds.valid_horizon(found, depth, probability="0.1", alpha="0.05").steps > 0
    assert GapReport.from_json(found.to_json()) == found


def test_depth_that_is_left_out_counts_as_wholly_wrong_and_what_has_no_return_is_not_counted() -> None:
    real, said = np.array([[[2.0, 4.0], [0.0, 1.0]]]), np.array([[[2.2, 3.0], [9.0, 0.0]]])
    found = depth_abs_rel.measure(said, real, real[0])
    assert found.error == pytest.approx([(0.1 + 0.25 + 1.0) / 3]) and found.weight == pytest.approx([3.0])
    assert depth_abs_rel.measure(said, 0 * real, real[0]).weight == pytest.approx([0.0])
    assert np.isnan(depth_abs_rel.measure(np.nan * said, real, real[0]).error).all(), "nobody says nothing"


def test_every_true_class_counts_alike_and_invented_ones_do_harm() -> None:
    real, said = np.array([[[1, 1, 1, 4]]]), np.array([[[1, 1, 7, 4]]])
    assert class_error.measure(said, real, real[0]).error == pytest.approx([1 - (2 / 3 + 1) / 2])
    assert class_error.measure(real, real, real[0]).error == pytest.approx([0.0])


def test_the_valid_horizon_ends_where_too_few_windows_stay_within_epsilon(fakes: ModuleType) -> None:
    exact = report(fakes, episodes=16, noise=0.0, config=GapConfig(windows=4, epsilon={STATE: 0.05}))
    assert gap_bounds.valid_horizon(exact, STATE, probability="0.8", alpha="0.05").seconds == 1.0
    drifting = report(fakes, episodes=16, gain=0.7, config=GapConfig(windows=4, epsilon={STATE: 0.12}))
    found = gap_bounds.valid_horizon(drifting, STATE, probability="0.8", alpha="0.05")
    assert 0 < found.steps < drifting.steps
    assert float(found.bounds[found.steps - 1]) >= 0.8 > float(found.bounds[-1])


def test_a_prediction_that_leaves_epsilon_and_comes_back_is_not_within_it(fakes: ModuleType) -> None:
    class Stumbling(fakes.FakeModel):  # type: ignore[misc, name-defined]
        def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> Unrolling:
            inner = super().open(prompt, samples=samples, seed=seed)

            class Spiked:
                def step(self, actions_BKA: FloatArray | None) -> Frame:
                    states = np.array(inner.step(actions_BKA).states[STATE])
                    states[:, 1] += 10.0
                    return Frame(states={STATE: states})

            return Spiked()

    found = gap(Stumbling(), [fakes.episode(i) for i in range(2)], GapConfig(windows=3, epsilon={STATE: 0.5}))
    row = found.episodes[0].signals[STATE]
    assert row.model[2] is not None and row.model[2] < 0.5
    assert row.within == (3,) + (0,) * 9


def test_few_episodes_cannot_reach_any_horizon(fakes: ModuleType) -> None:
    few = report(fakes, episodes=6, noise=0.0)
    assert gap_bounds.valid_horizon(few, STATE, probability="0.8", alpha="0.05").steps == 0


def test_a_model_that_gives_nan_leaves_nulls_and_is_never_within_epsilon(fakes: ModuleType) -> None:
    found = report(fakes, broken=True)
    row = found.episodes[0].signals[STATE]
    assert row.model == (None,) * found.steps
    assert row.nonfinite == found.episodes[0].windows
    assert max(row.within) == 0
    with pytest.raises(gap_bounds.Unmeasured, match="model was not measured"):
        gap_bounds.skill(found, STATE, "hold", 1, alpha="0.05")


def test_without_an_epsilon_there_is_no_horizon(fakes: ModuleType) -> None:
    with pytest.raises(gap_bounds.Unmeasured, match="no epsilon"):
        gap_bounds.valid_horizon(report(fakes, config=GapConfig(windows=2)), STATE, probability="0.8", alpha="0.05")


def test_without_a_control_there_is_no_sensitivity(fakes: ModuleType) -> None:
    with pytest.raises(gap_bounds.Unmeasured, match="shuffled was not measured"):
        gap_bounds.sensitivity(report(fakes, config=GapConfig(windows=2, control=False)), STATE, 1, alpha="0.05")


def test_windows_that_touch_a_gap_or_a_nan_are_left_out_and_counted(fakes: ModuleType) -> None:
    episode = fakes.episode(0)
    rows = episode.streams[STATE]
    values = np.array(rows.values)
    values[30] = np.nan
    flagged = np.zeros(len(values), dtype=np.bool_)
    flagged[50] = True
    streams = {**episode.streams, STATE: dataclasses.replace(rows, values=values, gap=flagged)}
    holed = dataclasses.replace(episode, streams=streams)
    found = gap(fakes.FakeModel(), [holed, fakes.episode(1)], GapConfig(windows=40))
    assert found.episodes[0].skipped > 10
    assert found.episodes[0].windows + found.episodes[0].skipped == 40
    assert None not in found.episodes[0].signals[STATE].model


def test_an_episode_too_short_for_a_window_measures_nothing(fakes: ModuleType) -> None:
    found = gap(fakes.FakeModel(), [fakes.episode(0, length=8), fakes.episode(1)], GapConfig())
    assert found.episodes[0].windows == 0
    assert found.episodes[0].signals[STATE].measured == (0,) * 10
    assert gap_bounds.column(found, STATE, "model", 1) == [found.episodes[1].signals[STATE].model[0]]


def test_channels_of_several_units_are_judged_apart(fakes: ModuleType) -> None:
    episodes = [fakes.episode(i) for i in range(3)]
    mixed = []
    for episode in episodes:
        rows = episode.streams[STATE]
        info = dataclasses.replace(rows.info, unit="rad,m")
        mixed.append(
            dataclasses.replace(episode, streams={**episode.streams, STATE: dataclasses.replace(rows, info=info)})
        )
    spec = fakes.spec(states=(Signal(name=STATE, unit="rad,m", names=("x", "y"), shape=(2,)),))
    found = gap(fakes.FakeModel(spec=spec), mixed, GapConfig(windows=2))
    assert [(s.name, s.unit, s.channels) for s in found.signals] == [
        (f"{STATE}[rad]", "rad", (0,)),
        (f"{STATE}[m]", "m", (1,)),
    ]


def test_angles_that_turn_around_are_compared_the_short_way() -> None:
    circular = np.array([True, False])
    np.testing.assert_allclose(wrap(np.array([2 * np.pi - 0.1, 6.0]), circular), [-0.1, 6.0])
    before, last = np.array([np.pi - 0.1, 0.0]), np.array([-np.pi + 0.1, 1.0])
    np.testing.assert_allclose(constant_velocity(before, last, 2, circular) - last, [[0.2, 1.0], [0.4, 2.0]])


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"rate_hz": 5.0}, DataRefused, "rate"),
        ({"states": (Signal(name=STATE, unit="cm", shape=(2,)),)}, DataRefused, "another unit"),
        ({"states": (Signal(name=STATE, unit="m", shape=(3,)),)}, DataRefused, "another width"),
        ({"states": (Signal(name=STATE, unit="m", names=("y", "x"), shape=(2,)),)}, DataRefused, "other names"),
        ({"states": (Signal(name="observation.other", unit="m", shape=(2,)),)}, NotFound, "no such stream"),
        ({"states": ()}, UsageError, "neither"),
    ],
)
def test_a_model_that_does_not_fit_the_episodes_is_refused(
    fakes: ModuleType, change: dict[str, object], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        gap(fakes.FakeModel(spec=fakes.spec(**change)), [fakes.episode(0)])


def test_real_and_simulated_episodes_never_mix(fakes: ModuleType) -> None:
    with pytest.raises(DataRefused, match="never mix"):
        gap(fakes.FakeModel(), [fakes.episode(0), fakes.episode(1, origin=Origin.SIMULATED)])


def test_an_episode_given_twice_is_refused(fakes: ModuleType) -> None:
    with pytest.raises(DataRefused, match="twice"):
        gap(fakes.FakeModel(), [fakes.episode(0), fakes.episode(0)])


def test_an_epsilon_for_an_unknown_signal_is_refused(fakes: ModuleType) -> None:
    with pytest.raises(UsageError, match="not judged"):
        report(fakes, config=GapConfig(epsilon={"observation.stat": 0.1}))


def test_leave_one_out_reports_merge_into_one_about_the_final_model(fakes: ModuleType) -> None:
    episodes = [fakes.episode(i) for i in range(6)]
    parts = []
    for i, held_out in enumerate(episodes):
        model = fakes.FakeModel(spec=fakes.spec(digest=fakes.digest(f"fold {i}")))
        donors = [e for e in episodes if e is not held_out]
        parts.append(gap(model, [held_out], GapConfig(windows=4), donors=donors))
    joined = merge(parts, subject=fakes.spec())
    assert joined.cross_validated
    assert joined.subject == fakes.spec().digest
    assert len({e.model for e in joined.episodes}) == 6
    assert gap_bounds.sensitivity(joined, STATE, 10, alpha="0.05").n == 6
    with pytest.raises(DataRefused, match="counted twice"):
        merge([*parts, parts[0]], subject=fakes.spec())


def test_reports_of_different_horizons_do_not_merge(fakes: ModuleType) -> None:
    parts = [gap(fakes.FakeModel(), [fakes.episode(i)], GapConfig(horizon_s=h)) for i, h in ((0, 1.0), (1, 0.5))]
    with pytest.raises(UsageError, match="do not measure the same"):
        merge(parts, subject=fakes.spec())


@pytest.mark.parametrize("schema", ["worldgate/gap/2", None])
def test_a_report_of_another_schema_is_refused(fakes: ModuleType, schema: str | None) -> None:
    with pytest.raises(DataRefused, match="not a gap report"):
        GapReport.from_json({**report(fakes).to_json(), "schema": schema})


def test_a_report_with_a_curve_cut_short_is_refused(fakes: ModuleType) -> None:
    tree = json.loads(canonical(report(fakes).to_json()))
    tree["episodes"][0]["signals"][STATE]["model"].pop()
    with pytest.raises(DataRefused, match="wrong length"):
        GapReport.from_json(tree)
