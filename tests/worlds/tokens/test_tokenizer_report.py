"""What a tokenizer keeps of held-out episodes, with bounds over them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from worldgate.core.errors import CapabilityMissing, NotFound, UsageError
from worldgate.core.streams import Kind
from worldgate.worlds.episode_figures import FIGURES, interval, sums
from worldgate.worlds.rates import distortion
from worldgate.worlds.tokenizer_report import evaluate, judge_of

FRONT, DEPTH, CLASSES = "observation.images.front", "observation.depth.front", "observation.segmentation.front"


@pytest.fixture(scope="module")
def report(made):
    return evaluate(made.ws, made.pictures, made.dataset, "val", frames=5)


def test_every_camera_has_its_figures_between_their_bounds(report):
    wanted = {FRONT: {"psnr", "ssim"}, DEPTH: {"abs_rel", "valid_iou"}, CLASSES: {"miou"}}
    for camera, names in wanted.items():
        figures = report.figures[camera]
        assert set(figures) == names | {"bits_per_frame", "codes_used", "perplexity"}
        for name in names:
            assert figures[name].lower <= figures[name].value <= figures[name].upper
            assert figures[name].baseline is not None
        assert figures["bits_per_frame"].lower is None
    assert report.episodes == 2
    assert report.rows in (2 * 10, 2 * 15)
    assert report.encode_hz > 0
    assert report.decode_hz > 0
    assert report.split == "val"
    assert [str(origin) for origin in report.origins] == ["simulated"]


def test_bits_count_the_latents_of_a_clip(made, report):
    # 16 places of a code of 25 levels each; five frames are two latents, nine are three.
    place = 16 * math.log2(25)
    assert report.figures[FRONT]["bits_per_frame"].value == pytest.approx(2 / 5 * place)
    longer = evaluate(made.ws, made.pictures, made.dataset, "val", frames=9)
    assert longer.figures[FRONT]["bits_per_frame"].value == pytest.approx(3 / 9 * place)


def test_short_episodes_are_judged_by_shorter_clips(made):
    place = 16 * math.log2(25)
    figures = evaluate(made.ws, made.pictures, made.dataset, "val").figures
    assert any(
        figures[FRONT]["bits_per_frame"].value == pytest.approx((1 + k) / (1 + 4 * k) * place) for k in (2, 3, 4)
    )


def test_continuous_tokenizers_are_judged_at_a_rate_and_without_codes(made):
    figures = evaluate(made.ws, made.continuous, made.dataset, "val", frames=4).figures[FRONT]
    assert set(figures) == {"psnr", "ssim", "bits_per_frame"}
    assert figures["bits_per_frame"].value == 16 * 4 * 3


def test_motion_is_judged_by_error_and_tokens_a_second(made):
    for ref, rate in ((made.bins, 20.0), (made.actions, None)):
        report = evaluate(made.ws, ref, made.dataset, "train")
        motion = report.figures["action"]
        assert motion["error_of_range"].lower <= motion["error_of_range"].value <= motion["error_of_range"].upper < 0.1
        if rate is not None:
            assert motion["tokens_per_second"].value == rate
        else:
            assert motion["tokens_per_second"].value < 20.0
        channel = report.figures["action.tool.x"]["rmse"]
        assert channel.unit == "m"
        assert 0 < channel.value <= report.figures["action.tool.x"]["worst"].value


def test_what_cannot_be_judged_is_refused(made):
    with pytest.raises(NotFound, match="split"):
        evaluate(made.ws, made.bins, made.dataset, "test")
    with pytest.raises(UsageError, match="does not divide"):
        evaluate(made.ws, made.pictures, made.dataset, "val", frames=7)
    with pytest.raises(CapabilityMissing, match="no tokenizer"):
        judge_of(object(), "state")


@pytest.mark.parametrize("kind", [Kind.IMAGE, Kind.DEPTH, Kind.SEGMENTATION])
def test_sums_over_episodes_give_what_all_pictures_give_together(kind):
    rng = np.random.default_rng(0)

    def pictures():
        if kind is Kind.IMAGE:
            return rng.integers(0, 256, (3, 2, 16, 16, 3), dtype=np.uint8)
        if kind is Kind.DEPTH:
            return (rng.uniform(0.5, 2, (3, 2, 16, 16)) * (rng.random((3, 2, 16, 16)) > 0.2)).astype(np.float32)
        return rng.integers(0, 3, (3, 2, 16, 16), dtype=np.uint8)

    shown, true = pictures(), pictures()
    sums_EK = np.stack([sums(kind, shown[i : i + 1], true[i : i + 1], (0, 1, 2)) for i in range(3)])
    whole = distortion(kind, shown, true)
    for name, (unit, of) in FIGURES[kind].items():
        figure = interval(of, sums_EK, unit)
        assert figure.value == pytest.approx(whole[name], rel=1e-5)
        assert figure.lower <= figure.value <= figure.upper


def test_one_episode_has_no_bounds():
    figure = interval(lambda sums_BK: sums_BK[:, 0], np.ones((1, 1)), "1")
    assert (figure.lower, figure.upper) == (None, None)
