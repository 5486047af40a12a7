"""Every tokenizer of pictures that is trained by itself keeps the same contract."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from tests.worlds.synthetic import CAMERA, SIZE, episode, episodes, make_rows, replace_inputs

from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.errors import CapabilityMissing, DataRefused, Interrupted, UsageError, WeightsRefused
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import Kind
from worldgate.worlds import checkpoint
from worldgate.worlds.family import load_trainable
from worldgate.worlds.feed import Share
from worldgate.worlds.tokenizers._training import Reel
from worldgate.worlds.tokenizers._video import Context, VideoConfig
from worldgate.worlds.tracks import Inputs, make_tracks, resolve_layout
from worldgate.worlds.train.loop import resume, train

NAMES = sorted(n for n, card in seams.cards("tokenizers").items() if card.inputs != "motion" and n != "background")
DEPTH, CLASSES = "observation.depth.front", "observation.segmentation.front"
ALL = (CAMERA, DEPTH, CLASSES)
HELD = 93


def with_geometry(made, ids=(0, 4, 9)):
    """The square of the synthetic world with its distance and its class; one stripe gives no return."""
    pictures = made.array(CAMERA)
    square = pictures[..., 0] > 200
    depth = np.where(square, 0.6, 1.2).astype(np.float32)
    depth[:, :, :3] = 0
    classes = np.where(square, ids[2], ids[0]).astype(np.uint8)
    classes[:, :4] = np.where(square[:, :4], ids[2], ids[1])
    streams = dict(made.streams)
    streams[DEPTH] = make_rows(DEPTH, Kind.DEPTH, depth, "m")
    streams[CLASSES] = make_rows(CLASSES, Kind.SEGMENTATION, classes, "")
    return dataclasses.replace(made, streams=streams)


def configured(name, **video):
    made = replace_inputs(load_trainable(name).debug(), Inputs(states=(), action="", cameras=ALL, size=SIZE))
    return dataclasses.replace(made, video=VideoConfig(**video))


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    torch.set_num_threads(1)
    return request.param


@pytest.fixture(scope="module")
def logs():
    return [with_geometry(e) for e in episodes(2)]


@pytest.fixture(scope="module")
def run(name, logs, tmp_path_factory):
    """Trained in seconds, along time."""
    folder = tmp_path_factory.mktemp("runs") / name
    train(name, logs, [with_geometry(episode(HELD))], configured(name, time=4), folder)
    return folder


@pytest.fixture
def model(run):
    return checkpoint.restore(run / "model")[1]


def untrained(name, logs, **video):
    """Knows ranges, classes and nothing else."""
    torch.manual_seed(0)
    config = configured(name, **video)
    layout = resolve_layout(logs, config.inputs)
    made = load_trainable(name).create(config, layout, Normaliser(streams={}))
    tracks = make_tracks(logs, layout)
    made.tokenizer.fit(lambda camera: (torch.as_tensor(track.frames[camera]) for track in tracks))
    return made


def clips(model, length=5):
    reel = Reel(make_tracks([with_geometry(episode(HELD))], model.layout))
    return reel.clips(np.array([2, 20]), length)


def against(model, held):
    if model.tokenizer.config.context is Context.NONE:
        return None
    return {camera: frames[:, 0] for camera, frames in held.items()}


@pytest.mark.parametrize("time", [0, 1, 4])
@pytest.mark.parametrize("context", list(Context))
def test_pictures_come_back_with_their_shape_and_type(name, logs, time, context):
    model = untrained(name, logs, time=time, context=context)
    held = clips(model)
    loss = model.tokenizer.loss(held, against(model, held))
    loss.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert sum(p.grad is not None for p in model.tokenizer.parameters()) > 10
    model.train(False)
    values = model.tokenizer.encode(held, against(model, held))
    shown = model.tokenizer.decode(values, against(model, held))
    for camera in ALL:
        assert values[camera].shape[:2] == (2, 2 if time == 4 else 5)
        assert shown[camera].shape == held[camera].shape
        assert torch.isfinite(shown[camera].float()).all()
    assert shown[CAMERA].dtype == torch.uint8
    assert shown[DEPTH].dtype == torch.float32
    assert set(shown[CLASSES].unique().tolist()) <= {0, 4, 9}, "ids are never averaged"


def test_a_latent_depends_on_no_later_frame(model):
    held = clips(model, 9)
    changed = {camera: frames.clone() for camera, frames in held.items()}
    for frames in changed.values():
        frames[:, 5:] = frames[:, :1]
    one, two = (model.tokenizer.encode(part, None) for part in (held, changed))
    for camera in ALL:
        assert torch.equal(one[camera][:, :2], two[camera][:, :2])
    assert not torch.equal(one[CAMERA][:, 2], two[CAMERA][:, 2])


def test_training_says_what_is_kept_at_which_rate(run):
    facts = (run / "metrics.jsonl").read_text().splitlines()[-1]
    for figure in (
        f"psnr/{CAMERA}",
        f"ssim/{CAMERA}",
        f"abs_rel/{DEPTH}",
        f"miou/{CLASSES}",
        f"bits_per_frame/{DEPTH}",
    ):
        assert figure in facts
        if not figure.startswith("bits"):
            assert figure.replace("/", "_of_baseline/") in facts


def test_relabelling_a_whole_dataset_changes_nothing_but_the_labels(name):
    plain = [with_geometry(e) for e in episodes(2)]
    relabelled = [with_geometry(e, ids=(7, 1, 3)) for e in episodes(2)]
    losses, values = [], []
    for logs, ids in ((plain, {0: 0, 4: 4, 9: 9}), (relabelled, {0: 7, 4: 1, 9: 3})):
        model = untrained(name, logs)
        model.train(False)
        held = clips(model)
        held[CLASSES] = held[CLASSES].apply_(ids.__getitem__)
        losses.append(model.tokenizer.loss(held, None).detach())
        values.append(model.tokenizer.encode(held, None)[CLASSES])
    assert torch.equal(*losses)
    assert torch.equal(*values)


def test_a_class_that_was_never_seen_is_refused_by_its_id(model):
    held = clips(model)
    held[CLASSES][0, 0, 0, 0] = 77
    with pytest.raises(UsageError, match="77"):
        model.tokenizer.encode(held, None)


def test_resuming_gives_the_same_weights_to_the_bit(name, logs, run, tmp_path):
    held = [with_geometry(episode(HELD))]

    def stop(progress):
        if progress.step == 10:
            raise Interrupted("stopped by the test")

    with pytest.raises(Interrupted):
        train(name, logs, held, configured(name, time=4), tmp_path / name, stop)
    again = resume(tmp_path / name, logs, held)
    assert (again / "model.safetensors").read_bytes() == (run / "model" / "model.safetensors").read_bytes()


def test_what_was_trained_is_refused_where_a_world_model_belongs(run, tmp_path):
    with pytest.raises(CapabilityMissing, match="no world model"):
        checkpoint.load(run / "model")
    copy = tmp_path / "copy"
    shutil.copytree(run / "model", copy)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    with pytest.raises(WeightsRefused):
        checkpoint.restore(copy)


def test_bad_sizes_and_times_are_refused_with_what_would_do(name, logs, model):
    with pytest.raises(UsageError, match="1 or 4 frames"):
        untrained(name, logs, time=3)
    with pytest.raises(DataRefused, match="more classes"):
        untrained(name, logs, classes=2)
    config = dataclasses.replace(configured(name), inputs=Inputs(states=(), action="", cameras=(CAMERA,), size=30))
    with pytest.raises(UsageError, match="divide by 8"):
        load_trainable(name).create(config, resolve_layout(logs, config.inputs), Normaliser(streams={}))
    with pytest.raises(UsageError, match="does not divide"):
        model.tokenizer.encode(clips(model, 7), None)
    with pytest.raises(UsageError, match="needs its first context"):
        untrained(name, logs, context=Context.FIRST).tokenizer.encode(clips(model), None)


def test_a_configuration_survives_a_trip_through_a_plain_tree(name):
    made = configured(name, context=Context.FIRST)
    assert decode(load_trainable(name).Config, dataclasses.asdict(made), where="test") == made


def test_a_tokenizer_without_a_training_of_its_own_says_so():
    with pytest.raises(CapabilityMissing, match="within a family"):
        load_trainable("background")


def test_a_clip_is_never_trained_against_itself(name, logs):
    for context, time, frames in ((Context.NONE, 0, 1), (Context.FIRST, 0, 5), (Context.NONE, 4, 5)):
        model = untrained(name, logs, context=context, time=time)
        (phase,) = model.phases(make_tracks(logs, model.layout), [])
        phase.prepare()
        phase.feed.open(Share())
        batch = phase.draw(np.random.default_rng(0))
        assert batch.tensors[f"clips/{CAMERA}"].shape[1] == frames
        phase.feed.close()
