"""Unet: a small network with skips that segments a picture of 64 pixels a side and tells the object's pose.

Source: U-Net (arXiv 1505.04597); the pose from a soft-argmax of an attention map and the features under it (integral
regression, arXiv 1711.08229). Notable choices: the first convolution halves the picture and the last one's channels are
shuffled back to full size, a quarter of the work; yaw is told as sine and cosine of as many times the angle as the
object has turns that look alike; an episode may lack labels of pixels or of the pose, and then teaches the other.

Shape legend: B samples, N pictures, S pixels a side, C channels, K classes, H x W places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, pixel_shuffle, silu, smooth_l1_loss

from worldgate.control.perception import Seen
from worldgate.control.perception._mixing import ORIGINS, Mix
from worldgate.core.choices import settle
from worldgate.core.errors import ConfigError, DataRefused, UsageError
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import ByteArray, Kind
from worldgate.worlds.batches import Batch
from worldgate.worlds.devices import device_of, home, sent
from worldgate.worlds.family import Phase
from worldgate.worlds.nn.blocks import Residual
from worldgate.worlds.sizes import Size, slower, wider
from worldgate.worlds.tracks import Inputs, Layout, Track
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

CARD = {
    "line": "segments a picture and tells the object's pose; minutes on a CPU",
    "inputs": "a colour camera, its segmentation, and a stream with the object's pose",
    "needs": "models",
    "source": "U-Net, arXiv 1505.04597; integral regression, arXiv 1711.08229",
}
_JUDGED, _AT_ONCE = 96, 64


def _inputs() -> Inputs:
    cameras = ("observation.images.front", "observation.segmentation.front")
    return Inputs(states=("observation.environment_state",), action="", cameras=cameras)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of ``unet``."""

    inputs: Inputs = field(default_factory=_inputs)
    """One state stream with the pose, one colour camera and one segmentation; labels may be ``optional``."""
    pose: tuple[str, ...] = ("object.x", "object.y", "object.yaw")
    """Channels of the state stream: two lengths and an angle."""
    turns: int = 4
    """Turns of the object that look alike."""
    classes: int = 12
    """Class ids are below this."""
    width: int = 32
    """Channels at half the picture's size."""
    pose_weight: float = 1.0
    """Of the pose's loss beside the pixels'."""
    brightness: float = 0.2
    """Largest random change of contrast and of each colour's level in training, in parts of the range."""
    mix: Mapping[str, float] = field(default_factory=dict)
    """Origin (real, simulated, imagined) -> how often it is drawn; empty: as often as it has rows."""
    phase: PhaseConfig = field(default_factory=lambda: PhaseConfig(steps=1200, batch=32, rate=2e-3))
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        settle(self)
        if len(self.pose) != 3 or self.turns < 1 or self.classes < 2 or self.width < 2:
            got = f"pose {self.pose}, turns {self.turns}, classes {self.classes}, width {self.width}"
            raise ConfigError("three channels of a pose, a turn, two classes and two channels at least", got=got)


def debug() -> Config:
    """Trains in seconds."""
    return Config(
        width=8,
        phase=PhaseConfig(steps=30, batch=8, rate=4e-3, warmup=5),
        loop=LoopConfig(checkpoint_every=10, evaluate_every=15),
    )


def sized(size: Size) -> Config:
    """The configuration of a size."""
    small = Config()
    return replace(small, width=wider(small.width, size), phase=slower(small.phase, size))


def create(config: Config, layout: Layout, normaliser: Normaliser) -> UnetPerceiver:
    """An untrained network."""
    return UnetPerceiver(config, layout, normaliser)


