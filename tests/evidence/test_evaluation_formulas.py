"""The formulas behind an evaluation, against brute force, closed forms and other libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save_file
from scipy import integrate, stats
from tests.evidence.worlds_to_judge import tiny_weights

from worldgate.core.errors import NotFound, WeightsRefused
from worldgate.core.streams import FloatArray
from worldgate.evidence.evaluation import sums
from worldgate.evidence.evaluation.distributions import distances, frechet, relabelled
from worldgate.evidence.evaluation.readouts import fit_readout
from worldgate.evidence.evaluation.truth import touching
from worldgate.evidence.metrics.contact import match, onsets
from worldgate.evidence.metrics.coverage import transform_samples
from worldgate.evidence.metrics.crps import of_normal, of_samples
from worldgate.evidence.metrics.energy import energy_score
from worldgate.evidence.metrics.energy_distance import negative
from worldgate.evidence.metrics.mmd import gaussian
from worldgate.evidence.metrics.video_lpips import Network, convolve

FINITE = st.floats(-50, 50, width=32)


@given(arrays(np.float64, st.tuples(st.integers(1, 7), st.integers(1, 4)), elements=FINITE), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_the_energy_score_is_that_of_a_naive_double_loop(samples: FloatArray, seed: int) -> None:
    truth = np.random.default_rng(seed).normal(0, 10, samples.shape[1])
    count = len(samples)
    near = sum(float(np.linalg.norm(x - truth)) for x in samples) / count
    pairs = [float(np.linalg.norm(a - b)) for i, a in enumerate(samples) for j, b in enumerate(samples) if i != j]
    naive = near - (0.5 * sum(pairs) / len(pairs) if pairs else 0.0)
    assert energy_score(samples, truth) == pytest.approx(naive, abs=1e-4)


def test_the_energy_score_prefers_the_true_spread_over_a_wider_and_a_narrower_one() -> None:
    rng = np.random.default_rng(0)
    truths = rng.normal(0, 1, (4000, 3))
    means = {s: np.mean([energy_score(rng.normal(0, s, (8, 3)), t) for t in truths]) for s in (0.3, 1.0, 2.5)}
    assert means[1.0] < min(means[0.3], means[2.5])


@given(arrays(np.float64, st.integers(1, 9), elements=FINITE), FINITE)
@settings(max_examples=60, deadline=None)
def test_the_sample_crps_is_that_of_a_naive_double_loop(samples: FloatArray, truth: float) -> None:
    count = len(samples)
    near = float(np.abs(samples - truth).mean())
    apart = [abs(a - b) for i, a in enumerate(samples) for j, b in enumerate(samples) if i != j]
    naive = near - (0.5 * sum(apart) / len(apart) if count > 1 else 0.0)
    assert of_samples((samples - truth)[:, None])[0] == pytest.approx(naive, abs=1e-6)


@given(st.floats(-5, 5), st.floats(0.05, 5), st.floats(-8, 8))
@settings(max_examples=30, deadline=None)
def test_the_closed_crps_of_a_normal_is_its_integral(mean: float, deviation: float, truth: float) -> None:
    def inside(x: float) -> float:
        return float((stats.norm.cdf(x, mean, deviation) - (x >= truth)) ** 2)

    low, high = min(mean - 9 * deviation, truth - 1), max(mean + 9 * deviation, truth + 1)
    whole = integrate.quad(inside, low, truth, limit=200)[0] + integrate.quad(inside, truth, high, limit=200)[0]
    assert of_normal(np.array([mean - truth]), np.array([deviation]))[0] == pytest.approx(whole, abs=1e-5)


def test_many_samples_of_a_normal_score_as_the_normal_itself() -> None:
    drawn = np.random.default_rng(1).normal(0.7, 1.3, (20_000, 1))
    assert of_samples(drawn)[0] == pytest.approx(of_normal(np.array([0.7]), np.array([1.3]))[0], abs=0.01)


def test_the_transform_of_one_more_draw_is_uniform_whatever_the_number_of_samples() -> None:
    rng = np.random.default_rng(2)
    for count in (1, 3, 8):
        samples, truth = rng.normal(0, 1, (count, 20_000)), rng.normal(0, 1, 20_000)
        found = transform_samples(samples - truth, rng.random(20_000))
        assert stats.kstest(found, "uniform").pvalue > 1e-3, count
    tied = transform_samples(np.zeros((4, 5000)), rng.random(5000))
    assert stats.kstest(tied, "uniform").pvalue > 1e-3, "samples equal to the truth say nothing of their order"


@given(st.integers(2, 40), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_correlation_slope_and_r2_of_sums_are_those_of_the_points(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0, 3, count) + 5, rng.normal(1, 2, count)
    held = np.array([count, x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()])
    assert sums.correlation(held) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
    assert sums.slope(np.array([(x * x).sum(), (x * y).sum()])) == pytest.approx((x @ y) / (x @ x))
    r2 = 1 - ((x - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert sums.r2(np.array([count, ((x - y) ** 2).sum(), y.sum(), (y * y).sum()])) == pytest.approx(r2)


def test_sums_that_hold_nothing_give_no_figure_and_a_constant_follows_nothing() -> None:
    assert np.isnan(sums.mean(np.zeros(2)))
    assert np.isnan(sums.f1(np.zeros(3)))
    assert np.isnan(sums.correlation(np.zeros(6)))
    still, moving = np.zeros(9), np.arange(9.0)
    held = [9, still.sum(), moving.sum(), 0.0, (moving**2).sum(), 0.0]
    assert sums.correlation(np.array(held)) == 0.0
    assert sums.f1(np.array([3.0, 1.0, 2.0])) == pytest.approx(2 * 3 / 9)
    assert sums.decibel(np.array([0.02, 2.0])) == pytest.approx(20.0)
    assert sums.uniformity(np.full(10, 7.0)) == pytest.approx(0.0)
    assert sums.uniformity(np.array([5.0, *[0.0] * 8, 5.0])) > 0.2


def test_an_interval_holds_the_mean_about_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(3), 0
    for _ in range(300):
        held = {e: np.array([v, 1.0]) for e, v in enumerate(rng.normal(1.0, 0.4, 12))}
        found = sums.estimate(held, "mean", level=0.05, resamples=400, seed=0)
        assert found.lower is not None
        assert found.upper is not None
        hits += found.lower <= 1.0 <= found.upper
    assert 0.84 <= hits / 300 <= 0.96, "two sides of 5 % each"


def test_an_advantage_compares_the_same_episodes() -> None:
    model = {e: np.array([0.5 * (e + 1), 1.0]) for e in range(8)}
    base = {e: np.array([1.0 * (e + 1), 1.0]) for e in range(6)}
    found = sums.advantage(model, base, "mean", relative=True, level=0.05, resamples=200, seed=0)
    assert (found.value, found.episodes) == (0.5, 6)
    assert found.lower == pytest.approx(0.5), "each episode says the same, so no resample differs"
    score = sums.advantage(model, base, "mean", relative=False, level=0.05, resamples=200, seed=0)
    assert score.value == pytest.approx(-1.75)


def test_the_energy_distance_is_that_of_a_naive_triple_loop_and_never_negative() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(0, 1, (9, 3)), rng.normal(0.5, 1, (9, 3))

    def mean(a: FloatArray, b: FloatArray) -> float:
        return float(np.mean([[np.linalg.norm(p - q) for q in b] for p in a]))

    naive = 2 * mean(x, y) - mean(x, x) - mean(y, y)
    assert relabelled(x, y, np.arange(9), negative, relabellings=9, seed=0)[0] == pytest.approx(naive)
    assert naive >= 0


def test_mmd_is_that_of_a_naive_loop() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(0, 1, (7, 2)), rng.normal(1, 1, (7, 2))
    both = np.concatenate([x, y])
    apart = [np.linalg.norm(a - b) for i, a in enumerate(both) for b in both[i + 1 :]]

    def mean(a: FloatArray, b: FloatArray) -> float:
        width = float(np.median(apart))
        return float(np.mean([[np.exp(-0.5 * (np.linalg.norm(p - q) / width) ** 2) for q in b] for p in a]))

    naive = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    assert relabelled(x, y, np.arange(7), gaussian, relabellings=9, seed=0)[0] == pytest.approx(naive)
    np.testing.assert_allclose(distances(both), [[np.linalg.norm(a - b) for b in both] for a in both], atol=1e-6)


@pytest.mark.parametrize("kernel", [gaussian, negative])
def test_p_is_uniform_under_the_null_with_windows_that_depend_on_each_other(kernel: object) -> None:
    """Windows of an episode share most of what they are; taken as independent they would reject far more."""
    rng, found = np.random.default_rng(6), []
    episode = np.repeat(np.arange(10), 4)
    for run in range(200):
        shared = rng.normal(0, 1, (2, 10, 2)).repeat(4, axis=1)
        real, said = shared + 0.1 * rng.normal(0, 1, shared.shape)
        found.append(relabelled(real, said, episode, kernel, relabellings=99, seed=run)[1])  # type: ignore[arg-type]
    values = np.array(found)
    for level in (0.05, 0.1, 0.2, 0.5):
        assert (values <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / 200)
    assert (values <= 0.5).mean() > 0.35


def test_p_is_small_where_the_sets_differ() -> None:
    rng = np.random.default_rng(7)
    real, said = rng.normal(0, 1, (40, 2)), rng.normal(1.5, 1, (40, 2))
    for kernel in (gaussian, negative):
        assert relabelled(real, said, np.repeat(np.arange(20), 2), kernel, relabellings=499, seed=0)[1] < 0.01
    few = relabelled(real[:6], said[:6], np.repeat(np.arange(3), 2), negative, relabellings=499, seed=0)[1]
    assert few > 0.15, "three episodes cannot show anything"


def test_the_frechet_distance_of_normals_is_the_closed_form() -> None:
    rng = np.random.default_rng(8)
    one = rng.multivariate_normal([0, 0], [[2.0, 0.3], [0.3, 0.5]], 60_000)
    two = rng.multivariate_normal([1, -1], [[0.7, -0.2], [-0.2, 1.5]], 60_000)
    a, b = np.cov(one.T), np.cov(two.T)
    values = np.linalg.eigvals(a @ b)
    closed = ((one.mean(0) - two.mean(0)) ** 2).sum() + np.trace(a + b) - 2 * np.sqrt(values.real).sum()
    assert frechet(one, two) == pytest.approx(closed, rel=1e-6)
    assert frechet(one, one) == pytest.approx(0.0, abs=1e-8)


@given(st.lists(st.integers(0, 40), max_size=6, unique=True), st.lists(st.integers(0, 40), max_size=6, unique=True))
@settings(max_examples=80, deadline=None)
def test_onsets_match_one_to_one_and_within_the_tolerance(said: list[int], real: list[int]) -> None:
    hits, late = match(np.array(sorted(said), float), np.array(sorted(real), float), 2.0)
    assert hits == len(late) <= min(len(said), len(real))
    assert all(abs(v) <= 2.0 for v in late)
    assert hits >= len(set(said) & set(real)), "what falls together is matched first"
    if not any(abs(a - b) <= 2 for a in said for b in real):
        assert hits == 0


def test_contact_closes_short_pauses_and_begins_after_what_was_known() -> None:
    force = np.array([0, 0, 1, 0, 1, 0, 0, 0, 1, 1], float)
    np.testing.assert_array_equal(touching(force, 0.5, 1), [0, 0, 1, 1, 1, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(touching(force, 0.5, 3), [0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(onsets(touching(force, 0.5, 1)), [2, 8])
    np.testing.assert_array_equal(onsets(np.array([True, True, False])), [])


def test_a_read_out_learns_a_distance_and_holds_still_beyond_what_it_saw() -> None:
    rng = np.random.default_rng(9)
    inputs = [rng.uniform(-1, 1, (300, 4)) for _ in range(5)]
    outputs = [np.linalg.norm(x[:, :2] - x[:, 2:], axis=1, keepdims=True) ** 2 for x in inputs]
    fitted = fit_readout(inputs, outputs)
    fresh = rng.uniform(-1, 1, (200, 4))
    truth = np.linalg.norm(fresh[:, :2] - fresh[:, 2:], axis=1) ** 2
    assert np.abs(fitted(fresh)[:, 0] - truth).mean() < 0.05 * truth.std()
    assert np.isfinite(fitted(np.full((1, 4), 1e9))).all()


def test_lpips_is_what_torch_computes_with_the_same_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    weights, rng = tiny_weights(), np.random.default_rng(10)
    save_file(weights, tmp_path / "lpips.safetensors")
    one, two = rng.integers(0, 256, (2, 3, 64, 64, 3)).astype(np.uint8)
    shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))

    def features(frames: FloatArray) -> list[FloatArray]:
        x = ((torch.tensor(frames).permute(0, 3, 1, 2) / 127.5 - 1 - shift) / scale).float()
        found = []
        for index, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
            x = torch.nn.functional.max_pool2d(x, 3, 2) if index in {3, 6} else x
            kernel, bias = (torch.tensor(weights[f"features.{index}.{part}"]) for part in ("weight", "bias"))
            x = torch.relu(torch.nn.functional.conv2d(x, kernel, bias, stride=stride, padding=padding))
            found.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    expected = sum(
        ((a - b).pow(2) * torch.tensor(weights[f"lin{i}.model.1.weight"])).sum(1).mean((1, 2))
        for i, (a, b) in enumerate(zip(features(one), features(two), strict=True))
    )
    network = Network.load(tmp_path / "lpips.safetensors")
    np.testing.assert_allclose(network.distance(one, two), expected.numpy(), rtol=1e-4)
    np.testing.assert_allclose(network.distance(one, one), 0.0, atol=1e-9)
    assert network.distance(one[:, :16, :16], two[:, :16, :16]).shape == (3,)


def test_lpips_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no weights"):
        Network.load(tmp_path / "none.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"\x80\x04junk")
    with pytest.raises(WeightsRefused, match="cannot be read"):
        Network.load(tmp_path / "junk.safetensors")
    weights = tiny_weights()
    del weights["lin2.model.1.weight"]
    save_file(weights, tmp_path / "part.safetensors")
    with pytest.raises(WeightsRefused, match="lack a tensor"):
        Network.load(tmp_path / "part.safetensors")
    wrong = tiny_weights()
    wrong["features.0.bias"] = np.zeros(3, np.float32)
    save_file(wrong, tmp_path / "wrong.safetensors")
    with pytest.raises(WeightsRefused, match="another shape"):
        Network.load(tmp_path / "wrong.safetensors")


def test_a_convolution_is_that_of_loops() -> None:
    rng = np.random.default_rng(11)
    x, weight = rng.normal(0, 1, (1, 2, 6, 7)), rng.normal(0, 1, (3, 2, 3, 3))
    found = convolve(x, weight, 2, 1)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for o in range(3):
        for i in range(found.shape[2]):
            for j in range(found.shape[3]):
                part = padded[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
                assert found[0, o, i, j] == pytest.approx((part * weight[o]).sum())
