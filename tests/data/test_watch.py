"""Watching: complete logs are taken once, unfinished ones left alone, broken ones told of once, restarts know."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worldgate.core.errors import NotFound, RecordError, UsageError
from worldgate.data import watch as watching
from worldgate.data.ingest import ingested
from worldgate.data.watch import Seen, Watch, WatchConfig
from worldgate.record.verify import verify

Record = Callable[..., Path]


class Clock:
    """Time that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


def look(watch: Watch, clock: Clock, after_s: float = 0.0) -> list[tuple[str, str]]:
    clock.now += after_s
    return [(seen.name, seen.state) for seen in watch.look()]


def test_a_log_is_taken_when_it_stayed_the_same_long_enough(
    workspace: Any, record_log: Record, place: Path, clock: Clock
) -> None:
    watch = Watch(workspace, place, WatchConfig(settle_s=5, site="kitchen"), clock=clock)
    assert look(watch, clock) == []
    whole = record_log(1).read_bytes()
    (place / "run.mcap").write_bytes(whole[:4000])
    assert look(watch, clock, 4) == []
    (place / "run.mcap").write_bytes(whole)
    assert look(watch, clock, 4) == []
    assert watch.waiting() == ["run.mcap"]
    assert look(watch, clock, 4.9) == []
    assert look(watch, clock, 0.1) == [("run.mcap", "taken")]
    assert look(watch, clock, 100) == []
    (record,) = ingested(workspace).values()
    assert (record.name, record.site) == ("run.mcap", "kitchen")
    assert not record.findings


def test_a_done_mark_needs_no_waiting(workspace: Any, record_log: Record, place: Path, clock: Clock) -> None:
    watch = Watch(workspace, place, WatchConfig(settle_s=1000), clock=clock)
    shutil.copy(record_log(1), place / "run.mcap")
    (place / "day").mkdir()
    shutil.copy(record_log(2), place / "day" / "a.mcap")
    assert look(watch, clock) == []
    (place / "run.mcap.done").touch()
    (place / "day" / "_SUCCESS").touch()
    assert look(watch, clock) == [("day", "taken"), ("run.mcap", "taken")]
    assert len(ingested(workspace)) == 2


@pytest.mark.parametrize(
    "name", ["run.mcap.part", "run.mcap.tmp", ".run.mcap.x1.partial", "run.mcap~", "run.bag.active"]
)
def test_names_of_unfinished_files_are_left_alone(
    workspace: Any, record_log: Record, place: Path, clock: Clock, name: str
) -> None:
    watch = Watch(workspace, place, WatchConfig(settle_s=0), clock=clock)
    shutil.copy(record_log(1), place / name)
    (place / "set").mkdir()
    shutil.copy(record_log(2), place / "set" / "a.mcap")
    shutil.copy(record_log(3), place / "set" / name)
    assert look(watch, clock) == []
    assert look(watch, clock, 100) == []
    (place / name).rename(place / "run.mcap")
    (place / "set" / name).unlink()
    assert look(watch, clock) == [("run.mcap", "taken"), ("set", "taken")]


def test_a_folder_that_grows_gives_its_new_logs(workspace: Any, record_log: Record, place: Path, clock: Clock) -> None:
    watch = Watch(workspace, place, WatchConfig(settle_s=5), clock=clock)
    (place / "day").mkdir()
    shutil.copy(record_log(1), place / "day" / "a.mcap")
    look(watch, clock)
    assert look(watch, clock, 5) == [("day", "taken")]
    shutil.copy(record_log(2), place / "day" / "b.mcap")
    assert look(watch, clock) == []
    assert look(watch, clock, 5) == [("day", "taken")]
    assert len(ingested(workspace)) == len(list(workspace.ledger.events("log.ingested"))) == 2


def test_a_broken_log_is_told_of_once_and_stops_nobody(
    workspace: Any, record_log: Record, place: Path, clock: Clock
) -> None:
    watch = Watch(workspace, place, WatchConfig(settle_s=0), clock=clock)
    (place / "a.mcap").write_bytes(b"not a log")
    shutil.copy(record_log(1), place / "b.mcap")
    found = list(watch.look())
    assert [(s.name, s.state) for s in found] == [("a.mcap", "refused"), ("b.mcap", "taken")]
    assert "error:" in found[0].error
    assert look(watch, clock, 100) == []
    again = Watch(workspace, place, WatchConfig(settle_s=0), clock=clock)
    assert look(again, clock) == [], "a restart does not tell of it again"
    shutil.copy(record_log(2), place / "a.mcap")
    assert look(again, clock) == [("a.mcap", "taken")], "mended"


