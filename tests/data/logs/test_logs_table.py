"""Plain folders: stamps exact to the ns, windows as slices, and mappings and tables that are wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.data.logs import samples

from worldgate.core.errors import ConfigError, DataRefused, LogUnreadable, UsageError
from worldgate.core.streams import Kind, Log, Origin
from worldgate.data.ingest import ingest
from worldgate.data.logs import open_folder, table
from worldgate.data.logs._tables import TableFile
from worldgate.record.workspace import Workspace

HEAD = 'format = "table"\n'
STATE = '[streams."observation.state"]\n'


def folder(root: Path, mapping: str, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "worldgate-log.toml").write_text(HEAD + mapping)
    for name, text in files.items():
        (root / name.replace("_", ".")).write_text(text)
    return root


def state(root: Path, csv: str, unit: str = "s", columns: str = '"a"', more: str = "") -> Path:
    entry = f'{STATE}file = "a.csv"\ntime = "t"\ntime_unit = "{unit}"\ncolumns = [{columns}]\n{more}\n'
    return folder(root, entry, a_csv=csv)


def only(path: Path) -> Log:
    (log,) = open_folder(path).logs
    return log


# -------------------------------------------------------------------- what is read


def test_a_folder_of_runs_reads_as_its_mapping_says(tmp_path: Path) -> None:
    logs = open_folder(samples.make_table(tmp_path / "made")).logs
    assert [log.name for log in logs] == ["run_0", "run_1"]
    assert [log.facts for log in logs] == [
        {"task": "push the block", "success": True},
        {"task": "push the block", "success": False},
    ]
    first = logs[0]
    assert first.origin is Origin.SIMULATED
    joints = first.read("observation.state")
    assert joints.info.names == ("a", "b", "c")
    assert (joints.info.unit, joints.info.clock) == ("rad", "header")
    np.testing.assert_array_equal(joints.array, samples.numbers().astype(np.float64))
    assert joints.times_ns[0] == samples.START_NS  # nine digits of a second survive
    action = first.read("action")
    assert (action.info.kind, action.info.names, action.array.dtype) == (Kind.ACTION, ("x", "y"), np.float32)
    np.testing.assert_array_equal(action.array, samples.numbers(20, 2))
    assert first.read("note").array[3] == "said 3"


def test_frames_take_stamps_from_a_list_a_rate_or_the_video(tmp_path: Path) -> None:
    first = open_folder(samples.make_table(tmp_path / "made")).logs[0]
    listed, paced = first.read("observation.images.front"), first.read("observation.images.wrist")
    assert listed.times_ns[1] - listed.times_ns[0] == 10_000_000
    assert listed.times_ns[0] == samples.START_NS // 1000 * 1000
    assert (listed.info.clock, paced.info.clock) == ("log", "frame")
    assert paced.times_ns[:2].tolist() == [1_700_000_000_123_456_000, 1_700_000_000_156_789_333]
    samples.encode_video(tmp_path / "plain" / "v.mp4", samples.pictures(9), 20)
    plain = only(folder(tmp_path / "plain", '[streams."observation.images.top"]\nvideo = "v.mp4"\n'))
    assert plain.read("observation.images.top").times_ns[:3].tolist() == [0, 50_000_000, 100_000_000]
    column = '[streams.c]\nvideo = "v.mp4"\nfile = "a.csv"\ntime = "t"\ntime_unit = "ms"\n'
    rows = "n,t\n" + "\n".join(f"{i},{i * 7}.5" for i in range(9))
    stamped = only(folder(tmp_path / "plain", column, a_csv=rows)).read("c")
    assert stamped.times_ns[:2].tolist() == [500_000, 7_500_000]


def test_rows_without_stamps_take_a_declared_rate(tmp_path: Path) -> None:
    entry = f'{STATE}file = "a.csv"\ncolumns = ["a"]\nrate_hz = 4.0\nstart_ns = 7\n'
    stream = only(folder(tmp_path / "x", entry, a_csv="a\n1\n2\n3\n")).read("observation.state")
    assert stream.times_ns.tolist() == [7, 250_000_007, 500_000_007]
    assert (stream.info.clock, stream.info.rate_hz) == ("frame", 4.0)


@pytest.mark.parametrize(
    ("unit", "cell", "ns"),
    [
        ("s", "1700000000.123456789", 1_700_000_000_123_456_789),
        ("s", "-0.5", -500_000_000),
        ("s", "1.7e9", 1_700_000_000_000_000_000),
        ("s", " 12 ", 12_000_000_000),
        ("s", "0.1234567891", 123_456_789),
        ("ms", "1700000000123.4", 1_700_000_000_123_400_000),
        ("us", "1700000000123456.789", 1_700_000_000_123_456_789),
        ("ns", "1700000000123456789", 1_700_000_000_123_456_789),
        ("iso", "2026-11-22T10:00:00.000000001Z", 1_795_341_600_000_000_001),
    ],
)
def test_stamps_are_exact(tmp_path: Path, unit: str, cell: str, ns: int) -> None:
    log = only(state(tmp_path / "x", f"t,a\n{cell},1\n", unit))
    assert log.read("observation.state").times_ns.tolist() == [ns]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_and_line_ends_do_not_matter(tmp_path: Path, encoding: str, end: str) -> None:
    path = state(tmp_path / "x", "")
    (path / "a.csv").write_bytes(end.join(["t,a", "0.5,1", '1.5,"2"', ""]).encode(encoding))
    assert only(path).read("observation.state").array.tolist() == [[1.0], [2.0]]


def test_semicolons_tabs_and_empty_cells(tmp_path: Path) -> None:
    log = only(state(tmp_path / "x", "t;a;b\n1;2;\n2;nan;4\n", columns='"a", "b"', more='delimiter = ";"'))
    values = log.read("observation.state").array
    np.testing.assert_array_equal(values, [[2.0, np.nan], [np.nan, 4.0]])
    entry = f'{STATE}file = "a.tsv"\ntime = "t"\ntime_unit = "s"\ncolumns = ["a"]\n'
    assert only(folder(tmp_path / "y", entry, a_tsv="t\ta\n1\t2\n")).read("observation.state").array.tolist() == [[2.0]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 4))),
    stamps=st.lists(st.integers(-(2**62), 2**62), min_size=40, max_size=40),
    window=st.tuples(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62)),
)
def test_any_csv_comes_back_equal_and_a_window_is_its_slice(
    tmp_path: Path, values: np.ndarray[Any, Any], stamps: list[int], window: tuple[int, int]
) -> None:
    columns = [f"c{i}" for i in range(values.shape[1])]
    times = np.array(stamps[: len(values)], dtype=np.int64)
    rows = [",".join([str(t), *(repr(float(v)) for v in row)]) for t, row in zip(times, values, strict=True)]
    text = "t," + ",".join(columns) + "\n" + "\n".join(rows) + "\n"
    log = only(state(tmp_path / "x", text, "ns", ", ".join(f'"{c}"' for c in columns)))
    whole = log.read("observation.state")
    np.testing.assert_array_equal(whole.array, values)
    np.testing.assert_array_equal(whole.times_ns, times)
    keep = (times >= window[0]) & (times < window[1])
    part = log.read("observation.state", window)
    np.testing.assert_array_equal(part.array, values[keep])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int16, np.int64, np.bool_]),
        st.tuples(st.integers(1, 60), st.integers(1, 4)),
    ),
    lists=st.booleans(),
    group=st.integers(1, 20),
    window=st.tuples(st.integers(-5, 70), st.integers(-5, 70)),
)
def test_any_parquet_comes_back_equal_and_a_window_is_its_slice(
    tmp_path: Path, values: np.ndarray[Any, Any], lists: bool, group: int, window: tuple[int, int]
) -> None:
    times = pa.array(np.arange(len(values), dtype=np.int64))
    if lists:
        held = {"v": pa.array(values.tolist(), type=pa.list_(pa.from_numpy_dtype(values.dtype)))}
    else:
        held = {f"c{i}": pa.array(values[:, i]) for i in range(values.shape[1])}
    columns = ", ".join(f'"{name}"' for name in held)
    entry = f'{STATE}file = "a.parquet"\ntime = "t"\ntime_unit = "ms"\ncolumns = [{columns}]\n'
    path = folder(tmp_path / "x", entry)
    pq.write_table(pa.table({"t": times, **held}), path / "a.parquet", row_group_size=group)
    log = only(path)
    whole = log.read("observation.state")
    expected = values.astype(np.uint8) if values.dtype == np.bool_ else values
    assert whole.array.dtype == expected.dtype
    np.testing.assert_array_equal(whole.array, expected)
    part = log.read("observation.state", (window[0] * 1_000_000, window[1] * 1_000_000))
    keep = (whole.times_ns >= window[0] * 1_000_000) & (whole.times_ns < window[1] * 1_000_000)
    np.testing.assert_array_equal(part.array, expected[keep])


def test_parquet_stamps_of_every_type(tmp_path: Path) -> None:
    columns = {
        "stamp": pa.array([1_700_000_000_123_456, 1_700_000_001_000_000], type=pa.timestamp("us", "Europe/Berlin")),
        "float": pa.array([1_700_000_000.25, 0.1]),
        "whole": pa.array([1_700_000_000, 3], type=pa.int32()),
        "text": pa.array(["1.5", "2.5"]),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    file = TableFile(path=tmp_path / "a.parquet")
    assert file.stamps("stamp", "").tolist() == [1_700_000_000_123_456_000, 1_700_000_001_000_000_000]
    assert file.stamps("float", "s").tolist() == [1_700_000_000_250_000_000, 100_000_000]
    assert file.stamps("whole", "s").tolist() == [1_700_000_000_000_000_000, 3_000_000_000]
    assert file.stamps("text", "s").tolist() == [1_500_000_000, 2_500_000_000]
    with pytest.raises(ConfigError, match="stamps without a unit"):
        file.stamps("float", "")


_READING = """
import json, sys, time, tracemalloc
from pathlib import Path
import numpy as np, pyarrow as pa
from worldgate.data.logs import open_folder
(first,) = open_folder(Path(sys.argv[1])).logs
first.read("observation.state", (0, 10_000))  # what the first reading of a process imports
before = pa.total_allocated_bytes()
tracemalloc.start()
(log,) = open_folder(Path(sys.argv[2])).logs
opened = tracemalloc.get_traced_memory()[1]
window = log.read("observation.state", (10_000_000, 10_100_000))
read = tracemalloc.get_traced_memory()[1]
tracemalloc.stop()
np.save(sys.argv[3], window.array)
ends = time.monotonic() + 10  # a reader that was left early gives back what it had read ahead a little later
while pa.total_allocated_bytes() - before >= 1_000_000 and time.monotonic() < ends:
    time.sleep(0.02)
