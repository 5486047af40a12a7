"""Tokenizers learn from the clip loader: in one order, each sample with a receipt, stopped and resumed to the bit."""

from __future__ import annotations

import dataclasses
import json
import os
import signal

import cv2
import numpy as np
import pytest
from tests.worlds.synthetic import CAMERA, SIZE, episodes, replace_inputs

from worldgate.core.errors import DataRefused, Interrupted, NotFound
from worldgate.worlds.feed import ClipFeed, Share, spread
from worldgate.worlds.tokenizers import fsq
from worldgate.worlds.tokenizers._video import Context, VideoConfig
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train.loop import resume, train
from worldgate.worlds.train.receipts import taken

LEARNABLE, HELD_OUT = episodes(2), episodes(1, first=50)
STEPS, BATCH, CLIP = 14, 8, 5
EPOCH = 2 * (48 - CLIP + 1) // BATCH
"""Batches of an epoch: the runs below go through more than one."""


def config(steps=STEPS, **loop):
    made = replace_inputs(fsq.debug(), Inputs(states=(), action="", cameras=(CAMERA,), size=SIZE))
    return dataclasses.replace(
        made,
        video=VideoConfig(time=4, context=Context.BACKGROUND),
        phase=dataclasses.replace(made.phase, steps=steps, batch=BATCH),
        loop=dataclasses.replace(made.loop, **{"checkpoint_every": 5, "evaluate_every": 7, **loop}),
    )


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    train("fsq", LEARNABLE, HELD_OUT, config(), run)
    return run


def test_every_sample_of_every_step_has_a_receipt_and_an_epoch_serves_each_clip_once(whole):
    assert EPOCH < STEPS
    seen = []
    for step in range(1, STEPS + 1):
        held, table = taken(whole, 0, step)
        assert len(held) == BATCH
        for receipt in held:
            about = table.episode(receipt)
            episode = next(e for e in LEARNABLE if e.id == about.id)
            rows = table.rows(receipt)
            assert [int(receipt["first"]), int(receipt["last"])] == episode.streams[CAMERA].index[
                rows[[0, -1]]
            ].tolist()
        seen += [(int(r["episode"]), int(r["row"])) for r in held]
    first = seen[: EPOCH * BATCH]
    assert len(first) == len(set(first))
    assert (whole / "receipts" / "phase-0.bin").stat().st_size == STEPS * BATCH * 16


def test_steps_that_were_not_trained_and_phases_without_clips_have_no_receipts(whole):
    for step in (0, STEPS + 1):
        with pytest.raises(NotFound, match="no such step"):
            taken(whole, 0, step)
    with pytest.raises(NotFound, match="no receipts"):
        taken(whole, 1, 1)


@pytest.mark.parametrize("stop", [3, 5, EPOCH, EPOCH + 2])
def test_a_run_killed_or_stopped_within_an_epoch_resumes_to_the_bit(whole, tmp_path, stop):
    def interrupt(progress):
        if progress.step == stop:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train("fsq", LEARNABLE, HELD_OUT, config(), tmp_path / "run", interrupt)
    resume(tmp_path / "run", LEARNABLE, HELD_OUT)
    again = tmp_path / "run"
    assert [m["loss"] for m in metrics(again)] == [m["loss"] for m in metrics(whole)]
    for file in ("receipts/phase-0.bin", "receipts/phase-0.json", "model/model.safetensors"):
        assert (again / file).read_bytes() == (whole / file).read_bytes(), file


def test_steps_after_the_snapshot_of_a_killed_run_are_forgotten_with_their_receipts(whole, tmp_path):
    def die(progress):
        if progress.step == 8:
            raise KeyboardInterrupt  # as if the process had vanished between two snapshots

    with pytest.raises(KeyboardInterrupt):
        train("fsq", LEARNABLE, HELD_OUT, config(), tmp_path / "run", die)
    path = tmp_path / "run" / "receipts" / "phase-0.bin"
    assert path.stat().st_size == 8 * BATCH * 16
    path.write_bytes(path.read_bytes()[: 7 * BATCH * 16 + 3])  # a write that the machine's end cut short
    resume(tmp_path / "run", LEARNABLE, HELD_OUT)
    assert path.read_bytes() == (whole / "receipts" / "phase-0.bin").read_bytes()


