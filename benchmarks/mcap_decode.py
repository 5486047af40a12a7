"""How fast an MCAP becomes columns and images: ours beside mcap-ros2-support, small-mcap and rosbags.

(a) A minute of a 14-joint ``JointState`` at 1 kHz in zstd chunks, into float64 arrays of position, velocity and effort
and int64 header stamps. (b) Image topics: two JPEG cameras with joints at 100 Hz, and raw 256 px images without and
with zstd; the encoded bytes of every image message, pixels not decoded. Every reader runs in a process of its own, the
repeats interleaved, after a warm-up that is not timed; of each peer's configurations the best in a first round is
repeated. All readers must give the same bytes before a figure counts. Ours opens the log anew each time and checks the
chunks' and the file's CRCs; of the peers, as they are configured by default, only rosbags does (of chunks).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.writer import CompressionType, Writer

from worldgate.core.streams import Kind
from worldgate.data.logs import _ros2 as ros2
from worldgate.data.logs.mcap import McapLog

HERE = Path(__file__).resolve().parent
PEER_PYTHON = HERE.parent / ".venv-mcap" / "bin" / "python"
KEPT = HERE / "results" / "mcap_decode.json"
START_NS = 1_700_000_000_000_000_000
JOINTS = 14
REFERENCE = "mcap-ros2-support"
FIELDS = ("position", "velocity", "effort")

CONFIGURATIONS = {
    "joints": {
        REFERENCE: ("mcap-ros2-support, log order", "mcap-ros2-support, file order", "mcap-ros2-support, not seeking"),
        "small-mcap": ("small-mcap + mcap-ros2-support-fast", "small-mcap + mcap-ros2-support-fast, 2 workers"),
        "rosbags": ("rosbags",),
    },
    "images": {
        REFERENCE: ("mcap-ros2-support, file order", "mcap-ros2-support, not seeking"),
        "small-mcap": ("small-mcap + mcap-ros2-support-fast", "small-mcap + mcap-ros2-support-fast, 2 workers"),
        "rosbags": ("rosbags",),
    },
}


# -------------------------------------------------------------------- the files


def joint_payloads(count: int, step_ns: int) -> Iterator[tuple[int, bytes]]:
    """Joint states with their times: one encoded by the reference, then its numbers replaced."""
    names = [f"arm_joint_{i:02d}" for i in range(JOINTS)]
    zeros = [0.0] * JOINTS
    first = {"header": ros2.header(START_NS, "base_link"), "name": names, **dict.fromkeys(FIELDS, zeros)}
    template = bytearray(ros2.encoder("sensor_msgs/JointState")(first))
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(0, 1e-3, (count, JOINTS)), axis=0)
    values = np.stack([walk, rng.normal(size=(count, JOINTS)), rng.normal(size=(count, JOINTS))], axis=1)
    size = JOINTS * 8
    places = [len(template) - (3 - i) * (size + 8) + 8 for i in range(3)]
    assert all(JOINTS.to_bytes(4, "little") in template[p - 8 : p] for p in places)
    for i in range(count):
        stamp = START_NS + i * step_ns
        template[4:12] = (stamp // 10**9).to_bytes(4, "little") + (stamp % 10**9).to_bytes(4, "little")
        for place, row in zip(places, values[i], strict=True):
            template[place : place + size] = row.tobytes()
        yield stamp, bytes(template)


def add_channel(writer: Writer, topic: str, name: str) -> int:
    """Register a ROS 2 topic."""
    schema = writer.register_schema(ros2.schema_name(name), "ros2msg", ros2.definition(name).encode())
    return writer.register_channel(topic, "cdr", schema)


def make_joints(path: Path, seconds: int) -> None:
    """One topic at 1 kHz."""
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start(profile="ros2")
        channel = add_channel(writer, "/joint_states", "sensor_msgs/JointState")
        for stamp, payload in joint_payloads(1000 * seconds, 10**6):
            writer.add_message(channel, log_time=stamp + 100_000, data=payload, publish_time=stamp)
        writer.finish()


def pictures(count: int, height: int, width: int) -> list[np.ndarray[Any, Any]]:
    """Moving shapes with sensor noise."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    out = []
    for t in range(count):
        planes = [
            127 + 100 * np.sin((x + 3 * t) / 60),
            127 + 100 * np.cos((y + 2 * t) / 50),
            (x + y + t) * 255 / (x + y + t).max(),
        ]
        noisy = np.stack(planes, axis=-1) + rng.normal(0, 1, (height, width, 1))
        out.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return out


