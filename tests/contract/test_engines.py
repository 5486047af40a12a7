"""Every engine: results in the order of the calls, failures by name, nothing kept is done again, workers may die."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from worldgate.core.errors import LogUnreadable, WorldgateError
from worldgate.core.seams import cards
from worldgate.engines import Call, Engine, EngineConfig, Place, Stage, run, start

ENGINES = Path(__file__).resolve().parents[1] / "engines"
SURVIVES = sorted(set(cards("engines")) - {"here"})


def call(function: str, n: int = 0, *, group: str = "", **config: Any) -> Call:
    stage = Stage(function=f"stages_for_tests:{function}")
    return Call(stage=stage, name=f"input-{n}", inputs=(f"{n:064x}",), config={"n": n, **config}, group=group)


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, Engine]]:
    """Started when first asked for, with two workers; workers find the tests' stages on the path of this process."""
    sys.path.insert(0, str(ENGINES))  # spawned processes take this over, Ray's take the variable
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ENGINES))
        held: dict[str, Engine] = {}
        yield held
        for engine in held.values():
            engine.close()
    sys.path.remove(str(ENGINES))


@pytest.fixture(params=sorted(cards("engines")))
def engine(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Engine:
    return engines.get(request.param) or _start(engines, request.param)


@pytest.fixture(params=SURVIVES)
def outside(request: pytest.FixtureRequest, engines: dict[str, Engine]) -> Engine:
    """An engine whose workers are other processes."""
    return engines.get(request.param) or _start(engines, request.param)


def _start(engines: dict[str, Engine], name: str) -> Engine:
    engines[name] = start(EngineConfig(name=name, workers=2))
    return engines[name]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(store=str(tmp_path / "objects"), cache=str(tmp_path / "cache"))


def test_results_come_in_the_order_of_the_calls_whatever_finishes_first(engine: Engine, place: Place) -> None:
    calls = [call("answer", n, wait_s=0.2 if n == 0 else 0.0) for n in range(6)]
    found = list(run(calls, place=place, engine=engine))
    assert [r.value["n"] for r in found] == [0, 2, 4, 6, 8, 10]
    assert [r.value["inputs"] for r in found] == [[f"{n:064x}"] for n in range(6)]
    assert not any(r.reused for r in found)


def test_what_is_kept_is_not_done_again(engine: Engine, place: Place, tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    calls = [call("answer", n, tally=str(tally)) for n in range(3)]
    list(run(calls[:2], place=place, engine=engine))
    again = list(run([*calls, calls[0]], place=place, engine=engine))
    assert [r.reused for r in again] == [True, True, False, True]
    assert sorted(line.split()[1] for line in tally.read_text().splitlines()) == ["0", "1", "2"]


def test_a_failure_names_its_input_and_stops_nobody_else(engine: Engine, place: Place) -> None:
    calls = [call("answer", 1), call("refuse", 2, ours=True), call("refuse", 3, ours=False), call("answer", 4)]
    found = list(run(calls, place=place, engine=engine))
    assert found[0].value["n"] == 2
    assert found[3].value["n"] == 8
    with pytest.raises(LogUnreadable, match="holds nothing") as ours:
        _ = found[1].value
    assert ours.value.lines() == ["error: holds nothing", "  got 0 bytes in input-2", "  try: record again"]
    with pytest.raises(WorldgateError, match="a stage failed") as theirs:
        _ = found[2].value
    assert "ValueError: a defect" in str(theirs.value)
    assert "input-3" in str(theirs.value)
    assert "in refuse" in theirs.value.__notes__[0], "the worker's trace"
    assert [r.reused for r in run(calls, place=place, engine=engine)] == [True, False, False, True]


def test_a_group_is_done_by_one_worker_and_a_failure_in_it_spares_the_rest(
    engine: Engine, place: Place, tmp_path: Path
) -> None:
    tally = tmp_path / "tally"
    calls = [call("answer", n, group="log", tally=str(tally)) for n in range(4)]
    calls.insert(2, call("refuse", 9, group="log", ours=True))
    found = list(run(calls, place=place, engine=engine))
    assert [r.error is None for r in found] == [True, True, False, True, True]
    assert len({line.split()[2] for line in tally.read_text().splitlines()}) == 1


def test_files_of_the_cache_come_with_a_result_and_without_them_it_is_made_again(engine: Engine, place: Place) -> None:
    (first,) = run([call("files")], place=place, engine=engine)
    made = Path(place.cache) / "things" / "a.bin"
    assert made.read_bytes() == b"\x00\x01" * 1000
    assert not first.reused
    assert next(run([call("files")], place=place, engine=engine)).reused
    made.unlink()
    assert not next(run([call("files")], place=place, engine=engine)).reused
    assert made.is_file()


def test_a_worker_that_is_killed_loses_nothing_and_repeats_nothing_that_was_finished(
    outside: Engine, place: Place, tmp_path: Path
) -> None:
    tally = tmp_path / "tally"
    calls = [call("answer", n, tally=str(tally)) for n in range(5)]
    calls.insert(3, call("die_once", 9, tally=str(tally), mark=str(tmp_path / "mark")))
    found = list(run(calls, place=place, engine=outside))
    assert [r.value if r.call.name == "input-9" else r.value["n"] for r in found] == [0, 2, 4, 9, 6, 8]
    lines = [line.split()[:2] for line in tally.read_text().splitlines()]
    assert lines.count(["start", "9"]) == 2
    assert lines.count(["done", "9"]) == 1
    for n in range(3):
        assert lines.count(["done", str(n)]) == 1, "finished before it was killed"


def test_an_input_that_kills_every_worker_fails_by_name_and_takes_nobody_along(outside: Engine, place: Place) -> None:
    calls = [call("answer", 1), call("die", 2), *(call("answer", n) for n in range(3, 7))]
    found = list(run(calls, place=place, engine=outside))
    assert [r.error is None for r in found] == [True, False, True, True, True, True]
    assert "input-2" in str(found[1].error)
    assert found[1].error is not None
    assert found[1].error.hint


def test_who_stops_listening_stops_the_work(engine: Engine, place: Place, tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    calls = [call("touch_and_wait", n, tally=str(tally), wait_s=0.0 if n == 0 else 0.3) for n in range(20)]
    listening = run(calls, place=place, engine=engine)
    assert next(listening).value == 0
    listening.close()
    assert sum(line.startswith("done") for line in tally.read_text().splitlines()) < 10
    found = list(run(calls[:1], place=place, engine=engine))
    assert found[0].reused
    assert next(run([call("answer", 3)], place=place, engine=engine)).value["n"] == 6, "and the engine goes on"


def test_a_cluster_that_is_not_there_is_said_without_a_wait() -> None:
    ray = pytest.importorskip("ray")
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(WorldgateError, match="no Ray cluster answers"):
        start(EngineConfig(name="ray", address="127.0.0.1:9"))
