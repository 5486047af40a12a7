"""LeRobot: policies that it trained, loaded from their folder and executed by our own modules.

ACT and Diffusion, as lerobot 0.4.4 and 0.6.1 write them, with ResNet-18 or -34 bodies, and what is told in words:
SmolVLA, pi0 and pi0.5 (``_lerobot_vla.py``). The folder's weights, statistics, streams and chunk become the release,
and with them what the folder does not say and the caller must: the rate, the controller's convention, the unit.
``benchmarks/lerobot_policies.py`` holds the actions equal to lerobot's.

Notable choices: ACT and Diffusion want pictures of the size that they were trained on, as in LeRobot; the encoder that
ACT only learns with is left out.

Shape legend: B batch, N rows of history, D channels of a stream, H x W pixels.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldgate.control.policies import _lerobot_files, _lerobot_vla
from worldgate.control.policies._acting import ChunkPolicy, fill, load_tensors
from worldgate.control.policies._lerobot_act import Act, ActConfig
from worldgate.control.policies._lerobot_diffusion import Diffusion, DiffusionConfig
from worldgate.control.policies._release import WEIGHTS, Fitted, file_text, only_file
from worldgate.core.config import decode
from worldgate.core.digest import canonical
from worldgate.core.errors import CapabilityMissing, ConfigError, DataRefused, UsageError, WeightsRefused
from worldgate.core.streams import FloatArray
from worldgate.core.worlds import Observation, Signal
from worldgate.fleet.releases import Controller, Release, Setting

CARD = {
    "line": "LeRobot's ACT, Diffusion, SmolVLA, pi0 and pi0.5 from their folders: weights, statistics, tokenizer",
    "inputs": "observation.state, observation.environment_state, colour cameras",
    "needs": "models",
    "source": "https://github.com/huggingface/lerobot, 0.4.4 and 0.6.1",
}

_KINDS: dict[str, type[ActConfig] | type[DiffusionConfig]] = {"act": ActConfig, "diffusion": DiffusionConfig}


def read(
    folder: Path,
    *,
    rate_hz: float,
    convention: str = "joint_position",
    unit: str = "",
    names: Sequence[str] = (),
) -> Fitted:
    """A LeRobot policy folder, ready to become a release.

    Args:
        folder: what ``save_pretrained`` wrote: ``config.json``, ``model.safetensors``, the processors.
        rate_hz: at which it is executed; LeRobot's folder does not say.
        convention: controller convention of its actions.
        unit: of its actions.
        names: of the action's channels.

    Raises:
        NotFound: no such folder, or not all files.
        WeightsRefused: not safetensors, or tensors that are not this policy's.
        DataRefused: statistics that are missing, or a configuration that contradicts itself.
        CapabilityMissing: a policy, body, sampler or processing that is not read.
        MissingExtra: a policy that is told in words, without the library that reads its tokenizer.
        UsageError: a rate that is none, or names that do not fit.
    """
    held = _lerobot_files.read(folder, told=_lerobot_vla.KINDS)
    if held.kind not in (*_KINDS, *_lerobot_vla.KINDS):
        hint = f"one of {', '.join((*_KINDS, *_lerobot_vla.KINDS))}"
        raise CapabilityMissing("this LeRobot policy is not read", got=held.kind, hint=hint)
    if not rate_hz > 0 or (names and len(names) != held.action[0]):
        got = f"{rate_hz:g} Hz, {len(names)} names for {held.action[0]} channels"
        raise UsageError("a rate above 0, and a name for each channel of the action", got=got)
    observation = tuple(_signal(name, shape) for name, shape in held.inputs.items())
    action = Signal(name=_lerobot_files.ACTION, shape=held.action, unit=unit, names=tuple(names))
    if held.kind in _lerobot_vla.KINDS:
        return _lerobot_vla.fitted(held, folder, observation, action, convention=convention, rate_hz=rate_hz)
    kind = _KINDS[held.kind]
    wanted = {f.name for f in fields(kind)}
    tree = {key: value for key, value in held.config.items() if key in wanted}
    try:
        config = decode(kind, tree, where=str(folder / _lerobot_files.CONFIG))
    except ConfigError as error:
        raise DataRefused("not the configuration of this policy", got=error.got, where=error.where) from error
    head = _head(held.kind, config, observation, held.action[0])
    tensors = {name: tensor for name, tensor in held.tensors.items() if not name.startswith(head.ignored)}
    fill(head, {name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()})
    chunk = config.chunk_size if isinstance(config, ActConfig) else config.horizon - config.n_obs_steps + 1
    post: dict[str, Setting] = {}
    if isinstance(config, ActConfig) and config.temporal_ensemble_coeff is not None:
        post["ensemble"] = config.temporal_ensemble_coeff
    return Fitted(
        policy="lerobot",
        tensors=tensors,
        about={"lerobot": canonical({"type": held.kind, **tree}).decode()},
        normaliser=held.normaliser,
        observation=observation,
        action=action,
        controller=Controller(convention=convention, rate_hz=rate_hz, chunk=chunk, execute=config.n_action_steps),
        pre={"history": float(config.n_obs_steps)},
        post=post,
        runtime={"torch": ".".join(torch.__version__.split(".")[:2])},
    )


def _signal(name: str, shape: tuple[int, ...]) -> Signal:
    return Signal(name=name, shape=shape if len(shape) == 1 else (*shape[1:], shape[0]))


def _head(kind: str, config: Any, observation: Sequence[Signal], action: int) -> Act | Diffusion:
    vectors = {s.name: s.shape[0] for s in observation if len(s.shape) == 1}
    cameras = [s for s in observation if len(s.shape) == 3]
    names = [camera.name for camera in cameras]
    with torch.random.fork_rng(devices=()):  # the caller's random state is left alone
        if kind == "act":
            return Act(config, vectors, names, action)
        sizes = {camera.shape[:2] for camera in cameras}
        if len(sizes) > 1:
            raise DataRefused("Diffusion looks at pictures of one size", got=sorted(sizes))
        height, width = sizes.pop() if sizes else (0, 0)
        return Diffusion(config, vectors, names, (height, width), action)


class LeRobotPolicy(ChunkPolicy):
    """Executes a LeRobot policy; one with a history is shown the first row of a run as often as it needs."""

    def __init__(self, release: Release, head: Act | Diffusion) -> None:
        self._history = int(float(release.pre["history"]))
        self._past: deque[dict[str, Tensor]] = deque(maxlen=self._history)
        super().__init__(release, head)

    def reset(self, *, seed: int) -> None:
        """Forget rows and plans; chance goes on from the seed."""
        super().reset(seed=seed)
        self._past.clear()

    def act(self, observation: Observation) -> FloatArray:
        """(A,), in the action's unit.

        Raises:
            DataRefused: an observation that does not fit.
        """
        self._past.append(self._look(observation))
        return super().act(observation)

    def _seen(self, observation: Observation) -> dict[str, Tensor]:
        """What the head is shown: this row, or so many up to it."""
        now = self._look(observation)
        if self._history == 1:
            return now
        rows = list(self._past) or [now]
        rows = [rows[0]] * (self._history - len(rows)) + rows
        return {name: torch.stack([row[name] for row in rows], dim=1) for name in now}

    def _look(self, observation: Observation) -> dict[str, Tensor]:
        """Numbers (1, D) and pictures (1, 3, H, W), normalised."""
        for signal in self._release.observation:
            held = np.asarray(observation.get(signal.name, ()))
            if len(signal.shape) == 3 and held.shape != signal.shape:
                hint = f"{signal.shape}, as it was trained"
                raise DataRefused("a picture of another size", got=held.shape, where=signal.name, hint=hint)
        seen = super()._seen(observation)
        for signal in self._release.observation:
            if len(signal.shape) == 3:
                colour = self._release.normaliser.statistics(signal.name)
                mean, std = (
                    torch.tensor(part, dtype=torch.float32)[:, None, None] for part in (colour.mean, colour.std)
                )
                seen[signal.name] = (seen[signal.name].permute(0, 3, 1, 2).float() / 255 - mean) / std
        return seen


def build(release: Release, weights: Mapping[str, bytes]) -> ChunkPolicy:
    """See :class:`worldgate.control.policies.PolicyModule`."""
    tensors = load_tensors(only_file(weights))
    try:
        tree = json.loads(file_text(weights)["lerobot"])
        kind = str(tree.pop("type"))
        if kind in _lerobot_vla.KINDS:
            return _lerobot_vla.acting(release, kind, tree, tensors)
        config = decode(_KINDS[kind], tree, where=WEIGHTS)
        head = _head(kind, config, release.observation, release.action.shape[0])
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise WeightsRefused("not the weights of this policy", got=str(error)[:80], where=WEIGHTS) from error
    fill(head, tensors)
    return LeRobotPolicy(release, head)
