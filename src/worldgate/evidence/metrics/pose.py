"""How far an imagined pose is turned and moved from the real one: the angle between two rotations, deg, and metres.

The angle of a rotation is that of ``q_real^-1 q``, from 0 to 180; a quaternion and its negative are the same rotation,
and length does not matter. Several futures: their mean place and their mean rotation (the nearest one in the chordal
sense) are judged. Constant velocity goes on turning about the axis of the last known step. A quaternion of length
zero is no rotation: where the truth is one, then or in the last known rows, the moment has no angle for anyone; a
model that says one has no figure.

Sources: Hartley et al., IJCV 103 (2013) (angle and chordal mean); Markley et al., Journal of Guidance, Control, and
Dynamics 30 (2007) (the mean as an eigenvector).

Shape legend: B samples, K steps; a pose is x y z qx qy qz qw.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from worldgate.core.streams import FloatArray
from worldgate.evidence.evaluation.embedding import require
from worldgate.evidence.evaluation.measures import Chunk, FigureInfo, PerStep, Reading, Setup, Watcher, Window

CARD = {
    "line": "angle between an imagined rotation and the real one, and distance of their places",
    "inputs": "poses that the model predicts or reads out",
    "source": "Hartley et al., IJCV 103 (2013)",
}
_LEAST = 1e-6
"""Length below which four numbers are no quaternion."""


def build(setup: Setup) -> Pose:
    """For every pose.

    Raises:
        NotMeasured: the model tells no pose, or the episodes hold none.
    """
    require(bool(setup.poses), "the model tells no pose that every episode holds")
    return Pose(setup)


def mean_rotation(turns_B4: FloatArray) -> FloatArray | None:
    """(4,) the rotation nearest to several; None where one of them is none."""
    length = np.linalg.norm(turns_B4, axis=1, keepdims=True)
    if not np.isfinite(length).all() or (length < _LEAST).any():
        return None
    unit = turns_B4 / length
    # The strongest axis of the sum of q q^T does not mind the sign of any q.
    return np.asarray(np.linalg.eigh(unit.T @ unit)[1][:, -1])


def angle_deg(one_4: FloatArray, other_4: FloatArray) -> float:
    """From 0 to 180."""
    return float(np.degrees((Rotation.from_quat(one_4).inv() * Rotation.from_quat(other_4)).magnitude()))


def turned_on(before_4: FloatArray, last_4: FloatArray, steps: int) -> FloatArray:
    """(4,) after so many more turns like the last one."""
    last = Rotation.from_quat(last_4)
    step = (last * Rotation.from_quat(before_4).inv()).as_rotvec()
    return np.asarray((Rotation.from_rotvec(steps * step) * last).as_quat())


class Pose:
    """The measure."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.figures = tuple(
            FigureInfo(name=f"{stream}/{end}", unit=unit, better="lower", stream=stream)
            for stream in setup.poses
            for end, unit in (("angle_error", "deg"), ("place_error", "m"))
        )

    def watch(self, window: Window) -> Watcher:
        """Each horizon by itself."""

        def read(step: int, k: int, chunk: Chunk) -> list[Reading]:
            return [r for stream in self.setup.poses for r in self._read(stream, window, step, k, chunk)]

        return PerStep(self.setup.horizons, read)

    def _read(self, stream: str, window: Window, step: int, k: int, chunk: Chunk) -> list[Reading]:
        real = np.asarray(chunk.views["real"].states[stream], np.float64)[0, k]
        before, last = window.known(stream)
        said = {who: chunk.views[who].states[stream] for who in ("model", "other") if who in chunk.views}
        poses_B7 = {who: np.asarray(values, np.float64)[:, k] for who, values in said.items()}
        places = {who: values[:, :3].mean(axis=0) for who, values in poses_B7.items()}
        places |= {"hold": last[:3], "velocity": last[:3] + step * (last[:3] - before[:3])}
        out = [
            Reading(
                figure=f"{stream}/place_error",
                contender=who,
                sums=(float(np.linalg.norm(place - real[:3])), 1.0),
                step=step,
            )
            for who, place in places.items()
        ]
        truth, first, now = (mean_rotation(pose[None, 3:]) for pose in (real, before, last))
        if truth is None or first is None or now is None:
            return out
        turns = {who: mean_rotation(values[:, 3:]) for who, values in poses_B7.items()}
        turns |= {"hold": now, "velocity": turned_on(first, now, step)}
        for who, turn in turns.items():
            angle = np.nan if turn is None else angle_deg(truth, turn)
            out.append(Reading(figure=f"{stream}/angle_error", contender=who, sums=(angle, 1.0), step=step))
        return out
