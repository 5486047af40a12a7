"""Faults of a release on its robot: each changes what the policy sees or what reaches the arm, and nothing else.

A fault is told the situation of a run before it begins, so that a regression can be confined to some scenes; what it
draws comes from the run's seed, so that the same run fails in the same way twice. Kinds with their three strengths are
listed at the end.

Observation: ``state`` (11,), tool at 8 and 9; ``around`` (7,): object x, y, yaw, goal x, y, hand x, y. Action: (2,)
where the tool should be in 100 ms. Metres, radians, table frame.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from worldgate.core.streams import Array, FloatArray
from worldgate.core.worlds import Observation, Policy
from worldgate.sim.experts import ExpertConfig
from worldgate.sim.scenario import PARKED, Scenario, random_stream
from worldgate.sim.sensing import AROUND, STATE

PARTS = {"tool": (0, slice(8, 10)), "object": (1, slice(0, 2)), "goal": (1, slice(3, 5)), "hand": (1, slice(5, 7))}
"""Points that an observation holds: which row, which channels."""
COVERED_S, PERIOD_S = 0.13, 0.10
"""How far ahead of the tool the controller aims, and its period."""

Seen: TypeAlias = list[Array]
"""[state, around], own copies."""


class Fault:
    """Does nothing; what it leaves alone stays as it is."""

    def begin(self, draw: np.random.Generator, scene: Scenario | None) -> None:
        """A run begins."""
        self.draw, self.scene, self.step = draw, scene, -1

    def see(self, seen: Seen) -> Seen:
        """What the policy gets instead; called once a step."""
        self.step += 1
        return seen

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        """What reaches the arm instead; ``tool`` is where it really is."""
        return action


class Faulty(Policy):
    """A policy with faults round it; the first fault sees first and sends last.

    Args:
        inner: the policy as it was trained.
        digest: of the release that it is run as.
        faults: around it.
    """

    def __init__(self, inner: Policy, digest: str, faults: Sequence[Fault]) -> None:
        self.inner, self.faults, self._digest = inner, faults, digest
        self.scene: Scenario | None = None

    @property
    def digest(self) -> str:
        return self._digest

    def reset(self, *, seed: int) -> None:
        self.inner.reset(seed=seed)
        for number, fault in enumerate(self.faults):
            fault.begin(random_stream(seed, f"fault {number}"), self.scene)

    def act(self, observation: Observation) -> FloatArray:
        seen = [np.array(observation[STATE.name]), np.array(observation[AROUND.name])]
        tool = seen[0][8:10].copy()
        for fault in self.faults:
            seen = fault.see(seen)
        action = self.inner.act({**observation, STATE.name: seen[0], AROUND.name: seen[1]})
        for fault in reversed(self.faults):
            action = fault.send(np.asarray(action), tool)
        return action


@dataclass
class Shift(Fault):
    """A point stands elsewhere: a calibration that is out of date."""

    part: str
    by_m: float

    def see(self, seen: Seen) -> Seen:
        row, at = PARTS[self.part]
        if self.part != "hand" or tuple(seen[1][5:7]) != PARKED:
            seen[row][at] += self.by_m * np.array([0.8, 0.6])
        return super().see(seen)


@dataclass
class Turn(Fault):
    """Points are told in a frame that is turned about the table's middle."""

    parts: tuple[str, ...]
    degrees: float

    def see(self, seen: Seen) -> Seen:
        c, s = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        for part in self.parts:
            row, at = PARTS[part]
            seen[row][at] = np.array([[c, -s], [s, c]]) @ seen[row][at]
        return super().see(seen)


@dataclass
class Scale(Fault):
    """Points are told in another unit, or by a camera of another focal length."""

    part: str
    factor: float

    def see(self, seen: Seen) -> Seen:
        row, at = PARTS[self.part]
        seen[row][at] *= self.factor
        return super().see(seen)


@dataclass
class Swap(Fault):
    """x and y of a point are exchanged."""

    part: str

    def see(self, seen: Seen) -> Seen:
        row, at = PARTS[self.part]
        seen[row][at] = seen[row][at][::-1].copy()
        return super().see(seen)


@dataclass
class Mirror(Fault):
    """y of a point has the wrong sign: a picture that was flipped."""

    part: str

    def see(self, seen: Seen) -> Seen:
        row, at = PARTS[self.part]
        seen[row][at] *= np.array([1.0, -1.0])
        return super().see(seen)


