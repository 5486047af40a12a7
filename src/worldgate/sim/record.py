"""Record one run of the cell as an MCAP log: every sensor on its own clock, marked ``simulated``."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from worldgate.core.choices import settle
from worldgate.core.errors import NotFound
from worldgate.core.worlds import Policy
from worldgate.sim.attributes import PRESETS, Attributes
from worldgate.sim.environment import CellEnvironment, EnvironmentConfig
from worldgate.sim.experts import EXPERTS, Expert, ExpertConfig
from worldgate.sim.recorder import START_NS
from worldgate.sim.scenario import Scenario
from worldgate.sim.sensing import SensorConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordConfig:
    """How a recording is made."""

    sensors: SensorConfig = field(default_factory=SensorConfig)
    """Which sensors run."""
    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    """How the run goes; its horizon is replaced by ``duration_s``."""
    profile: Literal["foxglove", "ros2"] = "foxglove"
    """Family of MCAP schemas."""

    def __post_init__(self) -> None:
        settle(self)


def find_expert(name: str) -> ExpertConfig:
    """A ready expert by name.

    Raises:
        NotFound: no such expert; the hint lists them.
    """
    if name not in EXPERTS:
        raise NotFound("no such expert", got=name, hint=_hint(name, tuple(EXPERTS)))
    return EXPERTS[name]


def find_attributes(name: str) -> Attributes:
    """A ready set of attributes by name.

    Raises:
        NotFound: no such set; the hint lists them.
    """
    if name not in PRESETS:
        raise NotFound("no such attribute", got=name, hint=_hint(name, tuple(PRESETS)))
    return PRESETS[name]


def _hint(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"


def record(
    path: Path,
    *,
    site: str = "north",
    arm: str | None = None,
    expert: str | ExpertConfig | Policy = "scripted",
    seed: int = 0,
    scenario: Scenario | None = None,
    attributes: Attributes | None = None,
    duration_s: float = 12.0,
    start_ns: int = START_NS,
    release: str = "",
    config: RecordConfig | None = None,
) -> Path:
    """Run one episode and write its log.

    Args:
        path: the MCAP file to make.
        site: name of the site.
        arm: name of the arm; the site's first without.
        expert: name or configuration of an expert, or any policy.
        seed: of the scenario, the clocks, the noise and the policy: the same seed writes the same bytes.
        scenario: the initial situation; drawn from the seed without.
        attributes: of a drawn scenario.
        duration_s: longest run; it ends sooner when the object has stayed in the bay.
        start_ns: time of the start of the run, ns UTC.
        release: digest of the release that runs, stamped into the log; empty: none.
        config: sensors and physics.

    Raises:
        NotFound: no such site, arm, camera or expert.
        AlreadyExists: ``path`` exists.
    """
    config = config or RecordConfig()
    environment = CellEnvironment(
        site,
        arm=arm,
        scenario=scenario,
        attributes=attributes,
        config=replace(config.environment, horizon_s=duration_s),
        sensors=config.sensors,
    )
    facts: dict[str, str | float | bool] = {"release": release} if release else {}
    if isinstance(expert, str):
        facts["expert"] = expert
        expert = find_expert(expert)
    policy = Expert(expert, site) if isinstance(expert, ExpertConfig) else expert
    facts["policy"] = policy.digest
    policy.reset(seed=seed)
    observation = environment.reset(seed=seed)
    done = False
    while not done:
        transition = environment.step(policy.act(observation))
        observation, done = transition.observation, transition.done
    return environment.save(path, facts=facts, start_ns=start_ns, profile=config.profile)
