"""A perceiver on held-out episodes, by origin and site, beside what needs no learning.

Contenders: *commonest class, mean pose*, which look at no picture; *background subtraction*, which knows the site's
empty picture (the median over time), says the usual class of each pixel where nothing changed and the usual class of
what changes where something did, and places the object by a regression on where the changes are. All are fitted on the
training episodes; at a site that these lack, the median of the judged pictures stands in for the empty one.

Shape legend: N pictures, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from worldgate.control.perception import Perceiver, Seen
from worldgate.control.perception._mixing import origin_of
from worldgate.core.errors import DataRefused
from worldgate.core.streams import Array, ByteArray, FloatArray, IntArray
from worldgate.evidence.seeing import Figures, Tally, figures, tally
from worldgate.worlds.tracks import Track

_APART = 28
"""Least change of a colour, of 255, that is no noise."""
_FITTED = 40
"""Pictures of an episode that baselines are fitted on."""


class Sighted(Protocol):
    """A contender."""

    def look(self, pictures: ByteArray, place: str) -> Seen:
        """As :meth:`worldgate.control.perception.Perceiver.see`, of pictures (N, S, S, 3) from a place."""
        ...


class Learned:
    """The network."""

    def __init__(self, perceiver: Perceiver) -> None:
        self.perceiver = perceiver

    def look(self, pictures: ByteArray, place: str) -> Seen:
        return self.perceiver.see(pictures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Labelled training pictures."""

    pictures: ByteArray
    """(N, S, S, 3)."""
    masks: IntArray
    """(N, S, S)."""
    poses: FloatArray
    """(N, 3)."""
    places: Array
    """(N,) names of places."""


class Blind:
    """Says the same of every picture."""

    def __init__(self, shown: Shown) -> None:
        self.commonest = int(np.argmax(np.bincount(shown.masks.ravel())))
        self.mean = shown.poses.mean(0)

    def look(self, pictures: ByteArray, place: str) -> Seen:
        classes = np.full(pictures.shape[:3], self.commonest, np.int64)
        return Seen(classes=classes, pose=np.tile(self.mean, (len(pictures), 1)))


class Background:
    """Background subtraction."""

    def __init__(self, shown: Shown, count: int) -> None:
        self.empty = {str(p): np.median(shown.pictures[shown.places == p], axis=0) for p in np.unique(shown.places)}
        changed = np.zeros(shown.masks.shape, bool)
        for place in self.empty:
            here = shown.places == place
            changed[here] = self._changed(shown.pictures[here], place)
        self.usual = np.stack([(shown.masks == k).sum(0) for k in range(count)]).argmax(0)
        moving = shown.masks[changed & (shown.masks != self.usual)]
        self.moving = int(np.argmax(np.bincount(moving))) if len(moving) else int(self.usual.flat[0])
        x = _features(changed)
        self.weights = np.linalg.solve(x.T @ x + 1e-3 * np.eye(x.shape[1]), x.T @ shown.poses)

    def _changed(self, pictures: ByteArray, place: str) -> Array:
        empty = self.empty.get(place)
        empty = np.median(pictures, axis=0) if empty is None else empty
        return np.asarray(np.abs(pictures.astype(np.float64) - empty).max(-1) > _APART)

    def look(self, pictures: ByteArray, place: str) -> Seen:
        changed = self._changed(pictures, place)
        return Seen(classes=np.where(changed, self.moving, self.usual), pose=_features(changed) @ self.weights)


def _features(changed: Array) -> FloatArray:
    """(N, 18) how much changed in each of 4 x 4 parts of the picture, in all, and one."""
    n, side = changed.shape[:2]
    parts = changed.reshape(n, 4, side // 4, 4, side // 4).mean((2, 4)).reshape(n, 16)
    return np.column_stack([parts, changed.mean((1, 2)), np.ones(n)])


def judge(
    perceiver: Perceiver,
    train: Sequence[Track],
    held_out: Sequence[Track],
    *,
    labels: Labels,
    names: Sequence[str],
) -> dict[str, dict[str, Figures]]:
    """Group (origin and place) -> contender -> figures.

    Args:
        perceiver: the network.
        train: what baselines are fitted on.
        held_out: what is judged; places that training lacks are a control.
        labels: where pictures and labels stand.
        names: of the classes, by id.

    Raises:
        DataRefused: no training episode with both labels, or no held-out one.
    """
    labelled = [t for t in train if not {labels.classes, labels.stream} & t.lacks]
    if not labelled or not held_out:
        got = f"{len(labelled)} to learn from, {len(held_out)} held out"
        raise DataRefused("figures need labelled episodes on both sides", got=got)
    shown = _shown(labelled, labels)
    contenders: dict[str, Sighted] = {
        "network": Learned(perceiver),
        "commonest class, mean pose": Blind(shown),
        "background subtraction": Background(shown, len(names)),
    }
    found: dict[str, dict[str, list[Tally]]] = {}
    for track in held_out:
        rows = np.flatnonzero(track.valid_T)
        pictures = np.asarray(track.frames[labels.colour])[rows]
        classes = None if labels.classes in track.lacks else np.asarray(track.frames[labels.classes], np.int64)[rows]
        pose = None if labels.stream in track.lacks else track.states_TD[rows][:, labels.channels].astype(np.float64)
        by = found.setdefault(f"{origin_of(track)}, {track.group or 'no site'}", {name: [] for name in contenders})
        for name, contender in contenders.items():
            seen = contender.look(pictures, track.group)
            by[name].append(tally(classes, seen.classes, pose, seen.pose, count=len(names), turns=perceiver.turns))
    return {g: {n: figures(tallies, names) for n, tallies in by.items()} for g, by in sorted(found.items())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Where pictures and labels stand in tracks."""

    colour: str
    """Camera."""
    classes: str
    """Camera of class ids."""
    stream: str
    """State stream with the pose; a track lacks all of it or nothing."""
    channels: tuple[int, ...]
    """Of the pose in the tracks' states."""


def _shown(tracks: Sequence[Track], labels: Labels) -> Shown:
    parts = []
    for track in tracks:
        valid = np.flatnonzero(track.valid_T)
        rows = valid[:: max(1, len(valid) // _FITTED)]
        masks = np.asarray(track.frames[labels.classes], np.int64)[rows]
        poses = track.states_TD[rows][:, labels.channels].astype(np.float64)
        parts.append((np.asarray(track.frames[labels.colour])[rows], masks, poses, np.full(len(rows), track.group)))
    pictures, masks, poses, places = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Shown(pictures=pictures, masks=masks, poses=poses, places=places)


def shares(counts: Mapping[str, int]) -> str:
    """Origin and count in words."""
    total = max(1, sum(counts.values()))
    return ", ".join(f"{name} {count} ({count / total:.0%})" for name, count in counts.items())
