"""A video of a policy on its way to goals: what the camera sees beside what it should see, marked ``simulated``.

Shape legend: K pictures, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from worldgate.core.errors import CapabilityMissing
from worldgate.core.streams import ByteArray
from worldgate.core.tasks import GoalPolicy, Task
from worldgate.evidence.reaching import Pair, ReachingProtocol
from worldgate.worlds.imagine.files import enlarged, write_mp4
from worldgate.worlds.imagine.marks import burn

_HOLD = 5
"""Pictures for which the end of a trial stays."""


def write_plan_video(path: Path, task: Task, policy: GoalPolicy, protocol: ReachingProtocol, *, trials: int) -> Path:
    """Try the first pairs once more and film them.

    Args:
        path: the mp4 to make.
        task: where.
        policy: who.
        protocol: whose pairs.
        trials: how many.

    Raises:
        CapabilityMissing: the task shows no pictures.
        AlreadyExists: the file exists.
    """
    if not task.spec.cameras:
        raise CapabilityMissing("this task shows no pictures", got=task.spec.name, hint="leave --video out")
    camera = task.spec.cameras[0].name
    shown = [
        _trial(task, policy, pair, camera, protocol.config.budget, index)
        for index, pair in enumerate(protocol.pairs[:trials])
    ]
    comment = f"origin=simulated; task={task.spec.name}; policy={policy.digest}; protocol={protocol.digest}"
    return write_mp4(path, np.concatenate(shown), task.spec.rate_hz, comment)


def _trial(task: Task, policy: GoalPolicy, pair: Pair, camera: str, budget: int, seed: int) -> ByteArray:
    """(K, H, 2 W, 3) now beside the goal."""
    observation = task.begin(np.array(pair.start_truth), np.array(pair.goal_truth), seed=seed)
    goal = task.goal()
    policy.reset(seed=seed)
    policy.aim(goal, steps=budget)
    seen = [np.asarray(observation[camera])]
    for _ in range(budget):
        transition = task.step(policy.act(observation))
        observation = transition.observation
        seen.append(np.asarray(observation[camera]))
        if transition.facts["success"] or transition.done:
            break
    return _beside([*seen, *seen[-1:] * _HOLD], np.asarray(goal[camera]), task)


def _beside(seen: Sequence[ByteArray], goal: ByteArray, task: Task) -> ByteArray:
    left = enlarged(np.stack(seen))
    right = enlarged(np.broadcast_to(goal, (len(seen), *goal.shape)))
    line = np.full((*left.shape[:2], 4, 3), 255, np.uint8)
    return burn(np.concatenate([left, line, right], axis=2), task.origin)
