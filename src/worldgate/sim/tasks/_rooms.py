"""Rooms: a disc that is steered through rooms joined by doors, seen from above; what two_room and wall share.

The plane is 224 x 224 px, x to the right and y down, whatever size the pictures have. A frame keeps the disc in; walls
stand upright from top to bottom, each with one door. The disc moves on straight lines: where it would touch a wall, the
frame or a door post, it stops at the very point of contact and goes on along the tangent with what is left of its
motion, so it never enters a wall, never jumps one however fast it is, and motion does not depend on a time step.

The truth is x and y of the disc, x and y of its own goal, then x of each wall and y of the middle of its door. Distance
is in px; the reward of a step is 1 where it succeeds, less the distance as a part of the plane's side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TypeAlias

import cv2
import numpy as np

from worldgate.core.digest import digest_json
from worldgate.core.errors import UsageError
from worldgate.core.streams import ByteArray, FloatArray, Kind, Origin
from worldgate.core.tasks import TRUTH, GoalPolicy, Task, TaskSpec
from worldgate.core.worlds import Observation, Policy, Signal, Transition

STATE, AROUND, CAMERA = "observation.state", "observation.environment_state", "observation.images.top"

SIDE, BORDER, RADIUS = 224.0, 14.0, 7.0
"""Side of the plane, what its frame takes on each side, radius of the disc, px."""
HALF_WALL, HALF_DOOR = 5.0, 22.0
"""Half of a wall's thickness and of a door's width, px."""
SPEED_PX = 7.0
"""Of an action of 1, px a step."""
REACHED_PX = 16.0
LOW, HIGH = BORDER + RADIUS, SIDE - BORDER - RADIUS
"""Where the disc's middle may be."""
LEAST_STEPS = 25
"""Between a run's start and its own goal, on the way through the doors."""
_ROOM_PX = HALF_WALL + RADIUS + 2.0
"""Farther than this from a wall's middle the disc is in a room."""
_TOUCH_PX = 1e-9
_SLACK_PX = 1e-3
"""By so much a recorded place may lie in a wall, if it was kept with fewer digits."""
_FINE = 4

Point: TypeAlias = tuple[float, float]
Walls: TypeAlias = tuple[Point, ...]
"""x of each wall and y of the middle of its door, from left to right."""
_Hit: TypeAlias = tuple[float, Point]
"""Part of the way that is free, and the normal where it ends."""


def _pieces(walls: Walls) -> list[tuple[float, float, float, float]]:
    """What of the walls stands: left, top, right, bottom."""
    return [
        (x - HALF_WALL, top, x + HALF_WALL, bottom)
        for x, door in walls
        for top, bottom in ((0.0, door - HALF_DOOR), (door + HALF_DOOR, SIDE))
    ]


def _nearest(box: tuple[float, float, float, float], at: Point) -> tuple[float, Point]:
    """Distance of a point to a box, and the direction from the box to it; 0 and the way out within."""
    left, top, right, bottom = box
    x, y = at
    dx, dy = x - min(max(x, left), right), y - min(max(y, top), bottom)
    apart = math.hypot(dx, dy)
    if apart > 0:
        return apart, (dx / apart, dy / apart)
    return 0.0, (-1.0 if x - left < right - x else 1.0, 0.0)


def _enter(box: tuple[float, float, float, float], at: Point, way: Point) -> float:
    """When a disc on its way first touches a box it is clear of, as a part of the way; inf: never.

    Its middle then enters the box grown by the radius, with round corners: two boxes and four circles.
    """
    left, top, right, bottom = box
    best = math.inf
    for grown in (
        (left - RADIUS, top, right + RADIUS, bottom),
        (left, top - RADIUS, right, bottom + RADIUS),
    ):
        enter, leave = -math.inf, math.inf
        for low, high, p, d in ((grown[0], grown[2], at[0], way[0]), (grown[1], grown[3], at[1], way[1])):
            if d == 0.0:
                if not low < p < high:
                    enter = math.inf
            else:
                first, last = sorted(((low - p) / d, (high - p) / d))
                enter, leave = max(enter, first), min(leave, last)
        if 0.0 <= enter <= leave:
            best = min(best, enter)
    length2 = way[0] ** 2 + way[1] ** 2
    for x in (left, right):
        for y in (top, bottom):
            ax, ay = at[0] - x, at[1] - y
            along = ax * way[0] + ay * way[1]
            under = along**2 - length2 * (ax * ax + ay * ay - RADIUS**2)
            if along < 0.0 <= under:
                best = min(best, (-along - math.sqrt(under)) / length2)
    return best


