"""Cameras made of rays: colour, depth, segmentation and normals of a picture come from the same rays.

What never moves is cast and lit once, with four rays a pixel. A picture then casts against what moves only, lays it
over the still part by distance, casts from the lamp for shadows, and smooths the outlines of moving things with four
more rays on the pixels that need them. Shading is Lambert with a hemisphere of ambient light and a Blinn-Phong
highlight (Blinn 1977), in linear light. Sensor noise is drawn from the camera's own stream: no two pictures are the
same to the byte, as with a real camera, while a run repeats to the byte.

Shape legend: N = H x W pixels, n hits, S = 4 rays of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from worldgate.core.streams import Array, BoolArray, ByteArray, FloatArray, IntArray
from worldgate.sim.looks import Look
from worldgate.sim.rays import MOVING_GROUP, STATIC_GROUP, Hits, Pinhole, cast, distances
from worldgate.sim.sites import CameraPose, Light, Vec3

_SUB = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))
"""Rotated grid of four rays inside a pixel."""
_SHADOW_BIAS_M = 0.004
_SHADOW_LEFT = 0.18
"""Share of the lamp's light that reaches a shadow by way of the room."""
_BACKGROUND = np.array([0.20, 0.23, 0.27])


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraConfig:
    """How a ray camera takes pictures."""

    height: int = 64
    """Pixels."""
    width: int = 64
    """Pixels."""
    noise: float = 0.7
    """Standard deviation of the sensor noise, in steps of 1/255; more in dim light."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What one set of rays gave."""

    colour: ByteArray
    """(H, W, 3) uint8 sRGB."""
    depth: FloatArray | None = None
    """(H, W) float32, m along the optical axis; 0 where nothing was hit."""
    segmentation: ByteArray | None = None
    """(H, W) class ids; 0 is background."""
    normals: FloatArray | None = None
    """(H, W, 3) float32 unit normals in the table frame; 0 where nothing was hit."""

    def black(self) -> Picture:
        """What a dead sensor of the same size delivers."""
        return Picture(
            colour=np.zeros_like(self.colour),
            depth=None if self.depth is None else np.zeros_like(self.depth),
            segmentation=None if self.segmentation is None else np.zeros_like(self.segmentation),
            normals=None if self.normals is None else np.zeros_like(self.normals),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lighting:
    """The light in the room during a run."""

    lamp: Light
    exposure: float = 1.0
    """Factor on all light that the camera registers."""
    glare: Vec3 | None = None
    """Position of a second lamp whose mirror image on the table dazzles."""
    glare_strength: float = 0.0
    noise_gain: float = 1.0


def _tone_curve() -> FloatArray:
    """Linear light in 4096 steps over 0..2 to sRGB with a soft shoulder."""
    linear = np.linspace(0.0, 2.0, 4096)
    soft = np.where(linear < 0.6, linear, 0.6 + 0.4 * (1 - np.exp(-(linear - 0.6) / 0.4)))
    return np.asarray(np.round(255 * np.clip(soft, 0, 1) ** (1 / 2.2)), np.float32)


_TONES = _tone_curve()


def mirror_lamp(camera: CameraPose, spot: Vec3, distance: float = 1.6) -> Vec3:
    """Where a lamp must stand so that its mirror image on the table lies at ``spot`` for a camera."""
    ray = np.array(spot) - np.array(camera.position)
    ray /= np.linalg.norm(ray)
    x, y, z = np.array(spot) + distance * ray * np.array([1.0, 1.0, -1.0])
    return float(x), float(y), float(z)


class RayCamera:
    """A static camera.

    Args:
        config: size and noise.
        pinhole: where it stands and looks.
        model: ``mujoco.MjModel``; geoms in group 0 stand still, in group 1 they move.
        data: ``mujoco.MjData`` with current geom poses, to light what stands still.
        look: the surfaces.
        lighting: the light.
    """

    def __init__(
        self, config: CameraConfig, pinhole: Pinhole, model: Any, data: Any, look: Look, lighting: Lighting
    ) -> None:
        self.config = config
        self._model, self._data = model, data
        self._look, self._lighting = look, lighting
        self._lamp = np.array(lighting.lamp.position, np.float64)
        self._pinhole = pinhole
        self._rays = self._pinhole.directions()
        self._cosines = self._pinhole.cosines()
        self._sub_rays = np.stack([self._pinhole.directions(shift) for shift in _SUB], 1)
        self._still = self._cast(self._rays, STATIC_GROUP)
        self._still_points = self._points(self._rays, self._still)
        self._still_lamp_rays = self._lamp_rays(self._still_points)
        self._light_still()

    def _cast(self, rays: FloatArray, groups: Array) -> Hits:
        return cast(self._model, self._data, self._pinhole.origin, rays, groups)

    def _points(self, rays: FloatArray, hits: Hits) -> FloatArray:
        distance = np.where(np.isfinite(hits.distance), hits.distance, 0.0)
        return np.asarray(self._pinhole.origin + rays * distance[:, None])

    def _light_still(self) -> None:
        """Light what never moves: ambient and lamp parts apart, because moving things shade the lamp alone."""
        rays = self._sub_rays.reshape(-1, 3)
        hits = self._cast(rays, STATIC_GROUP)
        self._still_sub_distance = hits.distance.reshape(-1, len(_SUB))
        points = self._points(rays, hits)
        ambient, direct = self._shade(points, hits, rays)
        direct *= self._lamp_share(*self._lamp_rays(points), STATIC_GROUP)[:, None]
        missed = hits.geom < 0
        ambient[missed], direct[missed] = _BACKGROUND * self._lighting.exposure, 0.0
        self._still_ambient = ambient.reshape(-1, len(_SUB), 3).mean(1)
        self._still_direct = direct.reshape(-1, len(_SUB), 3).mean(1)

    def _lamp_rays(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Unit rays from the lamp to points (n, 3), and how far they are, less a bias (n,): one call casts them all."""
        way = points - self._lamp
        distance = np.sqrt(np.einsum("nc,nc->n", way, way))
        way /= distance[:, None]
        return way, distance - _SHADOW_BIAS_M

    def _lamp_share(self, rays: FloatArray, distance: FloatArray, groups: Array) -> FloatArray:
        """(n,) share of the lamp's light that reaches the points at the ends of rays from the lamp."""
        blocked = distances(self._model, self._data, self._lamp, rays, groups) < distance
        return np.where(blocked, _SHADOW_LEFT, 1.0)

    def _shade(self, points: FloatArray, hits: Hits, rays: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Light leaving n points towards the camera: ambient part (n, 3) and the lamp's part (n, 3), unshadowed."""
        lamp, normal = self._lighting.lamp, hits.normal
        albedo, gloss = self._surface(points, hits)
        up = 0.5 + 0.5 * normal[:, 2:3]
        sky, ground = np.array(lamp.sky), np.array(lamp.ground)
        ambient = albedo * (ground + (sky - ground) * up)
        to_lamp = _unit(np.array(lamp.position) - points)
        facing = np.maximum(np.einsum("nc,nc->n", normal, to_lamp), 0.0)
        shine = self._highlight(normal, to_lamp, rays, gloss, 40.0)
        direct = (albedo * facing[:, None] + shine[:, None]) * np.array(lamp.colour)
        wet = gloss > 0.9
        if (
            wet.any()
        ):  # a wet surface mirrors the bright upper part of the room, more so at a grazing view (Schlick 1994)
            grazing = 0.04 + 0.96 * (1.0 - np.clip(-np.einsum("nc,nc->n", normal[wet], rays[wet]), 0, 1)) ** 4
            ambient[wet] += 2.4 * sky * grazing[:, None]
        if self._lighting.glare is not None:
            to_glare = _unit(np.array(self._lighting.glare) - points)
            sheen = np.where((hits.geom == self._look.table) & (normal[:, 2] > 0.5), np.maximum(gloss, 0.35), gloss)
            dazzle = self._highlight(normal, to_glare, rays, sheen, 150.0)
            ambient += 5.0 * self._lighting.glare_strength * dazzle[:, None]
        return ambient * self._lighting.exposure, direct * self._lighting.exposure

    def _surface(self, points: FloatArray, hits: Hits) -> tuple[FloatArray, FloatArray]:
        """Albedo (n, 3) and gloss (n,) where rays hit."""
        albedo, gloss = self._look.albedo[hits.geom].copy(), self._look.gloss[hits.geom].copy()
        for geom, texture in self._look.textures.items():
            here = np.flatnonzero(hits.geom == geom)
            if len(here):
                turn = self._data.geom_xmat[geom].reshape(3, 3)
                local = (points[here] - self._data.geom_xpos[geom]) @ turn
                albedo[here], gloss[here] = texture(local, hits.normal[here] @ turn)
        return albedo, gloss

    @staticmethod
    def _highlight(
        normal: FloatArray, to_lamp: FloatArray, rays: FloatArray, gloss: FloatArray, power: float
    ) -> FloatArray:
        half = _unit(to_lamp - rays)
        return np.asarray(gloss * np.maximum(np.einsum("nc,nc->n", normal, half), 0.0) ** power)

    def look(self, draw: np.random.Generator, *, geometry: bool = True) -> Picture:
        """Take a picture of the scene as the data stands now.

        Args:
            draw: where the sensor noise of this picture comes from.
            geometry: whether depth, segmentation and normals are wanted too.
        """
        moving = self._cast(self._rays, MOVING_GROUP)
        front = moving.distance < self._still.distance
        linear = self._colour(moving, front)
        shape = (self.config.height, self.config.width)
        tones = _TONES[np.minimum(linear * (4095 / 2.0), 4095.0).astype(np.int32)]
        if self.config.noise:
            tones += draw.standard_normal(linear.shape, np.float32) * np.float32(
                self.config.noise * self._lighting.noise_gain
            )
        colour = np.clip(np.rint(tones), 0, 255).astype(np.uint8).reshape(*shape, 3)
        return Picture(colour=colour, **(self._geometry(moving, front, shape) if geometry else {}))

    def _colour(self, moving: Hits, front: BoolArray) -> FloatArray:
        """(N, 3) linear light of the picture."""
        shadow = self._lamp_share(*self._still_lamp_rays, MOVING_GROUP)
        size = 2 * (self.config.height // 43) + 1
        soft = cv2.blur(shadow.reshape(self.config.height, self.config.width), (size, size)).reshape(-1)
        linear = self._still_ambient + self._still_direct * soft[:, None]
        picked = np.flatnonzero(front)
        linear[picked] = self._moving_light(self._rays[picked], _take(moving, picked))
        outline = self._outline(moving.geom, front)
        if len(outline):
            linear[outline] = self._smooth(
                outline, self._still_ambient[outline] + self._still_direct[outline] * soft[outline, None]
            )
        return np.asarray(linear)

    def _moving_light(self, rays: FloatArray, hits: Hits) -> FloatArray:
        points = self._points(rays, hits)
        ambient, direct = self._shade(points, hits, rays)
        return np.asarray(ambient + direct * self._lamp_share(*self._lamp_rays(points), MOVING_GROUP)[:, None])

    def _outline(self, geom: IntArray, front: BoolArray) -> IntArray:
        """(m,) pixels where moving things begin, end or meet."""
        seen = np.where(front, geom, -1).reshape(self.config.height, self.config.width)
        edge = np.zeros(seen.shape, bool)
        down, right = seen[1:] != seen[:-1], seen[:, 1:] != seen[:, :-1]
        edge[1:] |= down
        edge[:-1] |= down
        edge[:, 1:] |= right
        edge[:, :-1] |= right
        return np.flatnonzero(edge)

    def _smooth(self, pixels: IntArray, behind: FloatArray) -> FloatArray:
        """(m, 3) light of outline pixels: the mean of their four rays, those that miss seeing what is behind."""
        rays = self._sub_rays[pixels].reshape(-1, 3)
        hits = self._cast(rays, MOVING_GROUP)
        light = np.repeat(behind, len(_SUB), axis=0)
        picked = np.flatnonzero(hits.distance < self._still_sub_distance[pixels].reshape(-1))
        light[picked] = self._moving_light(rays[picked], _take(hits, picked))
        return np.asarray(light.reshape(-1, len(_SUB), 3).mean(1))

    def _geometry(self, moving: Hits, front: BoolArray, shape: tuple[int, int]) -> dict[str, Any]:
        distance = np.where(front, moving.distance, self._still.distance)
        geom = np.where(front, moving.geom, self._still.geom)
        normal = np.where(front[:, None], moving.normal, self._still.normal)
        depth = np.where(np.isfinite(distance), distance * self._cosines, 0.0)
        label = np.where(geom >= 0, self._look.label[geom], 0)
        if self._look.regions is not None:
            top = np.flatnonzero((geom == self._look.table) & (normal[:, 2] > 0.9))
            label[top] = self._look.regions(self._still_points[top])
        return {
            "depth": depth.astype(np.float32).reshape(shape),
            "segmentation": label.astype(np.uint8).reshape(shape),
            "normals": normal.astype(np.float32).reshape(*shape, 3),
        }


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.sqrt(np.einsum("nc,nc->n", vectors, vectors))[:, None])


def _take(hits: Hits, picked: IntArray) -> Hits:
    return Hits(distance=hits.distance[picked], geom=hits.geom[picked], normal=hits.normal[picked])
