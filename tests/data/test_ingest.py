"""Ingest: bytes first, event last, once; the unreadable is refused, the recoverable kept with its loss."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.logs import samples

from worldgate.core.errors import DataRefused, LogUnreadable, NameRefused, NotFound, Tampered
from worldgate.core.streams import Origin, log_digest
from worldgate.data.ingest import Shelf, ingest, ingested, open_log
from worldgate.engines import EngineConfig, start
from worldgate.record.verify import verify

Record = Callable[..., Path]


def test_a_log_is_named_by_its_content_and_read_back_from_the_store(workspace: Any, record_log: Record) -> None:
    path = record_log(1, site="lab")
    (ref,) = ingest(workspace, path, arm="left")
    path.unlink()
    log = open_log(workspace, ref.digest)
    assert log_digest(log) == ref.digest
    record = ingested(workspace)[ref.digest]
    assert (record.site, record.robot, record.arm) == ("lab", "arm-1", "left")
    assert record.origin is log.origin is Origin.REAL
    assert log.facts["arm"] == "left"
    state = next(s for s in record.streams if s.name == "observation.state")
    assert state.count == 100
    assert state.rate_hz == pytest.approx(50, rel=0.01)
    assert state.evidence
    (event,) = workspace.ledger.events("log.ingested")
    assert (event.valid_from_ns, event.valid_to_ns) == record.span_ns
    assert verify(workspace).ok


def test_of_a_folder_with_several_formats_all_is_taken_and_what_is_refused_is_named(
    workspace: Any, record_log: Record, tmp_path: Path
) -> None:
    inner = record_log(1).parent
    samples.make_lerobot(inner / "arm", episodes=2)
    assert len(ingest(workspace, inner)) == 3
    (inner / "flights").mkdir()
    samples.make_ulog(inner / "flights" / "one.ulg")
    (inner / "flights" / "two.ulg").write_bytes((inner / "flights" / "one.ulg").read_bytes()[:20])
    with pytest.raises(LogUnreadable, match="1 of 3 parts") as error:
        ingest(workspace, inner)
    assert "two.ulg: a ULog without a single whole message" in str(error.value.got)
    assert len(ingested(workspace)) == 4
    (inner / "flights" / "two.ulg").unlink()
    assert len(ingest(workspace, inner)) == 4


def test_ingesting_again_changes_nothing_even_from_another_file(workspace: Any, record_log: Record) -> None:
    path = record_log(1)
    first = ingest(workspace, path)
    assert ingest(workspace, path) == first
    copy = record_log(1, name="copy")
    assert ingest(workspace, copy) == first
    assert len(list(workspace.ledger.events("log.ingested"))) == 1


def test_a_folder_is_ingested_log_by_log_with_progress(workspace: Any, record_log: Record) -> None:
    for seed in range(3):
        folder = record_log(seed).parent
    seen: list[tuple[int, int, str]] = []
    refs = ingest(workspace, folder, progress=lambda *step: seen.append(step))
    assert len({ref.digest for ref in refs}) == 3
    assert [step[:2] for step in seen] == [(1, 3), (2, 3), (3, 3)]
    shelf = Shelf(workspace)
    assert [shelf.open(ref.digest).name for ref in refs] == [ref.name for ref in refs]


def test_the_same_log_with_another_story_is_refused(workspace: Any, record_log: Record) -> None:
    ingest(workspace, record_log(1, success=True))
    with pytest.raises(DataRefused, match="says something else") as caught:
        ingest(workspace, record_log(1, name="again", success=False))
    assert "success False where it was True" in str(caught.value)
    assert len(list(workspace.ledger.events("log.ingested"))) == 1


def test_a_log_never_becomes_more_real_than_it_says(workspace: Any, record_log: Record) -> None:
    with pytest.raises(DataRefused, match="cannot become real"):
        ingest(workspace, record_log(1, origin=Origin.SIMULATED), origin=Origin.REAL)
    (ref,) = ingest(workspace, record_log(2), origin=Origin.SIMULATED)
    assert open_log(workspace, ref.digest).origin is Origin.SIMULATED


def test_a_truncated_log_is_kept_with_its_loss_recorded(workspace: Any, record_log: Record) -> None:
    path = record_log(1)
    path.write_bytes(path.read_bytes()[:-4000])
    (ref,) = ingest(workspace, path)
    record = ingested(workspace)[ref.digest]
    assert record.findings
    assert log_digest(open_log(workspace, ref.digest)) == ref.digest


@pytest.mark.parametrize("data", [b"", b"not a log", b"\x89MCAP0\r\n", b"\x00" * 4096])
def test_what_is_no_log_is_refused_and_nothing_is_kept(workspace: Any, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.mcap"
    path.write_bytes(data)
    before = list(workspace.store.digests())
    with pytest.raises(LogUnreadable) as caught:
        ingest(workspace, path)
    assert caught.value.exit_code == 4
    assert len(caught.value.lines()) <= 3
    assert list(workspace.store.digests()) == before
    assert not list(workspace.ledger.events("log.ingested"))
    assert verify(workspace).ok


def test_nothing_there_an_empty_folder_and_bad_names_are_refused(
    workspace: Any, tmp_path: Path, record_log: Record
) -> None:
    with pytest.raises(NotFound):
        ingest(workspace, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises((NotFound, LogUnreadable)):
        ingest(workspace, tmp_path / "empty")
    path = record_log(1)
    for bad in ("..", "a/b", "nul\0", "con"):
        with pytest.raises(NameRefused):
            ingest(workspace, path, site=bad)
    assert not list(workspace.ledger.events("log.ingested"))


def test_one_flipped_byte_in_the_store_is_named_when_the_log_is_opened(workspace: Any, record_log: Record) -> None:
    (ref,) = ingest(workspace, record_log(1))
    source = ingested(workspace)[ref.digest].source
    (digest,) = workspace.store.tree(source).values()
    stored = workspace.store.path(digest)
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(data)
    with pytest.raises(Tampered):
        open_log(workspace, ref.digest)


KILLED = """
import sys
from pathlib import Path
from worldgate.data.ingest import ingest
from worldgate.record.workspace import Workspace

