"""A dataset as token sequences: written whole or not at all, read in order or at random, decoded back."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from worldgate.core.errors import AlreadyExists, CapabilityMissing, DataRefused, NotFound, Tampered, UsageError
from worldgate.data import datasets
from worldgate.record import lineage
from worldgate.record.events import Ref
from worldgate.record.verify import verify
from worldgate.worlds import checkpoint
from worldgate.worlds.tokens import writing
from worldgate.worlds.tokens.codecs import Codecs, _of_motion, _track
from worldgate.worlds.tokens.reading import TokenDataset
from worldgate.worlds.tokens.sequences import split
from worldgate.worlds.tokens.vocabulary import PAD, Role
from worldgate.worlds.tracks import make_tracks
from worldgate.worlds.train import stage

FRONT, DEPTH, CLASSES = "observation.images.front", "observation.depth.front", "observation.segmentation.front"


@pytest.fixture(scope="module")
def written(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "tokens"
    parts = {"pictures": made.pictures, "actions": made.actions, "states": made.states}
    return writing.export(made.ws, made.dataset, out, rows=15, **parts)


@pytest.fixture(scope="module")
def held(written):
    return TokenDataset.open(written.path)


def models(made):
    names = (made.pictures, made.actions, made.states)
    return [checkpoint.restore(stage.checkout(made.ws, ref.digest))[1] for ref in names]


def test_every_sequence_says_where_each_row_came_from(made, written, held):
    episodes = {e.id: e for e in datasets.load(made.ws, made.dataset.digest)}
    rows = {name: np.zeros(len(e), int) for name, e in episodes.items()}
    for sequence in held:
        episode = episodes[sequence.episode]
        assert sequence.rows <= 15
        assert sequence.first_ns == episode.times_ns[sequence.first_row]
        assert sequence.last_ns == episode.times_ns[sequence.first_row + sequence.rows - 1]
        assert sequence.text == "push the object into the bay"
        assert str(sequence.origin) == "simulated"
        assert sequence.log == episode.log
        rows[sequence.episode][sequence.first_row : sequence.first_row + sequence.rows] += 1
    assert sum(int((r == 0).sum()) for r in rows.values()) == written.left_out
    assert all((r <= 1).all() for r in rows.values()), "no row stands twice"
    assert {s.split for s in held} == {"train", "val"}


@torch.inference_mode()
def test_codes_are_those_of_the_tokenizers_and_come_back(made, held):
    pictures, actions, states = models(made)
    episodes = {e.id: e for e in datasets.load(made.ws, made.dataset.digest)}
    codecs = Codecs.of(made.ws, held.vocabulary)
    pictures.train(False)
    for index, sequence in enumerate(held):
        codes = split(held.vocabulary, sequence.tokens, sequence.rows)
        seen = make_tracks([episodes[sequence.episode]], pictures.layout)[0]
        frames = {c: np.array(f[sequence.first_row :][: sequence.rows]) for c, f in seen.frames.items()}
        padded = {c: np.concatenate([f, f[-1:].repeat(-(len(f) - 1) % 4, axis=0)]) for c, f in frames.items()}
        scene = {c: s[None] for c, s in pictures.scenes.at(sequence.place).items()}
        values = pictures.tokenizer.encode({c: torch.as_tensor(f)[None] for c, f in padded.items()}, scene)
        back = held.decode(index, codecs)
        shown = pictures.tokenizer.decode(values, scene)
        for camera in (FRONT, DEPTH, CLASSES):
            mine = pictures.tokenizer.part(camera).squeeze.codes(values[camera])[0].numpy()
            assert np.array_equal(np.stack(codes[camera]), mine), camera
            assert back.frames[camera].dtype == frames[camera].dtype
            assert np.array_equal(back.frames[camera], shown[camera][0, : sequence.rows].numpy())
        inside = within(actions, episodes[sequence.episode], sequence)
        reach = (actions.high_A - actions.low_A).numpy()
        apart = np.abs(back.motion["action"] - inside)
        assert back.motion["action"].shape == inside.shape
        assert (apart <= actions.rounding * np.sqrt(actions.rows) * reach + 1e-6).all()
        at = [row for stream, row in held.vocabulary.plan(sequence.rows) if stream.role is Role.STATE]
        state = within(states, episodes[sequence.episode], sequence)[at]
        assert (np.abs(back.motion["observation.state"] - state) <= states.half_bin_A + 1e-6).all()


def within(model, episode, sequence):
    """What was recorded, within the range that has codes of its own."""
    track = make_tracks([episode], model.layout)[0].actions_TA[sequence.first_row :][: sequence.rows]
    return np.clip(track, model.low_A.numpy(), model.high_A.numpy())


def test_sequences_are_read_in_order_at_random_and_in_batches(held):
    in_order = [s.tokens for s in held]
    assert len(in_order) == len(held) > 4
    for index in (3, 0, len(held) - 1):
        assert np.array_equal(held[index].tokens, in_order[index])
    assert np.array_equal(held[-1].tokens, in_order[-1])
    with pytest.raises(IndexError):
        held[len(held)]
    tokens, there = held.batch([0, len(held) - 1])
    assert tokens.shape == there.shape == (2, max(len(in_order[0]), len(in_order[-1])))
    assert (tokens[there == 0] == PAD).all()
    assert there.sum() == len(in_order[0]) + len(in_order[-1])


def test_reading_needs_no_torch(written):
    code = (
        "import sys\nfrom worldgate.worlds.tokens.reading import TokenDataset\n"
        f"assert len(TokenDataset.open({str(written.path)!r})[0].tokens)\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_any_reader_of_parquet_sees_the_same(held):
    table = pq.read_table(held.path / "train-00000.parquet")
    assert table.column("tokens")[0].as_py() == held[0].tokens.tolist()
    assert set(table.column_names) >= {"episode", "first_row", "rows", "text", "origin"}


def test_small_shards_hold_the_same_sequences(made, held, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_SHARD", 300)
    parts = {"pictures": made.pictures, "actions": made.actions, "states": made.states}
    writing.export(made.ws, made.dataset, tmp_path / "small", rows=15, **parts)
    small = TokenDataset.open(tmp_path / "small")
    assert len(list(small.path.glob("*.parquet"))) > 2
    assert [s.tokens.tolist() for s in small] == [s.tokens.tolist() for s in held]


def test_actions_alone_and_one_split_are_enough(made, tmp_path):
    export = writing.export(made.ws, made.dataset, tmp_path / "a", actions=made.bins, split="val")
    alone = TokenDataset.open(export.path)
    assert {s.split for s in alone} == {"val"}
    assert alone[0].place == -1
    decoded = alone.decode(0, Codecs.of(made.ws, alone.vocabulary))
    assert not decoded.frames
    assert decoded.motion["action"].shape == (alone[0].rows, 2)


def test_the_record_says_what_it_was_made_from(made, written):
    event = next(iter(made.ws.ledger.events(writing.EXPORTED)))
    assert [ref.kind for ref in event.inputs] == ["dataset", "tokenizer", "tokenizer", "tokenizer"]
    assert event.body["vocabulary"] == written.vocabulary.digest
    assert made.dataset.digest in str(lineage.backward(made.ws, written.ref.digest))
    assert verify(made.ws).ok
    streams = {held.stream: held.tokenizer for held in written.vocabulary.ranges}
    assert streams[FRONT] == streams[DEPTH] == made.pictures.digest
    assert streams["action"] == made.actions.digest
    assert written.vocabulary.dataset == made.dataset.digest


def test_an_export_that_fails_leaves_nothing(made, tmp_path, monkeypatch):
    out = tmp_path / "half"

    def fail(done, total, note=""):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writing.export(made.ws, made.dataset, out, actions=made.bins, progress=fail)
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "train-00000.parquet").write_bytes(b"")
    with pytest.raises(NotFound, match="not a whole dataset"):
        TokenDataset.open(out)
    with pytest.raises(AlreadyExists):
        writing.export(made.ws, made.dataset, out, actions=made.bins)
    with pytest.raises(NotFound, match="no such folder"):
        TokenDataset.open(tmp_path / "nowhere")


def test_changed_bytes_are_never_learned_from(made, tmp_path):
    out = writing.export(made.ws, made.dataset, tmp_path / "t", actions=made.bins).path
    other = writing.export(made.ws, made.dataset, tmp_path / "o", actions=made.actions).path
    shard = out / "val-00000.parquet"
    good = shard.read_bytes()
    shard.write_bytes(good[:-9] + bytes([good[-9] ^ 1]) + good[-8:])
    held = TokenDataset.open(out)
    assert len(held[0].tokens)
    with pytest.raises(Tampered, match="not the one that was written"):
        held[-1]
    shard.unlink()
    with pytest.raises(Tampered, match="missing"):
        TokenDataset.open(out)[-1]
    (out / "vocabulary.json").write_bytes((other / "vocabulary.json").read_bytes())
    with pytest.raises(Tampered, match="another dataset"):
        TokenDataset.open(out)


def test_another_version_of_the_folder_refuses(made, tmp_path):
    out = writing.export(made.ws, made.dataset, tmp_path / "t", actions=made.bins).path
    tree = json.loads((out / "tokens.json").read_text())
    (out / "tokens.json").write_text(json.dumps(tree | {"version": 0}))
    with pytest.raises(DataRefused, match="older version"):
        TokenDataset.open(out)


def test_tokenizers_that_cannot_stand_in_tokens_are_refused(made, tmp_path):
    def export(**parts):
        return writing.export(made.ws, made.dataset, tmp_path / "never", **parts)

    with pytest.raises(UsageError, match="need a tokenizer"):
        export()
    with pytest.raises(CapabilityMissing, match="continuous"):
        export(pictures=made.continuous)
    with pytest.raises(UsageError, match="first frame"):
        export(pictures=made.first)
    with pytest.raises(CapabilityMissing, match="no tokenizer of pictures"):
        export(pictures=made.bins)
    with pytest.raises(CapabilityMissing, match="no tokenizer of motion"):
        export(actions=made.pictures)
    with pytest.raises(CapabilityMissing, match="a state is one row"):
        export(states=made.actions)
    with pytest.raises(UsageError, match="twice"):
        export(actions=made.bins, states=made.bins)
    with pytest.raises(NotFound):
        export(actions=Ref("tokenizer", "0" * 64))
    assert list(tmp_path.iterdir()) == []


def test_an_episode_of_another_rate_or_unit_is_refused(made):
    model = models(made)[1]
    episode = datasets.load(made.ws, made.dataset.digest, "val")[0]
    with pytest.raises(DataRefused, match="another rate"):
        _track(dataclasses.replace(episode, rate_hz=20.0), model.layout)
    rows = episode.streams["action"]
    odd = dataclasses.replace(rows, info=dataclasses.replace(rows.info, unit="mm"))
    with pytest.raises(DataRefused, match="not the tokenizer's"):
        _track(dataclasses.replace(episode, streams={**episode.streams, "action": odd}), model.layout)
    assert _of_motion(model, Role.ACTION) is model


def test_a_gap_is_never_inside_a_sequence(made, monkeypatch, tmp_path):
    real = writing.load_entries

    def gappy(ws, held, entries):
        (episode,) = real(ws, held, entries)
        gap = np.zeros(len(episode), bool)
        gap[7] = True
        rows = dataclasses.replace(episode.streams["action"], gap=gap)
        return [dataclasses.replace(episode, streams={**episode.streams, "action": rows})]

    monkeypatch.setattr(writing, "load_entries", gappy)
    export = writing.export(made.ws, made.dataset, tmp_path / "gaps", actions=made.actions)
    spans = [(s.first_row, s.first_row + s.rows) for s in TokenDataset.open(export.path)]
    assert export.left_out >= 4
    assert all(not first <= 7 < last for first, last in spans)
