"""What the cell's surfaces look like: an albedo and a gloss for each geom, and the textures that make motion visible.

Everything is a function of the point that a ray hit, so it is the same from every camera and at every resolution.
Colours are linear RGB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import mujoco
import numpy as np

from worldgate.core.streams import FloatArray, IntArray
from worldgate.sim.puddle import wet
from worldgate.sim.scenario import Scenario
from worldgate.sim.scene import BAY_HALF_M, CLASSES
from worldgate.sim.sites import Site

Texture: TypeAlias = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""(points (n, 3) in the geom's frame, normals (n, 3)) -> albedo (n, 3), gloss (n,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How each geom of a model reflects light."""

    albedo: FloatArray
    """(geoms, 3) linear RGB."""
    gloss: FloatArray
    """(geoms,) strength of the highlight, 0..1."""
    label: IntArray
    """(geoms,) class id for segmentation."""
    textures: dict[int, Texture]
    """geom id -> what its albedo is, in the geom's own frame."""
    regions: Callable[[FloatArray], IntArray] | None = None
    """(n, 3) points of the table top -> class ids of the regions on it."""
    table: int = -1
    """Geom id of the table."""


_ALBEDO = {
    "floor": (0.16, 0.17, 0.18), "floor_backdrop": (0.34, 0.38, 0.42), "table": (0.5, 0.4, 0.3),
    "wall": (0.30, 0.31, 0.33), "arm": (0.72, 0.73, 0.75), "arm_shoulder": (0.06, 0.07, 0.09),
    "arm_elbow": (0.06, 0.07, 0.09), "arm_foot": (0.05, 0.06, 0.07), "arm_column": (0.20, 0.21, 0.23),
    "arm_wrist": (0.06, 0.07, 0.09),
    "tool": (0.02, 0.16, 0.62), "person_hand": (0.72, 0.40, 0.27), "person_forearm": (0.72, 0.40, 0.27),
    "person_sleeve": (0.03, 0.26, 0.27), "occluder": (0.06, 0.05, 0.05),
}  # fmt: skip
_CLUTTER = ((0.75, 0.65, 0.10), (0.25, 0.10, 0.45), (0.10, 0.45, 0.55), (0.60, 0.60, 0.58), (0.45, 0.22, 0.08))
_GLOSS = {"arm": 0.35, "tool": 0.5, "object": 0.25, "wall": 0.2, "table": 0.06, "clutter": 0.3, "person": 0.04}
_GOAL = (0.05, 0.42, 0.14)


def cell_look(model: Any, site: Site, scenario: Scenario) -> Look:
    """The look of the embedded cell."""
    names = [model.geom(i).name for i in range(model.ngeom)]
    kinds = [name.split("_")[0] for name in names]
    albedo = np.array([_ALBEDO.get(n, _ALBEDO.get(k, (0.4, 0.4, 0.4))) for n, k in zip(names, kinds, strict=True)])
    for i, name in enumerate(names):
        if name.startswith("clutter_"):
            albedo[i] = _CLUTTER[int(name.removeprefix("clutter_")) % len(_CLUTTER)]
        elif name.startswith("wall_bay"):
            albedo[i] = (0.62, 0.63, 0.62)
    table = names.index("table")
    textures: dict[int, Texture] = {
        table: lambda p, n: _table(site, scenario, p),
        names.index("floor"): lambda p, n: _floor(p),
        names.index("object"): lambda p, n: _object(site, p, n),
    }
    return Look(
        albedo=albedo,
        gloss=np.array([_GLOSS.get(kind, 0.0) for kind in kinds]),
        label=np.array([CLASSES.get(kind, CLASSES["background"]) for kind in kinds]),
        textures=textures,
        regions=lambda p: _regions(site, scenario, p),
        table=table,
    )


def plain_look(model: Any) -> Look:
    """The look of a user's own model: its colours, a checker on its planes; a geom's label is its id plus one."""
    rgba = np.array(model.geom_rgba[:, :3], np.float64)
    has = model.geom_matid >= 0
    if has.any():
        rgba[has] = model.mat_rgba[model.geom_matid[has], :3]
    planes = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
    return Look(
        albedo=rgba**2.2,
        gloss=np.full(model.ngeom, 0.2),
        label=np.arange(model.ngeom) + 1,
        textures={int(i): _checker for i in planes},
    )


def _checker(points: FloatArray, normals: FloatArray) -> tuple[FloatArray, FloatArray]:
    del normals
    odd = (np.floor(points[:, 0] / 0.25) + np.floor(points[:, 1] / 0.25)) % 2
    return (0.16 + 0.16 * odd)[:, None] * np.array([0.95, 1.0, 1.05]), np.full(len(points), 0.05)


