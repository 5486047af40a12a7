"""One dataset from six formats: runs of the cell as MCAP, LeRobot, robomimic, replay buffer, plain tables, ROS bag.

Each container says what it can, a mapping file beside it the rest (names, rate, units); one contract, one snapshot, one
model. No stage knows which container an episode came from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from worldgate.core.episodes import Episode
from worldgate.core.errors import ContractBroken
from worldgate.core.streams import Origin
from worldgate.data import contracts, datasets
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align
from worldgate.data.check import check
from worldgate.data.ingest import ingest, ingested
from worldgate.data.logs import open_folder
from worldgate.data.logs.lerobot import LeRobotWriter
from worldgate.data.resample import Policy
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace

STATE, ACTION = "observation.state", "action"
RATE_HZ = 20.0
EACH = 2
FORMATS = ("mcap", "lerobot", "robomimic", "replay_buffer", "table", "rosbag")

CONTRACT = """
name = "union"
origins = ["simulated"]
[streams."observation.state"]
kind = "vector"
width = 11
unit = "rad,rad,rad,rad,rad/s,rad/s,rad/s,rad/s,m,m,m"
rate_hz = [15.0, 120.0]
[streams.action]
kind = "action"
width = 2
unit = "m"
rate_hz = [8.0, 25.0]
[alignment]
rate_hz = 10.0
causal = true
[alignment.default]
policy = "hold"
tolerance_ns = 150_000_000
[checks.counts]
[checks.finite]
[checks.gaps]
params = { periods = 5.0, least_s = 0.25 }
[labels]
required = ["success"]
[splits]
fractions = { train = 0.7, val = 0.3 }
"""


# -------------------------------------------------------------------- writing


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Short runs of the cell, joints 100 Hz and commands 10 Hz, each on its own clock."""
    pytest.importorskip("mujoco")
    from worldgate.sim.record import RecordConfig, record
    from worldgate.sim.sensing import SensorConfig

    folder = tmp_path_factory.mktemp("cell")
    config = RecordConfig(sensors=SensorConfig(cameras=(), geometry=(), lidar=False))
    return [
        record(folder / f"run_{seed}.mcap", expert="noisy", seed=seed, duration_s=4.0, config=config)
        for seed in range(len(FORMATS) * EACH)
    ]


def rows_of(run: Path) -> Episode:
    """A run on a fixed grid, as a recorder with one loop would have kept it."""
    hold = StreamAlignment(policy=Policy.HOLD)
    spec = AlignmentSpec(rate_hz=RATE_HZ, causal=True, default=hold, streams={STATE: hold, ACTION: hold})
    return align(open_folder(run).logs[0], spec)


def info(episode: Episode, name: str) -> Any:
    return episode.streams[name].info


def write_mcap(runs: Sequence[Path], root: Path) -> None:
    root.mkdir()
    for run in runs:
        (root / run.name).write_bytes(run.read_bytes())


def write_lerobot(runs: Sequence[Path], root: Path) -> None:
    with LeRobotWriter(root, fps=int(RATE_HZ), robot_type="cell", origin=Origin.SIMULATED) as writer:
        for episode in map(rows_of, runs):
            streams = {name: episode.array(name) for name in (STATE, ACTION)}
            infos = {name: info(episode, name) for name in streams}
            writer.add_episode(streams, {}, task="push", infos=infos, facts=dict(episode.facts))


def write_robomimic(runs: Sequence[Path], root: Path) -> None:
    """Joints and tool apart, as robosuite keeps them; the mapping file joins them."""
    root.mkdir()
    first = rows_of(runs[0])
    arguments = {"env_name": "Cell", "type": 1, "env_kwargs": {"control_freq": RATE_HZ}}
    with h5py.File(root / "demo.hdf5", "w") as file:
        file.create_group("data").attrs["env_args"] = json.dumps(arguments)
        for number, episode in enumerate(map(rows_of, runs)):
            demo = file.create_group(f"data/demo_{number}")
            demo.attrs["num_samples"] = len(episode)
            demo.attrs["success"] = bool(episode.facts["success"])
            state = episode.array(STATE)
            demo["obs/joint_pos"], demo["obs/joint_vel"] = state[:, :4], state[:, 4:8]
            demo["obs/eef_pos"] = state[:, 8:]
            demo["actions"] = episode.array(ACTION)
    joined = f'[streams."{STATE}"]\nsource = ["obs/joint_pos", "obs/joint_vel", "obs/eef_pos"]\n'
    (root / "worldgate-log.toml").write_text(joined + described(first, STATE) + "[streams.action]\n" + described(first))


