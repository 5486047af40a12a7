"""Every file of the logs seam: detects its own alone, reads lazily, keeps ns times, has a stable identity."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.logs import bag_samples, samples

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.seams import cards, load
from worldgate.core.streams import IMAGE_LIKE, NUMERIC, Frames, Kind, Log, LogFolder, Origin, log_digest
from worldgate.data.logs import log_parts, open_folder

MAKERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "mcap-foxglove": ("mcap", lambda path: samples.make_mcap(path.with_suffix(".mcap"))),
    "mcap-ros2": ("mcap", lambda path: samples.make_mcap(path.with_suffix(".mcap"), "ros2")),
    "mcap-jpeg": ("mcap", lambda path: samples.make_jpeg_mcap(path.with_suffix(".mcap"))),
    "lerobot-v3": ("lerobot", samples.make_lerobot),
    "lerobot-v21": ("lerobot", samples.make_lerobot_v21),
    "rlds": ("rlds", samples.make_rlds),
    "rosbag1": ("rosbag", lambda path: bag_samples.make_rosbag1(path.with_suffix(".bag"))),
    "rosbag1-bz2": ("rosbag", lambda path: bag_samples.make_rosbag1(path.with_suffix(".bag"), "bz2")),
    "rosbag1-lz4": ("rosbag", lambda path: bag_samples.make_rosbag1(path.with_suffix(".bag"), "lz4")),
    "rosbag2-sqlite": ("rosbag", bag_samples.make_rosbag2),
    "rosbag2-mcap": ("rosbag", lambda path: bag_samples.make_rosbag2(path, storage="mcap")),
    "rosbag2-split": ("rosbag", bag_samples.make_split_rosbag2),
    "rosbag2-mcap-split": ("rosbag", lambda path: bag_samples.make_split_rosbag2(path, "mcap")),
    "rosbag2-packed-file": ("rosbag", lambda path: bag_samples.make_rosbag2(path, packed="file")),
    "rosbag2-packed-messages": ("rosbag", lambda path: bag_samples.make_rosbag2(path, packed="message")),
    "openarm": ("openarm", bag_samples.make_openarm),
    "comma2k19": ("comma2k19", bag_samples.make_comma2k19),
    "droid": ("droid", samples.make_droid),
    "robomimic": ("robomimic", lambda path: samples.make_robomimic(path.with_suffix(".hdf5"))),
    "replay-buffer-2": ("replay_buffer", lambda path: samples.make_replay_buffer(path, format=2)),
    "replay-buffer-3": ("replay_buffer", samples.make_replay_buffer),
    "replay-buffer-zip": ("replay_buffer", lambda path: samples.make_replay_buffer(path, format=2, zipped=True)),
    "table": ("table", samples.make_table),
    "ulog": ("ulog", lambda path: samples.make_ulog(path.with_suffix(".ulg"))),
    "act-jpeg": ("act", samples.make_act),
    "act-raw": ("act", lambda path: samples.make_act(path, compressed=False)),
}

BLIND = {"ulog", "comma2k19"}
"""Formats that hold no pictures."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("formats") / "deeper"
    root.mkdir()
    return {name: make(root / name) for name, (_, make) in MAKERS.items()}


@pytest.fixture(params=sorted(MAKERS))
def sample(request: pytest.FixtureRequest, made: dict[str, Path]) -> tuple[str, Path]:
    return request.param, made[request.param]


def opened(sample: tuple[str, Path]) -> LogFolder:
    return open_folder(sample[1])


def test_every_format_of_the_seam_has_a_sample_here() -> None:
    assert {name for name, _ in MAKERS.values()} == set(cards("logs"))


def test_a_sample_is_detected_by_its_own_format_alone(sample: tuple[str, Path]) -> None:
    found = [name for name in cards("logs") if load("logs", name).detect(sample[1])]
    assert found == [MAKERS[sample[0]][0]]
    assert opened(sample).format == found[0]
    assert log_parts(sample[1]) == [sample[1]]


def test_a_folder_of_every_format_falls_into_its_parts(made: dict[str, Path]) -> None:
    (root,) = {path.parent for path in made.values()}
    for folder in (root, root.parent):
        assert set(made.values()) <= set(log_parts(folder)), "however deep"