ws = Workspace.open(sys.argv[1])
print("start", flush=True)
for path in sorted(Path(sys.argv[2]).glob("*.mcap")):
    for ref in ingest(ws, path):
        print(ref.digest, flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.03, 0.08, 0.2])
def test_killed_at_any_point_no_acknowledged_log_is_lost_and_the_rest_can_follow(
    workspace: Any, record_log: Record, tmp_path: Path, delay_s: float
) -> None:
    for seed in range(8):
        folder = record_log(seed).parent
    script = tmp_path / "ingest.py"
    script.write_text(textwrap.dedent(KILLED))
    process = subprocess.Popen(
        [sys.executable, str(script), str(workspace.root), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "start\n"
    time.sleep(delay_s)
    os.kill(process.pid, signal.SIGKILL)
    acknowledged = process.stdout.read().split()
    process.stdout.close()
    process.wait()
    known = ingested(workspace)
    assert set(acknowledged) <= set(known)
    shelf = Shelf(workspace)
    for digest in known:
        assert log_digest(shelf.open(digest)) == digest
    assert verify(workspace).ok
    assert len(ingest(workspace, folder)) == 8
    assert len(ingested(workspace)) == 8
    assert verify(workspace).ok


def test_two_copies_in_one_folder_are_one_log(
    workspace: Any, record_log: Record, caplog: pytest.LogCaptureFixture
) -> None:
    record_log(1, name="a")
    folder = record_log(1, name="b").parent
    assert len(ingest(workspace, folder)) == 1
    assert "is a copy of" in caplog.text


def test_a_log_without_messages_is_refused(workspace: Any, record_log: Record) -> None:
    def empty(streams: list[Any]) -> list[Any]:
        from dataclasses import replace

        return [replace(s, times_ns=s.times_ns[:0], values=s.array[:0]) for s in streams if s.info.name == "action"]

    with pytest.raises(LogUnreadable):
        ingest(workspace, record_log(1, spoil=empty))


def test_native_times_survive_to_the_nanosecond(workspace: Any, record_log: Record) -> None:
    (ref,) = ingest(workspace, record_log(5))
    times = open_log(workspace, ref.digest).read("observation.state").times_ns
    assert len(np.unique(np.diff(times))) > 50  # jitter below a microsecond is still there


def test_a_folder_that_grew_is_not_read_again(workspace: Any, record_log: Record) -> None:
    class Counting:
        """This process, counting what it is given."""

        done = 0

        def run(self, bundles: Any) -> Any:
            for item in start(EngineConfig()).run(bundles):
                self.done += 1
                yield item

        def close(self) -> None: ...

    engine = Counting()
    for seed in (1, 2):
        folder = record_log(seed).parent
    (folder / "rig.yaml").write_text("cameras: 1")
    first = ingest(workspace, folder, engine=engine)
    assert engine.done == 2
    assert ingest(workspace, folder, engine=engine) == first
    assert engine.done == 2
    record_log(3)
    assert set(ingest(workspace, folder, engine=engine)) > set(first)
    assert engine.done == 3
    sources = {record.source for record in ingested(workspace).values()}
    assert len(sources) == 3, "a log can be erased without the others"
    for source in sources:
        assert "rig.yaml" in workspace.store.tree(source), "what belongs to no log goes with each"


def test_the_engine_changes_nothing_in_the_record(workspace: Any, record_log: Record, tmp_path: Path) -> None:
    for seed in range(3):
        folder = record_log(seed).parent
    ingest(workspace, folder)
    other = type(workspace).init(tmp_path / "other", person="tester")
    engine = start(EngineConfig(name="processes", workers=2))
    ingest(other, folder, engine=engine)
    engine.close()
    bodies = [[event.body for event in ws.ledger.events("log.ingested")] for ws in (workspace, other)]
    assert bodies[0] == bodies[1]
    assert verify(other).ok


def test_two_processes_that_ingest_the_same_folder_record_each_log_once(
    workspace: Any, record_log: Record, tmp_path: Path
) -> None:
    for seed in range(6):
        folder = record_log(seed).parent
    script = tmp_path / "ingest.py"
    script.write_text(textwrap.dedent(KILLED))
    told = [sys.executable, str(script), str(workspace.root), str(folder)]
    both = [subprocess.Popen(told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0, 0], said
    assert len({out for out, _ in said}) == 1, "each names every log"
    assert len(list(workspace.ledger.events("log.ingested"))) == 6
    assert verify(workspace).ok
