"""Judge anyone's predictions: a folder with the manifest ``rollouts.json`` stands in for a world model.

Two steps. :func:`write_tasks` cuts the windows that a gap would judge and writes their contexts and actions, with
digests, to a folder. Whoever has a model fills a folder with predictions; :func:`read` wraps it as a
:class:`RecordedModel`, and :func:`worldgate.evidence.gap.gap` judges it as any other. A prediction is found by the
digests of its context and actions alone: one made from another context or other actions is not used, and its absence
refuses.

``rollouts.json`` (schema ``worldgate/rollouts/1``)::

    {"schema": "worldgate/rollouts/1",
     "model": {a model spec: family, digest, normaliser, rate_hz, context, states, cameras, action, dataset},
     "format": "files" or "lerobot",
     "rollouts": [{"context": SHA-256, "actions": SHA-256,
                   "states": "r0.parquet", "frames": {"observation.images.front": "r0.mp4"},    format files
                   "episode_index": 0}]}                                                        format lerobot

``files``: a parquet file holds one list column per state stream, one row a step; an mp4 holds one frame a step; of a
camera of depth or class ids an npy file holds (K, H, W) metres or ids at the size that the model says.
``lerobot``: a LeRobot v3.0 dataset in the same folder; episode ``episode_index`` is the prediction, one row a step; it
holds colour alone.
Row 1 is one step after the context. Digests: :meth:`worldgate.core.worlds.Prompt.digest` and
:func:`worldgate.core.digest.digest_array` of the float32 actions; ``tasks.json`` tells both, so nobody has to compute
them.

Shape legend: B samples (1 here), K steps ahead, D state channels, A action channels, H x W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldgate.core.atomic import atomic_dir
from worldgate.core.config import decode
from worldgate.core.digest import canonical, digest_array, sha256
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, NotFound, UsageError
from worldgate.core.streams import Array, ByteArray, FloatArray, Kind, Log
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt, Signal
from worldgate.data import clips
from worldgate.data.logs import lerobot
from worldgate.evidence.gap import Progress, gap
from worldgate.evidence.gap_report import GapConfig, GapReport
from worldgate.evidence.windows import FrameReader

SCHEMA = "worldgate/rollouts/1"
TASKS_SCHEMA = "worldgate/rollout-tasks/1"
MANIFEST = "rollouts.json"
_MEASURED = frozenset({Kind.DEPTH, Kind.SEGMENTATION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One prediction of the manifest."""

    context: str
    """Digest of the prompt it was made from."""
    actions: str
    """Digest of the actions it was made under."""
    states: str = ""
    """Parquet file, relative to the folder."""
    frames: Mapping[str, str] = field(default_factory=dict)
    """Camera -> mp4 or npy file, relative to the folder."""
    episode_index: int = -1
    """Of a LeRobot dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """``rollouts.json``."""

    schema: str
    model: ModelSpec
    format: str = "files"
    rollouts: tuple[Entry, ...]


class RecordedModel:
    """Predictions in a folder, as a world model; made by :func:`read`."""

    capabilities = frozenset({Capability.ACTIONS, Capability.STATE, Capability.FRAMES})

    def __init__(self, folder: Path, manifest: Manifest, digest: str, logs: Mapping[int, Log]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.digest = digest
        """Of the manifest's bytes."""
        self._logs = logs
        self._entries = {(e.context, e.actions): e for e in manifest.rollouts}
        if len(self._entries) < len(manifest.rollouts):
            raise DataRefused("two predictions for one context and actions", where=folder / MANIFEST)

    @property
    def spec(self) -> ModelSpec:
        """As the manifest tells it."""
        return self.manifest.model

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> RecordedUnrolling:
        """Start from a context; the seed has no meaning here.

        Raises:
            UsageError: more than one sample.
        """
        if samples != 1:
            raise UsageError("a folder holds one prediction a window", got=f"{samples} samples")
        return RecordedUnrolling(self, prompt.digest(), prompt.source)

    def find(self, context: str, actions: str, source: str) -> Entry:
        """The prediction for these digests.

        Raises:
            DataRefused: none: it is missing, or was made from another context or other actions.
        """
        entry = self._entries.get((context, actions))
        if entry is None:
            same = any(e.context == context for e in self.manifest.rollouts)
            what = "these predictions were made under other actions" if same else "no prediction from this context"
            raise DataRefused(
                what,
                got=source,
                where=self.folder / MANIFEST,
                hint="predict every task as written, or switch the control off",
            )
        return entry

    def load(self, entry: Entry, steps: int) -> Frame:
        """Read one prediction and refuse what does not fit the spec."""
        if self.manifest.format == "lerobot":
            return self._from_log(entry, steps)
        states = {s.name: self._states(entry, s.name, steps) for s in self.spec.states}
        frames = {c.name: self._frames(entry, c, steps) for c in self.spec.cameras}
        return Frame(states=states, frames=frames)

    def _states(self, entry: Entry, stream: str, steps: int) -> FloatArray:
        path = self._path(entry.states)
        try:
            column = pq.read_table(path, columns=[stream]).column(stream).to_pylist()
            values = np.array(column, dtype=np.float64)
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
            raise DataRefused("states that cannot be read", got=str(error)[:80], where=path) from error
        return self._fit(values.reshape(len(values), -1), steps, path)

    def _frames(self, entry: Entry, camera: Signal, steps: int) -> Array:
        if camera.name not in entry.frames:
            raise DataRefused("no pictures for a camera", got=camera.name, where=self.folder / MANIFEST)
        path, size = self._path(entry.frames[camera.name]), (camera.shape[0], camera.shape[1])
        read = self._measured if camera.kind in _MEASURED else self._video
        return read(path, size, steps)

    def _measured(self, path: Path, size: tuple[int, int], steps: int) -> Array:
        """Depth or class ids."""
        try:
            found = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise DataRefused("pictures that cannot be read", got=str(error)[:80], where=path) from error
        if found.ndim != 3 or found.shape[1:] != size or found.dtype.kind not in "fiu":
            raise DataRefused("pictures of another form", got=f"{found.shape} {found.dtype}", where=path)
        if len(found) < steps:
            raise DataRefused("a prediction that ends too early", got=f"{len(found)} of {steps} frames", where=path)
        return np.asarray(found[None, :steps])

    def _video(self, path: Path, size: tuple[int, int], steps: int) -> ByteArray:
        try:
            with av.open(str(path)) as container:
                found = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        except (av.FFmpegError, OSError, IndexError) as error:
            raise DataRefused("a video that cannot be read", got=str(error)[:80], where=path) from error
        return self._resized(np.stack(found) if found else np.zeros((0, 1, 1, 3), np.uint8), size, steps, path)

    def _from_log(self, entry: Entry, steps: int) -> Frame:
        log = self._logs.get(entry.episode_index)
        if log is None:
            raise DataRefused("no such episode", got=entry.episode_index, where=self.folder)
        states = {
            s.name: self._fit(log.read(s.name).array.astype(np.float64), steps, log.name) for s in self.spec.states
        }
        frames: dict[str, ByteArray] = {}
        for camera in self.spec.cameras:
            if camera.kind in _MEASURED:
                raise DataRefused(
                    "a LeRobot dataset of predictions holds colour alone",
                    got=f"{camera.name}, {camera.kind.value}",
                    where=self.folder / MANIFEST,
                    hint='format "files" takes it as an npy file',
                )
            held = log.read(camera.name).frames
            video = held.read(np.arange(len(held), dtype=np.int64))
            frames[camera.name] = self._resized(video, (camera.shape[0], camera.shape[1]), steps, log.name)
        return Frame(states=states, frames=frames)

    def _fit(self, values_KD: FloatArray, steps: int, where: object) -> FloatArray:
        if len(values_KD) < steps:
            raise DataRefused("a prediction that ends too early", got=f"{len(values_KD)} of {steps} steps", where=where)
        out: FloatArray = values_KD[None, :steps]
        return out

    def _resized(self, video: ByteArray, size: tuple[int, int], steps: int, where: object) -> ByteArray:
        if len(video) < steps:
            raise DataRefused("a prediction that ends too early", got=f"{len(video)} of {steps} frames", where=where)
        height, width = size
        clip = [
            f if f.shape[:2] == size else cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in video
        ]
        return np.stack(clip[:steps])[None].astype(np.uint8)

    def _path(self, name: str) -> Path:
        """A file inside the folder.

        Raises:
            DataRefused: a name that leaves it, or no such file.
        """
        parts = PurePosixPath(name)
        inside = bool(name) and "\0" not in name and not parts.is_absolute() and ".." not in parts.parts
        path = self.folder / name if inside else self.folder
        if not inside or not path.resolve().is_relative_to(self.folder.resolve()) or not path.is_file():
            raise DataRefused("no such file inside the folder", got=ascii(name)[:80], where=self.folder / MANIFEST)
        return path


