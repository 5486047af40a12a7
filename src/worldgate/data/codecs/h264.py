"""H.264 with a keyframe every clip length: the smallest, for data sets that fit no other way.

LeRobot's default of a keyframe every other frame suits single frames; a clip reads many in a row, and a group as long
as the clip is several times smaller at no cost in speed. No B-frames and no scene cuts, so a frame's place tells its
group. Packets carry their own parameter sets and go to a bare decoder: there is no container to seek in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from av.codec.codec import UnknownCodecError
from av.codec.context import CodecContext
from av.video.frame import PictureType, VideoFrame

from worldgate.core.errors import UsageError
from worldgate.core.streams import Array, IntArray
from worldgate.data.codecs._file import ClipFile
from worldgate.data.logs._video_decode import Decoder, Packets

CARD = {
    "line": "H.264 with a keyframe every clip length: a fiftieth of the bytes",
    "inputs": "images of even height and width",
    "source": "ITU-T H.264, by x264",
}

LOSSY = 28.0
GROUPED = True

_OPTIONS = {"preset": "veryfast", "crf": "18", "bf": "0", "sc_threshold": "0", "forced-idr": "1", "threads": "1"}


def encode(frames: Iterable[Array], group: int) -> Iterator[bytes]:
    """One packet a frame.

    Raises:
        UsageError: an odd height or width, which chroma at half resolution does not have.
    """
    context: Any = None
    for row, frame in enumerate(frames):
        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            raise UsageError("H.264 takes an even height and width", got=f"{height}x{width}", hint="or take jpeg")
        if context is None:
            context = _encoder()
            context.height, context.width, context.pix_fmt, context.framerate = height, width, "yuv420p", 30
            context.options = {**_OPTIONS, "g": str(group), "keyint_min": str(group)}
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = row
        picture.pict_type = PictureType.I if row % group == 0 else PictureType.NONE
        yield from map(bytes, context.encode(picture))
    if context is not None:
        yield from map(bytes, context.encode(None))


def _encoder() -> Any:
    try:
        return CodecContext.create("libx264", "w")
    except UnknownCodecError as error:
        what = "H.264 cannot be written here"
        raise UsageError(what, got="an FFmpeg without libx264", hint="codec = 'jpeg'") from error


def reader(file: ClipFile) -> H264Reader:
    """Random access."""
    return H264Reader(file)


class H264Reader(Decoder):
    """Decodes from the keyframe at or before a row."""

    def __init__(self, file: ClipFile) -> None:
        self._clips = file
        header, rows = file.header, np.arange(file.header.frames, dtype=np.int64)
        packets = Packets(
            path=file.path,
            decoder="h264",
            extradata=b"",
            height=header.shape[0],
            width=header.shape[1],
            stamps=rows,
            pts=rows,
            key=rows % header.group == 0,
            at=file.table["at"].astype(np.int64),
            size=file.table["size"].astype(np.int64),
        )
        super().__init__(packets)

    def data(self, place: int) -> bytes:
        """The bytes of a packet, held against its checksum."""
        data = super().data(place)
        self._clips.check(place, data)
        return data

    def into(self, numbers: IntArray, out: Array) -> None:
        super().into(numbers, out)

    def close(self) -> None:
        super().close()
        self._clips.close()
