"""The layout of ids, the order of blocks in time, and sequences that are read back or refused by name."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.digest import canonical, to_json
from worldgate.core.errors import DataRefused, NotFound, SchemaTooNew
from worldgate.worlds.tokens.sequences import join, split
from worldgate.worlds.tokens.vocabulary import BEGIN, END, PAD, Role, Vocabulary, lay_out

STATE = {"stream": "observation.state", "role": Role.STATE, "count": 8, "block": 3, "rows": 1, "tokenizer": "s"}
FRONT = {"stream": "front", "role": Role.PICTURE, "count": 25, "block": 4, "rows": 4, "tokenizer": "p"}
WRIST = {**FRONT, "stream": "wrist"}
CHUNK = {"stream": "action", "role": Role.ACTION, "count": 30, "block": 0, "rows": 10, "tokenizer": "a"}
STEP = {**CHUNK, "block": 2, "rows": 1}


def vocabulary(*streams):
    return lay_out(list(streams), rate_hz=10.0, dataset="d", alignment="l")


WHOLE = vocabulary(CHUNK, WRIST, STATE, FRONT)


def blocks_of(held, rows, rng):
    out = {}
    for stream, _ in held.plan(rows):
        count = stream.block or int(rng.integers(1, 7))
        out.setdefault(stream.stream, []).append(rng.integers(0, stream.count, count))
    return out


def test_ranges_are_contiguous_from_zero_and_every_id_has_its_own_name():
    names = list(WHOLE.names())
    assert len(names) == len(set(names)) == WHOLE.size == 3 + 4 + 8 + 25 + 25 + 30
    assert names[:3] == ["<wg:pad>", "<wg:begin>", "<wg:end>"]
    assert [held.role for held in WHOLE.ranges] == ["state", "picture", "picture", "action"]
    edge = 3 + 4
    for held in WHOLE.ranges:
        assert names[held.marker] == f"<wg:{held.stream}>"
        assert held.first == edge
        assert names[held.first] == f"<wg:{held.stream}:0>"
        edge += held.count


def test_a_block_stands_where_it_is_known_and_an_action_where_it_begins():
    order = [(held.stream, covers) for held, covers in WHOLE.plan(12)]
    assert order == [
        ("observation.state", 0), ("wrist", 0), ("front", 0), ("action", 0),
        ("observation.state", 4), ("wrist", 1), ("front", 1),
        ("observation.state", 8), ("wrist", 5), ("front", 5),
        ("action", 10),
        ("observation.state", 11), ("wrist", 9), ("front", 9),
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 50), picture=st.sampled_from([1, 4]), chunk=st.sampled_from([1, 3, 10]))
def test_nothing_in_front_of_an_action_comes_after_it(rows, picture, chunk):
    held = vocabulary(STATE, {**FRONT, "rows": picture}, {**CHUNK, "rows": chunk})
    seen, acting = 0, []
    for stream, covers in held.plan(rows):
        if stream.role is Role.ACTION:
            assert covers == len(acting) * chunk
            acting.append(covers)
        else:
            last = covers if stream.role is Role.STATE or covers == 0 else min(covers + stream.rows, rows) - 1
            assert last >= seen
            seen = last
            assert all(action < last or action <= covers for action in acting)
    covered = {row for stream, at in held.plan(rows) if stream.role is Role.PICTURE for row in
               ([0] if at == 0 else range(at, at + picture))}  # fmt: skip
    assert covered >= set(range(rows))
    assert len(acting) == -(-rows // chunk)


def test_a_state_without_pictures_stands_before_each_action_and_alone_in_each_row():
    assert [s.stream for s, _ in vocabulary(STATE, CHUNK).plan(11)] == ["observation.state", "action"] * 2
    assert [at for _, at in vocabulary(STATE).plan(3)] == [0, 1, 2]


@settings(max_examples=100, deadline=None)
@given(rows=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), pads=st.integers(0, 3))
def test_codes_come_back_as_they_were(rows, seed, pads):
    blocks = blocks_of(WHOLE, rows, np.random.default_rng(seed))
    tokens = join(WHOLE, blocks, rows)
    assert tokens.dtype == np.int32
    assert (tokens[0], tokens[-1]) == (BEGIN, END)
    back = split(WHOLE, np.append(tokens, [PAD] * pads), rows)
    for stream, held in blocks.items():
        assert all(np.array_equal(a, b) for a, b in zip(held, back[stream], strict=True))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), place=st.integers(0, 10**6), value=st.integers(-3, 120), cut=st.booleans())
def test_a_changed_sequence_is_read_or_refused_with_its_place(seed, place, value, cut):
    tokens = join(WHOLE, blocks_of(WHOLE, 9, np.random.default_rng(seed)), 9)
    place %= len(tokens)
    changed = tokens[:place] if cut else np.concatenate([tokens[:place], [value], tokens[place + 1 :]])
    back = None
    with contextlib.suppress(DataRefused):
        back = split(WHOLE, changed, 9)
    if back is None:
        with pytest.raises(DataRefused, match="token "):
            split(WHOLE, changed, 9)
    else:
        assert np.array_equal(join(WHOLE, back, 9), changed)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: t[1:], "without its begin"),
        (lambda t: t[:-1], "cut off before its end"),
        (lambda t: t[:0], "without its begin"),
        (lambda t: np.append(t, 9), "after the end"),
        (lambda t: np.insert(t, 1, 200), "outside the vocabulary"),
        (lambda t: np.insert(t, 1, 20), "a block should begin"),
        (lambda t: np.insert(t, 2, 80), "another stream"),
        (lambda t: np.delete(t, 2), "a block of 2 codes of observation.state"),
        (lambda t: np.concatenate([t[:1], t[5:]]), "out of order"),
        (lambda t: np.append(t[:5], END), "ends early"),
        (lambda t: np.concatenate([t[:-1], t[1:5], [END]]), "out of order"),
    ],
)
def test_what_is_wrong_with_a_sequence_is_named(change, what):
    tokens = join(WHOLE, blocks_of(WHOLE, 5, np.random.default_rng(0)), 5)
    with pytest.raises(DataRefused, match=what):
        split(WHOLE, change(tokens), 5)


def test_a_vocabulary_is_read_back_and_keeps_its_identity():
    back = Vocabulary.from_bytes(WHOLE.to_bytes())
    assert back == WHOLE
    assert back.digest == WHOLE.digest
    assert back.digest != dataclasses.replace(WHOLE, dataset="e").digest
    assert back.range("wrist").count == 25
    with pytest.raises(NotFound, match="no such stream"):
        back.range("rear")


def test_another_version_or_another_layout_refuses():
    tree = json.loads(WHOLE.to_bytes())
    with pytest.raises(SchemaTooNew):
        Vocabulary.from_bytes(canonical({**tree, "version": 2}))
    with pytest.raises(DataRefused, match="older version"):
        Vocabulary.from_bytes(canonical({**tree, "version": 0}))
    with pytest.raises(DataRefused, match=r"not a worldgate\.vocabulary"):
        Vocabulary.from_bytes(canonical({**tree, "schema": "worldgate.tokens"}))
    with pytest.raises(DataRefused, match="not JSON"):
        Vocabulary.from_bytes(b"\x00")
    with pytest.raises(DataRefused, match="another size"):
        Vocabulary.from_bytes(canonical({**tree, "size": 7}))
    moved = to_json(tree)
    moved["ranges"][1]["first"] += 1
    with pytest.raises(DataRefused, match="not contiguous"):
        Vocabulary.from_bytes(canonical(moved))
