"""Scenarios, suites and envelopes: what a release is tried on and within which limits.

A scenario's initial situation is JSON that the environment understands; this room never looks inside. Identity is the
digest of the whole scenario, so a changed limit is another scenario.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from worldgate.core.choices import settle
from worldgate.core.config import decode
from worldgate.core.digest import digest_json, to_json
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.names import Name
from worldgate.record.events import Event, Ref
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/scenario/1"
SUITE_SCHEMA = "worldgate/suite/1"

Role = Literal["train-visible", "gate-holdout", "tripwire"]
Source = Literal["authored", "real", "incident", "synthetic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Limits of the site that a run must stay within; what measures them is the site, not the policy."""

    clearance_m: float | None = None
    """Least distance to a person, in m; None: not limited."""
    force_n: float | None = None
    """Largest contact force, in N; None: not limited."""

    def broken(self, facts: Mapping[str, float]) -> tuple[str, ...]:
        """Which limits these measurements break: ``clearance_m``, ``force_n``. A NaN breaks its limit."""
        out = []
        if self.clearance_m is not None and "clearance_m" in facts and not facts["clearance_m"] >= self.clearance_m:
            out.append("clearance_m")
        if self.force_n is not None and "force_n" in facts and not facts["force_n"] <= self.force_n:
            out.append("force_n")
        return tuple(out)

    def within(self, wider: Envelope) -> bool:
        """Whether it has every limit of another, as strict or stricter."""
        clear = wider.clearance_m is None or (self.clearance_m is not None and self.clearance_m >= wider.clearance_m)
        force = wider.force_n is None or (self.force_n is not None and self.force_n <= wider.force_n)
        return clear and force

    def limited(self) -> tuple[str, ...]:
        """Which measurements are needed to tell."""
        return tuple(f.name for f in dataclasses.fields(self) if getattr(self, f.name) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """An initial situation with its limits."""

    name: str
    site: str
    initial: Mapping[str, Any]
    """What the environment is set to; plain JSON."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Spill, glare, clutter, a person entering: what makes it this scenario and not another; plain JSON."""
    strata: Mapping[str, str] = field(default_factory=dict)
    """What results are broken down by: ``lighting`` -> ``dim``."""
    envelope: Envelope = field(default_factory=Envelope)
    role: Role = "gate-holdout"
    source: Source = "authored"
    incident: str = ""
    """Id of the incident it was derived from."""

    def __post_init__(self) -> None:
        settle(self)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return {"schema": SCHEMA, **tree}

    @property
    def digest(self) -> str:
        """Identity."""
        return digest_json(self.to_json())

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
        if tree.get("schema") != SCHEMA:
            raise DataRefused("not a scenario this version reads", got=tree.get("schema"), where=where)
        return decode(cls, {k: v for k, v in tree.items() if k != "schema"}, where=where)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A versioned list of scenarios with a role."""

    name: str
    role: Role
    scenarios: tuple[str, ...]
    """Digests, in the order in which they are run."""
    attempts: int = 1
    """How many plans it may serve before it is worn out; the error probability of each is divided by it."""

    def __post_init__(self) -> None:
        settle(self)
        if self.attempts < 1:
            raise UsageError("a suite serves at least one plan", got=self.attempts, where=self.name)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return {"schema": SUITE_SCHEMA, **tree}

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
        if tree.get("schema") != SUITE_SCHEMA:
            raise DataRefused("not a suite this version reads", got=tree.get("schema"), where=where)
        return decode(cls, {k: v for k, v in tree.items() if k != "schema"}, where=where)


def register(ws: Workspace, scenario: Scenario, *, inputs: tuple[Ref, ...] = (), actor: str | None = None) -> Ref:
    """Keep a scenario and record ``scenario.made``; an incident's scenario enters every later gate of its site."""
    Name(scenario.name)
    Name(scenario.site)
    ref = Ref("scenario", ws.put_json(scenario.to_json()), scenario.name)
    body = {
        "scenario": ref.digest,
        "name": scenario.name,
        "site": scenario.site,
        "source": scenario.source,
        "incident": scenario.incident,
    }
    ws.record("scenario.made", body=body, inputs=inputs, outputs=(ref,), actor=actor)
    return ref


def register_suite(ws: Workspace, suite: Suite, *, actor: str | None = None) -> Ref:
    """Keep a suite and record ``suite.made``."""
    ref = Ref("suite", ws.put_json(suite.to_json()), suite.name)
    inputs = tuple(Ref("scenario", digest) for digest in suite.scenarios)
    ws.record("suite.made", body={"suite": ref.digest, "role": suite.role}, inputs=inputs, outputs=(ref,), actor=actor)
    return ref


def load(ws: Workspace, digest: str) -> Scenario:
    """A scenario from the store.

    Raises:
        NotFound: no such object.
        DataRefused: not a scenario.
    """
    return Scenario.from_json(ws.get_json(digest), where=digest[:12])


def incident_scenarios(ws: Workspace, *, upto_seq: int) -> list[dict[str, str]]:
    """Scenarios that incidents left behind, as the ledger knew them at a sequence: ``{scenario, name, site}``."""
    found: dict[str, dict[str, str]] = {}
    for event in ws.ledger.events("scenario.made"):
        if event.seq <= upto_seq and event.body.get("source") == "incident":
            digest = _output(event)
            found[digest] = {"scenario": digest, "name": str(event.body["name"]), "site": str(event.body["site"])}
    return [found[digest] for digest in sorted(found)]


def _output(event: Event) -> str:
    (ref,) = event.outputs
    return ref.digest
