"""Scenarios read off recorded episodes: the situation as it was at the first row on which everything was measured.

A simulated run that holds its own scenario (the fact ``scenario``) gives that one, to be run again as it was. Any other
episode gives its numbers as they stood, each stream with unit, frame and channel names: for a person who sets the scene
up, or for an environment that reads it.

Shape legend: T rows, D channels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldgate.core.episodes import Episode
from worldgate.core.errors import DataRefused, NotFound
from worldgate.core.streams import ByteArray, Kind, Origin
from worldgate.core.units import same_unit
from worldgate.evidence.scenarios import Envelope, OracleSpec, Role, Scenario

_STATE = frozenset({Kind.VECTOR, Kind.POSE})
SETTLE_S = 2.0
"""How long after the start a first whole row is looked for, s: later the situation is no longer the initial one."""


def first_row(episode: Episode, streams: Sequence[str], *, start_ns: int = 0) -> int:
    """The first row from a time on at which all of these streams were measured.

    Raises:
        DataRefused: none within :data:`SETTLE_S`.
    """
    good = np.ones(len(episode), np.bool_)
    for name in streams:
        values = np.asarray(episode.array(name), np.float64).reshape(len(episode), -1)
        good &= ~episode.streams[name].gap & np.isfinite(values).all(axis=1)
    start = int(np.searchsorted(episode.times_ns, start_ns))
    found = np.flatnonzero(good[start : start + int(SETTLE_S * episode.rate_hz) + 1])
    if not len(found):
        got = f"{len(streams)} streams, none whole within {SETTLE_S:g} s"
        raise DataRefused("no row on which everything was measured", got=got, where=episode.name, hint="--stream NAME")
    return start + int(found[0])


def scenario(
    episode: Episode,
    *,
    name: str,
    site: str,
    streams: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    start_ns: int = 0,
    role: Role = "gate-holdout",
    envelope: Envelope | None = None,
    oracles: Sequence[OracleSpec] = (),
    strata: Mapping[str, str] | None = None,
    criterion: str = "",
    photo: str = "",
) -> Scenario:
    """The scenario of an episode's start.

    Args:
        episode: recorded.
        name: of the scenario.
        site: where it was recorded.
        streams: whose numbers make the situation; empty: every state stream.
        units: stream -> unit, for logs that declare none; whoever says it answers for it.
        start_ns: where in the episode the situation is looked for; 0: at its start.
        role: what it is for.
        envelope: limits of the site.
        oracles: what judges runs, besides.
        strata: what results are broken down by.
        criterion: success in words.
        photo: digest of the initial picture in the store.

    Raises:
        NotFound: no such stream, or none of numbers.
        DataRefused: no row on which all were measured, a stream without a unit, or one that declares another.
    """
    initial, told, frame = _situation(episode, streams, units or {}, start_ns)
    return Scenario(
        name=name,
        site=site,
        initial=initial,
        units=told,
        frame=frame,
        envelope=envelope or Envelope(),
        role=role,
        source="real" if episode.origin is Origin.REAL else "synthetic",
        oracles=tuple(oracles),
        strata=strata or {},
        criterion=criterion,
        photo=photo,
        episode=episode.id,
    )


def _situation(
    episode: Episode, streams: Sequence[str], given: Mapping[str, str], start_ns: int
) -> tuple[dict[str, Any], dict[str, str], str]:
    own = episode.facts.get("scenario")
    if isinstance(own, str) and episode.origin is Origin.SIMULATED and not streams:
        tree = json.loads(own)
        if not isinstance(tree, dict):
            raise DataRefused("the run's own scenario is no object", got=own[:40], where=episode.name)
        return tree, {}, ""
    chosen = list(streams) or [n for n, rows in episode.streams.items() if rows.info.kind in _STATE]
    missing = [n for n in chosen if n not in episode.streams or episode.streams[n].info.kind not in _STATE]
    if missing or not chosen:
        known = ", ".join(n for n, rows in episode.streams.items() if rows.info.kind in _STATE)
        raise NotFound("no such stream of states", got=", ".join(missing) or "none", where=episode.name, hint=known)
    row = first_row(episode, chosen, start_ns=start_ns)
    initial: dict[str, Any] = {}
    units: dict[str, str] = {}
    foreign = sorted(set(given) - set(chosen))
    if foreign:
        raise NotFound("no such stream of states", got=foreign[0], where=episode.name, hint=", ".join(chosen))
    for stream in chosen:
        info = episode.streams[stream].info
        values = np.asarray(episode.array(stream), np.float64)[row].reshape(-1)
        key = stream.replace(".", "/")  # a dot parts the keys of a path
        initial[key] = {"values": values.tolist(), "names": list(info.names), "frame": info.frame}
        units[f"initial.{key}.values"] = _unit(episode, stream, given.get(stream, ""))
    frames = {held["frame"] for held in initial.values()}
    return initial, units, frames.pop() if len(frames) == 1 else ""


def _unit(episode: Episode, stream: str, given: str) -> str:
    declared = episode.streams[stream].info.unit
    if not declared and not given:
        hint = f"--unit {stream}=rad, or choose others with --stream"
        raise DataRefused("a situation without units cannot be set up", got=stream, where=episode.name, hint=hint)
    if declared and given and not same_unit(declared, given):
        raise DataRefused("the log declares another unit", got=f"{given}, not {declared}", where=stream)
    return declared or given


def picture(episode: Episode, camera: str, *, start_ns: int = 0) -> ByteArray:
    """(H, W, 3) RGB: a camera's first picture that is there, from a time on.

    Raises:
        NotFound: no such camera.
        DataRefused: no picture within :data:`SETTLE_S`.
    """
    rows = episode.streams.get(camera)
    if rows is None or rows.info.kind is not Kind.IMAGE:
        cameras = [name for name, held in episode.streams.items() if held.info.kind is Kind.IMAGE]
        raise NotFound("no such camera", got=camera, where=episode.name, hint=", ".join(cameras) or None)
    start = int(np.searchsorted(episode.times_ns, start_ns))
    found = start + np.flatnonzero(~rows.gap[start : start + int(SETTLE_S * episode.rate_hz) + 1])
    if not len(found):
        raise DataRefused("no picture at the start", got=camera, where=episode.name)
    place = found[:1].astype(np.int64)
    held = rows.values[place] if isinstance(rows.values, np.ndarray) else rows.values.read(place)
    return np.asarray(held[0], np.uint8)
