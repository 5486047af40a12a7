from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import worldgate.sim
from worldgate.core.errors import DataRefused, MissingExtra, NotFound, UsageError
from worldgate.core.streams import Origin
from worldgate.data.logs.mcap import open_logs
from worldgate.sim.own import OwnConfig, load, record_own

MJCF = """<mujoco><worldbody>
  <geom type="plane" size="2 2 .1"/>
  <light pos="0 0 3"/>
  <camera name="side" pos="0 -1.5 .8" xyaxes="1 0 0 0 .5 .9"/>
  <body pos="0 0 .3"><joint name="hinge" type="hinge" axis="0 1 0" range="-60 60"/>
    <geom type="capsule" fromto="0 0 0 .3 0 0" size=".04" rgba=".8 .2 .2 1"/>
    <camera name="eye" pos=".35 0 0" xyaxes="0 -1 0 0 0 1"/>
    <body pos=".3 0 0"><joint name="slide" type="slide" axis="1 0 0" range="-.1 .1"/>
      <geom type="box" size=".05 .03 .03"/></body></body>
  </worldbody>
  <actuator><position name="servo" joint="hinge" kp="20" dampratio="1"/>
    <motor joint="slide" ctrlrange="-1 1"/></actuator>
</mujoco>"""
URDF = """<robot name="r"><link name="base"/><link name="arm"><inertial><mass value="1"/>
  <inertia ixx=".01" iyy=".01" izz=".01" ixy="0" ixz="0" iyz="0"/></inertial>
  <collision><geometry><box size=".3 .05 .05"/></geometry></collision></link>
  <joint name="pan" type="revolute"><parent link="base"/><child link="arm"/><axis xyz="0 0 1"/>
  <limit lower="-1" upper="1" effort="10" velocity="1"/></joint></robot>"""


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("excitation", ["sine", "walk"])
def test_a_users_mjcf_is_driven_and_recorded_with_its_own_cameras(tmp_path: Path, excitation: str) -> None:
    model = written(tmp_path / "mine.xml", MJCF)
    config = OwnConfig(excitation=excitation)  # type: ignore[arg-type]
    record_own(tmp_path / "run" / "a.mcap", model=model, duration_s=2.0, config=config)
    (log,) = open_logs(tmp_path / "run").logs
    assert log.origin is Origin.SIMULATED
    streams = {info.name: info for info in log.streams()}
    assert set(streams) == {"action", "observation.state", "observation.images.side", "observation.images.eye"}
    assert streams["observation.state"].names == ("hinge.pos", "slide.pos", "hinge.vel", "slide.vel")
    assert streams["action"].names == ("servo", "actuator1")
    action, state = log.read("action").array, log.read("observation.state").array
    assert np.ptp(action[:, 0]) > 0.05 and np.abs(action[:, 0]).max() <= np.pi / 3
    assert np.ptp(state[:, 0]) > 0.05
    side = log.read("observation.images.side").frames.read(np.array([0, 20]))
    assert np.abs(side[0].astype(int) - side[1].astype(int)).max() > 40, "the arm moved in the picture"


def test_a_users_model_repeats_to_the_byte(tmp_path: Path) -> None:
    model = written(tmp_path / "mine.xml", MJCF)
    for name in ("a", "b"):
        record_own(tmp_path / f"{name}.mcap", model=model, seed=3, duration_s=0.5)
    assert (tmp_path / "a.mcap").read_bytes() == (tmp_path / "b.mcap").read_bytes()


def test_a_urdf_gets_a_servo_a_joint_and_a_view_of_the_whole(tmp_path: Path) -> None:
    record_own(tmp_path / "run" / "a.mcap", model=written(tmp_path / "r.urdf", URDF), duration_s=2.0)
    (log,) = open_logs(tmp_path / "run").logs
    assert "observation.images.overview" in {info.name for info in log.streams()}
    assert np.ptp(log.read("observation.state").array[:, 0]) > 0.05
    first = log.read("observation.images.overview").frames.read(np.array([0]))
    assert first.std() > 5, "the arm is in the picture"


def test_a_missing_file_bad_xml_and_a_foreign_root_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such model file"):
        load(tmp_path / "none.xml")
    with pytest.raises(DataRefused, match="not a well-formed XML file"):
        load(written(tmp_path / "bad.xml", "<mujoco><worldbody>"))
    with pytest.raises(DataRefused, match="neither MJCF nor URDF"):
        load(written(tmp_path / "svg.xml", "<svg/>"))


def test_a_model_that_does_not_compile_is_refused_with_the_compilers_reason(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="does not compile") as caught:
        load(written(tmp_path / "m.xml", '<mujoco><worldbody><geom type="sphere"/></worldbody></mujoco>'))
    assert "size" in str(caught.value)


def test_a_model_without_actuators_is_refused_with_what_to_add(tmp_path: Path) -> None:
    text = MJCF[: MJCF.index("<actuator>")] + "</mujoco>"
    with pytest.raises(UsageError, match="<actuator>"):
        load(written(tmp_path / "m.xml", text))
    with pytest.raises(UsageError, match="no hinge or slide"):
        load(written(tmp_path / "r.urdf", '<robot name="r"><link name="base"/></robot>'))


def test_a_model_that_becomes_unstable_leaves_no_file(tmp_path: Path) -> None:
    wild = MJCF.replace('kp="20" dampratio="1"', 'kp="1e12"').replace("<mujoco>", '<mujoco><option timestep="0.05"/>')
    with pytest.raises(DataRefused, match="unstable"):
        record_own(tmp_path / "a.mcap", model=written(tmp_path / "m.xml", wild), duration_s=2.0)
    assert not list(tmp_path.glob("*.mcap*"))


def test_without_mujoco_the_room_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingExtra, match=r"worldgate\[sim\]"):
            importlib.reload(worldgate.sim)
    importlib.reload(worldgate.sim)
