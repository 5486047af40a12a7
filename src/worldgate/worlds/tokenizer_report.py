"""What a tokenizer keeps of held-out episodes, at which rate and how fast: the report of ``worldgate world evaluate``.

Pictures: distortion of every camera at a fixed number of bits a frame, beside what the empty scene alone would give.
Motion: the error of every channel beside the tokens and bits of a second. Bounds are over episodes
(:mod:`worldgate.worlds.episode_figures`); figures that are no sums over episodes have none.

Shape legend: N clips, T frames, S pixels a side, E episodes, K sums, A channels, L codes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from worldgate.core.errors import CapabilityMissing, DataRefused
from worldgate.core.progress import Progress, silent
from worldgate.core.streams import FloatArray, IntArray, Origin
from worldgate.data import datasets
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.worlds import checkpoint
from worldgate.worlds.episode_figures import FIGURES, Figure, interval, sums
from worldgate.worlds.family import Trainable
from worldgate.worlds.nn.bottlenecks import Fsq
from worldgate.worlds.rates import codebook, decoded_at_rate
from worldgate.worlds.tokenizers._motion import MotionTokenizer
from worldgate.worlds.tokenizers._training import Reel, TrainedTokenizer
from worldgate.worlds.tracks import Track, make_tracks, runs
from worldgate.worlds.train import stage

_CLIP = 17
_AT_ONCE = 8
"""Clips encoded together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerReport:
    """What a tokenizer is worth on held-out episodes."""

    tokenizer: Ref
    family: str
    dataset: Ref
    split: str
    origins: tuple[Origin, ...]
    episodes: int
    rows: int
    """Rows judged, over all episodes."""
    figures: Mapping[str, Mapping[str, Figure]]
    """stream -> figure -> its value."""
    encode_hz: float
    """Pictures of all cameras, or rows of motion, a second on this machine, with the threads that torch has."""
    decode_hz: float
    unknown_places: tuple[str, ...] = ()
    """Episodes that no empty scene known to the tokenizer fits."""


class Judge(Protocol):
    """Adds up what episodes give."""

    rows: int
    items: int
    encoding_s: float
    decoding_s: float
    unknown: list[str]

    def add(self, track: Track) -> None:
        """Judge one episode."""
        ...

    def figures(self) -> dict[str, dict[str, Figure]]:
        """Of all of them, by stream."""
        ...


