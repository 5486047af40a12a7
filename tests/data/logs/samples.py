"""Small logs of every format, built from the same numbers and pictures."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from tests.data.logs.ulog_file import UlogFile

from worldgate.core.streams import Kind, Origin, Stream, StreamInfo
from worldgate.data.logs import _images as images
from worldgate.data.logs import _tfrecord as tfrecord
from worldgate.data.logs.lerobot import LeRobotWriter
from worldgate.data.logs.mcap import ImageOptions, write_log

START_NS = 1_700_000_000_123_456_789
CAMERA = "observation.images.front"


def numbers(length: int = 20, width: int = 3) -> np.ndarray[Any, Any]:
    return np.random.default_rng(7).normal(size=(length, width)).astype(np.float32)


def pictures(length: int = 20, height: int = 32, width: int = 48) -> np.ndarray[Any, Any]:
    """Smooth moving colour, so that a lossy codec stays close."""
    y, x = np.mgrid[:height, :width]
    t = np.arange(length)[:, None, None]
    planes = [(x * 4 + 5 * t) % 256, (y * 6 + 3 * t) % 256, (x + y + 7 * t) % 256]
    return np.stack([np.minimum(p, 255) for p in planes], axis=-1).astype(np.uint8)


def stream(name: str, kind: Kind, values: Any, step_ns: int = 33_333_333, **more: Any) -> Stream:
    times = START_NS + np.arange(len(values), dtype=np.int64) * step_ns
    info = StreamInfo(name=name, kind=kind, count=len(values), shape=np.shape(values)[1:], clock="header", **more)
    return Stream(info=info, times_ns=times, values=values, log_times_ns=times + 1_000_001)


def texts(*values: str) -> np.ndarray[Any, Any]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def every_kind() -> list[Stream]:
    """One stream of each kind, and vectors that become each special message of the ROS 2 profile."""
    rng = np.random.default_rng(3)
    depth = rng.uniform(0, 4, (5, 16, 24)).astype(np.float32)
    normals = rng.normal(size=(5, 16, 24, 3)).astype(np.float32)
    return [
        stream("observation.state", Kind.VECTOR, numbers(), names=("a", "b", "c"), unit="rad", rate_hz=30.0),
        stream("observation.wide", Kind.VECTOR, rng.normal(size=(9, 4)), unit="m,m,m,rad"),
        stream("observation.grid", Kind.VECTOR, rng.integers(-9, 9, (4, 2, 3)).astype(np.int16)),
        stream("observation.force", Kind.VECTOR, rng.normal(size=(6, 6)), unit="N,N,N,N*m,N*m,N*m", frame="wrist"),
        stream("action", Kind.ACTION, numbers(width=2), names=("x", "y"), unit="m", frame="base"),
        stream("observation.tool", Kind.POSE, rng.normal(size=(7, 7)), frame="base"),
        stream(CAMERA, Kind.IMAGE, pictures(6), frame="camera", rate_hz=30.0),
        stream("observation.depth.front", Kind.DEPTH, depth, unit="m"),
        stream("observation.normals.front", Kind.NORMALS, normals),
        stream("observation.segmentation.front", Kind.SEGMENTATION, rng.integers(0, 9, (5, 16, 24)).astype(np.uint8)),
        stream("observation.segmentation.ids", Kind.SEGMENTATION, rng.integers(0, 999, (5, 16, 24)).astype(np.int32)),
        stream("events.contact", Kind.EVENT, texts('{"b": 1,  "a": 2}', "[]")),
        stream("note", Kind.TEXT, texts("start", "Grüße")),
    ]


def make_mcap(path: Path, profile: Any = "foxglove", **more: Any) -> Path:
    write_log(path, every_kind(), origin=Origin.SIMULATED, facts={"task": "push", "success": True}, profile=profile)
    return path


def make_jpeg_mcap(path: Path) -> Path:
    streams = [stream(CAMERA, Kind.IMAGE, pictures()), stream("observation.state", Kind.VECTOR, numbers())]
    write_log(path, streams, origin=Origin.REAL, image=ImageOptions(format="jpeg"))
    return path


def make_lerobot(path: Path, episodes: int = 3, **more: Any) -> Path:
    with LeRobotWriter(path, fps=30, robot_type="sample", origin=Origin.SIMULATED, **more) as writer:
        for number in range(episodes):
            length = 20 + number
            info = StreamInfo(
                name="observation.state", kind=Kind.VECTOR, count=length, shape=(3,), names=("a", "b", "c"), unit="rad"
            )
            writer.add_episode(
                {"observation.state": numbers(length), "action": numbers(length, 2)},
                {CAMERA: pictures(length)},
                task="push the block" if number else "wait",
                infos={"observation.state": info},
                facts={"success": number > 0, "seed": number},
            )
    return path


def encode_video(path: Path, frames: np.ndarray[Any, Any], rate: int, bframes: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "18", "bf": str(bframes), "g": "8"})
        video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode(None))


def make_lerobot_v21(root: Path, episodes: int = 2) -> Path:
    numeric = {"dtype": "float32", "shape": [3], "names": [["a", "b", "c"]]}
    features = {
        "observation.state": numeric,
        "action": {**numeric, "names": {"motors": ["a", "b", "c"]}},
        CAMERA: {"dtype": "video", "shape": [3, 32, 48], "names": ["channels", "height", "width"]},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    info = {
        "codebase_version": "v2.1",
        "robot_type": "sample",
        "total_episodes": episodes,
        "total_frames": 20 * episodes,
        "chunks_size": 1000,
        "fps": 30,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    lines = [json.dumps({"episode_index": i, "tasks": ["push"], "length": 20}) for i in range(episodes)]
    (root / "meta" / "episodes.jsonl").write_text("\n".join(lines))
    for number in range(episodes):
        data = root / "data" / "chunk-000" / f"episode_{number:06d}.parquet"
        data.parent.mkdir(parents=True, exist_ok=True)
        count = np.arange(20)
        flat = pa.array(numbers().ravel() + np.float32(number))
        table = {
            "observation.state": pa.FixedSizeListArray.from_arrays(flat, 3),
            "action": pa.array(numbers().tolist(), type=pa.list_(pa.float32())),
            "timestamp": pa.array((count / 30).astype(np.float32)),
            "frame_index": pa.array(count),
            "episode_index": pa.array(np.full(20, number)),
        }
        pq.write_table(pa.table(table), data)
        encode_video(root / "videos" / "chunk-000" / CAMERA / f"episode_{number:06d}.mp4", pictures(), 30)
    return root


def make_droid(root: Path, rows: int = 55) -> Path:
    frames = -(-rows // 3)
    state, tool = numbers(rows, 7).astype(float), numbers(rows, 6).astype(float)
    tree = {
        "texts": ["pick the block"],
        "episode_id": 4,
        "success": 1,
        "video_length": frames,
        "raw_length": rows,
        "videos": [{"video_path": f"videos/train/4/{i}.mp4"} for i in range(2)],
        "states": tool[::3].tolist(),
        "observation.state.joint_position": state.tolist(),
        "observation.state.cartesian_position": tool.tolist(),
        "observation.state.gripper_position": tool[:, 0].tolist(),
        "action.cartesian_position": tool.tolist(),
        "action.gripper_position": tool[:, 0].tolist(),
        "action.joint_position": state.tolist(),
        "action.joint_velocity": state.tolist(),
    }
    (root / "annotation" / "train").mkdir(parents=True)
    (root / "annotation" / "train" / "4.json").write_text(json.dumps(tree))
    for i in range(2):
        encode_video(root / "videos" / "train" / "4" / f"{i}.mp4", pictures(frames), 5)
    return root


def example(length: int = 20) -> bytes:
    """One RLDS episode as ``tf.train.Example``."""
    message = tfrecord._example()()
    feature = message.features.feature
    feature["steps/action"].float_list.value.extend(numbers(length, 2).ravel().tolist())
    feature["steps/observation/state"].float_list.value.extend(numbers(length).ravel().tolist())
    feature["steps/is_last"].int64_list.value.extend([0] * (length - 1) + [1])
    feature["steps/language_instruction"].bytes_list.value.extend([b"put the carrot away"] * length)
    encoded = [images.encode(picture, "jpeg") for picture in pictures(length)]
    feature["steps/observation/front"].bytes_list.value.extend(encoded)
    feature["episode_metadata/episode_id"].int64_list.value.append(4)
    return bytes(message.SerializeToString())


def frame_record(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    crc, tail = tfrecord.masked_crc(head), tfrecord.masked_crc(data)
    return head + struct.pack("<I", crc) + data + struct.pack("<I", tail)


def make_rlds(root: Path, episodes: int = 3) -> Path:
    def tensor(dtype: str, *shape: int) -> dict[str, Any]:
        return {"tensor": {"dtype": dtype, "shape": {"dimensions": [str(n) for n in shape]}}}

    step = {
        "action": tensor("float32", 2),
        "is_last": tensor("bool"),
        "language_instruction": {"text": {}},
        "observation": {
            "featuresDict": {
                "features": {
                    "state": tensor("float32", 3),
                    "front": {"image": {"shape": {"dimensions": ["32", "48", "3"]}, "encodingFormat": "jpeg"}},
                }
            }
        },
    }
    metadata = {"featuresDict": {"features": {"episode_id": tensor("int32")}}}
    steps = {"sequence": {"feature": {"featuresDict": {"features": step}}}}
    root.mkdir(parents=True)
    tree = {"featuresDict": {"features": {"steps": steps, "episode_metadata": metadata}}}
    (root / "features.json").write_text(json.dumps(tree))
    info = {"name": "sample", "splits": [{"name": "train", "shardLengths": [str(episodes)]}]}
    (root / "dataset_info.json").write_text(json.dumps(info))
    records = b"".join(frame_record(example(20 + i)) for i in range(episodes))
    (root / "sample-train.tfrecord-00000-of-00001").write_bytes(records)
    return root


def make_robomimic(path: Path, demos: int = 3) -> Path:
    """Three demonstrations of a simulated robot, with chunked pictures and filter keys."""
    environment = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20}}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(environment)
        for number in range(demos):
            length = 20 + number
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = length
            demo.attrs["model_file"] = "<mujoco/>" * 100
            demo["actions"] = numbers(length, 2)
            demo["states"] = numbers(length, 9).astype(np.float64)
            demo["dones"] = np.arange(length) == length - 1
            demo["obs/robot0_eef_pos"] = numbers(length)
            demo["obs/object"] = numbers(length, 4)
            options = {"chunks": (1, 32, 48, 3), "compression": "gzip"}
            demo.create_dataset("obs/front_image", data=pictures(length), **options)
            demo["obs/front_depth"] = np.full((length, 16, 24, 1), 0.5 + number, np.float32)
            demo["next_obs/object"] = numbers(length, 4)
        file["mask/train"] = np.array([b"demo_0", b"demo_1"])
        file["mask/valid"] = np.array([b"demo_2"])
    return path


def make_act(root: Path, episodes: int = 2, compressed: bool = True, rate_hz: float = 50.0) -> Path:
    """Episodes as ALOHA records them, the rate in a mapping file beside them."""
    root.mkdir()
    (root / "worldgate-log.toml").write_text(f"rate_hz = {rate_hz}\n" if rate_hz else "")
    for number in range(episodes):
        length = 20 + number
        with h5py.File(root / f"episode_{number}.hdf5", "w") as file:
            file.attrs["sim"] = True
            file["action"] = numbers(length, 2)
            for key in ("qpos", "qvel"):
                file[f"observations/{key}"] = numbers(length)
            if not compressed:
                file["observations/images/front"] = pictures(length)
                continue
            file.attrs["compress"] = True
            encoded = [images.encode(picture, "jpeg") for picture in pictures(length)]
            longest = max(map(len, encoded))
            padded = [np.frombuffer(data.ljust(longest, b"\0"), np.uint8) for data in encoded]
            file["observations/images/front"] = np.stack(padded)
            file["compress_len"] = np.array([[len(data) for data in encoded]])
    return root


def make_replay_buffer(root: Path, episodes: int = 3, format: int = 3, zipped: bool = False) -> Path:
    """Episodes of 20, 21 ... rows; zipped as UMI ships it, else with a mapping file beside the arrays."""
    lengths = [20 + number for number in range(episodes)]
    store = root.with_name(f"{root.name}.zarr") if not zipped else root.with_name(f"{root.name}_unpacked")
    group = zarr.open_group(store, mode="w", zarr_format=format)  # type: ignore[arg-type]
    moved = [numbers(length) + np.float32(number) for number, length in enumerate(lengths)]
    group.create_array("data/state", data=np.concatenate(moved), chunks=(7, 3))
    group.create_array("data/action", data=np.concatenate([numbers(n, 2) for n in lengths]))
    group.create_array("data/front_rgb", data=np.concatenate([pictures(n) for n in lengths]), chunks=(1, 32, 48, 3))
    group.create_array("meta/episode_ends", data=np.cumsum(lengths))
    group.create_array("meta/success", data=np.arange(episodes) % 2 == 0)
    mapping = 'rate_hz = 10\n[streams."observation.state"]\nunit = "m"\nnames = ["x", "y", "z"]\n'
    if not zipped:
        (store / "worldgate-log.toml").write_text(mapping)
        return store
    root.mkdir()
    (root / "worldgate-log.toml").write_text(mapping)
    with zipfile.ZipFile(root / "sample.zarr.zip", "w") as file:
        for path in sorted(store.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(store).as_posix())
    return root


def make_ulog(path: Path, rows: int = 50) -> Path:
    """A flight of two gyroscopes, an array, a text, parameters and messages, without a dropout."""
    log = UlogFile().info("sys_name", "PX4").info("ver_hw", "SAMPLE_V1").parameter("MC_ROLL_P", 6.5)
    log.format("sensor_gyro", "uint64_t timestamp;float x;uint32_t error_count;uint8_t[4] _padding0;")
    log.format("actuator_outputs", "uint64_t timestamp;float[4] output;")
    log.format("mavlink_log", "uint64_t timestamp;char[8] text;uint8_t severity;")
    log.subscribe(0, "sensor_gyro").subscribe(1, "sensor_gyro", 1).subscribe(2, "actuator_outputs")
    log.subscribe(3, "mavlink_log")
    values = numbers(rows, 5)
    for row in range(rows):
        stamp = 2_000_000 + 4_000 * row
        log.row(0, stamp, "fI", values[row, 0], row).row(1, stamp + 1, "fI", -values[row, 0], 0)
        log.row(2, stamp + 2, "4f", *values[row, 1:])
        if row % 10 == 0:
            log.row(3, stamp + 3, "8sB", f"at {row}".encode(), 6).text(stamp + 4, f"row {row}")
            log.parameter("MC_ROLL_P", 6.5 + row)
    path.write_bytes(log.data)
    return path


TABLE = """
format = "table"
logs = "run_*"
origin = "simulated"
facts_file = "facts.json"
[facts]
task = "push the block"
[streams."observation.state"]
file = "joints.csv"
time = "stamp"
time_unit = "s"
columns = ["a", "b", "c"]
unit = "rad"
clock = "header"
[streams.action]
file = "commands.parquet"
time = "t"
columns = ["target"]
names = ["x", "y"]
[streams."observation.images.front"]
video = "front.mp4"
file = "front.txt"
time_unit = "us"
[streams."observation.images.wrist"]
video = "front.mp4"
rate_hz = 30.0
start_ns = 1_700_000_000_123_456_000
[streams.note]
file = "joints.csv"
time = "stamp"
time_unit = "s"
columns = ["said"]
kind = "text"
"""


def make_table(root: Path, runs: int = 2) -> Path:
    """Runs of a CSV with a BOM, a parquet with lists, and a video whose frames' stamps lie beside it."""
    root.mkdir()
    (root / "worldgate-log.toml").write_text(TABLE)
    for number in range(runs):
        length, folder = 20 + number, root / f"run_{number}"
        folder.mkdir()
        stamps = START_NS + np.arange(length) * 10_000_000
        lines = [
            f"{t // 10**9}.{t % 10**9:09d},{a!r},{b!r},{c!r},said {i}"
            for i, (t, (a, b, c)) in enumerate(zip(stamps.tolist(), numbers(length).tolist(), strict=True))
        ]
        (folder / "joints.csv").write_text("\ufeffstamp,a,b,c,said\n" + "\n".join(lines) + "\n")
        target = pa.FixedSizeListArray.from_arrays(pa.array(numbers(length, 2).ravel()), 2)
        times = pa.array(stamps, type=pa.timestamp("ns", "UTC"))
        pq.write_table(pa.table({"t": times, "target": target}), folder / "commands.parquet", row_group_size=7)
        encode_video(folder / "front.mp4", pictures(length), 30)
        (folder / "front.txt").write_text("\n".join(str(t // 1000) for t in stamps.tolist()))
        (folder / "facts.json").write_text(json.dumps({"success": number == 0}))
    return root