@dataclass(slots=True)
class RecordedUnrolling:
    """One window of a :class:`RecordedModel`."""

    model: RecordedModel
    context: str
    source: str

    def step(self, actions_BKA: FloatArray | None) -> Frame:
        """The whole prediction at once.

        Raises:
            DataRefused: no prediction for this context under these actions.
        """
        actions_KA = np.zeros((0, 0), np.float32) if actions_BKA is None else actions_BKA[0]
        entry = self.model.find(self.context, _actions_digest(actions_KA), self.source)
        return self.model.load(entry, len(actions_KA))


def _actions_digest(actions_KA: FloatArray) -> str:
    return digest_array(np.ascontiguousarray(actions_KA, dtype=np.float32))


def read(folder: Path) -> RecordedModel:
    """Open a folder of predictions.

    Raises:
        NotFound: no ``rollouts.json`` there.
        DataRefused: a manifest that cannot be read, names one window twice, or a LeRobot dataset that does not open.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFound("no manifest of predictions", where=path, hint="worldgate gap --tasks FOLDER")
    data = path.read_bytes()
    try:
        tree = json.loads(data)
    except ValueError as error:
        raise DataRefused("a manifest that is not JSON", got=str(error)[:80], where=path) from error
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        raise DataRefused("not a manifest this version reads", got=SCHEMA, where=path)
    manifest = decode(Manifest, tree, where=str(path))
    if manifest.format not in {"files", "lerobot"}:
        raise DataRefused("format is files or lerobot", got=manifest.format, where=path)
    logs: dict[int, Log] = {}
    if manifest.format == "lerobot":
        opened = lerobot.open_logs(folder).logs
        logs = {log.episode_index: log for log in opened if isinstance(log, lerobot.LeRobotLog)}
    return RecordedModel(folder, manifest, sha256(data), logs)


class _Cutter:
    """A world model that predicts nothing and notes what it was asked."""

    capabilities = frozenset({Capability.ACTIONS, Capability.STATE, Capability.FRAMES})

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.asked: list[tuple[Prompt, FloatArray]] = []

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> _Cut:
        return _Cut(self, prompt)


@dataclass(slots=True)
class _Cut:
    cutter: _Cutter
    prompt: Prompt

    def step(self, actions_BKA: FloatArray | None) -> Frame:
        assert actions_BKA is not None
        self.cutter.asked.append((self.prompt, actions_BKA[0]))
        steps = actions_BKA.shape[1]
        states = {k: np.repeat(v[-1:], steps, axis=0)[None] for k, v in self.prompt.states.items()}
        frames = {k: np.repeat(v[-1:], steps, axis=0)[None] for k, v in self.prompt.frames.items()}
        return Frame(states=states, frames=frames)


def write_tasks(
    folder: Path,
    spec: ModelSpec,
    episodes: Sequence[Episode],
    config: GapConfig | None = None,
    *,
    read_frames: FrameReader = clips.pictures,
) -> int:
    """Write every window that :func:`judge` will ask for; returns how many.

    Makes ``tasks.json`` (spec, and for each window its file and both digests) and one ``.npz`` a window with
    ``actions`` (K, A), and under ``state:NAME`` (T, D) and ``frames:NAME`` (T, H, W, 3), or (T, H, W) of depth and
    class ids, the context, oldest first.

    Raises:
        AlreadyExists: the folder exists.
    """
    cutter = _Cutter(spec)
    gap(cutter, episodes, config, read_frames=read_frames)
    with atomic_dir(folder) as made:
        rows = []
        for number, (prompt, actions) in enumerate(cutter.asked):
            name = f"task_{number:05d}.npz"
            arrays = {f"state:{k}": v for k, v in prompt.states.items()}
            arrays |= {f"frames:{k}": np.asarray(v) for k, v in prompt.frames.items()}
            if prompt.actions is not None:
                arrays["context_actions"] = prompt.actions
            np.savez(made / name, actions=actions, allow_pickle=False, **arrays)
            rows.append({"file": name, "context": prompt.digest(), "actions": _actions_digest(actions)})
        (made / "tasks.json").write_bytes(canonical({"schema": TASKS_SCHEMA, "model": spec, "tasks": rows}))
    return len(cutter.asked)


def judge(
    folder: Path,
    episodes: Sequence[Episode],
    config: GapConfig | None = None,
    progress: Progress | None = None,
    *,
    dataset: str = "",
    read_frames: FrameReader = clips.pictures,
) -> GapReport:
    """The gap of a folder of predictions; the report names the manifest's digest.

    Raises:
        DataRefused: predictions that are missing, were made from another context or other actions, or do not fit.
    """
    model = read(folder)
    return gap(model, episodes, config, progress, dataset=dataset, predictions=model.digest, read_frames=read_frames)
