"""What rosbag2 compresses by zstd: whole files and single messages. No size that a file claims is believed."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Final

import zstandard

from worldgate.core.errors import LogUnreadable
from worldgate.data.logs._mcap_container import Container

_MAX_RATIO: Final = 1000
"""A file that unpacks to more than this many times its size is refused."""
_MAX_MESSAGE: Final = 1 << 29
_BLOCK: Final = 1 << 20


def unpacked(data: bytes) -> bytes:
    """Decompress one zstd frame of at most 512 MiB.

    Raises:
        LogUnreadable: damaged bytes, or a frame that claims more.
    """
    try:
        claimed = zstandard.get_frame_parameters(data).content_size
        if claimed != zstandard.CONTENTSIZE_UNKNOWN and claimed > _MAX_MESSAGE:
            raise LogUnreadable("a compressed message that claims more than 512 MiB", got=claimed)
        # Without a claim the decoder would set aside the whole limit at once; so it is fed from a stream.
        with zstandard.ZstdDecompressor().stream_reader(data) as reader:
            whole = reader.read(_MAX_MESSAGE) if claimed == zstandard.CONTENTSIZE_UNKNOWN else reader.read(claimed)
    except zstandard.ZstdError as error:
        raise LogUnreadable("a compressed message that does not unpack", got=str(error)[:80]) from error
    return whole


def unpacked_file(path: Path, owner: object) -> Path:
    """Decompress a ``.zstd`` file into a temporary one, which goes when its owner goes.

    Raises:
        LogUnreadable: damaged bytes, or a file that grows beyond a thousand times its size.
    """
    folder = Path(tempfile.mkdtemp(prefix="worldgate-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    target, limit = folder / path.stem, path.stat().st_size * _MAX_RATIO + _BLOCK
    try:
        with path.open("rb") as packed, target.open("wb") as out:
            for block in zstandard.ZstdDecompressor().read_to_iter(packed, write_size=_BLOCK):
                out.write(block)
                if out.tell() > limit:
                    got = f"more than {limit} bytes from {path.stat().st_size}"
                    raise LogUnreadable("a compressed file that grows beyond all measure", got=got, where=path)
    except zstandard.ZstdError as error:
        raise LogUnreadable("a compressed file that does not unpack", got=str(error)[:80], where=path) from error
    return target


class PackedMcap(Container):
    """An ``.mcap.zstd`` file, read from its unpacked form.

    Raises:
        LogUnreadable: what :func:`unpacked_file` or ``Container`` refuses.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(unpacked_file(path, self))
