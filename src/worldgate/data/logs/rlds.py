"""RLDS episodes in TFDS folders (Open X-Embodiment, BridgeData V2): TFRecord files beside ``features.json``.

Source: https://github.com/google-research/rlds, https://www.tensorflow.org/datasets. Nested features are flat keys
such as ``steps/observation/state`` whose lists run over all steps. RLDS holds no capture times: times are the step
index over the dataset's control rate where it is known (``_RATES``), else over 10 Hz; the fact ``rate_source`` says
which. JPEG bytes stay encoded until read. Flags such as ``has_image_2`` become facts and drop nothing: in the bridge
sample they are false for cameras that hold real pictures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from worldgate.core.errors import LogUnreadable, NotFound
from worldgate.core.streams import Array, Finding, IntArray, Kind, LogFolder, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.data.logs import _tfrecord as tfrecord
from worldgate.data.logs._images import Encoded, EncodedFrames
from worldgate.data.logs._paths import files_of_parts

CARD = {
    "line": "RLDS episodes in TFDS folders: TFRecord files beside features.json, one log an episode",
    "inputs": "a folder with features.json and *.tfrecord* files",
    "source": "https://github.com/google-research/rlds",
}

_RATES: Final = {"bridge": 5.0, "bridge_dataset": 5.0, "droid": 15.0, "droid_100": 15.0, "fractal20220817_data": 3.0}
"""Control rates in Hz as the datasets' papers state them."""
_ASSUMED_HZ: Final = 10.0
_FILE: Final = re.compile(r"(?P<name>.+)-(?P<split>[^-]+)\.tfrecord(-\d+-of-\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    """One feature of a step."""

    key: str
    """Flat key in the record: ``steps/observation/state``."""
    name: str
    """Stream name: ``observation.state``."""
    kind: Kind
    shape: tuple[int, ...]
    """Of one step; -1 where a dimension is open."""
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dataset:
    """What a TFDS folder says of itself."""

    root: Path
    name: str
    steps: tuple[_Leaf, ...]
    metadata: tuple[str, ...]
    """Flat keys of one value an episode."""
    shards: Mapping[str, int]
    """Episodes by split, as ``dataset_info.json`` counts them."""

    @property
    def rate(self) -> tuple[float, str]:
        """Rate in Hz and where it comes from."""
        known = _RATES.get(self.name)
        if known is not None:
            return known, f"control rate of {self.name}; RLDS holds no times"
        return _ASSUMED_HZ, f"assumed {_ASSUMED_HZ:g} Hz; RLDS holds no times"


class RldsLog:
    """One episode; its record is parsed when first needed."""

    origin = Origin.REAL
    findings: tuple[Finding, ...] = ()

    def __init__(self, dataset: _Dataset, file: Path, span: tfrecord.Span, *, name: str) -> None:
        self.name = name
        self._dataset = dataset
        self._file = file
        self._span = span

    @cached_property
    def _features(self) -> Any:
        return tfrecord.read(self._file, self._span).features.feature

    def _list(self, key: str) -> Any:
        if key not in self._features:
            return ()
        which = self._features[key].WhichOneof("kind")
        return () if which is None else getattr(self._features[key], which).value

    @cached_property
    def _leaves(self) -> Mapping[str, _Leaf]:
        """Step features that this episode holds."""
        held = {leaf.name: leaf for leaf in self._dataset.steps if leaf.key in self._features}
        if not held:
            raise LogUnreadable("a record without any feature that features.json names", where=self._where)
        return held

    @cached_property
    def _length(self) -> int:
        lengths = {}
        for leaf in self._leaves.values():
            if -1 not in leaf.shape:
                values, each = len(self._list(leaf.key)), _values_a_step(leaf)
                lengths[leaf.key] = values / each
        if len(set(lengths.values())) != 1:
            got = ", ".join(f"{key} {n:g}" for key, n in lengths.items()) or "no steps"
            raise LogUnreadable("features of one episode differ in length", got=got[:200], where=self._where)
        return int(next(iter(lengths.values())))

    @property
    def _where(self) -> str:
        return f"{self._file}:{self.name}"

    @cached_property
    def facts(self) -> Mapping[str, str | float | bool]:
        """Task, episode metadata, and where the rate comes from."""
        out: dict[str, str | float | bool] = {"rate_source": self._dataset.rate[1]}
        for key in self._dataset.metadata:
            values = self._list(key)
            if len(values) == 1:
                value = values[0]
                out[key.rpartition("/")[2]] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        texts = self._list("steps/language_instruction") or self._list("steps/observation/natural_language_instruction")
        out["task"] = texts[0].decode("utf-8", "replace") if texts else ""
        return out

    def streams(self) -> tuple[StreamInfo, ...]:
        """One stream a step feature that this episode holds."""
        return tuple(self._info(leaf) for leaf in self._leaves.values())

    def _info(self, leaf: _Leaf) -> StreamInfo:
        shape = leaf.shape
        if leaf.kind in {Kind.VECTOR, Kind.ACTION}:
            shape = self._numbers(leaf).shape[1:]
        return StreamInfo(
            name=leaf.name,
            kind=leaf.kind,
            count=self._length,
            shape=shape,
            clock="frame",
            rate_hz=self._dataset.rate[0],
            topic=leaf.key,
        )

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        """Read one stream, whole or within the half-open window.

        Raises:
            NotFound: no such stream.
            LogUnreadable: a record that does not fit ``features.json``.
        """
        leaf = self._leaves.get(stream)
        if leaf is None:
            hint = f"one of {', '.join(self._leaves)}"
            raise NotFound("no such stream", got=stream, where=self.name, hint=hint)
        steps = np.arange(self._length, dtype=np.int64)
        times_ns = np.rint(steps * SECOND / self._dataset.rate[0]).astype(np.int64)
        if window_ns is not None:
            steps = steps[(times_ns >= window_ns[0]) & (times_ns < window_ns[1])]
        return Stream(info=self._info(leaf), times_ns=times_ns[steps], values=self._values(leaf, steps))

    def _values(self, leaf: _Leaf, steps: IntArray) -> Array | EncodedFrames:
        if leaf.kind is Kind.IMAGE:

            def fetch(indices: IntArray) -> Any:
                images = self._list(leaf.key)
                for i in steps[indices]:
                    data = bytes(images[int(i)])
                    yield Encoded(data=data, format="png" if data.startswith(b"\x89PNG") else "jpeg")

            return EncodedFrames(fetch=fetch, count=len(steps), where=f"{self._where}:{leaf.name}")
        if leaf.kind is Kind.TEXT:
            texts = self._list(leaf.key)
            out = np.empty(len(steps), dtype=object)
            out[:] = [texts[int(i)].decode("utf-8", "replace") for i in steps]
            return out
        return self._numbers(leaf)[steps]

    def _numbers(self, leaf: _Leaf) -> Array:
        """(N, D...) numbers of a feature; an open dimension is what the values leave."""
        try:
            flat = np.array(self._list(leaf.key), dtype=leaf.dtype)
            return flat.reshape(self._length, *(leaf.shape or (1,)))
        except (ValueError, TypeError) as error:
            got = f"{len(self._list(leaf.key))} values for {self._length} steps of {leaf.shape}"
            raise LogUnreadable("a feature that does not fit features.json", got=got, where=self._where) from error


def _values_a_step(leaf: _Leaf) -> int:
    return 1 if leaf.kind in {Kind.IMAGE, Kind.TEXT} else int(np.prod(leaf.shape, dtype=np.int64))


# -------------------------------------------------------------------- features.json


def _read_dataset(root: Path) -> _Dataset:
    tree, info = _read_json(root / "features.json"), {}
    if (root / "dataset_info.json").is_file():
        info = _read_json(root / "dataset_info.json")
    steps: list[_Leaf] = []
    metadata: list[str] = []
    try:
        for key, feature in tree["featuresDict"]["features"].items():
            if "sequence" in feature:
                steps += _walk(feature["sequence"]["feature"], str(key), "")
            else:
                metadata += [leaf.key for leaf in _walk(feature, str(key), str(key))]
        shards = {s["name"]: sum(int(n) for n in s.get("shardLengths", ())) for s in info.get("splits", ())}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise LogUnreadable(
            "a TFDS description that does not follow its schema", got=repr(error), where=root
        ) from error
    if not steps:
        raise LogUnreadable("features.json names no steps", where=root)
    name = str(info.get("name", root.parent.name))
    return _Dataset(root=root, name=name, steps=tuple(steps), metadata=tuple(metadata), shards=shards)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LogUnreadable("a TFDS description that cannot be read", got=str(error)[:80], where=path) from error
    if not isinstance(tree, dict):
        raise LogUnreadable("a TFDS description that is not an object", where=path)
    return tree


def _walk(feature: Mapping[str, Any], key: str, name: str) -> list[_Leaf]:
    """Leaves below a feature."""
    if "featuresDict" in feature:
        out = []
        for child, inner in feature["featuresDict"]["features"].items():
            out += _walk(inner, f"{key}/{child}", f"{name}.{child}" if name else str(child))
        return out
    if "image" in feature:
        last = name.rpartition(".")[2]
        shape = _shape(feature["image"])
        return [_Leaf(key=key, name=f"observation.images.{last}", kind=Kind.IMAGE, shape=shape, dtype="uint8")]
    if "text" in feature:
        return [_Leaf(key=key, name=name, kind=Kind.TEXT, shape=(), dtype="")]
    if "tensor" in feature:
        dtype = str(feature["tensor"]["dtype"])
        if dtype == "string":
            return [_Leaf(key=key, name=name, kind=Kind.TEXT, shape=(), dtype="")]
        kind = Kind.ACTION if name.split(".")[0] == "action" else Kind.VECTOR
        number = np.dtype("uint8" if dtype == "bool" else dtype).name
        return [_Leaf(key=key, name=name, kind=kind, shape=_shape(feature["tensor"]), dtype=number)]
    return []


def _shape(feature: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(n) for n in feature.get("shape", {}).get("dimensions", ()))


# -------------------------------------------------------------------- the folder


def _roots(path: Path) -> list[Path]:
    if path.is_file():
        return [path.parent] if ".tfrecord" in path.name else []
    return sorted(p.parent for p in path.rglob("features.json") if next(p.parent.glob("*.tfrecord*"), None))


def detect(path: Path) -> bool:
    """A ``.tfrecord`` file, or a folder with ``features.json`` beside some, itself or below it."""
    return bool(_roots(path))


def open_logs(path: Path) -> LogFolder:
    """Open every episode of the TFDS folders below a path, checking every CRC.

    Raises:
        NotFound: none there.
        LogUnreadable: a folder without a usable ``features.json``, or without one whole record.
    """
    logs: list[RldsLog] = []
    findings: list[Finding] = []
    roots = _roots(path)
    for root in roots:
        dataset = _read_dataset(root)
        files = [path] if path.is_file() else sorted(root.glob("*.tfrecord*"))
        counts: dict[str, int] = {}
        for file in files:
            match = _FILE.fullmatch(file.name)
            split = match["split"] if match else file.name
            for span in tfrecord.scan(file):
                if span.problem:
                    findings.append(_lost(file, span))
                    continue
                number = counts.get(split, 0)
                counts[split] = number + 1
                prefix = "" if len(roots) == 1 else f"{root.relative_to(path).as_posix()}/"
                logs.append(RldsLog(dataset, file, span, name=f"{prefix}{split}/episode_{number:06d}"))
        findings += _compare(counts, dataset.shards) if path.is_dir() else []
    if not logs:
        if findings:
            raise LogUnreadable("no whole record in these TFRecord files", got=findings[0].message, where=path)
        raise NotFound("no features.json beside *.tfrecord* in this folder", where=path)
    return LogFolder(path=path, format="rlds", logs=tuple(logs), findings=tuple(findings))


def units(path: Path) -> list[tuple[Path, ...]]:
    """The files of the dataset of each episode: records stand many in a file, under one ``features.json``."""
    roots = _roots(path)
    if len(roots) < 2:
        return []
    spans = {root: [s for file in sorted(root.glob("*.tfrecord*")) for s in tfrecord.scan(file)] for root in roots}
    return files_of_parts({root: sum(not span.problem for span in found) for root, found in spans.items()})


def _lost(file: Path, span: tfrecord.Span) -> Finding:
    return Finding(
        check="data_lost",
        stream="",
        message=f"{file.name}: {span.problem} at byte {span.offset}; {span.size} bytes lost",
        value=float(span.size),
        limit=0.0,
        unit="bytes",
    )


def _compare(read: Mapping[str, int], stated: Mapping[str, int]) -> list[Finding]:
    return [
        Finding(
            check="count_mismatch",
            stream="",
            message=f"split {split}: {read.get(split, 0)} episodes are present, the metadata describes {count}",
            value=float(read.get(split, 0)),
            limit=float(count),
            unit="episodes",
        )
        for split, count in stated.items()
        if read.get(split, 0) != count
    ]
