"""Gate policies: a TOML file that says which checks must pass, on which population, for how long.

Every parameter is filled in when the policy is read, so that a default changed later does not change an old decision.
The population is ``real`` unless the file says ``simulated stands in for real``; imagined data never counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from worldgate.core import seams
from worldgate.core.choices import settle
from worldgate.core.config import decode
from worldgate.core.digest import canonical, digest_json, to_json
from worldgate.core.errors import ConfigError, NotFound
from worldgate.core.evidence import Stage
from worldgate.core.names import Name
from worldgate.core.streams import Origin
from worldgate.evidence.scenarios import Envelope
from worldgate.evidence.shipped import Shelf
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/gate-policy/1"
Population = Literal["real", "simulated stands in for real"]
Kind = Literal["admission", "promotion"]
NEVER_WAIVED = frozenset({"schema", "identity", "signatures", "holdout", "violations", "incidents"})
"""Checks that no person's word stands in for, whatever a policy file says: format, identity, lineage, envelope."""
_SHELF = Shelf("policies", "gate policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """One check of a policy."""

    check: str
    """Entry of the seam ``gates``."""
    params: Mapping[str, Any] = field(default_factory=dict)
    min_n: int = 0
    """Fewest independent units behind a pass; below it the check is inconclusive. 0: as few as its bound allows."""
    max_age_days: int = 0
    """Oldest evidence that counts, in days before the decision; 0: any."""
    blocking: bool = True
    """Whether the verdict rests on it; else it is told and decides nothing."""
    waivable: bool = False
    """Whether a signed waiver may stand in for a pass; never for those of :data:`NEVER_WAIVED`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """Which checks decide, and on what."""

    schema: str = SCHEMA
    name: str
    kind: Kind
    population: Population = "real"
    valid_for_days: int = 90
    """How long a decision under this policy may hold."""
    sites: tuple[str, ...] = ()
    """Sites it may decide for; empty: any."""
    slots: tuple[str, ...] = ()
    """Promotion: arms it may decide for, patterns as ``kitchen/*/left``; empty: any of its sites."""
    stage: Stage = "site"
    """Promotion: how far a decision lets a release go; a larger stage covers the smaller ones."""
    envelope: Envelope | None = None
    """Promotion: limits that every scene of a plan must carry, as strict or stricter; absent: the scenes' own."""
    signals: tuple[str, ...] = ("*",)
    """Admission: patterns of the signals judged."""
    cross_validation: bool = False
    """Admission: whether leave-one-episode-out reports count; they judge the recipe, not the weights."""
    approvals: int = 1
    """Promotion: persons other than the releaser who must approve before it authorises anything."""
    approvers: tuple[str, ...] = ()
    """Promotion: the persons who may approve or waive; empty: any person of the ledger."""
    checks: tuple[CheckSpec, ...]

    def __post_init__(self) -> None:
        settle(self)

    @property
    def origins(self) -> frozenset[Origin]:
        """Origins that count as evidence."""
        return frozenset({Origin.REAL} if self.population == "real" else {Origin.REAL, Origin.SIMULATED})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, every parameter present."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return tree

    @property
    def digest(self) -> str:
        """Identity."""
        return digest_json(self.to_json())


def read(tree: Mapping[str, Any], *, where: str) -> GatePolicy:
    """Decode and complete a policy.

    Raises:
        ConfigError: an unknown key, check or parameter, a check twice, no check, a check of the other kind of gate, or
            no blocking check besides those that only advise.
    """
    policy = decode(GatePolicy, tree, where=where)
    if policy.schema != SCHEMA:
        raise ConfigError("not a gate policy this version reads", got=policy.schema, where=where)
    Name(policy.name)
    if not policy.checks:
        raise ConfigError("a gate without checks would pass anything", where=f"{where}:checks")
    if policy.valid_for_days < 1 or policy.approvals < 1:
        raise ConfigError("valid_for_days and approvals are at least 1", got=policy.valid_for_days, where=where)
    if not any(spec.blocking for spec in policy.checks):
        raise ConfigError("a gate without a blocking check would pass anything", where=f"{where}:checks")
    if any(spec.min_n < 0 or spec.max_age_days < 0 for spec in policy.checks):
        raise ConfigError("min_n and max_age_days are at least 0", where=f"{where}:checks")
    if policy.approvers and len({Name(person) for person in policy.approvers}) < policy.approvals:
        raise ConfigError("fewer approvers than approvals", got=", ".join(policy.approvers), where=where)
    full = tuple(_complete(spec, policy.kind, where) for spec in policy.checks)
    if all(getattr(seams.load("gates", s.check), "ADVISES", False) for s in full if s.blocking):
        raise ConfigError(
            "a gate that rests on advice alone", got=", ".join(s.check for s in full), where=f"{where}:checks"
        )
    if len({(s.check, canonical(s.params)) for s in full}) != len(full):
        raise ConfigError("a check stands twice with the same parameters", where=f"{where}:checks")
    return decode(GatePolicy, {**policy.to_json(), "checks": to_json(full)}, where=where)


def _complete(spec: CheckSpec, kind: Kind, where: str) -> CheckSpec:
    place = f"{where}:checks.{spec.check}"
    try:
        module = seams.load("gates", spec.check)
    except NotFound as error:
        raise ConfigError("no such check", got=spec.check, where=place, hint=error.hint) from error
    if kind != module.GATE:
        raise ConfigError(f"this check belongs to {module.GATE}", got=spec.check, where=place)
    if spec.waivable and spec.check in NEVER_WAIVED:
        raise ConfigError("this check is never waived", got="waivable = true", where=place, hint="waivable = false")
    config = decode(module.Config, spec.params, where=place)
    params = to_json(config)
    assert isinstance(params, dict)
    return dataclasses.replace(spec, params=params)


def load(source: str | Path) -> GatePolicy:
    """Read a policy file, or one that ships with Worldgate by its name: ``admission``, ``promotion``.

    Raises:
        ConfigError: not a usable policy.
        NotFound: neither a file nor a shipped name.
    """
    tree, where = _SHELF.read(source)
    return read(tree, where=where)


def shipped() -> Sequence[str]:
    """Names of the policies that come with Worldgate."""
    return _SHELF.names()


def register(ws: Workspace, policy: GatePolicy, *, actor: str | None = None) -> Ref:
    """Keep a policy and record ``gate_policy.registered``, unless it already is."""
    ref = Ref("gate_policy", ws.put_json(policy.to_json()), policy.name)
    if all(known.digest != ref.digest for known in ws.artifacts("gate_policy")):
        body = {"policy": ref.digest, "kind": policy.kind, "population": policy.population}
        ws.record("gate_policy.registered", body=body, outputs=(ref,), actor=actor)
    return ref
