"""Small ROS bags, written by rosbags, and small OpenArm and comma2k19 recordings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore
from tests.data.logs import samples

from worldgate.core.times import SECOND
from worldgate.data.logs import _images as images

ROS1 = get_typestore(Stores.ROS1_NOETIC)
ROS2 = get_typestore(Stores.ROS2_HUMBLE)
STEP_NS = 33_333_333
LATE_NS = 1_000_001
"""How much later than its stamp a message is recorded."""

Message = tuple[str, str, int, Any]
"""Topic, type, time of recording, message."""


def message(store: Any, kind: str, /, **fields: Any) -> Any:
    return store.types[kind](**fields)


def header(store: Any, time_ns: int, frame: str = "base") -> Any:
    sec, nanosec = divmod(time_ns, SECOND)
    more = {"seq": 0} if store is ROS1 else {}
    stamp = message(store, "builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
    return message(store, "std_msgs/msg/Header", stamp=stamp, frame_id=frame, **more)


def vector3(store: Any, values: Any, kind: str = "Vector3") -> Any:
    return message(store, f"geometry_msgs/msg/{kind}", **dict(zip("xyzw", map(float, values), strict=False)))


def joint_state(store: Any, time_ns: int, position: Any) -> Any:
    none = np.zeros(0)
    return message(
        store,
        "sensor_msgs/msg/JointState",
        header=header(store, time_ns),
        name=[f"j{i}" for i in range(len(position))],
        position=np.asarray(position, dtype=np.float64),
        velocity=none,
        effort=none,
    )


def imu(store: Any, time_ns: int, values: Any, *, orientation: bool = True) -> Any:
    covariance = np.zeros(9)
    unknown = covariance if orientation else np.array([-1.0, *[0.0] * 8])
    return message(
        store,
        "sensor_msgs/msg/Imu",
        header=header(store, time_ns, "imu"),
        orientation=vector3(store, values[:4], "Quaternion"),
        orientation_covariance=unknown,
        angular_velocity=vector3(store, values[4:7]),
        angular_velocity_covariance=covariance,
        linear_acceleration=vector3(store, values[7:10]),
        linear_acceleration_covariance=covariance,
    )


def picture(store: Any, time_ns: int, pixels: Any) -> Any:
    data = np.frombuffer(images.encode(pixels, "jpeg"), dtype=np.uint8)
    return message(
        store, "sensor_msgs/msg/CompressedImage", header=header(store, time_ns, "camera"), format="jpeg", data=data
    )


def raw_picture(store: Any, time_ns: int, pixels: Any) -> Any:
    height, width, _ = pixels.shape
    return message(
        store,
        "sensor_msgs/msg/Image",
        header=header(store, time_ns, "camera"),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(pixels).reshape(-1),
    )


def recording(store: Any, length: int = 12, start: int = 0) -> list[Message]:
    """Joints, an IMU, two cameras and a text, each stamped, recorded 1 ms later."""
    rng, pixels = np.random.default_rng(5), samples.pictures(length + start)
    numbers = rng.normal(size=(length + start, 10))
    out: list[Message] = []
    for i in range(start, start + length):
        time_ns = samples.START_NS + i * STEP_NS
        text = message(store, "std_msgs/msg/String", data=f"step {i}")
        out += [
            (topic, made.__msgtype__, time_ns + LATE_NS, made)
            for topic, made in (
                ("/arm/joints", joint_state(store, time_ns, numbers[i, :3])),
                ("/imu/data", imu(store, time_ns, numbers[i])),
                ("/camera/jpeg", picture(store, time_ns, pixels[i])),
                ("/camera/raw", raw_picture(store, time_ns, pixels[i])),
                ("/note", text),
            )
        ]
    return out


def write_rosbag1(path: Path, messages: Iterable[Message], *, compression: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = Writer1(path)
    if compression:
        writer.set_compression(Writer1.CompressionFormat[compression.upper()])
    with writer:
        connections: dict[str, Any] = {}
        for topic, kind, time_ns, made in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS1)
            writer.write(connections[topic], time_ns, ROS1.serialize_ros1(made, kind))
    return path


def write_rosbag2(
    root: Path,
    messages: Iterable[Message],
    *,
    storage: Literal["sqlite3", "mcap"] = "sqlite3",
    packed: Literal["", "file", "message"] = "",
) -> Path:
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    writer = Writer2(root, version=9, storage_plugin=plugin)
    if packed:
        writer.set_compression(CompressionMode[packed.upper()], CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, kind, time_ns, made in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS2)
            writer.write(connections[topic], time_ns, ROS2.serialize_cdr(made, kind))
    return root


def make_rosbag1(path: Path, compression: str = "") -> Path:
    return write_rosbag1(path, recording(ROS1), compression=compression)


def make_rosbag2(root: Path, **how: Any) -> Path:
    return write_rosbag2(root, recording(ROS2), **how)


def make_split_rosbag2(root: Path, storage: Literal["sqlite3", "mcap"] = "sqlite3") -> Path:
    """One recording in two files, the later one named first."""
    suffix = "mcap" if storage == "mcap" else "db3"
    root.mkdir(parents=True)
    for part in (0, 1):
        made = write_rosbag2(root / f"part{part}", recording(ROS2, 6, 6 * part), storage=storage)
        (next(made.glob(f"*.{suffix}"))).rename(root / f"run_{part}.{suffix}")
        shutil.rmtree(made)
    messages = recording(ROS2)
    write_metadata(root, messages, [f"run_1.{suffix}", f"run_0.{suffix}"], storage)
    return root


def write_metadata(root: Path, messages: list[Message], files: list[str], storage: str, **more: Any) -> None:
    """A ``metadata.yaml`` of version 5; JSON is YAML."""
    topics = {topic: (kind, sum(m[0] == topic for m in messages)) for topic, kind, _, _ in messages}
    times = [time_ns for _, _, time_ns, _ in messages]
    info = {
        "version": 5,
        "storage_identifier": storage,
        "relative_file_paths": files,
        "duration": {"nanoseconds": max(times) - min(times)},
        "starting_time": {"nanoseconds_since_epoch": min(times)},
        "message_count": len(messages),
        "topics_with_message_count": [
            {"topic_metadata": {"name": name, "type": kind, "serialization_format": "cdr"}, "message_count": count}
            for name, (kind, count) in topics.items()
        ],
        "compression_format": "",
        "compression_mode": "",
        **more,
    }
    (root / "metadata.yaml").write_text(json.dumps({"rosbag2_bagfile_information": info}))


# -------------------------------------------------------------------- OpenArm, comma2k19


def write_rows(file: Path, times_ns: Any, columns: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        name: pa.array(np.asarray(values).tolist(), type=pa.list_(pa.float32())) for name, values in columns.items()
    }
    pq.write_table(pa.table({"timestamp": pa.array(times_ns, type=pa.timestamp("ns")), **arrays}), file)


def openarm_metadata(episodes: Iterable[str], version: str = "0.3.0") -> dict[str, Any]:
    return {
        "version": version,
        "location": "here",
        "operator": "someone",
        "operation_type": "teleop",
        "tasks": [{"prompt": "fold the cloth", "description": ""}],
        "episodes": [{"id": id, "success": id != "0", "task_index": 0} for id in episodes],
        "equipment": {
            "id": "cell",
            "version": "1.0",
            "embodiments": {"arms": {"id": "OpenArm", "version": "2.0"}},
            "perceptions": {"cameras": {"head": {}}},
        },
        "frequencies": {
            "obs": {"arms": {"left": 250.0}},
            "action": {"arms": {"left": 30.0}},
            "cameras": {"head": 30.0},
        },
    }


def make_openarm(root: Path, episodes: int = 2) -> Path:
    for number in range(episodes):
        folder = root / "episodes" / str(number)
        times = samples.START_NS + number * SECOND + np.arange(20) * 4_000_000
        state = samples.numbers(20, 8) + np.float32(number)
        write_rows(folder / "obs" / "arms" / "left" / "state.parquet", times, {"qpos": state, "qvel": state / 10})
        write_rows(folder / "action" / "arms" / "left" / "qpos.parquet", times[::2] + 7, {"value": state[::2]})
        write_rows(folder / "obs" / "lifter" / "elevation.parquet", times, {"value": state[:, :1]})
        camera = folder / "cameras" / "head"
        camera.mkdir(parents=True)
        for time_ns, pixels in zip(times.tolist(), samples.pictures(), strict=True):
            (camera / f"{time_ns}.jpeg").write_bytes(images.encode(pixels, "jpeg"))
    (root / "metadata.yaml").write_text(json.dumps(openarm_metadata(map(str, range(episodes)))))
    return root


def save(file: Path, values: Any) -> None:
    """As the dataset stores arrays: NumPy's format, no suffix."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        np.save(opened, values, allow_pickle=False)


def make_comma2k19(root: Path, rows: int = 40) -> Path:
    rng = np.random.default_rng(9)
    seconds = 46_408.5 + np.arange(rows) * 0.05
    widths = {"CAN/speed": 1, "CAN/wheel_speed": 4, "CAN/radar": 7, "IMU/gyro": 3, "GNSS/live_gnss_ublox": 6}
    for signal, width in widths.items():
        save(root / "processed_log" / signal / "t", seconds + 0.003)
        save(root / "processed_log" / signal / "value", rng.normal(size=(rows, width)))
    save(root / "processed_log" / "CAN/steering_angle" / "t", seconds)
    save(root / "processed_log" / "CAN/steering_angle" / "value", rng.normal(size=rows))
    for name, width in {
        "frame_positions": 3,
        "frame_orientations": 4,
        "frame_velocities": 3,
        "frame_gps_times": 2,
    }.items():
        save(root / "global_pose" / name, rng.normal(size=(rows, width)))
    save(root / "global_pose" / "frame_times", seconds)
    return root
