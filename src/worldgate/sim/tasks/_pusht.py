"""The plane of PushT: a round tool that follows its target and pushes a T, on pymunk; its coverage and its picture.

Geometry, masses, controller and the order of every call are those of gym-pusht 0.1.8, which are those of Diffusion
Policy (Chi et al. 2023, arXiv:2303.04137): a plane of 512 px with walls 5 px from its edge, a tool of radius 15 px that
no force moves, a T of two bars of 120 x 30 and 30 x 90 px, a tenth of a second of control in ten steps, damping that
takes all motion within one. Angles are of the T's own frame, whose origin is the middle of the bar's top.

What pymunk keeps of a contact between two steps (its impulses, and how far it still has to part the bodies) can be
neither read nor set. So a run that is put into a recorded situation in the middle of a push goes on a little
differently: a step later the T lies mostly within 0.02 px, at most some tenths of a pixel, of where it went at first.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import cv2
import numpy as np
import pymunk

from worldgate.core.streams import ByteArray, FloatArray
from worldgate.sim.tasks._pusht_expert import GOAL, TOOL_RADIUS

Polygon: TypeAlias = list[tuple[float, float]]

SIDE = 512.0
_WALLS = (((5, 506), (5, 5)), ((5, 5), (506, 5)), ((506, 5), (506, 506)), ((5, 506), (506, 506)))
_WALL_RADIUS = 2
_BARS = (
    ((-60.0, 30.0), (60.0, 30.0), (60.0, 0.0), (-60.0, 0.0)),
    ((-15.0, 30.0), (-15.0, 120.0), (15.0, 120.0), (15.0, 30.0)),
)
_AREA = 120.0 * 30.0 + 30.0 * 90.0
_DT_S, _INNER = 0.01, 10
_STIFF, _DAMP = 100.0, 20.0
_WHITE, _GREEN, _SLATE, _BLUE, _GREY = (255,) * 3, (144, 238, 144), (119, 136, 153), (65, 105, 225), (211,) * 3
_FINE_PX = 256


class Plane:
    """The bodies and their motion."""

    def __init__(self) -> None:
        self._space = pymunk.Space()
        self._space.damping = 0.0
        ground = self._space.static_body
        self._space.add(*(pymunk.Segment(ground, a, b, _WALL_RADIUS) for a, b in _WALLS))
        self.tool = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        self._space.add(self.tool, pymunk.Circle(self.tool, TOOL_RADIUS))
        # Both bars count with the inertia of the first, as there.
        self.block = pymunk.Body(1.0, 2 * pymunk.moment_for_poly(1.0, _BARS[0]))
        bars = [pymunk.Poly(self.block, bar) for bar in _BARS]
        self.block.center_of_gravity = (bars[0].center_of_gravity + bars[1].center_of_gravity) / 2
        self._space.add(self.block, *bars)

    def drop(self, tool: tuple[float, float], block: tuple[float, float], turn: float) -> None:
        """Place both as gym-pusht does: the T is placed first and then turned about its centre of mass."""
        self.tool.position = tool
        self.block.position = block
        self.block.angle = turn
        self._space.step(_DT_S)

    def place(self, row: FloatArray) -> None:
        """Put both where a row of :meth:`row` says, with their speeds."""
        x, y, vx, vy, bx, by, turn, bvx, bvy, spin = map(float, row)
        self.tool.position, self.tool.velocity = (x, y), (vx, vy)
        self.block.angle = turn
        self.block.position = bx, by
        self.block.velocity, self.block.angular_velocity = (bvx, bvy), spin
        self._space.reindex_shapes_for_body(self.tool)
        self._space.reindex_shapes_for_body(self.block)

    def step(self, target: tuple[float, float]) -> None:
        """A tenth of a second of control."""
        tx, ty = target
        for _ in range(_INNER):
            (x, y), (vx, vy) = self.tool.position, self.tool.velocity
            ax, ay = _STIFF * (tx - x) + _DAMP * (0 - vx), _STIFF * (ty - y) + _DAMP * (0 - vy)
            self.tool.velocity = vx + ax * _DT_S, vy + ay * _DT_S
            self._space.step(_DT_S)

    def row(self) -> FloatArray:
        """(10,) tool x, y and speed, the T's x, y, turn from -pi to pi, speed and spin."""
        turn = self.block.angle
        if not -math.pi <= turn < math.pi:
            turn = (turn + math.pi) % (2 * math.pi) - math.pi
        return np.array(
            [*self.tool.position, *self.tool.velocity, *self.block.position, turn, *self.block.velocity,
             self.block.angular_velocity]
        )  # fmt: skip


