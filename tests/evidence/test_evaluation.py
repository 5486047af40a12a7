"""Evaluating world models: good ones pass, and each bad one fails the measure that is there to catch it."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.evidence import worlds_to_judge as small
from tests.evidence.worlds_to_judge import DEPTH, FORCE, FRONT, STATE, TOP, Model, episode, spec, tiny_weights

from worldgate.core.digest import canonical
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, NotFound, UsageError
from worldgate.core.streams import Array, FloatArray, Origin
from worldgate.evidence.evaluation import EvaluateConfig, Evaluation, evaluate
from worldgate.evidence.evaluation.report import Row
from worldgate.evidence.evaluation.summary import lines, text
from worldgate.evidence.evaluation.sums import Table, estimate

HELD = [episode(i) for i in range(100, 108)]
TRAIN = [episode(i) for i in range(10)]
CONFIG = EvaluateConfig(horizons=(1, 5, 10), windows=4, samples=6, resamples=300)


def judged(model: Model, config: EvaluateConfig = CONFIG, **keys: object) -> Evaluation:
    return evaluate(model, HELD, config, references=TRAIN, read_frames=small.read_frames, **keys)  # type: ignore[arg-type]


def only(*measures: str, **changes: object) -> EvaluateConfig:
    fields = {"horizons": (1, 5, 10), "windows": 4, "samples": 6, "resamples": 300, "measures": measures, **changes}
    return EvaluateConfig(**fields)  # type: ignore[arg-type]


def row(found: Evaluation, figure: str, step: int = 0, situation: str = "") -> Row:
    held = found.row(figure, step, situation)
    assert held is not None, (figure, step, situation, sorted({r.figure for r in found.rows}))
    return held


def value(found: Evaluation, figure: str, step: int = 0, who: str = "model", situation: str = "") -> float:
    number = row(found, figure, step, situation).values[who].value
    assert number is not None
    return number


@pytest.fixture(scope="module")
def good() -> Evaluation:
    """A model that knows the world, with a little noise that it claims rightly, and both cameras."""
    return judged(
        Model(spec=spec(force=True, cameras=(FRONT, TOP), pose=True), noise=0.002, claims=0.002),
        only(samples=4, windows=3),
    )


def test_a_good_model_beats_both_baselines_in_every_kind_of_figure(good: Evaluation) -> None:
    for figure in (
        f"{STATE}/energy",
        f"{FRONT}/energy",
        f"{STATE}/rms",
        f"{STATE}/object_error",
    ):
        found = row(good, figure, 10)
        assert found.advantage is not None, figure
        assert found.advantage.lower is not None, figure
        assert found.advantage.lower > 0.2, figure
        assert found.baseline in {"hold", "velocity"}
    for figure in (f"{FRONT}/moving_psnr", f"{FRONT}/psnr", f"{FRONT}/ssim", f"{FRONT}/object_error"):
        found = row(good, figure, 10)
        assert found.advantage is not None
        assert found.advantage.value is not None
        assert found.advantage.value > 0, figure


def test_every_entry_of_the_seam_is_measured_or_says_why_not(good: Evaluation) -> None:
    lacking = {"video_lpips", "video_fvd", "depth_abs_rel", "class_error", "envelope", "layout"}
    assert set(good.facts.not_measured) == lacking
    assert "weights" in good.facts.not_measured["video_lpips"]


def test_sums_of_episodes_are_handed_out_and_give_the_report_back() -> None:
    sums, config = Table(), only("energy")
    found = judged(Model(spec=spec(), noise=0.01), config, sums=sums)
    for who in ("model", "hold"):
        held = sums.of((f"{STATE}/energy", "", 5, who))
        assert sorted(held) == list(range(len(HELD)))
        again = estimate(held, "mean", level=config.level, resamples=config.resamples, seed=config.seed)
        assert again == row(found, f"{STATE}/energy", 5).values[who]


def test_a_report_survives_json_and_repeats(good: Evaluation) -> None:
    assert Evaluation.from_json(json.loads(canonical(good.to_json()))) == good
    model = Model(spec=spec(), noise=0.002)
    one, two = (judged(model, only("energy", "crps", "coverage")) for _ in range(2))
    assert one.rows == two.rows
    with pytest.raises(DataRefused, match="not an evaluation"):
        Evaluation.from_json({"schema": "worldgate/gap/1"})


def test_a_model_that_copies_the_last_row_has_no_skill_at_all() -> None:
    found = judged(Model(spec=spec(cameras=(FRONT,)), copies=True))
    assert found.facts.samples == 1
    for figure in (f"{STATE}/energy", f"{FRONT}/energy", f"{STATE}/crps", f"{FRONT}/moving_psnr", f"{FRONT}/mse"):
        held = row(found, figure, 10)
        assert held.values["model"].value == pytest.approx(held.values["hold"].value), figure
    assert value(found, f"{FRONT}/object_error", 10) == pytest.approx(value(found, f"{FRONT}/object_error", 10, "hold"))


def test_a_model_that_ignores_its_actions_fails_action_following() -> None:
    measures = ("action_following", "counterfactual", "state_rms")
    follows = judged(Model(spec=spec(cameras=(FRONT,))), only(*measures))
    ignores = judged(Model(spec=spec(cameras=(FRONT,)), gain=0.0), only(*measures))
    for label in ("states", FRONT):
        assert value(follows, f"{label}/action_following", 10) > (0.8 if label == "states" else 0.2), label
        assert value(ignores, f"{label}/action_following", 10) == 0.0, label
        assert value(ignores, f"{label}/action_gain", 10) == 0.0, label

    assert value(follows, "states/action_gain", 10) == pytest.approx(1.0, abs=0.4)
    assert value(follows, "states/action_following", 10, "real") > 0.8
    assert value(ignores, f"{STATE}/counterfactual_gain", 10) == 0.0
    assert value(ignores, f"{STATE}/counterfactual_change", 10) == 0.0
    assert value(follows, f"{STATE}/counterfactual_gain", 10) > 0.3
    assert value(follows, f"{STATE}/rms", 10, "other") > 2 * value(follows, f"{STATE}/rms", 10)
    assert "may ignore its actions" in "\n".join(text(ignores))


def test_coverage_tells_the_over_confident_from_the_honest() -> None:
    """The truth has noise that the good model shares; the boastful one draws and claims a tenth of it."""
    rng = np.random.default_rng(5)
    noisy = []
    for held in HELD:
        values = np.array(held.array(STATE))
        values[:, :2] += rng.normal(0, 0.01, (len(held), 2))
        told = small.rows(STATE, small.Kind.VECTOR, values, "m", small.NAMES)
        noisy.append(small.replace(held, streams={**held.streams, STATE: told}))

    def run(noise: float) -> Evaluation:
        model = Model(spec=spec(), noise=noise, claims=noise)
        config = only("coverage", "crps", horizons=(1,), windows=12, samples=16)
        return evaluate(model, noisy, config, references=TRAIN, read_frames=small.read_frames)

    # Of one step, the last known row and the truth both carry the noise.
    honest, boastful = run(0.01 * 2**0.5), run(0.0014)
    moving = 2 / 7  # two of the channels that move in training carry noise; the rest are told without any
    for kind in ("drawn", "claimed"):
        told = row(boastful, f"{STATE}/coverage_90_{kind}", 1)
        assert told.meets_target is False
        assert told.values["model"].upper is not None
        assert told.values["model"].upper < 0.9
        better = row(honest, f"{STATE}/coverage_90_{kind}", 1).values["model"].value
        assert better is not None
        assert better > told.values["model"].value + moving / 2
    assert value(honest, f"{STATE}/crps", 1) < value(boastful, f"{STATE}/crps", 1)
    assert any(line.startswith("over-confident") for line in text(boastful))


def test_a_model_that_claims_no_spread_is_not_measured_for_coverage() -> None:
    found = judged(Model(spec=spec()), only("coverage"))
    assert "claims no spread" in found.facts.not_measured["coverage"]


def test_an_object_that_is_lost_from_the_pictures_shows_in_place_and_plausibility() -> None:
    measures = ("object_pose", "plausibility", "consistency")
    keeps, loses = (
        judged(Model(spec=spec(cameras=(FRONT, TOP)), loses=lost), only(*measures)) for lost in (False, True)
    )
    assert value(keeps, f"{FRONT}/object_error", 10, "real") < 0.04, "the floor of the read-out"
    assert value(keeps, f"{FRONT}/object_error", 10) < 0.05
    assert value(loses, f"{FRONT}/object_error", 10) > 2 * value(keeps, f"{FRONT}/object_error", 10)
    assert value(loses, "violations/vanishing") > 100
    assert value(loses, "violations/vanishing", who="real") == 0.0
    assert value(keeps, "violations/vanishing") < 20
    assert value(keeps, f"{FRONT}+{TOP}/consistency", 10) < 0.03
    assert value(keeps, f"{FRONT}+{TOP}/both_see", 10) > 0.9
    assert value(loses, f"{FRONT}+{TOP}/both_see", 10) == 0.0
    assert row(loses, f"{FRONT}+{TOP}/consistency", 10).values["model"].value is None


def test_an_angle_is_the_same_a_turn_later() -> None:
    names = tuple("object.yaw" if name == "tool.z" else name for name in small.NAMES)

    def turned(held: Episode) -> Episode:
        values = np.array(held.array(STATE))
        values[:, 2] = np.where(np.arange(len(held)) % 2, 3.13, -3.13)
        told = small.rows(STATE, small.Kind.VECTOR, values, "m", names)
        return small.replace(held, streams={**held.streams, STATE: told})

    known = spec(states=True)
    known = small.replace(known, states=(small.replace(known.states[0], names=names),))
    held, train = ([turned(e) for e in episodes] for episodes in (HELD, TRAIN))
    found = evaluate(Model(spec=known), held, only("object_pose"), references=train, read_frames=small.read_frames)
    assert 0 < value(found, f"{STATE}/yaw_error", 5) < 0.03, "not 6.26 rad"


def test_depth_that_does_not_fit_the_colour_shows_as_inconsistent() -> None:
    fits, shifted = (
        judged(Model(spec=spec(states=True, cameras=(FRONT, DEPTH)), depth_shift=shift), only("consistency", "energy"))
        for shift in (0.0, 0.15)
    )
    figure = f"{FRONT}+{DEPTH}/consistency"
    assert value(fits, figure, 5) < value(fits, figure, 5, "real") + 0.02
    assert value(shifted, figure, 5) > 2 * value(fits, figure, 5)
    assert value(shifted, f"{DEPTH}/energy", 5) > value(fits, f"{DEPTH}/energy", 5)


def test_learned_distances_come_with_what_the_user_brings(tmp_path: Path) -> None:
    class Clips:
        """A fixed random projection of a clip: stands in for a network's features."""

        name, frames = "random", 4

        def __call__(self, clips_NKHWC: Array) -> FloatArray:
            assert clips_NKHWC.shape[1] == 4
            small = clips_NKHWC[:, :, ::4, ::4].reshape(len(clips_NKHWC), -1) / 255.0
            return np.asarray(small @ np.random.default_rng(0).normal(0, 1, (small.shape[1], 3)))

    save_file(tiny_weights(), tmp_path / "tiny.safetensors")
    weights = str(tmp_path / "tiny.safetensors")
    for copies in (False, True):
        model = Model(spec=spec(cameras=(FRONT,)), copies=copies)
        found = judged(model, only("video_fvd", "video_lpips", weights=weights, samples=1), clip_features=Clips())
        for figure, step in ((f"{FRONT}/fvd", 0), (f"{FRONT}/lpips", 10)):
            ours, held = (value(found, figure, step, who) for who in ("model", "hold"))
            assert (ours == pytest.approx(held)) if copies else (ours < held), figure
    none = judged(Model(spec=spec(cameras=(FRONT,))), only("video_fvd"))
    assert "clip_features" in none.facts.not_measured["video_fvd"]


