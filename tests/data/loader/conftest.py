"""Small recordings with two cameras at their own rates, a state and an action, and the episodes made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.data.conftest import FakeFrames, FakeLog, stream
from tests.data.films import film

from worldgate.core.episodes import Episode
from worldgate.core.streams import Kind
from worldgate.data.alignment import AlignmentSpec, StreamAlignment, align
from worldgate.data.resample import Policy

FRONT, WRIST, STATE, ACTION = "observation.images.front", "observation.images.wrist", "observation.state", "action"
MS = 1_000_000
SPEC = AlignmentSpec(rate_hz=20.0, default=StreamAlignment(policy=Policy.HOLD))


@dataclass(frozen=True, kw_only=True)
class Recording:
    log: FakeLog
    episode: Episode
    spec: AlignmentSpec


def make_log(seed: int, rows: int = 41, **more: Any) -> FakeLog:
    rng = np.random.default_rng(seed)
    span = (rows - 1) * 50 * MS
    front, wrist = np.arange(0, span + 1, 50 * MS), np.arange(0, span + 1, 100 * MS)
    state, action = np.arange(0, span + 1, 20 * MS), np.arange(0, span + 1, 50 * MS)
    images = film(len(front), seed=seed)
    held = [
        stream(FRONT, front, FakeFrames(images), kind=Kind.IMAGE),
        stream(WRIST, wrist, FakeFrames(255 - film(len(wrist), seed=seed)), kind=Kind.IMAGE),
        stream(STATE, state, rng.normal(size=(len(state), 3)), unit="rad"),
        stream(ACTION, action, rng.normal(size=(len(action), 2)).astype(np.float32), kind=Kind.ACTION),
        *more.get("extra", ()),
    ]
    return FakeLog(name=f"run_{seed}", held={s.info.name: s for s in held})


@pytest.fixture
def record() -> Callable[..., Recording]:
    """Makes a recording by its seed."""

    def made(seed: int, rows: int = 41, spec: AlignmentSpec = SPEC, **more: Any) -> Recording:
        log = make_log(seed, rows, **more)
        return Recording(log=log, episode=align(log, spec), spec=spec)

    return made


@pytest.fixture
def three(record: Callable[..., Recording]) -> list[Recording]:
    """Three recordings of 41, 33 and 21 rows."""
    return [record(1), record(2, 33), record(3, 21)]
