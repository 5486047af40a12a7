"""ROS bags that are damaged, lie or mean harm: named instead of guessed at, and nothing that they bring is run."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.data.logs import bag_samples as bags
from tests.data.logs import samples

from worldgate.core.errors import DataRefused, LogUnreadable
from worldgate.core.streams import Log, log_digest
from worldgate.data.ingest import ingest
from worldgate.data.logs import _ros_types as ros_types
from worldgate.data.logs import _rosbag1 as rosbag1
from worldgate.data.logs import open_folder

START = samples.START_NS


def only(path: Path) -> Log:
    (log,) = open_folder(path).logs
    return log


def checks(log: Log) -> list[str]:
    return [finding.check for finding in log.findings]


# -------------------------------------------------------------------- bad ROS 1 bags


def unclosed(path: Path) -> Path:
    """As a crash leaves it: no index at the end, and none named in the header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"index_pos=") + len(b"index_pos=")
    (index_at,) = struct.unpack_from("<Q", data, at)
    struct.pack_into("<Q", data, at, 0)
    path.write_bytes(data[:index_at])
    return path


@pytest.mark.parametrize("compression", ["", "bz2", "lz4"])
def test_a_bag_that_was_never_closed_is_recovered(tmp_path: Path, compression: str) -> None:
    whole = bags.make_rosbag1(tmp_path / "whole.bag", compression)
    broken = unclosed(Path(shutil.copy(whole, tmp_path / "broken.bag")))
    log = only(broken)
    assert checks(log) == ["integrity"]
    assert "never closed" in log.findings[0].message
    assert log_digest(log) == log_digest(only(whole))


def chunked(path: Path, compression: str = "") -> tuple[Path, list[int]]:
    """A bag of 80 texts in several chunks, and where the chunks' bytes begin."""
    from rosbags.rosbag1 import Writer

    writer = Writer(path)
    writer.chunk_threshold = 2000
    if compression:
        writer.set_compression(Writer.CompressionFormat[compression.upper()])
    kind = "std_msgs/msg/String"
    with writer:
        connection = writer.add_connection("/n", kind, typestore=bags.ROS1)
        for i in range(80):
            data = bags.ROS1.serialize_ros1(bags.message(bags.ROS1, kind, data=f"{i:060d}"), kind)
            writer.write(connection, START + i, data)
    starts = sorted(rosbag1.Rosbag1(path)._chunks)
    assert len(starts) >= 4
    return path, starts


def test_a_truncated_bag_keeps_every_complete_chunk_and_names_the_loss(tmp_path: Path) -> None:
    path, starts = chunked(tmp_path / "a.bag")
    whole = only(path).read("n")
    size = starts[-1] + 300
    path.write_bytes(path.read_bytes()[:size])
    log = only(path)
    assert checks(log) == ["data_lost", "integrity"]
    loss, kept = log.findings[0], log.read("n")
    assert 0 < len(kept) < len(whole)
    assert kept.array.tolist() == whole.array[: len(kept)].tolist()
    assert 300 < loss.value < 400
    assert f"at byte {size - int(loss.value)}:" in loss.message
    assert loss.spans_ns == ((START + len(kept), 2**63 - 1),)


def test_truncation_at_any_byte_keeps_a_prefix_or_refuses(tmp_path: Path) -> None:
    path, _ = chunked(tmp_path / "a.bag")
    data = path.read_bytes()
    whole = only(path).read("n").array.tolist()
    seen = set()
    for size in range(13, len(data), 61):
        path.write_bytes(data[:size])
        try:
            log = only(path)
        except LogUnreadable:
            continue
        assert log.findings
        kept = log.read("n").array.tolist()
        assert kept == whole[: len(kept)]
        seen.add(len(kept))
    assert len(seen) >= 4
    assert max(seen) == 80


def test_damage_in_the_middle_costs_one_chunk(tmp_path: Path) -> None:
    path, starts = chunked(tmp_path / "a.bag")
    data = bytearray(path.read_bytes())
    data[starts[1] - 4 : starts[1]] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    log = only(path)
    assert checks(log) == ["data_lost"]
    rows = [int(text) for text in log.read("n").array]
    assert 40 <= len(rows) < 80
    ((start, stop),) = log.findings[0].spans_ns
    assert {START + i for i in range(80)} - {START + i for i in rows} == set(range(start, stop))