def test_teleports_and_broken_limits_are_counted_by_the_minute() -> None:
    wild = judged(Model(spec=spec(), gain=8.0, noise=0.3), only("plausibility"))
    calm = judged(Model(spec=spec()), only("plausibility"))
    for kind in ("teleport", "limits"):
        assert value(wild, f"violations/{kind}") > 60
        assert value(calm, f"violations/{kind}") < 15
        assert value(wild, f"violations/{kind}", who="hold") == 0.0


def test_contacts_are_found_from_the_predicted_force_and_by_a_read_out(good: Evaluation) -> None:
    assert value(good, f"{FORCE}/contact_f1", 10) > 0.8
    assert value(good, f"{FORCE}/contact_f1", 10, "real") == 1.0
    assert value(good, f"{FORCE}/onset_f1", who="real") == 1.0
    assert value(good, f"{FORCE}/onset_f1", who="hold") == 0.0
    without = judged(Model(spec=spec()), only("contact"))
    assert value(without, "states/contact_f1", 5, "real") > 0.45
    forming = row(good, f"{FORCE}/contact_f1", 10, "contact_forming")
    assert forming.values["model"].value > forming.values["hold"].value


def test_optimism_counts_imagined_success_that_did_not_happen() -> None:
    class Dreamer(Model):
        def open(self, prompt, *, samples=1, seed):  # type: ignore[no-untyped-def]
            inner = super().open(prompt, samples=samples, seed=seed)
            step = inner.step

            def dream(actions):  # type: ignore[no-untyped-def]
                frame = step(actions)
                frame.states[STATE][..., 3:5] = frame.states[STATE][..., 5:7]
                return frame

            inner.step = dream
            return inner

    found, sober = (judged(kind(spec=spec()), only("optimism")) for kind in (Dreamer, Model))
    assert value(found, f"{STATE}/optimism") > 0.8
    assert value(sober, f"{STATE}/optimism") == 0.0
    assert value(found, f"{STATE}/pessimism") == 0.0


