"""The label schema: a closed vocabulary, versioned, and what must hold of labels made under it.

One TOML file. Each entry of the vocabulary has a type (category, flag, number with unit, text), an extent (the whole
log, spans of it, instants) and what is required of it: how many annotators, least agreement, least coverage. A schema
cannot change under its name and version; :mod:`worldgate.data.labelling.evolution` says which change needs which
version. Shipped schemas (``automatic``, ``manipulation``) stand in the folder ``shipped`` beside this file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from worldgate.core.choices import settle
from worldgate.core.config import decode, read_toml
from worldgate.core.digest import digest_json
from worldgate.core.errors import ConfigError, DataRefused, NotFound, UsageError
from worldgate.core.names import Name
from worldgate.core.units import check_unit

SHIPPED = Path(__file__).parent / "shipped"


class ValueType(StrEnum):
    """What a label says."""

    CATEGORY = "category"
    """One of ``values``."""
    FLAG = "flag"
    """Yes or no; a span of a flag means yes, for that time."""
    NUMBER = "number"
    """A finite number in ``unit``."""
    TEXT = "text"
    """Free text: captions, notes."""


class Extent(StrEnum):
    """What a label is about."""

    LOG = "log"
    """The whole log."""
    SPAN = "span"
    """A half-open span of time."""
    INSTANT = "instant"
    """One moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """One entry of the vocabulary."""

    type: ValueType
    extent: Extent = Extent.SPAN
    values: tuple[str, ...] = ()
    """Of a category, in the order that ``ordered`` speaks of."""
    ordered: bool = False
    """The values have an order, so that agreement is measured as ordinal."""
    unit: str = ""
    """Of a number."""
    range: tuple[float, float] | None = None
    """Least and greatest number, both allowed."""
    overlap: bool = False
    """Spans of this label by one annotator may overlap."""
    annotators: int = 1
    """Different annotators that must have labelled each log; 0: the label is optional."""
    least_alpha: float | None = None
    """Least Krippendorff's alpha between annotators; not for text."""
    least_f1: float | None = None
    """Least boundary-tolerant segment F1 between any two annotators; spans and instants only."""
    tolerance_ns: int = 100_000_000
    """How far apart two boundaries may be and still be the same."""
    coverage: float | None = None
    """Least share of the log that spans of this label must cover."""
    about: str = ""
    """What annotators are told."""

    def __post_init__(self) -> None:
        settle(self)

    def problem(self) -> tuple[str, object] | None:
        """What is wrong with this entry: the words, and the value."""
        if (self.type is ValueType.CATEGORY) != bool(self.values):
            return "a category lists its values, and nothing else does", self.values
        if len(set(self.values)) != len(self.values) or "" in self.values:
            return "values must differ and not be empty", self.values
        if self.ordered and self.type is not ValueType.CATEGORY:
            return "only a category's values can be ordered", self.type
        if (self.unit or self.range) and self.type is not ValueType.NUMBER:
            return "only a number has a unit and a range", self.unit or self.range
        if self.range is not None and not self.range[0] <= self.range[1]:
            return "a range from high to low", self.range
        shares = [x for x in (self.least_f1, self.coverage) if x is not None]
        if any(not 0 <= x <= 1 for x in shares) or not -1 <= (self.least_alpha or 0) <= 1:
            return "shares and agreement lie between 0 and 1", [*shares, self.least_alpha]
        if self.annotators < 0 or self.tolerance_ns < 0:
            return "a count or length below zero", min(self.annotators, self.tolerance_ns)
        return self._measure_problem()

    def _measure_problem(self) -> tuple[str, object] | None:
        if self.least_f1 is not None and self.extent is Extent.LOG:
            return "segment F1 is for spans and instants", self.extent
        if self.coverage is not None and self.extent is not Extent.SPAN:
            return "coverage is for spans", self.extent
        if self.least_alpha is not None and (self.type is ValueType.TEXT or self.extent is Extent.INSTANT):
            return "alpha is for values of whole logs and of spans; free text has none", self.type
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSchema:
    """A vocabulary, and what is required of labels made under it."""

    name: str
    version: str = "1.0"
    """``major.minor``: a rename, split, removal or change of type raises the major number."""
    labels: Mapping[str, LabelRule]
    grid_ns: int = 10_000_000
    """Step of the time grid on which alpha is measured."""
    about: str = ""

    def __post_init__(self) -> None:
        Name(self.name)
        parse_version(self.version)
        if not self.labels:
            raise ConfigError("a schema without labels", where="labels")
        if self.grid_ns <= 0:
            raise ConfigError("a grid step must be above zero", got=self.grid_ns, where="grid_ns")
        for key, rule in self.labels.items():
            Name(key)
            wrong = rule.problem()
            if wrong is not None:
                raise ConfigError(wrong[0], got=str(wrong[1]), where=f"labels.{key}")
            try:
                check_unit(rule.unit, channels=1)
            except UsageError as error:
                raise ConfigError(error.what, got=error.got, where=f"labels.{key}.unit", hint=error.hint) from error

    @property
    def title(self) -> str:
        """``name.vMAJOR.MINOR``: how a recorded schema is called."""
        return f"{self.name}.v{self.version}"

    def digest(self) -> str:
        """Identity, and the name under which the store keeps it."""
        return digest_json(self)

    def rule(self, label: str, *, where: object = None) -> LabelRule:
        """One entry.

        Raises:
            DataRefused: not in this vocabulary.
        """
        if label not in self.labels:
            raise DataRefused(
                f"a label that {self.title} does not have", got=ascii(label)[:80], where=where, hint=self.vocabulary()
            )
        return self.labels[label]

    def vocabulary(self) -> str:
        """The labels, for hints."""
        return f"one of {', '.join(self.labels)}"