def test_a_chunk_that_does_not_unpack_is_an_error_when_it_is_read(tmp_path: Path) -> None:
    path, starts = chunked(tmp_path / "a.bag", "bz2")
    data = bytearray(path.read_bytes())
    data[starts[2] + 40 : starts[2] + 60] = bytes(20)
    path.write_bytes(data)
    log = only(path)
    assert len(log.read("n", (START, START + 10))) == 10
    with pytest.raises(LogUnreadable, match="a damaged chunk"):
        log.read("n")


@pytest.mark.parametrize("claimed", [2**31, 1000])
@pytest.mark.parametrize("compression", ["none", "bz2", "lz4", "brotli"])
def test_a_chunk_that_claims_another_size_is_refused_before_it_is_unpacked(compression: str, claimed: int) -> None:
    import bz2

    import lz4.frame

    bomb = bytes(1 << 22)
    data = {"bz2": bz2.compress(bomb), "lz4": lz4.frame.compress(bomb)}.get(compression, bomb)
    with pytest.raises(ValueError, match=r"claims|unknown"):
        rosbag1.unpack(data, compression, claimed)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"#ROSBAG V1.2\n" + bytes(100), "not a ROS 1 bag of version 2.0"),
        (b"#ROSBAG V2.0\n", "without its header"),
        (b"#ROSBAG V2.0\n" + b"\xff" * 50, "without its header"),
    ],
)
def test_what_only_begins_like_a_bag_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.bag"
    path.write_bytes(content)
    with pytest.raises(LogUnreadable, match=reason):
        open_folder(path)


def test_an_encrypted_bag_is_refused(tmp_path: Path) -> None:
    def entry(name: bytes, value: bytes) -> bytes:
        return struct.pack("<I", len(name) + 1 + len(value)) + name + b"=" + value

    numbers = entry(b"index_pos", bytes(8)) + entry(b"conn_count", bytes(4)) + entry(b"chunk_count", bytes(4))
    head = entry(b"op", b"\x03") + numbers + entry(b"encryptor", b"rosbag/AesCbcEncryptor")
    (tmp_path / "a.bag").write_bytes(b"#ROSBAG V2.0\n" + struct.pack("<I", len(head)) + head + struct.pack("<I", 0))
    with pytest.raises(LogUnreadable, match="encrypted"):
        open_folder(tmp_path / "a.bag")


def test_a_definition_that_does_not_parse_leaves_its_topic_out_by_name(tmp_path: Path) -> None:
    from rosbags.rosbag1 import Writer

    with Writer(tmp_path / "a.bag") as writer:
        bad = writer.add_connection("/bad", "a_msgs/msg/Bad", msgdef="what is this?\n", md5sum="0" * 32)
        writer.write(bad, 1, b"\0" * 8)
        kind = "std_msgs/msg/String"
        good = writer.add_connection("/good", kind, typestore=bags.ROS1)
        writer.write(good, 2, bags.ROS1.serialize_ros1(bags.message(bags.ROS1, kind, data="x"), kind))
    log = only(tmp_path / "a.bag")
    assert [info.name for info in log.streams()] == ["good"]
    assert checks(log) == ["undecodable"]
    assert log.findings[0].stream == "/bad"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a/B", "int32 x\n" + "=" * 80 + "\nMSG: a/C:\n  import os\nint32 y\n"),
        ("a/B:\n    import os\nclass C", "int32 x\n"),
        ("a/B", 'string X="""\\nimport os\n'),
        ("a/B", "int32 class\n"),
    ],
)
def test_a_definition_cannot_bring_code_of_its_own(name: str, text: str) -> None:
    """rosbags runs what it generates from a definition, so a name or value must never be more than that."""
    try:
        decode = ros_types.ros1_decoder(name, text)
    except LogUnreadable:
        return
    assert "os" not in vars(__import__("sys").modules["rosbags.usertypes"])
    assert callable(decode)


# -------------------------------------------------------------------- bad rosbag2 folders


