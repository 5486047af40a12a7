"""Loading: a dataset's episodes, aligned again from verified logs, or from the cache of aligned numbers."""

from __future__ import annotations

from collections.abc import Sequence

from worldgate.core.digest import short
from worldgate.core.episodes import Episode
from worldgate.core.errors import Tampered
from worldgate.data import contracts, episode_cache
from worldgate.data.alignment import align
from worldgate.data.datasets.manifests import DatasetManifest, EpisodeEntry, manifest
from worldgate.data.ingest import Progress, Shelf
from worldgate.record.workspace import Workspace


def load(ws: Workspace, digest: str, split: str | None = None, *, progress: Progress | None = None) -> list[Episode]:
    """The episodes of a dataset, or of one split, aligned from verified logs or from the cache.

    Args:
        ws: the workspace.
        digest: of the dataset.
        split: its name; None: all.
        progress: called after every episode.

    Raises:
        NotFound: no such dataset or split.
        Tampered: bytes of a log that are not what was recorded.
    """
    held = manifest(ws, digest)
    return load_entries(ws, held, held.split(split), progress=progress)


def load_entries(
    ws: Workspace, held: DatasetManifest, entries: Sequence[EpisodeEntry], *, progress: Progress | None = None
) -> list[Episode]:
    """Some episodes of a manifest; see :func:`load`."""
    spec = contracts.load(ws, held.contract).spec()
    shelf = Shelf(ws)
    out = []
    for done, entry in enumerate(entries):
        episode = episode_cache.load(ws.cache, shelf, entry.id, entry.log)
        if episode is None:
            episode = align(shelf.open(entry.log), spec, digest=entry.log)
            episode_cache.save(ws.cache, episode)
        if (episode.id, episode.origin) != (entry.id, entry.origin):
            raise Tampered("an episode that is not the recorded one", got=short(episode.id), where=short(entry.id))
        out.append(episode_cache.with_clip_cache(episode, ws.cache))
        if progress is not None:
            progress(done + 1, len(entries), entry.name)
    return out
