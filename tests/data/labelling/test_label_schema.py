"""Label schemas: what can be written, which version a change needs, and labels across a break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.errors import AlreadyExists, ConfigError, DataRefused, NotFound
from worldgate.data.labelling import catalogue
from worldgate.data.labelling.changes import Step, compare, needed, refuse_misnumbered
from worldgate.data.labelling.migration import Mapped, Move, migrate, migrate_all, read_mapping
from worldgate.data.labelling.schema import from_tree, read, shipped
from worldgate.data.labelling.sets import Label, Method
from worldgate.data.labelling.store import LabelShelf, adjudicate, labels_of, record


def schema(**labels: Any) -> Any:
    version = labels.pop("version", "1.0")
    return from_tree({"name": "s", "version": version, "labels": labels}, where="s.toml")


FLAG = {"type": "flag"}


def test_the_shipped_schemas_read_and_are_recorded_once(workspace: Any) -> None:
    assert {"automatic", "manipulation"} <= set(shipped())
    for name in shipped():
        found = read(name)
        ref = catalogue.find(workspace, name)
        assert (ref.name, ref.digest) == (found.title, found.digest())
        assert catalogue.find(workspace, name) == catalogue.find(workspace, found.title) == ref
        assert catalogue.load(workspace, ref.digest) == found
    assert len(list(workspace.ledger.events(catalogue.EVENT))) == len(shipped())


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"x": {"type": "flag", "vlaues": ["a"]}}, "unknown key"),
        ({"x": {"type": "category"}}, "a category lists its values"),
        ({"x": {"type": "flag", "values": ["a"]}}, "a category lists its values"),
        ({"x": {"type": "category", "values": ["a", "a"]}}, "values must differ"),
        ({"x": {"type": "flag", "ordered": True}}, "only a category"),
        ({"x": {"type": "flag", "unit": "m"}}, "only a number has a unit"),
        ({"x": {"type": "number", "unit": "meters"}}, "not a known unit"),
        ({"x": {"type": "number", "range": [2, 1]}}, "from high to low"),
        ({"x": {"type": "flag", "least_f1": 1.5}}, "between 0 and 1"),
        ({"x": {"type": "flag", "extent": "log", "least_f1": 0.5}}, "segment F1 is for spans"),
        ({"x": {"type": "flag", "extent": "instant", "coverage": 0.5}}, "coverage is for spans"),
        ({"x": {"type": "text", "least_alpha": 0.5}}, "free text has none"),
        ({"x": {"type": "flag", "extent": "instant", "least_alpha": 0.5}}, "whole logs and of spans"),
        ({"x": {"type": "flag", "annotators": -1}}, "below zero"),
        ({"../x": FLAG}, "not a usable name"),
        ({}, "a schema without labels"),
    ],
)
def test_a_schema_that_asks_for_what_cannot_be_is_an_error_that_names_the_key(labels: Any, words: str) -> None:
    with pytest.raises((ConfigError, Exception), match=words) as caught:
        schema(**labels)
    assert caught.value.exit_code == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", ["1", "1.", "01.0", "1.0.0", "-1.0", "1.x", "v1.0", "1.999999"])
def test_a_version_is_major_dot_minor(version: str) -> None:
    with pytest.raises(ConfigError, match="not a version"):
        schema(x=FLAG, version=version)


def test_a_file_that_is_no_schema_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("name = [")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read(file)
    with pytest.raises(NotFound, match="no such label schema"):
        read("nothing")


AB = {"type": "category", "values": ["a", "b"]}


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ({"x": FLAG}, {"x": FLAG}, Step.NONE),
        ({"x": FLAG}, {"x": FLAG, "y": FLAG}, Step.MINOR),
        ({"x": AB}, {"x": {"type": "category", "values": ["a", "b", "c"]}}, Step.MINOR),
        ({"x": AB}, {"x": {"type": "category", "values": ["b", "a"]}}, Step.NONE),
        ({"x": FLAG}, {"x": {"type": "flag", "annotators": 3, "about": "more"}}, Step.MINOR),
        ({"x": FLAG}, {"x": {"type": "flag", "overlap": True}}, Step.MINOR),
        ({"x": {"type": "number", "range": [0, 1]}}, {"x": {"type": "number", "range": [0, 2]}}, Step.MINOR),
        ({"x": {"type": "number", "range": [0, 1]}}, {"x": {"type": "number"}}, Step.MINOR),
        ({"x": {"type": "number"}}, {"x": {"type": "number", "range": [0, 2]}}, Step.MAJOR),
        ({"x": FLAG, "y": FLAG}, {"x": FLAG}, Step.MAJOR),
        ({"x": FLAG}, {"y": FLAG}, Step.MAJOR),
        ({"x": AB}, {"x": {"type": "category", "values": ["a", "c"]}}, Step.MAJOR),
        ({"x": FLAG}, {"x": {"type": "text"}}, Step.MAJOR),
        ({"x": FLAG}, {"x": {"type": "flag", "extent": "log"}}, Step.MAJOR),
        ({"x": {"type": "number", "unit": "m"}}, {"x": {"type": "number", "unit": "mm"}}, Step.MAJOR),
        ({"x": {"type": "flag", "overlap": True}}, {"x": FLAG}, Step.MAJOR),
        (
            {"x": {**AB, "ordered": True}},
            {"x": {"type": "category", "values": ["b", "a"], "ordered": True}},
            Step.MAJOR,
        ),
    ],
)
def test_a_change_is_compatible_or_breaks_and_a_function_says_which(old: Any, new: Any, step: Step) -> None:
    before, after = schema(**old), schema(**new)
    assert needed(before, after) is step
    assert (compare(before, after) == ()) == (step is Step.NONE and list(old) == list(new))


def test_the_order_of_an_unordered_category_may_change_only_in_the_digest() -> None:
    before, after = schema(x=AB), schema(x={"type": "category", "values": ["b", "a"]})
    assert compare(before, after) == ()
    assert before.digest() != after.digest()


def test_a_version_number_that_hides_a_break_is_refused(workspace: Any) -> None:
    catalogue.add(workspace, schema(x=FLAG, y=FLAG))
    with pytest.raises(ConfigError, match=r"a major change of s under version 1\.1") as caught:
        catalogue.add(workspace, schema(x=FLAG, version="1.1"))
    assert '"2.0"' in str(caught.value)
    with pytest.raises(AlreadyExists, match="another label schema"):
        catalogue.add(workspace, schema(x=FLAG))
    catalogue.add(workspace, schema(x=FLAG, version="2.0"))
    catalogue.add(workspace, schema(x=FLAG, y=FLAG, z=FLAG, version="1.1"))
    assert catalogue.find(workspace, "s").name == "s.v2.0"
    with pytest.raises(ConfigError, match=r"a minor change of s under version 1\.0"):
        refuse_misnumbered(schema(x=FLAG), schema(x=FLAG, y=FLAG))


names = st.sampled_from("abcde")
rules = st.sampled_from([FLAG, AB, {"type": "text"}, {"type": "number"}, {"type": "flag", "extent": "log"}])
vocabularies = st.dictionaries(names, rules, min_size=1, max_size=4)


@given(vocabularies, vocabularies)
@settings(max_examples=100, deadline=None)
def test_adding_is_never_a_break_and_what_is_taken_away_always_is(old: Any, new: Any) -> None:
    union = {**new, **old}
    assert needed(schema(**old), schema(**union)) in (Step.NONE, Step.MINOR)
    assert (needed(schema(**union), schema(**old)) is Step.MAJOR) == (set(union) != set(old))
    assert needed(schema(**old), schema(**old)) is Step.NONE


MAPPING = """
schema = "small"
before = "1.0"
after = "2.0"

