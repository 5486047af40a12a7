"""How much of a picture is left at a given number of bits, for our tokenizers and for others at the same bits.

``.venv/bin/python benchmarks/tokenizer_rate.py [--quick] [--json] [--real FOLDER] [--cache FOLDER] [--seconds S]``.
Clips of the simulated cell (recorded, ingested and aligned by the product) and of real DROID episodes, 64 pixels a
side; training and held-out episodes are different ones. Everyone who learns gets the same clips, the same optimiser and
the same processor seconds on one thread (not wall-clock time, which a busy machine shares out unevenly), and is taken
at its best of three configurations; the learning curve stands in the result, and who still gained ``STARVED_DB`` in
the last quarter is called starved: a lead over it is no lead. A place of 8 x 8 pixels costs nine bits, for us and
for the learned peers; JPEG and H.264 search their settings for the least error within the same bits, and their
headers are not counted. Who sees one picture alone stands beside JPEG and H.264 of whole pictures, who sees a clip
beside H.264 of clips. A context is known to both sides and not counted: beside it stands H.264 whose first frame is
free and fine. Bounds: 5 % each side, bootstrap over held-out episodes.

Motion: error against tokens a second on actions of the cell, of DROID and of G1, uniform bins beside the transform, and
what the published quantiles (0.01, 0.99, no margin) would give. Every cell of the table is cached by the digest of its
data, code and settings; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import tokenizer_codecs as codecs
import tokenizer_models as peers

from worldgate.core.atomic import write_atomic
from worldgate.core.digest import digest_json, sha256
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import Kind
from worldgate.data import contracts, datasets
from worldgate.data.ingest import ingest
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim.record import RecordConfig, record
from worldgate.sim.sensing import SensorConfig
from worldgate.worlds import episode_figures, family
from worldgate.worlds.nn.autoencoders import ConvConfig
from worldgate.worlds.nn.bottlenecks import Fsq
from worldgate.worlds.rates import codebook
from worldgate.worlds.tokenizer_report import judge_of
from worldgate.worlds.tokenizers import bins, dct, fsq
from worldgate.worlds.tokenizers._motion import RangeConfig
from worldgate.worlds.tokenizers._training import Reel
from worldgate.worlds.tokenizers._video import Context, VideoConfig
from worldgate.worlds.tracks import Inputs, Track, make_tracks, resolve_layout

SIZE, CLIP, BATCH, LEARNED = 64, 17, 16, 5
CLIPS = {1: BATCH, LEARNED: BATCH // LEARNED}
"""Clips of a batch by their length, so that each batch holds about as many pictures."""
STARVED_DB = 0.5
FRONT, DEPTH, CLASSES = "observation.images.front", "observation.depth.front", "observation.segmentation.front"
DROID = tuple(f"observation.images.{i}" for i in range(3))
LEVELS = (8, 8, 8)
CLASS_CHANNELS = 8
"""The cell shows seven classes; a channel that stays empty costs as much time as one that is used."""


def contract(name: str, origin: str, rate_hz: float, tolerance_ns: int, **streams: str) -> contracts.Contract:
    """Of streams and rows."""
    tree = {
        "name": name,
        "version": 1,
        "origins": [origin],
        "streams": {stream: {"kind": kind} for stream, kind in streams.items()},
        "alignment": {
            "rate_hz": rate_hz,
            "causal": True,
            "default": {"policy": "hold", "tolerance_ns": tolerance_ns},
        },
        "splits": {"fractions": {"train": 0.6, "val": 0.4}, "seed": 1},
    }
    return contracts.from_tree(tree, where=name)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Episodes that teach and episodes that judge."""

    name: str
    train: list[Any]
    val: list[Any]
    digest: str