def test_a_dataset_with_logs_of_other_formats_in_it_stays_one(tmp_path: Path) -> None:
    root = samples.make_lerobot(tmp_path / "arm")
    samples.make_mcap(root / "source.mcap")
    samples.make_ulog(root / "source.ulg")
    assert log_parts(root) == [root]
    samples.make_ulog(tmp_path / "flight.ulg")
    assert log_parts(tmp_path) == [root, tmp_path / "flight.ulg"]


def test_each_log_fulfils_the_protocol(sample: tuple[str, Path]) -> None:
    folder = opened(sample)
    assert folder.logs
    assert len({log.name for log in folder.logs}) == len(folder.logs)
    for log in folder.logs:
        assert log.name
        assert isinstance(log.origin, Origin)
        assert all(isinstance(value, str | float | int | bool) for value in log.facts.values())
        assert log.findings == ()
        assert len({info.name for info in log.streams()}) == len(log.streams()) > 0


def test_what_a_stream_says_of_itself_is_what_reading_gives(sample: tuple[str, Path]) -> None:
    for log in opened(sample).logs:
        for info in log.streams():
            stream = log.read(info.name)
            assert stream.info == info
            assert len(stream) == info.count
            assert stream.times_ns.dtype == np.int64
            assert info.names == () or len(info.names) == info.shape[0]
            if info.kind in NUMERIC:
                assert stream.array.shape == (info.count, *info.shape)
            elif info.kind in IMAGE_LIKE:
                assert stream.frames.read(np.array([0], dtype=np.int64)).shape == (1, *info.shape)
            else:
                assert all(isinstance(value, str) for value in stream.array)


def test_frames_are_lazy_and_come_in_the_order_asked_for(sample: tuple[str, Path]) -> None:
    log = opened(sample).logs[0]
    seen = 0
    for info in log.streams():
        if info.kind not in IMAGE_LIKE:
            continue
        seen += 1
        frames = log.read(info.name).frames
        assert isinstance(frames, Frames)
        assert not isinstance(frames, np.ndarray)
        whole = frames.read(np.arange(len(frames), dtype=np.int64))
        some = np.array([3, 0, 3, len(frames) - 1, 1], dtype=np.int64)
        np.testing.assert_array_equal(frames.read(some), whole[some])
        assert len(frames.read(np.array([], dtype=np.int64))) == 0
        if info.kind is Kind.IMAGE:
            assert whole.dtype == np.uint8
            assert whole.shape[3] == 3
    assert bool(seen) == (MAKERS[sample[0]][0] not in BLIND)


def test_a_window_is_half_open_and_holds_the_same_rows(sample: tuple[str, Path]) -> None:
    for log in opened(sample).logs[:2]:
        for info in log.streams():
            whole = log.read(info.name)
            start, stop = int(whole.times_ns[1]), int(whole.times_ns[-1])
            part = log.read(info.name, (start, stop))
            keep = (whole.times_ns >= start) & (whole.times_ns < stop)
            np.testing.assert_array_equal(part.times_ns, whole.times_ns[keep])
            assert len(part) == len(whole) - 2
            if isinstance(whole.values, np.ndarray):
                np.testing.assert_array_equal(part.array, whole.array[keep])
            elif len(part):
                last = np.array([len(part) - 1], dtype=np.int64)
                np.testing.assert_array_equal(part.frames.read(last), whole.frames.read(last + 1))
            assert len(log.read(info.name, (stop + 1, stop + 1))) == 0


