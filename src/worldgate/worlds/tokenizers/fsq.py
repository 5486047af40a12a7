"""Fsq: a discrete tokenizer, finite scalar quantisation behind small convolutions.

Source: arXiv 2309.15505. Notable choices: no codebook is learned, so none can collapse; every place of an 8 x 8 pixel
patch is one code, and the codes of all cameras and kinds of picture share one rule of numbering.

Shape legend: see ``_video``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from worldgate.core.normalisers import Normaliser
from worldgate.worlds.nn.autoencoders import ConvConfig, ConvCore
from worldgate.worlds.nn.bottlenecks import Fsq
from worldgate.worlds.sizes import Size, slower, wider
from worldgate.worlds.tokenizers._training import TrainedTokenizer
from worldgate.worlds.tokenizers._video import VideoConfig, VideoTokenizer
from worldgate.worlds.tracks import Inputs, Layout
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

CARD = {
    "line": "discrete: one code a patch by finite scalar quantisation, for colour, depth and classes; minutes on a CPU",
    "inputs": "frames",
    "needs": "models",
    "source": "FSQ, arXiv 2309.15505",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What shapes and fits the tokenizer, alone or within a video family."""

    video: VideoConfig = field(default_factory=VideoConfig)
    net: ConvConfig = field(default_factory=ConvConfig)
    levels: tuple[int, ...] = (8, 8, 8)
    """Steps of each digit of a code; their product is the number of codes."""
    phase: PhaseConfig = field(default_factory=lambda: PhaseConfig(steps=800, batch=16, rate=4e-3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Settings):
    """Configuration of the ``fsq`` tokenizer."""

    inputs: Inputs = field(default_factory=lambda: Inputs(states=(), action="", cameras=("observation.images.front",)))
    loop: LoopConfig = field(default_factory=LoopConfig)


def debug() -> Config:
    """Trains in seconds."""
    return Config(
        net=ConvConfig(coarse=16, fine=16),
        levels=(5, 5),
        phase=PhaseConfig(steps=20, batch=8, rate=2e-3, warmup=5),
        loop=LoopConfig(checkpoint_every=10, evaluate_every=10),
    )


def sized(size: Size) -> Config:
    """The configuration of a size; the rate in bits is the same at all of them."""
    small = Config()
    net = replace(small.net, coarse=wider(small.net.coarse, size), fine=wider(small.net.fine, size))
    return replace(small, net=net, phase=slower(small.phase, size))


def create(config: Settings, layout: Layout, normaliser: Normaliser) -> TrainedTokenizer:
    """An untrained tokenizer."""

    def core(enters: int, leaves: int, views: int, size: int) -> ConvCore:
        return ConvCore(config.net, enters=enters, leaves=leaves, views=views, size=size)

    tokenizer = VideoTokenizer(config.video, layout.cameras, core, lambda: Fsq(config.levels))
    return TrainedTokenizer(tokenizer, config.phase, layout, normaliser)