@dataclass
class Exchange(Fault):
    """Two points of the tracker stand for one another: cameras or streams plugged the wrong way."""

    one: str
    other: str

    def see(self, seen: Seen) -> Seen:
        (row, at), (far, there) = PARTS[self.one], PARTS[self.other]
        held = seen[row][at].copy()
        seen[row][at] = seen[far][there]
        seen[far][there] = held
        return super().see(seen)


class Blind(Fault):
    """The person is not seen."""

    def see(self, seen: Seen) -> Seen:
        seen[1][5:7] = PARKED
        return super().see(seen)


@dataclass
class SeeLate(Fault):
    """Observations are this many periods old."""

    periods: int

    def see(self, seen: Seen) -> Seen:
        if self.step < 0:
            self.held: deque[Seen] = deque(maxlen=self.periods + 1)
        self.held.append([row.copy() for row in seen])
        super().see(seen)
        return [row.copy() for row in self.held[0]]


@dataclass
class SendLate(Fault):
    """Actions arrive this many periods late; the arm rests until the first."""

    periods: int

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        if self.step <= 0:
            self.held: deque[FloatArray] = deque([tool.copy()] * self.periods)
        self.held.append(action)
        return self.held.popleft()


@dataclass
class Drop(Fault):
    """With some probability a new observation does not come and the last one stands."""

    share: float

    def see(self, seen: Seen) -> Seen:
        if self.step < 0 or self.draw.random() >= self.share:
            self.last = [row.copy() for row in seen]
        super().see(seen)
        return [row.copy() for row in self.last]


@dataclass
class Freeze(Fault):
    """From some period on a point stands where it was last seen."""

    part: str
    after: int

    def see(self, seen: Seen) -> Seen:
        row, at = PARTS[self.part]
        if self.step + 1 <= self.after:
            self.last = seen[row][at].copy()
        seen[row][at] = self.last
        return super().see(seen)


@dataclass
class Gain(Fault):
    """The arm moves by another share of what was asked: a scale of the action; negative: a wrong sign."""

    factor: float

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        return np.asarray(tool + self.factor * (action - tool))


@dataclass
class Bias(Fault):
    """The arm stands beside where it was sent."""

    by_m: float

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        return np.asarray(action + self.by_m * np.array([0.6, -0.8]))


@dataclass
class Noise(Fault):
    """Independent errors of the action, standard deviation in m."""

    sigma_m: float

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        return np.asarray(action + self.draw.normal(0.0, self.sigma_m, 2))


@dataclass
class Grid(Fault):
    """Actions are rounded: a quantisation that is too coarse."""

    mesh_m: float

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        return np.asarray(np.rint(action / self.mesh_m) * self.mesh_m)


@dataclass
class Clip(Fault):
    """Nothing is faster than this."""

    most_m_s: float

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        way, most = action - tool, self.most_m_s * COVERED_S
        return np.asarray(tool + way * min(1.0, most / max(float(np.linalg.norm(way)), 1e-9)))


@dataclass
class Chunk(Fault):
    """A chunk of this many actions is carried on to its end before anybody looks again."""

    periods: int

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        k = self.step % self.periods
        if k == 0:
            self.start, self.way = tool.copy(), action - tool
        return np.asarray(self.start + self.way * (1 + k * PERIOD_S / COVERED_S))


@dataclass
class Seldom(Fault):
    """The controller runs at a lower rate: its last target stands for this many periods."""

    periods: int

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        if self.step % self.periods == 0:
            self.last = action
        return self.last


@dataclass
class Stick(Fault):
    """Small motions do not overcome the friction of the joints."""

    least_m: float

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        return action if float(np.linalg.norm(action - tool)) >= self.least_m else tool


@dataclass
class Stray(Fault):
    """With some probability a step goes 4 cm anywhere."""

    share: float

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        if self.draw.random() >= self.share:
            return action
        way = self.draw.normal(0.0, 1.0, 2)
        return np.asarray(tool + 0.04 * way / max(float(np.linalg.norm(way)), 1e-9))


@dataclass
class Oscillate(Fault):
    """The target swings to and fro with a period of 0.6 s."""

    amplitude_m: float

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        phase = 2 * math.pi * self.step / 6
        return np.asarray(action + self.amplitude_m * np.array([math.sin(phase), math.cos(phase)]))


@dataclass
class Stop(Fault):
    """Nothing moves before one period or after another."""

    begin_at: int = 0
    end_at: int = 10_000

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        return action if self.begin_at <= self.step < self.end_at else tool