def test_identity_is_stable_and_does_not_decode(sample: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first = [log_digest(log) for log in opened(sample).logs]
    assert len(set(first)) == len(first)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("decoded while taking the digest")

    folder = opened(sample)
    monkeypatch.setattr("worldgate.data.logs._video._decoder", refuse)
    monkeypatch.setattr("worldgate.data.logs._images._decompress", refuse)
    for log in folder.logs:
        for info in log.streams():
            assert log.read(info.name).content_digest() == log.read(info.name).content_digest()
    assert [log_digest(log) for log in folder.logs] == first


def test_identity_changes_with_one_value_time_or_packet(tmp_path: Path) -> None:
    def digest(change: Callable[[Any, Any], None]) -> str:
        times = samples.START_NS + np.arange(20, dtype=np.int64)
        pictures, values = samples.pictures(), samples.numbers()
        change(values, pictures)
        if change is shift:
            times[3] += 1
        info = samples.stream("observation.state", Kind.VECTOR, values).info
        state = samples.Stream(info=info, times_ns=times, values=values)
        path = tmp_path / f"{change.__name__}.mcap"
        samples.write_log(path, [state, samples.stream("c", Kind.IMAGE, pictures)], origin=Origin.REAL)
        return log_digest(open_folder(path).logs[0])

    def nothing(values: Any, pictures: Any) -> None: ...

    def shift(values: Any, pictures: Any) -> None: ...

    def value(values: Any, pictures: Any) -> None:
        values[5, 1] = np.nextafter(values[5, 1], np.float32(9))

    def pixel(values: Any, pictures: Any) -> None:
        pictures[5, 1, 1, 0] ^= 1

    assert len({digest(change) for change in (nothing, shift, value, pixel)}) == 4


def test_an_unknown_stream_is_not_found_and_those_there_are_are_listed(sample: tuple[str, Path]) -> None:
    log: Log = opened(sample).logs[0]
    with pytest.raises(NotFound) as caught:
        log.read("no.such")
    assert log.streams()[0].name in (caught.value.hint or "")


def test_a_missing_path_and_an_empty_folder_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file or folder"):
        open_folder(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="empty folder"):
        open_folder(tmp_path / "empty")


@pytest.mark.parametrize("name", ["notes.txt", "run.bag", "noise"])
def test_what_no_format_recognises_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x89MCAP1\r\nthis is no log")
    for given in (path, tmp_path):
        with pytest.raises(LogUnreadable, match="no log format recognises this"):
            open_folder(given)


def test_the_same_jpeg_has_the_same_identity_in_every_container(tmp_path: Path) -> None:
    """Encoded packets pass from RLDS to MCAP unchanged, in both profiles."""
    source = open_folder(samples.make_rlds(tmp_path / "rlds")).logs[0].read("observation.images.front")
    for profile in ("foxglove", "ros2"):
        path = tmp_path / f"{profile}.mcap"
        samples.write_log(path, [source], origin=Origin.REAL, profile=profile)  # type: ignore[arg-type]
        copy = open_folder(path).logs[0].read("observation.images.front")
        assert copy.content_digest() == source.content_digest()
        np.testing.assert_array_equal(copy.times_ns, source.times_ns)


def test_a_formats_units_are_its_logs_and_each_opens_alone(sample: tuple[str, Path], tmp_path: Path) -> None:
    """As ingest keeps them: what a log needs, and what belongs to none, in the same places; neighbours come with it."""
    module = load("logs", MAKERS[sample[0]][0])
    if not hasattr(module, "units"):
        return
    both = tmp_path / "both"
    for name in ("a", "b") if sample[0] != "table" else ("a",):
        target = both / name / sample[1].name
        target.parent.mkdir(parents=True)
        shutil.copytree(sample[1], target) if sample[1].is_dir() else shutil.copy(sample[1], target)
    folder = open_folder(both)
    units = module.units(both)
    assert len(units) == len(folder.logs) > 1
    own = [file for unit in set(units) for file in unit]
    assert len(set(own)) == len(own), "a file belongs to one unit"
    assert len(set(units)) > 1
    shared = {file for file in both.rglob("*") if file.is_file()} - set(own)
    for number, (unit, log) in enumerate(zip(units, folder.logs, strict=True)):
        alone = tmp_path / str(number)
        for file in (*unit, *shared):
            target = alone / file.relative_to(both)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        logs = open_folder(alone).logs
        assert len(logs) == units.count(unit)
        found = logs[units[:number].count(unit)]
        assert log_digest(found) == log_digest(log)
        assert log.name.endswith(found.name)
        assert dict(found.facts) == dict(log.facts)


def test_tables_of_two_mapping_files_with_patterns_are_kept_together(tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    for name in ("a", "b"):
        samples.make_table(tmp_path / "both" / name)
    assert len(open_folder(tmp_path / "both").logs) == 4
    assert load("logs", "table").units(tmp_path / "both") == []


@pytest.mark.parametrize("format", ["rosbag", "comma2k19"])
def test_a_log_inside_another_has_no_files_of_its_own(format: str, tmp_path: Path) -> None:
    make = bag_samples.make_rosbag2 if format == "rosbag" else bag_samples.make_comma2k19
    make(tmp_path / "outer")
    make(tmp_path / "outer" / "inner")
    module = load("logs", format)
    assert len(module.open_logs(tmp_path / "outer").logs) == 2
    assert module.units(tmp_path / "outer") == []
