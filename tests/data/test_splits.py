"""Splits: stable, complete, never through a group, and refused when evidence would stand on both sides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.digest import sha256
from worldgate.core.errors import ContractBroken, SplitLeak
from worldgate.core.streams import Kind, Origin
from worldgate.data.contracts import Splits
from worldgate.data.ingest import IngestedLog, StreamSummary
from worldgate.data.splits import assign, quotas, refuse_leaks


def log(name: str, *, content: str = "", evidence: bool = True, **facts: Any) -> IngestedLog:
    stream = StreamSummary(
        name="observation.state",
        kind=Kind.VECTOR,
        count=3,
        shape=(2,),
        unit="",
        clock="log",
        rate_hz=1.0,
        start_ns=0,
        end_ns=2,
        digest=sha256((content or name).encode()),
        evidence=evidence,
    )
    digest = sha256(name.encode())
    return IngestedLog(
        digest=digest,
        name=name,
        source=digest,
        position=0,
        format="mcap",
        origin=Origin.REAL,
        facts=facts,
        streams=(stream,),
    )


@settings(deadline=None)
@given(total=st.integers(0, 200), share=st.floats(0.01, 0.99))
def test_quotas_are_whole_complete_and_within_one_of_the_share(total: int, share: float) -> None:
    counts = quotas(total, {"train": share, "val": 1 - share})
    assert sum(counts.values()) == total
    assert all(count >= 0 for count in counts.values())
    if total >= 2:
        assert all(counts.values())
    assert abs(counts["train"] - total * share) <= 1


@settings(deadline=None, max_examples=50)
@given(order=st.permutations(range(12)), seed=st.integers(0, 5))
def test_a_split_depends_on_content_and_seed_and_not_on_order(order: list[int], seed: int) -> None:
    logs = [log(f"run{i}") for i in range(12)]
    splits = Splits(fractions={"train": 0.75, "val": 0.25}, seed=seed)
    found = assign([logs[i] for i in order], splits)
    assert found == assign(logs, splits)
    assert sorted(found.values()).count("val") == 3
    assert set(found) == {item.digest for item in logs}


def test_another_seed_gives_another_split() -> None:
    logs = [log(f"run{i}") for i in range(20)]
    assert len({tuple(sorted(assign(logs, Splits(seed=seed)).items())) for seed in range(5)}) > 1


@settings(deadline=None, max_examples=50)
@given(days=st.lists(st.integers(0, 4), min_size=2, max_size=20), seed=st.integers(0, 9))
def test_a_group_never_straddles(days: list[int], seed: int) -> None:
    logs = [log(f"run{i}", day=f"day{day}") for i, day in enumerate(days)]
    found = assign(logs, Splits(group="day", seed=seed))
    sides = {day: {found[item.digest] for item in logs if item.facts["day"] == f"day{day}"} for day in set(days)}
    assert all(len(side) == 1 for side in sides.values())


def test_a_fact_may_decide_the_split() -> None:
    logs = [log("a", site="lab"), log("b", site="kitchen"), log("c", site="lab")]
    splits = Splits(by="site", values={"train": ("lab",), "val": ("kitchen",)})
    found = assign(logs, splits)
    assert [found[item.digest] for item in logs] == ["train", "val", "train"]
    with pytest.raises(ContractBroken, match="garage"):
        assign([log("d", site="garage")], splits)
    with pytest.raises(ContractBroken, match="without the fact"):
        assign([log("e")], splits)


def test_a_group_that_a_fact_would_tear_apart_is_a_leak() -> None:
    logs = [log("a", site="lab", day="1"), log("b", site="kitchen", day="1")]
    splits = Splits(by="site", group="day", values={"train": ("lab",), "val": ("kitchen",)})
    with pytest.raises(SplitLeak, match="day 1"):
        assign(logs, splits)


def test_the_same_evidence_on_both_sides_is_refused_with_both_names() -> None:
    logs = [log("a", content="same"), log("b", content="same")]
    split_of = {logs[0].digest: "train", logs[1].digest: "val"}
    with pytest.raises(SplitLeak) as caught:
        refuse_leaks(logs, split_of)
    message = str(caught.value)
    assert all(word in message for word in ("observation.state of", "a (train", "b (val", "splits.group"))
    assert caught.value.exit_code == 4
    refuse_leaks(logs, dict.fromkeys(split_of, "train"))


def test_streams_that_say_nothing_are_no_leak() -> None:
    logs = [log("a", content="zeros", evidence=False), log("b", content="zeros", evidence=False)]
    refuse_leaks(logs, {logs[0].digest: "train", logs[1].digest: "val"})