def make_cameras(path: Path, seconds: int) -> None:
    """Two JPEG cameras of 640 x 480 at 30 Hz, joints at 100 Hz."""
    write = ros2.encoder("sensor_msgs/CompressedImage")
    jpegs = [
        cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes() for picture in pictures(30, 480, 640)
    ]
    rows = [(stamp, "/joint_states", payload) for stamp, payload in joint_payloads(100 * seconds, 10**7)]
    for camera in ("/front", "/wrist"):
        for i in range(30 * seconds):
            stamp = START_NS + i * 33_333_333
            message = {"header": ros2.header(stamp, camera[1:]), "format": "jpeg", "data": jpegs[i % 30]}
            rows.append((stamp, camera, write(message)))
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start(profile="ros2")
        channels = {topic: add_channel(writer, topic, "sensor_msgs/CompressedImage") for topic in ("/front", "/wrist")}
        channels["/joint_states"] = add_channel(writer, "/joint_states", "sensor_msgs/JointState")
        for stamp, topic, payload in sorted(rows, key=lambda row: row[0]):
            writer.add_message(channels[topic], log_time=stamp, data=payload, publish_time=stamp)
        writer.finish()


def make_raw(path: Path, seconds: int, compression: CompressionType) -> None:
    """One camera of raw 256 x 256 RGB at 30 Hz."""
    write = ros2.encoder("sensor_msgs/Image")
    held = [picture.tobytes() for picture in pictures(60, 256, 256)]
    layout = {"height": 256, "width": 256, "encoding": "rgb8", "is_bigendian": 0, "step": 768}
    with path.open("wb") as file:
        writer = Writer(file, compression=compression)
        writer.start(profile="ros2")
        channel = add_channel(writer, "/image", "sensor_msgs/Image")
        for i in range(30 * seconds):
            stamp = START_NS + i * 33_333_333
            payload = write({"header": ros2.header(stamp, "camera"), **layout, "data": held[i % 60]})
            writer.add_message(channel, log_time=stamp, data=payload, publish_time=stamp)
        writer.finish()


# -------------------------------------------------------------------- ours


def our_joints(path: Path) -> tuple[tuple[float, float], dict[str, Any]]:
    """Seconds, and those of the processor, until the columns stand, and what they are."""
    start, cpu = time.perf_counter(), time.process_time()
    log = McapLog(path)
    streams = [log.read(f"joint_states.{name}") for name in FIELDS]
    taken = (time.perf_counter() - start, time.process_time() - cpu)
    digest = hashlib.sha256()
    for array in [*(stream.array for stream in streams), streams[0].times_ns]:
        digest.update(np.ascontiguousarray(array).tobytes())
    return taken, {"messages": len(streams[0]), "digest": digest.hexdigest()}


def our_images(path: Path) -> tuple[tuple[float, float], dict[str, Any]]:
    """Seconds, and those of the processor, until every image's bytes were held once, and the joints were columns."""
    start, cpu = time.perf_counter(), time.process_time()
    log, size, messages = McapLog(path), 0, 0
    for info in log.streams():
        stream = log.read(info.name)
        if info.kind is Kind.IMAGE:
            size += sum(len(image.data) for image in stream.frames.encoded(np.arange(len(stream))))
            messages += len(stream)
        else:
            messages += len(stream) if info.name.endswith("position") else 0
    taken = (time.perf_counter() - start, time.process_time() - cpu)
    digests = []
    for info in log.streams():
        if info.kind is Kind.IMAGE:
            frames = log.read(info.name).frames
            digests += [hashlib.sha256(image.data).hexdigest() for image in frames.encoded(np.arange(len(frames)))]
    whole = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
    return taken, {"messages": messages, "bytes": size, "digest": whole}


# -------------------------------------------------------------------- the contest


@dataclass
class Entry:
    """One reader in one configuration."""

    reader: str
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    def measure(self, task: str, path: Path) -> None:
        """One more repeat."""
        self.told = run(self.reader, task, path)
        self.seconds.append(self.told.pop("seconds"))
        self.cpu.append(self.told.pop("cpu"))

    @property
    def median(self) -> float:
        """Of the repeats."""
        return statistics.median(self.seconds)


