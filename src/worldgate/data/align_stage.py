"""The alignment stage: a log as an episode, its numbers a file of the cache, its report beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from worldgate.core.config import decode
from worldgate.data import episode_cache
from worldgate.data.alignment import AlignmentSpec, align
from worldgate.data.opening import open_log, where_from
from worldgate.engines import Made, Place

STAGE = "worldgate.data.align_stage:to_grid"


def to_grid(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """Align a log; the value is the episode's id.

    Args:
        place: where the source's bytes are.
        inputs: the source, and the log's digest.
        config: ``{"log": Where, "spec": AlignmentSpec}``.

    Raises:
        DataRefused: streams that cannot be brought onto the grid.
    """
    source, digest = inputs
    spec = decode(AlignmentSpec, config["spec"], where="alignment")
    episode = align(open_log(place, source, where_from(config["log"])), spec, digest=digest)
    data = episode_cache.encoded(episode)
    # An episode with events or text has no such file; whoever asks aligns it again.
    name = episode_cache.path_of(Path(), episode.id).as_posix()
    return Made(value=episode.id, files={} if data is None else {name: data})
