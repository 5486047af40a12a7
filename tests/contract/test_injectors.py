"""Every file of the injectors seam makes its faults in a wrapped log, says what it did, and leaves the log alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import ConfigError, NotFound
from worldgate.core.seams import cards, load
from worldgate.core.streams import Finding, Kind, Log, Origin, Stream, StreamInfo, log_digest
from worldgate.data import injectors
from worldgate.data.injectors._wrap import Pictures

START, SECONDS = 1_800_000_000_000_000_000, 8
KINDS = injectors.kinds()
LIMITS: Mapping[str, Any] = {"upper": (2.5, 2.5), "speed": (3.0, 3.0)}


class Held:
    """A log in memory."""

    name = "held"
    origin = Origin.SIMULATED
    findings: tuple[Finding, ...] = ()

    def __init__(self, *streams: Stream, facts: Mapping[str, str | float | bool] | None = None) -> None:
        self.held = {s.info.name: s for s in streams}
        self.facts: Mapping[str, str | float | bool] = facts or {}

    def streams(self) -> tuple[StreamInfo, ...]:
        return tuple(s.info for s in self.held.values())

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        assert window_ns is None
        return self.held[stream]


def times(rate_hz: int) -> Any:
    return START + np.arange(SECONDS * rate_hz, dtype=np.int64) * (1_000_000_000 // rate_hz)


def made(name: str, kind: Kind, rate_hz: int, values: Any, shape: tuple[int, ...], unit: str = "") -> Stream:
    at = times(rate_hz)
    info = StreamInfo(name=name, kind=kind, count=len(at), shape=shape, unit=unit, rate_hz=float(rate_hz))
    return Stream(info=info, times_ns=at, values=values)


def run() -> Held:
    """Two joints, a tool, a force and a camera that sees something move."""
    t, c = np.arange(SECONDS * 50) / 50, np.arange(SECONDS * 10)
    joints = np.stack([np.sin(t), 0.8 * np.cos(1.3 * t) + 0.05 * t, 0.5 + 0.4 * np.sin(0.7 * t)], axis=1)
    pose = np.stack([0.1 * t, 0 * t, 0 * t + 0.2, 0 * t, 0 * t, np.sin(t / 9), np.cos(t / 9)], axis=1)
    pixels = np.random.default_rng(0).integers(60, 190, (48, 64, 3), dtype=np.uint8)[None].repeat(len(c), axis=0)
    for i in c:
        pixels[i, 10:20, i % 40 : i % 40 + 10] = (200, 30, 30)
    return Held(
        made("observation.state", Kind.VECTOR, 50, joints, (3,), "rad,rad,1"),
        made("observation.state.tool", Kind.VECTOR, 50, joints[:, :2] * 0.2, (2,), "m"),
        made("observation.force", Kind.VECTOR, 50, 0.1 * joints, (3,), "N"),
        made("observation.pose", Kind.POSE, 50, pose, (7,), "m,m,m,1,1,1,1"),
        made("action", Kind.ACTION, 10, joints[::5], (3,), "rad,rad,1"),
        made("observation.images.front", Kind.IMAGE, 10, Pictures(pixels=pixels), (48, 64, 3)),
        facts={"duration_s": float(SECONDS)},
    )


def hurt(kind: str, magnitude: float | None = None, seed: int = 3) -> injectors.Injected:
    params = LIMITS if kind.startswith("overrange") else {}
    fault = KINDS[kind]
    return injectors.inject(run(), kind, fault.least if magnitude is None else magnitude, seed=seed, params=params)


def identity(log: Log) -> tuple[Any, ...]:
    """Everything that a check can see of a log."""
    return (
        log_digest(log),
        log.streams(),
        dict(log.facts),
        [str(getattr(log.read(i.name).values, "declared", "")) for i in log.streams()],
    )


@pytest.mark.parametrize("name", sorted(cards("injectors")))
def test_an_injector_lists_its_faults_and_every_field_of_its_config_has_a_default(name: str) -> None:
    module = load("injectors", name)
    config = module.Config()
    assert {f.name for f in dataclasses.fields(config)} >= {"variant", "magnitude"}
    assert config.variant == module.FAULTS[0].name
    for fault in module.FAULTS:
        assert fault.unit and fault.line
        assert list(fault.sweep) == sorted(fault.sweep) and fault.least in fault.sweep


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fault_changes_the_log_at_every_magnitude_and_says_where(kind: str) -> None:
    clean = identity(run())
    for magnitude in (KINDS[kind].sweep[0], KINDS[kind].least):
        log = hurt(kind, magnitude)
        assert identity(log) != clean
        assert log.truth
        for truth in log.truth:
            assert not truth.stream or truth.stream in {i.name for i in log.streams()}
            assert all(start < end for start, end in truth.spans_ns)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_one_seed_makes_one_fault(kind: str) -> None:
    first, again = hurt(kind), hurt(kind)
    assert identity(first)[1:] == identity(again)[1:]
    assert first.truth == again.truth
    for info in first.streams():
        a, b = first.read(info.name), again.read(info.name)
        assert np.array_equal(a.times_ns, b.times_ns)
        if isinstance(a.values, np.ndarray):
            assert np.array_equal(a.array, b.array, equal_nan=a.array.dtype.kind == "f")
        elif kind != "damage.bytes":
            assert a.frames.content_digest() == b.frames.content_digest()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_log_that_a_fault_cannot_befall_is_refused(kind: str) -> None:
    with pytest.raises(NotFound):
        injectors.inject(Held(), kind, KINDS[kind].least)


def test_a_fault_that_changes_next_to_nothing_says_that_it_leaves_no_trace() -> None:
    plain = run().read("observation.images.front")
    grey = dataclasses.replace(plain, values=Pictures(pixels=np.full((len(plain), 48, 64, 3), 120, np.uint8)))
    assert hurt("occluder.dirt").trace and hurt("occluder.cloth").trace
    assert not injectors.inject(Held(grey), "occluder.dirt", 0.2).trace, "grease over what is plain"
    assert injectors.inject(Held(grey), "occluder.cloth", 0.2).trace
    still = np.repeat([0.0, 1.0, 0.4, 1.0, 0.2], SECONDS * 10)[:, None]  # a robot that stops between two messages
    stops = made("observation.state", Kind.VECTOR, 50, still, (1,), "rad")
    assert not injectors.inject(Held(stops), "clipping.coarse", 0.15).trace
    assert hurt("clipping.coarse").trace


def test_a_window_of_a_hurt_stream_is_cut_from_it() -> None:
    log = hurt("silence.middle")
    whole, (start, end) = log.read("observation.state"), (START + 10**9, START + 3 * 10**9)
    part = log.read("observation.state", (start, end))
    inside = (whole.times_ns >= start) & (whole.times_ns < end)
    assert np.array_equal(part.times_ns, whole.times_ns[inside])


@pytest.mark.parametrize("rate_hz", [4, 50])
def test_a_joint_that_swings_too_fast_does_so_between_messages(rate_hz: int) -> None:
    held = run().held["observation.state"]
    rows = np.arange(0, len(held), 50 // rate_hz)
    slow = dataclasses.replace(held, times_ns=held.times_ns[rows], values=held.array[rows])
    log = Held(slow, facts={})
    swung = injectors.inject(log, "overrange.fast", 1.5, seed=0, params=LIMITS).read("observation.state")
    speed = np.abs(np.diff(swung.array[:, 0])) / (np.diff(swung.times_ns) / 1e9)
    assert speed.max() > 1.4 * LIMITS["speed"][0]


def test_an_encoded_film_is_gone_with_its_log() -> None:
    log = hurt("blackout.black")
    path = log.read("observation.images.front").values.path  # type: ignore[union-attr]
    assert path.is_file()
    del log
    assert not path.exists()


def test_strange_faults_and_parameters_are_refused() -> None:
    with pytest.raises(NotFound, match="no such entry"):
        injectors.named("gremlin.bite")
    with pytest.raises(NotFound, match="no such variant"):
        injectors.inject(run(), "silence.loud", 1.0)
    with pytest.raises(ConfigError, match="unknown key"):
        injectors.inject(run(), "silence.middle", 1.0, params={"lenght": 2})