def first_touch(walls: Walls, at: Point, way: Point) -> _Hit:
    """How much of a straight way is free, at most 1, and the normal of what ends it."""
    free, normal = 1.0, (0.0, 0.0)
    for axis in (0, 1):
        if way[axis] > 0 and at[axis] + way[axis] * free > HIGH:
            free, normal = max(0.0, (HIGH - at[axis]) / way[axis]), (-1.0, 0.0) if axis == 0 else (0.0, -1.0)
        elif way[axis] < 0 and at[axis] + way[axis] * free < LOW:
            free, normal = max(0.0, (LOW - at[axis]) / way[axis]), (1.0, 0.0) if axis == 0 else (0.0, 1.0)
    reach = HALF_WALL + RADIUS + _TOUCH_PX
    low, high = min(at[0], at[0] + way[0]), max(at[0], at[0] + way[0])
    near = tuple(wall for wall in walls if low - reach <= wall[0] <= high + reach)
    for box in _pieces(near):
        apart, out = _nearest(box, at)
        if apart <= RADIUS + _TOUCH_PX:
            if way[0] * out[0] + way[1] * out[1] < 0:
                free, normal = 0.0, out
            continue
        part = _enter(box, at, way)
        if part < free:
            free = part
            normal = _nearest(box, (at[0] + part * way[0], at[1] + part * way[1]))[1]
    return free, normal


def travel(walls: Walls, at: Point, way: Point) -> Point:
    """Where the disc is after it was sent along a way."""
    for _ in range(4):  # a wall, a door post and the frame can each turn it once
        length = math.hypot(*way)
        if length <= _TOUCH_PX:
            break
        free, normal = first_touch(walls, at, way)
        part = free if free >= 1.0 else max(0.0, free - 0.5 * _TOUCH_PX / length)
        at = (at[0] + part * way[0], at[1] + part * way[1])
        if free >= 1.0:
            break
        way = ((1.0 - part) * way[0], (1.0 - part) * way[1])
        inward = way[0] * normal[0] + way[1] * normal[1]
        way = (way[0] - inward * normal[0], way[1] - inward * normal[1])
    return at


def clear(walls: Walls, at: Point) -> bool:
    """Whether the disc may be there."""
    inside = all(LOW - _SLACK_PX <= v <= HIGH + _SLACK_PX for v in at)
    return inside and all(_nearest(box, at)[0] >= RADIUS - _SLACK_PX for box in _pieces(walls))


def doors_between(walls: Walls, start: Point, end: Point) -> Walls:
    """The doors on the way, in its order."""
    left, right = min(start[0], end[0]), max(start[0], end[0])
    passed = tuple(wall for wall in walls if left < wall[0] < right)
    return passed if start[0] < end[0] else passed[::-1]


def way_length(walls: Walls, start: Point, end: Point) -> float:
    """Length of the way through the middles of the doors, px."""
    points = (start, *doors_between(walls, start, end), end)
    return sum(math.dist(a, b) for a, b in pairwise(points))


