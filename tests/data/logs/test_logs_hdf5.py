"""robomimic and ACT: values as written, windows as slices, and everything that an HDF5 file can do to a reader."""

from __future__ import annotations

import contextlib
import json
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.data.logs import samples

from worldgate.core.errors import ConfigError, LogUnreadable, NotFound
from worldgate.core.streams import Kind, Log, Origin, log_digest
from worldgate.data.logs import _images as images
from worldgate.data.logs import act, open_folder, robomimic
from worldgate.data.logs._h5 import H5Array

ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int16, np.uint8, np.int64]),
    st.tuples(st.integers(1, 40), st.integers(1, 5)),
)


def act_file(path: Path, change: Callable[[h5py.File], None] = lambda file: None) -> Path:
    with h5py.File(path, "w") as file:
        file["action"] = samples.numbers(20, 2)
        file["observations/qpos"] = samples.numbers()
        change(file)
    return path


def only(path: Path) -> Log:
    (log,) = open_folder(path).logs
    return log


# -------------------------------------------------------------------- what is read


def test_robomimic_streams_are_named_as_lerobot_names_them(tmp_path: Path) -> None:
    log = open_folder(samples.make_robomimic(tmp_path / "demo.hdf5")).logs[0]
    kinds = {info.name: info.kind for info in log.streams()}
    assert kinds["action"] is Kind.ACTION
    assert kinds["observation.images.front"] is Kind.IMAGE
    assert kinds["observation.depth.front"] is Kind.DEPTH
    assert {"observation.robot0_eef_pos", "observation.object", "environment.state", "done"} <= set(kinds)
    assert not any("next_obs" in name for name in kinds)
    np.testing.assert_array_equal(log.read("environment.state").array, samples.numbers(20, 9))


def test_robomimic_takes_rate_task_and_origin_from_env_args_and_split_from_masks(tmp_path: Path) -> None:
    logs = open_folder(samples.make_robomimic(tmp_path / "demo.hdf5")).logs
    assert [log.origin for log in logs] == [Origin.SIMULATED] * 3
    assert [log.facts["split"] for log in logs] == ["train", "train", "valid"]
    assert logs[0].facts["env_name"] == "Lift"
    assert "model_file" not in logs[0].facts
    assert logs[0].read("action").times_ns[1] == 50_000_000
    assert logs[0].streams()[0].rate_hz == 20


def test_demos_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = samples.make_robomimic(tmp_path / "demo.hdf5", demos=12)
    assert [log.name for log in open_folder(path).logs] == [f"demo_{i}" for i in range(12)]


def test_an_environment_that_is_no_simulator_is_real_and_an_unstated_rate_is_a_finding(tmp_path: Path) -> None:
    path = samples.make_robomimic(tmp_path / "demo.hdf5", demos=1)
    with h5py.File(path, "a") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": "Panda", "type": 4, "env_kwargs": {}})
    log = only(path)
    assert log.origin is Origin.REAL
    (finding,) = log.findings
    assert finding.check == "rate_assumed"
    assert finding.value == 20.0


def test_act_names_and_the_sim_attribute(tmp_path: Path) -> None:
    log = open_folder(samples.make_act(tmp_path / "act")).logs[0]
    assert {i.name for i in log.streams()} == {
        "action",
        "observation.state",
        "observation.velocity",
        "observation.images.front",
    }
    assert log.origin is Origin.SIMULATED
    assert only(act_file(tmp_path / "real.hdf5")).origin is Origin.REAL


def test_act_without_a_rate_assumes_alohas_and_says_so(tmp_path: Path) -> None:
    log = only(act_file(tmp_path / "episode_0.hdf5"))
    assert log.read("action").times_ns[1] == 20_000_000
    assert [f.check for f in log.findings] == ["rate_assumed"]
    assert "worldgate-log.toml" in log.findings[0].message


