"""A world model of the base size on a GPU, in pieces: how it learns and imagines, what it is worth, what it shows.

``python benchmarks/base.py --work FOLDER [--set cell|pusht] [--family flow|masked|conv] [--size base] [--pixels 128]
[--runs N] [--train-minutes M] [--minutes P] [--quick] [--json]``. Runs are recorded where this runs, then the
product's own commands train and judge: ``worldgate train`` and ``worldgate world evaluate``. Each call ends training
and judging at ``P`` minutes and says that something is left: given the same, the next one goes on with training where
it stopped and judges anew. Recording, on all cores, is not cut short; what was recorded stays if it is killed. At the
end, figures go to ``benchmarks/results`` with the machine and the commit, and a strip of pictures (a held-out run
above what is imagined of it) beside them; weights stay.

``imagined frames`` are of one future from one image, picture by picture, the first ten not counted: real time is 30 a
second. ``--quick`` makes everything small, for the tests, and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import video_sets as sets

from worldgate.core.atomic import write_atomic
from worldgate.core.worlds import Prompt
from worldgate.data import clips, datasets
from worldgate.record.workspace import Workspace
from worldgate.worlds.imagine import prompt_at, recorded_actions
from worldgate.worlds.train import stage

RESULTS = Path(__file__).resolve().parent / "results"
SPARE_S = 45.0
"""Left of a piece after training is told to stop, for its snapshot."""
WARM, TIMED, SHOWN = 10, 60, 8


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is asked for; the same in every piece."""

    work: Path
    set: str
    family: str
    size: str
    pixels: int
    runs: int
    seconds: float
    train_minutes: float
    minutes: float
    quick: bool

    @property
    def name(self) -> str:
        """Of the model."""
        return f"{self.set}-{self.family}-{self.size}-{self.pixels}"

    def training(self, camera: str) -> list[str]:
        """The command."""
        long = [] if self.quick else ["phase.steps=60000", "tokenizer.phase.steps=20000"]
        settings = [
            f'inputs.cameras=["{camera}"]', f"inputs.size={self.pixels}",
            f"loop.max_seconds={self.train_minutes * 60:g}", *long,
        ]  # fmt: skip
        keys = [part for setting in settings for part in ("--set", setting)]
        return ["train", self.family, f"{self.set}-video", "--size", self.size, "--name", self.name, *keys]


def run(job: Job) -> dict[str, Any] | None:
    """One piece; the answer, once all is done."""
    until = time.monotonic() + job.minutes * 60
    recipe = sets.cell(job.runs, job.seconds) if job.set == "cell" else sets.pusht(job.runs)
    if recipe is None:
        sys.exit("this set needs its environment: make bench-env")
    folder = sets.made(recipe, job.work)
    root = folder / "workspace"
    if not said(job, root, job.training(recipe.camera), until - SPARE_S):
        return None
    ws = Workspace.open(root)
    model = ws.resolve(job.name, "world_model")
    out = job.work / f"{job.name}.json"
    measures = ["--measure", "energy", "video_moving_psnr"] if job.quick else []
    horizons = ["--horizons", *(str(h) for h in ((2, 4) if job.quick else recipe.horizons))]
    judging = ["world", "evaluate", job.name, f"{job.set}-video", "--out", str(out), *horizons, *measures]
    if not out.exists() and not said(job, root, judging, until):
        return None
    metrics = [json.loads(line) for line in _metrics(root).read_text().splitlines()]
    return {
        "name": "base", "model": job.name, "machine": machine(), "set": sets.opened(folder).told,
        "train_minutes": job.train_minutes, "training": trained(metrics), "imagined_frames_per_s": speed(ws, model),
        "figures": json.loads(out.read_text()), "strip": strip(ws, model, job),
    }  # fmt: skip


