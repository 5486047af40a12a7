"""LeRobot's policy folders: ``config.json``, ``model.safetensors`` and the statistics, in today's and in older form.

Today (lerobot 0.4 to 0.6) the statistics lie in safetensors beside ``policy_preprocessor.json`` and
``policy_postprocessor.json``, which name them and how they are used; before that they were buffers among the weights.
They become a normaliser of means and deviations: a range is its middle and half of its width, which is the same map.

Shape legend: D channels of a stream.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors

from worldgate.core.errors import CapabilityMissing, DataRefused, NotFound, WeightsRefused
from worldgate.core.normalisers import Normaliser, Statistics
from worldgate.core.streams import Array, FloatArray

CONFIG, WEIGHTS = "config.json", "model.safetensors"
ACTION = "action"
_PIPES = {"policy_preprocessor.json": "normalizer_processor", "policy_postprocessor.json": "unnormalizer_processor"}
_RENAMES = "rename_observations_processor"
_QUIET = {"to_batch_processor", "device_processor", *_PIPES.values()}
"""Steps of a pipeline that do not change a number, and those that are read."""
_TOLD = {
    _RENAMES,
    "tokenizer_processor",
    "smolvla_new_line_processor",
    "pi0_new_line_processor",
    "pi05_prepare_state_tokenizer_processor_step",
    "relative_actions_processor",
    "absolute_actions_processor",
}
"""Those that policies which are told in words have besides; how they are set is judged where they are read."""
_RANGES = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
_EPS = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What a checkpoint folder says."""

    kind: str
    """``act``, ``diffusion``, ``smolvla``, ``pi0``, ``pi05``."""
    config: Mapping[str, Any]
    tensors: Mapping[str, Array]
    inputs: Mapping[str, tuple[int, ...]]
    """Name -> shape; (D,) or (3, H, W)."""
    action: tuple[int, ...]
    normaliser: Normaliser
    """Of every input and the action; pictures have one number a colour."""
    steps: Mapping[str, Mapping[str, Any]]
    """Name of a step of the pipelines -> how it is set."""


