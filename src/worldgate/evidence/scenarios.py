"""Scenarios, suites and envelopes: what a release is tried on and within which limits.

A scenario's initial situation is JSON that the environment understands; this room never looks inside, except where a
variation or a bin names a path. Identity is the digest of the whole scenario, so a changed limit is another scenario.
Scenarios and suites of schema 1 stay readable and keep their digests.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from worldgate.core import seams
from worldgate.core.choices import settle
from worldgate.core.config import decode
from worldgate.core.digest import digest_json, short, to_json
from worldgate.core.errors import ConfigError, DataRefused, NotFound, UsageError
from worldgate.core.names import Name
from worldgate.core.units import check_unit
from worldgate.evidence.coverage_bins import Bins
from worldgate.evidence.variations import Value, Variation, at, put, said
from worldgate.record.events import Event, Ref
from worldgate.record.workspace import Workspace

SCHEMA_1: Final = "worldgate/scenario/1"
SCHEMA: Final = "worldgate/scenario/2"
SUITE_SCHEMA_1: Final = "worldgate/suite/1"
SUITE_SCHEMA: Final = "worldgate/suite/2"

Role = Literal["train-visible", "gate-holdout", "tripwire"]
Source = Literal["authored", "real", "incident", "synthetic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleSpec:
    """One oracle that judges every run of a scenario."""

    oracle: str
    """Entry of the seam ``oracles``."""
    params: Mapping[str, Any] = field(default_factory=dict)

    def complete(self, *, where: str) -> OracleSpec:
        """With every parameter filled in, so that a default changed later does not change an old scenario.

        Raises:
            ConfigError: no such oracle, or a parameter it does not know or take.
        """
        try:
            module = seams.load("oracles", self.oracle)
        except NotFound as error:
            raise ConfigError(error.what, got=error.got, where=where, hint=error.hint) from error
        params = to_json(decode(module.Config, self.params, where=f"{where}:{self.oracle}"))
        assert isinstance(params, dict)
        return OracleSpec(oracle=self.oracle, params=params)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Limits of the site that a run must stay within; what measures them is the site, not the policy."""

    clearance_m: float | None = None
    """Least distance to a person, in m; None: not limited."""
    force_n: float | None = None
    """Largest contact force, in N; None: not limited."""

    def within(self, wider: Envelope) -> bool:
        """Whether it has every limit of another, as strict or stricter."""
        clear = wider.clearance_m is None or (self.clearance_m is not None and self.clearance_m >= wider.clearance_m)
        force = wider.force_n is None or (self.force_n is not None and self.force_n <= wider.force_n)
        return clear and force

    def oracles(self) -> tuple[OracleSpec, ...]:
        """The oracles that judge it."""
        found = []
        if self.clearance_m is not None:
            found.append(OracleSpec(oracle="separation", params={"limit_m": self.clearance_m}))
        if self.force_n is not None:
            found.append(OracleSpec(oracle="force", params={"limit_n": self.force_n}))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """An initial situation with its limits and what judges it."""

    schema: Literal["worldgate/scenario/1", "worldgate/scenario/2"] = SCHEMA
    name: str
    site: str
    initial: Mapping[str, Any]
    """What the environment is set to; plain JSON."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Spill, glare, clutter, a person entering: what makes it this scenario and not another; plain JSON."""
    envelope: Envelope = field(default_factory=Envelope)
    role: Role = "gate-holdout"
    source: Source = "authored"
    incident: str = ""
    """Id of the incident it was derived from."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Path -> unit, one symbol or one a channel: ``{"initial.object_pose": "m,m,rad"}``."""
    frame: str = ""
    """Coordinate frame of the positions in it."""
    variations: tuple[Variation, ...] = ()
    """Parameters from which concrete scenarios are drawn."""
    oracles: tuple[OracleSpec, ...] = ()
    """Besides those of the envelope; without one for success, the fact ``success`` decides."""
    strata: Mapping[str, str] = field(default_factory=dict)
    """What results are broken down by: ``lighting`` -> ``dim``."""
    criterion: str = ""
    """Success in words, for whoever watches."""
    rubric: tuple[str, ...] = ()
    """Sub-goals in words, in order."""
    photo: str = ""
    """Digest of a PNG or JPEG of the initial state, laid over the camera's picture to set the scene up."""
    episode: str = ""
    """Id of the recorded episode it was read from."""
    parent: str = ""
    """Digest of the scenario it was drawn from."""
    seed: int | None = None
    """Of the draw."""
    drawn: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """Variation -> value that was drawn."""

    def __post_init__(self) -> None:
        settle(self)
        names = [v.name for v in self.variations]
        if len(set(names)) != len(names):
            raise ConfigError("a variation stands twice", got=", ".join(names), where=self.name)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; of schema 1 as schema 1 had it."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        if self.schema == SCHEMA_1:
            tree = {key: value for key, value in tree.items() if key in _FIELDS_1}
        return tree

    @property
    def digest(self) -> str:
        """Identity."""
        return digest_json(self.to_json())

    @property
    def situation(self) -> str:
        """Digest of what a policy meets, whatever it is called: site, initial state, attributes, frame and units."""
        return digest_json([self.site, self.initial, self.attributes, self.frame, self.units])

    @property
    def tripwire(self) -> bool:
        """Whether it must be passed but is no draw from the site's situations: what an incident left behind is one."""
        return self.role == "tripwire" or self.source == "incident"

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "scenario") -> Scenario:
        """Read back :meth:`to_json`.

        Raises:
            DataRefused: another schema.
        """
        if tree.get("schema") not in {SCHEMA_1, SCHEMA}:
            raise DataRefused("not a scenario this version reads", got=tree.get("schema"), where=where)
        return decode(cls, tree, where=where)

    def draw(self, seed: int) -> Scenario:
        """A concrete scenario, drawn from the variations.

        Raises:
            UsageError: no variations, or a negative seed.
            ConfigError: a variation of something that the scenario does not hold, or of another kind.
        """
        if not self.variations or seed < 0:
            raise UsageError("nothing to draw", got=f"{len(self.variations)} variations, seed {seed}", where=self.name)
        tree: Any = {"initial": self.initial, "attributes": self.attributes}
        drawn: dict[str, Value] = {}
        parent, strata = self.digest, dict(self.strata)
        for variation in self.variations:
            drawn[variation.name] = value = variation.draw(parent, seed)
            try:
                tree = put(tree, variation.path, value)
            except KeyError as error:
                hint = "the scenario's own value must be there, and of the same kind"
                where = f"{self.name}:{variation.path}"
                raise ConfigError("nothing there to vary", got=variation.name, where=where, hint=hint) from error
            if variation.stratum:
                strata[variation.name] = said(value)
        return dataclasses.replace(
            self,
            name=f"{self.name}-{seed}",
            initial=tree["initial"],
            attributes=tree["attributes"],
            source="synthetic",
            incident="",
            photo="",
            episode="",
            variations=(),
            strata=strata,
            parent=parent,
            seed=seed,
            drawn=drawn,
        )


