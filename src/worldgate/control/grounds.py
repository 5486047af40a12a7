"""What policies are ranked on, by name: the embedded cell, or a task of the seam ``tasks`` that can be judged.

A task of that seam can be ranked on if its file offers ``judge(config)``, a function that reads the task's facts off an
observation alone: that is all there is of an imagined one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldgate.control.ranking import Ground
from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.errors import CapabilityMissing
from worldgate.core.worlds import ModelSpec, Observation
from worldgate.sim import sensing
from worldgate.sim.camera import CameraConfig
from worldgate.sim.cell import CONTROL_S, in_bay
from worldgate.sim.environment import CellEnvironment, EnvironmentConfig
from worldgate.sim.experts import EXPERTS, Expert
from worldgate.sim.sites import find_site
from worldgate.sim.tasks import open_actor, open_task
from worldgate.worlds.imagine.environment import Judge

CELL = "cell"
AIMLESS = "random"
_LONGEST_S = 3600.0


def ground(task: str, spec: ModelSpec, *, site: str = "north", seconds: float = 12.0) -> Ground:
    """The cell or a task, with the pictures that a model is prompted with.

    Args:
        task: ``cell``, or an entry of the seam ``tasks``.
        spec: of the world model.
        site: of the cell.
        seconds: longest run in the cell; a task says its own.

    Raises:
        NotFound: no such task or site.
        MissingExtra: its simulator is not installed.
        CapabilityMissing: a task that cannot be judged from an observation, or with other cameras than the model's.
    """
    return cell(spec, site=site, seconds=seconds) if task == CELL else of_task(task, spec)


def cell(spec: ModelSpec, *, site: str, seconds: float) -> Ground:
    """The embedded cell at one site: push the object into the bay."""
    prefix = "observation.images."
    size = spec.cameras[0].shape if spec.cameras else ()
    config = EnvironmentConfig(
        cameras=tuple(c.name.removeprefix(prefix) for c in spec.cameras),
        camera=CameraConfig(height=size[0], width=size[1]) if size else CameraConfig(),
        horizon_s=_LONGEST_S,
        hold_s=0.0,
    )
    return Ground(
        task=f"{CELL} {site}",
        make=lambda: CellEnvironment(site, config=config),
        starter=Expert(EXPERTS[AIMLESS], site),
        judge=cell_judge(site),
        steps=max(1, round(seconds / CONTROL_S)),
    )


def cell_judge(site: str) -> Judge:
    """Success in the cell, read off where an observation says the object is."""
    place = find_site(site)

    def facts(observation: Observation) -> Mapping[str, float]:
        x, y = np.asarray(observation[sensing.AROUND.name], np.float64)[:2]
        return {"success": float(in_bay(place, float(x), float(y)))}

    return facts


def of_task(name: str, spec: ModelSpec) -> Ground:
    """A task of the seam."""
    module = seams.load("tasks", name)
    if not hasattr(module, "judge"):
        hint = f"--task {CELL}, or a task whose file has judge(config)"
        raise CapabilityMissing("nothing reads this task's facts off an observation", got=name, hint=hint)
    options: dict[str, Any] = {"size": spec.cameras[0].shape[0]} if spec.cameras else {}
    config = decode(module.Config, options, where=name)
    told = open_task(name, options).spec
    return Ground(
        task=name,
        make=lambda: open_task(name, options),
        starter=open_actor(AIMLESS, name, options),
        judge=module.judge(config),
        steps=told.steps,
        hold=1,
        low=told.low,
        high=told.high,
    )
