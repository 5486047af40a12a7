"""Every file of the labels seam writes what it reads, to the nanosecond, and refuses what is damaged."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.digest import sha256
from worldgate.core.errors import AlreadyExists, DataRefused
from worldgate.core.seams import cards
from worldgate.data import labels
from worldgate.data.labelling.desk import Desk, Timing
from worldgate.data.labelling.schema import from_tree
from worldgate.data.labelling.sets import SLACK_NS, Label, LabelSet, Method, validated

NAMES = sorted(cards("labels"))
T0 = 1_800_000_000_123_456_789
END = T0 + 600_000_000_000
SCHEMA = from_tree(
    {
        "name": "every",
        "labels": {
            "touch": {"type": "flag"},
            "phase": {"type": "category", "values": ["reach", "push", "rest"]},
            "done": {"type": "flag", "extent": "log"},
            "grade": {"type": "category", "extent": "log", "values": ["poor", "good"]},
            "force": {"type": "number", "unit": "N", "overlap": True},
            "weight": {"type": "number", "extent": "log"},
            "bump": {"type": "flag", "extent": "instant", "overlap": True},
            "kind": {"type": "category", "extent": "instant", "values": ["tap", "hit"], "overlap": True},
            "caption": {"type": "text", "overlap": True},
            "note": {"type": "text", "extent": "log", "overlap": True},
        },
    },
    where="every",
)
FRAMES = T0 + np.arange(300, dtype=np.int64) * 33_333_333
LOG = Timing(digest=sha256(b"log"), name="run.mcap", start_ns=T0, end_ns=END, clock="header")
FILMED = Timing(
    digest=LOG.digest, name="run.mcap", start_ns=T0, end_ns=END, clock="header", camera="front", frames_ns=FRAMES
)


def desk(*logs: Timing, **more: Any) -> Desk:
    return Desk(schema=SCHEMA, logs=logs or (LOG,), **more)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
edges = st.lists(st.integers(0, END - T0), unique=True, min_size=2, max_size=10)


@st.composite
def label_sets(draw: Any, annotator: str = "ada", method: Method = Method.HUMAN) -> LabelSet:
    found: list[Label] = []
    for name in ("touch", "phase"):
        cut = sorted(draw(edges))
        for start, end in zip(cut[::2], cut[1::2], strict=False):
            value = True if name == "touch" else draw(st.sampled_from(["reach", "push", "rest"]))
            found.append(Label(label=name, value=value, start_ns=T0 + start, end_ns=T0 + end, note=draw(texts)))
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    for name, values in (("force", numbers), ("caption", texts)):
        for start, end in draw(
            st.lists(st.tuples(*[st.integers(0, END - T0)] * 2).filter(lambda x: x[0] < x[1]), max_size=3)
        ):
            found.append(Label(label=name, value=draw(values), start_ns=T0 + start, end_ns=T0 + end))
    for name, values in (("bump", st.just(True)), ("kind", st.sampled_from(["tap", "hit"]))):
        for at in draw(st.lists(st.integers(0, END - T0), max_size=3)):
            found.append(Label(label=name, value=draw(values), start_ns=T0 + at, end_ns=T0 + at + 1))
    for name, values in (("done", st.booleans()), ("grade", st.sampled_from(["poor", "good"])), ("weight", numbers)):
        found += [Label(label=name, value=draw(values))] if draw(st.booleans()) else []
    found += [Label(label="note", value=text) for text in draw(st.lists(texts, max_size=2))]
    considered = tuple(sorted({x.label for x in found} | set(draw(st.lists(st.sampled_from(list(SCHEMA.labels)))))))
    item = LabelSet(
        log=LOG.digest,
        schema=SCHEMA.digest(),
        annotator=annotator,
        method=method,
        clock="header",
        considered=considered or ("touch",),
        labels=tuple(found),
    )
    return checked(item)


def checked(item: LabelSet) -> LabelSet:
    return validated(item, SCHEMA, span=(T0, END + SLACK_NS), clocks=["header"], where="here")


def same(found: LabelSet, meant: LabelSet) -> bool:
    found = checked(found)
    parts = ("log", "schema", "annotator", "method", "clock", "alignment", "considered", "labels")
    return all(getattr(found, part) == getattr(meant, part) for part in parts)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(item=label_sets() | label_sets("auto.x", Method.AUTOMATIC))
def test_what_is_written_is_read_again_to_the_nanosecond(name: str, item: LabelSet) -> None:
    format = labels.load_format(name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "labels.json"
        done = format.write_labels(file, [item], desk())
        assert (done.labels, done.moved) == (len(item.labels), 0)
        assert labels.detect(file) == name
        read = format.read_labels(file, desk())
        assert read.left_out == {}
        (found,) = read.sets
        assert same(found, item)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_move_boundaries_to_the_nearest_and_say_so(name: str, tmp_path: Path) -> None:
    format = labels.load_format(name)
    exact = Label(label="phase", value="push", start_ns=int(FRAMES[3]), end_ns=int(FRAMES[9]))
    between = Label(
        label="phase", value="rest", start_ns=int(FRAMES[20]) + 5_000_000, end_ns=int(FRAMES[30]) - 9_000_000
    )
    item = LabelSet(log=LOG.digest, schema=SCHEMA.digest(), annotator="ada", clock="header", labels=(exact, between))
    done = format.write_labels(tmp_path / "x.json", [checked(item)], desk(FILMED, by_picture=True))
    assert (done.moved, done.most_ns) == (1, 9_000_000)
    (found,) = format.read_labels(tmp_path / "x.json", desk(FILMED)).sets
    assert found.labels[0].span == exact.span
    assert found.labels[1].span == (int(FRAMES[20]), int(FRAMES[30]))


@pytest.mark.parametrize("name", NAMES)
def test_a_span_shorter_than_a_picture_is_left_out_and_counted_and_takes_no_neighbours(
    name: str, tmp_path: Path
) -> None:
    cuts = [int(FRAMES[3]), int(FRAMES[3]) + 9_000_000, int(FRAMES[4]) - 9_000_000, int(FRAMES[9])]
    values = ("push", "rest", "push")
    said = [
        Label(label="phase", value=value, start_ns=start, end_ns=end)
        for value, (start, end) in zip(values, pairwise(cuts), strict=True)
    ]
    said.append(Label(label="bump", start_ns=cuts[1], end_ns=cuts[1] + 1))
    item = checked(
        LabelSet(log=LOG.digest, schema=SCHEMA.digest(), annotator="ada", clock="header", labels=tuple(said))
    )
    format = labels.load_format(name)
    done = format.write_labels(tmp_path / "x.json", [item], desk(FILMED, by_picture=True))
    assert (done.labels, done.lost, done.moved, done.most_ns) == (3, 1, 3, 9_000_000)
    (found,) = format.read_labels(tmp_path / "x.json", desk(FILMED)).sets
    spans = [x.span for x in checked(found).labels]
    assert (int(FRAMES[3]), int(FRAMES[4])) in spans
    assert (int(FRAMES[4]), int(FRAMES[9])) in spans
    assert (int(FRAMES[3]), int(FRAMES[3]) + 1) in spans, "an instant is shown by the picture before it"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_existing_is_overwritten(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("mine")
    item = checked(LabelSet(log=LOG.digest, schema=SCHEMA.digest(), annotator="ada", clock="header"))
    with pytest.raises(AlreadyExists):
        labels.load_format(name).write_labels(file, [item], desk())
    assert file.read_text() == "mine"


@cache
def text_of(name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return json.dumps(written(name, Path(folder)))


def written(name: str, folder: Path) -> Any:
    item = LabelSet(
        log=LOG.digest,
        schema=SCHEMA.digest(),
        annotator="ada",
        clock="header",
        labels=(
            Label(label="touch", start_ns=T0 + 10**9, end_ns=T0 + 2 * 10**9),
            Label(label="force", value=2.5, start_ns=T0, end_ns=END),
        ),
    )
    file = folder / "x.json"
    labels.load_format(name).write_labels(file, [checked(item)], desk())
    return json.loads(file.read_text())


def swap(tree: Any, old: Any, new: Any) -> Any:
    if isinstance(tree, dict):
        return {k: swap(v, old, new) for k, v in tree.items()}
    if isinstance(tree, list):
        return [swap(v, old, new) for v in tree]
    return new if tree == old and type(tree) is type(old) else tree


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("touch", "smell", "every.v1.0"),
        (LOG.digest, "0" * 64, "a log that is not here"),
        ("every.v1.0", "other.v1.0", "a label file of another schema"),
        (2.5, "much", "finite number|not OpenLABEL"),
        (2.5, None, "finite number|not OpenLABEL"),
        ("ada", 3, "not OpenLABEL"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, old: Any, new: Any, words: str, tmp_path: Path) -> None:
    tree = swap(written(name, tmp_path), old, new)
    if old == LOG.digest:
        tree = swap(swap(tree, "run.mcap", "gone.mcap"), LOG.digest, new)
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(tree))
    if old == "ada" and name == "labelstudio":
        (found,) = labels.load_format(name).read_labels(file, desk()).sets
        assert found.annotator == "labelstudio-3", "a person's number needs no name"
        return
    with pytest.raises(DataRefused, match=words) as caught:
        for item in labels.load_format(name).read_labels(file, desk()).sets:
            checked(item)
    assert str(file) in str(caught.value) or "here" in str(caught.value)


BAD_BYTES = {
    "empty": b"",
    "not utf-8": b'[{"annotations": "\xff\xfe"}]',
    "nan": b'[{"annotations": [{"result": [{"value": {"start": NaN}}]}]}]',
    "infinity": b'{"openlabel": {"metadata": {"schema_version": -Infinity}}}',
    "twice": b'[{"annotations": [], "annotations": []}]',
    "cut": b'[{"annotations": [',
    "deep": b"[" * 100_000,
    "deep objects": b'{"openlabel":' * 50_000,
    "huge number": b'[{"annotations": [], "id": ' + b"9" * 10_000 + b"}]",
    "a number": b"3",
    "another list": b'["annotations"]',
    "another object": b'{"openlabel": 3}',
    "nulls": b'{"openlabel": {"metadata": null}}',
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", BAD_BYTES)
def test_damaged_bytes_are_refused_and_never_crash(name: str, kind: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(BAD_BYTES[kind])
    format = labels.load_format(name)
    format.detect(file)
    with pytest.raises(DataRefused):
        found = format.read_labels(file, desk())
        assert not found.sets
        raise DataRefused("nothing in it")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_larger_than_labels_are_is_not_read(name: str, tmp_path: Path) -> None:
    file = tmp_path / "huge.json"
    with file.open("wb") as out:
        out.truncate(1 << 29)
    with pytest.raises(DataRefused, match="larger than labels are"):
        labels.load_format(name).read_labels(file, desk())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
leaves = st.one_of(json_values, st.sampled_from(["touch", "phase", "start", "0", -1, 1e308, 10**30, "", "\ud800"]))


def paths(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    here = [at]
    if isinstance(tree, dict):
        return here + [p for k, v in tree.items() for p in paths(v, (*at, k))]
    if isinstance(tree, list):
        return here + [p for k, v in enumerate(tree) for p in paths(v, (*at, k))]
    return here


def put(tree: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[at[0]] = put(copy[at[0]], at[1:], value)
    return copy


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_part_of_a_file_may_be_anything_and_is_read_or_refused(name: str, data: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = json.loads(text_of(name))
        for _ in range(data.draw(st.integers(1, 3))):
            tree = put(tree, data.draw(st.sampled_from(paths(tree))), data.draw(leaves))
        file = Path(folder) / "strange.json"
        file.write_text(json.dumps(tree))
        try:
            for item in labels.load_format(name).read_labels(file, desk()).sets:
                checked(item)
        except DataRefused:
            pass


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(data=st.data())
def test_any_part_of_a_file_may_be_anything_at_length(name: str, data: Any) -> None:
    test_any_part_of_a_file_may_be_anything_and_is_read_or_refused.hypothesis.inner_test(name, data)  # type: ignore[attr-defined]


def test_what_no_format_recognises_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"boxes": []}')
    with pytest.raises(DataRefused, match="no label format"):
        labels.detect(file)
    with pytest.raises(DataRefused, match="no label format"):
        labels.detect(tmp_path)