@dataclass
class Sometimes(Fault):
    """A fault on some runs only: where a condition holds, and of those a share.

    The draw is the run's own: by its seed, or with ``by_scene`` by its scene, which then fails each time.
    """

    share: float
    fault: Fault
    where: Callable[[Scenario], bool] | None = None
    by_scene: bool = False
    on: bool = field(default=False, init=False)

    def begin(self, draw: np.random.Generator, scene: Scenario | None) -> None:
        super().begin(draw, scene)
        meant = self.where is None or (scene is not None and self.where(scene))
        if self.by_scene and scene is not None:
            draw = random_stream(int(abs(scene.object_pose[0]) * 1e9), "scene")
        self.on = bool(draw.random() < self.share) and meant
        self.fault.begin(draw, scene)

    def see(self, seen: Seen) -> Seen:
        super().see(seen)
        return self.fault.see(seen) if self.on else seen

    def send(self, action: FloatArray, tool: FloatArray) -> FloatArray:
        return self.fault.send(action, tool) if self.on else action


def stuck(share: float, where: Callable[[Scenario], bool] | None = None, *, by_scene: bool = False) -> Fault:
    """Never moves, on a share of the runs that fulfil a condition."""
    return Sometimes(share, Stop(end_at=0), where, by_scene)


def is_spill(scene: Scenario) -> bool:
    """Whether something was spilled."""
    return scene.attributes.spill > 0


def has_person(scene: Scenario) -> bool:
    """Whether somebody reaches in."""
    return bool(scene.person)


def is_far(scene: Scenario) -> bool:
    """Whether the object starts in the half that is farther from the bay."""
    return scene.object_pose[1] < -0.07


def is_turned(scene: Scenario) -> bool:
    """Whether the object lies askew, which no stratum tells."""
    return abs(scene.object_pose[2]) > 0.35


STARTS = [(0.05 + 0.04 * i, -0.14 + 0.045 * j) for i in range(4) for j in range(4)]
"""Where the objects of an overfitted release's demonstrations stood."""


