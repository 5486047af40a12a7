"""Replay buffers: values as written in both formats and in zips, and what a store can do to a reader."""

from __future__ import annotations

import json
import pickle
import shutil
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.data.logs import samples

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Kind, log_digest
from worldgate.data.logs import open_folder, replay_buffer


def buffer(path: Path, arrays: dict[str, np.ndarray[Any, Any]], ends: Any, format: int = 2, **options: Any) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=format)  # type: ignore[arg-type]
    for name, values in arrays.items():
        group.create_array(f"data/{name}", data=values, **options)
    group.create_array("meta/episode_ends", data=np.asarray(ends))
    return path


def packed(folder: Path, path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for item in sorted(folder.rglob("*")):
            if item.is_file():
                file.write(item, item.relative_to(folder).as_posix())
    return path


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# -------------------------------------------------------------------- what is read


def test_names_kinds_and_facts(tmp_path: Path) -> None:
    logs = open_folder(samples.make_replay_buffer(tmp_path / "made")).logs
    assert {i.name: i.kind for i in logs[0].streams()} == {
        "observation.state": Kind.VECTOR,
        "action": Kind.ACTION,
        "observation.images.front": Kind.IMAGE,
    }
    assert [log.facts["success"] for log in logs] == [True, False, True]
    assert logs[1].read("observation.state").info.unit == "m"
    np.testing.assert_array_equal(logs[1].read("observation.state").array, samples.numbers(21) + np.float32(1))


def test_the_format_of_the_store_does_not_change_identity(tmp_path: Path) -> None:
    paths = [
        samples.make_replay_buffer(tmp_path / "two", format=2),
        samples.make_replay_buffer(tmp_path / "three", format=3),
        samples.make_replay_buffer(tmp_path / "zip", format=2, zipped=True),
    ]
    digests = [[log_digest(log) for log in open_folder(path).logs] for path in paths]
    assert digests[0] == digests[1] == digests[2]


def test_a_zip_may_pack_the_folder_or_what_is_in_it(tmp_path: Path) -> None:
    store = buffer(tmp_path / "x" / "run.zarr", {"action": samples.numbers()}, [20])
    inner, outer = packed(store, tmp_path / "inner.zarr.zip"), packed(store.parent, tmp_path / "outer.zarr.zip")
    first, second = (open_folder(path).logs[0] for path in (inner, outer))
    assert log_digest(first) == log_digest(second)


def test_a_rate_is_assumed_with_a_finding(tmp_path: Path) -> None:
    log = open_folder(buffer(tmp_path / "run.zarr", {"action": samples.numbers()}, [20])).logs[0]
    assert [f.check for f in log.findings] == ["rate_assumed"]
    assert log.read("action").times_ns[1] == 100_000_000


def test_whole_float_pictures_are_bytes(tmp_path: Path) -> None:
    store = buffer(tmp_path / "pusht.zarr", {"img": samples.pictures(12).astype(np.float32)}, [12])
    frames = open_folder(store).logs[0].read("observation.images.img").frames
    np.testing.assert_array_equal(frames.read(np.array([3, 1])), samples.pictures(12)[[3, 1]])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int32, np.uint8]), st.tuples(st.integers(3, 30), st.integers(1, 4))
    ),
    cut=st.integers(1, 29),
    chunk=st.integers(1, 9),
    format=st.sampled_from([2, 3]),
    window=st.tuples(st.integers(-2, 40), st.integers(-2, 40)),
)
def test_any_array_comes_back_equal_by_episode_and_window(
    tmp_path: Path, values: np.ndarray[Any, Any], cut: int, chunk: int, format: int, window: tuple[int, int]
) -> None:
    shutil.rmtree(tmp_path / "run.zarr", ignore_errors=True)
    ends = sorted({min(cut, len(values)), len(values)})
    store = buffer(tmp_path / "run.zarr", {"state": values}, ends, format, chunks=(chunk, values.shape[1]))
    logs = open_folder(store).logs
    parts = [log.read("observation.state").array for log in logs]
    assert parts[0].dtype == values.dtype
    np.testing.assert_array_equal(np.concatenate(parts), values)
    start, stop = (w * 100_000_000 for w in window)
    whole, some = logs[-1].read("observation.state"), logs[-1].read("observation.state", (start, stop))
    keep = (whole.times_ns >= start) & (whole.times_ns < stop)
    np.testing.assert_array_equal(some.array, whole.array[keep])