def described(episode: Episode, name: str = ACTION) -> str:
    held = info(episode, name)
    return f'unit = "{held.unit}"\nnames = {json.dumps(list(held.names))}\n'


def write_replay_buffer(runs: Sequence[Path], root: Path) -> None:
    episodes = [rows_of(run) for run in runs]
    group = zarr.open_group(root / "cell.zarr", mode="w", zarr_format=2)
    for key, name in (("state", STATE), ("action", ACTION)):
        group.create_array(f"data/{key}", data=np.concatenate([e.array(name) for e in episodes]))
    group.create_array("meta/episode_ends", data=np.cumsum([len(e) for e in episodes]))
    group.create_array("meta/success", data=np.array([bool(e.facts["success"]) for e in episodes]))
    streams = [f'[streams."{name}"]\n{described(episodes[0], name)}' for name in (STATE, ACTION)]
    said = f'rate_hz = {RATE_HZ}\norigin = "simulated"\n'
    (root / "worldgate-log.toml").write_text(said + "".join(streams))


def write_table(runs: Sequence[Path], root: Path) -> None:
    """Native stamps in CSV: what a small logger writes."""
    root.mkdir()
    streams = []
    for number, run in enumerate(runs):
        log = open_folder(run).logs[0]
        folder = root / f"run_{number}"
        folder.mkdir()
        (folder / "facts.json").write_text(json.dumps({"success": log.facts["success"]}))
        streams = []
        for name, file in ((STATE, "state.csv"), (ACTION, "action.csv")):
            held = log.read(name)
            head = ",".join(["t", *held.info.names])
            lines = [
                ",".join([f"{t / 1000:.3f}", *map(repr, row)])
                for t, row in zip(held.times_ns.tolist(), held.array.tolist(), strict=True)
            ]
            (folder / file).write_text("\n".join([head, *lines]) + "\n")
            columns = json.dumps(list(held.info.names))
            streams.append(
                f'[streams."{name}"]\nfile = "{file}"\ntime = "t"\ntime_unit = "us"\nclock = "header"\n'
                f'columns = {columns}\nunit = "{held.info.unit}"\n'
            )
    head = 'format = "table"\nlogs = "run_*"\norigin = "simulated"\nfacts_file = "facts.json"\n'
    (root / "worldgate-log.toml").write_text(head + "".join(streams))


def write_rosbag(runs: Sequence[Path], root: Path) -> None:
    """Bare arrays under a robot's own topics: no names, no units, no stamps but the recorder's."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    kind = "std_msgs/msg/Float64MultiArray"
    array, layout = types.types[kind], types.types["std_msgs/msg/MultiArrayLayout"]
    for number, run in enumerate(runs):
        log, path = open_folder(run).logs[0], root / f"run_{number}"
        held = {"/arm/state": log.read(STATE), "/arm/command": log.read(ACTION)}
        path.parent.mkdir(exist_ok=True)
        with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as bag:
            for topic, stream in held.items():
                connection = bag.add_connection(topic, kind, typestore=types)
                for stamp, row in zip(stream.times_ns.tolist(), stream.array, strict=True):
                    message = array(layout=layout(dim=[], data_offset=0), data=row.astype(np.float64))
                    bag.write(connection, stamp, types.serialize_cdr(message, kind))
        said = f'origin = "simulated"\n[facts]\nsuccess = {str(bool(log.facts["success"])).lower()}\n'
        for name, source in ((STATE, "arm.state"), (ACTION, "arm.command")):
            info_of = log.read(name).info
            said += f'[streams."{name}"]\nsource = "{source}"\nunit = "{info_of.unit}"\n'
            said += f"names = {json.dumps(list(info_of.names))}\n"
        (path / "worldgate-log.toml").write_text(said)


WRITERS: dict[str, Callable[[Sequence[Path], Path], None]] = {
    "mcap": write_mcap,
    "lerobot": write_lerobot,
    "robomimic": write_robomimic,
    "replay_buffer": write_replay_buffer,
    "table": write_table,
    "rosbag": write_rosbag,
}


@pytest.fixture(scope="module")
def folders(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs in each container."""
    root = tmp_path_factory.mktemp("union")
    for number, (name, write) in enumerate(WRITERS.items()):
        write(runs[number * EACH : (number + 1) * EACH], root / name)
    return {name: root / name for name in WRITERS}