def test_determinism_is_told_and_a_model_that_does_not_repeat_is_named() -> None:
    steady, other = (
        judged(Model(spec=spec(), noise=0.01, forgets_seed=forgets), only("determinism")) for forgets in (False, True)
    )
    assert value(steady, "same_seed") == 1.0
    assert value(steady, "other_seed") == 1.0
    assert value(other, "same_seed") == 0.0
    assert any("does not repeat" in line for line in text(other))
    assert value(judged(Model(spec=spec()), only("determinism")), "other_seed") == 0.0


def test_special_situations_are_cut_from_the_truth_and_counted_apart() -> None:
    held = [
        episode(200, hidden=True),
        episode(201),
        small.with_facts(episode(203), scenario='{"attributes": {"clock_drift_ppm": 40000, "clock_offset_ms": 15}}'),
    ]
    config = only("object_pose", "person_pose", "state_rms", windows=3)
    found = evaluate(Model(spec=spec(cameras=(FRONT,))), held, config, references=TRAIN, read_frames=small.read_frames)
    assert set(found.facts.situations) >= {"occluded", "person_entering", "sensor_drift", "contact_forming"}
    assert row(found, f"{STATE}/object_error", 10, "occluded").values["model"].episodes == 1
    assert found.row(f"{FRONT}/object_error", 10, "occluded") is None, "nothing can be read from a picture without it"
    entering = row(found, f"{STATE}/person_error", 10, "person_entering")
    assert entering.values["model"].value == pytest.approx(entering.values["hold"].value), "nobody can know it"
    assert entering.values["model"].value > 0.1
    assert row(found, f"{STATE}/rms", 10, "sensor_drift").values["model"].episodes == 1
    assert found.facts.windows == 9, "windows cut for situations do not count among all"
    assert any(line.situation == "occluded" for line in lines(found, situations=True))


