"""Where fuzzing starts: for every parser a few whole samples, small, each in ``TARGET/VARIANT/ROOT``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from mcap.writer import CompressionType, Writer
from tests.data.logs import bag_samples, samples

from worldgate.core.episodes import Rows
from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.data import codecs, contracts, episode_cache
from worldgate.data.codecs import _file as clip_file
from worldgate.data.labelling import schema
from worldgate.data.logs import _images as images

ROWS = 4
"""Few rows: an input is read whole, and most of the time would go into decoding the same pictures again."""


def mcap(out: Path) -> None:
    samples.make_mcap(slot(out, "foxglove") / "a.mcap")
    samples.make_mcap(slot(out, "ros2") / "a.mcap", profile="ros2")
    with (slot(out, "unguarded") / "a.mcap").open("wb") as file:
        # No CRC and no compression: damage reaches what lies below them.
        writer = Writer(file, chunk_size=2000, compression=CompressionType.NONE, enable_crcs=False)
        writer.start(library="recorder")
        channels = [writer.register_channel(topic, "json", 0) for topic in ("/a", "/b/c")]
        for i in range(20):
            data = json.dumps({"v": i, "w": [i, 2.5], "header": {"stamp": {"sec": i, "nanosec": 3}}}).encode()
            writer.add_message(channels[i % 2], log_time=i * 10**6, data=data, publish_time=i * 10**6)
        writer.finish()
    messages = bag_samples.recording(bag_samples.ROS2, ROWS)
    bag = bag_samples.write_rosbag2(out / "made", messages, storage="mcap")
    shutil.copy(next(bag.glob("*.mcap")), slot(out, "cdr") / "a.mcap")
    shutil.rmtree(bag)


def rosbag1(out: Path) -> None:
    for packed in ("", "bz2", "lz4"):
        messages = bag_samples.recording(bag_samples.ROS1, ROWS)
        bag_samples.write_rosbag1(slot(out, packed or "plain") / "a.bag", messages, compression=packed)


def rosbag2(out: Path) -> None:
    for packed in ("", "file", "message"):
        messages = bag_samples.recording(bag_samples.ROS2, ROWS)
        bag_samples.write_rosbag2(slot(out, packed or "plain") / "bag", messages, packed=packed)  # type: ignore[arg-type]


def lerobot(out: Path) -> None:
    samples.make_lerobot(slot(out, "v30") / "data", episodes=2)
    samples.make_lerobot_v21(slot(out, "v21") / "data", episodes=1)


def replay_buffer(out: Path) -> None:
    for format in (2, 3):
        samples.make_replay_buffer(slot(out, f"v{format}") / "sample", episodes=1, format=format)
    samples.make_replay_buffer(out / "zipped" / "sample", episodes=1, zipped=True)
    shutil.rmtree(out / "zipped" / "sample_unpacked")


def act(out: Path) -> None:
    samples.make_act(slot(out, "packed") / "data", episodes=1)
    samples.make_act(slot(out, "raw") / "data", episodes=1, compressed=False)


LABELS = {
    "name": "push",
    "version": "1.2",
    "grid_ns": 10_000_000,
    "labels": {
        "phase": {"type": "category", "values": ["reach", "push"], "annotators": 1, "coverage": 0.9},
        "contact": {"type": "flag", "annotators": 2, "least_alpha": 0.6, "tolerance_ns": 50_000_000},
        "force": {"type": "number", "overlap": True, "unit": "N", "range": [0, 50]},
        "success": {"type": "flag", "extent": "log"},
        "caption": {"type": "text", "extent": "log", "overlap": True},
        "tap": {"type": "flag", "extent": "instant"},
    },
}


def labelstudio(out: Path) -> None:
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("timeserieslabels", "label", {"start": 0.25, "end": 1.5, "timeserieslabels": ["push"], "instant": False}),
        ("timelinelabels", "label", {"ranges": [{"start": 1, "end": 10}], "timelinelabels": ["contact"]}),
        ("choices", "success", {"choices": ["no"]}),
        ("number", "force", {"start": 1, "end": 2, "number": 3.5}),
        ("textarea", "caption", {"text": ["first"]}),
    ]
    results = [{"id": f"r{i}", "from_name": c, "type": k, "value": v} for i, (k, c, v) in enumerate(kinds)]
    work = {"id": 7, "completed_by": 10, "result": results, "created_at": "2026-03-09T22:16:08.728353Z"}
    model = {"model_version": "m1", "score": 0.5, "result": results[:1]}
    task = {"id": 1, "data": {"video": "run-7.mp4"}, "annotations": [work], "predictions": [model]}
    (slot(out, "export") / "a.json").write_text(json.dumps([task]))


def openlabel(out: Path) -> None:
    span = [{"frame_start": 0, "frame_end": 9}]
    note = {"text": [{"name": "note", "val": "hard"}], "num": [{"name": "value", "val": 2.5}]}
    stamps = {str(k): {"frame_properties": {"timestamp": str(1_800_000_000_000_000_000 + k * 10**8)}} for k in range(4)}
    tree = {
        "metadata": {"schema_version": "1.0.0", "annotator": "ada", "tagged_file": "videos/run-7.mp4"},
        "actions": {
            "0": {"name": "x", "type": "push", "frame_intervals": span},
            "1": {"name": "force", "type": "force", "frame_intervals": span, "action_data": note},
        },
        "events": {"0": {"name": "tap", "type": "tap", "frame_intervals": [{"frame_start": 3, "frame_end": 3}]}},
        "contexts": {"0": {"name": "success", "type": "success"}},
    }
    (slot(out, "pictures") / "a.json").write_text(json.dumps({"openlabel": tree}))
    actions = {"0": {"name": "x", "type": "push", "frame_intervals": [{"frame_start": 0, "frame_end": 2}]}}
    stamped = {"metadata": tree["metadata"], "actions": actions, "frames": stamps}
    (slot(out, "stamped") / "a.json").write_text(json.dumps({"openlabel": stamped}))


def shipped(module: Any) -> Callable[[Path], None]:
    def make(out: Path) -> None:
        folder = Path(module.__file__).parent / "shipped"
        for file in sorted(folder.glob("*.toml")):
            shutil.copy(file, slot(out, file.stem) / file.name)

    return make


def picture_files(out: Path) -> None:
    pixels = samples.pictures(1)[0]
    for kind in ("png", "jpeg", "webp"):
        (slot(out, kind) / f"a.{kind}").write_bytes(images.encode(pixels, kind))
    depth = (np.arange(32 * 48).reshape(32, 48) * 7).astype(np.uint16)
    (slot(out, "depth") / "a.png").write_bytes(images.encode(depth, "png"))


JOINT = """std_msgs/Header header
string[] name
float64[] position
float64[3] fixed
pkg/Low[] low
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: pkg/Low
uint8 a
float32[<=4] b
"""


def definitions(out: Path) -> None:
    (slot(out, "ros2msg") / "a.ros2msg").write_text(JOINT)
    idl = (
        "module pkg { module msg { struct Top { double x; sequence<float> y; string name; long<3> z; }; }; };\n"
        "module pkg { module msg { struct Top { double x; sequence<float, 4> y; long z[3]; }; }; };\n"
    )
    (slot(out, "ros2idl") / "a.ros2idl").write_text(idl.splitlines()[1])
    (slot(out, "ros1msg") / "a.ros1msg").write_text("float64[] position\nstring[2] name\ntime t\n")
    tree = {"type": "object", "properties": {"x": {"type": "number"}}}
    (slot(out, "jsonschema") / "a.jsonschema").write_text(json.dumps(tree))


def cdr(out: Path) -> None:
    made = bag_samples.recording(bag_samples.ROS2, 1)
    for topic, kind, _, message in made:
        (slot(out, topic.replace("/", "_")) / f"{kind.replace('/', '-')}.cdr").write_bytes(
            bytes(bag_samples.ROS2.serialize_cdr(message, kind))
        )


def clip_cache(out: Path) -> None:
    frames = samples.pictures(ROWS)
    for codec in ("raw", "jpeg", "h264"):
        header = clip_file.ClipHeader(
            episode="e" * 64,
            camera="front",
            kind=Kind.IMAGE,
            origin=Origin.REAL,
            codec=codec,
            group=2 if codec == "h264" else 1,
            frames=ROWS,
            shape=frames.shape[1:],
            dtype="uint8",
            scaling="area",
        )
        clip_file.write(slot(out, codec) / "a.clips", header, codecs.load(codec).encode(frames, 2), share=False)


def numbers_cache(out: Path) -> None:
    times = np.arange(9, dtype=np.int64) * 10**7
    info = StreamInfo(name="state", kind=Kind.VECTOR, count=9, shape=(3,), clock="header")
    parts: dict[str, Any] = {name: np.zeros(9, np.int64) for name in episode_cache._PARTS}
    rows = Rows(info=info, values=samples.numbers(9), segment=None, clock_model="", **parts)
    made: Any = SimpleNamespace(id="e", alignment="", rate_hz=100.0, times_ns=times, streams={"state": rows})
    episode_cache.save(slot(out, "numbers") / "cache", made)


def slot(out: Path, variant: str) -> Path:
    folder = out / variant
    folder.mkdir(parents=True)
    return folder


def one(make: Callable[[Path], Any], name: str, **more: Any) -> Callable[[Path], None]:
    return lambda out: make(slot(out, "sample") / name, **more)


def droid(out: Path) -> None:
    root = slot(out, "sample") / "data"
    root.mkdir()
    samples.make_droid(root, rows=12)


MAKE: dict[str, Callable[[Path], None]] = {
    "act": act,
    "cdr": cdr,
    "clip_cache": clip_cache,
    "comma2k19": one(bag_samples.make_comma2k19, "data", rows=8),
    "contract": shipped(contracts),
    "definition": definitions,
    "droid": droid,
    "episode_cache": numbers_cache,
    "images": picture_files,
    "label_schema": shipped(schema),
    "labelstudio": labelstudio,
    "lerobot": lerobot,
    "mcap": mcap,
    "openarm": one(bag_samples.make_openarm, "data", episodes=1),
    "openlabel": openlabel,
    "replay_buffer": replay_buffer,
    "rlds": one(samples.make_rlds, "data", episodes=1),
    "robomimic": one(samples.make_robomimic, "a.hdf5", demos=1),
    "rosbag1": rosbag1,
    "rosbag2": rosbag2,
    "table": one(samples.make_table, "data", runs=1),
    "ulog": one(samples.make_ulog, "a.ulg", rows=10),
}
"""Target to what makes its samples in an empty folder."""
