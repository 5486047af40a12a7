"""Every file of the checks seam fulfils its signature, and stays silent on a log in which nothing is wrong."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tests.contract import broken_cameras
from tests.contract.broken_signals import FAULTS, sound

from worldgate.core.config import decode
from worldgate.core.digest import canonical
from worldgate.core.seams import cards, load
from worldgate.core.streams import Finding, Kind, Origin, Stream, StreamInfo

NAMES = sorted(cards("checks"))
TIMES = np.arange(200, dtype=np.int64) * 10_000_000


class Log:
    """A log held in memory."""

    name = "held"
    origin = Origin.SIMULATED
    facts: Mapping[str, str | float | bool] = {}
    findings: tuple[Finding, ...] = ()

    def __init__(self, *streams: Stream) -> None:
        self.held = {s.info.name: s for s in streams}

    def streams(self) -> tuple[StreamInfo, ...]:
        return tuple(s.info for s in self.held.values())

    def read(self, stream: str, window_ns: tuple[int, int] | None = None) -> Stream:
        assert window_ns is None
        return self.held[stream]


def stream(name: str, kind: Kind, values: Any, times: Any = TIMES) -> Stream:
    info = StreamInfo(name=name, kind=kind, count=len(times), shape=np.shape(values)[1:], rate_hz=100.0)
    return Stream(info=info, times_ns=times, values=values)


def clean() -> Log:
    rng = np.random.default_rng(0)
    ease = np.clip(np.minimum(TIMES, TIMES[-1] - TIMES) / 2e8, 0, 1)[:, None]  # an episode starts and ends at rest
    state = np.sin(TIMES[:, None] / 3e8 + np.arange(3)) * ease
    images = rng.integers(0, 255, (200, 12, 16, 3), dtype=np.uint8)
    return Log(
        stream("observation.state", Kind.VECTOR, state),
        stream("action", Kind.ACTION, state + 0.01),
        stream("observation.images.front", Kind.IMAGE, images),
        stream("events", Kind.EVENT, np.array(["{}"], dtype=object), TIMES[:1]),
    )


def broken() -> Log:
    """Everything wrong at once."""
    times = np.delete(TIMES, range(50, 90))
    times[20] = times[10]
    state = np.sin(times[:, None] / 3e8 + np.arange(3))
    state[100:] += 50.0
    state[30] = np.nan
    rows = np.sin(TIMES[:, None] / 3e8)
    promised = stream("action", Kind.ACTION, rows)
    return Log(
        stream("observation.state", Kind.VECTOR, state, times),
        dataclasses.replace(promised, info=dataclasses.replace(promised.info, count=7)),
        stream("observation.images.front", Kind.IMAGE, np.full((200, 12, 16, 3), 255, np.uint8)),
    )


def clean_camera() -> Log:
    """A robot that moves, and a camera that sees it."""
    return Log(*clean().held.values(), broken_cameras.camera(broken_cameras.video(broken_cameras.COUNT)))


def faulty(name: str) -> tuple[Any, dict[str, Any]]:
    """A log with what a check looks for, and parameters that it needs."""
    if name in broken_cameras.FAULTS:
        return Log(*clean().held.values(), broken_cameras.FAULTS[name]()), {}
    made, params = FAULTS.get(name, (broken, {}))
    return made(), params


def test_the_first_eight_checks_are_here() -> None:
    assert set(NAMES) >= {"counts", "finite", "frozen", "gaps", "jitter", "jump", "skew", "stamps"}


@pytest.mark.parametrize("name", NAMES)
def test_a_check_has_a_config_with_defaults_and_the_one_signature(name: str) -> None:
    module = load("checks", name)
    assert dataclasses.is_dataclass(module.Config)
    assert module.Config.__dataclass_params__.frozen
    assert module.Config() == module.Config()
    assert list(inspect.signature(module.check).parameters) == ["log", "config"]
    assert cards("checks")[name].line


@pytest.mark.parametrize("name", NAMES)
def test_a_check_is_silent_on_a_clean_log_and_on_an_empty_one(name: str) -> None:
    module = load("checks", name)
    assert module.check(clean(), module.Config()) == ()
    assert module.check(Log(), module.Config()) == ()
    _, params = FAULTS.get(name, (sound, {}))
    assert module.check(sound(), decode(module.Config, params, where="here")) == ()
    if name in broken_cameras.FAULTS:
        assert module.check(clean_camera(), module.Config()) == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_check_finds_what_is_broken_and_gives_evidence(name: str) -> None:
    module = load("checks", name)
    log, params = faulty(name)
    found = module.check(log, decode(module.Config, params, where="here"))
    assert found, f"{name} found nothing in a log with everything wrong"
    for finding in found:
        assert finding.check == name
        assert finding.stream and finding.message and finding.unit
        assert finding.value != finding.limit
        assert all(a < b for a, b in finding.spans_ns)
        assert canonical(finding)


@pytest.mark.parametrize("name", NAMES)
def test_a_check_survives_streams_of_no_and_one_message(name: str) -> None:
    module = load("checks", name)
    for count in (0, 1, 2):
        log = Log(
            stream("state", Kind.VECTOR, np.zeros((count, 2)), TIMES[:count]),
            stream("camera", Kind.IMAGE, np.zeros((count, 4, 4, 3), np.uint8), TIMES[:count]),
        )
        for finding in module.check(log, module.Config()):
            assert canonical(finding)