def test_metadata_that_contradicts_the_files_is_found_and_the_files_are_believed(tmp_path: Path) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    whole = log_digest(only(root))
    tree = json.loads((root / "metadata.yaml").read_text())
    info = tree["rosbag2_bagfile_information"]
    info["topics_with_message_count"][0]["message_count"] += 5
    info["topics_with_message_count"][1]["topic_metadata"]["type"] = "sensor_msgs/msg/Joy"
    info["starting_time"]["nanoseconds_since_epoch"] += 7
    (root / "metadata.yaml").write_text(json.dumps(tree))
    log = only(root)
    assert log_digest(log) == whole
    assert sorted(checks(log)) == ["count_mismatch", "metadata_mismatch", "metadata_mismatch"]
    text = " ".join(finding.message for finding in log.findings)
    for said in ("metadata.yaml says 17", "sensor_msgs/msg/Joy", "starts at"):
        assert said in text


def test_a_named_file_that_is_absent_is_data_lost_and_the_rest_is_read(tmp_path: Path) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    (root / "run_1.db3").unlink()
    log = only(root)
    assert checks(log) == ["data_lost"]
    assert "run_1.db3" in log.findings[0].message
    assert len(log.read("note")) == 6
    (root / "run_0.db3").unlink()
    with pytest.raises(LogUnreadable, match="without its files"):
        open_folder(root)


def test_a_file_that_metadata_does_not_name_is_not_read_and_said(tmp_path: Path) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    shutil.copy(root / "run_0.db3", root / "run_7.db3")
    log = only(root)
    assert checks(log) == ["metadata_mismatch"]
    assert len(log.read("note")) == 12


@pytest.mark.parametrize("text", ["rosbag2_bagfile_information: [unclosed", "rosbag2_bagfile_information: {}"])
def test_metadata_that_cannot_be_used_is_said_and_the_files_are_read(tmp_path: Path, text: str) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    whole = log_digest(only(root))
    (root / "metadata.yaml").write_text(text)
    log = only(root)
    assert checks(log) == ["integrity"]
    assert log_digest(log) == whole


@pytest.mark.parametrize("name", ["../run_0.db3", "/etc/passwd", "a/../../run_0.db3"])
def test_a_bag_cannot_name_files_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    shutil.copy(root / "run_0.db3", tmp_path / "run_0.db3")
    bags.write_metadata(root, bags.recording(bags.ROS2), [name], "sqlite3")
    with pytest.raises(LogUnreadable, match="outside of its folder"):
        open_folder(root)


def test_a_link_that_leaves_the_folder_is_refused_at_ingest(tmp_path: Path, workspace: Any) -> None:
    root = bags.make_split_rosbag2(tmp_path / "bag")
    (root / "run_0.db3").rename(tmp_path / "elsewhere.db3")
    (root / "run_0.db3").symlink_to(tmp_path / "elsewhere.db3")
    with pytest.raises(DataRefused, match="a link that leaves its folder"):
        ingest(workspace, root)


def test_a_bag_is_ingested_as_one_log_and_read_back_from_the_store(tmp_path: Path, workspace: Any) -> None:
    from worldgate.data.ingest import Shelf

    root = bags.make_split_rosbag2(tmp_path / "bag")
    (ref,) = ingest(workspace, root)
    assert ref.digest == log_digest(only(root))
    assert len(Shelf(workspace).open(ref.digest).read("note")) == 12


