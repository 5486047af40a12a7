"""Kl: a continuous tokenizer, a variational autoencoder of small convolutions.

Source: arXiv 1312.6114, as the autoencoders of latent diffusion use it (arXiv 2112.10752): a small weight keeps values
near a standard normal without spending the bits.

Shape legend: see ``_video``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from worldgate.core.normalisers import Normaliser
from worldgate.worlds.nn.autoencoders import ConvConfig, ConvCore
from worldgate.worlds.nn.bottlenecks import Gaussian
from worldgate.worlds.sizes import Size, slower, wider
from worldgate.worlds.tokenizers._training import TrainedTokenizer
from worldgate.worlds.tokenizers._video import VideoConfig, VideoTokenizer
from worldgate.worlds.tracks import Inputs, Layout
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

CARD = {
    "line": "continuous: vectors near a standard normal, for colour, depth and classes; minutes on a CPU",
    "inputs": "frames",
    "needs": "models",
    "source": "variational autoencoder, arXiv 1312.6114",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What shapes and fits the tokenizer, alone or within a video family."""

    video: VideoConfig = field(default_factory=VideoConfig)
    net: ConvConfig = field(default_factory=ConvConfig)
    channels: int = 8
    """Of a place."""
    weight: float = 1e-4
    """Of the divergence beside the pixels' loss."""
    phase: PhaseConfig = field(default_factory=lambda: PhaseConfig(steps=800, batch=16, rate=2e-3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Settings):
    """Configuration of the ``kl`` tokenizer."""

    inputs: Inputs = field(default_factory=lambda: Inputs(states=(), action="", cameras=("observation.images.front",)))
    loop: LoopConfig = field(default_factory=LoopConfig)


def debug() -> Config:
    """Trains in seconds."""
    return Config(
        net=ConvConfig(coarse=16, fine=16),
        channels=4,
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

    tokenizer = VideoTokenizer(config.video, layout.cameras, core, lambda: Gaussian(config.channels, config.weight))
    return TrainedTokenizer(tokenizer, config.phase, layout, normaliser)
