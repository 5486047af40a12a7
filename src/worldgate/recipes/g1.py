"""G1: real Unitree G1 episodes with Inspire hands (LeRobot v2.1), one head camera, through both gates.

Logs: ``g1_lerobot_v21`` or any folder of that layout. The 26-D action is the teleoperator's target for the 26 joints of
the state, at 30 Hz. The dataset declares no units; joints are taken to be in rad and finger values as they come. Its
pictures renew about every second frame; this is flagged, and video is judged at 10 Hz, which is slower than they renew.
"""

from __future__ import annotations

from pathlib import Path

from worldgate.recipes import _real
from worldgate.recipes._real import RealConfig
from worldgate.recipes._real_stage import Robot
from worldgate.recipes._result import Result
from worldgate.recipes._story import Story

CARD = {
    "line": "the loop on real Unitree G1 episodes (LeRobot v2.1): contract, models, signed admission, promotion",
    "inputs": "data.root: a folder of the g1_lerobot_v21 layout",
    "needs": "models",
    "source": "LeRobot v2.1",
}

CAMERA = "observation.images.cam_high"

ROBOT = Robot(
    name="g1",
    contract="g1",
    title="Unitree G1: real humanoid teleoperation",
    lead="Six episodes of one task: what a world model learnt from them may be trusted for, and what a release would"
    " still have to show.",
    folder="g1_lerobot_v21",
    slot="g1_lerobot_v21/g1/both",
    telemetry_hz=30.0,
    video_hz=10.0,
    states=("observation.state",),
    action="action",
    cameras=(CAMERA,),
    epsilon={"observation.state": 0.10, f"{CAMERA}/video_moving": 0.06},
    video_horizons_s=(0.5, 1.0),
    notes=(
        "The dataset declares no units, so none are shown; its joint values are consistent with rad.",
        "The action is the teleoperator's target of the same 26 joints.",
    ),
)


def run(folder: Path, config: RealConfig | None = None, story: Story | None = None) -> Result:
    """Judge G1 logs in a new workspace; see :func:`worldgate.recipes._real.run`."""
    return _real.run(ROBOT, folder, config or RealConfig(), story)