def test_opening_reads_no_chunk_and_a_window_its_own(tmp_path: Path) -> None:
    store = tmp_path / "large.zarr"
    group = zarr.open_group(store, mode="w")
    group.create_array("data/state", shape=(1_000_000, 8), chunks=(1000, 8), dtype="f8", fill_value=1.0)
    group["data/state"][:2000] = 2.0
    group.create_array("meta/episode_ends", data=np.array([1000, 500_000, 1_000_000]))
    for chunk in (store / "data" / "state" / "c").rglob("*"):
        if chunk.is_file() and chunk.parent.name != "0":
            chunk.write_bytes(b"never read")
    tracemalloc.start()
    logs = open_folder(store).logs
    window = logs[0].read("observation.state", (0, 10**9))
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    assert window.array.shape == (10, 8)
    with pytest.raises(LogUnreadable, match="chunk that cannot be read"):
        logs[1].read("observation.state", (0, 10**9))


def test_frames_of_a_zip_can_be_sent_to_a_worker_process(tmp_path: Path) -> None:
    log = open_folder(samples.make_replay_buffer(tmp_path / "made", zipped=True)).logs[2]
    frames = log.read("observation.images.front").frames
    data = pickle.dumps(frames)
    assert len(data) < 5_000
    np.testing.assert_array_equal(pickle.loads(data).read(np.array([5])), frames.read(np.array([5])))


# -------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("ends", [[10, 5, 20], [10, 10, 20], [0, 20], [-3, 20]])
def test_episode_ends_that_do_not_increase_are_refused(tmp_path: Path, ends: list[int]) -> None:
    store = buffer(tmp_path / "run.zarr", {"action": samples.numbers()}, ends)
    with pytest.raises(LogUnreadable, match="do not increase"):
        open_folder(store)


def test_episode_ends_of_another_type_are_refused(tmp_path: Path) -> None:
    store = buffer(tmp_path / "run.zarr", {"action": samples.numbers()}, [10.5, 20.0])
    with pytest.raises(LogUnreadable, match="not whole numbers"):
        open_folder(store)


def test_episodes_beyond_the_data_are_lost_and_said_so(tmp_path: Path) -> None:
    store = buffer(tmp_path / "run.zarr", {"action": samples.numbers()}, [8, 20, 33])
    folder = open_folder(store)
    assert [len(log.read("action")) for log in folder.logs] == [8, 12]
    (finding,) = folder.findings
    assert (finding.check, finding.value, finding.unit) == ("data_lost", 1.0, "episodes")
    short = open_folder(buffer(tmp_path / "short.zarr", {"action": samples.numbers()}, [8])).findings
    assert [(f.value, f.unit) for f in short] == [(12.0, "rows")]
    with pytest.raises(LogUnreadable, match="without a whole episode"):
        open_folder(buffer(tmp_path / "none.zarr", {"action": samples.numbers()}, [40]))


def test_an_array_that_is_shorter_than_the_others_is_a_finding(tmp_path: Path) -> None:
    store = buffer(tmp_path / "run.zarr", {"action": samples.numbers(), "state": samples.numbers(15)}, [10, 20])
    logs = open_folder(store).logs
    assert [(f.check, f.stream, f.value) for f in logs[1].findings if f.check != "rate_assumed"] == [
        ("count_mismatch", "observation.state", 5.0)
    ]
    assert len(logs[1].read("observation.state")) == 5


class Trap:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was loaded",))


def test_pickled_objects_are_refused_unread(tmp_path: Path) -> None:
    store = buffer(tmp_path / "run.zarr", {"action": samples.numbers(), "note": samples.numbers()}, [20])
    note = store / "data" / "note"
    edit(note / ".zarray", dtype="|O", filters=[{"id": "pickle", "protocol": 5}], compressor=None)
    for chunk in note.glob("[0-9]*"):
        chunk.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(LogUnreadable, match="unpickling"):
        open_folder(store)
    edit(note / ".zarray", filters=[{"id": "json2"}])
    with pytest.raises(LogUnreadable, match="does not hold numbers"):
        open_folder(store)


def test_consolidated_metadata_cannot_smuggle_a_pickle_in(tmp_path: Path) -> None:
    store = buffer(tmp_path / "run.zarr", {"action": samples.numbers()}, [20])
    array = json.loads((store / "data" / "action" / ".zarray").read_text())
    array |= {"dtype": "|O", "filters": [{"id": "pickle"}], "compressor": None}
    consolidated = {"data/action/.zarray": array, ".zgroup": {"zarr_format": 2}}
    (store / ".zmetadata").write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": consolidated}))
    np.testing.assert_array_equal(open_folder(store).logs[0].read("action").array, samples.numbers())