@pytest.mark.parametrize("cameras", [(), pytest.param((FRONT,), marks=pytest.mark.slow)])
def test_ten_thousand_steps_take_the_memory_of_one_chunk(cameras: tuple[str, ...]) -> None:
    long = episode(300, length=10_050)
    model = Model(spec=spec(cameras=cameras))
    measures = ("energy", "state_rms", "plausibility", "mmd", *(("video_moving_psnr", "contact") if cameras else ()))
    config = only(*measures, horizons=(1, 100, 10_000), windows=1, samples=1, other_actions=False, situation_windows=0)
    tracemalloc.start()
    found = evaluate(model, [long], config, references=TRAIN, read_frames=small.read_frames)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.largest == config.chunk
    assert value(found, f"{STATE}/energy", 10_000) < value(found, f"{STATE}/energy", 10_000, "hold")
    assert peak < 25e6, "the pictures of a rollout alone would take 31 MB, its states of three contenders 2 MB"


def test_the_cut_into_chunks_changes_no_figure() -> None:
    model = Model(spec=spec(force=True, cameras=(FRONT,)))
    one, two = (judged(model, only(chunk=chunk, samples=1, windows=2)) for chunk in (32, 3))
    for a, b in zip(one.rows, two.rows, strict=True):
        assert (a.figure, a.step, a.situation) == (b.figure, b.step, b.situation)
        for who in a.values:
            assert a.values[who].value == pytest.approx(b.values[who].value, abs=1e-9, nan_ok=True), (a.figure, who)


