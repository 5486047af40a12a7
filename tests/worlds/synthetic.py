"""A learnable system for the tests of world models: a dot that follows its command, seen by a static camera."""

from __future__ import annotations

import numpy as np

from worldgate.core.digest import sha256
from worldgate.core.episodes import Episode, Rows
from worldgate.core.streams import Kind, Origin, StreamInfo
from worldgate.worlds.family import load_family
from worldgate.worlds.tracks import Inputs

RATE_HZ = 10.0
SIZE = 32
CAMERA = "observation.images.front"


def episode(seed, *, length=48, unit="m", gap=None):
    """A point in the plane moves 30 % of the way to its commanded place in each row; channel 2 never changes."""
    rng = np.random.default_rng(seed)
    goals = rng.uniform(-0.8, 0.8, (length // 6 + 1, 2)).repeat(6, axis=0)[:length]
    place, places = rng.uniform(-0.5, 0.5, 2), []
    for goal in goals:
        places.append(place)
        place = place + 0.3 * (goal - place)
    states = np.column_stack([np.array(places), np.full(length, 0.7)]) + rng.normal(0, 1e-4, (length, 3)) * [1, 1, 0]
    frames = np.stack([picture(x, y) for x, y in places])
    return make(f"episode-{seed}", states, goals, frames, unit=unit, gap=gap)


def picture(x, y):
    """A bright square over a gradient."""
    ground = np.linspace(40, 120, SIZE, dtype=np.uint8)[:, None].repeat(SIZE, axis=1)
    out = np.stack([ground, ground.T, ground], axis=-1)
    column, row = (round((v + 1) / 2 * (SIZE - 8)) for v in (x, y))
    out[row : row + 8, column : column + 8] = (250, 60, 30)
    return out


def make(name, states, actions, frames=None, *, unit="m", rate_hz=RATE_HZ, gap=None):
    """An episode of arrays; ``gap`` marks rows of the state."""
    streams = {
        "observation.state": make_rows("observation.state", Kind.VECTOR, np.asarray(states, float), unit, gap),
        "action": make_rows("action", Kind.ACTION, np.asarray(actions, float), unit),
    }
    if frames is not None:
        streams[CAMERA] = make_rows(CAMERA, Kind.IMAGE, frames, "1")
    count = len(states)
    return Episode(
        id=sha256(name.encode()),
        log=name,
        name=name,
        alignment="grid",
        origin=Origin.SIMULATED,
        rate_hz=rate_hz,
        times_ns=(np.arange(count) * round(1e9 / rate_hz)).astype(np.int64),
        streams=streams,
        facts={"site": "bench"},
    )


def make_rows(name, kind, values, unit, gap=None):
    """A stream on the grid without skew."""
    count, zero = len(values), np.zeros(len(values), np.int64)
    info = StreamInfo(name=name, kind=kind, count=count, shape=values.shape[1:], unit=unit)
    marked = np.zeros(count, bool) if gap is None else np.asarray(gap, bool)
    return Rows(
        info=info,
        values=values,
        index=np.arange(count),
        source_ns=zero,
        skew_ns=zero,
        staleness_ns=zero,
        gap=marked,
    )


def episodes(count, *, first=0, **options):
    """Several episodes of different seeds."""
    return [episode(first + i, **options) for i in range(count)]


def debug_config(family):
    """The family's debug configuration with the streams of this system."""
    made = load_family(family).debug()
    cameras = () if family == "state" else (CAMERA,)
    return replace_inputs(made, Inputs(cameras=cameras, size=SIZE))


def replace_inputs(config, inputs):
    """The same configuration, fed other streams."""
    import dataclasses

    return dataclasses.replace(config, inputs=inputs)
