"""Suites as people write them: a TOML file of scenarios with variations, oracles, strata and bins.

Every key is known or refused, and every number tells its unit: in the name of the key, or under ``units``. A scenario
with variations is kept as what others are drawn from, and the suite holds the draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from worldgate.core.config import decode, read_toml
from worldgate.core.errors import ConfigError
from worldgate.evidence import photos, scenarios
from worldgate.evidence.coverage_bins import Bins
from worldgate.evidence.scenarios import SUITE_SCHEMA, Envelope, OracleSpec, Role, Scenario, Source, Suite
from worldgate.evidence.variations import Variation
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioEntry:
    """One ``[[scenario]]``."""

    name: str
    site: str
    initial: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    frame: str = ""
    envelope: Envelope = field(default_factory=Envelope)
    variation: tuple[Variation, ...] = ()
    oracle: tuple[OracleSpec, ...] = ()
    strata: Mapping[str, str] = field(default_factory=dict)
    source: Source = "authored"
    incident: str = ""
    criterion: str = ""
    rubric: tuple[str, ...] = ()
    photo: str = ""
    """A PNG or JPEG, beside the file."""
    weight: float = 1.0
    """How often it is sampled, beside the others; its draws share it."""
    draws: int = 0
    """How many scenarios are drawn from its variations."""
    seed: int = 0
    """Of the first draw; each further one takes the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFile:
    """The file."""

    schema: Literal["worldgate/suite/2"] = SUITE_SCHEMA
    name: str
    role: Role
    attempts: int = 1
    scenario: tuple[ScenarioEntry, ...] = ()
    scenarios: tuple[str, ...] = ()
    """Ids or names of scenarios that are on the record already, with weight 1: incidents, real episodes."""
    coverage: tuple[Bins, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What was recorded."""

    suite: Ref
    scenarios: tuple[Ref, ...]
    """Of the suite, in order."""


def read(path: Path) -> SuiteFile:
    """Decode a suite file.

    Raises:
        ConfigError: not TOML, an unknown key, a wrong type, or a number of draws that does not fit the variations.
    """
    file = decode(SuiteFile, read_toml(path), where=str(path))
    if not file.scenario and not file.scenarios:
        raise ConfigError("a suite without scenarios tries nothing", where=path)
    names = [entry.name for entry in file.scenario]
    if len(set(names)) != len(names):
        raise ConfigError("a scenario stands twice", got=", ".join(names)[:80], where=path)
    for entry in file.scenario:
        if (entry.draws > 0) != bool(entry.variation) or entry.draws < 0 or entry.seed < 0:
            got, hint = f"{entry.draws} draws of {len(entry.variation)} variations", "draws = 10"
            raise ConfigError("draws come from variations", got=got, where=f"{path}:{entry.name}", hint=hint)
    return file


def scenario_of(entry: ScenarioEntry, role: Role, *, photo: str = "") -> Scenario:
    """The scenario of an entry, checked.

    Raises:
        ConfigError: what :func:`worldgate.evidence.scenarios.check` refuses.
    """
    return scenarios.check(
        Scenario(
            name=entry.name,
            site=entry.site,
            initial=entry.initial,
            attributes=entry.attributes,
            envelope=entry.envelope,
            role=role,
            source=entry.source,
            incident=entry.incident,
            units=entry.units,
            frame=entry.frame,
            variations=entry.variation,
            oracles=entry.oracle,
            strata=entry.strata,
            criterion=entry.criterion,
            rubric=entry.rubric,
            photo=photo,
        )
    )


def add(ws: Workspace, path: Path, *, actor: str | None = None) -> Added:
    """Read a suite file and record its scenarios, their draws and the suite; nothing is recorded unless all fits.

    Raises:
        ConfigError: what :func:`read` and :func:`scenario_of` refuse.
        DataRefused: a photograph that is none, or a scenario that this suite's role may not hold.
        NotFound: no such photograph or recorded scenario.
    """
    file = read(path)
    made: list[tuple[Scenario, float]] = []
    templates: list[Scenario] = []
    for entry in file.scenario:
        photo = photos.keep(ws, path.parent / entry.photo) if entry.photo else ""
        scenario = scenario_of(entry, file.role, photo=photo)
        if entry.draws:
            templates.append(scenario)
            made += [(scenario.draw(entry.seed + i), entry.weight / entry.draws) for i in range(entry.draws)]
        else:
            made.append((scenario, entry.weight))
    known = [ws.resolve(text, "scenario") for text in file.scenarios]
    kept = {ref.digest for ref in ws.artifacts("scenario")}
    weights = [*(weight for _, weight in made), *(1.0 for _ in known)]
    suite = Suite(
        name=file.name,
        role=file.role,
        scenarios=(*(scenario.digest for scenario, _ in made), *(ref.digest for ref in known)),
        weights=tuple(weights) if len(set(weights)) > 1 else (),
        attempts=file.attempts,
        coverage=file.coverage,
    )
    held = [*(scenario for scenario, _ in made), *(scenarios.load(ws, ref.digest) for ref in known)]
    scenarios.check_suite(ws, suite, held)
    for scenario in [*templates, *(scenario for scenario, _ in made)]:
        if scenario.digest not in kept:
            scenarios.register(ws, scenario, actor=actor)
    refs = [*(Ref("scenario", scenario.digest, scenario.name) for scenario, _ in made), *known]
    return Added(suite=scenarios.register_suite(ws, suite, actor=actor), scenarios=tuple(refs))


def sample(ws: Workspace, suite: Suite, *, name: str, count: int, seed: int, actor: str | None = None) -> Added:
    """A new suite of fresh draws from what a suite's scenarios were drawn from, each as often as its weight says.

    Args:
        ws: the workspace.
        suite: a suite with drawn scenarios.
        name: of the new suite.
        count: how many scenarios.
        seed: of the first draw; a seed that was used before gives the same scenario again, and is refused.
        actor: key that signs.

    Raises:
        ConfigError: nothing in the suite was drawn, or a draw that was made already.
    """
    weights: dict[str, float] = {}
    for place, digest in enumerate(suite.scenarios):
        parent = scenarios.load(ws, digest).parent
        if parent:
            weights[parent] = weights.get(parent, 0.0) + (suite.weights[place] if suite.weights else 1.0)
    if not weights or count < 1 or seed < 0:
        hint = "a suite whose scenarios have variations"
        raise ConfigError("nothing to draw from", got=f"{len(weights)} variations", where=suite.name, hint=hint)
    shares = _shares(weights, count)
    drawn = [scenarios.load(ws, parent).draw(seed + i) for parent, times in shares.items() for i in range(times)]
    old = {ref.digest for ref in ws.artifacts("scenario")}
    again = next((scenario for scenario in drawn if scenario.digest in old), None)
    if again is not None:
        raise ConfigError("this draw was made already", got=again.name, where=suite.name, hint="another --seed")
    made = Suite(
        name=name,
        role=suite.role,
        scenarios=tuple(scenario.digest for scenario in drawn),
        attempts=suite.attempts,
        coverage=suite.coverage,
    )
    scenarios.check_suite(ws, made, drawn)
    for scenario in drawn:
        scenarios.register(ws, scenario, actor=actor)
    refs = tuple(Ref("scenario", scenario.digest, scenario.name) for scenario in drawn)
    return Added(suite=scenarios.register_suite(ws, made, actor=actor), scenarios=refs)


def _shares(weights: Mapping[str, float], count: int) -> dict[str, int]:
    """Whole numbers that add up to ``count``, by largest remainder; ties go to the first."""
    total = sum(weights.values())
    exact = {key: count * weight / total for key, weight in weights.items()}
    shares = {key: int(value) for key, value in exact.items()}
    rest = sorted(exact, key=lambda key: shares[key] - exact[key])
    for key in rest[: count - sum(shares.values())]:
        shares[key] += 1
    return {key: times for key, times in shares.items() if times}
