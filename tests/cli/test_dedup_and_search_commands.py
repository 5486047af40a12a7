"""data dedup, data search and contracts about copies, as a user strings them together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.cli import main
from worldgate.core.errors import SplitLeak, UsageError
from worldgate.core.streams import Origin, Stream
from worldgate.data import contracts, datasets
from worldgate.data.duplicates import finding, holding
from worldgate.data.duplicates.rules import Duplicates, Keep, Policy
from worldgate.data.ingest import ingest, ingested
from worldgate.data.logs.mcap import write_log
from worldgate.data.search import by_example
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SECOND = 1_000_000_000
CONTRACT = """
name = "copies"
[streams."observation.state"]
kind = "vector"
[alignment]
rate_hz = 10.0
causal = true
[alignment.default]
policy = "hold"
[splits]
by = "side"
values = { train = ["train"], val = ["val"] }
"""


def motion(seed: int, count: int = 300) -> Any:
    rng = np.random.default_rng(seed)
    times = np.arange(count)[:, None] / 50
    waves = (np.sin(2 * np.pi * (times * rng.uniform(0.2, 0.6, 3) + rng.uniform(0, 1, 3))) for _ in range(3))
    return sum(waves)


Record = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, fakes_stream: Callable[..., Stream]) -> Record:
    def record(name: str, values: Any, *, start_s: int, **facts: Any) -> Path:
        path = tmp_path / f"{name}.mcap"
        times = (1_800_000_000 + start_s) * SECOND + np.arange(len(values), dtype=np.int64) * (SECOND // 50)
        write_log(path, [fakes_stream("observation.state", times, values)], origin=Origin.REAL, facts=facts)
        return path

    return record


@pytest.fixture
def fakes_stream() -> Callable[..., Stream]:
    from worldgate.core.streams import Kind, StreamInfo

    def stream(name: str, times: Any, values: Any) -> Stream:
        info = StreamInfo(name=name, kind=Kind.VECTOR, count=len(times), shape=values.shape[1:], unit="rad")
        return Stream(info=info, times_ns=times, values=values)

    return stream


@pytest.fixture
def copies(write: Record, workspace: Workspace) -> Workspace:
    """Four motions; the first again, cut, an hour later, on the other side and with another success."""
    for seed in range(4):
        side = "train" if seed < 2 else "val"
        ingest(workspace, write(f"run_{seed}", motion(seed), start_s=seed, side=side, success=True, task="reach"))
    ingest(workspace, write("again", motion(0)[60:], start_s=3600, side="val", success=False, task="reach"))
    return workspace


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def test_dedup_names_the_copy_the_kept_one_and_the_conflict(
    copies: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(copies.root)
    report = said(capsys, "data", "dedup", "-w", root)["report"]
    (cluster,) = report["clusters"]
    names = {digest: log.name for digest, log in ingested(copies).items()}
    assert [names[log] for log in cluster["logs"]] == ["run_0.mcap", "again.mcap"]
    assert names[cluster["kept"]] == "run_0.mcap"
    assert [c["what"] for c in cluster["conflicts"]] == ["fact success"]
    assert int(report["matches"][0]["offset_ns"]) == pytest.approx(3598.8 * SECOND, abs=SECOND // 20)
    assert main(["data", "dedup", "-w", root]) == 0
    assert "copies among 5 logs: 1, in 1 groups" in capsys.readouterr().out
    assert len(list(copies.ledger.events(finding.EVENT))) == 1, "the same answer is recorded once"


def test_copies_on_two_sides_of_a_dataset_are_a_leak(
    copies: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "copies.toml"
    file.write_text(CONTRACT)
    datasets.snapshot(copies, contracts.add(copies, contracts.read(file)), name="leaky")
    found = said(capsys, "data", "dedup", "--dataset", "leaky", "-w", str(copies.root), code=4)
    assert [(x["first_split"], x["second_split"]) for x in found["leaks"]] == [("train", "val")]


@pytest.mark.parametrize("policy", ["refuse", "drop", "group", "flag"])
def test_a_contract_says_what_a_snapshot_does_about_copies(copies: Workspace, tmp_path: Path, policy: str) -> None:
    file = tmp_path / "copies.toml"
    text = CONTRACT if policy != "group" else CONTRACT.partition("[splits]")[0]
    file.write_text(f'{text}\n[duplicates]\npolicy = "{policy}"\nkeep = "first"\n')
    contract = contracts.add(copies, contracts.read(file))
    if policy == "refuse":
        with pytest.raises(SplitLeak, match=r"again\.mcap"):
            datasets.snapshot(copies, contract, name="d")
        return
    held = datasets.manifest(copies, datasets.snapshot(copies, contract, name="d").digest)
    split_of = {e.name: e.split for e in held.episodes}
    assert len(split_of) == (4 if policy == "drop" else 5)
    if policy == "group":
        assert split_of["run_0.mcap"] == split_of["again.mcap"]
    if policy == "drop":
        ((why, conflict),) = held.refused.values()
        assert "run_0.mcap" in why
        assert "fact success" in conflict
    assert len(list(copies.ledger.events(finding.EVENT))) == 1


def test_what_an_extended_dataset_holds_is_not_dropped_for_a_longer_copy(copies: Workspace) -> None:
    rules = Duplicates(policy=Policy.DROP, keep=Keep.LONGEST)
    names = {log.name: digest for digest, log in ingested(copies).items()}
    shelf = finding.Shelf(copies)
    assert set(holding.hold(copies, shelf, list(names.values()), rules).left) == {names["again.mcap"]}
    held = {names["again.mcap"]}
    assert set(holding.hold(copies, shelf, list(names.values()), rules, held=held).left) == {names["run_0.mcap"]}


@pytest.mark.parametrize(("keep", "kept"), [("longest", "run_0"), ("first", "run_0"), ("fewest-findings", "run_0")])
def test_policies_keep_one(copies: Workspace, keep: str, kept: str) -> None:
    (cluster,) = finding.find(copies, keep=Keep(keep)).clusters
    assert ingested(copies)[cluster.kept].name == f"{kept}.mcap"


@pytest.fixture
def scenes(workspace: Workspace, tmp_path: Path) -> Workspace:
    """Two scenes with one layout and one with another, each on a side of its own."""
    from worldgate.core.streams import Kind, StreamInfo

    class Images:
        def __init__(self, images: Any) -> None:
            self.images = images

        def __len__(self) -> int:
            return len(self.images)

        def read(self, indices: Any) -> Any:
            return self.images[indices]

        def content_digest(self) -> str:
            return str(self.images.sum())

    layouts = {"train": 0, "val": 0, "third": 1}
    for place, (side, layout) in enumerate(layouts.items()):
        grid = np.random.default_rng(layout).integers(20, 230, (4, 4, 3), dtype=np.uint8)
        images = np.repeat(grid.repeat(16, axis=0).repeat(16, axis=1)[None], 30, axis=0).copy()
        for number, image in enumerate(images):
            image[:6, (7 * number * (place + 1)) % 58 :][:, :6] = 255
        times = (1_800_000_000 + 60 * place) * SECOND + np.arange(30, dtype=np.int64) * (SECOND // 10)
        info = StreamInfo(name="observation.images.front", kind=Kind.IMAGE, count=30, shape=(64, 64, 3))
        camera = Stream(info=info, times_ns=times, values=Images(images))
        write_log(tmp_path / f"{side}.mcap", [camera], origin=Origin.REAL, facts={"side": side})
        ingest(workspace, tmp_path / f"{side}.mcap")
    return workspace


def test_what_an_encoder_finds_alike_is_advice(scenes: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(scenes.root)
    found = said(capsys, "data", "dedup", "--encoder", "pixels", "--alike", "0.8", "-w", root)
    names = {digest: log.name for digest, log in ingested(scenes).items()}
    (like,) = found["alike"]["likenesses"]
    assert {names[like["first"]], names[like["second"]]} == {"train.mcap", "val.mcap"}
    assert [g["kept"] for g in found["alike"]["groups"]] == [""]
    assert found["report"]["matches"] == []
    assert main(["data", "dedup", "--encoder", "pixels", "--alike", "0.8", "-w", root]) == 0
    assert "advice, no proof of a copy" in capsys.readouterr().out
    assert main(["data", "dedup", "--encoder", "no-such-model", "-w", root]) == 2
    assert main(["data", "dedup", "--count-alike", "-w", root]) == 2


def test_likeness_across_splits_counts_only_where_asked(
    scenes: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scenes.toml"
    text = CONTRACT.replace('observation.state"]', 'observation.images.front"]').replace('"vector"', '"image"')
    file.write_text(text.replace('val = ["val"]', 'val = ["val", "third"]'))
    datasets.snapshot(scenes, contracts.add(scenes, contracts.read(file)), name="kitchen")
    asked = ["data", "dedup", "--dataset", "kitchen", "--encoder", "pixels", "--alike", "0.8", "-w", str(scenes.root)]
    found = said(capsys, *asked)
    assert (found["leaks"], len(found["alike_leaks"])) == ([], 1)
    counted = said(capsys, *asked, "--count-alike", code=4)
    assert [g["kept"] != "" for g in counted["alike"]["groups"]] == [True]


def kitchen(scenes: Workspace, tmp_path: Path, section: str) -> Ref:
    """A contract for the scenes, with this said of likeness."""
    file = tmp_path / "scenes.toml"
    text = CONTRACT.replace('observation.state"]', 'observation.images.front"]').replace('"vector"', '"image"')
    text = text.replace('val = ["val"]', 'val = ["val", "third"]')
    file.write_text(f"{text}\n[duplicates.alike]\n{section}\nmatch = {{ least = 0.8 }}\n")
    return contracts.add(scenes, contracts.read(file))


@pytest.mark.parametrize("policy", ["flag", "drop", "refuse"])
def test_a_contract_says_what_a_snapshot_does_about_what_looks_alike(
    scenes: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str
) -> None:
    contract = kitchen(scenes, tmp_path, f'policy = "{policy}"')
    asked = ["snapshot", contract.name, "--name", "d", "-w", str(scenes.root)]
    if policy == "refuse":
        assert main(asked) == 4
        told = capsys.readouterr().err
        assert "look alike stand on both sides" in told and "train.mcap (train" in told and "val.mcap (val" in told
        return
    held = said(capsys, *asked)["manifest"]
    assert sorted(e["name"] for e in held["episodes"]) == [
        "third.mcap", "train.mcap", *(["val.mcap"] if policy == "flag" else [])
    ]  # fmt: skip
    if policy == "drop":
        ((why,),) = held["refused"].values()
        assert "alike by pixels to train.mcap" in why
        assert "observation.images.front" in why
    assert len(list(scenes.ledger.events("duplicates.alike"))) == 1


def test_a_contract_that_does_not_ask_for_likeness_encodes_nothing(scenes: Workspace, tmp_path: Path) -> None:
    held = datasets.snapshot(scenes, kitchen(scenes, tmp_path, 'policy = "ignore"'), name="d")
    assert len(datasets.manifest(scenes, held.digest).episodes) == 3
    assert not list(scenes.ledger.events("duplicates.alike"))


def test_a_world_model_that_a_contract_names_must_be_there(
    scenes: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = kitchen(scenes, tmp_path, 'policy = "flag"\nencoder = "0123456789ab"')
    assert main(["snapshot", contract.name, "--name", "d", "-w", str(scenes.root)]) == 2
    assert "0123456789ab" in capsys.readouterr().err


def test_search_finds_the_span_that_moves_alike(copies: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    hits = said(capsys, "data", "search", "--like", "run_0.mcap", "--from", "2", "--to", "4", "-w", str(copies.root))
    best = hits["hits"][0]
    log = next(x for x in ingested(copies).values() if x.name == "again.mcap")
    assert best["log"] == log.digest
    assert best["score"] > 0.95
    assert (int(best["start_ns"]) - log.span_ns[0]) / SECOND == pytest.approx(0.8, abs=0.25)


def test_words_facts_and_an_example_must_all_hold(copies: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(copies.root)
    found = said(capsys, "data", "search", "--text", "reach", "--where", "success = false", "-w", root)["hits"]
    assert [hit["name"] for hit in found] == ["again.mcap"]
    arguments = ["data", "search", "--like", "run_0.mcap", "--where", "success", "-w", root]
    assert "again.mcap" not in [hit["name"] for hit in said(capsys, *arguments)["hits"]]


@pytest.mark.parametrize("where", ["no_such_column = 1", "true) UNION SELECT content FROM read_text('/etc/passwd'"])
def test_a_condition_that_is_none_is_refused(copies: Workspace, where: str) -> None:
    with pytest.raises(UsageError):
        by_example.search(copies, where=where)


def test_nothing_to_search_for_and_an_empty_example_are_refused(copies: Workspace) -> None:
    with pytest.raises(UsageError, match="nothing to search for"):
        by_example.search(copies)
    log = next(iter(ingested(copies).values()))
    start = log.span_ns[0]
    with pytest.raises(UsageError, match="nothing moves"):
        by_example.search(copies, by_example.Example(log=log.digest, span_ns=(start, start + SECOND // 10)))


def test_a_cluster_keeps_its_split_when_groups_are_joined(copies: Workspace) -> None:
    from worldgate.data.contracts import Splits
    from worldgate.data.splits import assign

    logs = list(ingested(copies).values())
    together = {logs[0].digest: "c", logs[4].digest: "c", logs[1].digest: "d", logs[3].digest: "d"}
    for seed in range(8):
        found = assign(logs, Splits(fractions={"train": 0.5, "val": 0.5}, seed=seed), together=together)
        assert found[logs[0].digest] == found[logs[4].digest]
        assert found[logs[1].digest] == found[logs[3].digest]
        assert set(found.values()) == {"train", "val"}
    with pytest.raises(SplitLeak):
        assign(logs, replace(Splits(), by="side"), together=together)
