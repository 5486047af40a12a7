"""Pictures of an episode into a fragment: as they are coded where that can be passed on, else encoded; or as images.

Shape legend: T frames, H x W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
import pyarrow as pa
from av.video.frame import PictureType, VideoFrame

from worldgate.core.errors import UsageError
from worldgate.core.streams import ByteArray, Frames, IntArray
from worldgate.data.logs._coded import CodedRun, Joined, coded
from worldgate.data.logs._images import EncodedFrames, encode
from worldgate.data.logs._lerobot_stats import Sampled, Statistics
from worldgate.data.logs._video import VideoFrames, video_index

_CODEC: Final = "libx264"
# A keyframe every 16 frames: clips are read, not single frames, and each episode begins with one.
_CODEC_OPTIONS: Final = {"preset": "veryfast", "crf": "20", "g": "16", "bf": "0", "forced-idr": "1"}
_AT_ONCE: Final = 16
IMAGE: Final = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How lerobot holds an image in a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """One camera's pictures of an episode, as they were written."""

    height: int
    width: int
    codec: str = ""
    """Empty: images in the table."""
    pix_fmt: str = ""
    delay: int = 0
    parameters: str = ""
    """SHA-256 of the decoder's configuration; videos share a file where this, codec and delay agree."""

    @property
    def joins(self) -> tuple[str, str, int, str]:
        """Videos that agree in this can be joined packet by packet."""
        return self.codec, self.pix_fmt, self.delay, self.parameters


def size_of(key: str, frames: ByteArray | Frames) -> tuple[int, int]:
    """Height and width of a camera's pictures.

    Raises:
        UsageError: not (T, H, W, 3) uint8 with even H and W, as yuv420p needs.
    """
    if isinstance(frames, np.ndarray):
        shape, dtype = frames.shape, frames.dtype
    else:
        first = frames.read(np.zeros(min(1, len(frames)), dtype=np.int64))
        shape, dtype = (len(frames), *first.shape[1:]), first.dtype
    if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8 or shape[1] % 2 or shape[2] % 2:
        raise UsageError("video frames are (T, H, W, 3) uint8 with even H and W", got=f"{shape} {dtype}", where=key)
    return shape[1], shape[2]


def blocks(frames: ByteArray | Frames) -> Iterator[ByteArray]:
    """Decoded frames, a few at a time."""
    for start in range(0, len(frames), _AT_ONCE):
        some = np.arange(start, min(start + _AT_ONCE, len(frames)), dtype=np.int64)
        yield frames[some[0] : some[-1] + 1] if isinstance(frames, np.ndarray) else frames.read(some)


def write_video(path: Path, frames: ByteArray | Frames, fps: int) -> tuple[Camera, Statistics]:
    """Write one MP4 of an episode's frames.

    Raises:
        UsageError: pictures that a video cannot hold.
        LogUnreadable: pictures that cannot be read.
    """
    run = None if isinstance(frames, np.ndarray) else coded(frames)
    if run is None:
        statistics = _encode(path, frames, fps)
    else:
        made = Joined(path, run, fps)
        made.add(run)
        made.close()
        statistics = _sample(frames)
    return camera_of(path), statistics


def camera_of(path: Path) -> Camera:
    """What a fragment's video is."""
    run = whole(path)
    index = video_index(path)
    return Camera(
        height=index.height,
        width=index.width,
        codec=run.codec,
        pix_fmt=run.pix_fmt,
        delay=run.delay,
        parameters=hashlib.sha256(run.parameters).hexdigest(),
    )


def whole(path: Path) -> CodedRun:
    """All of a fragment's video, to be passed on."""
    count = len(video_index(path).pts)
    run = coded(VideoFrames(path=path, rows=np.arange(count, dtype=np.int64)))
    assert run is not None, path
    return run


def _encode(path: Path, frames: ByteArray | Frames, fps: int) -> Statistics:
    sampled = Sampled(len(frames))
    at = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream(_CODEC, rate=fps, options=dict(_CODEC_OPTIONS))
        for block in blocks(frames):
            if at == 0:
                stream.height, stream.width = block.shape[1:3]
                stream.pix_fmt = "yuv420p"
            for image in block:
                frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                frame.pts = at
                if at == 0:
                    frame.pict_type = PictureType.I
                container.mux(stream.encode(frame))
                sampled.see(at, image)
                at += 1
        container.mux(stream.encode(None))
    return sampled.statistics()


def _sample(frames: Frames | ByteArray) -> Statistics:
    """Statistics of pictures of which only the sampled ones are decoded."""
    sampled = Sampled(len(frames))
    for row in sampled.rows.tolist():
        one = np.array([row], dtype=np.int64)
        sampled.see(row, frames[row] if isinstance(frames, np.ndarray) else frames.read(one)[0])
    return sampled.statistics()


def image_column(frames: ByteArray | Frames) -> tuple[pa.Array, Statistics]:
    """Pictures as lossless PNG in a column; PNG and JPEG pass unchanged."""
    sampled = _sample(frames)
    rows: IntArray = np.arange(len(frames), dtype=np.int64)
    if isinstance(frames, EncodedFrames):
        kept = [(image.format, image.data) for image in frames.encoded(rows)]
        if all(format in {"png", "jpeg"} for format, _ in kept):
            return _column([data for _, data in kept]), sampled
    return _column([encode(image, "png") for block in blocks(frames) for image in block]), sampled


def _column(images: list[bytes]) -> pa.Array:
    return pa.array([{"bytes": data, "path": None} for data in images], type=IMAGE)
