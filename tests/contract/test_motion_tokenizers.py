"""Every tokenizer of motion keeps the same contract: what it encodes comes back within its bound, or is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.worlds.synthetic import episodes, make

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.errors import CapabilityMissing, DataRefused, UsageError, WeightsRefused
from worldgate.core.normalisers import Normaliser
from worldgate.worlds import checkpoint
from worldgate.worlds.family import load_trainable
from worldgate.worlds.tokenizers._motion import MotionTokenizer, RangeConfig
from worldgate.worlds.tokenizers.bins import Bins
from worldgate.worlds.tokenizers.dct import Dct
from worldgate.worlds.tracks import Inputs, make_tracks, resolve_layout
from worldgate.worlds.train.loop import resume, train

NAMES = sorted(name for name, card in seams.cards("tokenizers").items() if card.inputs == "motion")
WIDTH = 3


def moving(seed, length=60):
    """Smooth motion of one arm, a gripper that is closed for two rows only, and a channel that never moves."""
    rng = np.random.default_rng(seed)
    way = np.cumsum(rng.normal(0, 0.1, length))
    grip = np.where(np.arange(length) % 50 >= 48, 1.0, 0.0)
    return make(f"moving-{seed}", np.zeros((length, 1)), np.column_stack([way, grip, np.full(length, 0.25)]))


def fitted(name, logs, **options):
    config = dataclasses.replace(load_trainable(name).debug(), **options)
    layout = resolve_layout(logs, config.inputs)
    model = load_trainable(name).create(config, layout, Normaliser(streams={}))
    model.fit(make_tracks(logs, layout))
    return model


def within(model, rng, rows):
    """Motion that stays within the range."""
    low, high = model.low_A.numpy(), model.high_A.numpy()
    return rng.uniform(low, np.maximum(high, low), (rows, model.width))


@pytest.fixture(scope="module")
def logs():
    return [moving(seed) for seed in range(4)]


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name, logs):
    return fitted(name, logs)


@pytest.fixture(scope="module")
def run(name, logs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("motion") / name
    train(name, logs, [moving(90)], load_trainable(name).debug(), folder)
    return folder


def test_there_are_bins_and_a_transform():
    assert {"bins", "dct"} <= set(NAMES)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bins=st.integers(2, 300), rows=st.integers(1, 12))
def test_bins_come_back_within_half_a_bin(logs, seed, bins, rows):
    model = fitted("bins", logs, bins=(bins,))
    motion = within(model, np.random.default_rng(seed), rows)
    codes = model.encode(motion)
    assert codes.shape == (rows * WIDTH,)
    assert 0 <= codes.min() <= codes.max() < bins
    assert (np.abs(model.decode(codes) - motion) <= model.half_bin_A + 1e-12).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.5, 12), smooth=st.booleans())
def test_a_chunk_comes_back_within_what_rounding_its_frequencies_allows(logs, seed, scale, smooth):
    model = fitted("dct", logs, scale=scale)
    motion = within(model, np.random.default_rng(seed), model.rows)
    motion = np.sort(motion, axis=0) if smooth else motion
    codes = model.encode(motion)
    assert 0 <= codes.min() <= codes.max() < model.vocabulary <= 256
    apart = np.sqrt(((model.decode(codes) - motion) ** 2).mean(axis=0))
    assert (apart <= model.rounding * (model.high_A - model.low_A).numpy() + 1e-9).all()


@settings(max_examples=100, deadline=None)
@given(codes=st.lists(st.integers(-2, 300), max_size=80))
def test_every_sequence_of_codes_decodes_or_is_refused_by_name(logs, codes):
    for name in NAMES:
        model = fitted_once(name, logs)
        motion = decoded(model, codes)
        if motion is not None:
            low, high = model.low_A.numpy(), model.high_A.numpy()
            assert motion.shape[1] == WIDTH
            assert ((motion >= low - 1e-9) & (motion <= high + 1e-9)).all()


def decoded(model, codes):
    """None where it is refused by one of the two names."""
    with contextlib.suppress(UsageError):
        return model.decode(np.array(codes, np.int64))
    with pytest.raises(UsageError, match=r"outside the vocabulary|no whole chunk"):
        model.decode(np.array(codes, np.int64))
    return None


_KEPT: dict[str, MotionTokenizer] = {}


def fitted_once(name, logs):
    return _KEPT.setdefault(name, fitted(name, logs))


def test_a_gripper_that_closes_for_a_moment_and_a_still_channel_come_back(name, logs):
    model = fitted(name, logs)
    motion = np.tile([0.0, 0.0, 0.25], (model.rows, 1))
    shut = motion.copy()
    shut[:, 1] = 1.0
    for way in (motion, shut):
        back = model.decode(model.encode(way))
        np.testing.assert_allclose(back[:, 1:], way[:, 1:], atol=0.03)
    assert model.high_A[1] == 1.0


def test_ends_get_a_margin_unless_the_rows_stop_there(logs):
    plain, wide = (fitted("bins", logs, ranges=RangeConfig(margin=m, least=0.0)) for m in (0.0, 0.1))
    reach = (plain.high_A - plain.low_A).numpy()
    assert wide.low_A[0] == pytest.approx(plain.low_A[0] - 0.1 * reach[0])
    assert wide.high_A[0] == pytest.approx(plain.high_A[0] + 0.1 * reach[0])
    assert (wide.low_A[1], wide.high_A[1]) == (0.0, 1.0), "a gripper stops at both ends"
    assert wide.low_A[2] == wide.high_A[2] == 0.25, "what never moves has no range"


def test_a_channel_that_hardly_moves_is_given_a_part_of_the_widest(logs):
    small = [make(f"s{i}", np.zeros((60, 1)), held.array("action") * [1, 1e-3, 1]) for i, held in enumerate(logs)]
    model = fitted("bins", small, ranges=RangeConfig(margin=0.0, least=0.2))
    reach = (model.high_A - model.low_A).numpy()
    assert reach[1] == pytest.approx(0.2 * reach[0])
    assert model.low_A[1] < 0 < 1e-3 < model.high_A[1]


def test_values_beyond_the_range_become_its_end(name, model):
    far = np.full((model.rows, WIDTH), 1e6)
    back = model.decode(model.encode(far))
    reach = (model.high_A - model.low_A).numpy()
    np.testing.assert_allclose(back, np.tile(model.high_A.numpy(), (model.rows, 1)), atol=0.06 * reach.max())


def test_what_cannot_be_encoded_is_refused_by_name(model):
    good = np.zeros((model.rows, WIDTH))
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[-1, 1] = value
        with pytest.raises(DataRefused, match="channel 1"):
            model.encode(bad)
    with pytest.raises(UsageError, match="another width"):
        model.encode(good[:, :2])
    with pytest.raises(UsageError, match="another width"):
        model.encode(good[0])
    with pytest.raises(UsageError, match="another length"):
        model.encode(good[:0])


def test_what_cannot_be_decoded_is_refused_by_name(model):
    codes = model.encode(np.zeros((model.rows, WIDTH)))
    with pytest.raises(UsageError, match="outside the vocabulary"):
        model.decode(np.append(codes[:-1], model.vocabulary))
    with pytest.raises(UsageError, match="outside the vocabulary"):
        model.decode(np.append(codes[:-1], -1))
    with pytest.raises(UsageError, match="cut off"):
        model.decode(codes[:-1])
    with pytest.raises(UsageError, match="no whole chunk"):
        model.decode(codes[:0])
    with pytest.raises(UsageError, match="whole numbers"):
        model.decode(codes.astype(float))


def test_a_chunk_of_another_length_is_refused():
    model = fitted("dct", [moving(seed) for seed in range(2)])
    with pytest.raises(UsageError, match="10 rows"):
        model.encode(np.zeros((9, WIDTH)))


def test_channels_may_have_bins_of_their_own(logs):
    model = fitted("bins", logs, bins=(64, 2, 3))
    assert model.vocabulary == 64
    with pytest.raises(UsageError, match="channel 1"):
        model.decode(np.array([0, 2, 0]))
    with pytest.raises(UsageError, match="do not fit"):
        fitted("bins", logs, bins=(64, 2))


def test_settings_that_cannot_work_are_refused(logs):
    with pytest.raises(UsageError, match="smaller than its frequencies"):
        fitted("dct", logs, vocabulary=20)
    with pytest.raises(UsageError, match="scale"):
        fitted("dct", logs, scale=0.0)
    for name in NAMES:
        with pytest.raises(UsageError, match="needs a stream"):
            fitted(name, logs, inputs=Inputs(states=("observation.state",), action=""))
        odd = dataclasses.replace(load_trainable(name).debug().ranges, low=0.9, high=0.1)
        with pytest.raises(UsageError, match="quantiles"):
            fitted(name, logs, ranges=odd)


def test_an_episode_without_a_whole_chunk_is_refused():
    with pytest.raises(DataRefused, match="no chunk"):
        fitted("dct", [moving(0, length=5)])


def test_a_state_stream_can_be_tokenized_as_well(name):
    model = fitted(name, episodes(2), inputs=Inputs(states=(), action="observation.state"))
    assert model.signal.name == "observation.state"
    assert model.width == 3


def test_a_checkpoint_gives_the_same_codes_and_says_what_it_keeps(name, run, model):
    restored = checkpoint.restore(run / "model")[1]
    motion = make_tracks([moving(91)], restored.layout)[0].actions_TA[: restored.rows]
    assert np.array_equal(restored.encode(motion), model.encode(motion))
    line = (run / "metrics.jsonl").read_text()
    assert '"error_of_range"' in line
    assert '"tokens_per_second"' in line
    with pytest.raises(CapabilityMissing, match="no world model"):
        checkpoint.load(run / "model")


def test_fitting_again_gives_the_same_bytes(name, run, logs, tmp_path):
    again = train(name, logs, [moving(90)], load_trainable(name).debug(), tmp_path / "again")
    assert (again / "model.safetensors").read_bytes() == (run / "model" / "model.safetensors").read_bytes()
    shutil.copytree(run, tmp_path / "cut", ignore=shutil.ignore_patterns("model"))
    whole = resume(tmp_path / "cut", logs, [moving(90)])
    assert (whole / "model.safetensors").read_bytes() == (run / "model" / "model.safetensors").read_bytes()
    assert len((tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_changed_pair_or_range_refuses(run, tmp_path):
    shutil.copytree(run / "model", tmp_path / "copy")
    weights = bytearray((tmp_path / "copy" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "copy" / "model.safetensors").write_bytes(weights)
    with pytest.raises(WeightsRefused):
        checkpoint.restore(tmp_path / "copy")


def test_a_configuration_survives_a_trip_through_a_plain_tree(name):
    made = load_trainable(name).debug()
    assert decode(load_trainable(name).Config, dataclasses.asdict(made), where="test") == made


def test_pairs_shorten_what_repeats(logs):
    model = fitted("dct", logs, vocabulary=512)
    assert isinstance(model, Dct)
    chunks = [model.chunks(make_tracks([log], model.layout)[0].actions_TA) for log in logs]
    codes = [len(model.encode(chunk)) for held in chunks for chunk in held]
    assert np.mean(codes) < 0.6 * model.rows * WIDTH


def test_fits_need_no_gradient(model):
    assert not list(model.parameters())
    assert all(isinstance(held, torch.Tensor) for held in model.state_dict().values())
    assert isinstance(model, Bins | Dct)