def _hash(values: IntArray) -> FloatArray:
    """A fixed pseudo-random number in 0..1 for each integer, the same on every machine."""
    mixed = (values * 2654435761) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 2246822519) & 0xFFFFFFFF
    return np.asarray(((mixed ^ (mixed >> 13)) & 0xFFFF) / 65535.0)


def _grain(x: FloatArray, y: FloatArray, x_scale: float, y_scale: float) -> FloatArray:
    """Value noise stretched along x: (n,) in 0..1."""
    u, v = x / x_scale, y / y_scale
    iu, iv = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    fu, fv = u - iu, v - iv
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    a, b = _hash(iu * 7919 + iv), _hash((iu + 1) * 7919 + iv)
    c, d = _hash(iu * 7919 + iv + 1), _hash((iu + 1) * 7919 + iv + 1)
    return np.asarray((a + fu * (b - a)) * (1 - fv) + (c + fu * (d - c)) * fv)


def _bay_frame(site: Site, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    dx, dy = x - site.goal[0], y - site.goal[1]
    return dx * site.mouth[0] + dy * site.mouth[1], -dx * site.mouth[1] + dy * site.mouth[0]


def _regions(site: Site, scenario: Scenario, points: FloatArray) -> IntArray:
    along, across = _bay_frame(site, points[:, 0], points[:, 1])
    out = np.full(len(points), CLASSES["table"])
    out[(np.abs(along) < BAY_HALF_M) & (np.abs(across) < BAY_HALF_M)] = CLASSES["goal"]
    if scenario.attributes.spill:
        out[wet(points[:, 0], points[:, 1], scenario.puddle, scenario.attributes.spill)] = CLASSES["spill"]
    return out


def _table(site: Site, scenario: Scenario, local: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Birch planks, walnut planks or a green cutting mat, the green floor of the bay, and the spill."""
    x, y = local[:, 0] + _TABLE_MIDDLE[0], local[:, 1] + _TABLE_MIDDLE[1]
    if site.table == "mat":
        lines = np.minimum(np.abs((x / 0.1) - np.round(x / 0.1)), np.abs((y / 0.1) - np.round(y / 0.1))) < 0.045
        tone = 0.9 + 0.2 * _grain(x, y, 0.05, 0.05)
        albedo = np.array([0.115, 0.15, 0.185]) * tone[:, None]
        albedo[lines] = (0.30, 0.34, 0.36)
        gloss = np.full(len(x), 0.08)
    else:
        plank = np.floor(y / 0.105).astype(np.int64)
        tone = 0.80 + 0.26 * _hash(plank + 11) + 0.22 * (_grain(x + 3.1 * plank, y, 0.16, 0.011) - 0.5)
        seam = np.abs(y / 0.105 - np.round(y / 0.105)) < 0.035
        base = np.array([0.58, 0.42, 0.25]) if site.table == "birch" else np.array([0.24, 0.13, 0.07])
        albedo = base * tone[:, None]
        albedo[seam] *= 0.55
        gloss = np.full(len(x), 0.07)
    region = _regions(site, scenario, np.stack([x, y], -1))
    goal = region == CLASSES["goal"]
    along, across = _bay_frame(site, x, y)
    stripe = np.floor((along + across) / 0.028).astype(np.int64) % 2 == 0
    albedo[goal] = np.where(stripe[goal, None], np.array(_GOAL), np.array(_GOAL) * 0.62)
    spilt = region == CLASSES["spill"]
    albedo[spilt] = albedo[spilt] * np.array([0.34, 0.40, 0.48])
    gloss[spilt] = 1.0
    return albedo, gloss


_TABLE_MIDDLE = (-0.045, 0.0)


def _floor(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    x, y = points[:, 0], points[:, 1]
    odd = (np.floor(x / 0.4) + np.floor(y / 0.4)) % 2
    return (0.11 + 0.035 * odd)[:, None] * np.array([0.95, 1.0, 1.08]), np.full(len(x), 0.03)


def _object(site: Site, points: FloatArray, normals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The site's colour, with a white bar on the top that shows which way the object is turned."""
    albedo = np.tile(np.array(site.object_colour), (len(points), 1))
    top = normals[:, 2] > 0.9
    bar = top & (points[:, 0] > 0.006) & (points[:, 0] < 0.026) & (np.abs(points[:, 1]) < 0.030)
    albedo[bar] = (0.85, 0.85, 0.82)
    return albedo, np.full(len(points), 0.25)