class Unet(nn.Module):
    """Logits of classes and four numbers of a pose.

    Args:
        width: C at half size; twice at a quarter, three times at an eighth.
        classes: K.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, stride=2, padding=1)
        widths = (width, 2 * width, 3 * width)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.on = nn.ModuleList(Residual(w) for w in widths)
        self.up = nn.ModuleList(nn.Conv2d(b + a, a, 3, padding=1) for a, b in pairwise(widths))
        self.back = nn.ModuleList(Residual(w) for w in widths[:-1])
        self.pixels = nn.Conv2d(width, 4 * classes, 1)
        self.attention = nn.Conv2d(width, 1, 1)
        self.pose = nn.Sequential(nn.Linear(width + 2, 64), nn.SiLU(), nn.Linear(64, 4))

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) in -0.5 to 0.5, to (N, K, S, S) logits and (N, 4) x, y, sine, cosine, standardised."""
        kept = [self.on[0](self.stem(x_NCHW))]
        for down, on in zip(self.down, list(self.on)[1:], strict=True):
            kept.append(on(down(silu(kept[-1]))))
        held = kept.pop()
        for up, back in zip(reversed(list(self.up)), reversed(list(self.back)), strict=True):
            skip = kept.pop()
            held = back(up(torch.cat([skip, interpolate(silu(held), size=skip.shape[-2:])], dim=1)))
        held = silu(held)
        return pixel_shuffle(self.pixels(held), 2), self._posed(held)

    def _posed(self, held_NCHW: Tensor) -> Tensor:
        height, width = held_NCHW.shape[-2:]
        weight_NHW = self.attention(held_NCHW).flatten(1).softmax(dim=1).unflatten(1, (height, width))
        rows = torch.linspace(-1, 1, height, device=held_NCHW.device)
        columns = torch.linspace(-1, 1, width, device=held_NCHW.device)
        v, u = (weight_NHW.sum(2) * rows).sum(1), (weight_NHW.sum(1) * columns).sum(1)
        under_NC = (held_NCHW * weight_NHW[:, None]).sum((2, 3))
        posed: Tensor = self.pose(torch.cat([u[:, None], v[:, None], under_NC], dim=1))
        return posed