def read(root: Path, *, told: Container[str] = ()) -> Folder:
    """Read a folder whole.

    Args:
        root: the folder.
        told: kinds of policy that are told in words what to do.

    Raises:
        NotFound: no such folder, or not all files.
        WeightsRefused: weights or statistics that are not safetensors.
        DataRefused: a configuration that names nothing to read or to give.
        CapabilityMissing: processing that is not read.
    """
    config = _json(root / CONFIG)
    tensors = _tensors(root / WEIGHTS)
    inputs, outputs = config.get("input_features"), config.get("output_features")
    if not (isinstance(inputs, dict) and isinstance(outputs, dict) and inputs and ACTION in outputs):
        raise DataRefused("a policy that names no input or no action", got=config.get("type"), where=root / CONFIG)
    held = {**inputs, ACTION: outputs[ACTION]}
    shapes = {name: tuple(int(n) for n in feature["shape"]) for name, feature in held.items()}
    odd = [name for name, shape in shapes.items() if len(shape) not in {1, 3} or (len(shape) == 3 and shape[0] != 3)]
    if odd:
        raise DataRefused("a stream of another form than (D,) or (3, H, W)", got=shapes[odd[0]], where=odd[0])
    steps = _steps(root, _QUIET | _TOLD if config.get("type") in told else _QUIET)
    modes, statistics = _statistics(root, config, tensors, steps)
    streams = {
        name: _resolved(name, shape, modes.get(str(held[name]["type"]), "IDENTITY"), statistics.get(name, {}), root)
        for name, shape in shapes.items()
    }
    action = shapes.pop(ACTION)
    return Folder(
        kind=str(config.get("type")),
        config=config,
        tensors={n: t for n, t in tensors.items() if not n.startswith(("normalize_", "unnormalize_"))},
        inputs=shapes,
        action=action,
        normaliser=Normaliser(streams=streams),
        steps={name: step.get("config") or {} for name, step in steps},
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NotFound("no LeRobot policy here", got=f"no {path.name}", where=path.parent)
    try:
        tree = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataRefused("not JSON", got=str(error)[:80], where=path) from error
    if not isinstance(tree, dict):
        raise DataRefused("not a configuration", got=type(tree).__name__, where=path)
    return tree


def _tensors(path: Path) -> dict[str, Array]:
    if not path.is_file():
        other = sorted(p.name for p in path.parent.glob("*") if p.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"})
        if other:
            raise WeightsRefused("weights are read from safetensors alone", got=other[0], where=path.parent)
        raise NotFound("a file of this policy is missing", got=path.name, where=path.parent)
    try:
        loaded = safetensors.load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsRefused("these weights are not safetensors", got=str(error)[:80], where=path) from error
    short = {torch.bfloat16, torch.float16}  # kept so, computed in float32
    return {name: (t.float() if t.dtype in short else t).numpy() for name, t in loaded.items()}


def _steps(root: Path, read: Container[str]) -> list[tuple[str, dict[str, Any]]]:
    """Names and steps of both pipelines in their order; none where an older LeRobot wrote the folder.

    Raises:
        CapabilityMissing: a step that is not read.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    if not (root / next(iter(_PIPES))).is_file():
        return found
    for pipe in _PIPES:
        for step in _json(root / pipe).get("steps", []):
            name = str(step.get("registry_name"))
            idle = name == _RENAMES and not step.get("config", {}).get("rename_map")
            if name not in read and not idle:
                raise CapabilityMissing("this step of a pipeline is not read", got=name, where=root / pipe)
            found.append((name, step))
    return found


def _statistics(
    root: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Array],
    steps: Sequence[tuple[str, dict[str, Any]]],
) -> tuple[dict[str, str], dict[str, dict[str, FloatArray]]]:
    """How each kind of stream is normalised, and by which numbers: stream -> statistic -> values."""
    found: dict[str, dict[str, FloatArray]] = {}
    modes = {str(kind): str(mode) for kind, mode in config.get("normalization_mapping", {}).items()}
    if not steps:
        for name, tensor in tensors.items():
            if name.startswith(("normalize_inputs.buffer_", "unnormalize_outputs.buffer_")):
                stream, _, statistic = name.partition(".buffer_")[2].rpartition(".")
                found.setdefault(_unbroken(stream, config), {})[statistic] = np.asarray(tensor, np.float64)
        return modes, found
    for name, step in steps:
        if name not in _PIPES.values():
            continue
        modes = {str(kind): str(mode) for kind, mode in step["config"]["norm_map"].items()}
        if "state_file" not in step:
            continue
        for key, tensor in _tensors(root / str(step["state_file"])).items():
            stream, _, statistic = key.rpartition(".")
            if (stream == ACTION) == (name == "unnormalizer_processor"):
                found.setdefault(stream, {})[statistic] = np.asarray(tensor, np.float64)
    return modes, found


def _unbroken(stream: str, config: Mapping[str, Any]) -> str:
    """A stream whose dots an older LeRobot wrote as underscores."""
    names = {**config["input_features"], **config["output_features"]}
    return next((name for name in names if name.replace(".", "_") == stream), stream)


def _resolved(name: str, shape: tuple[int, ...], mode: str, told: Mapping[str, FloatArray], root: Path) -> Statistics:
    """Means and deviations that normalise as LeRobot does in this mode."""
    width = shape[0]
    if mode == "IDENTITY":
        return Statistics(mean=(0.0,) * width, std=(1.0,) * width)
    wanted = ("mean", "std") if mode == "MEAN_STD" else _RANGES.get(mode)
    if wanted is None:
        raise CapabilityMissing("this way of normalising is not read", got=mode, where=name)
    if not set(wanted) <= set(told):
        got, hint = ", ".join(sorted(told)) or "none", f"{mode} wants {' and '.join(wanted)}"
        raise DataRefused("statistics are missing", got=got, where=f"{root}:{name}", hint=hint)
    first, second = (told[key].reshape(-1) for key in wanted)
    if {len(first), len(second)} != {width} or not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise DataRefused("statistics of another width, or not finite", got=len(first), where=f"{root}:{name}")
    if mode == "MEAN_STD":
        return Statistics(mean=_floats(first), std=_floats(np.where(second > 0, second, _EPS)))
    half = np.where(second == first, _EPS, second - first) / 2
    return Statistics(mean=_floats(first + half), std=_floats(half))


def _floats(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
