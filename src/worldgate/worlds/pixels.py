"""Bytes of pictures as numbers around zero, and back."""

from __future__ import annotations

import torch
from torch import Tensor


def to_signed(frames: Tensor) -> Tensor:
    """uint8 to [-1, 1] float."""
    return frames.float() / 127.5 - 1


def to_bytes(frames: Tensor) -> Tensor:
    """[-1, 1] float to uint8, rounded."""
    return ((frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