def test_missing_receipts_of_trained_steps_are_not_made_up(tmp_path):
    def interrupt(progress):
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train("fsq", LEARNABLE, HELD_OUT, config(), tmp_path / "run", interrupt)
    (tmp_path / "run" / "receipts" / "phase-0.bin").write_bytes(b"")
    with pytest.raises(NotFound, match="receipts of steps that were trained are missing"):
        resume(tmp_path / "run", LEARNABLE, HELD_OUT)


def test_the_largest_skew_of_a_batch_is_among_its_figures(tmp_path):
    late = LEARNABLE[0]
    skew = np.zeros(48, np.int64)
    skew[20] = -33_000_000
    rows = dataclasses.replace(late.streams[CAMERA], skew_ns=skew)
    late = dataclasses.replace(late, streams={**late.streams, CAMERA: rows})
    train("fsq", [late], [], config(steps=6), tmp_path / "run")
    for entry in metrics(tmp_path / "run"):
        held, table = taken(tmp_path / "run", 0, entry["step"])
        touched = any(20 in table.rows(receipt) for receipt in held)
        assert entry["max_skew_ms"] == (33.0 if touched else 0.0)
    assert {m["max_skew_ms"] for m in metrics(tmp_path / "run")} == {0.0, 33.0} or EPOCH < 6


def test_samples_show_held_out_frames_above_what_became_of_them(whole):
    folders = sorted((whole / "samples").iterdir())
    assert [f.name for f in folders] == ["phase-0-step-000007", "phase-0-step-000014"]
    picture = cv2.imread(str(folders[-1] / "camera-0.png"))
    assert picture.shape == (2 * SIZE, 6 * SIZE, 3)


def test_processes_that_read_clips_change_nothing(tmp_path, whole):
    train("fsq", LEARNABLE, HELD_OUT, config(workers=1), tmp_path / "run")
    assert [m["loss"] for m in metrics(tmp_path / "run")] == [m["loss"] for m in metrics(whole)]


def feed(share, **options):
    made = ClipFeed(LEARNABLE, [CAMERA], **{"frames": 3, "size": SIZE, "batch": 4, **options})
    made.open(share)
    return made


def test_two_processes_together_take_what_one_takes_with_twice_the_batches():
    one = feed(Share(batches=2, seed=3))
    two = [feed(Share(rank=rank, ranks=2, seed=3)) for rank in range(2)]
    for _ in range(25):  # more than an epoch
        alone = [one.take()[0][CAMERA] for _ in range(2)]
        together = [part.take()[0][CAMERA] for part in two]
        assert all(a.equal(b) for a, b in zip(alone, together, strict=True))
        for part in two:
            np.testing.assert_array_equal(part.receipts(), one.receipts())
        assert one.state() == two[0].state() == two[1].state()


def test_a_feed_goes_on_where_its_state_says_with_another_number_of_processes():
    one = feed(Share(batches=2, seed=3))
    for _ in range(2 * 7):
        one.take()
    state = one.state()
    wanted = [one.take()[0][CAMERA] for _ in range(2)]
    for rank in range(2):
        half = feed(Share(rank=rank, ranks=2, seed=3))
        half.restore(state)
        assert half.take()[0][CAMERA].equal(wanted[rank])


def test_clips_that_cross_a_gap_are_neither_learned_from_nor_judged():
    gap = np.zeros(48, bool)
    gap[4::5] = True
    broken = dataclasses.replace(LEARNABLE[0].streams[CAMERA], gap=gap)
    torn = dataclasses.replace(LEARNABLE[0], streams={CAMERA: broken})
    with pytest.raises(DataRefused, match="without a gap"):
        ClipFeed([torn], [CAMERA], frames=5, size=SIZE, batch=2).open(Share())
    assert spread([torn], [CAMERA], frames=5, size=SIZE, most=8)[0] == {}
    held, of = spread([torn, LEARNABLE[1]], [CAMERA], frames=5, size=SIZE, most=8)
    assert held[CAMERA].shape == (8, 5, SIZE, SIZE, 3)
    assert set(of.tolist()) == {1}
