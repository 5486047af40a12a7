from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np
import pytest

from worldgate.sim.camera import CameraConfig, Lighting, RayCamera
from worldgate.sim.looks import plain_look
from worldgate.sim.rays import VISIBLE_GROUPS, Lidar, Pinhole, cast
from worldgate.sim.sites import CameraPose, Light

LAMP = Light(position=(1.0, -1.0, 3.0), colour=(1.0, 1.0, 1.0), sky=(0.3, 0.3, 0.3), ground=(0.1, 0.1, 0.1))


def scene(*geoms: str) -> tuple[Any, Any]:
    model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{''.join(geoms)}</worldbody></mujoco>")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def picture(model: Any, data: Any, pose: CameraPose, size: int = 33) -> Any:
    camera = RayCamera(
        CameraConfig(height=size, width=size), Pinhole.at(pose, size, size), model, data, plain_look(model),
        Lighting(lamp=LAMP),
    )  # fmt: skip
    return camera.look(np.random.default_rng(0))


def test_depth_of_a_plane_is_the_height_of_a_camera_that_looks_straight_down() -> None:
    model, data = scene('<geom type="plane" size="5 5 1"/>')
    depth = picture(model, data, CameraPose(position=(0, 0, 1.7), target=(0, 0, 0), fov_deg=50)).depth
    np.testing.assert_allclose(depth, 1.7, rtol=1e-6)


def test_depth_of_a_tilted_view_of_a_plane_follows_the_analytic_ray() -> None:
    model, data = scene('<geom type="plane" size="5 5 1"/>')
    pose = CameraPose(position=(1.0, 0.3, 0.9), target=(0.0, 0.0, 0.0), fov_deg=40)
    pinhole = Pinhole.at(pose, 33, 33)
    rays = pinhole.directions()
    expected = (-0.9 / rays[:, 2]) * pinhole.cosines()
    np.testing.assert_allclose(picture(model, data, pose).depth.reshape(-1), expected, rtol=1e-6)


def test_depth_and_normals_of_a_sphere_follow_the_quadratic_formula() -> None:
    centre, radius = np.array([0.1, -0.05, 0.2]), 0.3
    model, data = scene(f'<geom type="sphere" size="{radius}" pos="0.1 -0.05 0.2"/>')
    pose = CameraPose(position=(1.5, 0.2, 0.6), target=(0.1, -0.05, 0.2), fov_deg=30)
    pinhole = Pinhole.at(pose, 33, 33)
    rays, origin = pinhole.directions(), pinhole.origin
    half = rays @ (origin - centre)
    root = half**2 - (((origin - centre) ** 2).sum() - radius**2)
    hit = root > 1e-9
    distance = np.where(hit, -half - np.sqrt(np.maximum(root, 0)), 0.0)
    got = picture(model, data, pose)
    np.testing.assert_allclose(got.depth.reshape(-1), distance * pinhole.cosines(), atol=1e-6)
    normal = (origin + rays * distance[:, None] - centre) / radius
    np.testing.assert_allclose(got.normals.reshape(-1, 3)[hit], normal[hit], atol=1e-5)


def test_segmentation_names_a_thing_exactly_where_depth_sees_it() -> None:
    model, data = scene('<geom name="near" type="box" size=".2 .2 .2" pos="0 0 .2"/>')
    got = picture(model, data, CameraPose(position=(1.5, 0.2, 0.6), target=(0, 0, 0.2), fov_deg=40))
    assert 0 < (got.segmentation > 0).sum() < got.segmentation.size
    np.testing.assert_array_equal(got.segmentation > 0, got.depth > 0)
    np.testing.assert_array_equal(got.segmentation > 0, np.linalg.norm(got.normals, axis=-1) > 0.5)


def test_a_moving_thing_in_front_hides_what_stands_still_and_not_the_other_way_round() -> None:
    model, data = scene(
        '<geom type="box" size=".1 .1 .1" group="0" pos="0 0 0"/>',
        '<body mocap="true" pos="0 0 1"><geom type="sphere" size=".05" group="1"/></body>',
    )
    pose = CameraPose(position=(0, 0, 2), target=(0, 0, 0), fov_deg=30)
    camera = RayCamera(
        CameraConfig(height=33, width=33), Pinhole.at(pose, 33, 33), model, data, plain_look(model), Lighting(lamp=LAMP)
    )
    above = camera.look(np.random.default_rng(0))
    assert above.depth is not None and above.depth[16, 16] == pytest.approx(0.95, abs=1e-3)
    data.mocap_pos[0] = (0, 0, -1)
    mujoco.mj_kinematics(model, data)
    below = camera.look(np.random.default_rng(0))
    assert below.depth is not None and below.depth[16, 16] == pytest.approx(1.9, abs=1e-3)


def test_the_picture_does_not_depend_on_the_geometry_being_wanted() -> None:
    model, data = scene('<geom type="sphere" size=".3"/>')
    pose = CameraPose(position=(1.5, 0, 0.4), target=(0, 0, 0), fov_deg=40)
    camera = RayCamera(CameraConfig(), Pinhole.at(pose, 64, 64), model, data, plain_look(model), Lighting(lamp=LAMP))
    with_it, without = (camera.look(np.random.default_rng(3), geometry=wanted) for wanted in (True, False))
    np.testing.assert_array_equal(with_it.colour, without.colour)
    assert without.depth is None


def test_a_shadow_falls_on_the_side_away_from_the_lamp() -> None:
    model, data = scene(
        '<geom type="plane" size="5 5 1" group="0"/>',
        '<body mocap="true" pos="0 0 .3"><geom type="sphere" size=".15" group="1"/></body>',
    )
    lamp = Light(position=(3.0, 0.0, 3.0), colour=(1, 1, 1), sky=(0.2, 0.2, 0.2), ground=(0.1, 0.1, 0.1))
    look = plain_look(model)
    look.textures.clear()
    pinhole = Pinhole(np.array([0, 0, 4.0]), np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1.0]]), 30, 65, 65)
    camera = RayCamera(CameraConfig(height=65, width=65, noise=0.0), pinhole, model, data, look, Lighting(lamp=lamp))
    grey = camera.look(np.random.default_rng(0)).colour.mean(-1)
    shadow, lit = grey[32, 32 - 9], grey[32, 32 + 9]  # 0.3 m to each side of the ball
    assert shadow < lit - 20


def test_lidar_ranges_of_a_wall_follow_the_cosine_and_no_return_reads_the_reach() -> None:
    model, data = scene('<geom type="box" size=".01 5 1" pos="-1.01 0 0"/>')
    lidar = Lidar((0.0001, 0.0, 0.1), beams=61, span_rad=math.radians(160), reach_m=2.0)
    expected = np.minimum(1.0001 / np.cos(lidar.angles - math.pi), 2.0)
    np.testing.assert_allclose(lidar.scan(model, data), expected, atol=1e-6)


def test_casting_no_rays_gives_no_hits() -> None:
    model, data = scene('<geom type="sphere" size=".3"/>')
    hits = cast(model, data, np.zeros(3), np.empty((0, 3)), VISIBLE_GROUPS)
    assert len(hits.distance) == 0
