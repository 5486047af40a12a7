"""SQL and text over the record: right answers, and no way out of the box they run in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import UsageError
from worldgate.core.streams import Kind, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data import contracts, datasets
from worldgate.data.ingest import ingest
from worldgate.data.logs import mcap
from worldgate.data.search.query import query
from worldgate.data.search.tables import SCHEMAS, table
from worldgate.data.search.text import search
from worldgate.record.workspace import Workspace

START = 1_800_000_000 * SECOND
TASKS = ("pick up the red cup", "push the block into the bay", "picking cups from the shelf")


def write(path: Path, number: int, **facts: Any) -> Path:
    times = START + np.arange(50, dtype=np.int64) * (SECOND // 50)
    values = np.column_stack([np.sin(times / SECOND + number), np.full(50, float(number))])
    if number == 2:
        values[10:20, 0] = np.nan
    info = StreamInfo(name="observation.state", kind=Kind.VECTOR, count=50, shape=(2,), unit="rad")
    mcap.write_log(path, [Stream(info=info, times_ns=times, values=values)], origin=Origin.SIMULATED, facts=facts)
    return path


@pytest.fixture
def filled(workspace: Workspace, tmp_path: Path) -> Workspace:
    for number, task in enumerate(TASKS):
        ingest(workspace, write(tmp_path / f"run{number}.mcap", number, task=task, success=number != 1), site="hall")
    tree = {
        "name": "hall",
        "origins": ["simulated"],
        "streams": {"observation.state": {"kind": "vector"}},
        "alignment": {"rate_hz": 10.0},
        "checks": {"finite": {}},
        "splits": {"fractions": {"train": 1.0}},
    }
    contract = contracts.add(workspace, contracts.from_tree(tree, where="test"))
    datasets.snapshot(workspace, contract, name="hall-1")
    return workspace


def test_sql_joins_what_the_record_knows(filled: Workspace) -> None:
    found = query(
        filled,
        "SELECT l.name, s.unit, f.value FROM logs l JOIN streams s USING (log) JOIN facts f USING (log) "
        "WHERE NOT l.success AND f.fact = 'task' AND l.start > '2027-01-01'",
    )
    assert found.rows == (("run1.mcap", "rad", TASKS[1]),)
    assert query(filled, "SELECT name FROM logs WHERE facts['success'] = 'false'").rows == (("run1.mcap",),)
    findings = query(filled, "SELECT \"check\", end_ns - start_ns FROM findings WHERE severity = 'refuse'")
    assert findings.rows == (("finite", SECOND // 5),)
    assert query(filled, "SELECT count(*) FROM episodes JOIN datasets USING (dataset)").rows == ((2,),)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_table_answers_in_an_empty_workspace_too(workspace: Workspace, name: str) -> None:
    assert table(workspace, name).schema == SCHEMAS[name]
    assert query(workspace, f"SELECT * FROM {name}").rows == ()


def test_no_more_rows_come_than_asked_for(filled: Workspace) -> None:
    found = query(filled, "SELECT * FROM range(100)", most=7)
    assert (len(found.rows), found.more) == (7, True)
    assert not query(filled, "SELECT * FROM range(7)", most=7).more


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('{root}/worldgate.toml')",
        "SELECT * FROM '{root}/ledger.db'",
        "COPY (SELECT 1) TO '{root}/out.csv'",
        "ATTACH '{root}/ledger.db' AS l",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "INSTALL httpfs",
        "LOAD '{root}/x.duckdb_extension'",
        "EXPORT DATABASE '{root}/x'",
        "SELECT * FROM glob('{root}/*')",
        "SELECT getenv('HOME')",
        "CREATE SECRET s (TYPE s3)",
        "SELECT * FROM nowhere",
        "not sql at all",
        "",
    ],
)
def test_a_query_reaches_nothing_outside_and_says_what_there_is(filled: Workspace, sql: str) -> None:
    before = sorted(filled.root.iterdir())
    if not sql:
        assert query(filled, sql).rows == ()
        return
    with pytest.raises(UsageError, match="cannot be answered"):
        query(filled, sql.format(root=filled.root))
    assert sorted(filled.root.iterdir()) == before


def test_a_query_changes_nothing_of_the_record(filled: Workspace) -> None:
    with pytest.raises(UsageError):
        query(filled, "DELETE FROM logs")
    query(filled, "CREATE TABLE logs2 AS SELECT * FROM logs")
    assert query(filled, "SELECT count(*) FROM logs").rows == ((3,),)


def test_a_query_without_end_is_stopped(filled: Workspace) -> None:
    with pytest.raises(UsageError, match="longer than"):
        query(
            filled,
            "SELECT count(*) FROM range(10000000) a, range(9999999) b WHERE a.range * b.range = 7",
            seconds=0.5,
        )


def test_text_finds_other_forms_of_a_word_and_ranks_the_better_match_first(filled: Workspace) -> None:
    found = search(filled, "cups picked")
    assert {hit.name for hit in found} == {"run0.mcap", "run2.mcap"}
    assert all(hit.field == "fact task" for hit in found)
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert [hit.name for hit in search(filled, "block")] == ["run1.mcap"]


def test_text_finds_findings_with_their_spans(filled: Workspace) -> None:
    (hit,) = [hit for hit in search(filled, "finite") if hit.field.startswith("finding")]
    assert (hit.name, hit.start_ns) == ("run2.mcap", START + SECOND // 5)


@pytest.mark.parametrize("words", ["", "  ", "!?", '"'])
def test_nothing_to_look_for_is_told(filled: Workspace, words: str) -> None:
    with pytest.raises(UsageError, match="nothing to look for"):
        search(filled, words)


@pytest.mark.parametrize("words", ['cup" OR 1', "cup AND NOT", "NEAR(cup", "text:cup", "cup*", "-cup"])
def test_signs_of_the_query_language_are_words_like_others(filled: Workspace, words: str) -> None:
    assert any("cup" in hit.text for hit in search(filled, words))
