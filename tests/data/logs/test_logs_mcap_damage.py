"""A damaged MCAP: every complete chunk is kept, the exact loss is said, and nothing but a WorldgateError is raised."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import Chunk, ChunkIndex
from mcap.writer import CompressionType, Writer
from tests.data.logs import samples

from worldgate.core.errors import LogUnreadable, NotFound, WorldgateError
from worldgate.core.streams import Kind, Origin
from worldgate.data.logs import _mcap_chunks as chunks
from worldgate.data.logs import _mcap_container as container
from worldgate.data.logs import open_folder
from worldgate.data.logs._limits import Limits
from worldgate.data.logs.mcap import McapLog, McapWriter

NAME = "observation.state"
ROWS = 120


def write_rows(path: Path, *, compression: str = "zstd", rows: int = ROWS) -> Path:
    """A log of several small chunks."""
    stream = samples.stream(NAME, Kind.VECTOR, samples.numbers(rows))
    with McapWriter(path, origin=Origin.SIMULATED, chunk_bytes=1500, compression=compression) as writer:  # type: ignore[arg-type]
        writer.add_stream(stream.info)
        for t, value in zip(stream.times_ns, stream.array, strict=True):
            writer.write(NAME, t, value)
    return path


def chunks_of(path: Path) -> list[ChunkIndex]:
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    return summary.chunk_indexes


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_rows(tmp_path_factory.mktemp("damage") / "whole.mcap")
    assert len(chunks_of(path)) >= 4
    return path


def rows_before(path: Path, chunk: ChunkIndex) -> int:
    """Messages in the chunks before this one."""
    times = McapLog(path).read(NAME).times_ns
    return int((times < chunk.message_start_time).sum())


def test_truncation_at_every_byte_of_the_last_chunk_keeps_all_complete_chunks(whole: Path, tmp_path: Path) -> None:
    data, last = whole.read_bytes(), chunks_of(whole)[-1]
    kept = rows_before(whole, last)
    full = McapLog(whole).read(NAME)
    start, end = last.chunk_start_offset, last.chunk_start_offset + last.chunk_length
    cut = tmp_path / "cut.mcap"
    for size in range(start, end + 1):
        cut.write_bytes(data[:size])
        log = McapLog(cut)
        count = ROWS if size == end else kept
        stream = log.read(NAME)
        assert len(stream) == count
        np.testing.assert_array_equal(stream.array, full.array[:count])
        assert log.origin is Origin.SIMULATED
        (finding,) = log.findings
        assert finding.check == "data_lost"
        assert finding.value == (0 if size in (start, end) else size - start)
        assert f"at byte {start if size < end else end}" in finding.message
        ((span_start, span_stop),) = finding.spans_ns
        assert span_start == int(full.times_ns[count - 1]) + 1
        assert span_stop > int(full.times_ns[-1])


def test_truncation_after_the_data_loses_no_message(whole: Path, tmp_path: Path) -> None:
    data, last = whole.read_bytes(), chunks_of(whole)[-1]
    cut = tmp_path / "cut.mcap"
    for size in range(last.chunk_start_offset + last.chunk_length, len(data), 7):
        cut.write_bytes(data[:size])
        log = McapLog(cut)
        assert log.read(NAME).array.shape == (ROWS, 3)
        assert [f.check for f in log.findings] in (["data_lost"], ["integrity"])


def test_a_file_without_one_complete_chunk_is_refused(whole: Path, tmp_path: Path) -> None:
    data, first = whole.read_bytes(), chunks_of(whole)[0]
    cut = tmp_path / "cut.mcap"
    for size in (8, 9, 40, first.chunk_start_offset + 20, first.chunk_start_offset + first.chunk_length - 1):
        cut.write_bytes(data[:size])
        with pytest.raises(LogUnreadable, match="no complete chunk"):
            McapLog(cut)


@pytest.mark.parametrize("data", [b"", b"\x89MCAP", b"\x89MCAP1\r\n", b"\x89MCAP0\r\r" + b"x" * 99, b"RIFF" * 40])
def test_wrong_magic_is_refused_in_three_lines(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "run.mcap"
    path.write_bytes(data)
    with pytest.raises(LogUnreadable, match="first eight bytes") as caught:
        open_folder(path)
    assert len(caught.value.lines()) <= 3
    assert caught.value.exit_code == 4


def test_a_damaged_file_in_a_folder_refuses_the_folder(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(whole.read_bytes())
    (tmp_path / "b.mcap").write_bytes(b"nothing")
    with pytest.raises(LogUnreadable, match=r"b\.mcap"):
        open_folder(tmp_path)
    with pytest.raises(NotFound):
        McapLog(tmp_path / "c.mcap")


def test_a_flipped_byte_in_a_chunk_loses_that_chunk_with_its_span(whole: Path, tmp_path: Path) -> None:
    data, (_, chunk, after, *_) = bytearray(whole.read_bytes()), chunks_of(whole)
    data[chunk.chunk_start_offset + chunk.chunk_length - 9] ^= 0x10
    path = tmp_path / "flipped.mcap"
    path.write_bytes(bytes(data))
    log = McapLog(path)
    (finding,) = log.findings
    assert finding.check == "data_lost"
    assert finding.value == chunk.chunk_length
    assert finding.spans_ns == ((chunk.message_start_time, chunk.message_end_time + 1),)
    times = log.read(NAME).times_ns
    assert len(times) == ROWS - rows_before(whole, after) + rows_before(whole, chunk)
    assert not ((times >= chunk.message_start_time) & (times <= chunk.message_end_time)).any()


def test_a_damaged_record_length_is_bridged_by_the_index(whole: Path, tmp_path: Path) -> None:
    data, (_, chunk, after, *_) = bytearray(whole.read_bytes()), chunks_of(whole)
    data[chunk.chunk_start_offset + 1 : chunk.chunk_start_offset + 9] = struct.pack("<Q", 2**60)
    path = tmp_path / "bridged.mcap"
    path.write_bytes(bytes(data))
    log = McapLog(path)
    (finding,) = log.findings
    assert finding.value == after.chunk_start_offset - chunk.chunk_start_offset
    assert finding.spans_ns == ((chunk.message_start_time, chunk.message_end_time + 1),)
    assert len(log.read(NAME)) == ROWS - rows_before(whole, after) + rows_before(whole, chunk)


def test_a_lost_first_chunk_still_leaves_the_others_their_channels(whole: Path, tmp_path: Path) -> None:
    data, (first, second, *_) = bytearray(whole.read_bytes()), chunks_of(whole)
    data[first.chunk_start_offset + 60] ^= 0xFF
    path = tmp_path / "first.mcap"
    path.write_bytes(bytes(data))
    log = McapLog(path)
    assert log.origin is Origin.SIMULATED
    assert len(log.read(NAME)) == ROWS - rows_before(whole, second)
    assert [f.check for f in log.findings] == ["data_lost"]


def test_a_flip_outside_the_chunks_is_noticed(whole: Path, tmp_path: Path) -> None:
    """In a message index, which carries no CRC of its own, the data section's CRC tells."""
    data, (chunk, after, *_) = bytearray(whole.read_bytes()), chunks_of(whole)
    data[after.chunk_start_offset - 3] ^= 0x01
    path = tmp_path / "index.mcap"
    path.write_bytes(bytes(data))
    log = McapLog(path)
    assert [f.check for f in log.findings] == ["integrity"]
    assert len(log.read(NAME)) == ROWS
    assert chunk.chunk_start_offset < after.chunk_start_offset


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return samples.make_mcap(tmp_path_factory.mktemp("kinds") / "run.mcap").read_bytes()


