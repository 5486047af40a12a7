"""Imagined rollouts and the files made of them: every one says that it is imagined."""

from __future__ import annotations

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from tests.worlds.synthetic import CAMERA, episode, episodes

from worldgate.core.errors import AlreadyExists, DataRefused, NotFound, UsageError
from worldgate.core.streams import Origin
from worldgate.core.worlds import Frame, Rollout
from worldgate.data.logs import lerobot, mcap
from worldgate.worlds.imagine import imagine
from worldgate.worlds.imagine.files import shown, write_geometry, write_lerobot, write_mcap, write_states, write_video
from worldgate.worlds.imagine.given import read_actions
from worldgate.worlds.imagine.marks import burn

HELD = episode(91)


@pytest.fixture
def made(model):
    return imagine(model, HELD, 12, 6, samples=2, seed=5)


def test_a_rollout_names_what_made_it(model, made):
    assert made.origin is Origin.IMAGINED
    assert made.model == model.spec.digest
    assert made.source == f"{HELD.id}@12"
    assert made.horizon == 6
    assert made.frame.states["observation.state"].shape == (2, 6, 3)
    assert (made.frame.uncertainty["observation.state"] >= 0).all()


def test_recorded_actions_are_those_from_the_row_on(made):
    assert np.allclose(made.actions, HELD.array("action")[12:18])


def test_other_actions_lead_elsewhere(model):
    away = imagine(model, HELD, 12, 6, actions=np.full((6, 2), 0.8))
    back = imagine(model, HELD, 12, 6, actions=np.full((6, 2), -0.8))
    last = [r.frame.states["observation.state"][0, -1, :2] for r in (away, back)]
    assert (last[0] > last[1] + 0.3).all()


@pytest.mark.parametrize("row", [0, 1, 48, 45])
def test_rows_without_context_or_without_recorded_actions_are_refused(model, row):
    with pytest.raises(UsageError):
        imagine(model, HELD, row, 6)


def test_a_gap_in_the_context_is_refused(model):
    gap = np.zeros(48, bool)
    gap[11] = True
    with pytest.raises(UsageError, match="gap"):
        imagine(model, episode(91, gap=gap), 12, 6)


def test_an_episode_in_another_unit_is_refused(model):
    with pytest.raises(DataRefused, match="unit"):
        imagine(model, episode(91, unit="mm"), 12, 6)


def test_a_missing_stream_is_named(model):
    del (held := episode(91)).streams["action"]
    with pytest.raises(NotFound, match="no such stream"):
        imagine(model, held, 12, 6)


