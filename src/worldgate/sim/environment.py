"""The cell as an environment at 10 Hz: what a policy acts in, and what trials of a release run on.

Each observation is as old as the site's delay says: it shows the cell ``latency_s`` before the policy gets it. The
facts of a step (success, smallest clearance, peak force) are measured by the site over the whole step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from worldgate.core.digest import canonical
from worldgate.core.streams import FloatArray, Origin
from worldgate.core.worlds import Environment, Observation, Signal, Transition
from worldgate.sim.attributes import Attributes
from worldgate.sim.camera import CameraConfig
from worldgate.sim.cell import CLEARANCE_CAP_M, CONTROL_S, Cell, CellConfig
from worldgate.sim.recorder import START_NS, Recorder
from worldgate.sim.scenario import UNITS, Scenario, random_stream
from worldgate.sim.scenario import sample as sample_scenario
from worldgate.sim.scene import SceneConfig
from worldgate.sim.sensing import (
    ACTION,
    AROUND,
    CONTACT,
    FORCE,
    READERS,
    STATE,
    CameraFeed,
    ContactWatch,
    SensorConfig,
    cell_camera,
    cell_sensors,
)
from worldgate.sim.sites import find_site


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentConfig:
    """How a run goes and what the policy sees."""

    cameras: tuple[str, ...] = ()
    """Cameras whose pictures are part of the observation; none makes a run some twenty times faster."""
    camera: CameraConfig = field(default_factory=CameraConfig)
    """Size and noise of these pictures."""
    horizon_s: float = 12.0
    """Longest run."""
    hold_s: float = 0.5
    """The run is done when the object has stayed in the bay this long; 0 always runs to the horizon."""
    scene: SceneConfig = field(default_factory=SceneConfig)
    """The object and the physics."""


class CellEnvironment(Environment):
    """The embedded cell behind the ``Environment`` protocol.

    Args:
        site: name of the site.
        arm: name of the arm; the site's first without.
        scenario: the initial situation; without, every reset draws one from its seed.
        attributes: of drawn scenarios; a given scenario brings its own.
        config: how a run goes.
        sensors: which sensors are recorded; without, nothing is.

    Raises:
        NotFound: no such site, arm or camera.
    """

    origin: Origin = Origin.SIMULATED
    rate_hz: float = 1.0 / CONTROL_S
    signals = tuple(
        Signal(name=info.name, unit=info.unit, names=info.names, shape=info.shape, frame=info.frame, kind=info.kind)
        for info in (STATE, AROUND, FORCE)
    )
    """The numbers of an observation."""
    scenario_units: Mapping[str, str] = UNITS
    """What a scenario's values are taken in, by path."""
    scenario_frame: str = STATE.frame

    def __init__(
        self,
        site: str,
        *,
        arm: str | None = None,
        scenario: Scenario | None = None,
        attributes: Attributes | None = None,
        config: EnvironmentConfig | None = None,
        sensors: SensorConfig | None = None,
    ) -> None:
        self.site = find_site(site)
        self.arm = self.site.arm(arm)
        self.config = config or EnvironmentConfig()
        self._scenario, self._attributes, self._sensors = scenario, attributes, sensors
        self._recorder: Recorder | None = None
        self.cell: Cell | None = None

    def reset(self, *, seed: int) -> Observation:
        scenario = self._scenario or sample_scenario(self.site.name, seed=seed, attributes=self._attributes)
        cell = Cell(
            CellConfig(site=self.site.name, arm=self.arm.name, scenario=scenario, scene=self.config.scene), seed=seed
        )
        self.cell, self.seed = cell, seed
        self._draw = random_stream(seed, "observation")
        self._feeds = {
            name: CameraFeed(cell, name, cell_camera(cell, name, self.config.camera), seed=seed, geometry=False)
            for name in self.config.cameras
        }
        self._held, self._steps = 0, 0
        self._clearance, self._force = CLEARANCE_CAP_M, 0.0
        self._recorder = None
        if self._sensors is not None:
            found = cell_sensors(cell, self._sensors, seed=seed)
            self._recorder = Recorder(
                cell, found, seed=seed, duration_s=self.config.horizon_s, watch=ContactWatch(cell)
            )
        return self._observe()

    def step(self, action: FloatArray) -> Transition:
        """Hold an action (2,) for 100 ms.

        Args:
            action: where the tool's tip should be at the end, m, table frame.
        """
        cell = self._running()
        steps = round(CONTROL_S / cell.timestep_s)
        delay = round(self.site.latency_s / cell.timestep_s)
        end = cell.step_index + steps
        if self._recorder is not None:
            self._recorder.add(ACTION.name, np.asarray(action, np.float64), delay_ns=400_000)
        cell.command(action)
        self._advance(end - delay)
        observation = self._observe()
        self._advance(end)
        facts = cell.take_facts()
        self._steps += 1
        self._held = self._held + 1 if facts["success"] else 0
        self._clearance = min(self._clearance, facts["clearance_m"])
        self._force = max(self._force, facts["force_n"])
        return Transition(observation=observation, done=self._done(), facts=facts)

    def _running(self) -> Cell:
        assert self.cell is not None, "reset the environment first"
        return self.cell

    def _done(self) -> bool:
        stays = self.config.hold_s > 0 and self._held * CONTROL_S >= self.config.hold_s - 1e-9
        return stays or self._steps * CONTROL_S >= self.config.horizon_s - 1e-9

    def _advance(self, step: int) -> None:
        if self._recorder is not None:
            self._recorder.run_to(step)
        else:
            self._running().run_to(step)

    def _observe(self) -> Observation:
        cell = self._running()
        observation: dict[str, Any] = {name: read(cell, self._draw) for name, read in READERS.items()}
        if self._feeds:
            cell.settle()
            number = cell.step_index
            for name, feed in self._feeds.items():
                observation[f"observation.images.{name}"] = feed.take(number).colour
        return observation

    def outcome(self) -> Mapping[str, float]:
        """Of the run so far: ``success`` 0/1 (the object lies in the bay), least ``clearance_m``, peak ``force_n``."""
        success = float(self._running().succeeded())
        return {"success": success, "clearance_m": self._clearance, "force_n": self._force}

    def save(
        self,
        path: Path,
        *,
        facts: Mapping[str, str | float | bool] | None = None,
        start_ns: int = START_NS,
        profile: Literal["foxglove", "ros2"] = "foxglove",
    ) -> Path:
        """Write what was recorded since the last reset as MCAP, marked ``simulated``.

        Args:
            path: the file to make.
            facts: what else is known of the run: expert, release digest.
            start_ns: time of the start of the run, ns UTC.
            profile: family of MCAP schemas.

        Raises:
            AlreadyExists: ``path`` exists.
        """
        assert self._recorder is not None, "this environment records nothing; give it sensors"
        cell, outcome = self._running(), self.outcome()
        own: dict[str, str | float | bool] = {
            "task": "push the object into the bay",
            "site": self.site.name,
            "robot": self.arm.robot,
            "arm": self.arm.name,
            "seed": self.seed,
            "success": bool(outcome["success"]),
            "clearance_m": outcome["clearance_m"],
            "force_n": outcome["force_n"],
            "duration_s": round(cell.time_s, 3),
            "attributes": cell.scenario.attributes.summary(),
            "scenario": canonical(cell.scenario).decode(),
        }
        return self._recorder.write(
            path, extra=(ACTION, CONTACT), facts=own | dict(facts or {}), start_ns=start_ns, profile=profile
        )
