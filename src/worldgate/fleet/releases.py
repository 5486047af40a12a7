"""Releases: executable identities, not checkpoints.

Two machines behave alike only if weights, resolved normaliser statistics, schemas with units and frames, controller
convention, rates, chunk execution, processing, runtime, quantisation and seed all agree; so all of them make the
digest, and data, code and parent with them. A name is what people call it and no part of its identity.

The manifest is canonical JSON in the store; the statistics are an object of their own beside it, so that two releases
that share them can be seen to.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from safetensors import SafetensorError, safe_open

from worldgate.core.config import decode
from worldgate.core.digest import canonical, digest_json, short, to_json
from worldgate.core.errors import DataRefused, NotFound, WeightsRefused
from worldgate.core.names import Name
from worldgate.core.normalisers import Normaliser
from worldgate.core.worlds import Signal
from worldgate.record.events import Ref, is_digest
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/release/1"
Setting: TypeAlias = str | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """How actions reach the joints."""

    convention: str
    """For example ``tool_position``, ``joint_position``, ``joint_velocity``."""
    rate_hz: float
    chunk: int = 1
    """Actions predicted at once."""
    execute: int = 1
    """Of those, how many are executed before the next look."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """An executable identity. Frozen; its digest is that of its canonical manifest."""

    policy: str
    """Entry of the ``policies`` seam that executes it."""
    weights: Mapping[str, str]
    """File name -> digest of a safetensors file in the store."""
    normaliser: Normaliser
    """Resolved statistics; the manifest holds their digest."""
    observation: tuple[Signal, ...]
    action: Signal
    controller: Controller
    pre: Mapping[str, Setting] = field(default_factory=dict)
    """Pre-processing that is not normalisation: image size, crop, history."""
    post: Mapping[str, Setting] = field(default_factory=dict)
    """Post-processing: limits, smoothing, what the output is relative to."""
    runtime: Mapping[str, str] = field(default_factory=dict)
    """What executes it: library versions, image digest."""
    quantisation: str = "none"
    seed: int = 0
    dataset: str = ""
    """Digest of the dataset it was fitted on."""
    code: str = ""
    """Revision of the training code."""
    parent: str = ""
    """Digest of the release it was made from."""

    def manifest(self) -> dict[str, Any]:
        """The identity as plain JSON; statistics by digest."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        tree = to_json({"schema": SCHEMA, **fields, "normaliser": self.normaliser.digest})
        assert isinstance(tree, dict)
        return tree

    @cached_property
    def digest(self) -> str:
        """Identity."""
        return digest_json(self.manifest())

    def check(self) -> None:
        """Refuse a release that contradicts itself.

        Raises:
            DataRefused: statistics missing or of another width than the schema; no weights; a chunk that cannot be.
        """
        if not 1 <= self.controller.execute <= self.controller.chunk or not self.controller.rate_hz > 0:
            raise DataRefused("a controller that cannot run", got=self.controller, where="release:controller")
        signals = (*self.observation, self.action)
        if len({s.name for s in signals}) != len(signals):
            raise DataRefused("a stream named twice", got=[s.name for s in signals], where="release:observation")
        for signal in signals:
            if len(signal.shape) != 1:
                continue
            statistics = self.normaliser.streams.get(signal.name)
            if statistics is None:
                raise DataRefused("no normaliser statistics for a stream", got=signal.name, where="release:normaliser")
            widths = {len(statistics.mean), len(statistics.std), *signal.shape}
            if signal.names:
                widths.add(len(signal.names))
            if len(widths) != 1:
                raise DataRefused(
                    "schema and statistics differ in width",
                    got=sorted(widths),
                    where=f"release:normaliser:{signal.name}",
                )


def from_manifest(tree: Mapping[str, Any], normaliser: Normaliser, *, where: str) -> Release:
    """Build a release from its manifest and its resolved statistics.

    Raises:
        DataRefused: another schema, or statistics that are not the ones the manifest names.
        ConfigError: a manifest with unknown or missing fields.
    """
    rest = {k: v for k, v in tree.items() if k not in {"schema", "normaliser"}}
    if tree.get("schema") != SCHEMA:
        raise DataRefused("not a release manifest this version reads", got=tree.get("schema"), where=where)
    if normaliser.digest != tree.get("normaliser"):
        raise DataRefused("the statistics are not those of this release", got=short(normaliser.digest), where=where)
    return decode(Release, {**rest, "normaliser": to_json(normaliser)}, where=where)


def put_weights(ws: Workspace, files: Mapping[str, Path]) -> dict[str, str]:
    """Check that each file is safetensors and put it into the store; file name -> digest.

    Raises:
        WeightsRefused: anything but safetensors, whatever it is called.
    """
    for name, path in files.items():
        Name(name)
        check_weights(path)
    return {name: ws.store.put_file(path) for name, path in files.items()}