def test_a_compressed_picture_has_one_identity_however_far_it_is_padded(tmp_path: Path) -> None:
    encoded = [images.encode(picture, "jpeg") for picture in samples.pictures(4)]

    def padded(extra: int) -> Callable[[h5py.File], None]:
        length = max(map(len, encoded)) + extra

        def write(file: h5py.File) -> None:
            rows = [np.frombuffer(data.ljust(length, b"\0"), np.uint8) for data in encoded]
            file["observations/images/top"] = np.stack(rows)

        return write

    def bytestrings(file: h5py.File) -> None:
        file["observations/images/top"] = np.array(encoded, dtype=f"S{max(map(len, encoded))}")

    def variable(file: h5py.File) -> None:
        held = file.create_dataset("observations/images/top", (4,), dtype=h5py.vlen_dtype(np.uint8))
        for row, data in enumerate(encoded):
            held[row] = np.frombuffer(data, np.uint8)

    logs = [
        only(act_file(tmp_path / f"{i}.hdf5", write))
        for i, write in enumerate((padded(0), padded(777), bytestrings, variable))
    ]
    streams = [log.read("observation.images.top") for log in logs]
    assert len({stream.content_digest() for stream in streams}) == 1
    for stream in streams:
        np.testing.assert_array_equal(stream.frames.read(np.arange(4)), streams[0].frames.read(np.arange(4)))
    assert np.abs(streams[0].frames.read(np.arange(4)).astype(int) - samples.pictures(4)).mean() < 8


def test_chunks_and_compression_do_not_change_identity(tmp_path: Path) -> None:
    def write(**options: Any) -> Callable[[h5py.File], None]:
        def change(file: h5py.File) -> None:
            file.create_dataset("observations/images/top", data=samples.pictures(6), **options)

        return change

    plain = only(act_file(tmp_path / "a.hdf5", write()))
    packed = only(act_file(tmp_path / "b.hdf5", write(chunks=(2, 32, 48, 1), compression="gzip", shuffle=True)))
    assert log_digest(plain) == log_digest(packed)


def test_planar_and_float_pictures_are_the_same_pictures(tmp_path: Path) -> None:
    pictures = samples.pictures(5)

    def write(values: np.ndarray[Any, Any]) -> Callable[[h5py.File], None]:
        def change(file: h5py.File) -> None:
            file["observations/images/top"] = values

        return change

    forms = [pictures, np.moveaxis(pictures, 3, 1), pictures.astype(np.float32)]
    logs = [only(act_file(tmp_path / f"{i}.hdf5", write(values))) for i, values in enumerate(forms)]
    assert len({log_digest(log) for log in logs}) == 1
    np.testing.assert_array_equal(logs[1].read("observation.images.top").frames.read(np.array([3])), pictures[3:4])
    scaled = only(act_file(tmp_path / "scaled.hdf5", write(pictures / np.float32(255))))
    with pytest.raises(LogUnreadable, match="not whole numbers"):
        scaled.read("observation.images.top").frames.read(np.array([0]))


def test_frames_can_be_sent_to_a_worker_process(tmp_path: Path) -> None:
    for path in (samples.make_act(tmp_path / "jpeg"), samples.make_act(tmp_path / "raw", compressed=False)):
        frames = open_folder(path).logs[0].read("observation.images.front").frames
        copy = pickle.loads(pickle.dumps(frames))
        np.testing.assert_array_equal(copy.read(np.array([2])), frames.read(np.array([2])))


