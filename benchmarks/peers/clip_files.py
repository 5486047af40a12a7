"""The files that ``benchmarks/clip_loading.py`` reads: real recordings as LeRobot v3.0, in the encodings that matter.

Our own writer lays out rows and metadata; its videos are then replaced by (a) the recording's own packets, copied and
not encoded again, or (b) a new encoding by LeRobot's own settings (AV1, a keyframe every other frame, CRF 30) at the
size that models take. So every reader reads the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.streams import Kind, Origin
from worldgate.data.alignment import AlignedFrames, AlignmentSpec, align
from worldgate.data.logs import open_folder
from worldgate.data.logs._video import VideoFrames
from worldgate.data.logs.lerobot import LeRobotWriter

SVT = {"g": "2", "crf": "30", "preset": "12", "svtav1-params": "lp=1"}
"""Its own threads have hung on a busy machine, so it has none."""


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """Some real recordings."""

    name: str
    folder: str
    codec: str
    fps: int
    numbers: tuple[str, ...] = ("observation.state", "action")

    def episodes(self, data: Path, most: int) -> list[Episode]:
        """The first ``most`` of them, a row a frame of the first camera."""
        found = []
        for log in open_folder(data / self.folder).logs[:most]:
            camera = next(info.name for info in log.streams() if info.kind is Kind.IMAGE)
            found.append(align(log, AlignmentSpec(reference=camera), digest=f"{len(found):064x}"))
        return found


def cameras_of(episode: Episode) -> tuple[str, ...]:
    """Names of its cameras."""
    return tuple(name for name, rows in episode.streams.items() if rows.info.kind is Kind.IMAGE)


def source(episode: Episode, camera: str) -> VideoFrames:
    """The video that a camera's frames lie in."""
    values = episode.streams[camera].values
    assert isinstance(values, AlignedFrames)
    assert isinstance(values.frames, VideoFrames)
    return values.frames


def write_dataset(root: Path, episodes: list[Episode], about: Recordings, size: tuple[int, int] | None) -> Path:
    """Write a LeRobot v3.0 dataset.

    Args:
        root: the folder to make; one that is there already is taken as it is.
        episodes: what it holds.
        about: where they come from.
        size: height and width to encode anew at; None: the recording's own packets.
    """
    if root.exists():
        return root
    with LeRobotWriter(root, fps=about.fps, robot_type="bench", origin=Origin.REAL) as writer:
        for episode in episodes:
            # Pictures that cost nothing to encode: what is written here is replaced.
            frames = {camera: blank(episode, camera, size) for camera in cameras_of(episode)}
            numbers = {name: episode.array(name).astype(np.float32) for name in about.numbers}
            writer.add_episode(numbers, frames, task="bench")
    for camera in cameras_of(episodes[0]):
        (video,) = (root / "videos" / camera).rglob("*.mp4")
        other = video.with_suffix(".new.mp4")
        (copy_packets if size is None else encode)(other, episodes, camera, about.fps, size)
        os.replace(other, video)
    return root


def blank(episode: Episode, camera: str, size: tuple[int, int] | None) -> np.ndarray:
    """Black frames of a camera's length and size."""
    height, width = size or episode.streams[camera].info.shape[:2]
    return np.broadcast_to(np.zeros((1, height, width, 3), np.uint8), (len(episode), height, width, 3))


def copy_packets(path: Path, episodes: list[Episode], camera: str, fps: int, size: None) -> None:
    """Join the recordings' videos without decoding them."""
    with av.open(str(path), "w") as out:
        stream, start = None, 0
        for episode in episodes:
            with av.open(str(source(episode, camera).path)) as held:
                video = held.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(video, opaque=True)
                ticks = round(1 / (fps * float(video.time_base)))
                for packet in held.demux(video):
                    if packet.size:
                        packet.pts += start * ticks
                        packet.dts += start * ticks
                        packet.stream = stream
                        out.mux(packet)
            start += len(episode)


def frames(episodes: list[Episode], camera: str, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Every frame at this size."""
    for episode in episodes:
        for first in range(0, len(episode), 32):
            rows = np.arange(first, min(first + 32, len(episode)), dtype=np.int64)
            for image in episode.streams[camera].values.read(rows):
                yield cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)


def encode(path: Path, episodes: list[Episode], camera: str, fps: int, size: tuple[int, int]) -> None:
    """Encode as lerobot 0.4.4 does by default."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libsvtav1", rate=fps, options=SVT)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for row, image in enumerate(frames(episodes, camera, size)):
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts = row
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