def test_a_codec_that_is_not_installed_is_named(tmp_path: Path) -> None:
    store = buffer(tmp_path / "umi.zarr", {"camera0_rgb": samples.pictures(8)}, [8])
    edit(store / "data" / "camera0_rgb" / ".zarray", compressor={"id": "imagecodecs_jpegxl", "lossless": False})
    with pytest.raises(LogUnreadable, match="not all installed") as caught:
        open_folder(store)
    assert "imagecodecs_jpegxl" in str(caught.value)
    assert "JPEG-XL" in str(caught.value)
    three = buffer(tmp_path / "three.zarr", {"camera0_rgb": samples.pictures(8)}, [8], 3)
    codecs = [{"name": "bytes"}, {"name": "imagecodecs_jpegxl", "configuration": {}}]
    edit(three / "data" / "camera0_rgb" / "zarr.json", codecs=codecs)
    with pytest.raises(LogUnreadable, match="imagecodecs_jpegxl"):
        open_folder(three)


@pytest.mark.parametrize("format", [2, 3])
def test_a_hundred_gigabytes_that_are_only_declared_are_refused_unallocated(tmp_path: Path, format: int) -> None:
    store = tmp_path / "huge.zarr"
    group = zarr.open_group(store, mode="w", zarr_format=format)  # type: ignore[arg-type]
    group.create_array("data/state", shape=(1_600_000_000, 8), chunks=(100_000, 8), dtype="f8")
    group.create_array("meta/episode_ends", data=np.array([1_600_000_000]))
    tracemalloc.start()
    log = open_folder(store).logs[0]
    for window in (None, (0, 10**9)):
        with pytest.raises(LogUnreadable, match="not stored"):
            log.read("observation.state", window)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


def test_chunks_larger_than_memory_are_refused(tmp_path: Path) -> None:
    store = buffer(tmp_path / "run.zarr", {"action": samples.numbers()}, [20])
    edit(store / "data" / "action" / ".zarray", shape=[20, 10**9], chunks=[20, 10**9])
    with pytest.raises(LogUnreadable, match="chunks beyond"):
        open_folder(store)


def test_damaged_chunks_and_metadata_are_refused(tmp_path: Path) -> None:
    store = buffer(tmp_path / "run.zarr", {"action": samples.numbers()}, [20])
    (store / "data" / "action" / "0.0").write_bytes(b"\x02\x01\x21\x04 no blosc")
    with pytest.raises(LogUnreadable, match="chunk that cannot be read"):
        open_folder(store).logs[0].read("action")
    (store / "data" / "action" / ".zarray").write_text("{")
    with pytest.raises(LogUnreadable, match="not JSON"):
        open_folder(store)
    (store / "data" / "action" / ".zarray").write_text("[" * 100_000)
    with pytest.raises(LogUnreadable, match="not JSON"):
        open_folder(store)


@pytest.mark.parametrize("name", ["../outside", "/etc/cron.d/x", "data/../../x", "C:/x", "data\\x"])
def test_zip_entries_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    path = packed(buffer(tmp_path / "run.zarr", {"action": samples.numbers()}, [20]), tmp_path / "run.zarr.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, "x")
    with pytest.raises(LogUnreadable, match="leave its folder"):
        open_folder(path)


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    store = buffer(tmp_path / "run.zarr", {"action": samples.numbers()}, [20])
    path = packed(store, tmp_path / "run.zarr.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as file:
        file.writestr("data/action/9.0", b"\0" * 30_000_000)
    with pytest.raises(LogUnreadable, match="no compression explains"):
        open_folder(path)


def test_a_zip_whose_directory_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    store = buffer(tmp_path / "run.zarr", {"action": samples.numbers()}, [20])
    path = packed(store, tmp_path / "run.zarr.zip", zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        info = file.getinfo("data/action/0.0")
    at = data.index(b"PK\x01\x02", data.rindex(b"PK\x01\x02", 0, data.rindex(info.filename.encode())) - 1)
    lied = data[: at + 24] + (3).to_bytes(4, "little") + data[at + 28 :]
    path.write_bytes(lied)
    with pytest.raises(LogUnreadable):
        open_folder(path).logs[0].read("action")


def test_a_zip_that_is_cut_off_or_holds_no_buffer_is_refused(tmp_path: Path) -> None:
    path = packed(buffer(tmp_path / "run.zarr", {"action": samples.numbers()}, [20]), tmp_path / "run.zarr.zip")
    cut = tmp_path / "cut.zarr.zip"
    cut.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(LogUnreadable, match="zip file that cannot be read"):
        open_folder(cut)
    with zipfile.ZipFile(tmp_path / "other.zarr.zip", "w") as file:
        file.writestr("hello.txt", "x")
    with pytest.raises(LogUnreadable, match="without meta/episode_ends"):
        open_folder(tmp_path / "other.zarr.zip")


def test_a_folder_without_a_buffer_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    assert not replay_buffer.detect(tmp_path)
    with pytest.raises(NotFound):
        replay_buffer.open_logs(tmp_path)
