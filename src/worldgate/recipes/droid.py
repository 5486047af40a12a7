"""DROID: real Franka episodes with three cameras, states, actions and success labels, through both gates.

Logs: ``droid_ctrlworld`` or any folder of that layout. The action is the commanded tool pose and gripper in the base
frame at 15 Hz; joints and tool pose are both predicted. Episodes of a set-up that logged no actions are ingested and
refused by the contract: a model that answers "what if" cannot be judged on them.
"""

from __future__ import annotations

from pathlib import Path

from worldgate.recipes import _real
from worldgate.recipes._real import RealConfig
from worldgate.recipes._real_stage import Robot
from worldgate.recipes._result import Result
from worldgate.recipes._story import Story

CARD = {
    "line": "the loop on real Franka episodes (DROID): contract, models, signed admission, what promotion lacks",
    "inputs": "data.root: a folder of the droid_ctrlworld layout",
    "needs": "models",
    "source": "DROID, arXiv 2403.12945; Ctrl-World packing",
}

ROBOT = Robot(
    name="droid",
    contract="droid",
    title="DROID: real Franka arms",
    lead="Teleoperated episodes with success and failure labels: what a world model learnt from a handful of them may"
    " be trusted for, and what a release would still have to show.",
    folder="droid_ctrlworld",
    slot="droid_subset/franka/arm",
    telemetry_hz=15.0,
    video_hz=5.0,
    states=("observation.state", "observation.state.tool"),
    action="action",
    cameras=("observation.images.0", "observation.images.1", "observation.images.2"),
    epsilon={
        "observation.state[rad]": 0.10,
        "observation.state[1]": 0.10,
        "observation.state.tool[m]": 0.03,
        "observation.state.tool[rad]": 0.10,
        "observation.images.0/video_moving": 0.06,
        "observation.images.1/video_moving": 0.06,
        "observation.images.2/video_moving": 0.06,
    },
    video_horizons_s=(0.4, 1.0),
    notes=(
        "Almost every episode is another scene with cameras elsewhere, so a held-out episode is a new place: the"
        " hardest case for video, while joints and tool move alike everywhere.",
        "The action is the commanded tool pose. A command says much of where the arm will be; skill is therefore what"
        " the model adds to holding the last row or its velocity, not what it adds to knowing the command.",
    ),
)


def run(folder: Path, config: RealConfig | None = None, story: Story | None = None) -> Result:
    """Judge DROID logs in a new workspace; see :func:`worldgate.recipes._real.run`."""
    return _real.run(ROBOT, folder, config or RealConfig(), story)