class UnetPerceiver(nn.Module):
    """The network with what it was fed; fulfils :class:`worldgate.control.perception.Perceiver`."""

    context = 1

    def __init__(self, config: Config, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__()
        self.config, self.layout, self.normaliser, self.turns = config, layout, normaliser, config.turns
        self.colour, self.labels = _cameras(layout)
        self.channels = _channels(layout, config.pose)
        self.net = Unet(config.width, config.classes)
        self.register_buffer("drawn_O", torch.zeros(len(ORIGINS), dtype=torch.int64))
        statistics = normaliser.statistics(layout.states[0].name)
        spread = np.asarray(statistics.std)[self.channels[:2]]
        self.mean_2 = np.asarray(statistics.mean)[self.channels[:2]]
        self.spread_2 = np.where(spread > 0, spread, 1.0)

    def phases(self, train: Sequence[Track], held_out: Sequence[Track]) -> list[Phase]:
        """One phase: all weights."""
        return [UnetPhase(self, train, held_out)]

    def drawn(self) -> dict[str, int]:
        """See :class:`worldgate.control.perception.Perceiver`."""
        counts = home(self.get_buffer("drawn_O"))
        return {origin.value: int(n) for origin, n in zip(ORIGINS, counts, strict=True) if n}

    @torch.inference_mode()
    def see(self, pictures: ByteArray) -> Seen:
        """See :class:`worldgate.control.perception.Perceiver`."""
        wanted = self.layout.cameras[0].shape
        size = wanted[0]
        if pictures.ndim != 4 or pictures.shape[1:] != (size, size, 3):
            raise UsageError("pictures of another size", got=pictures.shape[1:], hint=f"{size} x {size} x 3")
        self.train(False)
        parts = [self._see(pictures[k : k + _AT_ONCE]) for k in range(0, len(pictures), _AT_ONCE)]
        return Seen(
            classes=np.concatenate([part.classes for part in parts]), pose=np.concatenate([part.pose for part in parts])
        )

    def _see(self, pictures: ByteArray) -> Seen:
        logits, posed = self.net(looked(sent(torch.from_numpy(pictures.copy()), device_of(self))))
        told = home(posed).astype(np.float64)
        yaw = np.arctan2(told[:, 2], told[:, 3]) / self.turns
        places = told[:, :2] * self.spread_2 + self.mean_2
        return Seen(classes=home(logits.argmax(1)).astype(np.int64), pose=np.column_stack([places, yaw]))


def looked(pictures_NSSC: Tensor) -> Tensor:
    """(N, S, S, 3) uint8 to (N, 3, S, S) in -0.5 to 0.5."""
    return pictures_NSSC.movedim(-1, 1).float() / 255 - 0.5


def _cameras(layout: Layout) -> tuple[str, str]:
    colour = [c.name for c in layout.cameras if c.kind is Kind.IMAGE]
    labels = [c.name for c in layout.cameras if c.kind is Kind.SEGMENTATION]
    if len(colour) != 1 or len(labels) != 1:
        got = f"{len(colour)} of colour, {len(labels)} of classes"
        raise ConfigError("one camera of colour and one of classes", got=got, where="inputs.cameras")
    if layout.cameras[0].shape[0] % 8:
        raise ConfigError("a picture divides by 8", got=layout.cameras[0].shape[0], where="inputs.size")
    return colour[0], labels[0]


def _channels(layout: Layout, names: Sequence[str]) -> list[int]:
    if len(layout.states) != 1 or not set(names) <= set(layout.states[0].names):
        got = "; ".join(f"{s.name} of {', '.join(s.names)}" for s in layout.states)
        raise ConfigError("one state stream with the channels of the pose", got=got, where="inputs.states")
    return [layout.states[0].names.index(name) for name in names]


class UnetPhase:
    """Fits all weights to labels of pixels and of the pose, each sample by its origin's weight."""

    name = "perception"
    anywhere = True

    def __init__(self, model: UnetPerceiver, train: Sequence[Track], held_out: Sequence[Track]) -> None:
        self.model, self.config = model, model.config.phase
        self.mix = Mix(train, model.config.mix)
        self.held = Mix(held_out, {}) if held_out else None
        self.stream = model.layout.states[0].name
        if all({model.labels, self.stream} <= track.lacks for track in train):
            raise DataRefused("no episode has a label", got=f"{len(train)} episodes", where=model.labels)

    def parameters(self) -> list[nn.Parameter]:
        """All."""
        return list(self.model.net.parameters())

    def prepare(self) -> None:
        """Weigh classes by one over the root of how often they come, so that a small object counts."""
        counts = np.ones(self.model.config.classes)
        for track in self.mix.tracks:
            if self.model.labels not in track.lacks:
                found = np.unique(np.asarray(track.frames[self.model.labels])[::8], return_counts=True)
                self._known(found[0])
                counts[found[0]] += found[1]
        weights = 1 / np.sqrt(counts / counts.sum())
        weights[counts <= 1] = 0.0
        self.weights_K = torch.as_tensor(weights / weights[counts > 1].mean(), dtype=torch.float32)

    def _known(self, classes: np.ndarray) -> None:
        if classes.max() >= self.model.config.classes:
            hint = f"classes = {int(classes.max()) + 1}"
            raise DataRefused("a class id beyond what was configured", got=int(classes.max()), hint=hint)

    def draw(self, rng: np.random.Generator) -> Batch:
        """Pictures with their labels, and from which origin each is."""
        places, origins = self.mix.draw(rng, self.config.batch)
        return self._batch(self.mix, places, origins, int(rng.integers(2**31)))

    def _batch(self, mix: Mix, places: np.ndarray, origins: np.ndarray, seed: int) -> Batch:
        tracks = [mix.tracks[number] for number in places[:, 0]]
        size = self.model.layout.cameras[0].shape[0]
        none = np.zeros((size, size), np.int64)
        pictures, masks, poses = [], [], []
        for track, row in zip(tracks, places[:, 1], strict=True):
            pictures.append(np.asarray(track.frames[self.model.colour][row]))
            there = self.model.labels not in track.lacks
            masks.append(np.asarray(track.frames[self.model.labels][row], np.int64) if there else none)
            poses.append(track.states_TD[row, self.model.channels])
        lacks = [[name in track.lacks for name in (self.model.labels, self.stream)] for track in tracks]
        told = 1.0 - np.asarray(lacks, np.float32)
        tensors = {
            "pictures": torch.from_numpy(np.stack(pictures)),
            "masks": torch.from_numpy(np.stack(masks)),
            "poses": torch.from_numpy(np.stack(poses).astype(np.float32)),
            "masked": torch.from_numpy(told[:, 0]),
            "posed": torch.from_numpy(told[:, 1]),
            "origins": torch.from_numpy(np.bincount(origins, minlength=len(ORIGINS))),
        }
        return Batch(tensors=tensors, seed=seed)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of pixels and smooth distance of poses, over the samples that have each label."""
        self.model.train()
        with torch.no_grad():
            self.model.get_buffer("drawn_O").add_(batch["origins"])
        shown = self._varied(looked(batch["pictures"]))
        logits, posed = self.model.net(shown)
        pixels_B = cross_entropy(logits, batch["masks"], self.weights_K.to(shown.device), reduction="none").mean((1, 2))
        wanted = self._wanted(batch["poses"])
        places_B = smooth_l1_loss(posed, wanted, reduction="none").mean(1)
        masked, told = batch["masked"], batch["posed"]
        pixels = (pixels_B * masked).sum() / masked.sum().clamp(min=1)
        places = (places_B * told).sum() / told.sum().clamp(min=1)
        return pixels + self.model.config.pose_weight * places

    def _varied(self, shown_BCHW: Tensor) -> Tensor:
        most, count = self.model.config.brightness, len(shown_BCHW)
        level = (torch.rand(count, 3, 1, 1, device=shown_BCHW.device) * 2 - 1) * most
        contrast = 1 + (torch.rand(count, 1, 1, 1, device=shown_BCHW.device) * 2 - 1) * most
        return shown_BCHW * contrast + level

    def _wanted(self, poses_B3: Tensor) -> Tensor:
        mean = torch.as_tensor(self.model.mean_2, dtype=torch.float32, device=poses_B3.device)
        spread = torch.as_tensor(self.model.spread_2, dtype=torch.float32, device=poses_B3.device)
        angle = poses_B3[:, 2] * self.model.turns
        places = (poses_B3[:, :2] - mean) / spread
        return torch.cat([places, torch.sin(angle)[:, None], torch.cos(angle)[:, None]], dim=1)

    def evaluate(self) -> dict[str, float]:
        """Accuracy of pixels and mean error of places on held-out pictures, beside the commonest class and the mean."""
        if self.held is None:
            return {}
        places, origins = self.held.draw(np.random.default_rng(0), _JUDGED)
        batch = self._batch(self.held, places, origins, 0)
        seen = self.model.see(batch["pictures"].numpy())
        masks, poses = batch["masks"].numpy(), batch["poses"].numpy()
        masked, told = batch["masked"].numpy() > 0, batch["posed"].numpy() > 0
        out: dict[str, float] = {}
        if masked.any():
            common = int(np.argmax(np.bincount(masks[masked].ravel())))
            out["pixels_right"] = float((seen.classes[masked] == masks[masked]).mean())
            out["pixels_right_commonest_class"] = float((masks[masked] == common).mean())
        if told.any():
            apart = np.linalg.norm(seen.pose[told, :2] - poses[told, :2], axis=1)
            mean = np.linalg.norm(self.model.mean_2 - poses[told, :2], axis=1)
            out["place_cm"], out["place_cm_mean_pose"] = 100 * float(apart.mean()), 100 * float(mean.mean())
        return out

    def finish(self) -> None:
        """Nothing is left to do."""
