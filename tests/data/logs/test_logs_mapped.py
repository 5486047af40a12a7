"""A mapping file describes logs of any format: renamed, joined, with units, facts and origin; and it is ingested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data.logs import samples

from worldgate.core.errors import ConfigError, NotFound
from worldgate.core.streams import Kind, Origin, log_digest
from worldgate.data.ingest import Shelf, ingest, ingested
from worldgate.data.logs import open_folder
from worldgate.data.logs.mcap import write_log
from worldgate.record.workspace import Workspace


def folder(path: Path, text: str, shift_ns: int = 0) -> Path:
    """An MCAP of joints and speeds, as somebody else's recorder names them, with a mapping file beside it."""
    path.mkdir()
    joints = samples.stream("arm.position", Kind.VECTOR, samples.numbers(), names=("a", "b", "c"), unit="rad")
    speeds = samples.stream("arm.speed", Kind.VECTOR, -samples.numbers())
    shifted = samples.Stream(info=speeds.info, times_ns=speeds.times_ns + shift_ns, values=speeds.values)
    target = samples.stream("arm.target", Kind.VECTOR, samples.numbers(width=2))
    write_log(path / "run.mcap", [joints, shifted, target], origin=Origin.REAL, facts={"robot": "arm-1"})
    (path / "worldgate-log.toml").write_text(text)
    return path


JOINED = """
[facts]
task = "pour"
[streams."observation.state"]
source = ["arm.position", "arm.speed"]
unit = "rad,rad,rad,rad/s,rad/s,rad/s"
names = ["a", "b", "c", "da", "db", "dc"]
[streams.action]
source = "arm.target"
unit = "rad"
"""


def test_streams_are_joined_renamed_and_described(tmp_path: Path) -> None:
    (log,) = open_folder(folder(tmp_path / "x", JOINED)).logs
    assert [info.name for info in log.streams()] == ["observation.state", "action"]
    state = log.read("observation.state")
    np.testing.assert_array_equal(state.array, np.hstack([samples.numbers(), -samples.numbers()]))
    assert (state.info.shape, state.info.names[4], state.info.unit[-5:]) == ((6,), "db", "rad/s")
    assert state.times_ns[0] == samples.START_NS
    assert log.read("action").info.kind is Kind.ACTION
    assert log.facts == {"robot": "arm-1", "task": "pour"}
    window = log.read("observation.state", (int(state.times_ns[2]), int(state.times_ns[5])))
    np.testing.assert_array_equal(window.array, state.array[2:5])
    with pytest.raises(NotFound):
        log.read("arm.position")


def test_what_no_entry_uses_stays_and_an_entry_without_source_only_describes(tmp_path: Path) -> None:
    (log,) = open_folder(folder(tmp_path / "x", '[streams."arm.speed"]\nunit = "rad/s"\n')).logs
    infos = {info.name: info for info in log.streams()}
    assert set(infos) == {"arm.position", "arm.speed", "arm.target"}
    assert infos["arm.speed"].unit == "rad/s"
    assert infos["arm.position"].names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rate_hz = 20.0", "a log that has stamps"),
        ('[streams.x]\nsource = "arm.nothing"', "no such stream"),
        ('[streams."arm.position"]\nunit = "rads"', "not a known unit"),
        ('[streams."arm.position"]\nunit = "rad,m"', "as many units"),
        ('[streams."arm.position"]\nnames = ["a"]', "as many names"),
        ('[streams."arm.position"]\nkind = "image"', "cannot be image"),
        ('[streams."arm.position"]\nunits = "rad"', "unknown key"),
        ("[[streams]]", "dict"),
    ],
)
def test_a_mapping_that_does_not_fit_is_an_error(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(Exception, match=says) as caught:
        open_folder(folder(tmp_path / "x", text))
    assert type(caught.value).__module__ == "worldgate.core.errors"


def test_streams_whose_stamps_differ_are_not_joined(tmp_path: Path) -> None:
    (log,) = open_folder(folder(tmp_path / "x", JOINED, shift_ns=1)).logs
    with pytest.raises(ConfigError, match="stamps differ"):
        log.read("observation.state")


def test_a_mapping_file_below_the_opened_folder_is_not_ignored_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder(tmp_path / "x", JOINED)
    (log,) = open_folder(tmp_path).logs
    assert "arm.position" in {info.name for info in log.streams()}
    assert "worldgate-log.toml is not used" in caplog.text


def test_a_log_never_becomes_more_real(tmp_path: Path) -> None:
    path = folder(tmp_path / "x", 'origin = "simulated"')
    assert open_folder(path).logs[0].origin is Origin.SIMULATED
    other = tmp_path / "y"
    other.mkdir()
    samples.make_mcap(other / "run.mcap")
    (other / "worldgate-log.toml").write_text('origin = "real"')
    with pytest.raises(ConfigError, match="cannot become real"):
        open_folder(other)


def test_the_mapping_is_ingested_with_the_log_and_another_makes_another_log(
    tmp_path: Path, workspace: Workspace
) -> None:
    (first,) = ingest(workspace, folder(tmp_path / "x", JOINED))
    record = ingested(workspace)[first.digest]
    assert [s.name for s in record.streams] == ["observation.state", "action"]
    assert record.facts["task"] == "pour"
    stored = Shelf(workspace).open(first.digest)
    assert log_digest(stored) == first.digest
    (second,) = ingest(workspace, folder(tmp_path / "y", JOINED.replace('"db"', '"q"')))
    assert second.digest != first.digest


def test_each_flight_of_a_folder_is_kept_by_itself_with_the_mapping(tmp_path: Path, workspace: Workspace) -> None:
    root = tmp_path / "flights"
    root.mkdir()
    samples.make_ulog(root / "a.ulg", 30)
    samples.make_ulog(root / "b.ulg", 40)
    (root / "worldgate-log.toml").write_text('[streams."observation.gyro"]\nsource = "sensor_gyro.x"\nunit = "rad/s"\n')
    refs = ingest(workspace, root)
    records = [ingested(workspace)[ref.digest] for ref in refs]
    assert len({record.source for record in records}) == 2
    assert all(any(s.name == "observation.gyro" and s.unit == "rad/s" for s in r.streams) for r in records)
    assert [Shelf(workspace).open(ref.digest).name for ref in refs] == ["a.ulg", "b.ulg"]


def test_runs_of_a_table_folder_are_kept_by_themselves(tmp_path: Path, workspace: Workspace) -> None:
    path = samples.make_table(tmp_path / "made", runs=3)
    refs = ingest(workspace, path)
    assert len({ingested(workspace)[ref.digest].source for ref in refs}) == 3
    assert [Shelf(workspace).open(ref.digest).name for ref in refs] == ["run_0", "run_1", "run_2"]
    assert ingest(workspace, path) == refs