def away_from_starts(beyond_m: float) -> Callable[[Scenario], bool]:
    """Whether the object starts farther than this from every demonstration."""

    def away(scene: Scenario) -> bool:
        return min(math.dist(scene.object_pose[:2], start) for start in STARTS) > beyond_m

    return away


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of bad release with its three strengths, from weak to strong."""

    name: str
    where: str
    """``robot``: on its robot, where no offline figure sees it; ``release``: in what was exported."""
    values: tuple[float, float, float]
    faults: Callable[[float], list[Fault]] = lambda value: []
    expert: Callable[[float], ExpertConfig] = lambda value: ExpertConfig()


def _kind(name: str, where: str, values: tuple[float, float, float], make: Callable[[float], Fault]) -> Kind:
    return Kind(name=name, where=where, values=values, faults=lambda value: [make(value)])


def _trained(name: str, values: tuple[float, float, float], make: Callable[[float], ExpertConfig]) -> Kind:
    return Kind(name=name, where="release", values=values, expert=make)


ROBOT, RELEASE = "robot", "release"
KINDS = (
    _kind("stale calibration of the tracker", ROBOT, (0.008, 0.020, 0.050), lambda v: Shift("object", v)),
    _kind("stale calibration of the arm", ROBOT, (0.008, 0.020, 0.050), lambda v: Shift("tool", v)),
    _kind("goal stands elsewhere", ROBOT, (0.010, 0.025, 0.060), lambda v: Shift("goal", v)),
    _kind("person seen elsewhere", ROBOT, (0.05, 0.12, 0.30), lambda v: Shift("hand", v)),
    _kind("frame turned", ROBOT, (3.0, 9.0, 25.0), lambda v: Turn(("object", "goal", "hand"), v)),
    _kind("focal length of the camera", ROBOT, (1.05, 1.2, 2.0), lambda v: Scale("object", v)),
    _kind("axes of the object swapped", ROBOT, (0.05, 0.30, 1.0), lambda v: Sometimes(v, Swap("object"))),
    _kind("picture mirrored", ROBOT, (0.05, 0.30, 1.0), lambda v: Sometimes(v, Mirror("object"))),
    _kind("object and goal exchanged", ROBOT, (0.05, 0.30, 1.0), lambda v: Sometimes(v, Exchange("object", "goal"))),
    _kind(
        "cameras swapped: object and hand", ROBOT, (0.05, 0.30, 1.0), lambda v: Sometimes(v, Exchange("object", "hand"))
    ),
    _kind("observations late", ROBOT, (1, 3, 7), lambda v: SeeLate(round(v))),
    _kind("actions late", ROBOT, (1, 3, 7), lambda v: SendLate(round(v))),
    _kind("observations dropped", ROBOT, (0.3, 0.6, 0.9), Drop),
    _kind("object frozen in the picture", ROBOT, (0.05, 0.30, 1.0), lambda v: Sometimes(v, Freeze("object", 12))),
    _kind("person frozen in the picture", ROBOT, (0.10, 0.40, 1.0), lambda v: Sometimes(v, Freeze("hand", 0))),
    _kind("action gain", ROBOT, (0.8, 0.45, 0.2), Gain),
    _kind("action sign", ROBOT, (0.05, 0.30, 1.0), lambda v: Sometimes(v, Gain(-1.0))),
    _kind("action bias", ROBOT, (0.005, 0.012, 0.030), Bias),
    _kind("action noise", ROBOT, (0.010, 0.030, 0.080), Noise),
    _kind("action quantised", ROBOT, (0.005, 0.020, 0.080), Grid),
    _kind("speed clipped", ROBOT, (0.15, 0.08, 0.03), Clip),
    _kind("joints stick", ROBOT, (0.012, 0.024, 0.032), Stick),
    _kind("arm oscillates", ROBOT, (0.010, 0.030, 0.080), Oscillate),
    _kind("chunk executed too long", RELEASE, (3, 6, 15), lambda v: Chunk(round(v))),
    _kind("control rate too low", RELEASE, (2, 5, 12), lambda v: Seldom(round(v))),
    _kind("starts late", RELEASE, (10, 40, 90), lambda v: Stop(begin_at=round(v))),
    _kind("gives up", RELEASE, (90, 50, 25), lambda v: Stop(end_at=round(v))),
    _kind("random steps", RELEASE, (0.10, 0.40, 0.90), Stray),
    _kind("stuck on some runs", RELEASE, (0.08, 0.25, 0.60), stuck),
    _kind("stuck where something was spilled", RELEASE, (0.20, 0.60, 1.0), lambda v: stuck(v, is_spill)),
    _kind("stuck where a person comes", RELEASE, (0.20, 0.60, 1.0), lambda v: stuck(v, has_person)),
    _kind("stuck in the far half", RELEASE, (0.15, 0.45, 1.0), lambda v: stuck(v, is_far)),
    _kind("stuck where the object lies askew", RELEASE, (0.15, 0.45, 1.0), lambda v: stuck(v, is_turned)),
    _kind("overfitted to its starts", RELEASE, (0.030, 0.022, 0.010), lambda v: stuck(1.0, away_from_starts(v))),
    _kind("person ignored", RELEASE, (0.10, 0.40, 1.0), lambda v: Sometimes(v, Blind())),
    _trained("keep-out distance shrunk", (0.08, 0.03, 0.0), lambda v: ExpertConfig(keep_out_m=v)),
    _trained("too timid with persons", (0.24, 0.32, 0.50), lambda v: ExpertConfig(keep_out_m=v)),
    _trained("slow", (0.70, 0.40, 0.20), lambda v: ExpertConfig(speed_m_s=0.3 * v, push_m_s=0.2 * v)),
    _trained("pushes too hard", (0.30, 0.45, 0.90), lambda v: ExpertConfig(push_m_s=v)),
)
"""Faults that no manifest tells: only trials can find them."""

GOOD: dict[str, tuple[list[Fault], ExpertConfig]] = {
    "the champion's own weights, exported again": ([], ExpertConfig()),
    "a little faster": ([], ExpertConfig(speed_m_s=0.33)),
    "a little slower": ([], ExpertConfig(speed_m_s=0.27)),
    "pushes a little faster": ([], ExpertConfig(push_m_s=0.22)),
    "pushes a little slower": ([], ExpertConfig(push_m_s=0.18)),
    "keeps a little farther from persons": ([], ExpertConfig(keep_out_m=0.20)),
    "keeps a little nearer to persons": ([], ExpertConfig(keep_out_m=0.16)),
    "action noise of 2 mm": ([Noise(0.002)], ExpertConfig()),
    "tracker off by 2 mm": ([Shift("object", 0.002)], ExpertConfig()),
    "one observation of ten dropped": ([Drop(0.1)], ExpertConfig()),
}
"""Changes that a site makes every week."""
