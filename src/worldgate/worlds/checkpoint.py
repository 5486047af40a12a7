"""Checkpoints of what is trained: a folder of ``model.safetensors``, ``normaliser.json`` and ``config.json``.

``config.json`` names the digests of the other two, and the digest of all three together is the model's identity
(:attr:`ModelSpec.digest`). Only safetensors is read: a format that can hold nothing but tensors, so loading runs no
code. A changed byte, a hostile header, a missing or extra tensor, another shape: all refuse.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from worldgate.core.atomic import atomic_dir
from worldgate.core.config import decode
from worldgate.core.digest import Json, canonical, sha256, to_json
from worldgate.core.errors import CapabilityMissing, ConfigError, NotFound, SchemaTooNew, WeightsRefused
from worldgate.core.normalisers import Normaliser
from worldgate.core.worlds import ModelSpec, WorldModel
from worldgate.worlds.family import Borrowing, Family, FamilyConfig, Trainable, is_tokenizer, load_trainable
from worldgate.worlds.tracks import Layout
from worldgate.worlds.train import parallel

SCHEMA = 1
WEIGHTS, NORMALISER, CONFIG = "model.safetensors", "normaliser.json", "config.json"


def save(folder: Path, family: str, config: FamilyConfig, model: Trainable, about: Mapping[str, Json]) -> Path:
    """Write a checkpoint folder, whole or not at all.

    Args:
        folder: where; must not exist.
        family: name in the ``models`` or ``tokenizers`` seam.
        config: what shaped the weights.
        model: the trained model.
        about: where it came from: dataset, run, code and data digests.

    Raises:
        AlreadyExists: the folder exists.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    weights = save_tensors(tensors, metadata={"format": "pt"})
    statistics = model.normaliser.to_bytes()
    tree: dict[str, Any] = {
        "schema": SCHEMA,
        "family": family,
        "config": dataclasses.asdict(cast(Any, config)),
        "layout": dataclasses.asdict(model.layout),
        "weights": sha256(weights),
        "normaliser": sha256(statistics),
        "about": to_json(about),
    }
    if isinstance(model, Borrowing) and model.borrowed():
        tree["borrowed"] = to_json(model.borrowed())
    with atomic_dir(folder) as partial:
        (partial / WEIGHTS).write_bytes(weights)
        (partial / NORMALISER).write_bytes(statistics)
        (partial / CONFIG).write_bytes(canonical(tree))
    return folder


def load(folder: Path, *, expect: str | None = None, device: str = "auto") -> WorldModel:
    """Load a checkpoint behind the protocol that every room sees.

    Args:
        folder: a checkpoint folder.
        expect: the digest that was promised for it, in a release or a decision.
        device: where it works, as in :class:`worldgate.worlds.train.config.LoopConfig`; ``auto`` is the fastest there
            is. A seed draws the same on each of them, and arithmetic rounds differently.

    Raises:
        NotFound: no checkpoint there.
        CapabilityMissing: a tokenizer's.
        WeightsRefused: not safetensors, damaged, or not the digest that was promised.
        SchemaTooNew: written by a newer Worldgate.
        UsageError: this machine lacks the device.
    """
    place = parallel.device_of(device)
    tree, model, digest = restore(folder, expect=expect)
    name = str(tree["family"])
    if is_tokenizer(name) or "/" in name:
        what = "a tokenizer is no world model" if is_tokenizer(name) else "only a family rolls forward"
        hint = "worldgate list models shows what rolls forward"
        raise CapabilityMissing(what, got=name, where=folder, hint=hint)
    cast(nn.Module, model).to(place)
    family = cast(Family, model)
    return family.world(_spec(tree, family.layout, family, digest))