[[moves]]
label = "touch"
to = "contact"

[[moves]]
label = "phase"
value = "rest"
to = "idle"
to_value = true

[[moves]]
label = "force"
to = "force_mn"
factor = 1000.0

[[moves]]
label = "grade"
drop = true
"""


def second(bench: Any) -> Any:
    return bench.small(
        "2.0",
        touch=None,
        grade=None,
        force=None,
        contact={"type": "flag"},
        idle={"type": "flag"},
        force_mn={"type": "number", "range": [0, 50_000]},
        phase={"type": "category", "values": ["reach", "push"]},
    )


def test_labels_move_across_a_break_by_the_mapping(bench: Any, tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text(MAPPING)
    log = bench.log("one")
    labels = [
        bench.span("touch", 1, 2),
        bench.span("phase", 0, 1, "reach"),
        bench.span("phase", 1, 2, "rest"),
        bench.span("force", 1, 2, 2.5),
        Label(label="grade", value="good"),
        Label(label="done"),
    ]
    ada = record(bench.ws, bench.set(log, "ada", *labels))
    bob = record(bench.ws, bench.set(log, "bob", considered=("touch", "phase")))
    final = adjudicate(bench.ws, bench.set(log, "eve", *labels[:1]), [ada, bob], reason="x")
    new = catalogue.add(bench.ws, second(bench))
    moved = migrate_all(bench.ws, bench.ref, new, read_mapping(file))
    assert len(moved) == 3
    shelf = LabelShelf(bench.ws)
    held = {item.annotator: item for item in labels_of(bench.ws, log)}
    assert all(not shelf.stale(item, schema=new) for item in held.values())
    said = {(x.label, x.value) for x in held["ada"].set.labels}
    assert said == {("contact", True), ("phase", "reach"), ("idle", True), ("force_mn", 2500.0), ("done", True)}
    assert set(held["bob"].considered) == {"contact", "phase", "idle"}
    assert held["eve"].method is Method.ADJUDICATED
    assert set(held["eve"].inputs) == {held["ada"].ref.digest, held["bob"].ref.digest}
    assert ada.digest in held["ada"].inputs
    assert final.digest not in {item.ref.digest for item in held.values()}


def test_what_the_mapping_leaves_out_is_refused_not_lost(bench: Any) -> None:
    log = bench.log("one")
    new = second(bench)
    item = bench.set(log, "ada", bench.span("phase", 0, 1, "rest"))
    with pytest.raises(DataRefused, match="phase is one of reach, push"):
        migrate(item, bench.schema, new, Mapped(schema="small", before="1.0", after="2.0"))
    with pytest.raises(DataRefused, match="does not have"):
        gone = bench.set(log, "ada", bench.span("touch", 0, 1))
        migrate(gone, bench.schema, new, Mapped(schema="small", before="1.0", after="2.0"))


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        (Mapped(schema="other", before="1.0", after="2.0"), "between other schemas"),
        (Mapped(schema="small", before="1.0", after="3.0"), "between other schemas"),
        (Mapped(schema="small", before="1.0", after="2.0", moves=(Move(label="smell"),)), "old schema lacks"),
        (
            Mapped(schema="small", before="1.0", after="2.0", moves=(Move(label="touch", to="smell"),)),
            "new schema lacks",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(bench: Any, mapping: Mapped, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        migrate(bench.set(bench.log("one"), "ada"), bench.schema, second(bench), mapping)