def parse_version(text: str) -> tuple[int, int]:
    """Read ``major.minor``.

    Raises:
        ConfigError: anything else.
    """
    major, dot, minor = text.partition(".")
    plain = all(part.isascii() and part.isdecimal() and len(part) < 6 for part in (major, minor))
    if not dot or not plain or f"{int(major)}.{int(minor)}" != text:
        raise ConfigError("not a version", got=ascii(text)[:40], where="version", hint="major.minor, for example 1.0")
    return int(major), int(minor)


def check_value(rule: LabelRule, value: object, *, label: str, where: object = None) -> bool | float | str:
    """The value, as this entry of the vocabulary takes it.

    Raises:
        DataRefused: another type, a category or number that is not allowed.
    """
    wrong = ""
    if rule.type is ValueType.FLAG:
        wrong = "" if isinstance(value, bool) else "is true or false"
    elif rule.type is ValueType.NUMBER:
        wrong = _number_problem(rule, value)
    elif not isinstance(value, str):
        wrong = "is text"
    elif rule.type is ValueType.CATEGORY and value not in rule.values:
        wrong = f"is one of {', '.join(rule.values)}"
    if wrong:
        raise DataRefused(f"{label} {wrong}", got=ascii(value)[:80], where=where)
    if rule.type is ValueType.NUMBER:
        assert isinstance(value, int | float)
        return float(value)
    assert isinstance(value, bool | str)
    return value


def _number_problem(rule: LabelRule, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "is a finite number"
    if rule.range is not None and not rule.range[0] <= value <= rule.range[1]:
        return f"lies between {rule.range[0]:g} and {rule.range[1]:g} {rule.unit}".rstrip()
    return ""


def from_tree(tree: Mapping[str, Any], *, where: str) -> LabelSchema:
    """Decode a schema.

    Raises:
        ConfigError: unknown or missing key, wrong value; names file, key and the nearest there is.
    """
    try:
        return decode(LabelSchema, tree, where=where)
    except ConfigError as error:
        if error.where is None or str(error.where).startswith(where):
            raise
        raise ConfigError(error.what, got=error.got, where=f"{where}:{error.where}", hint=error.hint) from error


def read(source: Path | str) -> LabelSchema:
    """Read a schema file, or a shipped one by its name.

    Raises:
        ConfigError: as :func:`from_tree`, or not TOML.
        NotFound: neither a file nor the name of a shipped schema.
    """
    path = Path(source)
    if path.suffix != ".toml":
        path = SHIPPED / f"{source}.toml"
        if not path.is_file():
            raise NotFound("no such label schema", got=source, hint=f"a .toml file, or one of {', '.join(shipped())}")
    return from_tree(read_toml(path), where=path.name if path.parent == SHIPPED else str(path))


def shipped() -> list[str]:
    """Names of the schemas that come with Worldgate."""
    return sorted(p.stem for p in SHIPPED.glob("*.toml"))