def test_nan_leaves_null_and_is_counted() -> None:
    found = judged(Model(spec=spec(), broken=True), only("energy", "state_rms", "plausibility"))
    assert row(found, f"{STATE}/energy", 5).values["model"].value is None
    assert row(found, f"{STATE}/rms", 5).values["model"].value is None
    assert found.facts.nonfinite == found.facts.windows > 0
    assert value(found, "violations/limits") > 100
    assert any("NaN" in line for line in text(found))


def test_without_training_episodes_what_needs_a_read_out_says_so() -> None:
    found = evaluate(Model(spec=spec(cameras=(FRONT,))), HELD, only(), read_frames=small.read_frames)
    assert {"action_following", "counterfactual", "plausibility"} <= set(found.facts.not_measured)
    assert "training" in found.facts.not_measured["action_following"]
    assert found.row(f"{STATE}/energy", 10) is not None


def test_few_episodes_get_no_interval() -> None:
    found = evaluate(Model(spec=spec()), HELD[:4], only("state_rms"), references=TRAIN, read_frames=small.read_frames)
    estimate = row(found, f"{STATE}/rms", 5).values["hold"]
    assert (estimate.episodes, estimate.lower, estimate.upper) == (4, None, None)
    assert any("too few for bounds" in line for line in text(found))


def test_what_does_not_fit_is_refused() -> None:
    model = Model(spec=spec())
    with pytest.raises(UsageError, match="held-out episodes"):
        evaluate(model, [])
    with pytest.raises(DataRefused, match="never mix"):
        evaluate(model, [HELD[0], episode(7, origin=Origin.SIMULATED)], read_frames=small.read_frames)
    with pytest.raises(DataRefused, match="held out and a reference"):
        evaluate(model, HELD, references=HELD[:1], read_frames=small.read_frames)
    with pytest.raises(DataRefused, match="given twice"):
        evaluate(model, [HELD[0], HELD[0]], read_frames=small.read_frames)
    with pytest.raises(UsageError, match="long enough"):
        judged(model, only("state_rms", horizons=(90,)))
    with pytest.raises(NotFound, match="no such entry"):
        judged(model, only("vibes"))
    with pytest.raises(UsageError, match="1 or more"):
        EvaluateConfig(windows=0)


def test_a_model_that_answers_in_another_shape_is_refused() -> None:
    wrong = Model(spec=spec(states=True, cameras=(FRONT,)))
    wrong.spec = small.replace(wrong.spec, cameras=(small.replace(wrong.spec.cameras[0], shape=(SIDE_ODD, 32, 3)),))

    def read(held, camera, size):  # type: ignore[no-untyped-def]
        return np.zeros((len(held), *size, 3), np.uint8)

    with pytest.raises(DataRefused, match="does not fit the model's spec"):
        evaluate(wrong, HELD, only("state_rms"), references=TRAIN, read_frames=read)


SIDE_ODD = 48