def run(reader: str, task: str, path: Path) -> dict[str, Any]:
    """Measure one reader once, in a process of its own."""
    if reader == "ours":
        command = [sys.executable, str(Path(__file__).resolve()), "--measure", task, str(path)]
    else:
        command = [str(PEER_PYTHON), str(HERE / "peers" / "mcap_reader.py"), reader, task, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(f"{reader}: {done.stderr.strip().splitlines()[-1]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def contest(task: str, path: Path, repeats: int) -> dict[str, Entry]:
    """Ours and, after one round over all, the best configuration of each peer; every reader must give the same."""
    peers = CONFIGURATIONS[task] if PEER_PYTHON.exists() else {}
    readers = ["ours", *(name for names in peers.values() for name in names)]
    entries = {name: Entry(name) for name in readers}
    for entry in entries.values():
        entry.measure(task, path)
        if entry.told != entries["ours"].told:
            raise SystemExit(f"{entry.reader} gives {entry.told}, ours {entries['ours'].told}")
    best = {peer: min((entries[name] for name in names), key=lambda e: e.median) for peer, names in peers.items()}
    chosen = {"ours": entries["ours"], **best}
    for _ in range(repeats - 1):
        for entry in chosen.values():
            entry.measure(task, path)
    return chosen


def rows_of(what: str, task: str, path: Path, repeats: int, bar: float | None) -> list[dict[str, object]]:
    """A row for ours beside each peer."""
    entries = contest(task, path, repeats)
    ours = entries.pop("ours")
    amount, unit = (ours.told["messages"], "messages/s") if task == "joints" else (ours.told["bytes"] / 1e6, "MB/s")
    spread = [round(amount / s, 1) for s in (max(ours.seconds), min(ours.seconds))]
    common = {"what": what, "value": round(amount / ours.median, 1), "unit": unit, "spread": spread}
    if not entries:
        return [
            {
                **common,
                "peer": "not installed: make bench-env",
                "peer_value": None,
                "ratio": None,
                "bar": bar,
                "ok": False,
            }
        ]
    out = []
    for peer, entry in entries.items():
        ratio = entry.median / ours.median
        held = bar if peer == REFERENCE else None
        out.append(
            {
                **common,
                "peer": entry.reader,
                "peer_value": round(amount / entry.median, 1),
                "ratio": round(ratio, 2),
                "cpu_ratio": round(statistics.median(entry.cpu) / statistics.median(ours.cpu), 2),
                "bar": held,
                "ok": held is None or ratio >= held,
                "equal_values": True,
            }
        )
    return out


def measure(scratch: Path, *, quick: bool) -> list[dict[str, object]]:
    """Every row of the table."""
    repeats = 3
    joint_seconds, camera_seconds, raw_seconds = (15, 5, 5) if quick else (60, 40, 60)
    files = {name: scratch / f"{name}.mcap" for name in ("joints", "cameras", "raw_none", "raw_zstd")}
    make_joints(files["joints"], joint_seconds)
    make_cameras(files["cameras"], camera_seconds)
    make_raw(files["raw_none"], raw_seconds, CompressionType.NONE)
    make_raw(files["raw_zstd"], raw_seconds, CompressionType.ZSTD)
    told = f"{1000 * joint_seconds:,} joint states of {JOINTS} joints, zstd"
    return [
        *rows_of(told, "joints", files["joints"], repeats, 10.0),
        *rows_of("2 cameras JPEG 480p, joints 100 Hz, zstd", "images", files["cameras"], repeats, None),
        *rows_of("raw 256 px images, no compression", "images", files["raw_none"], repeats, None),
        *rows_of("raw 256 px images, zstd", "images", files["raw_zstd"], repeats, None),
    ]


def machine() -> str:
    """Where these figures were measured, and what else it did."""
    load = "/".join(f"{x:.1f}" for x in os.getloadavg())
    cores = os.cpu_count()
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, {platform.system()}, load {load}"


def main() -> None:
    """Print the table, or one JSON object."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--quick", action="store_true", help="shorter files")
    arguments.add_argument("--json", action="store_true", help="one JSON object")
    arguments.add_argument("--measure", nargs=2, metavar=("TASK", "FILE"), help=argparse.SUPPRESS)
    told = arguments.parse_args()
    if told.measure:
        task, file = told.measure
        measured = our_joints if task == "joints" else our_images
        measured(Path(file))
        (seconds, cpu), found = measured(Path(file))
        print(json.dumps({"seconds": seconds, "cpu": cpu, **found}))
        return
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(Path(scratch), quick=told.quick)
    result = {"name": "mcap_decode", "machine": machine(), "rows": rows}
    if told.json:
        print(json.dumps(result))
        return
    for row in rows:
        peer = (
            f"{row['peer']} {row['peer_value']:,}  ratio {row['ratio']}, of processor time {row['cpu_ratio']}"
            if row["peer_value"]
            else row["peer"]
        )
        bar = f"  bar {row['bar']} {'ok' if row['ok'] else 'short'}" if row["bar"] else ""
        print(f"{row['what']:45} {row['value']:>11,} {row['unit']:10} {peer}{bar}")
    if told.quick and KEPT.exists():
        kept = json.loads(KEPT.read_text())
        print(f"last full run, {kept['machine']}:")
        for row in kept["rows"]:
            print(f"  {row['what']:43} {row['value']:>11,} {row['unit']:10} {row['peer']} ratio {row['ratio']}")


if __name__ == "__main__":
    main()