def test_a_mapping_file_joins_arrays_and_names_channels_and_units(tmp_path: Path) -> None:
    root = samples.make_act(tmp_path / "act")
    (root / "worldgate-log.toml").write_text(
        'rate_hz = 25\n[facts]\ntask = "pour"\n'
        '[streams."observation.state"]\nsource = ["observations/qpos", "observations/qvel"]\n'
        'unit = "rad,rad,rad,rad/s,rad/s,rad/s"\nnames = ["a", "b", "c", "da", "db", "dc"]\n'
        '[streams.action]\nunit = "rad"\n'
    )
    log = open_folder(root).logs[0]
    state = log.read("observation.state")
    assert state.info.unit.endswith("rad/s")
    assert state.info.names[3] == "da"
    np.testing.assert_array_equal(state.array, np.hstack([samples.numbers(), samples.numbers()]))
    assert state.times_ns[1] == 40_000_000
    assert log.read("action").info.unit == "rad"
    assert log.facts["task"] == "pour"
    assert log.findings == ()
    assert "observation.velocity" not in {info.name for info in log.streams()}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rate = 20", "unknown key"),
        ('[streams."observation.state"]\nsources = ["a"]', "unknown key"),
        ('[streams."observation.state"]\nsource = ["observations/nothing"]', "no such stream"),
        ('[streams."observation.state"]\nsource = ["observations/qpos", "observations/images/front"]', "side by side"),
        ('[streams."observation.state"]\nnames = ["a"]', "as many names as channels"),
        ("[streams.nothing]\nunit = 'rad'", "no such stream"),
        ('origin = "real"', "cannot become real"),
        ("rate_hz = -5", "a rate in Hz"),
    ],
)
def test_a_mapping_file_that_does_not_fit_is_an_error_by_its_key(tmp_path: Path, text: str, says: str) -> None:
    root = samples.make_act(tmp_path / "act")
    (root / "worldgate-log.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        open_folder(root)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=ARRAYS, window=st.tuples(st.integers(-5, 50), st.integers(-5, 50)), data=st.data())
def test_any_array_comes_back_equal_and_a_window_is_its_slice(
    tmp_path: Path, state: np.ndarray[Any, Any], window: tuple[int, int], data: st.DataObject
) -> None:
    chunks = data.draw(st.one_of(st.none(), st.integers(1, 7)))
    path = tmp_path / "episode.hdf5"
    with h5py.File(path, "w") as file:
        options = {} if chunks is None else {"chunks": (chunks, state.shape[1]), "maxshape": (None, state.shape[1])}
        file.create_dataset("observations/qpos", data=state, **options)
        file["action"] = np.zeros((len(state), 1))
    log = only(path)
    whole = log.read("observation.state")
    assert whole.array.dtype == state.dtype
    np.testing.assert_array_equal(whole.array, state)
    start, stop = (w * 20_000_000 for w in window)
    part = log.read("observation.state", (start, stop))
    keep = (whole.times_ns >= start) & (whole.times_ns < stop)
    np.testing.assert_array_equal(part.array, state[keep])
    np.testing.assert_array_equal(part.times_ns, whole.times_ns[keep])


@settings(max_examples=25, deadline=None)
@given(rate=st.floats(0.1, 2000), count=st.integers(1, 500), bound=st.integers(-(10**9), 10**12))
def test_the_first_row_of_a_window_is_exact_at_any_rate(rate: float, count: int, bound: int) -> None:
    from worldgate.data.logs._arrays import ArrayLog

    log = ArrayLog(name="x", origin=Origin.REAL, arrays={}, rate_hz=rate)
    times = log._times(np.arange(count))
    assert log._range(count, (bound, 10**18))[0] == int((times < bound).sum())


# -------------------------------------------------------------------- lazily


def test_opening_and_windows_do_not_load_arrays(tmp_path: Path) -> None:
    """12 MB of numbers and 60 MB of pictures: opening takes neither, a window its rows."""
    path = tmp_path / "large.hdf5"
    with h5py.File(path, "w") as file:
        file["action"] = np.zeros((200_000, 2))
        file["observations/qpos"] = np.ones((200_000, 8))
        pictures = file.create_dataset("observations/images/top", (200, 320, 320, 3), np.uint8, chunks=(1, 320, 320, 3))
        for row in range(200):
            pictures[row] = row
    tracemalloc.start()
    log = only(path)
    log.streams()
    frames = log.read("observation.images.top").frames
    window = log.read("observation.state", (0, 10**9))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(window) == 50
    assert peak < 3_000_000
    assert frames.read(np.array([7]))[0, 0, 0, 0] == 7


def test_rows_are_read_in_slices_of_neighbours(tmp_path: Path) -> None:
    path = samples.make_act(tmp_path / "act", compressed=False) / "episode_0.hdf5"
    with h5py.File(path) as file:
        array = H5Array.of(path, file["observations/qpos"], "q")
    rows = np.array([5, 4, 19, 5, 0])
    np.testing.assert_array_equal(array.read(rows), samples.numbers()[rows])


# -------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("at", "value"),
    [("free", 0), ("free", 8), ("free", 2**64 - 8), ("first", 2**64 - 16), ("first", 3000), ("whole", 65536)],
)
def test_a_heap_that_libhdf5_would_read_for_ever_is_refused(tmp_path: Path, at: str, value: int) -> None:
    """Named reproduction: atheris, a robomimic file whose attribute never came back."""
    path = samples.make_robomimic(tmp_path / "demo.hdf5", demos=1)
    assert open_folder(path).logs
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL")
    places, step = {"whole": heap + 8, "first": heap + 24}, heap + 16
    while int.from_bytes(data[step : step + 2], "little"):
        step += 16 + (int.from_bytes(data[step + 8 : step + 16], "little") + 7) // 8 * 8
    places["free"] = step + 8
    data[places[at] : places[at] + 8] = value.to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(LogUnreadable, match="for ever") as caught:
        robomimic.open_logs(path)
    assert f"byte {heap}" in str(caught.value.got)