def test_a_restart_takes_nothing_twice_with_or_without_its_state(
    workspace: Any, record_log: Record, place: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = WatchConfig(settle_s=0)
    shutil.copy(record_log(1), place / "a.mcap")
    assert look(Watch(workspace, place, config, clock=clock), clock) == [("a.mcap", "taken")]
    with monkeypatch.context() as patch:
        patch.setattr(watching, "ingest_under", lambda *_, **__: pytest.fail("it was read again"))
        assert look(Watch(workspace, place, config, clock=clock), clock) == []
    shutil.rmtree(workspace.cache)
    assert look(Watch(workspace, place, config, clock=clock), clock) == [("a.mcap", "taken")]
    assert len(list(workspace.ledger.events("log.ingested"))) == 1
    assert verify(workspace).ok


def test_what_is_not_the_logs_fault_is_tried_again_and_told_of_once(
    workspace: Any, record_log: Record, place: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(record_log(1), place / "a.mcap")
    watch = Watch(workspace, place, WatchConfig(settle_s=0), clock=clock)
    for error in (OSError(28, "No space left on device"), RecordError("the store does not answer")):
        with monkeypatch.context() as patch:

            def fails(*_: object, error: Exception = error, **__: object) -> None:
                raise error

            patch.setattr(watching, "ingest_under", fails)
            (seen,) = watch.look()
            assert seen.state == "waiting"
            assert list(watch.look()) == []
    assert look(watch, clock) == [("a.mcap", "taken")]


def test_a_link_that_leaves_the_place_is_refused(
    workspace: Any, record_log: Record, place: Path, clock: Clock, tmp_path: Path
) -> None:
    (place / "inside").mkdir()
    (place / "file.mcap").symlink_to(record_log(1))
    (place / "inside" / "file.mcap").symlink_to(record_log(2))
    (place / "folder").symlink_to(tmp_path / "logs")
    watch = Watch(workspace, place, WatchConfig(settle_s=0), clock=clock)
    found = list(watch.look())
    assert [(s.name, s.state) for s in found] == [(n, "refused") for n in ("file.mcap", "folder", "inside")]
    assert all("a link that leaves its folder" in s.error for s in found)
    assert not ingested(workspace)


def test_a_place_that_is_not_there_and_odd_times_are_refused(workspace: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Watch(workspace, tmp_path / "nowhere")
    with pytest.raises(UsageError):
        WatchConfig(settle_s=-1)
    with pytest.raises(UsageError):
        WatchConfig(poll_s=0)


def test_a_bucket_is_watched_like_a_folder(
    workspace: Any, record_log: Record, bucket: str, clock: Clock, tmp_path: Path
) -> None:
    import s3fs

    fs = s3fs.S3FileSystem(use_listings_cache=False)
    watch = Watch(workspace, f"s3://{bucket}/logs", WatchConfig(settle_s=5), clock=clock)
    assert look(watch, clock) == [], "a prefix that is not there yet"
    fs.put_file(str(record_log(1)), f"{bucket}/logs/a.mcap")
    fs.put_file(str(record_log(2)), f"{bucket}/logs/day/b.mcap")
    fs.pipe_file(f"{bucket}/logs/c.mcap", b"not a log")
    assert look(watch, clock) == []
    assert look(watch, clock, 5) == [("a.mcap", "taken"), ("c.mcap", "refused"), ("day", "taken")]
    assert look(watch, clock, 5) == []
    names = {record.name for record in ingested(workspace).values()}
    assert names == {"a.mcap", "b.mcap"}
    assert not list((workspace.cache / "staging").iterdir()), "what was fetched is gone again"
    again = Watch(workspace, f"s3://{bucket}/logs", WatchConfig(settle_s=0), clock=clock)
    assert look(again, clock) == []


def test_settling_ends_when_all_was_taken_and_leaves_what_never_ends(
    workspace: Any, record_log: Record, place: Path
) -> None:
    shutil.copy(record_log(1), place / "a.mcap")
    grows = place / "b.mcap"
    grows.write_bytes(b"")

    class Growing(Watch):
        """Looks at a folder in which a writer goes on."""

        def look(self) -> Any:
            grows.write_bytes(grows.read_bytes() + os.urandom(8))
            return Watch.look(self)

    watch = Growing(workspace, place, WatchConfig(settle_s=0.3, poll_s=0.05))
    found: list[Seen] = list(watch.settle())
    assert [(s.name, s.state) for s in found] == [("a.mcap", "taken")]
    assert watch.waiting() == ["b.mcap"]
