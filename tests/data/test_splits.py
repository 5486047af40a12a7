"""Splits: stable, complete, never through a group, and refused when evidence would stand on both sides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.digest import sha256
from worldgate.core.errors import ConfigError, ContractBroken, SplitLeak
from worldgate.core.streams import Kind, Origin
from worldgate.data.contracts import Splits
from worldgate.data.ingest import IngestedLog, StreamSummary
from worldgate.data.splits import assign, quotas, refuse_leaks, sessions


def log(
    name: str, *, content: str = "", evidence: bool = True, start_ns: int = 0, robot: str = "", **facts: Any
) -> IngestedLog:
    stream = StreamSummary(
        name="observation.state",
        kind=Kind.VECTOR,
        count=3,
        shape=(2,),
        unit="",
        clock="log",
        rate_hz=1.0,
        start_ns=start_ns,
        end_ns=start_ns + 2,
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
        robot=robot,
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


@settings(deadline=None, max_examples=50)
@given(first=st.integers(1, 12), more=st.integers(0, 12), seed=st.integers(0, 5))
def test_a_dataset_that_grows_moves_no_log_to_another_split(first: int, more: int, seed: int) -> None:
    splits = Splits(fractions={"train": 0.7, "val": 0.3}, seed=seed)
    logs = [log(f"run{i}") for i in range(first + more)]
    before = assign(logs[:first], splits)
    after = assign(logs, splits, before=before)
    assert {digest: after[digest] for digest in before} == before
    assert set(after) == {item.digest for item in logs}
    if more > 3 * first:
        assert abs(list(after.values()).count("val") - 0.3 * len(logs)) <= 1


def test_growth_cannot_tear_a_group_whose_parts_judged_and_taught() -> None:
    logs = [log("a", kitchen="one"), log("b", kitchen="one")]
    before = {logs[0].digest: "train", logs[1].digest: "val"}
    with pytest.raises(SplitLeak, match="kitchen one stands in train and val"):
        assign(logs, Splits(group="kitchen"), before=before)


DAY = 86_400_000_000_000
MONDAY = 1_800_000_000_000_000_000


def test_a_split_by_time_puts_later_logs_on_the_judging_side() -> None:
    splits = Splits(by="time", since={"val": "2027-01-17T00:00:00Z"})
    logs = [log(f"day{i}", start_ns=MONDAY + i * DAY) for i in range(4)]
    found = assign(logs, splits)
    assert [found[item.digest] for item in logs] == ["train", "train", "val", "val"]


def test_a_log_that_runs_across_the_date_is_a_leak_and_one_without_a_date_is_refused() -> None:
    splits = Splits(by="time", since={"val": "2027-01-15T08:00:00.000000001Z"})
    with pytest.raises(SplitLeak, match="runs from train into val"):
        assign([log("across", start_ns=MONDAY)], splits)
    with pytest.raises(ContractBroken, match="no dates"):
        assign([log("boot-time", start_ns=5)], splits)


def test_sessions_are_found_by_breaks_and_kept_together() -> None:
    minute = 60_000_000_000
    starts = {"left": [0, 10, 20, 200, 205], "right": [0, 300]}
    logs = [
        log(f"{robot}{at}", start_ns=MONDAY + at * minute, robot=robot) for robot, all_ in starts.items() for at in all_
    ]
    found = [sorted(item.name for item in members) for members in sessions(logs, 1800.0).values()]
    assert sorted(found) == [["left0", "left10", "left20"], ["left200", "left205"], ["right0"], ["right300"]]
    split_of = assign(logs, Splits(group="session", fractions={"train": 0.5, "val": 0.5}))
    assert len({split_of[item.digest] for item in logs if item.name in ("left0", "left10", "left20")}) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"by": "time"}, {"since": {"val": "2027-01-01"}}, {"by": "time", "since": {"train": "2027-01-01T00:00:00Z"}}],
)
def test_a_split_by_time_is_written_whole_or_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Splits(**wrong)