def restore(folder: Path, *, expect: str | None = None) -> tuple[dict[str, Any], Trainable, str]:
    """What a checkpoint says of itself, what was trained, set to evaluation, and the digest of both.

    Raises:
        NotFound: no checkpoint there.
        WeightsRefused: not safetensors, damaged, or not the digest that was promised.
        SchemaTooNew: written by a newer Worldgate.
    """
    tree, weights, statistics = _read(folder)
    digest = identity(folder)
    if expect is not None and digest != expect:
        raise WeightsRefused("this is not the checkpoint that was promised", got=digest[:12], where=folder)
    module = load_trainable(str(tree["family"]))
    try:
        config = decode(module.Config, tree["config"], where=str(folder / CONFIG))
        layout = decode(Layout, tree["layout"], where=str(folder / CONFIG))
    except ConfigError as error:
        raise WeightsRefused("a checkpoint of another version", got=error.got, where=folder) from error
    model = module.create(config, layout, Normaliser.from_bytes(statistics))
    found, wanted = model.borrowed() if isinstance(model, Borrowing) else {}, tree.get("borrowed", {})
    if found != wanted:
        name = next(key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key))
        got, hint = (
            f"{name} {found.get(name, '')[:40]}, not {wanted.get(name, '')[:40]}",
            "bring the one it was trained with",
        )
        raise WeightsRefused("this checkpoint was trained beside something else", got=got, where=folder, hint=hint)
    _fill(model, weights, folder)
    return tree, model, digest


def identity(folder: Path) -> str:
    """The digest that names a checkpoint: of its configuration, which names weights and normaliser by theirs."""
    return sha256(_bytes(folder, CONFIG))


def about(folder: Path) -> dict[str, Any]:
    """The checkpoint's ``config.json``: family, configuration, layout, digests and where it came from."""
    return _tree(_bytes(folder, CONFIG), folder)


def _read(folder: Path) -> tuple[dict[str, Any], bytes, bytes]:
    tree = about(folder)
    weights, statistics = _bytes(folder, WEIGHTS), _bytes(folder, NORMALISER)
    for name, data in (("weights", weights), ("normaliser", statistics)):
        if sha256(data) != tree.get(name):
            raise WeightsRefused(
                f"the {name} are not those the checkpoint names",
                got=sha256(data)[:12],
                where=f"{folder}:{name}",
                hint="fetch the checkpoint again; worldgate record verify checks the store",
            )
    return tree, weights, statistics


def _bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        if folder.is_file() or list(folder.glob("*.pt*")) + list(folder.glob("*.bin")) + list(folder.glob("*.pkl")):
            raise WeightsRefused("weights are read from safetensors alone", got=folder.name, where=folder)
        raise NotFound("no checkpoint here", got=f"no {name}", where=folder)
    return path.read_bytes()


def _tree(data: bytes, folder: Path) -> dict[str, Any]:
    try:
        tree = json.loads(data)
        schema = int(tree["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsRefused("not a checkpoint's configuration", got=str(error)[:80], where=folder / CONFIG) from error
    if schema > SCHEMA:
        raise SchemaTooNew("this checkpoint was written by a newer Worldgate", got=f"schema {schema}", where=folder)
    return cast(dict[str, Any], tree)


def _fill(model: Trainable, weights: bytes, folder: Path) -> None:
    """Load tensors strictly: the same names, shapes and types as the configuration implies, all finite."""
    try:
        tensors: dict[str, Tensor] = load_tensors(weights)
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError, OverflowError) as error:
        raise WeightsRefused("not a safetensors file", got=str(error)[:80], where=folder / WEIGHTS) from error
    wanted = model.state_dict()
    for name in sorted(set(wanted) ^ set(tensors)):
        state = "missing" if name in wanted else "unknown"
        raise WeightsRefused(f"a tensor is {state}", got=name, where=folder / WEIGHTS)
    for name, tensor in tensors.items():
        like = wanted[name]
        if tensor.shape != like.shape or tensor.dtype != like.dtype:
            got = f"{name} {tuple(tensor.shape)} {tensor.dtype}, not {tuple(like.shape)} {like.dtype}"
            raise WeightsRefused("a tensor of another shape or type", got=got, where=folder / WEIGHTS)
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsRefused("weights that are not finite", got=name, where=folder / WEIGHTS)
    model.load_state_dict(tensors)
    model.train(False)


def _spec(tree: Mapping[str, Any], layout: Layout, model: Family, digest: str) -> ModelSpec:
    return ModelSpec(
        family=str(tree["family"]),
        digest=digest,
        normaliser=str(tree["normaliser"]),
        rate_hz=layout.rate_hz,
        context=model.context,
        states=layout.states,
        cameras=layout.cameras,
        action=layout.action if layout.action.name else None,
        dataset=str(tree["about"].get("dataset", "")),
        text=layout.text,
        reads=layout.told,
    )
