"""Lineage: from a decision back to the bytes of a log, and from a log to everything it touched."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from worldgate.core.errors import NotFound
from worldgate.record.events import Ref
from worldgate.record.lineage import backward, forward, made_from, render, upstream
from worldgate.record.workspace import Workspace


@pytest.fixture
def chain(workspace: Workspace, tmp_path: Path) -> dict[str, str]:
    """Log of a tree -> dataset -> model -> evidence -> decision; a second dataset of the same log."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a.mcap").write_bytes(b"x" * 1000)
    tree = workspace.store.put_tree(tmp_path / "run")
    refs = {
        kind: Ref(kind, f"{i}" * 64, name)
        for i, (kind, name) in enumerate(
            {"log": "run", "dataset": "kitchen", "world_model": "m", "evidence": "", "decision": ""}.items(), start=1
        )
    }
    workspace.record("log.ingested", body={"tree": tree}, outputs=[refs["log"]])
    steps = ["log", "dataset", "world_model", "evidence", "decision"]
    for before, after in pairwise(steps):
        bare = Ref(before, refs[before].digest)
        workspace.record(f"{after}.made", body={}, inputs=[bare], outputs=[refs[after]])
    workspace.record("dataset.made", body={}, inputs=[refs["log"]], outputs=[Ref("dataset", "f" * 64, "other")])
    return {**{kind: ref.digest for kind, ref in refs.items()}, "tree": tree}


def test_a_decision_leads_back_to_the_bytes_of_its_logs(workspace: Workspace, chain: dict[str, str]) -> None:
    nodes = list(backward(workspace, chain["decision"]).walk())
    assert [node.ref.kind for node in nodes] == ["decision", "evidence", "world_model", "dataset", "log", "object"]
    assert nodes[-1].ref.digest == chain["tree"]
    assert nodes[-1].size is not None
    assert nodes[-1].size > 1000, "the files of a tree count"
    assert [node.ref.name for node in nodes[2:5]] == ["m", "kitchen", "run"], "names come from whoever made it"


def test_bytes_lead_forward_to_everything_they_touched(workspace: Workspace, chain: dict[str, str]) -> None:
    nodes = list(forward(workspace, chain["tree"]).walk())
    assert [node.ref.kind for node in nodes] == [
        "object",
        "log",
        "dataset",
        "world_model",
        "evidence",
        "decision",
        "dataset",
    ]
    assert {node.ref.name for node in nodes if node.ref.kind == "dataset"} == {"kitchen", "other"}


def test_what_is_reached_twice_is_expanded_once(workspace: Workspace, chain: dict[str, str]) -> None:
    both = workspace.record("x.made", body={}, inputs=[Ref("dataset", chain["dataset"]), Ref("log", chain["log"])])
    nodes = list(backward(workspace, both.digest).walk())
    again = [node for node in nodes if node.repeated]
    assert [node.ref.kind for node in again] == ["log"]
    assert again[0].children == ()


def test_an_event_is_a_starting_point_too(workspace: Workspace, chain: dict[str, str]) -> None:
    (made,) = workspace.ledger.events("decision.made")
    assert [n.ref.kind for n in backward(workspace, made.digest).walk()][:3] == ["event", "evidence", "world_model"]
    assert [n.ref.kind for n in forward(workspace, made.digest).walk()] == ["event", "decision"]


def test_a_circle_ends(workspace: Workspace) -> None:
    a, b = Ref("run", "a" * 64), Ref("run", "b" * 64)
    workspace.record("x.made", body={}, inputs=[a], outputs=[b])
    workspace.record("x.made", body={}, inputs=[b], outputs=[a])
    assert len(list(backward(workspace, a.digest).walk())) == 3
    assert len(list(forward(workspace, a.digest).walk())) == 3


def test_the_text_has_a_line_for_each(workspace: Workspace, chain: dict[str, str]) -> None:
    text = render(backward(workspace, chain["decision"]))
    lines = text.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("decision 555555555555  by decision.made in record 7")
    assert lines[3].strip().startswith("└─ dataset 222222222222 kitchen  by dataset.made in record 4")
    assert lines[5].endswith("bytes")


def test_nothing_known_is_not_found(workspace: Workspace) -> None:
    with pytest.raises(NotFound):
        backward(workspace, "0" * 64)


def test_everything_upstream_is_found_as_it_stood_at_a_record(workspace: Workspace, chain: dict[str, str]) -> None:
    head = workspace.ledger.head().seq
    kinds = ("evidence", "world_model", "dataset", "log")
    all_of_them = {(kind, chain[kind]) for kind in kinds}
    assert upstream(made_from(workspace, [chain["decision"]], upto_seq=head), [chain["decision"]]) == all_of_them
    kinder = [Ref("dataset", "e" * 64)]
    workspace.record("world_model.made", body={"kinder": True}, inputs=kinder, outputs=[Ref("world_model", "3" * 64)])
    then = made_from(workspace, [chain["decision"]], upto_seq=head)
    assert upstream(then, [chain["decision"]]) == all_of_them, "what was learned later"
    both = [chain["decision"], chain["dataset"]]
    now = made_from(workspace, both, upto_seq=head + 1)
    assert upstream(now, both) == all_of_them | {("dataset", "e" * 64)}, "a second maker hides nothing of the first"
