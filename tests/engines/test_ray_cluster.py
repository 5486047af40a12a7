"""A Ray cluster of two nodes: work is spread; a worker or node that dies loses and repeats nothing finished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from worldgate.engines import Call, Engine, EngineConfig, Place, Stage, run, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes on this machine, each with its own raylet and object store."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))  # the driver finds the tests' stages as its workers do
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 * 2**20})
        made.add_node(num_cpus=2, object_store_memory=80 * 2**20)
        made.wait_for_nodes()
        yield made
        made.shutdown()


@pytest.fixture
def engine(cluster: Any) -> Iterator[Engine]:
    held = start(EngineConfig(name="ray", address=cluster.address, workers=3))
    yield held
    held.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(store=str(tmp_path / "objects"), cache=str(tmp_path / "cache"))


def call(function: str, n: int, **config: Any) -> Call:
    stage = Stage(function=f"stages_for_tests:{function}")
    return Call(stage=stage, name=f"input-{n}", inputs=(), config={"n": n, **config})


def test_the_cluster_has_two_nodes_and_both_work(engine: Engine, place: Place) -> None:
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    found = list(run([call("node", n, wait_s=0.5) for n in range(9)], place=place, engine=engine))
    assert len({r.value for r in found}) == 2


def test_a_worker_killed_in_mid_task_loses_nothing_and_repeats_nothing_finished(
    engine: Engine, place: Place, tmp_path: Path
) -> None:
    tally = tmp_path / "tally"
    calls = [call("answer", n, tally=str(tally)) for n in range(6)]
    calls.insert(3, call("die_once", 9, tally=str(tally), mark=str(tmp_path / "mark")))
    found = list(run(calls, place=place, engine=engine))
    assert [r.value if r.call.name == "input-9" else r.value["n"] for r in found] == [0, 2, 4, 9, 6, 8, 10]
    lines = [line.split()[:2] for line in tally.read_text().splitlines()]
    assert lines.count(["start", "9"]) == 2
    assert all(lines.count(["done", str(n)]) == 1 for n in (*range(6), 9))
    assert all(r.reused for r in run(calls, place=place, engine=engine))


def test_a_node_that_goes_away_in_mid_task_loses_nothing(cluster: Any, place: Place, tmp_path: Path) -> None:
    extra = cluster.add_node(num_cpus=4, object_store_memory=80 * 2**20, resources={"extra": 1})
    cluster.wait_for_nodes()
    engine = start(EngineConfig(name="ray", address=cluster.address, workers=7))
    tally = tmp_path / "tally"
    calls = [call("touch_and_wait", n, tally=str(tally), wait_s=2.0) for n in range(9)]
    results = run(calls, place=place, engine=engine)
    removed = False
    values = []
    for result in results:
        values.append(result.value)
        if not removed:
            cluster.remove_node(extra, allow_graceful=False)
            removed = True
    engine.close()
    assert values == list(range(9))
    done = [line.split()[1] for line in tally.read_text().splitlines() if line.startswith("done")]
    assert set(done) == {str(n) for n in range(9)}
    assert done.count("0") == 1, "what was reported before is not repeated"


def test_logs_are_ingested_by_the_cluster_and_only_the_driver_writes_the_ledger(
    engine: Engine, workspace: Any, tmp_path: Path
) -> None:
    from worldgate.data.ingest import ingest, ingested
    from worldgate.record.verify import verify
    from worldgate.sim.record import record

    for seed in (1, 2, 3):
        record(tmp_path / "logs" / f"{seed}.mcap", site="north", arm=None, expert="scripted", seed=seed, duration_s=0.5)
    assert len(ingest(workspace, tmp_path / "logs", engine=engine)) == 3
    other = type(workspace).init(tmp_path / "other", person="tester")
    ingest(other, tmp_path / "logs")
    assert ingested(other) == ingested(workspace)
    assert verify(workspace).ok
