"""Mae: a continuous tokenizer, a masked transformer whose latent tokens pass through a tanh.

Source: the tokenizer of arXiv 2509.24527 and masked autoencoding, arXiv 2111.06377. Notable choices: patches are hidden
while training, so that latents must hold more than copies; the number of tokens does not depend on that of patches.
Slow on a CPU, where the convolutions of ``kl`` and ``fsq`` learn faster.

Shape legend: see ``_video``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from worldgate.core.normalisers import Normaliser
from worldgate.worlds.nn.autoencoders import MaskedConfig, MaskedCore
from worldgate.worlds.nn.bottlenecks import Tanh
from worldgate.worlds.sizes import Size, slower, wider
from worldgate.worlds.tokenizers._training import TrainedTokenizer
from worldgate.worlds.tokenizers._video import VideoConfig, VideoTokenizer
from worldgate.worlds.tracks import Inputs, Layout
from worldgate.worlds.train.config import LoopConfig, PhaseConfig

CARD = {
    "line": "continuous: latent tokens of a masked transformer behind a tanh, for colour, depth and classes; for a GPU",
    "inputs": "frames",
    "needs": "models",
    "source": "arXiv 2509.24527",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of the ``mae`` tokenizer."""

    inputs: Inputs = field(default_factory=lambda: Inputs(states=(), action="", cameras=("observation.images.front",)))
    video: VideoConfig = field(default_factory=VideoConfig)
    net: MaskedConfig = field(default_factory=MaskedConfig)
    channels: int = 8
    """Of a latent token."""
    phase: PhaseConfig = field(default_factory=lambda: PhaseConfig(steps=2000, batch=16, rate=1e-3, warmup=100))
    loop: LoopConfig = field(default_factory=LoopConfig)


def debug() -> Config:
    """Trains in seconds."""
    return Config(
        net=MaskedConfig(width=32, depth=1, heads=2, latents=16),
        channels=4,
        phase=PhaseConfig(steps=20, batch=8, rate=2e-3, warmup=5),
        loop=LoopConfig(checkpoint_every=10, evaluate_every=10),
    )


def sized(size: Size) -> Config:
    """The configuration of a size; heads are as wide at all of them, and the rate in bits is the same."""
    small, depths = Config(), {Size.NANO: 2, Size.SMALL: 3, Size.BASE: 6, Size.LARGE: 12}
    width, heads = wider(small.net.width, size), wider(small.net.heads, size)
    net = replace(small.net, width=width, heads=heads, depth=depths[size])
    return replace(small, net=net, phase=slower(small.phase, size))


def create(config: Config, layout: Layout, normaliser: Normaliser) -> TrainedTokenizer:
    """An untrained tokenizer."""

    def core(enters: int, leaves: int, views: int, size: int) -> MaskedCore:
        return MaskedCore(config.net, enters=enters, leaves=leaves, views=views, size=size)

    tokenizer = VideoTokenizer(config.video, layout.cameras, core, lambda: Tanh(config.channels))
    return TrainedTokenizer(tokenizer, config.phase, layout, normaliser)
