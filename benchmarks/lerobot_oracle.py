"""Whether lerobot reads what we write, and we read what lerobot writes: every row, every frame, in its own loader.

Ours: five episodes of two cameras, in several files and chunks by small limits, as video and as images in the table;
each is loaded by ``LeRobotDataset`` of the pinned lerobot 0.4.4, and of the newest where Python 3.12 is found. Numbers,
timestamps and tasks must be equal to the byte, images to the pixel, video within what the codec lost by our own
decoder. Theirs: three episodes by lerobot's own writer at its defaults (AV1), read by us. ``--quick`` leaves out the
newest lerobot.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.data.logs import open_folder
from worldgate.data.logs.lerobot import Layout, LeRobotWriter, RowTimes

HERE = Path(__file__).resolve().parent
KEPT = HERE / "results" / "lerobot_oracle.json"
PEERS = {"lerobot 0.4.4": ".venv-lerobot", "newest lerobot": ".venv-lerobot312"}
CAMERAS = ("observation.images.front", "observation.images.wrist")
LENGTHS = (21, 17, 30, 18, 25)
FPS = 30
STATS = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
CODEC_LOSS = 8.0
"""Mean absolute error of a picture, in grey levels, that a codec may make."""


def pictures(episode: int, camera: int) -> np.ndarray[Any, Any]:
    """(T, 64, 96, 3) smooth moving colour."""
    y, x = np.mgrid[:64, :96]
    t = np.arange(LENGTHS[episode])[:, None, None]
    planes = [(x * 2 + 4 * t + 60 * camera) % 256, (y * 3 + 2 * t) % 256, (x + y + 30 * episode + 0 * t) % 256]
    return np.stack(planes, axis=-1).astype(np.uint8)


def make(root: Path, pictures_as: str) -> dict[str, np.ndarray[Any, Any]]:
    """Our dataset, and what was written, row by row."""
    rng = np.random.default_rng(5)
    kept: dict[str, list[Any]] = {"observation.state": [], "action": [], "reward": [], **{c: [] for c in CAMERAS}}
    tasks: list[str] = []
    state = StreamInfo(name="observation.state", kind=Kind.VECTOR, count=-1, names=("a", "b", "c"), unit="rad")
    layout = Layout(data_bytes=3000, video_bytes=9000, files_a_chunk=2)
    with LeRobotWriter(
        root,
        fps=FPS,
        robot_type="arm",
        origin=Origin.SIMULATED,
        pictures=pictures_as,
        layout=layout,  # type: ignore[arg-type]
    ) as writer:
        for episode, length in enumerate(LENGTHS):
            row = {
                "observation.state": rng.normal(size=(length, 3)).astype(np.float32),
                "action": rng.normal(size=(length, 2)).astype(np.float32),
                "reward": rng.normal(size=(length, 1)).astype(np.float32),
            }
            shown = {name: pictures(episode, n) for n, name in enumerate(CAMERAS)}
            index = np.arange(length, dtype=np.int64)
            times = RowTimes(index=index, time_ns=1_700_000_000_000_000_000 + index * 33_333_333)
            task = f"task {episode % 2}"
            writer.add_episode(row, shown, task=task, infos={state.name: state}, times={"action": times})
            tasks += [task] * length
            for key, value in {**row, **shown}.items():
                kept[key].append(value)
    return {**{key: np.concatenate(values) for key, values in kept.items()}, "task": np.array(tasks)}


def peer(environment: str, *arguments: str) -> dict[str, Any] | None:
    """What the peer's script says; None where the environment is absent."""
    python = HERE.parent / environment / "bin" / "python"
    if not python.exists():
        return None
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(Path(arguments[1]).parent / "hf")}
    command = [str(python), str(HERE / "peers" / "lerobot_reader.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=offline)
    if done.returncode:
        raise SystemExit(f"{environment} failed:\n{done.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def decoded(root: Path, camera: str) -> np.ndarray[Any, Any]:
    """Our own decoding of every frame."""
    logs = open_folder(root).logs
    return np.concatenate([log.read(camera).frames.read(np.arange(n)) for log, n in zip(logs, LENGTHS, strict=True)])


def check_ours(scratch: Path, environment: str, pictures_as: str) -> dict[str, Any]:
    """Their loader on our dataset, held against what was written."""
    root, out = scratch / pictures_as, scratch / "read.npz"
    written = make(root, pictures_as) if not root.exists() else None
    written = written or dict(np.load(scratch / f"{pictures_as}.npz"))
    np.savez(scratch / f"{pictures_as}.npz", **written)
    told = peer(environment, "read", str(root), str(out))
    if told is None:
        return {"absent": f"{environment}: make bench-env"}
    got = np.load(out)
    frames = np.concatenate([np.arange(n) for n in LENGTHS])
    problems = [key for key in ("observation.state", "action") if got[key].tobytes() != written[key].tobytes()]
    problems += ["reward"] if not np.array_equal(got["reward"].reshape(-1), written["reward"].reshape(-1)) else []
    expected = {
        "timestamp": (frames / FPS).astype(np.float32),
        "frame_index": frames,
        "index": np.arange(sum(LENGTHS)),
        "episode_index": np.repeat(np.arange(len(LENGTHS)), LENGTHS),
    }
    problems += [key for key, value in expected.items() if not np.array_equal(got[key].reshape(-1), value)]
    problems += ["task"] if told["tasks"] != written["task"].tolist() else []
    numbers = {"observation.state", "action", "reward", *expected, "task_index"}
    problems += [f"stats of {key}" for key in (*numbers, *CAMERAS) if not set(told["stats"].get(key, ())) >= STATS]
    problems += [] if (told["windows"], told["episode 1 alone"]) == ([3, 2], LENGTHS[1]) else ["windows or subsets"]
    losses = {}
    for camera in CAMERAS:
        theirs = np.rint(got[camera].transpose(0, 2, 3, 1) * 255).astype(int)
        losses[camera] = float(np.abs(theirs - written[camera]).mean(axis=(1, 2, 3)).max())
        same_as_ours = float(np.abs(theirs - decoded(root, camera)).mean(axis=(1, 2, 3)).max())
        limit = CODEC_LOSS if pictures_as == "video" else 0.0
        problems += [f"pictures of {camera}"] if losses[camera] > limit or same_as_ours > 3.0 else []
    files = {part: len(list((root / part).rglob("file-*"))) for part in ("data", "videos")}
    return {
        "lerobot": told["lerobot"],
        "frames": told["frames"],
        "episodes": told["episodes"],
        "files": files,
        "worst mean error of a picture [grey levels]": max(losses.values()),
        "problems": sorted(problems),
    }


def check_theirs(scratch: Path, environment: str) -> dict[str, Any]:
    """Our reader on lerobot's own dataset."""
    root, out = scratch / f"theirs{environment}", scratch / "written.npz"
    told = peer(environment, "write", str(root), str(out))
    if told is None:
        return {"absent": f"{environment}: make bench-env"}
    kept, logs = np.load(out), open_folder(root).logs
    problems = [finding.message for log in logs for finding in log.findings]
    for key in ("observation.state", "action"):
        ours = np.concatenate([log.read(key).array for log in logs])
        problems += [key] if ours.tobytes() != kept[key].tobytes() else []
    tasks = [str(log.facts["task"]) for log in logs for _ in range(log.read("action").info.count)]
    problems += ["task"] if tasks != told["tasks"] else []
    losses = {}
    for camera in CAMERAS:
        streams = [log.read(camera) for log in logs]
        shown = np.concatenate([s.frames.read(np.arange(len(s))) for s in streams]).astype(int)
        losses[camera] = float(np.abs(shown - kept[camera]).mean(axis=(1, 2, 3)).max())
        times = np.concatenate([s.times_ns - np.rint(np.arange(len(s)) * 1e9 / 20).astype(np.int64) for s in streams])
        problems += [f"times of {camera}"] if np.abs(times).max() > 1000 else []
    problems += ["video"] if losses[CAMERAS[0]] > CODEC_LOSS else []
    problems += ["images"] if losses[CAMERAS[1]] > 0 else []
    codec = json.loads((root / "meta" / "info.json").read_text())["features"][CAMERAS[0]]["info"]["video.codec"]
    return {
        "lerobot": told["lerobot"],
        "episodes": len(logs),
        "codec": codec,
        "worst mean error of a picture [grey levels]": losses[CAMERAS[0]],
        "problems": sorted(set(problems)),
    }


def main() -> None:
    """Print one line a check; exit 1 where lerobot and we disagree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    chosen = dict(list(PEERS.items())[:1]) if arguments.quick else PEERS
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name, environment in chosen.items():
            for pictures_as in ("video", "image"):
                results[f"{name} reads ours, {pictures_as}"] = check_ours(scratch, environment, pictures_as)
            results[f"we read what {name} writes"] = check_theirs(scratch, environment)
    body = {"machine": {"python": platform.python_version(), "load": os.getloadavg()[0]}, "results": results}
    if not arguments.quick and not any("absent" in result for result in results.values()):
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(body, indent=2))
    else:
        for name, result in results.items():
            print(f"{name:44} {json.dumps(result)}")
    sys.exit(any(result.get("problems") for result in results.values()))


if __name__ == "__main__":
    main()