def contract_in(ws: Workspace, path: Path) -> Any:
    path.write_text(CONTRACT)
    return contracts.add(ws, contracts.read(path))


# -------------------------------------------------------------------- the claims


def test_six_formats_make_one_dataset_that_trains_a_world_model(
    workspace: Workspace, folders: dict[str, Path], tmp_path: Path
) -> None:
    for name, folder in folders.items():
        # A bag's mapping file stands in the bag, with the facts of that run.
        sources = sorted(folder.iterdir()) if name == "rosbag" else [folder]
        assert sum(len(ingest(workspace, source, site="bench")) for source in sources) == EACH
    assert sorted(log.format for log in ingested(workspace).values()) == sorted(FORMATS * EACH)
    contract = contract_in(workspace, tmp_path / "union.toml")
    checked = check(workspace, None, contract)
    assert [(c.name, c.found()) for c in checked if not c.accepted] == []
    dataset = datasets.snapshot(workspace, contract, name="union")
    manifest = datasets.manifest(workspace, dataset.digest)
    assert len(manifest.episodes) == len(FORMATS) * EACH
    assert manifest.origins == (Origin.SIMULATED,)
    episodes = datasets.load(workspace, dataset.digest)
    assert {e.array(STATE).shape[1] for e in episodes} == {11}
    assert all(np.isfinite(e.array(STATE)).all() and len(e) > 25 for e in episodes)

    pytest.importorskip("torch")
    from worldgate.core.worlds import Prompt
    from worldgate.worlds.models import state
    from worldgate.worlds.train import stage

    model = stage.train(workspace, dataset.digest, "state", state.debug(), name="union")
    made = next(iter(workspace.ledger.events(stage.FINISHED["world_model"])))
    assert made.body["held_out"]["skill_over_hold_last_0.5s"] > 0.5
    assert made.body["held_out"]["action_sensitivity_0.5s"] > 2
    world = stage.load(workspace, model.digest)
    assert made.inputs[0].digest == world.spec.dataset == dataset.digest
    assert [signal.unit for signal in world.spec.states] == [manifest.streams[STATE].unit]
    for held in datasets.load(workspace, dataset.digest, "val"):
        rows = world.spec.context
        prompt = Prompt(states={STATE: held.array(STATE)[:rows]}, actions=held.array(ACTION)[:rows])
        frame = world.open(prompt, seed=0).step(held.array(ACTION)[None, rows : rows + 10])
        assert frame.states[STATE].shape == (1, 10, 11)
        assert np.isfinite(frame.states[STATE]).all()
    assert verify(workspace).ok


def test_the_same_rows_are_the_same_log_in_every_container_without_times(
    runs: list[Path], tmp_path: Path, workspace: Workspace
) -> None:
    """LeRobot, robomimic and the replay buffer of one run are one log: content is identity, not the container."""
    digests = set()
    for name in ("robomimic", "replay_buffer"):
        WRITERS[name](runs[:1], tmp_path / name)
        (log,) = open_folder(tmp_path / name).logs
        digests.add(tuple(log.read(stream).content_digest() for stream in (STATE, ACTION)))
    assert len(digests) == 1


def test_a_container_that_says_less_is_refused_by_the_contract_and_mended_by_a_mapping(
    workspace: Workspace, folders: dict[str, Path], runs: list[Path], tmp_path: Path
) -> None:
    write_replay_buffer(runs[:EACH], tmp_path / "bare")
    (tmp_path / "bare" / "worldgate-log.toml").unlink()
    refs = ingest(workspace, tmp_path / "bare")
    contract = contract_in(workspace, tmp_path / "union.toml")
    said = {f.message for c in check(workspace, refs, contract) for f in c.found()}
    assert any("no declared unit" in message for message in said)
    assert any("10 Hz assumed" in message for message in said)
    with pytest.raises(ContractBroken):
        datasets.snapshot(workspace, contract, name="bare")
    mended = ingest(workspace, folders["replay_buffer"])
    assert all(c.accepted for c in check(workspace, mended, contract))
