"""Contracts: one versioned file of what a site requires of its logs before they may teach or judge anything.

A contract names the streams with their kinds, widths, units and rates, how they are aligned, which checks refuse a
log and which only flag it, what facts a log must carry, which streams must never be there, and how episodes are
split. Only what is enforced can be written: an unknown key is an error that names file, key and nearest key.

Shipped contracts (``cell``, ``droid``, ``g1``) stand in the folder ``shipped`` beside this file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from worldgate.core.choices import settle
from worldgate.core.config import decode, read_toml
from worldgate.core.errors import AlreadyExists, ConfigError, NotFound
from worldgate.core.names import Name
from worldgate.core.streams import Kind, Origin
from worldgate.core.times import parse_ns
from worldgate.data import detectors
from worldgate.data.alignment import AlignmentSpec
from worldgate.data.checks import prepare
from worldgate.data.duplicates.rules import Duplicates
from worldgate.data.privacy.rules import Privacy
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SHIPPED = Path(__file__).parent / "shipped"


class Severity(StrEnum):
    """What a check's finding does to a log."""

    REFUSE = "refuse"
    """The log goes into no dataset."""
    FLAG = "flag"
    """The finding is recorded beside the log, which goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRule:
    """What a stream must be. A log without it is refused."""

    kind: Kind
    width: int = 0
    """Channels of a vector, pixels across of an image; 0: any."""
    unit: str = ""
    """Unit as the log must declare it; empty: any."""
    rate_hz: tuple[float, float] | None = None
    """Least and greatest mean rate."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRule:
    """How a check counts."""

    severity: Severity = Severity.REFUSE
    params: Mapping[str, Any] = field(default_factory=dict)
    """Values for the check's own Config."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """Which episodes teach and which judge."""

    fractions: Mapping[str, float] = field(default_factory=lambda: {"train": 0.8, "val": 0.2})
    """Split -> share of groups, summing to 1; where ``by`` is given only the names count."""
    by: str = ""
    """A fact, ``site``, ``robot`` or ``time``, whose value decides the split."""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Split -> values of ``by`` that belong to it; empty: the value is the split's name."""
    since: Mapping[str, str] = field(default_factory=dict)
    """By time: split -> UTC instant from which logs belong to it; ``train`` takes what is earlier."""
    group: str = ""
    """A fact, ``site``, ``robot`` or ``session``: logs with the same value never stand on two sides. Where logs do not
    name their session, those of one robot with short breaks between them are one."""
    session_gap_s: float = 1800.0
    """Shortest break that ends a session."""
    seed: int = 0

    def __post_init__(self) -> None:
        settle(self)
        if not self.by and not math.isclose(sum(self.fractions.values()), 1.0, abs_tol=1e-9):
            raise ConfigError("fractions must sum to 1", got=dict(self.fractions), where="splits.fractions")
        if any(share < 0 for share in self.fractions.values()):
            raise ConfigError("a fraction below zero", got=dict(self.fractions), where="splits.fractions")
        if "train" not in self.fractions:
            raise ConfigError("no split named train", got=", ".join(self.fractions), where="splits.fractions")
        for name in (*self.fractions, *self.values):
            Name(name)
        strange = set(self.values) - set(self.fractions)
        if strange:
            raise ConfigError("values of a split that is not listed", got=sorted(strange), where="splits.values")
        if (self.by == "time") != bool(self.since):
            raise ConfigError("a split by time needs since, and only that", got=self.by, where="splits.since")
        strange = set(self.since) - set(self.fractions)
        if strange or "train" in self.since:
            got = sorted(strange) or "train"
            raise ConfigError("since is for the listed splits other than train", got=got, where="splits.since")
        for text in self.since.values():
            parse_ns(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a log must say of itself, and what must have been said of it."""

    required: tuple[str, ...] = ()
    """Facts that every log must carry, for example ``success``."""
    schema: str = ""
    """Label schema that must be fulfilled: the name of a recorded one, or ``name.vMAJOR.MINOR``; empty: none."""
    present: tuple[str, ...] = ()
    """Labels that somebody or some labeller must have looked for: of ``schema``, or ``schema/label`` of another."""
    annotators: int = 0
    """Least people for each label that the schema asks people for; what the schema asks where that is more."""
    least_alpha: float | None = None
    """Least Krippendorff's alpha for those labels; what the schema asks where that is more."""
    least_f1: float | None = None
    """Least segment F1 of any two annotators for those labels; what the schema asks where that is more."""
    coverage: float | None = None
    """Least share of the log that those labels' spans cover; what the schema asks where that is more."""

    def __post_init__(self) -> None:
        settle(self)
        asks = self.annotators or any(x is not None for x in (self.least_alpha, self.least_f1, self.coverage))
        if not self.schema and (asks or any("/" not in name for name in self.present)):
            raise ConfigError("annotators, agreement and coverage are of a schema", where="labels.schema")
        shares = [x for x in (self.least_alpha, self.least_f1, self.coverage) if x is not None]
        if self.annotators < 0 or any(not 0 <= share <= 1 for share in shares):
            raise ConfigError("a count from 0, agreement and coverage from 0 to 1", got=shares, where="labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionClass:
    """How long logs of a class are kept, from the day they were ingested."""

    at_least_days: int = 0
    """Erasure is refused before; 0: no duty."""
    at_most_days: int = 0
    """Erasure is due after; 0: no limit."""

    def __post_init__(self) -> None:
        if min(self.at_least_days, self.at_most_days) < 0 or 0 < self.at_most_days < self.at_least_days:
            got = f"at least {self.at_least_days} days, at most {self.at_most_days}"
            raise ConfigError("a time to keep that ends before it may", got=got, where="retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a site requires of its logs."""

    name: str
    version: int = 1
    origins: tuple[Origin, ...] = (Origin.REAL,)
    """Origins that may stand together in one dataset."""
    streams: Mapping[str, StreamRule]
    alignment: AlignmentSpec
    checks: Mapping[str, CheckRule] = field(default_factory=dict)
    splits: Splits = field(default_factory=Splits)
    labels: Labels = field(default_factory=Labels)
    licences: tuple[str, ...] = ()
    """SPDX identifiers that logs may stand under, in their fact ``licence``; empty: any, and none at all."""
    retention: Mapping[str, RetentionClass] = field(default_factory=dict)
    """How long logs are kept, by the class that their fact ``retention`` names; ``standard`` where they name none."""
    privacy: Privacy = field(default_factory=Privacy)
    duplicates: Duplicates = field(default_factory=Duplicates)

    def __post_init__(self) -> None:
        settle(self)
        Name(self.name)
        if not self.streams:
            raise ConfigError("a contract without streams", where="streams")
        strange = set(self.alignment.streams) - set(self.streams)
        if self.alignment.reference:
            strange |= {self.alignment.reference} - set(self.streams)
        strange |= {name for models in self.alignment.logs.values() for name in models} - set(self.streams)
        if strange:
            raise ConfigError("alignment of a stream that is not required", got=sorted(strange), where="alignment")
        for name, rule in self.streams.items():
            if rule.rate_hz is not None and not 0 <= rule.rate_hz[0] <= rule.rate_hz[1]:
                raise ConfigError("a range from high to low", got=rule.rate_hz, where=f"streams.{name}.rate_hz")

    def spec(self) -> AlignmentSpec:
        """The alignment of exactly the required streams."""
        item = self.alignment
        return replace(item, streams={name: item.streams.get(name, item.default) for name in self.streams})


def from_tree(tree: Mapping[str, Any], *, where: str) -> Contract:
    """Decode a contract and the parameters of its checks.

    Raises:
        ConfigError: unknown or missing key, unknown check, wrong value; names file, key and the nearest there is.
    """
    try:
        contract = decode(Contract, tree, where=where)
    except ConfigError as error:
        if error.where is None or str(error.where).startswith(where):
            raise
        raise ConfigError(error.what, got=error.got, where=f"{where}:{error.where}", hint=error.hint) from error
    for pattern, mask in contract.privacy.mask.items():
        for name in mask.detectors:
            detectors.prepare(name, mask.params.get(name), where=f"{where}:privacy.mask.{pattern}.params.{name}")
    for name, rule in contract.checks.items():
        try:
            prepare(name, rule.params, where=f"{where}:checks.{name}.params")
        except NotFound as error:
            raise ConfigError(error.what, got=error.got, where=f"{where}:checks.{name}", hint=error.hint) from error
    return contract


def read(source: Path | str) -> Contract:
    """Read a contract file, or a shipped one by its name.

    Raises:
        ConfigError: as :func:`from_tree`, or not TOML.
        NotFound: neither a file nor the name of a shipped contract.
    """
    path = Path(source)
    if path.suffix != ".toml":
        path = SHIPPED / f"{source}.toml"
        if not path.is_file():
            raise NotFound("no such contract", got=source, hint=f"a .toml file, or one of {', '.join(shipped())}")
    return from_tree(read_toml(path), where=path.name if path.parent == SHIPPED else str(path))


def shipped() -> list[str]:
    """Names of the contracts that come with Worldgate."""
    return sorted(p.stem for p in SHIPPED.glob("*.toml"))


def add(ws: Workspace, contract: Contract) -> Ref:
    """Record a contract; nothing happens where the same one is recorded already.

    One that an older Worldgate recorded is the same where it requires the same: fields that were not there then have
    their defaults.

    Raises:
        AlreadyExists: another contract of this name and version.
    """
    digest = ws.put_json(contract)
    name = f"{contract.name}.v{contract.version}"
    recorded = ws.artifacts("contract")
    for ref in recorded:
        if ref.digest == digest or (ref.name == name and load(ws, ref.digest) == contract):
            return ref
    held = next((ref for ref in recorded if ref.name == name), None)
    if held is not None:
        versions = [ref.name.rpartition(".v")[2] for ref in recorded if ref.name.rpartition(".v")[0] == contract.name]
        raise AlreadyExists(
            "another contract of this name and version",
            got=name,
            where=held.digest,
            hint=f"version = {max(map(int, versions)) + 1} in the new one; {name} is the recorded one",
        )
    ref = Ref("contract", digest, name)
    ws.record("contract.added", body={"contract": contract.name, "version": contract.version}, outputs=[ref])
    return ref


def load(ws: Workspace, digest: str) -> Contract:
    """A recorded contract.

    Raises:
        NotFound: not in this workspace's store.
    """
    return from_tree(ws.get_json(digest), where=f"contract {digest[:12]}")
