"""Every file of the seam ``perception``: trained by the one loop, fed by origin, judged by origin and place."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

from worldgate.control import perception
from worldgate.control.perception._judging import Labels, judge, shares
from worldgate.control.perception._mixing import Mix
from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.errors import CapabilityMissing, ConfigError, DataRefused, UsageError, WeightsRefused
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import Kind, Origin
from worldgate.core.worlds import Signal
from worldgate.worlds import checkpoint
from worldgate.worlds.family import load_trainable
from worldgate.worlds.tracks import Layout, Track

NAMES = sorted(seams.cards("perception"))
COLOUR, LABELS, STREAM = "observation.images.front", "observation.segmentation.front", "observation.environment_state"
POSE = ("object.x", "object.y", "object.yaw")
S = 16
LAYOUT = Layout(
    rate_hz=5.0, action=Signal(name="", shape=(0,)),
    states=(Signal(name=STREAM, unit="m,m,rad", names=POSE, shape=(3,)),),
    cameras=(
        Signal(name=COLOUR, shape=(S, S, 3), kind=Kind.IMAGE),
        Signal(name=LABELS, shape=(S, S), kind=Kind.SEGMENTATION),
    ),
)  # fmt: skip


def track(seed, *, origin=Origin.SIMULATED, group="north", rows=12, lacks=()):
    """A bright square of class 1 on a dark ground; its place is its pose."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, S - 4, (rows, 2))
    pictures, masks = rng.integers(0, 40, (rows, S, S, 3), dtype=np.uint8), np.zeros((rows, S, S), np.int64)
    for k, (v, u) in enumerate(corners):
        pictures[k, v : v + 4, u : u + 4], masks[k, v : v + 4, u : u + 4] = 220, 1
    pose = np.column_stack([corners / 100.0, rng.uniform(-0.7, 0.7, rows)]).astype(np.float32)
    return Track(
        id=f"{seed}", group=group, states_TD=pose, actions_TA=np.zeros((rows, 0), np.float32),
        valid_T=np.ones(rows, bool), frames={COLOUR: pictures, LABELS: masks}, lacks=frozenset(lacks),
        episode=SimpleNamespace(origin=origin),
    )  # fmt: skip


TRACKS = [track(k) for k in range(4)]
NORMALISER = Normaliser.fit({STREAM: np.concatenate([t.states_TD for t in TRACKS])})


def fitted(name, tracks, *, steps=1, **changes):
    import torch

    torch.manual_seed(0)
    module = load_trainable(f"perception/{name}")
    model = module.create(dataclasses.replace(module.debug(), **changes), LAYOUT, NORMALISER)
    phase = model.phases(tracks, TRACKS[:1])[0]
    phase.prepare()
    optimiser, rng = torch.optim.AdamW(phase.parameters(), lr=5e-3), np.random.default_rng(0)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = phase.loss(phase.draw(rng))
        assert torch.isfinite(loss)
        loss.backward()
        optimiser.step()
    return model, phase


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_whole_and_a_configuration_survives_a_plain_tree(name):
    assert seams.cards("perception")[name].source
    module = load_trainable(f"perception/{name}")
    assert decode(module.Config, dataclasses.asdict(module.debug()), where="test") == module.debug()


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_what_is_where_and_is_the_same_after_a_checkpoint(name, tmp_path):
    model, phase = fitted(name, TRACKS, steps=150)
    figures = phase.evaluate()
    assert figures["pixels_right"] > figures["pixels_right_commonest_class"]
    assert figures["place_cm"] < figures["place_cm_mean_pose"]
    folder = checkpoint.save(
        tmp_path / "model", f"perception/{name}", load_trainable(f"perception/{name}").debug(), model, {}
    )
    again = perception.load(folder)
    pictures = np.asarray(TRACKS[0].frames[COLOUR])
    one, two = model.see(pictures), again.see(pictures)
    assert np.array_equal(one.classes, two.classes)
    assert np.array_equal(one.pose, two.pose)
    assert again.drawn() == model.drawn() == {"simulated": 150 * 8}
    assert np.abs(one.pose[:, 2]).max() <= np.pi / model.turns + 1e-9
    with pytest.raises(UsageError, match="another size"):
        model.see(pictures[:, :8])
    with pytest.raises(CapabilityMissing, match="only a family rolls forward"):
        checkpoint.load(folder)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_drawn_follows_the_mix_and_is_counted_by_origin(name):
    tracks = [track(0, rows=30), track(1, origin=Origin.IMAGINED, rows=10)]
    model, _ = fitted(name, tracks, steps=40, mix={"simulated": 1.0, "imagined": 3.0})
    drawn = model.drawn()
    assert set(drawn) == {"simulated", "imagined"}
    assert sum(drawn.values()) == 40 * 8
    assert 0.65 < drawn["imagined"] / (40 * 8) < 0.85
    none, _ = fitted(name, tracks, steps=5, mix={"simulated": 1.0, "imagined": 0.0})
    assert none.drawn() == {"simulated": 40}


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_may_lack_one_label_and_not_all_may_lack_both(name):
    partly = [track(0, lacks=(LABELS,)), track(1, lacks=(STREAM,)), track(2)]
    fitted(name, partly, steps=3)
    with pytest.raises(DataRefused, match="no episode has a label"):
        fitted(name, [track(0, lacks=(LABELS, STREAM))])
    with pytest.raises(DataRefused, match="beyond what was configured"):
        fitted(
            name,
            [dataclasses.replace(track(0), frames={COLOUR: TRACKS[0].frames[COLOUR], LABELS: np.full((12, S, S), 40)})],
        )