def bars(pose: FloatArray) -> list[Polygon]:
    """Corners of the T's two bars at a pose, in one turning direction."""
    x, y, turn = map(float, pose)
    c, s = math.cos(turn), math.sin(turn)
    return [[(x + c * px - s * py, y + s * px + c * py) for px, py in bar] for bar in _BARS]


def coverage(pose: FloatArray, goal: FloatArray) -> float:
    """Share of the T at a goal that the T at a pose covers."""
    return sum(_area(_clip(a, b)) for a in bars(pose) for b in bars(goal)) / _AREA


def _signed(polygon: Polygon) -> float:
    return sum((x0 * y1 - x1 * y0) / 2 for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True))


def _area(polygon: Polygon) -> float:
    return abs(_signed(polygon))


def _clip(polygon: Polygon, convex: Polygon) -> Polygon:
    """What of a polygon lies within a convex one (Sutherland and Hodgman 1974)."""
    sign = math.copysign(1.0, _signed(convex))
    for (ax, ay), (bx, by) in zip(convex, convex[1:] + convex[:1], strict=True):
        sides = [sign * ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) for x, y in polygon]
        kept: Polygon = []
        for i, ((x, y), side) in enumerate(zip(polygon, sides, strict=True)):
            (px, py), before = polygon[i - 1], sides[i - 1]
            if (side >= 0) != (before >= 0):
                part = before / (before - side)
                kept.append((px + part * (x - px), py + part * (y - py)))
            if side >= 0:
                kept.append((x, y))
        polygon = kept
    return polygon


class Canvas:
    """Pictures as gym-pusht draws them: the goal green, the T grey, the tool blue, on white."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._side = size * max(1, math.ceil(_FINE_PX / size))
        self._empty = np.full((self._side, self._side, 3), 255, np.uint8)
        for a, b in _WALLS:
            cv2.line(self._empty, self._px(a), self._px(b), _GREY, self._width(2 * _WALL_RADIUS))
        for bar in bars(GOAL):
            cv2.fillPoly(self._empty, [self._pixels(bar)], _GREEN, lineType=cv2.LINE_AA, shift=4)

    def draw(self, tool: FloatArray, pose: FloatArray) -> ByteArray:
        """(S, S, 3) uint8 RGB."""
        canvas = self._empty.copy()
        for bar in bars(pose):
            cv2.fillPoly(canvas, [self._pixels(bar)], _light(_SLATE), lineType=cv2.LINE_AA, shift=4)
            cv2.polylines(
                canvas, [self._pixels(bar)], True, _SLATE, self._width(4.0), lineType=cv2.LINE_AA, shift=4
            )  # fmt: skip
        for radius, colour in ((TOOL_RADIUS, _BLUE), (TOOL_RADIUS - 4, _light(_BLUE))):
            middle = self._pixels([(float(tool[0]), float(tool[1]))])[0].tolist()
            cv2.circle(canvas, middle, round(16 * radius * self._side / SIDE), colour, cv2.FILLED, cv2.LINE_AA, 4)
        picture: ByteArray = cv2.resize(canvas, (self._size, self._size), interpolation=cv2.INTER_AREA).astype(np.uint8)
        return picture

    def _pixels(self, points: Polygon) -> FloatArray:
        """In sixteenths of the fine canvas's pixels, whose centres are whole numbers."""
        return np.rint((np.array(points) * (self._side / SIDE) - 0.5) * 16).astype(np.int32)

    def _px(self, point: tuple[int, int]) -> tuple[int, int]:
        return round(point[0] * self._side / SIDE), round(point[1] * self._side / SIDE)

    def _width(self, px: float) -> int:
        return max(1, round(px * self._side / SIDE))


def _light(colour: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(255, round(1.2 * c)) for c in colour)