def evaluate(
    ws: Workspace,
    tokenizer: Ref,
    dataset: Ref,
    split: str = "val",
    *,
    frames: int = 0,
    progress: Progress = silent,
) -> TokenizerReport:
    """Measure a recorded tokenizer on one split of a dataset.

    Args:
        ws: the workspace.
        tokenizer: of kind ``tokenizer``.
        dataset: of kind ``dataset``.
        split: whose episodes judge it.
        frames: rows of a clip; where a latent holds four frames, one more than a multiple of four. 0: 17, or as many as
            the shortest episode allows.
        progress: called after every episode.

    Raises:
        NotFound: no such split, or an episode without a stream that the tokenizer was trained on.
        DataRefused: no clip without a gap.
        CapabilityMissing: a world model.
        UsageError: ``frames`` that do not divide into latents, or a class that the tokenizer never saw.
    """
    tree, model, _ = checkpoint.restore(stage.checkout(ws, tokenizer.digest), expect=tokenizer.digest)
    entries = datasets.manifest(ws, dataset.digest).split(split)
    shortest = min(entry.rows for entry in entries)
    judge = judge_of(model, str(tree["family"]), frames or 1 + min(_CLIP - 1, (shortest - 1) // 4 * 4))
    episodes = datasets.load(ws, dataset.digest, split)
    for done, episode in enumerate(episodes, start=1):
        judge.add(make_tracks([episode], model.layout)[0])
        progress(done, len(episodes), episode.name)
    return TokenizerReport(
        tokenizer=tokenizer,
        family=str(tree["family"]),
        dataset=dataset,
        split=split,
        origins=tuple(sorted({entry.origin for entry in entries})),
        episodes=len(episodes),
        rows=judge.rows,
        figures=judge.figures(),
        encode_hz=judge.items / max(judge.encoding_s, 1e-9),
        decode_hz=judge.items / max(judge.decoding_s, 1e-9),
        unknown_places=tuple(judge.unknown),
    )


def judge_of(model: Trainable, family: str, frames: int = _CLIP) -> Judge:
    """What judges this kind of tokenizer.

    Raises:
        CapabilityMissing: a world model.
        UsageError: ``frames`` that do not divide into latents.
    """
    if isinstance(model, TrainedTokenizer):
        return PictureJudge(model, frames)
    if isinstance(model, MotionTokenizer):
        return MotionJudge(model)
    raise CapabilityMissing("this is no tokenizer", got=family, hint="worldgate gap measures world models")


class PictureJudge:
    """Adds up distortion of clips that are laid end to end and never across a gap."""

    def __init__(self, model: TrainedTokenizer, frames: int) -> None:
        self.model, self.tokenizer, self.length = model, model.tokenizer, frames
        self.tokenizer.train(False)
        self.tokenizer.latents(frames)  # refuses what does not divide
        self.sums: dict[str, list[FloatArray]] = {camera: [] for camera in self.tokenizer.cameras}
        self.codes: dict[str, list[Tensor]] = {}
        self.bits: dict[str, float] = {}
        self.unknown: list[str] = []
        self.rows = self.items = 0
        self.encoding_s = self.decoding_s = 0.0

    @torch.inference_mode()
    def add(self, track: Track) -> None:
        """Judge one episode."""
        reel, kept = Reel([track]), list[int]()
        for start in reel.starts(self.length).tolist():
            if not kept or start >= kept[-1] + self.length:
                kept.append(start)
        scene, fits = self.model.scenes.find(track.frames)
        self.unknown += [] if fits else [track.id]
        parts: dict[str, list[FloatArray]] = {camera: [] for camera in self.sums}
        for first in range(0, len(kept), _AT_ONCE):
            clips = reel.clips(np.array(kept[first : first + _AT_ONCE], np.int64), self.length)
            for camera, found in self._judge(clips, scene).items():
                parts[camera].append(found)
        for camera, held in parts.items():
            if held:
                self.sums[camera].append(np.sum(held, axis=0))

    def _judge(self, clips: Mapping[str, Tensor], scene: Mapping[str, Tensor]) -> dict[str, FloatArray]:
        count = len(next(iter(clips.values())))
        scenes = {camera: held.expand(count, *held.shape) for camera, held in scene.items()}
        against = self.model.against(clips, scenes)
        begun = time.perf_counter()
        values = self.tokenizer.encode(clips, against)
        between = time.perf_counter()
        shown, bits = decoded_at_rate(self.tokenizer, values, against)
        self.decoding_s += time.perf_counter() - between
        self.encoding_s += between - begun
        self.rows += count * self.length
        self.items += count * self.length * len(clips)
        self._note(values, bits)
        return {camera: self._sums(camera, true, shown[camera], scenes[camera]) for camera, true in clips.items()}

    def _note(self, values: Mapping[str, Tensor], bits: Mapping[str, float]) -> None:
        """Keep rates and codes, which are no sums."""
        for camera, held in values.items():
            squeeze = self.tokenizer.part(camera).squeeze
            if isinstance(squeeze, Fsq):
                self.codes.setdefault(camera, []).append(squeeze.codes(held).flatten())
            self.bits[camera] = bits[camera] * held.shape[1] / self.length

    def _sums(self, camera: str, true: Tensor, shown: Tensor, scene: Tensor) -> FloatArray:
        kind, part = self.tokenizer.kind(camera), self.tokenizer.part(camera)
        plain = scene.unsqueeze(1).expand_as(true)
        return np.concatenate([sums(kind, p.numpy(), true.numpy(), part.looks.names()) for p in (shown, plain)])

    def figures(self) -> dict[str, dict[str, Figure]]:
        """Of every camera."""
        return {camera: self._figures(camera) for camera in self.tokenizer.cameras}

    def _figures(self, camera: str) -> dict[str, Figure]:
        if not self.sums[camera]:
            got, hint = f"under {self.length} rows in a row", "a smaller number of frames"
            raise DataRefused("no clip without a gap to judge", got=got, where=camera, hint=hint)
        sums_EK = np.stack(self.sums[camera])
        half = sums_EK.shape[1] // 2
        out: dict[str, Figure] = {}
        for name, (unit, of) in FIGURES[self.tokenizer.kind(camera)].items():
            plain = float(of(sums_EK[:, half:].sum(axis=0, keepdims=True))[0])
            out[name] = interval(of, sums_EK[:, :half], unit, baseline=plain)
        out["bits_per_frame"] = Figure(value=self.bits[camera], unit="bit")
        squeeze = self.tokenizer.part(camera).squeeze
        if isinstance(squeeze, Fsq):
            use = codebook(torch.cat(self.codes[camera]), squeeze.size)
            out["codes_used"] = Figure(value=use["codes_used"], unit="1")
            out["perplexity"] = Figure(value=use["perplexity"], unit="codes")
        return out


class MotionJudge:
    """Adds up errors of chunks laid end to end and never across a gap; a run's last chunk is held to its end."""

    def __init__(self, model: MotionTokenizer) -> None:
        self.model = model
        self.sums: list[FloatArray] = []
        self.codes: list[IntArray] = []
        self.unknown: list[str] = []
        self.rows = self.items = 0
        self.encoding_s = self.decoding_s = 0.0
        self.worst_A = np.zeros(model.width)

    def add(self, track: Track) -> None:
        """Judge one episode."""
        mine = [self._judge(track.actions_TA[first:last].astype(np.float64)) for first, last in runs(track.valid_T)]
        if mine:
            self.sums.append(np.sum(mine, axis=0))

    def _judge(self, motion_TA: FloatArray) -> FloatArray:
        """(2 A + 3,) squared errors, clipped numbers of each channel, rows, codes, rows with the last one held on."""
        model, chunks = self.model, self.model.chunks(motion_TA)
        begun = time.perf_counter()
        codes = [model.encode(chunk) for chunk in chunks]
        between = time.perf_counter()
        back_TA = np.concatenate([model.decode(held) for held in codes])[: len(motion_TA)]
        self.decoding_s += time.perf_counter() - between
        self.encoding_s += between - begun
        self.rows += len(motion_TA)
        self.items += sum(map(len, chunks))
        self.codes += codes
        apart_TA = np.abs(back_TA - motion_TA)
        self.worst_A = np.maximum(self.worst_A, apart_TA.max(axis=0))
        low, high = model.ends
        beyond_TA = (motion_TA < low) | (motion_TA > high)
        counts = [len(motion_TA), sum(map(len, codes)), sum(map(len, chunks))]
        return np.concatenate([(apart_TA**2).sum(axis=0), beyond_TA.sum(axis=0), np.array(counts, np.float64)])

    def figures(self) -> dict[str, dict[str, Figure]]:
        """Of the stream and of every channel."""
        model, signal = self.model, self.model.signal
        if not self.sums:
            raise DataRefused("no valid row to judge", got="gaps everywhere", where=signal.name)
        sums_EK, width, hz = np.stack(self.sums), model.width, model.layout.rate_hz
        low_A, high_A = model.ends
        reach_A = high_A - low_A
        moving = np.flatnonzero(reach_A > 0)
        bits = float(np.log2(model.vocabulary))

        def error(sums_BK: FloatArray) -> FloatArray:
            share = sums_BK[:, moving] / reach_A[moving] ** 2 / sums_BK[:, -3:-2]
            return np.asarray(np.sqrt(share.mean(axis=1)))

        def tokens(sums_BK: FloatArray) -> FloatArray:
            return np.asarray(sums_BK[:, -2] / sums_BK[:, -1] * hz)

        def clipped(sums_BK: FloatArray) -> FloatArray:
            return np.asarray(sums_BK[:, width : 2 * width].mean(axis=1) / sums_BK[:, -3])

        use = codebook(torch.from_numpy(np.concatenate(self.codes)), model.vocabulary)
        out: dict[str, dict[str, Figure]] = {
            signal.name: {
                "error_of_range": interval(error, sums_EK, "1"),
                "clipped": interval(clipped, sums_EK, "1"),
                "tokens_per_second": interval(tokens, sums_EK, "1/s"),
                "bits_per_second": interval(lambda sums_BK: bits * tokens(sums_BK), sums_EK, "bit/s"),
                "codes_used": Figure(value=use["codes_used"], unit="1"),
                "perplexity": Figure(value=use["perplexity"], unit="codes"),
            }
        }
        units = signal.unit.split(",") if "," in signal.unit else [signal.unit] * width
        for channel in range(width):
            name = signal.names[channel] if len(signal.names) == width else str(channel)
            unit = units[channel] if len(units) == width else signal.unit

            def rmse(sums_BK: FloatArray, channel: int = channel) -> FloatArray:
                return np.asarray(np.sqrt(sums_BK[:, channel] / sums_BK[:, -3]))

            worst = Figure(value=float(self.worst_A[channel]), unit=unit)
            out[f"{signal.name}.{name}"] = {"rmse": interval(rmse, sums_EK, unit), "worst": worst}
        return out
