"""Runs in a peer's Python, for ``benchmarks/lerobot_oracle.py``: lerobot opens our dataset, or writes one of its own.

Usage: ``lerobot_reader.py read ROOT OUT.npz`` or ``write ROOT OUT.npz``. What was read or written goes to ``OUT.npz``,
every frame of it; what lerobot says of the dataset goes to stdout as JSON. Nothing of ours is imported.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

try:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
except ImportError:
    from lerobot.datasets import LeRobotDataset

FPS = 20
SIZE = (64, 96)


def read(root: Path, out: Path) -> dict[str, Any]:
    """Every item through ``__getitem__``, and what the metadata says."""
    dataset = LeRobotDataset("ours/ours", root=root)
    items = [dataset[i] for i in range(len(dataset))]
    tensors = [key for key, value in items[0].items() if isinstance(value, torch.Tensor)]
    arrays = {key: torch.stack([item[key] for item in items]).numpy() for key in tensors}
    np.savez(out, **arrays)
    first = dataset.meta.episodes[0]
    stats = {key: sorted(value) for key, value in dataset.meta.stats.items()}
    windows = LeRobotDataset(
        "ours/ours", root=root, delta_timestamps={"action": [0.0, 1 / dataset.fps, 2 / dataset.fps]}
    )
    subset = LeRobotDataset("ours/ours", root=root, episodes=[1])
    return {
        "lerobot": importlib.metadata.version("lerobot"),
        "frames": dataset.num_frames,
        "episodes": dataset.num_episodes,
        "fps": dataset.fps,
        "cameras": list(dataset.meta.camera_keys),
        "robot": dataset.meta.robot_type,
        "tasks": [item["task"] for item in items],
        "stats": stats,
        "length of episode 0": int(first["length"]),
        "windows": list(windows[0]["action"].shape),
        "episode 1 alone": len(subset),
    }


def write(root: Path, out: Path) -> dict[str, Any]:
    """A dataset by lerobot's own writer, at its defaults: AV1."""
    features = {
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
        "observation.images.front": {"dtype": "video", "shape": (*SIZE, 3), "names": ["height", "width", "channels"]},
        "observation.images.wrist": {"dtype": "image", "shape": (*SIZE, 3), "names": ["height", "width", "channels"]},
    }
    dataset = LeRobotDataset.create("theirs/theirs", fps=FPS, features=features, root=root, robot_type="arm")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    kept: dict[str, list[np.ndarray]] = {key: [] for key in features}
    tasks = []
    for episode in range(3):
        for t in range(14 + episode):
            picture = np.stack([(x * 2 + 5 * t) % 256, (y * 3 + 3 * t) % 256, (x + y + 9 * episode) % 256], axis=-1)
            row = {
                "observation.state": rng.normal(size=3).astype(np.float32),
                "action": rng.normal(size=2).astype(np.float32),
                "observation.images.front": picture.astype(np.uint8),
                "observation.images.wrist": picture[::-1].astype(np.uint8).copy(),
            }
            tasks.append(f"task {episode % 2}")
            dataset.add_frame({**row, "task": tasks[-1]})
            for key, value in row.items():
                kept[key].append(value)
        dataset.save_episode()
    if hasattr(dataset, "finalize"):
        dataset.finalize()
    np.savez(out, **{key: np.stack(values) for key, values in kept.items()})
    return {"lerobot": importlib.metadata.version("lerobot"), "tasks": tasks}


if __name__ == "__main__":
    do = {"read": read, "write": write}[sys.argv[1]]
    sys.stdout.write("\n" + json.dumps(do(Path(sys.argv[2]), Path(sys.argv[3]))) + "\n")
