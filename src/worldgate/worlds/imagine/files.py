"""Rollouts as files: mp4, parquet, LeRobot v3.0 and MCAP, each saying that it is imagined and by which model.

Videos carry the word in every frame's pixels; parquet in a column and the schema; LeRobot in its facts; MCAP by the
topics ``/imagined/*`` beside the recorded ones.

Shape legend: B samples, K steps, T rows, D channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from safetensors.numpy import save_file

from worldgate.core.atomic import atomic_path
from worldgate.core.episodes import Episode, Rows
from worldgate.core.errors import UsageError
from worldgate.core.streams import NUMERIC, Array, ByteArray, IntArray, Kind, Origin, Stream, StreamInfo
from worldgate.core.times import SECOND
from worldgate.core.worlds import ModelSpec, Rollout, Signal
from worldgate.data.logs.lerobot import LeRobotWriter
from worldgate.data.logs.mcap import write_log
from worldgate.worlds.imagine.marks import burn

_APART = 37
"""Between the places of neighbouring class ids on the scale of colours."""
_PICTURE = 256
"""Least height of an mp4, pixels."""


def facts(rollout: Rollout) -> dict[str, str | float | bool]:
    """What every file says of a rollout."""
    return {
        "origin": rollout.origin.value,
        "model": rollout.model,
        "prompt": rollout.prompt,
        "seed": float(rollout.seed),
        "source": rollout.source,
        "rate_hz": rollout.rate_hz,
    }


def write_video(path: Path, rollout: Rollout, *, sample: int = 0) -> Path:
    """Write one sample's cameras side by side as H.264, enlarged to at least 256 pixels, the word in every frame.

    Raises:
        UsageError: a rollout without frames.
        AlreadyExists: the file exists.
    """
    if not rollout.frame.frames:
        raise UsageError("this rollout holds no frames", got=rollout.model[:12], hint="a family with frames, as conv")
    views = [enlarged(shown(frames[sample])) for _, frames in sorted(rollout.frame.frames.items())]
    comment = "; ".join(f"{k}={v}" for k, v in facts(rollout).items())
    return write_mp4(path, burn(np.concatenate(views, axis=2)), rollout.rate_hz, comment)


def write_mp4(path: Path, strip: ByteArray, rate_hz: float, comment: str) -> Path:
    """Write pictures (K, H, W, 3), H and W even, as H.264.

    Raises:
        AlreadyExists: the file exists.
    """
    with atomic_path(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        container.metadata["comment"] = comment
        rate = Fraction(rate_hz).limit_denominator(1001)
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "veryfast"})
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = strip.shape[1], strip.shape[2], "yuv420p"
        for picture in strip:
            container.mux(stream.encode(VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def shown(pictures_KHW: Array) -> ByteArray:
    """(K, H, W, 3) uint8 of pictures of any kind: colour as it is, depth from near to far, each class in a colour."""
    if pictures_KHW.ndim == 4:
        return np.asarray(pictures_KHW, np.uint8)
    if pictures_KHW.dtype.kind == "f":
        far = max(float(pictures_KHW.max()), 1e-6)
        grey = (255 * (1 - pictures_KHW / far) * (pictures_KHW > 0)).astype(np.uint8)
    else:
        grey = (pictures_KHW.astype(np.int64) * _APART % 256).astype(np.uint8)
    return np.stack([cv2.cvtColor(cv2.applyColorMap(g, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB) for g in grey])


def write_geometry(path: Path, rollout: Rollout) -> Path | None:
    """Write depth in metres and class ids as safetensors, camera -> (B, K, H, W); nothing where there are none.

    Raises:
        AlreadyExists: the file exists.
    """
    held = {name: np.ascontiguousarray(v) for name, v in rollout.frame.frames.items() if v.ndim == 4}
    if not held:
        return None
    with atomic_path(path) as partial:
        save_file(held, partial, metadata={key: str(value) for key, value in facts(rollout).items()})
    return path


def enlarged(frames_KHWC: ByteArray) -> ByteArray:
    """At least 256 pixels high."""
    times = max(1, -(-_PICTURE // frames_KHWC.shape[1]))
    side = (2 * (frames_KHWC.shape[2] * times // 2), 2 * (frames_KHWC.shape[1] * times // 2))
    return np.stack([cv2.resize(f, side, interpolation=cv2.INTER_NEAREST) for f in frames_KHWC])


def write_states(path: Path, rollout: Rollout, spec: ModelSpec) -> Path:
    """Write states, uncertainty and actions as parquet: one row a sample and step; ``origin`` in each row.

    Raises:
        AlreadyExists: the file exists.
    """
    samples = max([len(v) for v in rollout.frame.states.values()], default=1)
    steps = rollout.horizon
    columns: dict[str, pa.Array] = {
        "origin": pa.array([rollout.origin.value] * (samples * steps)).dictionary_encode(),
        "sample": pa.array(np.repeat(np.arange(samples), steps)),
        "step": pa.array(np.tile(np.arange(1, steps + 1), samples)),
        "time_s": pa.array(np.tile(np.arange(1, steps + 1) / rollout.rate_hz, samples)),
    }
    for signal in _told(spec):
        if signal.name in rollout.frame.states:
            columns[signal.name] = _lists(rollout.frame.states[signal.name])
        if signal.name in rollout.frame.uncertainty:
            columns[f"{signal.name}.std"] = _lists(rollout.frame.uncertainty[signal.name])
    if spec.action is not None and rollout.actions.shape[1]:
        columns[spec.action.name] = _lists(np.broadcast_to(rollout.actions, (samples, *rollout.actions.shape)))
    table = pa.table(columns)
    units = {f"unit.{s.name}": s.unit for s in (*_told(spec), *([spec.action] if spec.action else []))}
    about = {key: str(value) for key, value in (facts(rollout) | units).items()}
    with atomic_path(path) as partial:
        pq.write_table(table.replace_schema_metadata(about), partial)
    return path


def _told(spec: ModelSpec) -> tuple[Signal, ...]:
    """Every stream of numbers, what is read out among them, each once."""
    names = {s.name for s in spec.states}
    return (*spec.states, *(s for s in spec.reads if s.name not in names))


def _lists(values_BKD: Array) -> pa.Array:
    flat = np.ascontiguousarray(values_BKD, np.float32).reshape(-1, values_BKD.shape[-1])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


def write_lerobot(path: Path, rollouts: Sequence[Rollout], spec: ModelSpec, *, task: str = "imagined") -> Path:
    """Write rollouts as a LeRobot v3.0 dataset, one episode a sample; frames carry the word.

    Raises:
        UsageError: a rate that is no whole number, which LeRobot cannot hold.
        AlreadyExists: the folder exists.
    """
    rate = round(spec.rate_hz)
    if abs(rate - spec.rate_hz) > 1e-6:
        raise UsageError("LeRobot's rate is a whole number of frames a second", got=spec.rate_hz)
    infos = {s.name: _info(s, Kind.VECTOR, spec) for s in _told(spec)}
    acting = spec.action is not None and all(made.actions.shape[1] for made in rollouts)
    if spec.action is not None and acting:
        infos[spec.action.name] = _info(spec.action, Kind.ACTION, spec)
    with LeRobotWriter(path, fps=rate, robot_type="imagined", origin=Origin.IMAGINED) as writer:
        for made in rollouts:
            for b in range(_samples(made)):
                streams = {name: np.asarray(v[b], np.float32) for name, v in made.frame.states.items()}
                if spec.action is not None and acting:
                    streams[spec.action.name] = np.asarray(made.actions, np.float32)
                pictures = {name: burn(shown(frames[b])) for name, frames in made.frame.frames.items()}
                about = {**facts(made), "sample": float(b)}
                writer.add_episode(streams, pictures, task=task, infos=infos, facts=about)
    return path


def _samples(rollout: Rollout) -> int:
    parts = [*rollout.frame.states.values(), *rollout.frame.frames.values()]
    return len(parts[0]) if parts else 0


def write_mcap(path: Path, rollout: Rollout, spec: ModelSpec, episode: Episode, row: int, *, sample: int = 0) -> Path:
    """Write what was recorded around a rollout and, under ``/imagined/*``, what was imagined, on the same times.

    Args:
        path: the file to make.
        rollout: imagined from this episode at this row.
        spec: of the model, for names and units.
        episode: where the prompt was cut.
        row: the last known row.
        sample: which future.

    Raises:
        AlreadyExists: the file exists.
    """
    rows = np.arange(max(0, row - spec.context + 1), min(len(episode), row + rollout.horizon + 1))
    period = round(SECOND / episode.rate_hz)
    ahead = episode.times_ns[row] + period * np.arange(1, rollout.horizon + 1)
    known = [_recorded(held, rows, episode.times_ns) for held in episode.streams.values() if _kept(held)]
    write_log(
        path,
        known,
        origin=episode.origin,
        facts={**episode.facts, "imagined_by": rollout.model, "imagined_from": rollout.source},
        imagined=_imagined(rollout, spec, ahead.astype(np.int64), sample),
    )
    return path


def _kept(rows: Rows) -> bool:
    return rows.info.kind in NUMERIC or rows.info.kind is Kind.IMAGE


def _recorded(held: Rows, rows: IntArray, times_ns: IntArray) -> Stream:
    values = held.values[rows] if isinstance(held.values, np.ndarray) else held.values.read(rows)
    info = StreamInfo(
        name=held.info.name,
        kind=held.info.kind,
        count=len(rows),
        shape=tuple(values.shape[1:]),
        names=held.info.names,
        unit=held.info.unit,
        frame=held.info.frame,
    )
    return Stream(info=info, times_ns=times_ns[rows], values=values)


def _imagined(rollout: Rollout, spec: ModelSpec, times_ns: IntArray, sample: int) -> list[Stream]:
    signals: Mapping[str, Signal] = {s.name: s for s in (*_told(spec), *spec.cameras)}
    out = []
    for name, values in rollout.frame.states.items():
        info = _info(signals[name], Kind.VECTOR, spec)
        out.append(Stream(info=info, times_ns=times_ns, values=np.asarray(values[sample], np.float64)))
    for name, frames in rollout.frame.frames.items():
        info = replace(_info(signals[name], Kind.IMAGE, spec), shape=(*signals[name].shape[:2], 3))
        out.append(Stream(info=info, times_ns=times_ns, values=burn(shown(frames[sample]))))
    if spec.action is not None and rollout.actions.shape[1]:
        info = _info(spec.action, Kind.ACTION, spec)
        out.append(Stream(info=info, times_ns=times_ns - (times_ns[1:2] - times_ns[:1]).sum(), values=rollout.actions))
    return out


def _info(signal: Signal, kind: Kind, spec: ModelSpec) -> StreamInfo:
    return StreamInfo(
        name=signal.name,
        kind=kind,
        count=-1,
        shape=signal.shape,
        names=signal.names,
        unit=signal.unit,
        rate_hz=spec.rate_hz,
    )