def database(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as opened:
        for statement in statements:
            opened.execute(statement)
    opened.close()
    return path


def lone(root: Path) -> Path:
    """The single ``.db3`` of a made bag."""
    (file,) = bags.make_rosbag2(root).glob("*.db3")
    return file


def test_a_lone_db3_file_is_a_log(tmp_path: Path) -> None:
    file = lone(tmp_path / "bag")
    alone = shutil.copy(file, tmp_path / "alone.db3")
    assert log_digest(only(Path(alone))) == log_digest(only(tmp_path / "bag"))


@pytest.mark.parametrize("table", ["topics", "messages"])
def test_a_database_without_rosbag_tables_is_refused(tmp_path: Path, table: str) -> None:
    file = database(lone(tmp_path / "bag"), f"ALTER TABLE {table} RENAME TO other")
    with pytest.raises(LogUnreadable, match="no rosbag2 file") as caught:
        open_folder(file)
    assert table in str(caught.value)


def test_a_view_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    """A view would run whatever query the file's maker wrote."""
    file = database(
        lone(tmp_path / "bag"),
        "DROP TABLE messages",
        "CREATE VIEW messages AS SELECT 1 AS id, 1 AS topic_id, 1 AS timestamp, zeroblob(999999999) AS data",
    )
    with pytest.raises(LogUnreadable, match="no rosbag2 file"):
        open_folder(file)


def test_a_database_of_old_schema_takes_standard_definitions(tmp_path: Path) -> None:
    """Before version 4 a bag held no definitions."""
    whole = only(bags.make_rosbag2(tmp_path / "whole"))
    file = database(lone(tmp_path / "bag"), "DROP TABLE message_definitions", "DROP TABLE schema")
    log = only(Path(shutil.copy(file, tmp_path / "old.db3")))
    assert log.findings == ()
    assert log_digest(log) == log_digest(whole)


def test_a_stored_definition_that_does_not_fit_is_replaced_by_the_standard_one_and_said(tmp_path: Path) -> None:
    whole = log_digest(only(bags.make_rosbag2(tmp_path / "whole")))
    wrong = "UPDATE message_definitions SET encoded_message_definition = 'uint8 level' WHERE topic_type = '{}'"
    file = database(lone(tmp_path / "bag"), wrong.format("std_msgs/msg/String"))
    log = only(file)
    assert checks(log) == ["metadata_mismatch"]
    assert log_digest(log) == whole
    other = database(
        lone(tmp_path / "bag2"),
        "UPDATE topics SET type = 'a/msg/B' WHERE name = '/note'",
        "UPDATE message_definitions SET topic_type = 'a/msg/B' WHERE topic_type = 'std_msgs/msg/String'",
        wrong.format("a/msg/B"),
    )
    log = only(other)
    assert checks(log) == ["metadata_mismatch", "undecodable"]
    assert "note" not in {info.name for info in log.streams()}


def test_a_truncated_database_keeps_what_comes_before_the_damage(tmp_path: Path) -> None:
    file = lone(tmp_path / "bag")
    with sqlite3.connect(file) as opened:
        row = opened.execute("SELECT topic_id, timestamp, data FROM messages LIMIT 1").fetchone()
        opened.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", [row] * 3000)
    opened.close()
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 3 // 4])
    log = only(file)
    assert checks(log)[0] == "data_lost"
    assert 0 < len(log.read("arm.joints.position")) < 3012


def test_a_journal_beside_a_database_is_named_as_not_read(tmp_path: Path) -> None:
    file = lone(tmp_path / "bag")
    file.with_name(file.name + "-wal").write_bytes(b"x" * 100)
    assert checks(only(file)) == ["data_lost"]


def test_a_folder_whose_name_means_something_in_a_url_is_read(tmp_path: Path) -> None:
    root = bags.make_rosbag2(tmp_path / "bag").rename(tmp_path / "a?mode=rwc#b %20")
    assert len(only(root).read("note")) == 12


def test_a_compressed_file_that_grows_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bomb.db3.zstd").write_bytes(zstandard.compress(bytes(1 << 28), level=19))
    with pytest.raises(LogUnreadable, match="grows beyond all measure"):
        open_folder(tmp_path / "bomb.db3.zstd")


def test_a_compressed_message_that_is_damaged_is_named_when_it_is_read(tmp_path: Path) -> None:
    root = bags.make_rosbag2(tmp_path / "bag", packed="message")
    (file,) = root.glob("*.db3")
    database(file, "UPDATE messages SET data = x'28b52ffd00' WHERE id = (SELECT max(id) FROM messages)")
    log = only(root)
    with pytest.raises(LogUnreadable, match="does not unpack"):
        log.read("note")


def test_temporary_files_go_with_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    log = only(bags.make_rosbag2(tmp_path / "bag", packed="file"))
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    assert len(log.read("note")) == 12
    del log
    gc.collect()
    assert not list((tmp_path / "temporary").iterdir())
