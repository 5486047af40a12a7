"""Label sets on the record: what is refused, which set counts, what makes one stale, and adjudication."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from worldgate.core.digest import sha256
from worldgate.core.errors import DataRefused, NameRefused, NotFound
from worldgate.data.labelling import catalogue, store
from worldgate.data.labelling.adjudication import between, decide, taken
from worldgate.data.labelling.by_hand import add_label
from worldgate.data.labelling.sets import Label, Method, instant
from worldgate.data.labelling.store import LabelShelf, Stale, adjudicate, all_labels, labels_of, record
from worldgate.record.verify import verify


def test_a_set_is_a_signed_event_that_names_log_schema_annotator_and_clock(bench: Any) -> None:
    log = bench.log("one")
    ref = record(bench.ws, bench.set(log, "ada", bench.span("touch", 1, 2)), actor="tester")
    (event,) = bench.ws.ledger.events(store.RECORDED)
    assert [(r.kind, r.digest) for r in event.inputs] == [("log", log.digest), ("label_schema", bench.ref.digest)]
    assert event.outputs == (ref,)
    assert (event.body["annotator"], event.body["clock"], event.body["method"]) == ("ada", "header", "human")
    assert event.body["counts"]["touch"] == 1
    (held,) = labels_of(bench.ws, log)
    assert held.set.labels == (bench.span("touch", 1, 2),)
    assert verify(bench.ws).ok


def test_every_type_of_value_comes_back_as_it_was(bench: Any) -> None:
    log = bench.log("one")
    labels = (
        bench.span("touch", 1, 2, note="heard it"),
        bench.span("phase", 0, 9.5, "push"),
        Label(label="done", value=False),
        Label(label="grade", value="good"),
        bench.span("force", 1, 2, 1.0),
        instant("bump", bench.span("touch", 3, 4).span[0]),
        bench.span("caption", 0, 1, "stößt den Würfel 🙂"),
        bench.span("caption", 0.5, 1, "again"),
    )
    record(bench.ws, bench.set(log, "ada", *labels))
    (held,) = labels_of(bench.ws, "one")
    assert set(held.set.labels) == set(labels)
    assert {type(x.value) for x in held.set.labels} == {bool, str, float}


T0 = 1_800_000_000_000_000_000


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (Label(label="touhc", value=True, start_ns=T0, end_ns=T0 + 1), "small.v1.0 does not have"),
        (Label(label="touch", value="yes", start_ns=T0, end_ns=T0 + 1), "is true or false"),
        (Label(label="touch", value=False, start_ns=T0, end_ns=T0 + 1), "a span of a flag says yes"),
        (Label(label="phase", value="fly", start_ns=T0, end_ns=T0 + 1), "is one of reach, push, rest"),
        (Label(label="force", value=math.nan, start_ns=T0, end_ns=T0 + 1), "finite number"),
        (Label(label="force", value=True, start_ns=T0, end_ns=T0 + 1), "finite number"),
        (Label(label="force", value=51.0, start_ns=T0, end_ns=T0 + 1), "between 0 and 50 N"),
        (Label(label="touch", start_ns=T0 + 5, end_ns=T0 + 5), "ends after it starts"),
        (Label(label="touch", start_ns=T0 + 5, end_ns=T0 + 2), "ends after it starts"),
        (Label(label="touch", start_ns=T0 - 1, end_ns=T0 + 2), "outside its log"),
        (Label(label="touch", start_ns=T0, end_ns=T0 + 12_000_000_000), "outside its log"),
        (Label(label="touch", start_ns=T0, end_ns=1 << 70), "ends after it starts"),
        (Label(label="touch"), "needs a start and an end"),
        (Label(label="done", start_ns=T0, end_ns=T0 + 1), "of the whole log"),
        (Label(label="bump", start_ns=T0, end_ns=T0 + 2), "of an instant"),
        (Label(label="caption", value="a\0b", start_ns=T0, end_ns=T0 + 1), "too long or binary"),
        (Label(label="caption", value="\ud800", start_ns=T0, end_ns=T0 + 1), "too long or binary"),
        (Label(label="caption", value="x" * 20_001, start_ns=T0, end_ns=T0 + 1), "too long or binary"),
    ],
)
def test_a_label_that_does_not_fit_schema_or_log_is_refused(bench: Any, label: Label, words: str) -> None:
    log = bench.log("one")
    before = bench.ws.ledger.head()
    with pytest.raises(DataRefused, match=words):
        record(bench.ws, bench.set(log, "ada", label))
    assert bench.ws.ledger.head() == before


def test_spans_of_one_label_do_not_overlap_and_a_log_is_judged_once(bench: Any) -> None:
    log = bench.log("one")
    with pytest.raises(DataRefused, match="spans of touch overlap"):
        record(bench.ws, bench.set(log, "ada", bench.span("touch", 1, 3), bench.span("touch", 2.5, 4)))
    with pytest.raises(DataRefused, match="done is said twice"):
        record(bench.ws, bench.set(log, "ada", Label(label="done"), Label(label="done", value=False)))
    record(bench.ws, bench.set(log, "ada", bench.span("touch", 1, 3), bench.span("touch", 3, 4)))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"clock": "publish"}, "no such clock"),
        ({"clock": "rows"}, "name the alignment"),
        ({"clock": "rows", "alignment": "abc"}, "name the alignment"),
        ({"alignment": sha256(b"a")}, "know no alignment"),
        ({"considered": ("phase",)}, "not looked for"),
        ({"considered": ("touch", "smell")}, "does not have"),
        ({"method": Method.ADJUDICATED}, "names the sets it decides between"),
    ],
)
def test_a_set_that_does_not_say_what_it_was_made_on_is_refused(bench: Any, more: Any, words: str) -> None:
    log = bench.log("one")
    with pytest.raises(DataRefused, match=words):
        record(bench.ws, bench.set(log, "ada", bench.span("touch", 1, 3), **more))


def test_an_annotator_needs_a_plain_name_and_a_log_must_be_here(bench: Any) -> None:
    log = bench.log("one")
    with pytest.raises(NameRefused):
        record(bench.ws, bench.set(log, "../ada"))
    with pytest.raises(NotFound, match="no such log"):
        record(bench.ws, replace(bench.set(log, "ada"), log=sha256(b"other")))


def test_the_newest_set_of_an_annotator_counts_and_repeating_it_adds_nothing(bench: Any) -> None:
    log = bench.log("one")
    first = record(bench.ws, bench.set(log, "ada", bench.span("touch", 1, 2)))
    second = record(bench.ws, bench.set(log, "ada", bench.span("touch", 1, 3)))
    head = bench.ws.ledger.head()
    assert record(bench.ws, bench.set(log, "ada", bench.span("touch", 1, 3), source={"file": "x"})) == second
    assert bench.ws.ledger.head() == head
    assert [item.ref for item in labels_of(bench.ws, log)] == [second]
    assert record(bench.ws, bench.set(log, "ada", bench.span("touch", 1, 2))) == first
    assert [item.ref for item in labels_of(bench.ws, log)] == [first], "going back is a new word, too"
    assert len(LabelShelf(bench.ws).every) == 3


def test_labels_on_a_native_clock_survive_realignment_and_labels_on_rows_do_not(bench: Any) -> None:
    log, made, now = bench.log("one"), sha256(b"alignment 1"), sha256(b"alignment 2")
    record(bench.ws, bench.set(log, "ada", bench.span("touch", 1, 2)))
    record(bench.ws, bench.set(log, "bob", bench.span("touch", 1, 2), clock="rows", alignment=made))
    shelf = LabelShelf(bench.ws)
    ada, bob = shelf.of(log.digest)
    assert (shelf.stale(ada, alignment=now), shelf.stale(bob, alignment=made)) == (Stale.NO, Stale.NO)
    assert shelf.stale(bob, alignment=now) is Stale.ALIGNMENT


def test_labels_of_a_log_whose_content_changed_are_not_labels_of_the_new_log(bench: Any) -> None:
    old = bench.log("run", content="before")
    record(bench.ws, bench.set(old, "ada", bench.span("touch", 1, 2)))
    new = bench.log("run", content="after")
    assert labels_of(bench.ws, new) == []
    assert len(labels_of(bench.ws, old)) == 1


def test_a_set_of_a_log_that_is_not_here_is_stale(bench: Any) -> None:
    log = bench.log("one")
    record(bench.ws, bench.set(log, "ada"))
    shelf = LabelShelf(bench.ws, {})
    assert shelf.stale(shelf.every[0]) is Stale.LOG


def test_minor_versions_are_compatible_and_major_ones_are_not(bench: Any) -> None:
    log = bench.log("one")
    record(bench.ws, bench.set(log, "ada", bench.span("touch", 1, 2)))
    minor = catalogue.add(bench.ws, bench.small("1.1", smell={"type": "flag"}))
    major = catalogue.add(bench.ws, bench.small("2.0", bump=None))
    shelf = LabelShelf(bench.ws)
    (item,) = shelf.of(log.digest)
    assert shelf.stale(item, schema=minor) is Stale.NO
    assert shelf.stale(item, schema=major) is Stale.SCHEMA


def test_an_adjudication_names_what_it_decides_and_dies_with_it(bench: Any) -> None:
    log = bench.log("one")
    sets = [bench.set(log, "ada", bench.span("touch", 1, 2)), bench.set(log, "bob", bench.span("touch", 1, 5))]
    ada, bob = (record(bench.ws, item) for item in sets)
    ref = decide(bench.ws, log, bench.ref, {"touch": "bob", "done": "ada"}, by="eve", reason="slow motion")
    (event,) = bench.ws.ledger.events(store.ADJUDICATED)
    assert {r.digest for r in event.inputs[2:]} == {ada.digest, bob.digest}
    assert event.body["source"]["reason"] == "slow motion"
    shelf = LabelShelf(bench.ws)
    final = next(item for item in shelf.of(log.digest) if item.ref == ref)
    assert final.set.labels == (bench.span("touch", 1, 5),)
    assert final.set.considered == ("done", "touch")
    assert not shelf.stale(final)
    record(bench.ws, bench.set(log, "bob", bench.span("touch", 1, 4)))
    shelf = LabelShelf(bench.ws)
    assert shelf.stale(next(i for i in shelf.of(log.digest) if i.ref == ref)) is Stale.INPUTS
    assert ref not in [item.ref for item in labels_of(bench.ws, log)]


def test_an_adjudication_needs_two_sets_that_count(bench: Any) -> None:
    log, other = bench.log("one"), bench.log("two")
    ada = record(bench.ws, bench.set(log, "ada"))
    elsewhere = record(bench.ws, bench.set(other, "bob"))
    final = bench.set(log, "eve")
    with pytest.raises(DataRefused, match="at least two"):
        adjudicate(bench.ws, final, [ada, ada], reason="x")
    with pytest.raises(DataRefused, match="not a label set that counts"):
        adjudicate(bench.ws, final, [ada, elsewhere], reason="x")
    with pytest.raises(DataRefused, match="fewer than two people"):
        decide(bench.ws, log, bench.ref, {"*": "ada"}, by="eve", reason="x")


def test_nobody_can_be_taken_at_a_word_they_did_not_give(bench: Any) -> None:
    log = bench.log("one")
    record(bench.ws, bench.set(log, "ada", considered=("touch",)))
    record(bench.ws, bench.set(log, "bob"))
    items = between(LabelShelf(bench.ws), log.digest, bench.ref)
    with pytest.raises(DataRefused, match="ada did not look for phase"):
        taken(items, {"phase": "ada"}, by="eve", schema=bench.ref)
    with pytest.raises(DataRefused, match="nobody looked for this"):
        taken(items, {"smell": "ada"}, by="eve", schema=bench.ref)


def test_labels_by_hand_add_up_and_only_what_was_added_was_looked_for(bench: Any) -> None:
    log = bench.log("one")

    def add(*args: Any, **more: Any) -> None:
        add_label(bench.ws, log, bench.ref, *args, annotator="ada", **more)

    add("touch", "true", start_s=1.0, end_s=2.0)
    add("bump", "true", start_s=3.25)
    add("force", "2.5", start_s=1.0, end_s=2.0)
    add("done", "false")
    add("done", "true")
    (held,) = labels_of(bench.ws, log)
    assert held.considered == ("bump", "done", "force", "touch")
    assert {x.label: x.value for x in held.set.labels} == {"touch": True, "bump": True, "force": 2.5, "done": True}
    assert held.set.of("bump")[0].span == (T0 + 3_250_000_000, T0 + 3_250_000_001)
    for bad in (("done", "perhaps"), ("force", "much")):
        with pytest.raises(DataRefused):
            add(*bad, start_s=1.0, end_s=2.0)
    with pytest.raises(DataRefused, match="an end without a start"):
        add("touch", "true", end_s=2.0)


def test_every_set_that_counts_can_be_walked_over_with_its_captions(bench: Any) -> None:
    logs = [bench.log(name) for name in ("one", "two")]
    for log in logs:
        record(bench.ws, bench.set(log, "ada", bench.span("caption", 0, 2, f"about {log.name}")))
    found = [(item.log.name, x.value) for item in all_labels(bench.ws) for x in item.set.of("caption")]
    assert found == [("one", "about one"), ("two", "about two")]