def test_the_word_is_burned_into_every_picture_at_every_size():
    for size in (32, 64, 256):
        frames = np.random.default_rng(size).integers(0, 255, (4, size, size, 3), dtype=np.uint8)
        marked = burn(frames)
        inked = np.abs(marked.astype(int) - (255, 214, 10)).max(axis=-1) < 60
        assert (inked.sum(axis=(1, 2)) > 0.01 * size * size).all()
        assert np.array_equal(marked[:, : size // 2], frames[:, : size // 2])
        assert not np.array_equal(burn(frames, Origin.SIMULATED), marked)


def test_parquet_says_imagined_in_every_row_and_in_its_schema(model, made, tmp_path):
    table = pq.read_table(write_states(tmp_path / "states.parquet", made, model.spec))
    assert table["origin"].to_pylist() == ["imagined"] * 12
    about = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    assert (about["origin"], about["model"], about["unit.observation.state"]) == ("imagined", model.spec.digest, "m")
    values = np.array(table["observation.state"].to_pylist()).reshape(2, 6, 3)
    assert np.allclose(values, made.frame.states["observation.state"], atol=1e-6)
    with pytest.raises(AlreadyExists):
        write_states(tmp_path / "states.parquet", made, model.spec)


def test_video_carries_the_word_in_every_frame(model, made, tmp_path):
    if not made.frame.frames:
        with pytest.raises(UsageError, match="no frames"):
            write_video(tmp_path / "v.mp4", made)
        assert not list(tmp_path.iterdir())
        return
    path = write_video(tmp_path / "v.mp4", made)
    with av.open(str(path)) as container:
        assert "origin=imagined" in container.metadata["comment"]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 6
    for picture in pictures:
        yellow = (picture[..., 0] > 180) & (picture[..., 1] > 140) & (picture[..., 2] < 110)
        assert yellow[-picture.shape[0] // 3 :].mean() > 0.01


def test_lerobot_reads_back_as_imagined(model, made, tmp_path):
    write_lerobot(tmp_path / "set", [made], model.spec)
    logs = lerobot.open_logs(tmp_path / "set").logs
    assert len(logs) == 2
    for b, log in enumerate(logs):
        assert log.origin is Origin.IMAGINED
        assert log.facts["model"] == model.spec.digest
        states = log.read("observation.state").array
        assert np.allclose(states, made.frame.states["observation.state"][b], atol=1e-6)


def test_mcap_puts_imagined_topics_beside_the_recorded_ones(model, made, tmp_path):
    log = mcap.open_logs(write_mcap(tmp_path / "run.mcap", made, model.spec, HELD, 12)).logs[0]
    streams = {info.name: info for info in log.streams()}
    assert log.origin is HELD.origin
    assert log.facts["imagined_by"] == model.spec.digest
    assert streams["imagined.observation.state"].topic == "/imagined/observation.state"
    assert {"observation.state", "action", "imagined.action"} <= set(streams)
    assert (f"imagined.{CAMERA}" in streams) == bool(made.frame.frames)
    imagined, real = log.read("imagined.observation.state"), log.read("observation.state")
    assert np.array_equal(imagined.times_ns, HELD.times_ns[13:19])
    assert np.isin(imagined.times_ns, real.times_ns).all()
    assert np.array_equal(log.read("imagined.action").times_ns, HELD.times_ns[12:18])


def test_a_model_of_a_static_camera_paints_what_moves(trained, family, model):
    if family != "conv":
        pytest.skip("frames only")
    imagined = imagine(model, HELD, 12, 6).frame.frames[CAMERA]
    assert imagined.shape == (1, 6, 32, 32, 3)
    assert imagined.dtype == np.uint8
    untouched = np.abs(imagined[0, :, :4, -4:].astype(int) - HELD.array(CAMERA)[12, :4, -4:]).mean()
    assert untouched < 40
    assert len(episodes(1)) == 1


def test_depth_and_classes_are_shown_in_colours_and_kept_as_values(tmp_path):
    depth = np.linspace(0.0, 2.0, 2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)
    classes = np.arange(2 * 3 * 16, dtype=np.uint8).reshape(2, 3, 4, 4) % 5
    frame = Frame(frames={"depth": depth, "classes": classes, "front": np.zeros((2, 3, 4, 4, 3), np.uint8)})
    made = Rollout(model="m", prompt="p", seed=0, rate_hz=10.0, actions=np.zeros((3, 0), np.float32), frame=frame)
    held = load_file(write_geometry(tmp_path / "geometry.safetensors", made))
    assert set(held) == {"depth", "classes"}
    assert np.array_equal(held["depth"], depth)
    assert np.array_equal(held["classes"], classes)
    pictures = shown(classes[0])
    assert pictures.shape == (3, 4, 4, 3)
    assert len(np.unique(pictures.reshape(-1, 3), axis=0)) == 5, "a colour for every class"
    assert write_video(tmp_path / "all.mp4", made).stat().st_size > 0


def test_colour_alone_makes_no_file_of_geometry(tmp_path):
    frame = Frame(frames={"front": np.zeros((1, 3, 4, 4, 3), np.uint8)})
    made = Rollout(model="m", prompt="p", seed=0, rate_hz=10.0, actions=np.zeros((3, 0), np.float32), frame=frame)
    assert write_geometry(tmp_path / "geometry.safetensors", made) is None
    assert not list(tmp_path.iterdir())


def test_actions_come_from_csv_with_or_without_names_and_from_numpy(tmp_path):
    want = np.array([[0.1, 0.2], [0.3, -4.0]], np.float32)
    (tmp_path / "plain.csv").write_text("0.1,0.2\n0.3,-4\n")
    (tmp_path / "named.csv").write_text("x,y\n0.1,0.2\n0.3,-4\n")
    np.save(tmp_path / "held.npy", want)
    for name in ("plain.csv", "named.csv", "held.npy"):
        assert np.array_equal(read_actions(tmp_path / name), want), name
    np.save(tmp_path / "odd.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match="not a table"):
        read_actions(tmp_path / "odd.npy")
    with pytest.raises(NotFound, match="no such file"):
        read_actions(tmp_path / "gone.csv")