class _Canvas:
    """Pictures: black walls and frame on white, a soft red dot whose width is the disc's radius."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._grid = (np.arange(size) + 0.5) * (SIDE / size)
        self._walls: Walls | None = None

    def draw(self, walls: Walls, at: Point) -> ByteArray:
        """(S, S, 3) uint8 RGB."""
        if walls != self._walls:
            self._walls, self._empty = walls, self._background(walls)
        across, down = (np.exp(-((self._grid - v) ** 2) / (2 * RADIUS**2)) for v in at)
        shade = (down[:, None] * across).astype(np.float32)
        picture = self._empty * (1.0 - shade)[..., None]
        picture[..., 0] += 255.0 * shade
        seen: ByteArray = (picture + 0.5).astype(np.uint8)
        return seen

    def _background(self, walls: Walls) -> FloatArray:
        fine = self.size * _FINE
        canvas = np.full((fine, fine, 3), 255, np.uint8)

        def fill(left: float, top: float, right: float, bottom: float) -> None:
            corners = [round(v * fine / SIDE) for v in (left, top, right, bottom)]
            cv2.rectangle(canvas, tuple(corners[:2]), (corners[2] - 1, corners[3] - 1), (0, 0, 0), cv2.FILLED)

        for piece in _pieces(walls):
            fill(*piece)
        line, far = BORDER - 3.5, SIDE - BORDER + 3.5
        for box in ((line, line, far, BORDER), (line, SIDE - BORDER, far, far)):
            fill(*box)
            fill(box[1], box[0], box[3], box[2])
        for edge in (0.0, far):
            for box in ((edge, 0.0, edge + line, SIDE), (0.0, edge, SIDE, edge + line)):
                corners = [round(v * fine / SIDE) for v in box]
                cv2.rectangle(canvas, tuple(corners[:2]), (corners[2] - 1, corners[3] - 1), (255,) * 3, cv2.FILLED)
        return cv2.resize(canvas, (self.size, self.size), interpolation=cv2.INTER_AREA).astype(np.float32)


class Rooms(Task):
    """A disc among walls with doors.

    Args:
        name: of the task.
        size: pixels a side of the pictures.
        walls: how many.
        build: draws the walls of a run, from left to right.
        told: whether ``observation.environment_state`` tells where walls and doors are.
    """

    origin: Origin = Origin.SIMULATED

    def __init__(
        self, name: str, *, size: int, walls: int, build: Callable[[np.random.Generator], Walls], told: bool
    ) -> None:
        named = tuple(f"{what}{k}" for k in range(walls) for what in ("wall_x_", "door_y_"))
        state = Signal(name=STATE, unit="px", names=("x", "y"), shape=(2,), frame="plane")
        around = Signal(name=AROUND, unit="px", names=named, shape=(2 * walls,), frame="plane")
        self.spec = TaskSpec(
            name=name,
            rate_hz=10.0,
            states=(state, around) if told else (state,),
            cameras=(Signal(name=CAMERA, unit="1", shape=(size, size, 3), kind=Kind.IMAGE),),
            action=Signal(name="action", unit="1", names=("x", "y"), shape=(2,), frame="plane", kind=Kind.ACTION),
            low=(-1.0, -1.0),
            high=(1.0, 1.0),
            truth=Signal(
                name=TRUTH, unit="px", names=("x", "y", "goal_x", "goal_y", *named), shape=(4 + 2 * walls,),
                frame="plane",
            ),
            steps=100,
        )  # fmt: skip
        self.rate_hz = self.spec.rate_hz
        self._build, self._told, self._canvas = build, told, _Canvas(size)

    def reset(self, *, seed: int) -> Observation:
        """A start and a goal with a wall between them, at least 25 steps apart."""
        draw = np.random.default_rng([seed, 0xD00])
        walls = self._build(draw)
        while True:
            (sx, sy), (gx, gy) = draw.uniform(LOW, HIGH, (2, 2)).tolist()
            roomy = all(abs(x - wall[0]) > _ROOM_PX for x in (sx, gx) for wall in walls)
            apart = doors_between(walls, (sx, sy), (gx, gy))
            if roomy and apart and way_length(walls, (sx, sy), (gx, gy)) >= LEAST_STEPS * SPEED_PX:
                return self._start(walls, (sx, sy), (gx, gy))

    def begin(self, start: FloatArray, goal: FloatArray | None = None, *, seed: int) -> Observation:
        """See :class:`~worldgate.core.tasks.Task`; nothing is random on the way.

        Raises:
            UsageError: not rows of the truth, a place within a wall, or a goal among other walls.
        """
        del seed
        at, own, walls = self._read(start, "start")
        if goal is not None:
            own, _, others = self._read(goal, "goal")
            if not np.allclose(walls, others, atol=_SLACK_PX):
                what, hint = "a goal among other walls than the start", "a row of the same episode"
                raise UsageError(what, got=others, where=self.spec.name, hint=hint)
        return self._start(walls, at, own)

    def _read(self, row: FloatArray, what: str) -> tuple[Point, Point, Walls]:
        values = np.asarray(row, np.float64)
        if values.shape != self.spec.truth.shape or not np.isfinite(values).all():
            hint = f"{self.spec.truth.shape[0]} finite numbers: {', '.join(self.spec.truth.names)}"
            raise UsageError(f"not a {what} of this task", got=values.tolist(), where=self.spec.name, hint=hint)
        places: list[Point] = [(float(x), float(y)) for x, y in values.reshape(-1, 2)]
        at, own, walls = places[0], places[1], tuple(places[2:])
        for place in (at, own):
            if not clear(walls, place):
                hint = f"the disc's middle from {LOW:g} to {HIGH:g} px, clear of walls"
                raise UsageError(f"a {what} where the disc cannot be", got=place, where=self.spec.name, hint=hint)
        return at, own, walls

    def _start(self, walls: Walls, at: Point, goal: Point) -> Observation:
        self._walls, self._at, self._goal, self._steps = walls, at, goal, 0
        return self._observe(at)

    def step(self, action: FloatArray) -> Transition:
        """Do one step of up to 7 px along each axis.

        Raises:
            UsageError: an action outside its bounds.
        """
        x, y = (SPEED_PX * self.spec.check(action)).tolist()
        self._at = travel(self._walls, self._at, (x, y))
        self._steps += 1
        facts = self.measure()
        return Transition(
            observation=self._observe(self._at),
            done=bool(facts["success"]) or self._steps >= self.spec.steps,
            facts=facts,
        )

    def measure(self) -> Mapping[str, float]:
        """Success, reward, and how far the disc's middle is from its goal, px."""
        distance = math.dist(self._at, self._goal)
        success = float(distance < REACHED_PX)
        return {"success": success, "reward": success - distance / SIDE, "distance": distance}

    def goal(self) -> Observation:
        """What is seen with the disc at the goal."""
        return self._observe(self._goal)

    def _observe(self, at: Point) -> Observation:
        around = np.array(self._walls).reshape(-1)
        seen = {STATE: np.array(at), CAMERA: self._canvas.draw(self._walls, at)}
        if self._told:
            seen[AROUND] = around
        return seen | {TRUTH: np.concatenate([at, self._goal, around])}