@pytest.mark.parametrize("value", [2**64 - 1, 2**63, 5000])
def test_a_heap_that_is_wrong_and_ends_is_left_to_libhdf5(tmp_path: Path, value: int) -> None:
    path = samples.make_robomimic(tmp_path / "demo.hdf5", demos=1)
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 24
    data[at : at + 8] = value.to_bytes(8, "little")
    path.write_bytes(data)
    with contextlib.suppress(LogUnreadable):
        assert robomimic.open_logs(path).logs


def test_a_truncated_file_is_refused_and_says_so(tmp_path: Path) -> None:
    path = samples.make_robomimic(tmp_path / "demo.hdf5")
    data = path.read_bytes()
    for share in (0.3, 0.7, 0.99):
        cut = tmp_path / f"cut{share}.hdf5"
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(LogUnreadable, match="cut off"):
            robomimic.open_logs(cut)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 30_000), noise=st.binary(min_size=1, max_size=40))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path: Path, at: int, noise: bytes) -> None:
    source = tmp_path / "whole.hdf5"
    if not source.exists():
        samples.make_robomimic(source, demos=1)
    data = bytearray(source.read_bytes())
    at = 8 + at % (len(data) - 8 - len(noise))
    data[at : at + len(noise)] = noise
    path = tmp_path / "damaged.hdf5"
    path.write_bytes(data)
    with contextlib.suppress(LogUnreadable, NotFound):
        for log in robomimic.open_logs(path).logs:
            for info in log.streams():
                stream = log.read(info.name, (0, 10**9))
                if info.kind in {Kind.IMAGE, Kind.DEPTH} and len(stream):
                    stream.frames.read(np.array([0]))


def test_external_and_soft_links_are_refused_unopened(tmp_path: Path) -> None:
    secret = act_file(tmp_path / "secret.hdf5")

    def external(file: h5py.File) -> None:
        file["observations/qvel"] = h5py.ExternalLink(str(secret), "/action")

    def soft(file: h5py.File) -> None:
        file["observations/qvel"] = h5py.SoftLink("/action")

    def outer(file: h5py.File) -> None:
        del file["observations"]
        file["observations"] = h5py.ExternalLink("/dev/random", "/observations")

    for name, change in (("external", external), ("soft", soft), ("outer", outer)):
        path = act_file(tmp_path / f"{name}.hdf5", change)
        with pytest.raises(LogUnreadable):
            act.open_logs(path)
        assert not act.detect(path) or name != "outer"