def cell_data(ws: Workspace, folder: Path, runs: int) -> Data:
    """Runs of two sites and two experts, with colour, depth and classes."""
    sensors = SensorConfig(cameras=("front",), geometry=("depth", "segmentation"), lidar=False)
    for seed in range(runs):
        path, site, expert = folder / f"{seed}.mcap", ("north", "south")[seed % 2], ("scripted", "noisy")[seed // 2 % 2]
        record(path, site=site, expert=expert, seed=seed, duration_s=6.0, config=RecordConfig(sensors=sensors))
        ingest(ws, path)
    streams = {FRONT: "image", DEPTH: "depth", CLASSES: "segmentation", "action": "action"}
    return _data(ws, "cell", contract("cell-rate", "simulated", 10.0, 100_000_000, **streams))


def _data(ws: Workspace, name: str, held: contracts.Contract) -> Data:
    dataset: Ref = datasets.snapshot(ws, contracts.add(ws, held), name=held.name)
    parts = (datasets.load(ws, dataset.digest, split) for split in ("train", "val"))
    return Data(name=name, train=next(parts), val=next(parts), digest=dataset.digest)


# ------------------------------------------------------------------ clips that judge


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Held-out clips, laid end to end."""

    frames: Mapping[str, Tensor]
    """camera -> (N, T, S, S, ...)."""
    scenes: Mapping[str, Tensor]
    """camera -> (N, S, S, ...)."""
    episode_N: Any

    def kind(self, camera: str) -> Kind:
        """Of a camera."""
        if self.frames[camera].ndim == 5:
            return Kind.IMAGE
        return Kind.DEPTH if self.frames[camera].dtype == torch.float32 else Kind.SEGMENTATION


def judging(tracks: Sequence[Track], find: Callable[[Track], Mapping[str, Tensor]]) -> Clips:
    """Every clip without a gap."""
    parts: list[Mapping[str, Tensor]] = []
    scenes: list[Mapping[str, Tensor]] = []
    owners: list[int] = []
    for number, track in enumerate(tracks):
        reel, last = Reel([track]), -CLIP
        for start in reel.starts(CLIP).tolist():
            if start >= last + CLIP:
                last = start
                parts.append(reel.clips(np.array([start]), CLIP))
                scenes.append(find(track))
                owners.append(number)
    cameras = list(parts[0])
    return Clips(
        frames={c: torch.cat([part[c] for part in parts]) for c in cameras},
        scenes={c: torch.stack([scene[c] for scene in scenes]) for c in cameras},
        episode_N=np.array(owners),
    )


def measured(clips: Clips, camera: str, shown: Tensor, classes: Sequence[int] = ()) -> dict[str, Any]:
    """Figures of one camera with their bounds over episodes."""
    kind, true = clips.kind(camera), clips.frames[camera].numpy()
    sums = [
        episode_figures.sums(kind, shown.numpy()[mine], true[mine], classes)
        for mine in (clips.episode_N == number for number in np.unique(clips.episode_N))
    ]
    out: dict[str, Any] = {}
    for name, (unit, of) in episode_figures.FIGURES[kind].items():
        figure = episode_figures.interval(of, np.stack(sums), unit)
        out[name] = round(figure.value, 4)
        out[f"{name}_95"] = [None if v is None else round(v, 4) for v in (figure.lower, figure.upper)]
    return out


# ------------------------------------------------------------------ who is judged


class Ours:
    """One of our tokenizers."""

    def __init__(self, data: Data, inputs: Inputs, config: fsq.Config) -> None:
        torch.manual_seed(0)
        layout = resolve_layout(data.train, inputs)
        self.model = fsq.create(config, layout, Normaliser(streams={}))
        self.tracks, self.judges = make_tracks(data.train, layout), make_tracks(data.val, layout)
        self.reel = Reel(self.tracks)
        self.model.tokenizer.fit(lambda camera: [self.reel.frames[camera]])
        self.model.scenes.fit(self.tracks, layout.groups)
        self.clips = judging(self.judges, self._scene)
        self.places = [self._scene(track) for track in self.tracks]
        self.length = LEARNED if config.video.time or config.video.context is FIRST else 1
        self.starts = self.reel.starts(self.length)

    def _scene(self, track: Track) -> Mapping[str, Tensor]:
        return self.model.scenes.find(track.frames)[0]

    def parameters(self) -> list[nn.Parameter]:
        """What is learned."""
        return list(self.model.tokenizer.parameters())

    def loss(self, rng: np.random.Generator) -> Tensor:
        """Of clips at random."""
        self.model.tokenizer.train()
        starts = self.starts[rng.integers(len(self.starts), size=CLIPS[self.length])]
        clips = self.reel.clips(starts, self.length)
        places = [self.places[t] for t in self.reel.track_of(starts)]
        scenes = {camera: torch.stack([place[camera] for place in places]) for camera in clips}
        return self.model.tokenizer.loss(clips, self.model.against(clips, scenes))

    @torch.inference_mode()
    def judge(self) -> dict[str, dict[str, Any]]:
        """Camera -> figures."""
        tokenizer, clips = self.model.tokenizer, self.clips
        tokenizer.train(False)
        against = self.model.against(clips.frames, clips.scenes)
        begun = time.process_time()
        values = tokenizer.encode(clips.frames, against)
        between = time.process_time()
        shown = tokenizer.decode(values, against)
        done = time.process_time()
        out = {}
        pictures = sum(held.shape[0] * held.shape[1] for held in clips.frames.values())
        for camera, held in values.items():
            part = tokenizer.part(camera)
            assert isinstance(part.squeeze, Fsq)
            figures = measured(clips, camera, shown[camera], part.looks.names())
            use = codebook(part.squeeze.codes(held), part.squeeze.size)
            figures |= {name: round(value, 4) for name, value in use.items()}
            figures["bits_per_frame"] = round(held.shape[1] * held.shape[2] * part.squeeze.bits / CLIP, 1)
            figures["encode_hz"] = round(pictures / (between - begun))
            figures["decode_hz"] = round(pictures / (done - between))
            out[camera] = figures
        return out


class Peer:
    """A learned peer on the same clips."""

    def __init__(self, ours: Ours, make: Callable[[], nn.Module], length: int) -> None:
        torch.manual_seed(0)
        self.ours, self.net, self.length = ours, make(), length
        self.starts = ours.reel.starts(length)

    def parameters(self) -> list[nn.Parameter]:
        """What is learned."""
        return list(self.net.parameters())

    def loss(self, rng: np.random.Generator) -> Tensor:
        """Of clips at random; with several cameras, of each in turn."""
        self.net.train()
        starts = self.starts[rng.integers(len(self.starts), size=BATCH)]
        clips = self.ours.reel.clips(starts, self.length)
        return torch.stack([self.net.loss(held) for held in clips.values()]).mean()

    @torch.inference_mode()
    def judge(self) -> dict[str, dict[str, Any]]:
        """Camera -> figures."""
        self.net.train(False)
        out = {}
        for camera, held in self.ours.clips.frames.items():
            begun = time.process_time()
            # It sees as many frames at once as it was trained on: it has no place for more.
            pieces = [self.net.codes(part) for part in held.split(self.length, dim=1)]
            between = time.process_time()
            shown = torch.cat([self.net.decode(part, SIZE) for part in pieces], dim=1)
            codes = torch.cat(pieces, dim=1)
            done = time.process_time()
            figures = measured(self.ours.clips, camera, shown)
            figures |= {name: round(value, 4) for name, value in codebook(codes, self.net.size).items()}
            figures["bits_per_frame"] = round(codes.shape[-1] * math.log2(self.net.size), 1)
            figures["encode_hz"] = round(held.shape[0] * held.shape[1] / (between - begun))
            figures["decode_hz"] = round(held.shape[0] * held.shape[1] / (done - between))
            out[camera] = figures
        return out


_JUDGED = (0.5, 0.75, 1.0)
"""Parts of the training after which it is judged."""


def learn(pupil: Ours | Peer, seconds: float, rate: float) -> list[dict[str, Any]]:
    """Train for so many processor seconds; what it was worth on the way, on averaged weights."""
    parameters = pupil.parameters()
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-2)
    average = [p.detach().clone() for p in parameters]
    rng, used, count, curve = np.random.default_rng(0), 0.0, 0, list[dict[str, Any]]()
    while used < seconds:
        begun = time.process_time()
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (count + 1) / 20) * (0.05 + 0.475 * (1 + math.cos(math.pi * used / seconds)))
        optimiser.zero_grad(set_to_none=True)
        pupil.loss(rng).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        count += 1
        with torch.no_grad():
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - min(0.98, count / (10 + count)))
        used += time.process_time() - begun
        if used >= seconds * _JUDGED[len(curve)]:
            raw = [p.detach().clone() for p in parameters]
            _put(parameters, average)
            curve.append({"seconds": round(used, 1), "steps": count, "figures": pupil.judge()})
            _put(parameters, raw)
    return curve


@torch.no_grad()
def _put(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


# ------------------------------------------------------------------ the table


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What everyone is asked for at once."""

    data: str
    cameras: tuple[str, ...]
    time: int
    context: Context
    tries: int = 1
    """Configurations of ours; peers learn where there are three."""

    @property
    def name(self) -> str:
        """As the table says it."""
        what = {0: "image", 1: "time 1", 4: "time 4"}[self.time]
        return f"{self.data} {_kinds(self.cameras)}, {what}, context {self.context}"


def _kinds(cameras: Sequence[str]) -> str:
    return "RGB" if any("images" in camera for camera in cameras) else "depth and classes"


NONE, FIRST, SCENE = Context.NONE, Context.FIRST, Context.BACKGROUND
RGB, SHAPE = (FRONT,), (DEPTH, CLASSES)
SETTINGS = (
    Setting(data="cell", cameras=RGB, time=0, context=NONE, tries=3),
    Setting(data="droid", cameras=DROID, time=0, context=NONE, tries=3),
    Setting(data="cell", cameras=RGB, time=0, context=SCENE),
    Setting(data="cell", cameras=RGB, time=4, context=NONE),
    Setting(data="cell", cameras=RGB, time=4, context=SCENE),
    Setting(data="cell", cameras=SHAPE, time=0, context=NONE),
    Setting(data="cell", cameras=RGB, time=1, context=NONE),
    Setting(data="cell", cameras=RGB, time=0, context=FIRST),
    Setting(data="droid", cameras=DROID, time=0, context=FIRST),
    Setting(data="droid", cameras=DROID, time=4, context=NONE),
    Setting(data="cell", cameras=SHAPE, time=4, context=NONE),
    Setting(data="cell", cameras=RGB, time=4, context=FIRST),
    Setting(data="droid", cameras=DROID, time=4, context=FIRST),
    Setting(data="cell", cameras=RGB, time=1, context=FIRST),
    Setting(data="cell", cameras=RGB, time=1, context=SCENE),
    Setting(data="cell", cameras=SHAPE, time=1, context=NONE),
)
"""What a run that is stopped has done first. DROID has no empty scenes: no training episode shows the judged places;
and places are told apart by colour, which depth and classes alone lack."""
QUICK = (0, 2)

OURS: Sequence[tuple[ConvConfig, float]] = (
    (ConvConfig(), 2e-3),
    (ConvConfig(), 4e-3),
    (ConvConfig(), 6e-3),
)
VQ: Sequence[tuple[int, float]] = ((64, 1e-3), (64, 2e-3), (64, 4e-3))
SPACE_TIME: Sequence[tuple[int, int, int, float]] = ((128, 4, LEARNED, 1e-3), (128, 4, 1, 3e-3), (64, 2, 1, 3e-3))
"""Width, layers a side, frames of a clip, rate."""


class Table:
    """Cells of the table, each kept when it is done."""

    def __init__(self, data: Mapping[str, Data], cache: Path, seconds: float, told: Callable[[str], None]) -> None:
        self.data, self.cache, self.seconds, self.told = data, cache, seconds, told
        here = Path(__file__).parent
        room = Path(family.__file__).parent
        files = [*(here / "peers").glob("tokenizer_*.py"), room / "rates.py", room / "episode_figures.py"]
        files += [*(room / "nn").glob("*.py"), *(room / "tokenizers").glob("*.py")]
        self.code = sha256(*(path.read_bytes() for path in sorted(files)))

    def kept(self, name: str, about: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """A cell from the cache, or made now."""
        key = digest_json({"name": name, "code": self.code, **about})[:24]
        path = self.cache / f"{key}.json"
        if not path.is_file():
            begun = time.perf_counter()
            made = make()
            write_atomic(path, json.dumps({"name": name, "about": about, "made": made}).encode())
            self.told(f"{name}: {time.perf_counter() - begun:.0f} s")
        return json.loads(path.read_text())["made"]

    def row(self, setting: Setting) -> list[dict[str, Any]]:
        """Rows of a setting, one a kind of picture."""
        data = self.data[setting.data]
        made = list[Ours]()

        def ours(net: ConvConfig) -> Ours:
            inputs = Inputs(states=(), action="", cameras=setting.cameras, size=SIZE)
            video = VideoConfig(context=setting.context, time=setting.time, classes=CLASS_CHANNELS)
            made.append(Ours(data, inputs, fsq.Config(inputs=inputs, video=video, net=net, levels=LEVELS)))
            return made[-1]

        about = {"data": data.digest, "seconds": self.seconds, "setting": dataclasses.asdict(setting)}
        about |= {"clips": CLIPS[LEARNED]} if setting.time or setting.context is FIRST else {}
        about |= {"classes": CLASS_CHANNELS} if CLASSES in setting.cameras else {}
        curves = [
            self.kept(f"{setting.name}, ours {place}", about | {"ours": [net.coarse, net.fine, rate]},
                      lambda net=net, rate=rate: learn(ours(net), self.seconds, rate))
            for place, (net, rate) in enumerate(OURS[: setting.tries])
        ]  # fmt: skip
        learned = self._peers(setting, about, ours) if setting.tries == 3 else {}
        rows = []
        for kind, cameras in _by_kind(setting.cameras).items():
            mine = _best(curves, cameras)
            bits = mine["bits_per_frame"]
            others = {name: _best(held, cameras) for name, held in learned.items()}
            others |= self.kept(
                f"{setting.name}, codecs of {kind}", about | {"bits": bits, "kind": kind},
                lambda cameras=cameras, bits=bits: self._codecs(setting, cameras, bits, ours(OURS[0][0]).clips),
            )  # fmt: skip
            rows.append(told_row(f"{setting.name}: {kind}", kind, mine, others))
        return rows

    def _peers(self, setting: Setting, about: Mapping[str, Any], ours: Callable[[ConvConfig], Ours]) -> dict[str, Any]:
        base: list[Ours] = []

        def peer(make: Callable[[], nn.Module], length: int) -> Peer:
            if not base:
                base.append(ours(OURS[0][0]))
            return Peer(base[0], make, length)

        vq = [
            self.kept(f"{setting.name}, vq-vae {place}", about | {"vq": [width, rate]},
                      lambda width=width, rate=rate: learn(peer(lambda: peers.VqVae(width), 1), self.seconds, rate))
            for place, (width, rate) in enumerate(VQ)
        ]  # fmt: skip

        def space_time(width: int, depth: int, length: int, rate: float) -> Any:
            return learn(peer(lambda: peers.SpaceTimeFsq(width, depth, SIZE), length), self.seconds, rate)

        held = [
            self.kept(f"{setting.name}, space-time fsq {place}", about | {"space-time": list(asked), "pieces": True},
                      lambda asked=asked: space_time(*asked))
            for place, asked in enumerate(SPACE_TIME)
        ]  # fmt: skip
        return {"plain VQ-VAE": vq, "space-time FSQ of TinyWorlds' size": held}

    def _codecs(self, setting: Setting, cameras: Sequence[str], bits: float, clips: Clips) -> dict[str, Any]:
        out: dict[str, Any] = {}
        ways: dict[str, Callable[[Any], tuple[Any, float]]] = {}
        if setting.context is not NONE:
            ways["H.264, first frame free"] = lambda held: codecs.h264(held, bits, first_free=True)
        elif setting.time:
            ways["H.264"] = lambda held: codecs.h264(held, bits)
        else:
            ways["JPEG"] = lambda held: _flat(codecs.jpeg, held, bits)
            ways["H.264 of whole pictures"] = lambda held: codecs.h264(held, bits, alone=True)
        for name, way in ways.items():
            figures = []
            try:
                for camera in cameras:
                    figures.append(_coded(clips, camera, way))
            except (AssertionError, ValueError) as error:
                out[name] = {"cannot": str(error)}
                continue
            out[name] = _mean(figures)
        return out


def _flat(code: Callable[..., tuple[Any, float]], held: Any, bits: float) -> tuple[Any, float]:
    shown, spent = code(held.reshape(-1, *held.shape[2:]), bits)
    return shown.reshape(held.shape), spent


def _coded(clips: Clips, camera: str, way: Callable[[Any], tuple[Any, float]]) -> dict[str, Any]:
    """Depth travels as its logarithm in grey, a class as its grey."""
    kind, raw = clips.kind(camera), clips.frames[camera].numpy()
    if kind is Kind.IMAGE:
        shown, spent = way(raw)
        return measured(clips, camera, torch.from_numpy(shown)) | {"bits_per_frame": round(spent, 1)}
    ids = np.unique(raw)
    if kind is Kind.DEPTH:
        there = raw > 0
        least, most = np.log(raw[there].min()), np.log(raw[there].max())
        grey = np.where(there, 40 + 215 * (np.log(np.where(there, raw, 1)) - least) / max(most - least, 1e-6), 0)
    else:
        grey = np.searchsorted(ids, raw) * 255 / max(1, len(ids) - 1)
    picture = np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=-1)
    shown, spent = way(picture)
    back = shown.astype(np.float32).mean(axis=-1)
    if kind is Kind.DEPTH:
        depth = np.where(back > 20, np.exp((np.clip(back, 40, 255) - 40) / 215 * (most - least) + least), 0)
        out = torch.from_numpy(depth.astype(np.float32))
    else:
        out = torch.from_numpy(ids[np.rint(back / 255 * (len(ids) - 1)).astype(np.int64)])
    known = ids.tolist() if kind is Kind.SEGMENTATION else ()
    return measured(clips, camera, out, known) | {"bits_per_frame": round(spent, 1)}


def _by_kind(cameras: Sequence[str]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for camera in cameras:
        kind = "RGB" if "images" in camera else "depth" if "depth" in camera else "classes"
        out.setdefault(kind, []).append(camera)
    return out


FIGURE = {"RGB": "psnr", "depth": "abs_rel", "classes": "miou"}
UNIT = {"RGB": "dB", "depth": "1", "classes": "1"}


def _mean(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over cameras; bounds are averaged, which keeps them too wide rather than too narrow."""
    out: dict[str, Any] = {}
    for name, value in figures[0].items():
        held = [figure[name] for figure in figures]
        if isinstance(value, list):
            out[name] = [None if None in end else round(float(np.mean(end)), 4) for end in zip(*held, strict=True)]
        else:
            out[name] = round(float(np.mean(held)), 4)
    return out


def _best(curves: Sequence[Sequence[Mapping[str, Any]]], cameras: Sequence[str]) -> dict[str, Any]:
    """The best configuration of some, with its learning curve, and whether it was still learning."""
    kind = next(iter(_by_kind(cameras)))
    sign = -1 if kind == "depth" else 1
    ends = [[_mean([point["figures"][c] for c in cameras]) for point in curve] for curve in curves]
    place = max(range(len(ends)), key=lambda i: sign * ends[i][-1][FIGURE[kind]])
    curve = [point[FIGURE[kind]] for point in ends[place]]
    gained = curve[-1] - curve[-2] if kind == "RGB" else 0.0
    return ends[place][-1] | {
        "configuration": place,
        "of": len(curves),
        "steps": curves[place][-1]["steps"],
        "train_cpu_s": curves[place][-1]["seconds"],
        "curve": curve,
        "starved": gained > STARVED_DB,
    }


def told_row(what: str, kind: str, mine: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the table: ours beside everyone at equal bits, and the best of them."""
    figure, sign = FIGURE[kind], -1 if kind == "depth" else 1
    can = {name: held for name, held in others.items() if figure in held}
    best = max(can, key=lambda name: sign * can[name][figure]) if can else ""
    peer = can[best][figure] if best else None
    ahead = peer is None or sign * (mine[figure] - peer) > 0
    return {
        "what": what,
        "value": mine[figure],
        "unit": UNIT[kind],
        "peer": best or "none within these bits",
        "peer_value": peer,
        "ratio": None if not peer else round(mine[figure] / peer, 3),
        "bar": peer,
        "ok": ahead,
        "starved": bool(best and can[best].get("starved")),
        "ours": mine,
        "others": others,
    }


# ------------------------------------------------------------------ motion


PUBLISHED = RangeConfig(low=0.01, high=0.99, margin=0.0, least=0.0)
MOTION: Sequence[tuple[str, Any]] = (
    ("bins 256", bins.Config()),
    ("bins 64", bins.Config(bins=(64,))),
    ("bins 16", bins.Config(bins=(16,))),
    ("dct scale 10", dct.Config()),
    ("dct scale 20", dct.Config(scale=20.0)),
    ("dct scale 40", dct.Config(scale=40.0, vocabulary=2048)),
    ("bins 256, published range", bins.Config(ranges=PUBLISHED)),
    ("dct scale 10, published range", dct.Config(ranges=PUBLISHED)),
)


def motion_rows(data: Data) -> list[dict[str, Any]]:
    """Error in the stream's unit against tokens a second, on held-out episodes."""
    layout = resolve_layout(data.train, Inputs(states=(), action="action"))
    train, val = make_tracks(data.train, layout), make_tracks(data.val, layout)
    rows = []
    for name, config in MOTION:
        module = bins if isinstance(config, bins.Config) else dct
        model = module.create(config, layout, Normaliser(streams={}))
        begun = time.process_time()
        model.fit(train)
        fitted = time.process_time() - begun
        judge = judge_of(model, name)
        for track in val:
            judge.add(track)
        figures = judge.figures()
        motion = figures.pop("action")
        units: dict[str, list[float]] = {}
        for held in figures.values():
            units.setdefault(held["rmse"].unit or "its unit", []).append(held["rmse"].value)
        rows.append({
            "what": f"{data.name} actions, {name}",
            "value": round(motion["tokens_per_second"].value, 2),
            "unit": "tokens/s",
            "rmse": {unit: round(float(np.mean(held)), 5) for unit, held in units.items()},
            **{key: round(motion[key].value, 5) for key in ("error_of_range", "clipped", "bits_per_second")},
            "error_of_range_95": [motion["error_of_range"].lower, motion["error_of_range"].upper],
            "fit_cpu_s": round(fitted, 2),
            "encode_rows_hz": round(judge.items / judge.encoding_s),
            "decode_rows_hz": round(judge.items / judge.decoding_s),
        })  # fmt: skip
    return rows


def motion_data(ws: Workspace, real: Path | None) -> list[Data]:
    """Actions at the rate that they were recorded at."""
    found = [_data(ws, "cell", contract("cell-motion", "simulated", 10.0, 150_000_000, action="action"))]
    for name, folder, rate, tolerance in (
        ("droid", "droid_ctrlworld/droid_subset", 15.0, 1_000_000),
        ("g1", "g1_lerobot_v21", 30.0, 17_000_000),
    ):
        if real is not None and (real / folder).is_dir():
            mine = Workspace.init(ws.root.parent / f"{name}-motion", person="bench")
            ingest(mine, real / folder)
            found.append(_data(mine, name, contract(f"{name}-motion", "real", rate, tolerance, action="action")))
    return found


# ------------------------------------------------------------------ run


def machine() -> str:
    """Where these figures were measured."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    )


def main() -> None:
    """Measure, print, and keep a full result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two settings, 2 s of training each")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--real", type=Path, default=os.environ.get("WORLDGATE_DATA"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "worldgate-tokenizer-rate")
    parser.add_argument("--seconds", type=float, default=20.0, help="processor seconds of each training")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    asked.cache.mkdir(parents=True, exist_ok=True)
    seconds, start = 2.0 if asked.quick else asked.seconds, time.perf_counter()

    def told(line: str) -> None:
        if not asked.json:
            print(line, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        ws = Workspace.init(Path(scratch) / "cell", person="bench")
        data = {"cell": cell_data(ws, Path(scratch), 4 if asked.quick else 16)}
        real = None if asked.real is None or asked.quick else Path(asked.real)
        if real is not None and (real / "droid_ctrlworld/droid_subset").is_dir():
            mine = Workspace.init(Path(scratch) / "droid", person="bench")
            ingest(mine, real / "droid_ctrlworld/droid_subset")
            streams = {"action": "action", **dict.fromkeys(DROID, "image")}
            data["droid"] = _data(mine, "droid", contract("droid-rate", "real", 5.0, 1_000_000, **streams))
        told(f"data: {time.perf_counter() - start:.0f} s")
        motion = [row for held in motion_data(ws, real) for row in motion_rows(held)]
        table = Table(data, asked.cache, seconds, told)
        chosen = [SETTINGS[i] for i in QUICK] if asked.quick else [s for s in SETTINGS if s.data in data]
        rows: list[dict[str, Any]] = []
        for done, setting in enumerate(chosen, start=1):
            rows += table.row(setting)
            whole = {
                "name": "tokenizer_rate",
                "machine": machine(),
                "load": os.getloadavg()[0],
                "quick": asked.quick,
                "complete": done == len(SETTINGS),
                "train_cpu_s": seconds,
                "seconds": round(time.perf_counter() - start),
                "episodes": {name: [len(held.train), len(held.val)] for name, held in data.items()},
                "rows": [*rows, *motion],
            }
            if not asked.quick:
                path = Path(__file__).parent / "results" / "tokenizer_rate.json"
                write_atomic(path, (json.dumps(whole, indent=1) + "\n").encode(), overwrite=True)
    if asked.json:
        print(json.dumps(whole))
        return
    for row in rows:
        mark = "ahead" if row["ok"] and not row["starved"] else "starved" if row["ok"] else "behind"
        bits = row["ours"]["bits_per_frame"]
        print(f"{row['what']:60} {bits:6.0f} bit  {row['value']:8.3f}  {row['peer']} {row['peer_value']}  {mark}")
    for row in motion:
        error = ", ".join(f"{value:g} {unit}" for unit, value in row["rmse"].items())
        print(f"{row['what']:48} {row['value']:8.2f} tokens/s  {row['bits_per_second']:8.0f} bit/s  error {error}")


if __name__ == "__main__":
    main()
