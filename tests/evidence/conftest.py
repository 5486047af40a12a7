"""Fakes that the tests of this room share, from the fixture ``fakes``: a linear world and models of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from worldgate.core.digest import sha256
from worldgate.core.episodes import Episode, Rows
from worldgate.core.evidence import Verdict
from worldgate.core.streams import Array, FloatArray, Kind, Origin, StreamInfo
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt, Signal, Transition

if TYPE_CHECKING:
    from tests.evidence.promotions_to_sign import Hall, Halls

    from worldgate.evidence.decide import Decision

RATE_HZ = 10.0
STEP_NS = 100_000_000


@pytest.fixture
def fakes() -> ModuleType:
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def halls(tmp_path_factory: pytest.TempPathFactory) -> Halls:
    from tests.evidence.promotions_to_sign import Halls

    return Halls(tmp_path_factory.mktemp("halls"))


@pytest.fixture
def _decided(halls: Halls, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Hall, Decision | None]:
    """A copy of the hall in which what this test asks for was decided."""
    kind = next((name for name in ("promoted", "held") if name in request.fixturenames), "bare")
    return halls.copy(kind, tmp_path / "workspace")


@pytest.fixture
def hall(_decided: tuple[Hall, Decision | None]) -> Hall:
    """A small workspace in which decisions wait for persons."""
    return _decided[0]


@pytest.fixture
def promoted(_decided: tuple[Hall, Decision | None]) -> Decision:
    """What was decided in ``hall`` after eight trials, just enough."""
    decision = _decided[1]
    assert decision is not None and decision.verdict is Verdict.PROMOTE
    return decision


@pytest.fixture
def held(_decided: tuple[Hall, Decision | None]) -> Decision:
    """What was decided in ``hall`` after three trials, too few: success is inconclusive."""
    decision = _decided[1]
    assert decision is not None and decision.verdict is Verdict.HOLD
    return decision


def digest(text: str) -> str:
    return sha256(text.encode())


def rows(name: str, kind: Kind, values: Array, unit: str = "m", names: tuple[str, ...] = ()) -> Rows:
    count = len(values)
    index = np.arange(count, dtype=np.int64)
    info = StreamInfo(name=name, kind=kind, count=count, shape=values.shape[1:], unit=unit, names=names)
    zeros = np.zeros(count, dtype=np.int64)
    return Rows(
        info=info,
        values=values,
        index=index,
        source_ns=index * STEP_NS,
        skew_ns=zeros,
        staleness_ns=zeros,
        gap=np.zeros(count, dtype=np.bool_),
    )


def episode(
    seed: int, *, length: int = 60, site: str = "bench", origin: Origin = Origin.REAL, video: bool = False
) -> Episode:
    """A point of two coordinates that moves where its action says, with a little noise; in a picture it is a square."""
    rng = np.random.default_rng(seed)
    actions = np.repeat(rng.normal(0, 0.1, (length // 6 + 1, 2)), 6, axis=0)[:length]
    state = np.zeros((length, 2))
    for t in range(1, length):
        state[t] = state[t - 1] + actions[t - 1] + rng.normal(0, 0.002, 2)
    streams = {
        "observation.state": rows("observation.state", Kind.VECTOR, state, names=("x", "y")),
        "action": rows("action", Kind.ACTION, actions),
    }
    if video:
        streams["observation.images.front"] = rows("observation.images.front", Kind.IMAGE, pictures(state), unit="")
    name = f"episode_{seed:06d}"
    return Episode(
        id=digest(f"{site}{name}"),
        log=digest(f"log{site}{name}"),
        name=name,
        alignment=digest("grid"),
        origin=origin,
        rate_hz=RATE_HZ,
        times_ns=np.arange(length, dtype=np.int64) * STEP_NS,
        streams=streams,
        facts={"site": site},
    )


def pictures(state_TD: FloatArray, size: int = 16) -> Array:
    out = np.full((len(state_TD), size, size, 3), 40, dtype=np.uint8)
    for t, (x, y) in enumerate(state_TD):
        i, j = (int(np.clip(round(size / 2 + 4 * v), 0, size - 3)) for v in (x, y))
        out[t, i : i + 3, j : j + 3] = 220
    return out


def read_frames(episode: Episode, camera: str, size: tuple[int, int]) -> Array:
    values = episode.array(camera)
    assert values.shape[1:3] == size
    return values


def spec(*, video: bool = False, **changes: Any) -> ModelSpec:
    fields: dict[str, Any] = {
        "family": "fake",
        "digest": digest("model"),
        "normaliser": digest("normaliser"),
        "rate_hz": RATE_HZ,
        "context": 1,
        "states": (Signal(name="observation.state", unit="m", names=("x", "y"), shape=(2,)),),
        "action": Signal(name="action", unit="m", shape=(2,)),
        "dataset": digest("dataset"),
    }
    if video:
        fields["cameras"] = (Signal(name="observation.images.front", shape=(16, 16, 3)),)
    return ModelSpec(**{**fields, **changes})


@dataclass
class FakeModel:
    """Knows the world up to a gain; ``gain=0`` ignores its actions, ``broken`` gives NaN."""

    spec: ModelSpec = field(default_factory=spec)
    gain: float = 1.0
    noise: float = 0.0
    broken: bool = False

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.ACTIONS, Capability.STATE})

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> FakeModel._Unrolling:
        last = prompt.states["observation.state"][-1]
        return FakeModel._Unrolling(self, last, np.random.default_rng(seed))

    @dataclass
    class _Unrolling:
        model: FakeModel
        last: FloatArray
        rng: np.random.Generator

        def step(self, actions_BKA: FloatArray | None) -> Frame:
            assert actions_BKA is not None
            states = self.last + self.model.gain * np.cumsum(actions_BKA, axis=1)
            states = states + self.rng.normal(0, self.model.noise, states.shape) if self.model.noise else states
            if self.model.broken:
                states = states * np.nan
            frames = {c.name: np.stack([pictures(s) for s in states]) for c in self.model.spec.cameras}
            return Frame(states={"observation.state": states}, frames=frames)


@dataclass
class FakePolicy:
    digest: str = field(default_factory=lambda: digest("release"))

    def reset(self, *, seed: int) -> None: ...

    def act(self, observation: Mapping[str, Array]) -> FloatArray:
        return np.zeros(2)


@dataclass
class FakeEnvironment:
    """Plays back the facts of each step."""

    facts: Sequence[Mapping[str, float]]
    origin: Origin = Origin.REAL
    rate_hz: float = RATE_HZ
    _at: int = 0

    def reset(self, *, seed: int) -> Mapping[str, Array]:
        self._at = 0
        return {"observation.state": np.zeros(2)}

    def step(self, action: FloatArray) -> Transition:
        facts = self.facts[self._at]
        self._at += 1
        return Transition(observation={"observation.state": np.zeros(2)}, done=self._at == len(self.facts), facts=facts)