def test_values_that_lie_in_another_file_are_refused(tmp_path: Path) -> None:
    raw = tmp_path / "raw.bin"
    raw.write_bytes(b"secret!!" * 100)

    def stored(file: h5py.File) -> None:
        file.create_dataset("observations/effort", (20, 3), np.float32, external=[(str(raw), 0, 240)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(shape=(20, 2), dtype=np.float32)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf5"), "action", shape=(20, 2))
        file.create_virtual_dataset("observations/effort", layout)

    for name, change in (("stored", stored), ("virtual", virtual)):
        with pytest.raises(LogUnreadable, match="lie in another file"):
            act.open_logs(act_file(tmp_path / f"{name}.hdf5", change))


def test_objects_are_refused(tmp_path: Path) -> None:
    def references(file: h5py.File) -> None:
        file.create_dataset("observations/effort", data=np.array([file["action"].ref] * 20), dtype=h5py.ref_dtype)

    def ragged(file: h5py.File) -> None:
        file.create_dataset("observations/effort", (20,), dtype=h5py.vlen_dtype(np.float64))

    for name, change in (("references", references), ("ragged", ragged)):
        with pytest.raises(LogUnreadable, match="a dataset of objects"):
            act.open_logs(act_file(tmp_path / f"{name}.hdf5", change))


@pytest.mark.parametrize("chunks", [None, (1000, 1000)])
def test_a_hundred_gigabytes_that_are_only_declared_are_refused_unallocated(
    tmp_path: Path, chunks: tuple[int, ...] | None
) -> None:
    def declared(file: h5py.File) -> None:
        made = file.create_dataset("observations/effort", (12_500_000, 1000), np.float64, chunks=chunks)
        if chunks:
            made[:1000] = 1.0

    path = act_file(tmp_path / "episode.hdf5", declared)
    assert path.stat().st_size < 20_000_000
    log = only(path)
    tracemalloc.start()
    with pytest.raises(LogUnreadable):
        log.read("observation.effort")
    with pytest.raises(LogUnreadable, match="not stored"):
        log.read("observation.effort", (0, 10**9))
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert any(f.check == "count_mismatch" and f.stream == "observation.effort" for f in log.findings)
    assert len(log.read("observation.state")) == 20  # the others can be read


def test_a_compressed_bomb_is_refused(tmp_path: Path) -> None:
    def bomb(file: h5py.File) -> None:
        # Every chunk is stored, as nothing but zeros of zeros.
        options = {"chunks": (4096, 1024), "compression": "gzip", "compression_opts": 9, "dtype": np.float64}
        made = file.create_dataset("observations/effort", (4096 * 200, 1024), **options)
        made.id.write_direct_chunk((0, 0), b"\0" * 10)
        for chunk in range(200):
            made.id.write_direct_chunk((chunk * 4096, 0), b"\0" * 10)

    with pytest.raises(LogUnreadable):
        only(act_file(tmp_path / "episode.hdf5", bomb)).read("observation.effort", (0, 10**9))


def test_a_filter_that_is_not_installed_is_named(tmp_path: Path) -> None:
    def blosc(file: h5py.File) -> None:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((20, 3))
        plan.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((20, 3))
        h5py.h5d.create(file["observations"].id, b"effort", h5py.h5t.IEEE_F64LE, space, plan)

    with pytest.raises(LogUnreadable, match="not installed") as caught:
        act.open_logs(act_file(tmp_path / "episode.hdf5", blosc))
    assert "32001" in str(caught.value)


def test_a_cut_picture_is_named_by_its_frame(tmp_path: Path) -> None:
    encoded = [images.encode(picture, "jpeg") for picture in samples.pictures(4)]

    def write(file: h5py.File) -> None:
        longest = max(map(len, encoded))
        rows = [np.frombuffer(data.ljust(longest, b"\0"), np.uint8).copy() for data in encoded]
        rows[2][400:] = 0
        file["observations/images/top"] = np.stack(rows)

    frames = only(act_file(tmp_path / "episode.hdf5", write)).read("observation.images.top").frames
    assert len(frames.read(np.array([0, 1, 3]))) == 3
    with pytest.raises(LogUnreadable, match="cut off") as caught:
        frames.read(np.array([2]))
    assert "frame 2" in str(caught.value)


def test_arrays_that_disagree_in_length_are_findings(tmp_path: Path) -> None:
    path = samples.make_robomimic(tmp_path / "demo.hdf5", demos=1)
    with h5py.File(path, "a") as file:
        del file["data/demo_0/obs/object"]
        file["data/demo_0/obs/object"] = samples.numbers(13, 4)
    (finding,) = only(path).findings
    assert (finding.check, finding.stream, finding.value, finding.limit) == (
        "count_mismatch",
        "observation.object",
        13.0,
        20.0,
    )


def test_env_args_that_are_no_json_are_refused(tmp_path: Path) -> None:
    path = samples.make_robomimic(tmp_path / "demo.hdf5", demos=1)
    with h5py.File(path, "a") as file:
        file["data"].attrs["env_args"] = "{'env_name': os.system('true')}"
    with pytest.raises(LogUnreadable, match="not a JSON object"):
        robomimic.open_logs(path)
