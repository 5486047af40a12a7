"""The ResNet bodies that LeRobot's policies look with, under the names that their weights have.

Source: He et al. 2015, arXiv 1512.03385; tensors are named as torchvision does.

Shape legend: B batch, C channels, H x W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.errors import CapabilityMissing

_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
WIDTH = 512
"""Channels of the last feature map."""
Norm = Callable[[int], nn.Module]


class FrozenNorm(nn.Module):
    """Batch normalisation whose statistics are given and never change; eps is torchvision's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        held = {name: value[None, :, None, None] for name, value in self.named_buffers()}
        scale = held["weight"] * (held["running_var"] + 1e-5).rsqrt()
        out: Tensor = x_BCHW * scale + (held["bias"] - held["running_mean"] * scale)
        return out


def grouped(channels: int) -> nn.Module:
    """Group normalisation by groups of sixteen."""
    return nn.GroupNorm(channels // 16, channels)


class Basic(nn.Module):
    """Two convolutions of 3 x 3 beside a short cut."""

    def __init__(self, before: int, channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = norm(channels)
        self.downsample: nn.Module | None = None
        if stride > 1 or before != channels:
            self.downsample = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), norm(channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) to its channels and stride."""
        short = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x_BCHW)))))
        out: Tensor = functional.relu(inner + short)
        return out


def body(name: str, norm: Norm, *, numbered: bool) -> nn.Sequential:
    """All layers up to the last feature map, (B, 3, H, W) to (B, 512, H / 32, W / 32).

    Args:
        name: ``resnet18`` or ``resnet34``.
        norm: its normalisation.
        numbered: whether layers are named by their numbers, as in a list, or by torchvision's names.

    Raises:
        CapabilityMissing: another body.
    """
    if name not in _BLOCKS:
        raise CapabilityMissing("this body is not read", got=name, hint=f"one of {', '.join(_BLOCKS)}")
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), norm(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for stage, count in enumerate(_BLOCKS[name]):
        channels, blocks = 64 * 2**stage, []
        for block in range(count):
            blocks.append(Basic(before, channels, 2 if stage and not block else 1, norm))
            before = channels
        layers.append(nn.Sequential(*blocks))
    if numbered:
        return nn.Sequential(*layers)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return nn.Sequential(OrderedDict(zip(names, layers, strict=True)))