@settings(max_examples=150, deadline=None)
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4))
def test_random_flips_never_crash_and_are_never_silent(
    flips: list[tuple[float, int]], every_kind: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(every_kind)
    for place, mask in flips:
        damaged[int(place * len(damaged))] ^= mask
    assume(bytes(damaged) != every_kind)
    path = tmp_path_factory.getbasetemp() / "flipped.mcap"
    path.write_bytes(bytes(damaged))
    try:
        log = McapLog(path)
        for info in log.streams():
            stream = log.read(info.name)
            stream.content_digest()
            if not isinstance(stream.values, np.ndarray):
                stream.frames.read(np.arange(len(stream), dtype=np.int64))
    except WorldgateError:
        return
    assert log.findings


@settings(max_examples=60, deadline=None)
@given(size=st.integers(0, 10_000), head=st.binary(max_size=300))
def test_rubbish_behind_the_magic_is_refused(size: int, head: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "rubbish.mcap"
    path.write_bytes(container.MAGIC + head + bytes(size % 97))
    with pytest.raises(LogUnreadable):
        McapLog(path)


# -------------------------------------------------------------------- hostile sizes


def hostile(path: Path, chunk: Chunk) -> Path:
    """A file whose only chunk claims what it likes."""
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start()
        body = struct.pack("<QQQI", chunk.message_start_time, chunk.message_end_time, chunk.uncompressed_size, 0)
        body += struct.pack("<I", len(chunk.compression)) + chunk.compression.encode()
        body += struct.pack("<Q", len(chunk.data)) + chunk.data
        file.write(struct.pack("<BQ", Opcode.CHUNK, len(body)) + body)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


@pytest.mark.parametrize("compression", ["zstd", "lz4", "", "brotli"])
@pytest.mark.parametrize("claimed", [2**63, Limits().chunk_bytes + 1, 1000])
def test_a_chunk_that_claims_another_size_is_refused_before_it_is_unpacked(
    tmp_path: Path, compression: str, claimed: int
) -> None:
    import lz4.frame
    import zstandard

    bomb = bytes(1 << 20)
    data = {"zstd": zstandard.compress(bomb), "lz4": lz4.frame.compress(bomb)}.get(compression, bomb)
    chunk = Chunk(
        compression=compression,
        data=data,
        message_start_time=1,
        message_end_time=2,
        uncompressed_crc=0,
        uncompressed_size=claimed,
    )
    with pytest.raises(LogUnreadable, match="no complete chunk"):
        McapLog(hostile(tmp_path / "bomb.mcap", chunk))


def test_a_chunk_whose_crc_differs_is_not_unpacked_into_rows() -> None:
    data = b"\x05" + struct.pack("<Q", 0)
    body = struct.pack("<QQQII", 0, 0, len(data), zlib.crc32(data), 0) + struct.pack("<Q", len(data)) + data
    assert chunks.unpack(body, 1 << 20) == data
    damaged = bytearray(body)
    damaged[24] ^= 1
    with pytest.raises(ValueError, match="CRC"):
        chunks.unpack(bytes(damaged), 1 << 20)


def test_a_log_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "run.mcap")
    log = McapLog(path, limits=Limits(kept_bytes=1))
    path.write_bytes(path.read_bytes()[: chunks_of(path)[1].chunk_start_offset])
    with pytest.raises(LogUnreadable):
        log.read(NAME)


def test_an_unchunked_file_is_read_and_its_truncation_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "flat.mcap"
    with path.open("wb") as file:
        writer = Writer(file, use_chunking=False)
        writer.start()
        channel = writer.register_channel("/x", "json", 0)
        for i in range(10):
            writer.add_message(channel, log_time=i, data=b'{"v": %d}' % i, publish_time=i)
        writer.finish()  # type: ignore[no-untyped-call]
    log = McapLog(path)
    assert log.findings == ()
    assert log.read("x").array.tolist() == [[float(i)] for i in range(10)]
    at = path.read_bytes().index(b'{"v": 7}')
    path.write_bytes(path.read_bytes()[: at + 3])
    cut = McapLog(path)
    assert len(cut.read("x")) == 7
    (finding,) = cut.findings
    assert finding.value == 9 + 22 + 3
    assert finding.spans_ns[0][0] == 7


def test_a_record_of_a_private_type_is_skipped_and_named(whole: Path, tmp_path: Path) -> None:
    data, first = whole.read_bytes(), chunks_of(whole)[0].chunk_start_offset
    private = struct.pack("<BQ", 0x99, 5) + b"hello"
    path = tmp_path / "private.mcap"
    # Offsets in the index are now off by the record's size, so only the walk from the start can be used.
    path.write_bytes(data[:first] + private + data[first:])
    log = McapLog(path)
    assert len(log.read(NAME)) == ROWS
    assert any("0x99" in f.message for f in log.findings)


def test_chunk_headers_are_read_by_the_reference_parser(whole: Path) -> None:
    """The span that is reported for a broken chunk is the one its header states."""
    index = chunks_of(whole)[1]
    body = whole.read_bytes()[index.chunk_start_offset + 9 :][: index.chunk_length - 9]
    chunk = Chunk.read(ReadDataStream(BytesIO(body)))
    assert chunks.chunk_span(body) == (chunk.message_start_time, chunk.message_end_time)
