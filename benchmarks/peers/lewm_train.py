"""Trains LeWM for so many seconds of processor time on one thread; runs in .venv-swm and knows nothing of Worldgate.

``python lewm_train.py SET OUT SIZE SECONDS [RATE]``. ``SET`` holds ``train.npz`` and ``held_out.npz``: frames (R, H, W,
3), actions (R, A), first (E), the row where each episode begins. Clips are four frames, five rows apart, with the
actions between; every one is drawn once an epoch. AdamW, clipping at 1, a hundredth of warm-up and a cosine are those
of its own script, placed by the seconds that were used; its bfloat16 is left out, which was slower on a CPU. ``OUT``
gets ``model.safetensors``, ``model.json`` and ``told.json`` with the loss of every step.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from lewm_parts import BLOCK, FRAMES, HISTORY, SIZES, made, pictures
from safetensors.torch import save_file
from stable_worldmodel.wm.loss import SIGReg
from torch import Tensor

WARM, JUDGED = 0.01, 256
"""Part of the seconds that is warm-up; held-out clips that the end is judged on."""


class Clips:
    """Clips of a file of episodes, actions standardised."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as held:
            self.frames, self.actions, first = held["frames"], held["actions"].astype(np.float32), held["first"]
        ends = [*first[1:].tolist(), len(self.frames)]
        starts = [np.arange(a, b - BLOCK * FRAMES + 1) for a, b in zip(first.tolist(), ends, strict=True)]
        self.starts = np.concatenate(starts)

    def taken(self, starts: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> tuple[Tensor, Tensor]:
        """Pictures (N, T, 3, H, W) and blocks of actions (N, T, B * A)."""
        frames = self.frames[starts[:, None] + BLOCK * np.arange(FRAMES)]
        actions = self.actions[starts[:, None] + np.arange(BLOCK * FRAMES)]
        return pictures(frames), torch.from_numpy((actions - mean) / spread).reshape(len(starts), FRAMES, -1)

    def epochs(self, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Starts of a batch, each clip once an epoch; what does not fill a batch is left out."""
        while True:
            order = rng.permutation(self.starts)
            for at in range(0, len(order) - batch + 1, batch):
                yield order[at : at + batch]


def losses(model: torch.nn.Module, frames: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, the loss of prediction, and what copying the last latent would lose."""
    told = model.encode({"pixels": frames, "action": actions})
    latents = told["emb"]
    ahead = model.predict(latents[:, :HISTORY], told["act_emb"][:, :HISTORY])
    copied = (latents[:, 1:] - latents[:, :HISTORY]).square().mean()
    return latents, (ahead - latents[:, 1:]).square().mean(), copied


def main() -> None:
    """Train and say what came of it."""
    source, out, name, seconds = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    size = SIZES[name]
    rate = float(sys.argv[5]) if len(sys.argv) > 5 else size.rate
    torch.set_num_threads(1)
    torch.manual_seed(0)
    clips, unseen = Clips(source / "train.npz"), Clips(source / "held_out.npz")
    mean, spread = clips.actions.mean(axis=0), clips.actions.std(axis=0)
    model, sigreg = made(size, len(mean)), SIGReg(num_proj=size.projections)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=size.decay)
    batches, curve = clips.epochs(size.batch, np.random.default_rng(0)), list[tuple[float, ...]]()
    begun, wall, spent = time.process_time(), time.monotonic(), 0.0
    while spent < seconds:
        place = spent / seconds
        part = max(place, 1e-3) / WARM if place < WARM else 0.5 + 0.5 * math.cos(math.pi * (place - WARM) / (1 - WARM))
        for group in optimiser.param_groups:
            group["lr"] = rate * part
        frames, actions = clips.taken(next(batches), mean, spread)
        latents, ahead, _ = losses(model, frames, actions)
        apart = sigreg(latents.transpose(0, 1))
        loss = ahead + size.sigreg * apart
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        spent = time.process_time() - begun
        curve.append((spent, float(ahead.detach()), float(apart.detach()), float(loss.detach())))
    wall = time.monotonic() - wall
    model.eval()
    chosen = np.random.default_rng(1).choice(unseen.starts, min(JUDGED, len(unseen.starts)), replace=False)
    with torch.inference_mode():
        _, ahead, copied = losses(model, *unseen.taken(chosen, mean, spread))
    out.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), out / "model.safetensors")
    about = {"size": dataclasses.asdict(size), "mean": mean.tolist(), "spread": spread.tolist()}
    (out / "model.json").write_text(json.dumps(about))
    told = {
        "steps": len(curve), "seconds": spent, "wall_s": wall, "rate": rate,
        "weights": sum(p.numel() for p in model.parameters()),
        "frames_per_s": len(curve) * size.batch * FRAMES / spent,
        "epochs": len(curve) * size.batch / len(clips.starts),
        "held_out": {"prediction": float(ahead), "copy": float(copied)},
        "curve": curve,
    }  # fmt: skip
    (out / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