_FIELDS_1 = frozenset(
    {"schema", "name", "site", "initial", "attributes", "envelope", "role", "source", "incident"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A versioned list of scenarios with a role."""

    schema: Literal["worldgate/suite/1", "worldgate/suite/2"] = SUITE_SCHEMA
    name: str
    role: Role
    scenarios: tuple[str, ...]
    """Digests, in the order in which they are run."""
    weights: tuple[float, ...] = ()
    """How often each is sampled, beside the others; empty: equally often."""
    attempts: int = 1
    """How many plans it may serve before it is worn out; the error probability of each is divided by it."""
    coverage: tuple[Bins, ...] = ()
    """What a claim that rests on it is meant to cover, by site; empty bins are limits of the claim."""

    def __post_init__(self) -> None:
        settle(self)
        if type(self.attempts) is not int or self.attempts < 1:
            raise ConfigError("a suite serves at least one plan", got=self.attempts, where=f"{self.name}:attempts")
        good = all(math.isfinite(weight) and weight > 0 for weight in self.weights)
        if self.weights and (len(self.weights) != len(self.scenarios) or not good):
            got = f"{len(self.weights)} for {len(self.scenarios)} scenarios"
            raise ConfigError("a positive weight for each scenario, or none", got=got, where=f"{self.name}:weights")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; of schema 1 as schema 1 had it."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        if self.schema == SUITE_SCHEMA_1:
            tree = {key: value for key, value in tree.items() if key in {"schema", "name", "role", "scenarios"}}
        return tree

    @property
    def digest(self) -> str:
        """Identity."""
        return digest_json(self.to_json())

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], *, where: str = "suite") -> Suite:
        """Read back :meth:`to_json`.

        Raises:
            DataRefused: another schema.
        """
        if tree.get("schema") not in {SUITE_SCHEMA_1, SUITE_SCHEMA}:
            raise DataRefused("not a suite this version reads", got=tree.get("schema"), where=where)
        return decode(cls, tree, where=where)


def check(scenario: Scenario) -> Scenario:
    """The scenario with its oracles' parameters filled in, refused where it cannot mean what it says.

    Raises:
        ConfigError: an oracle or parameter that does not exist, a unit that is none or that has no value to it, or a
            variation of something that the scenario does not hold or that is in another unit.
        NameRefused: an unusable name.
    """
    Name(scenario.name)
    Name(scenario.site)
    where = scenario.name
    whole = {"initial": scenario.initial, "attributes": scenario.attributes}
    for path, unit in scenario.units.items():
        _check_unit(whole, path, unit, where)
    for variation in scenario.variations:
        told = unit_of(scenario, variation.path)
        if told != variation.unit and variation.range is not None:
            got = f"{variation.unit or 'a plain number'}, and units say {told or 'nothing'}"
            raise ConfigError("a variation in another unit", got=got, where=f"{where}:{variation.path}")
    if scenario.schema == SCHEMA_1:
        return scenario
    oracles = tuple(spec.complete(where=where) for spec in scenario.oracles)
    for spec in scenario.envelope.oracles():
        spec.complete(where=where)
    return dataclasses.replace(scenario, oracles=oracles)


def _check_unit(whole: Mapping[str, Any], path: str, unit: str, where: str) -> None:
    try:
        value = at(whole, path)
    except KeyError as error:
        raise ConfigError("a unit of nothing", got=unit, where=f"{where}:{path}") from error
    width = len(value) if isinstance(value, list | tuple) else 1
    try:
        check_unit(unit, channels=width)
    except UsageError as error:
        raise ConfigError(error.what, got=error.got, where=f"{where}:{path}", hint=error.hint) from error


def unit_of(scenario: Scenario, path: str) -> str:
    """What a scenario says that the value at a path is in; empty where it does not say."""
    if path in scenario.units:
        return scenario.units[path]
    parent, _, place = path.rpartition(".")
    parts = scenario.units.get(parent, "").split(",")
    return parts[int(place)] if len(parts) > 1 and place.isdecimal() and int(place) < len(parts) else parts[0]


def register(ws: Workspace, scenario: Scenario, *, inputs: tuple[Ref, ...] = (), actor: str | None = None) -> Ref:
    """Keep a scenario and record ``scenario.made``; an incident's scenario enters every later gate of its site.

    Raises:
        ConfigError: what :func:`check` refuses.
        DataRefused: said to be drawn from another, and the draw gives something else.
        NotFound: a parent or photograph that is not in the store.
    """
    scenario = check(scenario)
    if scenario.parent:
        _check_draw(ws, scenario)
        inputs = (*inputs, Ref("scenario", scenario.parent))
    if scenario.photo:
        if not ws.store.has(scenario.photo):
            raise NotFound("no such photograph in the store", got=short(scenario.photo), where=scenario.name)
        inputs = (*inputs, Ref("photo", scenario.photo))
    ref = Ref("scenario", ws.put_json(scenario.to_json()), scenario.name)
    body = {
        "scenario": ref.digest,
        "name": scenario.name,
        "site": scenario.site,
        "source": scenario.source,
        "incident": scenario.incident,
        "role": scenario.role,
        "situation": scenario.situation,
        "parent": scenario.parent,
    }
    ws.record("scenario.made", body=body, inputs=inputs, outputs=(ref,), actor=actor)
    return ref


def _check_draw(ws: Workspace, scenario: Scenario) -> None:
    parent = load(ws, scenario.parent)
    again = parent.draw(scenario.seed if scenario.seed is not None else -1)
    if dataclasses.replace(again, photo=scenario.photo).digest != scenario.digest:
        what = "not what its parent gives for this seed"
        raise DataRefused(what, got=f"seed {scenario.seed}", where=scenario.name, hint="draw it, or name no parent")


def check_suite(ws: Workspace, suite: Suite, held: Sequence[Scenario]) -> None:
    """Refuse a suite that could not serve a gate, before anything of it is recorded.

    Args:
        ws: the workspace.
        suite: what is to be recorded.
        held: its scenarios, recorded or not.

    Raises:
        UsageError: no scenarios, or one twice.
        DataRefused: a scenario with variations, which cannot be run; two names for one situation, which are one scene;
            or a scenario that training may see, in a suite that it may not.
        NameRefused: an unusable name.
    """
    _check_list(suite, held)
    if suite.role == "train-visible":
        return
    names: dict[str, str] = {}
    for scenario in held:
        other = names.setdefault(scenario.situation, scenario.name)
        if other != scenario.name:
            what, hint = "two scenarios of one situation are one scene", "vary a range, or draw fewer"
            raise DataRefused(what, got=f"{other} and {scenario.name}", where=suite.name, hint=hint)
    seen = train_visible(ws, upto_seq=ws.ledger.head().seq)
    situations = {load(ws, digest).situation for digest in seen}
    shown = next((s for s in held if s.role == "train-visible" or s.parent in seen or s.situation in situations), None)
    if shown is not None:
        what = "a scenario that training may see cannot serve a gate"
        raise DataRefused(what, got=shown.name, where=suite.name, hint="leave it out, or role train-visible")


def _check_list(suite: Suite, held: Sequence[Scenario]) -> None:
    Name(suite.name)
    if not suite.scenarios or len(set(suite.scenarios)) != len(suite.scenarios):
        got = f"{len(suite.scenarios)} scenarios"
        raise UsageError("a suite holds scenarios, each once", got=got, where=suite.name)
    varied = next((scenario for scenario in held if scenario.variations), None)
    if varied is not None:
        what = "a scenario with variations is drawn before it is run"
        raise DataRefused(what, got=varied.name, where=suite.name, hint="draws = 10 in the suite's file")


def register_suite(ws: Workspace, suite: Suite, *, actor: str | None = None) -> Ref:
    """Keep a suite and record ``suite.made``; whether it may serve a gate is asked by the plan that rests on it.

    Raises:
        UsageError: no scenarios, or one twice.
        DataRefused: a scenario with variations, which cannot be run.
        NotFound: a scenario that is not in the store.
        NameRefused: an unusable name.
    """
    _check_list(suite, [load(ws, digest) for digest in suite.scenarios])
    ref = Ref("suite", ws.put_json(suite.to_json()), suite.name)
    inputs = tuple(Ref("scenario", digest) for digest in suite.scenarios)
    body = {"suite": ref.digest, "role": suite.role, "attempts": suite.attempts}
    ws.record("suite.made", body=body, inputs=inputs, outputs=(ref,), actor=actor)
    return ref


def load(ws: Workspace, digest: str) -> Scenario:
    """A scenario from the store.

    Raises:
        NotFound: no such object.
        DataRefused: not a scenario.
    """
    return Scenario.from_json(ws.get_json(digest), where=digest[:12])


def load_suite(ws: Workspace, digest: str) -> Suite:
    """A suite from the store.

    Raises:
        NotFound: no such object.
        DataRefused: not a suite.
    """
    return Suite.from_json(ws.get_json(digest), where=digest[:12])


def incident_scenarios(ws: Workspace, *, upto_seq: int) -> list[dict[str, str]]:
    """Scenarios that incidents left behind, as the ledger knew them at a sequence: ``{scenario, name, site}``."""
    found: dict[str, dict[str, str]] = {}
    for event in ws.ledger.events("scenario.made"):
        if event.seq <= upto_seq and event.body.get("source") == "incident":
            digest = _output(event)
            found[digest] = {"scenario": digest, "name": str(event.body["name"]), "site": str(event.body["site"])}
    return [found[digest] for digest in sorted(found)]


def train_visible(ws: Workspace, *, upto_seq: int) -> frozenset[str]:
    """Digests of scenarios whose trials never count in a gate, as the ledger knew it at a sequence.

    Those that say so themselves, that stand in a train-visible suite, that were drawn from one of these, and every
    scenario with the same situation under another name or role.
    """
    known = {_output(e): _seen_as(ws, e) for e in ws.ledger.events("scenario.made") if e.seq <= upto_seq}
    seen = {digest for digest, (role, _, _) in known.items() if role == "train-visible"}
    for event in ws.ledger.events("suite.made"):
        if event.seq <= upto_seq and event.body["role"] == "train-visible":
            seen |= {ref.digest for ref in event.inputs}
    situations = {known[digest][1] for digest in seen if digest in known}
    seen |= {digest for digest, (_, situation, _) in known.items() if situation in situations}
    return frozenset(seen | {digest for digest, (_, _, parent) in known.items() if parent in seen})


def _seen_as(ws: Workspace, event: Event) -> tuple[str, str, str]:
    """Role, situation and parent, as the event tells them; of events before schema 2 as the scenario does."""
    body = event.body
    if "situation" in body:
        return str(body["role"]), str(body["situation"]), str(body["parent"])
    scenario = load(ws, _output(event))
    return scenario.role, scenario.situation, scenario.parent


def _output(event: Event) -> str:
    (ref,) = event.outputs
    return ref.digest