def check_weights(path: Path) -> tuple[str, ...]:
    """Tensor names of a safetensors file; nothing is unpickled or executed.

    Raises:
        WeightsRefused: not a whole, well-formed safetensors file.
    """
    if not path.is_file():
        raise NotFound("no such weights file", where=path)
    try:
        with safe_open(path, framework="numpy") as file:
            names = tuple(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsRefused(
            "these weights are not safetensors", got=error, where=path, hint="save them with safetensors; no pickles"
        ) from error
    if not names:
        raise WeightsRefused("these weights hold no tensor", where=path)
    return names


def register(ws: Workspace, release: Release, *, name: str, inputs: Sequence[Ref] = ()) -> Ref:
    """Put a release's manifest into the store and record ``release.registered``.

    Args:
        ws: the workspace; the weights must be in its store (:func:`put_weights`).
        release: the executable identity.
        name: what people call it; the same name may later stand for another release, the digest never does.
        inputs: what it came from besides weights, statistics and dataset: the training run.

    Raises:
        WeightsRefused: weights that are not in the store or not safetensors.
        DataRefused: a release that contradicts itself.
    """
    release.check()
    refs = []
    for file, digest in sorted(release.weights.items()):
        if not ws.store.has(digest):
            raise WeightsRefused(
                "weights that are not in the store", got=short(digest), where=f"release:weights:{file}"
            )
        check_weights(ws.store.local(digest))
        refs.append(Ref("weights", digest, file))
    refs.append(Ref("normaliser", ws.put_json(to_json(release.normaliser))))
    if release.dataset:
        refs.append(Ref("dataset", release.dataset))
    stored = ws.put_json(release.manifest())
    assert stored == release.digest, "a manifest is named by its canonical JSON"
    ref = Ref("release", stored, Name(name))
    body = {"release": stored, "name": name, "policy": release.policy, "parent": release.parent}
    ws.record("release.registered", body=body, inputs=(*refs, *inputs), outputs=(ref,), name=name)
    return ref


def load(ws: Workspace, digest: str) -> Release:
    """A registered release, verified against its digest.

    Raises:
        NotFound: the store has no such object.
        DataRefused: the object is no release manifest.
    """
    try:
        tree = json.loads(ws.store.get(digest))
    except ValueError as error:
        raise DataRefused("not a release manifest", where=short(digest)) from error
    if not isinstance(tree, dict) or not is_digest(tree.get("normaliser")):
        raise DataRefused("not a release manifest", where=short(digest))
    statistics = Normaliser.from_bytes(ws.store.get(tree["normaliser"]), where=short(tree["normaliser"]))
    return from_manifest(tree, statistics, where=short(digest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line in which two releases differ."""

    line: str
    """``normaliser.observation.environment_state.mean[3]``."""
    before: str | float | bool | None
    """``None``: the line is absent there."""
    after: str | float | bool | None

    @property
    def field(self) -> str:
        """The release field it belongs to."""
        return self.line.split(".")[0].split("[")[0]

    def __str__(self) -> str:
        return f"{self.line}: {_shown(self.before)} → {_shown(self.after)}"


def _shown(value: str | float | bool | None) -> str:
    if value is None:
        return "(absent)"
    if isinstance(value, float):
        return f"{value:.6g}"
    return short(value) if isinstance(value, str) and len(value) == 64 else str(value)


def diff(a: Release, b: Release) -> list[Change]:
    """Every line in which two releases differ, down to single statistics and units; empty only for one identity."""
    left, right = dict(_lines(a)), dict(_lines(b))
    keys = [*left, *(k for k in right if k not in left)]
    changes = [
        Change(line=k, before=left.get(k), after=right.get(k))
        for k in keys
        if canonical([left.get(k)]) != canonical([right.get(k)])  # 1.0 == True in Python, not in a manifest
    ]
    assert bool(changes) == (a.digest != b.digest)
    return changes


def _lines(release: Release) -> Iterator[tuple[str, str | float | bool | None]]:
    tree = release.manifest()
    tree["normaliser"] = {name: to_json(s) for name, s in release.normaliser.streams.items()}
    tree["observation"] = {s.pop("name"): s for s in tree["observation"]} | {
        "order": [s.name for s in release.observation]
    }
    for key, value in tree.items():
        if key != "schema":
            yield from _flatten(key, value)


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, str | float | bool | None]]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _flatten(f"{prefix}.{key}", value[key])
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _flatten(f"{prefix}[{i}]", item)
    else:
        yield prefix, value