class Walker(GoalPolicy):
    """Goes straight where the way is free, else through the next door; it reads walls and doors from the truth.

    Args:
        noise: standard deviation of a slowly varying error of each channel, in the action's unit.
    """

    def __init__(self, noise: float = 0.0) -> None:
        self._noise = noise
        self.reset(seed=0)

    @property
    def digest(self) -> str:
        """Digest of the configuration."""
        return digest_json({"rooms": "walker", "noise": self._noise})

    def reset(self, *, seed: int) -> None:
        self._draw, self._error = np.random.default_rng([seed, 0x3A1]), np.zeros(2)
        self._goal: Point | None = None

    def aim(self, goal: Observation, *, steps: int) -> None:
        """Take a goal; without one it goes to the run's own."""
        x, y = np.asarray(goal[STATE], np.float64).tolist()
        self._goal = (x, y)

    def act(self, observation: Observation) -> FloatArray:
        """(2,) towards the next point of the way, at full speed."""
        places: list[Point] = [(float(x), float(y)) for x, y in np.reshape(observation[TRUTH], (-1, 2))]
        at, walls = places[0], tuple(places[2:])
        x, y = _next_point(walls, at, self._goal or places[1])
        ahead = np.array([x - at[0], y - at[1]])
        self._error = 0.6 * self._error + 0.8 * self._noise * self._draw.normal(size=2)
        action = ahead / max(float(np.linalg.norm(ahead)), SPEED_PX)
        return np.clip(action + self._error, -1.0, 1.0)


def _next_point(walls: Walls, at: Point, goal: Point) -> Point:
    """Where to go straight to now: the goal, or the far or near side of the next door."""

    def free(point: Point) -> bool:
        return first_touch(walls, at, (point[0] - at[0], point[1] - at[1]))[0] >= 1.0

    if free(goal):
        return goal
    # Where no wall lies between, or no side of its door is in sight, a post of the door it stands in hides the way.
    here = min(walls, key=lambda wall: abs(wall[0] - at[0]))
    room = HALF_DOOR - RADIUS - 3.0
    for wall, door in (*doors_between(walls, at, goal)[:1], here):
        side = math.copysign(_ROOM_PX, goal[0] - wall)
        past = (wall + side, min(max(at[1], door - room), door + room))
        near = (wall - side, past[1])
        if free(past) or free(near):
            return past if free(past) else near
    return past


class Wanderer(Policy):
    """Draws every action evenly within its bounds."""

    digest = digest_json({"rooms": "random"})

    def reset(self, *, seed: int) -> None:
        self._draw = np.random.default_rng([seed, 0x3A2])

    def act(self, observation: Observation) -> FloatArray:
        del observation
        return self._draw.uniform(-1.0, 1.0, 2)


ACTORS: dict[str, Callable[[], Policy]] = {
    "scripted": Walker,
    "noisy": lambda: Walker(noise=0.8),
    "random": Wanderer,
}
