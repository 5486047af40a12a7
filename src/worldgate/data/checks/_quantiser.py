"""How finely a video is coded: whether its sensor's noise can have come through the codec at all.

The quantiser's step doubles every six of its parameter (ITU-T H.264, 8.5.9). Where it is small, a live camera's noise
changes some block of some frame; where it is large, a live camera that sees nothing move decodes to equal pixels too.
"""

from __future__ import annotations

from typing import Any, Final

import av
import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from worldgate.core.streams import Array, Frames
from worldgate.data.logs._packets import PacketFrames, codec_of
from worldgate.data.logs._video import VideoFrames

_EXPORT: Final = {"export_side_data": "venc_params"}
_WANTED: Final = "VIDEO_ENC_PARAMS"


def quantiser(values: Array | Frames) -> float | None:
    """Mean quantisation parameter of the blocks of the first key frame; None where the decoder does not tell it.

    FFmpeg tells it of H.264; of H.265 and AV1 it does not.
    """
    try:
        if isinstance(values, VideoFrames):
            with av.open(str(values.path)) as container:
                context = container.streams.video[0].codec_context
                context.options = _EXPORT
                return _mean(next(iter(container.decode(video=0)), None))
        if isinstance(values, PacketFrames) and len(values):
            return _of_packets(values)
    except (FFmpegError, OSError, ValueError):
        return None
    return None


def _of_packets(values: PacketFrames) -> float | None:
    packets = values.stream.packets
    context: VideoCodecContext = codec_of(values.stream.format)
    context.options = _EXPORT
    packet = Packet(packets.scattered[packets.start(int(values.rows.min()))])
    return _mean(next(iter([*context.decode(packet), *context.decode(None)]), None))


def _mean(frame: Any) -> float | None:
    for data in frame.side_data if frame is not None else ():
        if data.type.name == _WANTED:
            blocks = [data.block_params(number).delta_qp for number in range(data.nb_blocks)]
            return float(data.qp + np.mean(blocks)) if blocks else float(data.qp)
    return None
