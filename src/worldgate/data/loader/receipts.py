"""Receipts: which bytes of which recording a training sample was made of, and the proof by reading them again.

Sixteen bytes a sample: the episode's place in a table, the clip's first row, and the first and last source frame of the
lead stream (the first camera, or the first signal where there is none). The table says once what holds for all: clip
length and stride, and for each episode its id, its log, its alignment and a digest of every stream's row-to-source
indices. An episode's id covers the recording's encoded packets, native times and values, so a receipt names bytes, not
file names.

:func:`prove` goes the other way: from a log and a receipt, through the alignment, to the frames themselves, and holds
them against what was served. What came from raw frames must be equal to the bit; what came from a lossy cache, or was
scaled while it was decoded, must be within a stated bound, and then the proof says so.

Shape legend: B samples, T frames, H x W pixels, D values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from worldgate.core.digest import digest_array, short
from worldgate.core.episodes import Episode
from worldgate.core.errors import NotFound, Tampered
from worldgate.core.streams import NUMERIC, Array, IntArray, Log, Origin
from worldgate.data import scaling
from worldgate.data.alignment import AlignmentSpec, align
from worldgate.data.loader.batches import RECEIPT, Clip

SCHEMA: Final = "worldgate.clip-receipts/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeReceipt:
    """What receipts of one episode share."""

    id: str
    log: str
    name: str
    origin: Origin
    alignment: str
    indices: Mapping[str, str]
    """Stream -> digest of its (T,) source indices, row by row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptTable:
    """What all receipts of a loader share; JSON by :func:`worldgate.core.digest.canonical`."""

    frames: int
    """Frames of a clip."""
    stride: int
    """Rows from one frame to the next."""
    lead: str
    """The stream whose source frames stand in the receipt."""
    streams: tuple[str, ...]
    episodes: tuple[EpisodeReceipt, ...]
    psnr_db: float | None
    """What served pictures keep of the recording's at least; None: every bit."""
    schema: str = SCHEMA

    def rows(self, receipt: np.void) -> IntArray:
        """(T,) rows of a sample."""
        return int(receipt["row"]) + np.arange(self.frames, dtype=np.int64) * self.stride

    def episode(self, receipt: np.void) -> EpisodeReceipt:
        """The episode of a sample.

        Raises:
            NotFound: a receipt of another table.
        """
        place = int(receipt["episode"])
        if place >= len(self.episodes):
            raise NotFound("a receipt that does not belong to this table", got=f"episode {place}")
        return self.episodes[place]


def table_of(
    episodes: Sequence[Episode], streams: Sequence[str], *, frames: int, stride: int, psnr_db: float | None
) -> ReceiptTable:
    """The table of a loader over these episodes."""
    return ReceiptTable(
        frames=frames,
        stride=stride,
        lead=streams[0],
        streams=tuple(streams),
        psnr_db=psnr_db,
        episodes=tuple(_episode(episode, streams) for episode in episodes),
    )


def _episode(episode: Episode, streams: Sequence[str]) -> EpisodeReceipt:
    return EpisodeReceipt(
        id=episode.id,
        log=episode.log,
        name=episode.name,
        origin=episode.origin,
        alignment=episode.alignment,
        indices={name: digest_array(episode.streams[name].index) for name in streams},
    )


class Issuer:
    """Writes the receipts of a batch.

    Args:
        episodes: in the order of the table.
        lead: the table's lead stream.
        frames: of a clip.
        stride: rows from one frame to the next.
    """

    def __init__(self, episodes: Sequence[Episode], lead: str, *, frames: int, stride: int) -> None:
        self._index = np.concatenate([episode.streams[lead].index for episode in episodes])
        lengths = [len(episode) for episode in episodes]
        self._offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        self._span = (frames - 1) * stride

    def issue(self, episodes: IntArray, rows: IntArray) -> Array:
        """(B,) receipts of the clips that begin at these rows."""
        out = np.empty(len(rows), RECEIPT)
        at = self._offsets[episodes] + rows
        out["episode"], out["row"] = episodes, rows
        out["first"], out["last"] = self._index[at], self._index[at + self._span]
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One stream of a sample beside the same frames of the recording."""

    stream: str
    source: tuple[int, ...]
    """Messages of the log, frame by frame."""
    equal: bool
    """To the bit."""
    psnr_db: float
    """Infinite where equal; of numbers, over their own range."""
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What reading a sample again showed."""

    episode: str
    log: str
    streams: tuple[Match, ...]

    @property
    def ok(self) -> bool:
        """Every stream is what the receipt says: to the bit, or within the table's bound."""
        return all(match.ok for match in self.streams)

    @property
    def exact(self) -> bool:
        """Every stream is equal to the bit."""
        return all(match.equal for match in self.streams)


def prove(clip: Clip, table: ReceiptTable, log: Log, spec: AlignmentSpec) -> Proof:
    """Read a sample's frames again from the recording, and hold them against what was served.

    Args:
        clip: what was served, with its receipt.
        table: of the loader that served it.
        log: the recording; it is read whole once, to see that it is the one.
        spec: its alignment.

    Raises:
        NotFound: a receipt of another table.
        Tampered: another recording or alignment than the receipt names.
    """
    about, rows = table.episode(clip.receipt), table.rows(clip.receipt)
    episode = align(log, spec)
    if episode.id != about.id:
        raise Tampered("not the recording and alignment of this receipt", got=short(episode.id), where=short(about.id))
    for name in table.streams:
        if digest_array(episode.streams[name].index) != about.indices[name]:
            raise Tampered("rows that are made of other messages", got=name, where=short(about.id))
    lead = episode.streams[table.lead].index[rows[[0, -1]]].tolist()
    if lead != [int(clip.receipt["first"]), int(clip.receipt["last"])]:
        raise Tampered("a receipt that names other frames", got=f"rows {rows[0]} to {rows[-1]}", where=short(about.id))
    matches = tuple(_match(clip, name, episode, log, rows, table.psnr_db) for name in table.streams)
    return Proof(episode=about.id, log=about.log, streams=matches)


def _match(clip: Clip, name: str, episode: Episode, log: Log, rows: IntArray, psnr_db: float | None) -> Match:
    source = episode.streams[name].index[rows]
    kind = episode.streams[name].info.kind
    if kind in NUMERIC:
        served: Array = clip.numbers[name]
        again: Array = episode.array(name)[rows].reshape(len(rows), -1).astype(np.float32)
        bound = None
    else:
        served = clip.frames[name]
        again = np.empty_like(served)
        for image, place in zip(log.read(name).frames.read(source), again, strict=True):
            scaling.scale_into(image, place, kind)
        bound = psnr_db if served.dtype == np.uint8 and served.ndim == 4 else None
    equal = bool(np.array_equal(served, again))
    psnr = psnr_of(served, again)
    return Match(
        stream=name,
        source=tuple(source.tolist()),
        equal=equal,
        psnr_db=psnr,
        ok=equal or (bound is not None and psnr >= bound),
    )


def psnr_of(a: Array, b: Array) -> float:
    """Peak signal to noise in dB, over the range of the type or, for other numbers, of ``b``; infinite where equal."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    peak = 255.0 if b.dtype == np.uint8 else float(np.ptp(b)) or 1.0
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))
