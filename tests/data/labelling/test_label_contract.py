"""A contract's word on labels: every finding that refuses, and what settles it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worldgate.core.digest import sha256
from worldgate.core.errors import ConfigError
from worldgate.data import contracts
from worldgate.data.check import check, reasons
from worldgate.data.ingest import ingest, ingested
from worldgate.data.labelling import catalogue
from worldgate.data.labelling.adjudication import decide
from worldgate.data.labelling.judge import LabelJudge
from worldgate.data.labelling.sets import Label
from worldgate.data.labelling.store import record


def contract(**labels: Any) -> Any:
    tree = {
        "name": "c",
        "streams": {"observation.force": {"kind": "vector"}},
        "alignment": {"rate_hz": 10.0},
        "labels": labels,
    }
    return contracts.from_tree(tree, where="c.toml")


def said(bench: Any, log: Any, **labels: Any) -> list[str]:
    known = ingested(bench.ws)
    judge = LabelJudge(bench.ws, contract(**labels), known)
    found = list(judge.findings(known[log.digest]))
    assert all(f.check == "contract" and f.value != f.limit for f in found)
    return [f.message for f in found]


def full(bench: Any, log: Any, who: str, *, touch: Any = ((1, 2), (4, 5)), done: bool = True, **more: Any) -> Any:
    labels = [bench.span("touch", a, b) for a, b in touch]
    labels += [bench.span("phase", 0, 5, "reach"), bench.span("phase", 5, 10, "push"), Label(label="done", value=done)]
    return record(bench.ws, bench.set(log, who, *labels, **more))


def test_a_contract_that_asks_nothing_of_labels_finds_nothing(bench: Any) -> None:
    assert said(bench, bench.log("one")) == []


def test_missing_annotators_refuse_label_by_label(bench: Any) -> None:
    log = bench.log("one")
    assert set(said(bench, log, schema="small")) == {
        "touch was labelled by 0 of 2 annotators",
        "phase was labelled by 0 of 1 annotators",
        "done was labelled by 0 of 2 annotators",
    }
    full(bench, log, "ada")
    assert set(said(bench, log, schema="small")) == {
        "touch was labelled by 1 of 2 annotators",
        "done was labelled by 1 of 2 annotators",
    }
    full(bench, log, "ada", touch=[(1, 2)])
    assert len(said(bench, log, schema="small")) == 2, "the same person twice is one annotator"
    full(bench, log, "bob", touch=[(1, 2)])
    assert said(bench, log, schema="small") == []
    assert said(bench, log, schema="small", annotators=3)[0].endswith("2 of 3 annotators")


def test_a_labeller_is_no_annotator_but_makes_a_label_present(bench: Any) -> None:
    log = bench.log("one")
    record(bench.ws, bench.set(log, "auto.touch", considered=("touch",), method="automatic"))
    assert said(bench, log, present=["small/touch"]) == []
    assert said(bench, log, present=["small/bump"]) == ["nobody and no labeller looked for small/bump"]
    assert "touch was labelled by 0 of 2 annotators" in said(bench, log, schema="small.v1.0", present=["touch"])


def test_a_schema_that_nobody_recorded_refuses(bench: Any) -> None:
    assert said(bench, bench.log("one"), schema="manipulation") == ["no label was made under the schema manipulation"]


def test_disagreement_on_spans_refuses_until_somebody_decides_and_again_when_a_set_changes(bench: Any) -> None:
    log = bench.log("one")
    full(bench, log, "ada", touch=[(1, 2)])
    full(bench, log, "bob", touch=[(6, 9)])
    alpha, f1 = said(bench, log, schema="small")
    assert alpha.startswith("alpha of touch between ada, bob is -0.")
    assert alpha.endswith("not 0.6; nobody adjudicated")
    assert f1 == "segment F1 of touch between ada and bob is 0.000, not 0.5; nobody adjudicated"
    decide(bench.ws, log, bench.ref, {"*": "ada"}, by="eve", reason="seen")
    assert said(bench, log, schema="small") == []
    full(bench, log, "bob", touch=[(6, 8)])
    assert all("eve's adjudication no longer counts: the sets it" in text for text in said(bench, log, schema="small"))


def test_a_third_annotator_reopens_what_was_decided_between_two(bench: Any) -> None:
    log = bench.log("one")
    full(bench, log, "ada", touch=[(1, 2)])
    full(bench, log, "bob", touch=[(6, 9)])
    decide(bench.ws, log, bench.ref, {"*": "ada"}, by="eve", reason="seen")
    full(bench, log, "cy", touch=[(3, 4)])
    assert any("it decided between other sets" in text for text in said(bench, log, schema="small"))


def test_the_contract_may_ask_more_than_the_schema_and_never_less(bench: Any) -> None:
    log = bench.log("one")
    full(bench, log, "ada", touch=[(1, 2), (4, 5.04)])
    full(bench, log, "bob", touch=[(1, 2), (4, 5)])
    assert said(bench, log, schema="small", least_alpha=0.1, least_f1=0.1) == []
    (found,) = said(bench, log, schema="small", least_alpha=0.99)
    assert "not 0.99" in found


def test_a_disputed_log_refuses_and_so_does_alpha_over_all_logs(bench: Any) -> None:
    logs = [bench.log(f"log{k}") for k in range(8)]
    for k, log in enumerate(logs):
        full(bench, log, "ada", done=k % 2 == 0)
        full(bench, log, "bob", done=k % 2 == 0 if k else False)
    assert said(bench, logs[1], schema="small") == []
    (found,) = said(bench, logs[0], schema="small")
    assert found == "done is disputed: ada True; bob False; nobody adjudicated"
    for log in logs[1:5]:
        full(bench, log, "bob", done=True)
    assert any("alpha of done over all logs is" in text for text in said(bench, logs[6], schema="small"))


def test_perfect_agreement_that_never_varies_is_not_below_any_alpha(bench: Any) -> None:
    log = bench.log("one")
    for who in ("ada", "bob"):
        full(bench, log, who, touch=[])
    assert said(bench, log, schema="small", least_alpha=1.0, least_f1=1.0) == []


def test_looking_and_saying_nothing_of_a_whole_log_is_no_answer(bench: Any) -> None:
    log = bench.log("one")
    full(bench, log, "ada")
    record(
        bench.ws,
        bench.set(log, "bob", bench.span("touch", 1, 2), bench.span("touch", 4, 5), considered=("touch", "done")),
    )
    assert said(bench, log, schema="small") == ["bob looked for done and said nothing; nobody adjudicated"]


def test_too_little_coverage_refuses_with_the_gaps_as_evidence(bench: Any) -> None:
    log = bench.log("one")
    for who in ("ada", "bob"):
        labels = [bench.span("touch", 1, 2), bench.span("phase", 0, 5, "reach"), Label(label="done")]
        record(bench.ws, bench.set(log, who, *labels))
    known = ingested(bench.ws)
    judge = LabelJudge(bench.ws, contract(schema="small"), known)
    found = [f for f in judge.findings(known[log.digest]) if "covers" in f.message]
    assert [f.message for f in found] == [f"phase by {who} covers 0.500 of the log, not 0.9" for who in ("ada", "bob")]
    ((start, end),) = found[0].spans_ns
    assert ((end - start) / 1e9, found[0].value) == pytest.approx((5.0, 0.5))


def test_labels_on_rows_of_another_alignment_are_stale_and_the_finding_says_so(bench: Any) -> None:
    log, wanted = bench.log("one"), contract(schema="small").spec().digest()
    for who in ("ada", "bob"):
        full(bench, log, who, clock="rows", alignment=wanted)
    assert said(bench, log, schema="small") == []
    full(bench, log, "bob", clock="rows", alignment=sha256(b"another"))
    found = said(bench, log, schema="small")
    assert (
        "touch was labelled by 1 of 2 annotators; 1 more no longer count: it was made on rows of another"
        in found[0] + found[1]
    )


def test_labels_of_a_log_that_was_replaced_are_missed_by_name(bench: Any) -> None:
    old = bench.log("run", content="before")
    full(bench, old, "ada")
    new = bench.log("run", content="after")
    assert any(
        f"labels of run are of other content ({old.digest[:12]})" in text for text in said(bench, new, schema="small")
    )


def test_labels_under_an_incompatible_schema_do_not_count(bench: Any) -> None:
    log = bench.log("one")
    for who in ("ada", "bob"):
        full(bench, log, who)
    catalogue.add(bench.ws, bench.small("2.0", bump=None))
    assert said(bench, log, schema="small.v1.0") == []
    found = said(bench, log, schema="small")
    assert len(found) == 3
    assert all("2 more no longer count: it was made under a schema that is not compatible" in text for text in found)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"annotators": 2}, "of a schema"),
        ({"present": ["touch"]}, "of a schema"),
        ({"schema": "small", "least_alpha": 1.5}, "from 0 to 1"),
        ({"schema": "small", "annotators": -1}, "from 0"),
        ({"schmea": "small"}, "unknown key"),
    ],
)
def test_a_contract_can_only_ask_what_can_be_held(labels: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        contract(**labels)


def test_labels_that_come_later_change_the_verdict_of_the_check_stage(
    workspace: Any, record_log: Callable[..., Path], contract_file: Path, bench: Any
) -> None:
    text = contract_file.read_text().replace("[labels]", '[labels]\nschema = "small"\nleast_f1 = 0.5')
    contract_file.write_text(text)
    (ref,) = ingest(workspace, record_log(1))
    held = contracts.add(workspace, contracts.read(contract_file))
    (before,) = check(workspace, [ref], held)
    assert not before.accepted
    assert any("touch was labelled by 0 of 2 annotators" in text for text in reasons([before]))
    start, end = ingested(workspace)[ref.digest].span_ns
    for who in ("ada", "bob"):
        labels = (
            Label(label="touch", start_ns=start, end_ns=start + 1_000_000_000),
            Label(label="phase", value="push", start_ns=start, end_ns=end),
            Label(label="done"),
        )
        record(workspace, bench.set(ref, who, *labels, clock="log"))
    (after,) = check(workspace, [ref], held)
    assert after.accepted