print(json.dumps([opened, read, pa.total_allocated_bytes() - before]))
"""


def test_opening_reads_headers_and_a_window_keeps_its_rows(tmp_path: Path) -> None:
    """In a process of its own: what other tests leave to be freed would count, too."""
    table_of = pa.table(
        {"t": np.arange(200_000), **{f"c{i}": np.random.default_rng(i).random(200_000) for i in range(8)}}
    )
    columns = ", ".join(f'"c{i}"' for i in range(8))
    path = state(tmp_path / "x", "", "us", columns)
    pa.csv.write_csv(table_of, path / "a.csv")
    first = state(tmp_path / "first" / "x", "t,a\n1,2\n", "us", '"a"')
    paths = [str(first), str(path), str(tmp_path / "window.npy")]
    answer = subprocess.run([sys.executable, "-c", _READING, *paths], capture_output=True, text=True, check=True)
    opened, read, kept = json.loads(answer.stdout)
    assert opened < 500_000  # no stamps yet
    assert read < 9_000_000  # stamps and a batch, not 13 MB of values
    assert kept < 1_000_000
    window = np.load(tmp_path / "window.npy")
    assert window.shape == (100, 8)
    np.testing.assert_array_equal(window[:, 3], table_of["c3"].to_numpy()[10_000:10_100])


# -------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        (f'{STATE}file = "a.csv"\ntime = "t"\ntime_unit = "s"\ncolums = ["a"]', "unknown key"),
        (f'{STATE}file = "a.csv"\ntime = "t"\ntime_unit = "minutes"\ncolumns = ["a"]', "should be"),
        (f'{STATE}file = "a.csv"\ntime = "t"\ncolumns = ["a"]', "time without time_unit"),
        (f'{STATE}file = "a.csv"\ncolumns = ["a"]', "neither time nor rate_hz"),
        (f'{STATE}file = "a.csv"\ntime = "t"\ntime_unit = "s"', "a file without columns"),
        (f"{STATE}kind = 'vector'", "neither file nor video"),
        (f'{STATE}video = "v.mp4"\nkind = "vector"', "a video is an image"),
        (f'{STATE}file = "a.csv"\ntime = "t"\ntime_unit = "s"\ncolumns = ["a"]\nkind = "image"', "no such kind"),
        (f'{STATE}file = "a.csv"\ntime = "t"\ntime_unit = "s"\ncolumns = ["a", "t"]\nkind = "text"', "one column"),
        (f'{STATE}file = "a.csv"\ntime = "t"\ntime_unit = "s"\ncolumns = ["b"]', "no such column"),
        (f'logs = "../*"\n{STATE}file = "a.csv"\nrate_hz = 1.0\ncolumns = ["a"]', "leaves the folder"),
        ("", "missing|required"),
        ("[streams]", "a folder without streams"),
    ],
)
def test_a_mapping_that_is_wrong_is_an_error_that_names_the_file(tmp_path: Path, mapping: str, says: str) -> None:
    path = folder(tmp_path / "x", mapping, a_csv="t,a\n1,2\n")
    with pytest.raises(ConfigError, match=says) as caught:
        open_folder(path)
    assert "x" in str(caught.value.where)


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    path = folder(tmp_path / "x", f'{STATE}file = "a.csv"\ntime = "t"\ntime_unt = "s"\ncolumns = ["a"]', a_csv="t,a\n")
    with pytest.raises(ConfigError) as caught:
        open_folder(path)
    assert "time_unit" in str(caught.value.hint)


def test_a_unit_that_is_not_known_and_a_pose_of_six_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a known unit"):
        only(state(tmp_path / "x", "t,a\n1,2\n", more='unit = "radians"')).streams()
    with pytest.raises(ConfigError, match="a pose is"):
        only(state(tmp_path / "y", "t,a\n1,2\n", more='kind = "pose"')).streams()


@pytest.mark.parametrize("name", ["gone.csv", "../outside.csv", "/etc/passwd", "runs/../../outside.csv"])
def test_files_that_are_absent_or_outside_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.csv").write_text("t,a\n1,2\n")
    entry = f'{STATE}file = "{name}"\ntime = "t"\ntime_unit = "s"\ncolumns = ["a"]\n'
    with pytest.raises(LogUnreadable, match=r"not there|leaves its folder"):
        open_folder(folder(tmp_path / "x", entry))
    with pytest.raises(LogUnreadable, match=r"not there|leaves its folder"):
        open_folder(folder(tmp_path / "y", f'[streams.c]\nvideo = "{name}"\n'))


def test_a_link_out_of_the_folder_is_not_ingested(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "secret.csv").write_text("t,a\n1,2\n2,3\n")
    path = state(tmp_path / "x", "")
    (path / "a.csv").unlink()
    (path / "a.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(DataRefused, match="leaves"):
        ingest(workspace, path)


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match="two columns of one name"):
        open_folder(state(tmp_path / "x", "t,a,a\n1,2,3\n"))
    with pytest.raises(LogUnreadable, match="two columns of one name"):
        open_folder(state(tmp_path / "y", "t,t,a\n1,2,3\n"))


@pytest.mark.parametrize(
    ("csv", "says"),
    [
        ("t,a\n1,2\n2,fast\n", "cannot be read"),
        ("t,a\n1,2\n2\n", "cannot be read"),
        ("t,a\n1,2\nsoon,3\n", "a cell that is no time"),
        ("t,a\n1,2\n,3\n", "a cell that is no time"),
        ("t,a\n1,2\n99999999999999999999,3\n", "a cell that is no time"),
        ("t,a\n1,2\ninf,3\n", "a cell that is no time"),
    ],
)
def test_cells_that_are_no_numbers_are_refused_by_their_row(tmp_path: Path, csv: str, says: str) -> None:
    with pytest.raises(LogUnreadable, match=says) as caught:
        only(state(tmp_path / "x", csv)).read("observation.state")
    assert re.search(r"row (1|#3)", str(caught.value).lower())  # pyarrow counts lines from 1, with the header


def test_rows_of_lists_that_differ_in_length_are_refused(tmp_path: Path) -> None:
    entry = f'{STATE}file = "a.parquet"\ntime = "t"\ntime_unit = "s"\ncolumns = ["v"]\n'
    path = folder(tmp_path / "x", entry)
    pq.write_table(pa.table({"t": [0, 1], "v": [[1.0, 2.0], [3.0]]}), path / "a.parquet")
    with pytest.raises(LogUnreadable, match="different lengths"):
        only(path).read("observation.state")


def test_stamps_in_another_unit_than_stated(tmp_path: Path) -> None:
    seconds = "t,a\n" + "\n".join(f"{1_700_000_000 + i / 100:.2f},1" for i in range(9))
    nanoseconds = "t,a\n" + "\n".join(f"{1_700_000_000_000_000_000 + i * 10**7},1" for i in range(9))
    milliseconds = "t,a\n" + "\n".join(f"{1_700_000_000_000 + i * 10},1" for i in range(9))
    with pytest.raises(LogUnreadable, match="another unit") as caught:
        only(state(tmp_path / "s", seconds, "us")).read("observation.state")
    assert caught.value.hint == 'time_unit = "s"'
    with pytest.raises(LogUnreadable, match="no time"):  # beyond int64
        only(state(tmp_path / "n", nanoseconds, "s")).read("observation.state")
    (finding,) = only(state(tmp_path / "m", milliseconds, "us")).findings
    assert finding.check == "time_unit"
    assert '"ms"' in finding.message
    assert "1970-01-20" in finding.message


def test_a_clock_that_counts_from_boot_is_no_wrong_unit(tmp_path: Path) -> None:
    boot = "t,a\n" + "\n".join(f"{12.5 + i / 100:.2f},1" for i in range(9))
    assert only(state(tmp_path / "s", boot)).findings == ()
    nanoseconds = "t,a\n" + "\n".join(f"{1_500_000_000 + i * 10**7},1" for i in range(9))
    assert only(state(tmp_path / "n", nanoseconds, "ns")).findings == ()


def test_frames_and_stamps_that_disagree_are_a_finding(tmp_path: Path) -> None:
    samples.encode_video(tmp_path / "x" / "v.mp4", samples.pictures(9), 20)
    entry = '[streams.c]\nvideo = "v.mp4"\nfile = "t.txt"\ntime_unit = "ms"\n'
    for stamps, kept in ((12, 9), (5, 5)):
        log = only(folder(tmp_path / "x", entry, t_txt="\n".join(str(i * 50) for i in range(stamps))))
        assert len(log.read("c")) == kept
        assert log.read("c").frames.read(np.array([kept - 1])).shape == (1, 32, 48, 3)
        (finding,) = log.findings
        assert (finding.check, finding.value, finding.limit) == ("count_mismatch", 9.0, float(stamps))


def test_facts_that_are_no_object_are_refused(tmp_path: Path) -> None:
    path = state(tmp_path / "x", "t,a\n1,2\n")
    text = (path / "worldgate-log.toml").read_text()
    for name, content in (("facts.json", "[1]"), ("facts.json", "{"), ("../facts.json", "{}"), ("gone.json", None)):
        (path / "worldgate-log.toml").write_text(text.replace(HEAD, f'{HEAD}facts_file = "{name}"\n'))
        if content is not None:
            (path / name).write_text(content)
        with pytest.raises(LogUnreadable, match="facts that cannot be read"):
            open_folder(path)


def test_a_parquet_that_declares_a_billion_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldgate.data.logs._tables.MAX_ROWS", 1_000)
    entry = f'{STATE}file = "a.parquet"\ntime = "t"\ntime_unit = "s"\ncolumns = ["v"]\n'
    path = folder(tmp_path / "x", entry)
    pq.write_table(pa.table({"t": np.zeros(2_000), "v": np.zeros(2_000)}), path / "a.parquet")
    with pytest.raises(LogUnreadable, match="more rows than a log has"):
        only(path).read("observation.state")


def test_a_damaged_parquet_is_refused(tmp_path: Path) -> None:
    path = samples.make_table(tmp_path / "made", runs=1)
    file = path / "run_0" / "commands.parquet"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(LogUnreadable, match="a table that cannot be read"):
        open_folder(path)


def test_a_folder_whose_mapping_is_for_another_format_is_not_a_table(tmp_path: Path) -> None:
    assert not table.detect(samples.make_act(tmp_path / "act"))
    assert not table.detect(samples.make_replay_buffer(tmp_path / "replay"))


def test_a_pattern_that_no_folder_fits_says_so(tmp_path: Path) -> None:
    path = samples.make_table(tmp_path / "made", runs=1)
    text = (path / "worldgate-log.toml").read_text()
    (path / "worldgate-log.toml").write_text(text.replace("run_*", "episode_*"))
    with pytest.raises(UsageError, match="no folder fits"):
        open_folder(path)
