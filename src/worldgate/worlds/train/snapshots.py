"""Training snapshots: everything a run needs to go on as if it had never stopped.

A snapshot is a folder with a ``done`` mark: ``weights.safetensors``, ``optimiser.safetensors`` (AdamW moments, averaged
weights, torch's random state) and ``loop.json`` (phase, step, numpy's random states, where the clips stand, digests of
code and data and of the other two files). The file ``latest`` names the newest and the digest of its ``loop.json``, and
is written last; older ones are removed after it. So a changed byte anywhere refuses.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from worldgate.core.atomic import atomic_dir, is_done, write_atomic
from worldgate.core.digest import Json, sha256
from worldgate.core.errors import NotFound, WeightsRefused

_RNG = "torch_rng"
_LOOP, _FILES = "loop.json", ("weights.safetensors", "optimiser.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Where a run stands, between two steps."""

    phase: int
    step: int
    """Steps done in this phase."""
    seconds: float
    """Training time used so far, over all processes of the run one after the other."""
    began: float = 0.0
    """Of it, what was used when the steps of this phase began."""
    weights: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    """Moments as ``<parameter>.<field>`` and averaged weights as ``ema.<parameter>``."""
    rng: tuple[dict[str, Any], ...]
    """State of numpy's generators, one for each batch of a step over all processes."""
    digests: dict[str, str]
    """``code`` and ``data``."""
    feed: Mapping[str, Json] = field(default_factory=dict)
    """Where the clip loader stands, for a phase that has one."""


def save(run_dir: Path, snapshot: Snapshot) -> None:
    """Write a snapshot and point ``latest`` at it.

    Raises:
        OSError: no room; the snapshot before stays.
    """
    folder = run_dir / "snapshots"
    name = f"phase-{snapshot.phase}-step-{snapshot.step:06d}"
    if (folder / name).exists():
        shutil.rmtree(folder / name)  # of a run that was killed before it could point at it
    with atomic_dir(folder / name) as partial:
        state = snapshot.optimiser | {_RNG: torch.get_rng_state()}
        held = dict(zip(_FILES, (save_tensors(_plain(t)) for t in (snapshot.weights, state)), strict=True))
        for file, data in held.items():
            (partial / file).write_bytes(data)
        loop: dict[str, Any] = {"phase": snapshot.phase, "step": snapshot.step}
        loop |= {"seconds": snapshot.seconds, "began": snapshot.began}
        loop |= {"rng": [_json(state) for state in snapshot.rng], "digests": snapshot.digests}
        loop |= {"feed": dict(snapshot.feed), "files": {file: sha256(data) for file, data in held.items()}}
        text = json.dumps(loop, indent=1).encode()
        (partial / _LOOP).write_bytes(text)
    write_atomic(run_dir / "latest", f"{name}\n{sha256(text)}\n".encode(), overwrite=True)
    _tidy(folder, name)


def load(run_dir: Path) -> Snapshot:
    """Read the newest snapshot and restore torch's random state.

    Raises:
        NotFound: the run has no finished snapshot.
        WeightsRefused: a snapshot file is damaged, or was changed.
    """
    pointer = run_dir / "latest"
    if not pointer.is_file():
        raise NotFound("this run has no snapshot to resume from", where=run_dir, hint="start it again without --resume")
    name, _, digest = pointer.read_text(encoding="utf-8").strip().partition("\n")
    folder = run_dir / "snapshots" / name
    if not is_done(folder):
        raise NotFound("the newest snapshot is not whole", where=folder)
    loop = json.loads(_held(folder, _LOOP, digest))
    try:
        weights, optimiser = (load_tensors(_held(folder, file, loop["files"][file])) for file in _FILES)
    except (SafetensorError, ValueError) as error:
        raise WeightsRefused("a snapshot is damaged", got=str(error)[:80], where=folder) from error
    torch.set_rng_state(optimiser.pop(_RNG))
    _tidy(folder.parent, name)
    return Snapshot(
        phase=loop["phase"],
        step=loop["step"],
        seconds=loop["seconds"],
        began=loop["began"],
        weights=weights,
        optimiser=optimiser,
        rng=tuple(_unjson(state) for state in loop["rng"]),
        digests=loop["digests"],
        feed=loop["feed"],
    )


def _tidy(folder: Path, name: str) -> None:
    """Remove all but one; a process that was killed may have left older ones, or a part of one."""
    for old in folder.iterdir():
        if old.name != name:
            shutil.rmtree(old)


def _held(folder: Path, name: str, digest: str) -> bytes:
    path = folder / name
    data = path.read_bytes() if path.is_file() else b""
    if sha256(data) != digest:
        hint = "a snapshot is not to be edited; start the run anew, or bring its folder back from a copy"
        raise WeightsRefused("a snapshot that is not what was written", got=sha256(data)[:12], where=path, hint=hint)
    return data


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _json(state: dict[str, Any]) -> dict[str, Any]:
    inner = {key: str(value) for key, value in state["state"].items()}
    return {**{k: state[k] for k in ("bit_generator", "has_uint32", "uinteger")}, "state": inner}


def _unjson(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "state": {key: int(value) for key, value in state["state"].items()}}


def generator(seed: int, number: int) -> np.random.Generator:
    """The generator of a step's ``number``-th batch over all processes: far apart from those of all others."""
    bits = np.random.PCG64(seed)
    return np.random.Generator(bits.jumped(number) if number else bits)