@pytest.mark.parametrize(
    "weights", [{"simulated": 1.0}, {"simulated": 1.0, "imagined": -1.0}, {"simulated": 0.0, "imagined": 0.0},
                {"simulated": 1.0, "imagined": 1.0, "real": 1.0}],
)  # fmt: skip
def test_a_mix_that_does_not_name_what_there_is_is_refused(weights):
    with pytest.raises(ConfigError, match="a mix names every origin"):
        Mix([track(0), track(1, origin=Origin.IMAGINED)], weights)


def test_origins_are_drawn_as_often_as_they_have_rows_without_a_mix():
    mix = Mix([track(0, rows=30), track(1, origin=Origin.REAL, rows=10)], {})
    assert mix.shares == {"real": 0.25, "simulated": 0.75}
    assert shares(mix.counts) == "real 10 (25%), simulated 30 (75%)"
    gap = dataclasses.replace(track(1, origin=Origin.REAL), valid_T=np.zeros(12, bool))
    with pytest.raises(DataRefused, match="no row without a gap"):
        Mix([track(0), gap], {})


@pytest.mark.parametrize("name", NAMES)
def test_figures_stand_by_origin_and_place_beside_baselines(name):
    model, _ = fitted(name, TRACKS, steps=150)
    held = [track(k) for k in (10, 11, 12)] + [track(k, group="south") for k in (13, 14)]
    held += [track(k, origin=Origin.IMAGINED) for k in (15, 16)]
    labels = Labels(colour=COLOUR, classes=LABELS, stream=STREAM, channels=(0, 1, 2))
    found = judge(model, TRACKS, held, labels=labels, names=["ground", "square", *map(str, range(2, 12))])
    assert list(found) == ["imagined, north", "simulated, north", "simulated, south"]
    for by in found.values():
        assert set(by) == {"network", "commonest class, mean pose", "background subtraction"}
        blind, seen = by["commonest class, mean pose"], by["background subtraction"]
        assert blind.by_class["square"].estimate == 0
        assert seen.by_class["square"].estimate > 0.6, "what is bright is the square"
        assert seen.centimetres.estimate < blind.centimetres.estimate
        assert by["network"].overlap.estimate > blind.overlap.estimate
        assert set(by["network"].by_class) == {"ground", "square"}
    with pytest.raises(DataRefused, match="labelled episodes"):
        judge(model, TRACKS, [], labels=labels, names=["a"] * 12)


def test_a_world_model_is_no_perception(tmp_path):
    from worldgate.worlds.models import state

    layout = dataclasses.replace(LAYOUT, cameras=(), action=Signal(name="action", shape=(1,), names=("a",)))
    normaliser = Normaliser.fit({STREAM: TRACKS[0].states_TD, "action": np.random.default_rng(0).normal(size=(9, 1))})
    config = dataclasses.replace(state.debug(), inputs=dataclasses.replace(state.debug().inputs, states=(STREAM,)))
    folder = checkpoint.save(tmp_path / "m", "state", config, state.create(config, layout, normaliser), {})
    with pytest.raises(WeightsRefused, match="holds no perception"):
        perception.load(folder)
