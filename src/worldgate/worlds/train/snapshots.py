"""Training snapshots: everything a run needs to go on as if it had never stopped.

A snapshot is a folder with a ``done`` mark: ``weights.safetensors``, ``optimiser.safetensors`` (AdamW moments, averaged
weights, torch's random state) and ``loop.json`` (phase, step, numpy's random state, digests of code and data). The file
``latest`` names the newest and is written last; older ones are removed after it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldgate.core.atomic import atomic_dir, is_done, write_atomic
from worldgate.core.errors import NotFound, WeightsRefused

_RNG = "torch_rng"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Where a run stands, between two steps."""

    phase: int
    step: int
    """Steps done in this phase."""
    seconds: float
    """Training time used so far, over all processes."""
    weights: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    """Moments as ``<parameter>.<field>`` and averaged weights as ``ema.<parameter>``."""
    rng: dict[str, Any]
    """State of numpy's generator."""
    digests: dict[str, str]
    """``code`` and ``data``."""


def save(run_dir: Path, snapshot: Snapshot) -> None:
    """Write a snapshot and point ``latest`` at it."""
    folder = run_dir / "snapshots"
    name = f"phase-{snapshot.phase}-step-{snapshot.step:06d}"
    if not (folder / name).exists():
        with atomic_dir(folder / name) as partial:
            save_file(_plain(snapshot.weights), str(partial / "weights.safetensors"))
            state = _plain(snapshot.optimiser) | {_RNG: torch.get_rng_state()}
            save_file(state, str(partial / "optimiser.safetensors"))
            loop: dict[str, Any] = {"phase": snapshot.phase, "step": snapshot.step, "seconds": snapshot.seconds}
            loop |= {"rng": _json(snapshot.rng), "digests": snapshot.digests}
            (partial / "loop.json").write_text(json.dumps(loop, indent=1), encoding="utf-8")
    write_atomic(run_dir / "latest", name.encode(), overwrite=True)
    for old in folder.iterdir():
        if old.name != name and not old.name.startswith("."):
            shutil.rmtree(old)


def load(run_dir: Path) -> Snapshot:
    """Read the newest snapshot and restore torch's random state.

    Raises:
        NotFound: the run has no finished snapshot.
        WeightsRefused: a snapshot file is damaged.
    """
    pointer = run_dir / "latest"
    if not pointer.is_file():
        raise NotFound("this run has no snapshot to resume from", where=run_dir, hint="start it again without --resume")
    folder = run_dir / "snapshots" / pointer.read_text(encoding="utf-8").strip()
    if not is_done(folder):
        raise NotFound("the newest snapshot is not whole", where=folder)
    try:
        weights = load_file(folder / "weights.safetensors")
        optimiser = load_file(folder / "optimiser.safetensors")
        loop = json.loads((folder / "loop.json").read_text(encoding="utf-8"))
    except (SafetensorError, ValueError) as error:
        raise WeightsRefused("a snapshot is damaged", got=str(error)[:80], where=folder) from error
    torch.set_rng_state(optimiser.pop(_RNG))
    return Snapshot(
        phase=loop["phase"],
        step=loop["step"],
        seconds=loop["seconds"],
        weights=weights,
        optimiser=optimiser,
        rng=_unjson(loop["rng"]),
        digests=loop["digests"],
    )


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}


def _json(state: dict[str, Any]) -> dict[str, Any]:
    inner = {key: str(value) for key, value in state["state"].items()}
    return {**{k: state[k] for k in ("bit_generator", "has_uint32", "uinteger")}, "state": inner}


def _unjson(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "state": {key: int(value) for key, value in state["state"].items()}}


def generator(state: dict[str, Any] | None, seed: int) -> np.random.Generator:
    """Numpy's generator, fresh from a seed or as it stood."""
    rng = np.random.Generator(np.random.PCG64(seed))
    if state is not None:
        rng.bit_generator.state = state
    return rng
