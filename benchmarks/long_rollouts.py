"""What becomes of 600 frames imagined from one image: how far they drift from real ones, and what they cost.

``.venv/bin/python benchmarks/long_rollouts.py [--quick] [--json] [--seconds N] [--prompts N] [--frames N] [--models
conv,...] [--cache FOLDER]``. ``flow``, ``masked`` and ``conv`` as they ship, each taught for the same processor seconds
on the same runs of the cell at 64 pixels, are given one row of a held-out run (one image and the state beside it;
``conv``, which needs several, that row repeated) and the recorded actions of held-out runs of the same site, one run
after another. Nothing real is shown to them again.

Each 30 frames are held against real training frames of the site: energy distance of features (pooled pixels in their
deviations), sharpness (variance of the Laplacian), contrast (deviation over pixels) and motion (mean change from frame
to frame), the last three as ratios to the median of real blocks. Beside them stand the same figures of real held-out
blocks, which are the floor, and of copy-last. States are held against the limits that ``plausibility`` sets: channels
out of the training range or leaping, in rows a minute. The alarm goes off in a block that has come to rest while real
ones move, or whose sharpness or contrast left a factor of ``FACTOR``, or whose numbers are not finite. Bounds, 5 % each
side: bootstrap over prompts. Each model runs in a process of its own; memory is the peak of that process after 60
frames and at the end. ``--quick`` teaches for seconds only and tells no more than that all of it runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import video_cell as cells
import video_sets as sets

import worldgate
from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json, sha256
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Capability, Frame, Prompt, WorldModel
from worldgate.data import clips
from worldgate.evidence.baselines import wrap
from worldgate.evidence.bootstrap import ratio_interval
from worldgate.evidence.evaluation.distributions import distances
from worldgate.evidence.evaluation.readouts import Pooled
from worldgate.evidence.metrics.plausibility import RANGE_SHARE, STEP_TIMES, Limits
from worldgate.evidence.windows import Tracks, circular, read_tracks

KEPT = Path(__file__).resolve().parent / "results" / "long_rollouts.json"
MODELS = ("conv", "masked", "flow")
BLOCK, EARLY, REFERENCES = 30, 60, 400
STILL, FACTOR = 0.1, 4.0
"""A block moves less than this share of what real ones do; a ratio beyond this factor either way."""
FIGURES = ("energy_distance", "sharpness", "contrast", "motion")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one process does."""

    model: str
    folder: str
    cache: str
    seconds: float
    prompts: int
    frames: int
    episodes: int
    """Most held-out episodes; 0: all."""


# ------------------------------------------------------------------ what is real


