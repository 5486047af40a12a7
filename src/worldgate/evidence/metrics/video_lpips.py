"""Learned perceptual distance (LPIPS) of imagined and real pictures, over weights that you bring.

The network is AlexNet's five convolutions as LPIPS uses them, computed here in numpy: unit-normalised features of
every layer, squared difference, weighted by one non-negative number a channel, mean over places, sum over layers.
Weights come as one safetensors file (``--set weights=FILE``) with torchvision's names
``features.{0,3,6,8,10}.{weight,bias}`` and LPIPS's ``lin{0..4}.model.1.weight``; channel counts and kernel sizes are
read from it. Worldgate ships and downloads no weights: without a file this is not measured. Strides and paddings are
AlexNet's. Each future counts by itself.

Source: Zhang et al., CVPR 2018 (version 0.1 of the reference: inputs in [-1, 1], shifted and scaled by channel).

Shape legend: N pictures, H x W pixels, C channels.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from safetensors import SafetensorError
from safetensors.numpy import load_file

from worldgate.core.errors import NotFound, WeightsRefused
from worldgate.core.streams import Array, FloatArray
from worldgate.evidence.evaluation.measures import (
    Chunk,
    FigureInfo,
    NotMeasured,
    PerStep,
    Reading,
    Setup,
    Watcher,
    Window,
)
from worldgate.evidence.evaluation.pointwise import colour_cameras

CARD = {
    "line": "learned perceptual distance (LPIPS, AlexNet) over a safetensors file of weights that you bring",
    "inputs": "frames; --set weights=FILE.safetensors",
    "source": "Zhang et al., CVPR 2018",
}
LAYERS = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))
"""(index among torchvision's ``features``, stride, padding)."""
POOLED_BEFORE = (3, 6)
"""Layers that a 3 x 3 maximum with stride 2 comes before."""
SHIFT, SCALE = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
LEAST_SIDE = 64
"""Smaller pictures are enlarged: AlexNet's strides leave nothing of them."""


def build(setup: Setup) -> Lpips:
    """For every colour camera.

    Raises:
        NotMeasured: no weights, or no pictures.
        NotFound: no such file.
        WeightsRefused: a file without these tensors.
    """
    if not setup.config.weights:
        raise NotMeasured("needs weights: --set weights=FILE.safetensors")
    cameras = colour_cameras(setup)
    if not cameras:
        raise NotMeasured("the model gives no colour pictures")
    return Lpips(setup, cameras, Network.load(Path(setup.config.weights)))


class Network:
    """The five layers and their weights."""

    def __init__(self, tensors: dict[str, FloatArray], where: Path) -> None:
        self.layers = []
        for place, (index, stride, padding) in enumerate(LAYERS):
            names = (f"features.{index}.weight", f"features.{index}.bias", f"lin{place}.model.1.weight")
            missing = [name for name in names if name not in tensors]
            if missing:
                raise WeightsRefused("LPIPS weights lack a tensor", got=missing[0], where=where)
            weight, bias, linear = (np.asarray(tensors[name], np.float32) for name in names)
            if weight.ndim != 4 or bias.shape != weight.shape[:1] or linear.size != len(weight):
                raise WeightsRefused("LPIPS weights of another shape", got=f"{names[0]} {weight.shape}", where=where)
            self.layers.append((index, stride, padding, weight, bias, linear.reshape(-1)))

    @classmethod
    def load(cls, path: Path) -> Network:
        """Read a safetensors file; nothing is unpickled.

        Raises:
            NotFound: no such file.
            WeightsRefused: not such a file.
        """
        if not path.is_file():
            raise NotFound("no weights there", where=path, hint="a safetensors file of LPIPS (AlexNet) weights")
        try:
            return cls(load_file(path), path)
        except (SafetensorError, ValueError) as error:
            raise WeightsRefused("weights that cannot be read", got=str(error)[:80], where=path) from error

    def features(self, frames_NHWC: Array) -> list[FloatArray]:
        """One (N, C, H, W) a layer, of unit length over channels."""
        side = min(frames_NHWC.shape[1:3])
        if side < LEAST_SIDE:
            times = -(-LEAST_SIDE // side)
            size = (frames_NHWC.shape[2] * times, frames_NHWC.shape[1] * times)
            frames_NHWC = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_LINEAR) for f in frames_NHWC])
        x = ((frames_NHWC / 127.5 - 1.0 - SHIFT) / SCALE).astype(np.float32).transpose(0, 3, 1, 2)
        found = []
        for index, stride, padding, weight, bias, _ in self.layers:
            if index in POOLED_BEFORE:
                x = sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max(axis=(4, 5))
            x = np.maximum(convolve(x, weight, stride, padding) + bias[:, None, None], 0.0)
            found.append(x / (np.sqrt((x**2).sum(axis=1, keepdims=True)) + 1e-10))
        return found

    def distance(self, one_NHWC: Array, two_NHWC: Array) -> FloatArray:
        """(N,) LPIPS of pairs of pictures."""
        total = np.zeros(len(one_NHWC))
        for a, b, layer in zip(self.features(one_NHWC), self.features(two_NHWC), self.layers, strict=True):
            total += np.einsum("nchw,c->nhw", (a - b) ** 2, layer[5]).mean(axis=(1, 2))
        return total


def convolve(x_NCHW: FloatArray, weight_OCKK: FloatArray, stride: int, padding: int) -> FloatArray:
    """A convolution without bias, (N, O, H', W')."""
    padded = np.pad(x_NCHW, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    patches = sliding_window_view(padded, weight_OCKK.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.asarray(np.tensordot(patches, weight_OCKK, axes=([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2))


class Lpips:
    """The measure."""

    def __init__(self, setup: Setup, cameras: tuple[str, ...], network: Network) -> None:
        self.setup, self.cameras, self.network = setup, cameras, network
        self.figures = tuple(
            FigureInfo(
                name=f"{c}/lpips", unit="1", better="lower", stream=c, note=f"weights {Path(setup.config.weights).name}"
            )
            for c in cameras
        )

    def watch(self, window: Window) -> Watcher:
        """Each horizon by itself."""
        del window

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            out = []
            for camera in self.cameras:
                real = chunk.views["real"].frames[camera][:, k]
                for who in ("model", "hold"):
                    shown = chunk.views[who].frames[camera][:, k]
                    found = self.network.distance(shown, np.repeat(real, len(shown), axis=0))
                    sums = (float(found.sum()), float(len(found)))
                    out.append(Reading(figure=f"{camera}/lpips", contender=who, sums=sums, step=step))
            return out

        return PerStep(self.setup.horizons, read)
