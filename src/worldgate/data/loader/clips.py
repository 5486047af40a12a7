"""The clip loader: random multi-camera clips with states and actions, into batches that are filled again and again.

What is served is a function of the configuration, the episodes and the epoch: not of the number of workers, nor of
whether the run was interrupted. Every sample carries a receipt (:mod:`worldgate.data.loader.receipts`).

Shape legend: B clips, T frames, H x W pixels, D values.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import digest_json
from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, NotFound, Tampered, UsageError
from worldgate.core.streams import NUMERIC, Array, FloatArray, IntArray, Kind
from worldgate.data import clip_cache, codecs, scaling
from worldgate.data.clip_cache import ClipSpec, Progress
from worldgate.data.loader import readers
from worldgate.data.loader.batches import Allocate, Arrays, Batch, Clip, Layout, plain
from worldgate.data.loader.blocks import Blocks, cut
from worldgate.data.loader.filling import Filler, Task, number_tables
from worldgate.data.loader.readers import Source
from worldgate.data.loader.receipts import Issuer, ReceiptTable, table_of
from worldgate.data.loader.sampler import OrderName, Rows, Shard, Tail, Uniform, windows
from worldgate.data.loader.workers import Pool

SCHEMA: Final = "worldgate.clip-loader/1"
DIRECT: Final = "none"
"""Instead of a codec: no cache, the recordings themselves."""
SCALED_DB: Final = 30.0
"""What frames that are scaled while they are decoded keep of those scaled afterwards, at least."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig:
    """What a loader serves, and how."""

    cameras: tuple[str, ...] = ()
    """Image, depth, segmentation and normals streams."""
    numbers: tuple[str, ...] = ()
    """States, actions and other vectors."""
    size: scaling.Pixels = 256
    """Height and width; one number is a square."""
    frames: int = 16
    """T."""
    stride: int = 1
    """Rows from one frame of a clip to the next."""
    step: int = 1
    """Rows between the starts of clips that may be served."""
    batch: int = 8
    """B, on each rank."""
    codec: str = "auto"
    """How the clip cache keeps frames: ``auto`` chooses by size against memory; ``none``: no cache."""
    order: OrderName = "uniform"
    """``uniform``: every clip at any place of the epoch. ``blocks``: clips drawn from a few stretches of episodes at a
    time, so that a frame is decoded about once an epoch. ``rows``: episode by episode, row by row."""
    memory_gb: float = 0.0
    """Block order: for frames of the stretches that are open, on each rank; each worker may take one stretch more."""
    spans: int = 16
    """Block order: stretches that are open at once, at least; fewer are longer, more mix better."""
    workers: int = 0
    """Processes that fill batches; 0: this one."""
    ahead: int = 2
    """Batches that each worker may be ahead."""
    keep: int = 1
    """Batches that are valid at once: the one just taken, and those before it."""
    seed: int = 0
    rank: int = 0
    ranks: int = 1
    tail: Tail = "pad"
    """What becomes of clips that fill no whole batch: ``pad`` fills up, ``drop`` leaves them out of this epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderState:
    """Where a loader stands; small, JSON, and all that resuming needs."""

    epoch: int
    batch: int
    """Batches of this epoch that were served."""
    stretch: int
    """Clips that all ranks take at once: a run may go on with other ranks of the same total."""
    content: str
    """Digest of what is served: episodes, streams, clip length, order, seed; in block order memory and ranks, too."""
    schema: str = SCHEMA


class ClipLoader:
    """Serves batches; iterate over it once an epoch.

    Args:
        config: what, and how.
        episodes: of one dataset's split, for example.
        cache: the workspace's cache folder; needed unless ``codec = "none"``.
        allocate: makes the memory batches lie in, for pinned memory; ordinary memory where not given.
        progress: called while the clip cache is made.

    Raises:
        NotFound: an episode without one of the streams.
        DataRefused: no clip of this length without a gap.
        UsageError: a configuration that cannot be served.
    """

    def __init__(
        self,
        config: ClipConfig,
        episodes: Sequence[Episode],
        *,
        cache: Path | None = None,
        allocate: Allocate | None = None,
        progress: Progress | None = None,
    ) -> None:
        _refuse(config, episodes)
        self.config = config
        self._episodes = tuple(episodes)
        streams = (*config.cameras, *config.numbers)
        about = {"frames": config.frames, "stride": config.stride}
        self._windows = windows(episodes, streams, step=config.step, **about)
        self._shard = Shard(
            batch=config.batch,
            rank=config.rank,
            ranks=config.ranks,
            tail=config.tail,
            together=config.order == "blocks",
        )
        if not len(self):
            got = f"{len(self._windows)} clips for {self._shard.stretch} at once"
            raise UsageError("no whole batch", got=got, hint="a smaller batch, or tail = 'pad'")
        self.codec = self._codec(cache)
        """How frames are read: a clip codec, or ``none``."""
        self._cache = cache
        self._specs: list[ClipSpec] = []
        sources, numbers = self._sources(progress), number_tables(episodes, config.numbers)
        self._layout = self._make_layout(numbers)
        self._order = self._make_order()
        self._filler = self._make_filler(sources, numbers)
        self._issuer = Issuer(episodes, streams[0], **about)
        self.receipts: ReceiptTable = table_of(episodes, streams, psnr_db=self._bound(), **about)
        """What the receipts of all samples share; keep it beside them."""
        self._allocate = allocate
        self._blocks: list[Arrays] = []
        self._pool: Pool | None = None
        self._epoch = self._batch = 0

    # ---------------------------------------------------------------- set up

    def _codec(self, cache: Path | None) -> str:
        config = self.config
        if config.codec == DIRECT or not config.cameras:
            return DIRECT
        if cache is None:
            raise UsageError("a clip cache needs a folder", hint="cache=ws.cache, or codec = 'none'")
        if config.codec != "auto":
            codecs.load(config.codec)
            return config.codec
        raw = clip_cache.raw_bytes(self._episodes, config.cameras, config.size)
        chosen = clip_cache.choose(raw, cache=cache)
        _logger.info("%.2f GB of raw frames: the clip cache is %s", raw / 1e9, chosen)
        return chosen

    def _sources(self, progress: Progress | None) -> list[list[Source]]:
        config, episodes = self.config, self._episodes
        if self.codec == DIRECT:
            return readers.direct(episodes, config.cameras, portable=config.workers > 0)
        assert self._cache is not None
        first = episodes[0]
        self._specs = [
            clip_cache.spec_of(first, camera, config.size, self.codec, config.frames) for camera in config.cameras
        ]
        clip_cache.ensure(episodes, self._specs, cache=self._cache, progress=progress)
        return readers.cached(self._cache, episodes, self._specs)

    def _make_order(self) -> Uniform | Rows | Blocks:
        config = self.config
        if config.order == "uniform":
            return Uniform(self._windows, seed=config.seed)
        if config.order == "rows":
            return Rows(self._windows)
        spans = cut(
            self._windows,
            frames=config.frames,
            stride=config.stride,
            frame_bytes=self._layout.row_bytes,
            memory=int(config.memory_gb * 1e9),
            least=config.spans,
        )
        _logger.info("%d spans, %d open at once, in %.2f GB", len(spans), spans.open, spans.held / 1e9)
        return Blocks(self._windows, spans, seed=config.seed, ranks=config.ranks)

    def _make_filler(self, sources: list[list[Source]], numbers: Mapping[str, FloatArray]) -> Filler:
        config, order = self.config, self._order
        lengths = [len(episode) for episode in self._episodes]
        reach = np.arange(config.frames, dtype=np.int64) * config.stride
        memory = None
        if isinstance(order, Blocks):
            memory = order.memory(reach, workers=config.workers)
        return Filler(
            cameras=config.cameras,
            sources=sources,
            numbers=numbers,
            offsets=np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
            reach=reach,
            memory=memory,
        )

    def _make_layout(self, tables: Mapping[str, FloatArray]) -> Layout:
        config, lead = self.config, (self.config.batch, self.config.frames)
        height, width = scaling.pair(config.size)
        frames = {}
        for camera in config.cameras:
            kind = self._episodes[0].streams[camera].info.kind
            flat = kind in {Kind.DEPTH, Kind.SEGMENTATION}
            shape = (*lead, height, width) if flat else (*lead, height, width, 3)
            frames[camera] = (shape, clip_cache.frame_type(self._episodes[0], camera))
        numbers = {name: ((*lead, table.shape[1]), "float32") for name, table in tables.items()}
        return Layout(frames=frames, numbers=numbers)

    def _bound(self) -> float | None:
        return SCALED_DB if self.codec == DIRECT else codecs.load(self.codec).LOSSY

    # ---------------------------------------------------------------- serve

    def __len__(self) -> int:
        """Batches of an epoch on this rank; the same on every rank."""
        return self._shard.batches(self.clips)

    @property
    def clips(self) -> int:
        """Clips that there are, on all ranks together."""
        return len(self._windows)

    def __iter__(self) -> Iterator[Batch]:
        """The rest of this epoch; the next iteration is the next epoch.

        Raises:
            WorldgateError: a worker died; or what reading met.
        """
        epoch, first = self._epoch, self._batch
        filled = self._filled(self._task(epoch, index) for index in range(first, len(self)))
        for index, arrays in enumerate(filled, start=first):
            self._batch = index + 1
            if self._batch == len(self):
                self._epoch, self._batch = epoch + 1, 0
            yield self._served(epoch, index, arrays)

    def _task(self, epoch: int, index: int) -> Task:
        return self._task_of(epoch, self._shard.positions(index, self.clips)[0])

    def _task_of(self, epoch: int, places: IntArray) -> Task:
        order = self._order
        chosen = order.epoch(epoch)[places]
        episodes, rows = self._windows.episode[chosen], self._windows.row[chosen]
        task = Task(places=np.arange(len(places)), episodes=episodes, rows=rows)
        if isinstance(order, Blocks):
            return replace(task, spans=order.spans.of[chosen], turns=order.turns(epoch)[places])
        return task

    def _served(self, epoch: int, index: int, arrays: Arrays) -> Batch:
        task = self._task(epoch, index)
        return Batch(
            epoch=epoch,
            index=index,
            frames=arrays.frames,
            numbers=arrays.numbers,
            receipts=self._issuer.issue(task.episodes, task.rows),
            repeated=self._shard.positions(index, self.clips)[1],
        )

    def _filled(self, tasks: Iterator[Task]) -> Iterator[Arrays]:
        if not self.config.workers:
            yield from self._filled_here(tasks)
            return
        if self._pool is None:
            self._pool = Pool(
                self._filler,
                self._layout,
                workers=self.config.workers,
                ahead=self.config.ahead,
                keep=self.config.keep,
                mend=self._mend,
            )
        try:
            for place, arrays in enumerate(self._pool.filled(tasks)):
                yield arrays if self._allocate is None else self._copied(arrays, place)
        except BaseException:
            self.close()
            raise

    def _filled_here(self, tasks: Iterator[Task]) -> Iterator[Arrays]:
        for place, task in enumerate(tasks):
            arrays = self._block(place)
            mended: set[object] = set()
            while True:
                try:
                    self._filler.fill(arrays, task)
                    break
                except Tampered as error:
                    if error.where in mended:
                        raise
                    mended.add(error.where)
                    self._mend(error)
            yield arrays

    def _block(self, place: int) -> Arrays:
        """Memory of this process, in turn."""
        count = self.config.keep
        while len(self._blocks) < count:
            self._blocks.append(self._layout.views((self._allocate or plain)(self._layout.nbytes)))
        return self._blocks[place % count]

    def _copied(self, arrays: Arrays, place: int) -> Arrays:
        """A worker's batch in the caller's memory."""
        out = self._block(place)
        for name, array in {**arrays.frames, **arrays.numbers}.items():
            np.copyto((out.frames if name in out.frames else out.numbers)[name], array)
        return out

    def _mend(self, error: Tampered) -> None:
        """Make the damaged file again; an error that is not the cache's is raised as it is."""
        assert self._cache is not None or error.where is None
        for episode in self._episodes:
            for spec in self._specs:
                if self._cache is not None and clip_cache.path_of(self._cache, episode, spec) == error.where:
                    readers.forget()
                    clip_cache.ensure([episode], [spec], cache=self._cache, anew=True)
                    return
        raise error

    def receipts_at(self, epoch: int, index: int) -> Array:
        """Receipts of the batches that all ranks take at once, rank after rank; no frame is read."""
        shards = (replace(self._shard, rank=rank) for rank in range(self.config.ranks))
        tasks = [self._task_of(epoch, shard.positions(index, self.clips)[0]) for shard in shards]
        return np.concatenate([self._issuer.issue(task.episodes, task.rows) for task in tasks])

    def clip(self, place: int, *, epoch: int = 0) -> Clip:
        """One clip by its place in an epoch's order, in memory of its own.

        Raises:
            NotFound: no such place.
        """
        if not 0 <= place < self.clips:
            raise NotFound("no such clip", got=place, hint=f"0 to {self.clips - 1}")
        chosen = self._task_of(epoch, np.array([place]))
        task = replace(chosen, spans=None, turns=None)  # one clip is no reason to decode its neighbours
        one = {name: ((1, *shape[1:]), dtype) for name, (shape, dtype) in self._layout.frames.items()}
        numbers = {name: ((1, *shape[1:]), dtype) for name, (shape, dtype) in self._layout.numbers.items()}
        layout = Layout(frames=one, numbers=numbers)
        arrays = layout.views(plain(layout.nbytes))
        self._filler.fill(arrays, task)
        return Clip(
            frames={name: array[0] for name, array in arrays.frames.items()},
            numbers={name: array[0] for name, array in arrays.numbers.items()},
            receipt=self._issuer.issue(task.episodes, task.rows)[0],
        )

    # ---------------------------------------------------------------- resume

    def state(self) -> LoaderState:
        """Where it stands: after the last batch that was served, not after those that workers have made ready."""
        return LoaderState(epoch=self._epoch, batch=self._batch, stretch=self._shard.stretch, content=self._content())

    def restore(self, state: LoaderState | Mapping[str, Any]) -> None:
        """Go on at the batch after the last one that was served.

        Raises:
            UsageError: the state of a loader that serves something else.
            ConfigError: not a state.
        """
        held = state if isinstance(state, LoaderState) else decode(LoaderState, state, where="state of a clip loader")
        mine = (SCHEMA, self._shard.stretch, self._content())
        if (held.schema, held.stretch, held.content) != mine or not 0 <= held.batch < len(self):
            what = "clips at once" if held.stretch != self._shard.stretch else "episodes, streams or configuration"
            raise UsageError(
                "the state of a loader that serves something else",
                got=f"other {what}",
                hint="resume with the configuration and episodes that the run was started with",
            )
        self._epoch, self._batch = held.epoch, held.batch

    def _content(self) -> str:
        config, blocks = self.config, isinstance(self._order, Blocks)
        return digest_json(
            {
                "episodes": sorted(episode.id for episode in self._episodes),
                "streams": [*config.cameras, *config.numbers],
                "size": list(scaling.pair(config.size)),
                "clip": [config.frames, config.stride, config.step],
                "order": [config.seed, config.order, config.tail],
                "spans": [str(config.memory_gb), config.spans, config.ranks] if blocks else [],
            }
        )

    # ---------------------------------------------------------------- end

    def close(self) -> None:
        """End the workers; iterating again starts them again."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _refuse(config: ClipConfig, episodes: Sequence[Episode]) -> None:
    """What cannot be served, said before anything is read."""
    smallest = min(config.frames, config.stride, config.step, config.batch, config.ahead, config.keep, config.spans)
    if smallest < 1 or config.workers < 0:
        raise UsageError("clip length, stride, step, batch, ahead, keep and spans are at least 1", got=smallest)
    if not episodes or not (config.cameras or config.numbers):
        raise UsageError("a loader serves cameras or numbers of at least one episode", got=f"{len(episodes)} episodes")
    for episode in episodes:
        for name in config.cameras:
            kind, first = (clip_cache.stream_kind(held, name) for held in (episode, episodes[0]))
            if kind is not first:
                raise DataRefused("episodes disagree on a stream", got=f"{kind} beside {first}", where=name)
        for name in config.numbers:
            rows = episode.streams.get(name)
            if rows is None or rows.info.kind not in NUMERIC:
                have = [stream for stream, held in episode.streams.items() if held.info.kind in NUMERIC]
                raise NotFound("no such numbers", got=name, where=episode.name, hint=f"one of {', '.join(have)}")
