"""Pictures held in memory with one camera fault each: a still, textured scene in which a bright block goes round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from worldgate.core.streams import Kind, Stream, StreamInfo

Pictures = np.ndarray[Any, Any]
COUNT = 200
TIMES = np.arange(COUNT, dtype=np.int64) * 10_000_000


def scene(height: int = 96, width: int = 128, seed: int = 0) -> Pictures:
    """(H, W) a cluttered background: grey blocks with fine structure on them."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 190, (height // 8, width // 8)).repeat(8, axis=0).repeat(8, axis=1)
    fine = rng.integers(-20, 20, (height // 2, width // 2)).repeat(2, axis=0).repeat(2, axis=1)
    return (coarse + fine).astype(np.float64)


def video(
    count: int, *, noise: float = 1.0, seed: int = 0, moving: bool = True, size: tuple[int, int] = (96, 128)
) -> Pictures:
    """(N, H, W, 3) the scene; the block stays inside, away from the edge."""
    height, width = size
    rng = np.random.default_rng(seed)
    out = scene(height, width)[None].repeat(count, axis=0)
    for i in range(count if moving else 0):
        x = int(width * (0.4 + 0.25 * np.sin(i / 9)))
        y = int(height * (0.4 + 0.2 * np.cos(i / 7)))
        out[i, y : y + height // 5, x : x + width // 6] = 245
    for picture in out if noise else ():
        picture += rng.normal(0, noise, picture.shape)
    return np.clip(out, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=3)


def camera(images: Pictures, times: Any = TIMES, *, rate_hz: float = 100.0) -> Stream:
    """A camera that shows these."""
    info = StreamInfo(name="camera", kind=Kind.IMAGE, count=len(times), shape=images.shape[1:], rate_hz=rate_hz)
    return Stream(info=info, times_ns=times, values=images)


def shifted(images: Pictures, x: float, y: float, degrees: float = 0.0) -> Pictures:
    """The pictures of a camera that was knocked."""
    height, width = images.shape[1:3]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    matrix[:, 2] += (x, y)
    moved = [cv2.warpAffine(p, matrix, (width, height), borderMode=cv2.BORDER_REFLECT) for p in images]
    return np.stack(moved).astype(np.uint8)


def blurred(images: Pictures, sigma: float) -> Pictures:
    """The pictures out of focus."""
    return np.stack([cv2.GaussianBlur(p, (0, 0), sigma) for p in images]).astype(np.uint8)


def _lossy() -> Stream:
    lost = slice(3, None, 7)
    return camera(np.delete(video(COUNT), lost, axis=0), np.delete(TIMES, lost))


def _from(start: int, change: Callable[[Pictures], Pictures]) -> Stream:
    images = video(COUNT)
    images[start:] = change(images[start:])
    return camera(images)


def _covered(images: Pictures) -> Pictures:
    out = images.copy()
    out[:, :, : images.shape[2] // 3] = 30
    return out


def _stuck() -> Stream:
    images = video(COUNT)
    images[60:160] = images[60]
    return camera(images)


def _torn() -> Stream:
    images = video(COUNT)
    images[100, 48:] = np.roll(images[100, 48:], 40, axis=1)
    return camera(images)


FAULTS: dict[str, Callable[[], Stream]] = {
    "blank": lambda: _from(100, lambda images: np.full_like(images, 255)),
    "blur": lambda: _from(100, lambda images: blurred(images, 2.0)),
    "content_rate": lambda: camera(video(COUNT).repeat(2, axis=0)[:COUNT]),
    "corrupt": _torn,
    "dropped_frames": _lossy,
    "exposure": lambda: _from(100, lambda images: np.clip(images * 1.6, 0, 255).astype(np.uint8)),
    "extrinsics": lambda: _from(100, lambda images: shifted(images, 5.0, 2.0)),
    "frozen": _stuck,
    "metadata": lambda: camera(video(COUNT), rate_hz=25.0),
    "occluded": lambda: _from(100, _covered),
    "resolution": lambda: replace(camera(video(COUNT)), info=replace(camera(video(COUNT)).info, shape=(480, 640, 3))),
}
"""Check -> a camera with what it looks for."""
