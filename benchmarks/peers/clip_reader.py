"""Serves random clips with one reader on one thread, as ``benchmarks/clip_loading.py`` tells it line by line.

One process holds the readers that one Python can import. Lines of JSON come in and go out: ``open`` a reader under a
name, ``run`` it over so many clips and say how long that took, ``sample`` chosen clips into a file. The peers' Python
runs this file too, so nothing of ours is imported before one of our readers is opened.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

T = 16
BATCH = 8


class Reader(Protocol):
    """One way to serve clips."""

    def read(self, clips: list[list[int]]) -> int | None:
        """Serve these clips, and throw them away; how many, if not these."""

    def sample(self, clips: list[list[int]]) -> np.ndarray:
        """(K, C, T, H, W, 3) uint8 of these clips."""


class LeRobot:
    """``LeRobotDataset.__getitem__``, without a data loader or collation around it."""

    def __init__(self, told: dict[str, Any]) -> None:
        import inspect

        import torch

        try:
            from lerobot.datasets.lerobot_dataset import LeRobotDataset
        except ImportError:
            from lerobot.datasets import LeRobotDataset

        torch.set_num_threads(1)
        self.cameras, self.size = told["cameras"], (told["height"], told["width"])
        times = [i / told["fps"] for i in range(T)]
        more: dict[str, Any] = {}
        if told["resize"]:
            from torchvision.transforms import v2

            more["image_transforms"] = v2.Resize(self.size, antialias=True)
        if told.get("uint8"):
            assert "return_uint8" in inspect.signature(LeRobotDataset.__init__).parameters
            more["return_uint8"] = True
        keys = [*told["cameras"], *told["numbers"]]
        self.dataset = LeRobotDataset(
            "bench/bench",
            root=told["root"],
            video_backend=told["backend"],
            delta_timestamps=dict.fromkeys(keys, times),
            tolerance_s=1e-3,
            **more,
        )
        self.starts = told["starts"]

    def item(self, clip: list[int]) -> dict[str, Any]:
        return self.dataset[self.starts[clip[0]] + clip[1]]

    def read(self, clips: list[list[int]]) -> None:
        for clip in clips:
            self.item(clip)

    def sample(self, clips: list[list[int]]) -> np.ndarray:
        out = []
        for clip in clips:
            item = self.item(clip)
            for camera in self.cameras:
                frames = item[camera].numpy().transpose(0, 2, 3, 1)
                out.append(frames if frames.dtype == np.uint8 else np.rint(frames * 255).astype(np.uint8))
        return np.stack(out).reshape(len(clips), len(self.cameras), T, *self.size, 3)


class TorchCodec:
    """torchcodec alone, decoders kept open, frames resized by its own transform; pictures only, no numbers."""

    def __init__(self, told: dict[str, Any]) -> None:
        import torch
        from torchcodec.decoders import VideoDecoder

        torch.set_num_threads(1)
        more: dict[str, Any] = {}
        if told["resize"]:
            from torchcodec.transforms import Resize

            more["transforms"] = [Resize((told["height"], told["width"]))]
        self.starts = told["starts"]
        self.decoders = []
        for camera in told["cameras"]:
            (path,) = (Path(told["root"]) / "videos" / camera).rglob("*.mp4")
            decoder = VideoDecoder(str(path), dimension_order="NHWC", seek_mode=told["seek"], **more)
            self.decoders.append(decoder)

    def clip(self, clip: list[int]) -> list[Any]:
        start = self.starts[clip[0]] + clip[1]
        return [decoder.get_frames_in_range(start, start + T).data for decoder in self.decoders]

    def read(self, clips: list[list[int]]) -> None:
        for clip in clips:
            self.clip(clip)

    def sample(self, clips: list[list[int]]) -> np.ndarray:
        return np.stack([np.stack([frames.numpy() for frames in self.clip(clip)]) for clip in clips])


class Ours:
    """The clip loader in this process: batches of 8 with states, actions and receipts."""

    def __init__(self, told: dict[str, Any]) -> None:
        import cv2

        from worldgate.core.streams import Kind
        from worldgate.data.alignment import AlignmentSpec, align
        from worldgate.data.loader import ClipConfig, ClipLoader
        from worldgate.data.logs import open_folder

        cv2.setNumThreads(1)
        self.cameras = tuple(told["cameras"])
        spec = AlignmentSpec(reference=self.cameras[0])
        logs = open_folder(Path(told["root"])).logs
        self.episodes = [align(log, spec, digest=f"{i:064x}") for i, log in enumerate(logs)]
        assert all(e.streams[c].info.kind is Kind.IMAGE for e in self.episodes for c in self.cameras)
        self.config = ClipConfig(
            cameras=self.cameras,
            numbers=tuple(told["numbers"]),
            size=(told["height"], told["width"]),
            frames=T,
            batch=BATCH,
            codec=told["codec"],
            order=told.get("order", "uniform"),
            memory_gb=told.get("memory_gb", 0.0),
            spans=told.get("spans", 16),
            tail="drop",
        )
        self.cache = Path(told["cache"])
        self.loader = ClipLoader(self.config, self.episodes, cache=self.cache)
        self.batches = iter(self.loader)

    def read(self, clips: list[list[int]]) -> None:
        for _ in range(len(clips) // BATCH):
            if next(self.batches, None) is None:
                self.batches = iter(self.loader)
                next(self.batches)

    def sample(self, clips: list[list[int]]) -> np.ndarray:
        from worldgate.data.loader.batches import plain
        from worldgate.data.loader.filling import Task

        filler, layout = self.loader._filler, self.loader._layout
        out = []
        for clip in clips:
            arrays = layout.views(plain(layout.nbytes))
            filler.fill(arrays, Task(places=np.array([0]), episodes=np.array(clip[:1]), rows=np.array(clip[1:])))
            out.append(np.stack([arrays.frames[camera][0] for camera in self.cameras]))
        return np.stack(out)


class Epoch(Ours):
    """A first epoch in block order, from its first clip to its last, by a loader that has decoded nothing yet."""

    def cold(self, tail: str) -> Any:
        from worldgate.data.loader import ClipLoader

        return ClipLoader(replace(self.config, tail=tail), self.episodes, cache=self.cache)

    def read(self, clips: list[list[int]]) -> int:
        if len(clips) <= BATCH:
            super().read(clips)
            return len(clips)
        return BATCH * sum(1 for _ in self.cold("drop"))

    def sample(self, clips: list[list[int]]) -> np.ndarray:
        """As they come by in an epoch."""
        found: dict[tuple[int, int], np.ndarray] = {}
        wanted = {tuple(clip) for clip in clips}
        for batch in self.cold("pad"):
            for place, receipt in enumerate(batch.receipts):
                name = int(receipt["episode"]), int(receipt["row"])
                if name in wanted:
                    found[name] = np.stack([batch.frames[camera][place] for camera in self.cameras])
        return np.stack([found[episode, row] for episode, row in clips])

    def mix(self) -> dict[str, float]:
        """How far the clips of a batch lie apart, in this order and in the uniform one."""
        from worldgate.data.loader.sampler import Uniform

        blocks, windows = self.loader._order, self.loader._windows
        out: dict[str, float] = {"spans": len(blocks.spans), "open": blocks.spans.open}
        for name, order in (("blocks", blocks), ("uniform", Uniform(windows, seed=0))):
            clips = np.concatenate([order.epoch(e)[: len(windows) // BATCH * BATCH] for e in range(5)])
            batches = clips.reshape(-1, BATCH)
            episode, row = windows.episode[batches], windows.row[batches]
            one, other = np.triu_indices(BATCH, 1)
            together = (episode[:, one] == episode[:, other]) & (np.abs(row[:, one] - row[:, other]) < T)
            out[f"{name} episodes"] = float(np.mean([len(set(batch)) for batch in episode.tolist()]))
            out[f"{name} overlap"] = float(together.mean())
        return out


class Memmap(Ours):
    """The physical limit: a copy from mapped raw frames into a batch, and nothing else."""

    def __init__(self, told: dict[str, Any]) -> None:
        from worldgate.data import clip_cache

        super().__init__({**told, "codec": "raw"})
        size = (told["height"], told["width"])
        self.held = [
            [
                np.asarray(clip_cache.mapped(self.cache, e, clip_cache.spec_of(e, camera, size, "raw", T)))
                for camera in self.cameras
            ]
            for e in self.episodes
        ]
        self.out = np.zeros((BATCH, len(self.cameras), T, *size, 3), np.uint8)

    def read(self, clips: list[list[int]]) -> None:
        for place, (episode, row) in enumerate(clips):
            for out, frames in zip(self.out[place % BATCH], self.held[episode], strict=True):
                out[...] = frames[row : row + T]


READERS = {"lerobot": LeRobot, "torchcodec": TorchCodec, "ours": Ours, "epoch": Epoch, "memmap": Memmap}


def serve(replies: Any) -> None:
    """Answer every line."""
    opened: dict[str, Reader] = {}
    clips: dict[str, list[list[int]]] = {}
    for line in sys.stdin:
        told = json.loads(line)
        name, said = told["name"], {}
        try:
            if told["do"] == "open":
                opened[name], clips[name] = READERS[told["reader"]](told), told["clips"]
            elif told["do"] == "run":
                some = clips[name]
                chosen = [some[(told["first"] + i) % len(some)] for i in range(told["count"])]
                wall, cpu = time.perf_counter(), time.process_time()
                served = opened[name].read(chosen) or len(chosen)
                said = {"clips": served, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            elif told["do"] == "sample":
                np.save(told["to"], opened[name].sample(told["clips"]))
            elif told["do"] == "mix":
                said = opened[name].mix()  # type: ignore[attr-defined]  # asked only of an epoch
            elif told["do"] == "close":
                opened.pop(name, None)
        except Exception as error:  # a reader that cannot do it is a row that says so
            said = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(said), file=replies, flush=True)


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        # One core for everybody: some decode each camera in a thread of its own.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # What libraries print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(answers)