class Reality:
    """Real frames of one site, and what a block of frames is worth beside them."""

    def __init__(self, train: Sequence[Tracks], held_out: Sequence[Tracks], camera: str) -> None:
        self.features = Pooled()
        every = np.concatenate([t.frames[camera] for t in train])
        picked = self.features(every[:: max(1, len(every) // REFERENCES)])
        deviation = picked.std(axis=0)
        self.scale = np.where(deviation > 1e-9, deviation, 1.0)
        self.rows = picked / self.scale
        blocks = [b for t in held_out for b in blocks_of(t.frames[camera])]
        plain = [self._plain(b) for b in blocks]
        self.median = {name: float(np.median([p[name] for p in plain])) for name in FIGURES[1:]}
        self.floor = [self.figures(b) for b in blocks]

    def figures(self, block: Any) -> dict[str, float]:
        """Of (BLOCK, H, W, 3): the energy distance, and three ratios to real blocks."""
        mine = self.features(block) / self.scale
        count = len(mine)
        apart = distances(np.concatenate([mine, self.rows]))
        between, own, real = apart[:count, count:], apart[:count, :count], apart[count:, count:]
        ratios = {name: value / self.median[name] for name, value in self._plain(block).items()}
        return {"energy_distance": float(2 * between.mean() - own.mean() - real.mean()), **ratios}

    @staticmethod
    def _plain(block: Any) -> dict[str, float]:
        grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64) for picture in block]
        return {
            "sharpness": float(np.mean([cv2.Laplacian(g, cv2.CV_64F).var() for g in grey])),
            "contrast": float(np.mean([g.std() for g in grey])),
            "motion": float(np.abs(np.diff(grey, axis=0)).mean()),
        }


def blocks_of(frames: Any) -> Iterator[Any]:
    """Whole blocks, one after another."""
    for first in range(0, len(frames) - BLOCK + 1, BLOCK):
        yield frames[first : first + BLOCK]


def alarmed(figures: Mapping[str, float], *, finite: bool) -> bool:
    """Whether a block has collapsed."""
    ratios = (figures["sharpness"], figures["contrast"])
    return not finite or figures["motion"] < STILL or not all(1 / FACTOR <= r <= FACTOR for r in ratios)


def limits_of(train: Sequence[Tracks], name: str, unit: str) -> Limits:
    """As ``plausibility`` sets them."""
    rows = [t.states[name][t.good].astype(np.float64) for t in train]
    turning = np.asarray(circular(rows, unit), np.bool_)
    every = np.concatenate(rows)
    low, high = every.min(axis=0), every.max(axis=0)
    step = np.concatenate([np.abs(wrap(np.diff(r, axis=0), turning)) for r in rows]).max(axis=0)
    margin = np.maximum(RANGE_SHARE * (high - low), 1e-6)
    return Limits(low - margin, high + margin, np.maximum(STEP_TIMES * step, 1e-6), turning)


def broken_rows(
    limits: Mapping[str, Limits], states: Mapping[str, FloatArray], before: Mapping[str, FloatArray]
) -> int:
    """Rows of (1, K, D) states in which something is broken."""
    found = [np.zeros((1, 0), np.bool_)]
    for name, held in limits.items():
        kinds = held.broken(np.asarray(states[name], np.float64), before[name])
        found.append(np.logical_or.reduce(list(kinds.values())))
    return int(np.logical_or.reduce(found[1:]).sum()) if len(found) > 1 else 0


# ------------------------------------------------------------------ one model


def one_row(model: WorldModel, tracks: Tracks, row: int) -> Prompt:
    """One image with its state: repeated for a model that cannot start from less than its context."""
    rows = 1 if Capability.PARTIAL in model.capabilities else model.spec.context
    again = [row] * rows
    assert tracks.actions is not None
    return Prompt(
        states={s.name: tracks.states[s.name][again] for s in model.spec.states},
        frames={c.name: tracks.frames[c.name][again] for c in model.spec.cameras},
        actions=tracks.actions[again],
    )


def drive(held_out: Sequence[Tracks], first: int, row: int, frames: int) -> FloatArray:
    """(frames, A) recorded actions from a row of one run on, then of the others in turn."""
    order = [held_out[(first + k) % len(held_out)] for k in range(len(held_out))]
    parts, total = [order[0].actions[row:]], len(order[0].actions) - row  # type: ignore[index, arg-type]
    k = 1
    while total < frames:
        actions = order[k % len(order)].actions
        assert actions is not None
        parts.append(actions)
        total, k = total + len(actions), k + 1
    return np.nan_to_num(np.concatenate(parts)[:frames]).astype(np.float32)


def peak_mb() -> float:
    """Most memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rolled(model: WorldModel, prompt: Prompt, actions: FloatArray, seed: int) -> Iterator[Frame]:
    """Block by block, so that nothing grows but what the model itself holds."""
    unrolling = model.open(prompt, seed=seed)
    for first in range(0, len(actions), BLOCK):
        yield unrolling.step(actions[None, first : first + BLOCK])


def one(request: Request) -> dict[str, Any]:
    """Teach a model where that was not done yet, then roll it out from every prompt."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    held = sets.opened(Path(request.folder), only=request.episodes)
    asked = cells.Asked(model=request.model, configuration=0, seconds=request.seconds)
    key = digest_json({"asked": repr(asked), "set": held.digest, "code": _code()})[:20]
    weights, told = Path(request.cache) / f"{key}.safetensors", Path(request.cache) / f"{key}.json"
    if not told.exists():
        torch.manual_seed(0)
        about = cells.train(asked, held, weights, [])
        write_atomic(told, json.dumps({"parameters": about["parameters"]}).encode(), overwrite=True)
        return {"again": True}  # memory is that of imagining alone: a fresh process goes on
    subject = cells.Subject(asked, held)
    subject.modules.load_state_dict(load_file(weights))
    subject.modules.train(False)
    return {**json.loads(told.read_text()), **imagined(subject.made.world(subject.spec), held, request)}


def imagined(model: WorldModel, held: sets.VideoSet, request: Request) -> dict[str, Any]:
    """Drift, violations, alarms, speed and memory."""
    camera = held.recipe.camera
    train, held_out = (
        [read_tracks(e, model.spec, clips.pictures) for e in part] for part in (held.train, held.held_out)
    )
    limits = {s.name: limits_of(train, s.name, s.unit) for s in model.spec.states}
    realities: dict[str, Reality] = {}
    out: dict[str, Any] = {"prompts": [], "floor": [], "memory_mb": {}}
    for number in range(request.prompts):
        tracks = held_out[number % len(held_out)]
        site = str(tracks.episode.facts["site"])
        mine = [t for t in held_out if t.episode.facts["site"] == site]
        if site not in realities:
            same = [t for t in train if t.episode.facts["site"] == site]
            realities[site] = Reality(same, mine, camera)
            out["floor"].append(realities[site].floor)
        row = 4 + 20 * (number // len(held_out))
        actions = drive(mine, mine.index(tracks), row, request.frames)
        out["prompts"].append(_prompted(model, tracks, row, actions, realities[site], limits, out["memory_mb"]))
    out["real_violations_per_minute"] = _real_rate(held_out, limits, model.spec.rate_hz)
    return out


def _prompted(
    model: WorldModel, tracks: Tracks, row: int, actions: FloatArray, reality: Reality,
    limits: Mapping[str, Limits], memory: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    """One rollout in blocks, and copy-last from the same image."""
    prompt = one_row(model, tracks, row)
    camera = model.spec.cameras[0].name
    before = {name: np.asarray(values[-1:], np.float64) for name, values in prompt.states.items()}
    blocks, broken, spent, done, steps = [], [], 0.0, 0, rolled(model, prompt, actions, seed=row)
    while done < len(actions):
        begun = time.process_time()
        frame = next(steps)
        spent += time.process_time() - begun
        done += BLOCK
        finite = all(np.isfinite(values).all() for values in frame.states.values())
        figures = reality.figures(frame.frames[camera][0])
        blocks.append({**figures, "alarm": float(alarmed(figures, finite=finite))})
        broken.append(broken_rows(limits, frame.states, before))
        before = {name: np.asarray(values[:, -1], np.float64) for name, values in frame.states.items()}
        if done == EARLY:
            memory.setdefault(f"peak_at_{EARLY}", round(peak_mb(), 1))
    memory.setdefault(f"peak_at_{done}", round(peak_mb(), 1))
    still = reality.figures(np.repeat(tracks.frames[camera][row : row + 1], BLOCK, axis=0))
    per_minute = 60.0 * model.spec.rate_hz / BLOCK
    return {
        "blocks": blocks,
        "violations_per_minute": [count * per_minute for count in broken],
        "copy_last": still,
        "frames_per_cpu_s": len(actions) / spent,
    }


def _real_rate(held_out: Sequence[Tracks], limits: Mapping[str, Limits], rate_hz: float) -> float:
    """Of the recordings themselves."""
    rows = [{name: values[t.good][None] for name, values in t.states.items()} for t in held_out]
    broken = sum(
        broken_rows(limits, {n: v[:, 1:] for n, v in r.items()}, {n: v[:, 0] for n, v in r.items()}) for r in rows
    )
    return broken / (sum(next(iter(r.values())).shape[1] - 1 for r in rows) / rate_hz / 60.0)


def _code() -> str:
    """Digest of what decides the weights."""
    room = Path(worldgate.__file__).parent / "worlds"
    here = Path(__file__).parent / "peers"
    parts = [p for p in sorted(room.rglob("*.py")) if p.parent.name not in {"imagine", "tokens"}]
    return sha256(*(p.read_bytes() for p in (*parts, here / "video_learning.py", here / "video_cell.py")))


# ------------------------------------------------------------------ the table


def bounded(values: Sequence[float]) -> dict[str, Any]:
    """Mean over prompts with its bounds; no bounds for what is negative or not finite somewhere."""
    mean = float(np.mean(values))
    if len(values) < 2 or not np.isfinite(values).all():
        return {"value": round(mean, 4), "interval": None}
    found = ratio_interval(list(values), [1.0] * len(values))
    return {"value": round(mean, 4), "interval": [round(float(found.lower), 4), round(float(found.upper), 4)]}


def rows_of(name: str, made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every line of one model."""
    prompts, out = made["prompts"], []
    ends = [BLOCK * (k + 1) for k in range(len(prompts[0]["blocks"]))]
    floor = {f: float(np.mean([b[f] for site in made["floor"] for b in site])) for f in FIGURES}
    copied = {f: float(np.mean([p["copy_last"][f] for p in prompts])) for f in FIGURES}
    for figure in FIGURES:
        curve = [bounded([p["blocks"][k][figure] for p in prompts]) for k in range(len(ends))]
        out.append({
            "what": f"{name}: {figure.replace('_', ' ')}, last {BLOCK} of {ends[-1]} frames", **curve[-1], "unit": "1",
            "peer": "copy-last", "peer_value": round(copied[figure], 4), "real": round(floor[figure], 4),
            "ratio": round(copied[figure] / curve[-1]["value"], 3) if curve[-1]["value"] else None, "bar": None,
            "ok": None, "curve": [{"frames": end, **point} for end, point in zip(ends, curve, strict=True)],
        })  # fmt: skip
    plain = {"peer": "real", "ratio": None, "bar": None, "ok": None}
    rate = [bounded([p["violations_per_minute"][k] for p in prompts]) for k in range(len(ends))]
    whole = bounded([float(np.mean(p["violations_per_minute"])) for p in prompts])
    out.append({
        "what": f"{name}: implausible state rows", **whole, "unit": "1/min", **plain,
        "peer_value": round(made["real_violations_per_minute"], 4),
        "curve": [{"frames": end, **point} for end, point in zip(ends, rate, strict=True)],
    })  # fmt: skip
    first = [next((end for end, b in zip(ends, p["blocks"], strict=True) if b["alarm"]), None) for p in prompts]
    real = float(np.mean([alarmed(b, finite=True) for site in made["floor"] for b in site]))
    out.append({
        "what": f"{name}: blocks with the collapse alarm", "unit": "1", "peer_value": round(real, 4), **plain,
        **bounded([float(np.mean([b["alarm"] for b in p["blocks"]])) for p in prompts]), "first_alarm_by": first,
    })  # fmt: skip
    speed = bounded([p["frames_per_cpu_s"] for p in prompts])
    alone = {**plain, "peer": None, "peer_value": None}
    out.append({"what": f"{name}: imagined frames, 64 px, one thread", "unit": "1/cpu-s", **speed, **alone})
    early, late = made["memory_mb"].values() if len(made["memory_mb"]) > 1 else (None, None)
    out.append({
        "what": f"{name}: peak memory at {ends[-1]} frames", "value": late, "unit": "MB", **plain,
        "peer": f"at {EARLY} frames", "peer_value": early,
        "ok": None if late is None or early is None else late - early < 64,
    })  # fmt: skip
    return out


def made_of(request: Request) -> dict[str, Any]:
    """In a process of its own, one more where the model had to be taught first; kept by all that decides it."""
    code = [_code(), sha256(Path(__file__).read_bytes())]
    key = digest_json({"request": {**dataclasses.asdict(request), "cache": ""}, "code": code})[:20]
    path = Path(request.cache) / f"{key}.json"
    spawn = multiprocessing.get_context("spawn")
    for _ in range(2):
        if path.exists():
            break
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            made = pool.submit(one, request).result()
        if "again" not in made:
            write_atomic(path, json.dumps(made).encode(), overwrite=True)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def main() -> None:
    """Measure, print, and keep a full result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few runs, taught for two seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--seconds", type=float, default=90.0, help="processor seconds of each training")
    parser.add_argument("--prompts", type=int, default=6)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--models", type=lambda text: tuple(text.split(",")), default=MODELS)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "worldgate-video")
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    recipe = sets.cell(8, seconds=8.0) if asked.quick else sets.cell()
    folder = sets.made(recipe, asked.cache)
    rows: list[dict[str, Any]] = []
    for name in asked.models:
        request = Request(
            model=name, folder=str(folder), cache=str(asked.cache), seconds=2.0 if asked.quick else asked.seconds,
            prompts=2 if asked.quick else asked.prompts, frames=90 if asked.quick else asked.frames,
            episodes=2 if asked.quick else 0,
        )  # fmt: skip
        made = made_of(request)
        rows += rows_of(name, made)
        print(f"{name}: done, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
        whole = {
            "name": "long_rollouts", "load": round(os.getloadavg()[0], 1), "quick": asked.quick,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread",
            "train_cpu_s": request.seconds, "prompts": request.prompts, "frames": request.frames, "rows": rows,
        }  # fmt: skip
        if not asked.quick and asked.models == MODELS:
            write_atomic(KEPT, (json.dumps(whole, indent=1) + "\n").encode(), overwrite=True)
    if asked.json:
        print(json.dumps(whole))
        return
    for row in rows:
        bounds = "" if row.get("interval") is None else f" [{row['interval'][0]}, {row['interval'][1]}]"
        real = f", real {row['real']}" if "real" in row else ""
        beside = "" if row["peer"] is None else f"  ({row['peer']} {row['peer_value']}{real})"
        print(f"{row['what']:58} {row['value']}{bounds} {row['unit']}{beside}")


if __name__ == "__main__":
    main()