def said(job: Job, root: Path, command: list[str], until: float) -> bool:
    """Run a command of the product; False where its time ended first."""
    process = subprocess.Popen([sys.executable, "-m", "worldgate", *command, "--workspace", str(root)])
    try:
        code = process.wait(max(1.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        process.wait()
        return False
    if code:
        sys.exit(f"worldgate {command[0]} ended with {code}")
    return True


def trained(metrics: list[dict[str, Any]]) -> dict[str, Any]:
    """Steps of each phase with its last loss, utilisation and memory."""
    out: dict[str, Any] = {}
    for line in metrics:
        if "step" in line and "phase" in line:
            kept = ("step", "loss", "mfu", "memory_gb")
            out[line["phase"]] = out.get(line["phase"], {}) | {k: line[k] for k in kept if line.get(k) is not None}
    return out


def speed(ws: Workspace, model: Any) -> float:
    """Frames a second, one future from one image."""
    world, prompt, actions = _opened(ws, model)
    steps = min(WARM + TIMED, len(actions))
    unrolling = world.open(prompt, samples=1, seed=0)
    begun, counted = time.perf_counter(), 0
    for k in range(steps):
        unrolling.step(actions[None, k : k + 1])
        if k + 1 == WARM:
            begun, counted = time.perf_counter(), steps - WARM
    return round(counted / (time.perf_counter() - begun), 2)


def strip(ws: Workspace, model: Any, job: Job) -> str:
    """A held-out run above what is imagined of it, every half second."""
    world, prompt, actions = _opened(ws, model)
    camera = world.spec.cameras[0].name
    episode, row = _judge(ws, model)
    steps = min(len(actions), round(SHOWN * world.spec.rate_hz / 2))
    shown = np.linspace(0, steps - 1, min(SHOWN, steps)).round().astype(int)
    frames = world.open(prompt, samples=1, seed=0).step(actions[None, :steps]).frames[camera][0]
    real = clips.pictures(episode, camera, (job.pixels, job.pixels))[row + 1 :]
    rows = [np.hstack([part[k] for k in shown]) for part in (real, frames)]
    name = f"base-{job.name}.jpg"
    place = (job.work if job.quick else RESULTS) / name
    cv2.imwrite(str(place), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return name


def _judge(ws: Workspace, model: Any) -> tuple[Any, int]:
    spec = stage.load(ws, model.digest).spec
    episode = max(datasets.load(ws, spec.dataset, "val"), key=len)
    return episode, spec.context


def _opened(ws: Workspace, model: Any) -> tuple[Any, Prompt, Any]:
    world = stage.load(ws, model.digest)
    episode, row = _judge(ws, model)
    prompt = prompt_at(world, episode, row)
    return world, prompt, recorded_actions(world, episode, row, min(WARM + TIMED, len(episode) - row - 1))


def _metrics(root: Path) -> Path:
    return max((root / "runs").rglob("metrics.jsonl"), key=lambda path: path.stat().st_mtime)


def machine() -> str:
    """Device, torch and commit."""
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"{platform.machine()}, no GPU"
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return f"{device}, {os.cpu_count()} cores, torch {torch.__version__}, commit {told.stdout.strip() or 'unknown'}"


def main(arguments: list[str]) -> dict[str, Any] | None:
    """Parse, do a piece, say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--set", choices=("cell", "pusht"), default="cell")
    parser.add_argument("--family", choices=("flow", "masked", "conv"), default="flow")
    parser.add_argument("--size", default="base")
    parser.add_argument("--pixels", type=int, default=128)
    parser.add_argument("--runs", type=int, default=256)
    parser.add_argument("--train-minutes", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    as_json = given.json
    job = Job(**{k: v for k, v in vars(given).items() if k != "json"}, seconds=2.0 if given.quick else 9.6)
    job.work.mkdir(parents=True, exist_ok=True)
    answer = run(job)
    if answer is None:
        print("this piece is over: the same command goes on", file=sys.stderr)
        return None
    if not job.quick:
        text = json.dumps(answer, indent=1) + "\n"
        write_atomic(RESULTS / f"base-{job.name}.json", text.encode(), overwrite=True)
    if as_json:
        print(json.dumps(answer))
    else:
        told = f"{answer['imagined_frames_per_s']} frames/s, {answer['training']}"
        print(f"{answer['model']} on {answer['machine']}: {told}")
    return answer


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) is not None else 3)
