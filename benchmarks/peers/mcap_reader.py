"""Reads one MCAP with one reader in one configuration and prints what it got and how long that took.

Run by ``benchmarks/mcap_decode.py`` with the Python of ``.venv-mcap``: ``mcap_reader.py READER TASK FILE``. Joint
states become three float64 arrays and one int64 array of stamps; image messages become their encoded bytes. Digests are
taken outside the timed part.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

SECOND = 10**9
FIELDS = ("position", "velocity", "effort")


def mcap_messages(path: Path, *, ordered: bool, crcs: bool = False) -> Iterator[Any]:
    """The official reader and decoder."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=crcs, decoder_factories=[DecoderFactory()])
        for _, _, _, message in reader.iter_decoded_messages(log_time_order=ordered):
            yield message


def mcap_stream(path: Path) -> Iterator[Any]:
    """The official reader over a file that it must not seek in."""
    from mcap.reader import NonSeekingReader
    from mcap_ros2.decoder import DecoderFactory

    with path.open("rb") as file:
        reader = NonSeekingReader(file, decoder_factories=[DecoderFactory()])
        for _, _, _, message in reader.iter_decoded_messages(log_time_order=False):
            yield message


def small_messages(path: Path, *, workers: int = 0) -> Iterator[Any]:
    """small-mcap with the decoder that takes its buffers."""
    from mcap_ros2_support_fast import DecoderFactory
    from small_mcap.reader import read_message_decoded

    with path.open("rb") as file:
        for message in read_message_decoded(file, decoder_factories=[DecoderFactory()], num_workers=workers):
            yield message.decoded_message


def rosbags_messages(path: Path) -> Iterator[Any]:
    """rosbags, with the types that the file defines."""
    from rosbags.rosbag2 import Reader
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    with Reader(path) as reader:
        store = get_typestore(Stores.EMPTY)
        for connection in reader.connections:
            store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
        for connection, _, payload in reader.messages():
            yield store.deserialize_cdr(payload, connection.msgtype)


READERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    "mcap-ros2-support, log order": lambda path: mcap_messages(path, ordered=True),
    "mcap-ros2-support, file order": lambda path: mcap_messages(path, ordered=False),
    "mcap-ros2-support, not seeking": mcap_stream,
    "small-mcap + mcap-ros2-support-fast": small_messages,
    "small-mcap + mcap-ros2-support-fast, 2 workers": lambda path: small_messages(path, workers=2),
    "rosbags": rosbags_messages,
}


def columns_by_array(messages: Iterator[Any]) -> list[np.ndarray[Any, Any]]:
    """Columns from messages whose fields are arrays or buffers."""
    fields: list[list[Any]] = [[], [], []]
    stamps = []
    for message in messages:
        for into, name in zip(fields, FIELDS, strict=True):
            into.append(getattr(message, name))
        stamp = message.header.stamp
        stamps.append(stamp.sec * SECOND + stamp.nanosec)
    arrays = [np.stack([np.asarray(row, dtype=np.float64) for row in rows]) for rows in fields]
    return [*arrays, np.array(stamps, dtype=np.int64)]


def columns_by_list(messages: Iterator[Any]) -> list[np.ndarray[Any, Any]]:
    """Columns from messages whose fields are lists."""
    fields: list[list[Any]] = [[], [], []]
    stamps = []
    for message in messages:
        for into, name in zip(fields, FIELDS, strict=True):
            into.append(getattr(message, name))
        stamp = message.header.stamp
        stamps.append(stamp.sec * SECOND + stamp.nanosec)
    width = len(fields[0][0])
    flat = (np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * width) for rows in fields)
    return [*(array.reshape(-1, width) for array in flat), np.array(stamps, dtype=np.int64)]


def joints(reader: str, path: Path) -> tuple[tuple[float, float], dict[str, Any]]:
    """Seconds, and those of the processor, until the columns stand, and what they are."""
    gather = columns_by_list if "mcap-ros2-support" in reader and "fast" not in reader else columns_by_array
    start, cpu = time.perf_counter(), time.process_time()
    arrays = gather(READERS[reader](path))
    taken = (time.perf_counter() - start, time.process_time() - cpu)
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return taken, {"messages": len(arrays[0]), "digest": digest.hexdigest()}


def images(reader: str, path: Path) -> tuple[tuple[float, float], dict[str, Any]]:
    """Seconds, and those of the processor, until all images were held once; their digest is a second pass's."""
    start, cpu = time.perf_counter(), time.process_time()
    size = messages = joint_sum = 0
    for message in READERS[reader](path):
        messages += 1
        if hasattr(message, "data"):
            size += len(message.data)
        else:
            joint_sum += len(message.position)
    taken = (time.perf_counter() - start, time.process_time() - cpu)
    digests = sorted(hashlib.sha256(bytes(m.data)).hexdigest() for m in READERS[reader](path) if hasattr(m, "data"))
    return taken, {"messages": messages, "bytes": size, "digest": hashlib.sha256("".join(digests).encode()).hexdigest()}


def main() -> None:
    """Measure once, when everything is imported and compiled, and print one JSON object."""
    reader, task, file = sys.argv[1:]
    for _ in islice(READERS[reader](Path(file)), 200):
        pass
    (seconds, cpu), told = (joints if task == "joints" else images)(reader, Path(file))
    print(json.dumps({"seconds": seconds, "cpu": cpu, **told}))


if __name__ == "__main__":
    main()
