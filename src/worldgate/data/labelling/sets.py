"""Label sets: what one annotator said of one log, on a named clock, under one schema.

A label on the log's own clock is bound to the log's content alone, and survives any realignment. A label made on the
rows of an episode is bound to the alignment too, and is stale when that changes. ``considered`` lists the entries of
the vocabulary that the annotator looked for: where nothing was found of those, that is an answer; of the others
nothing is known.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from worldgate.core.choices import settle
from worldgate.core.config import decode
from worldgate.core.errors import ConfigError, DataRefused
from worldgate.core.names import Name
from worldgate.core.times import SECOND
from worldgate.data.labelling.schema import Extent, LabelRule, LabelSchema, ValueType, check_value
from worldgate.data.labelling.spans import Span, overlapping
from worldgate.record.events import is_digest

ROWS = "rows"
"""The clock of labels that were made on an episode's rows."""
CLOCKS = frozenset({"log", "publish", "header", "frame", ROWS})
SLACK_NS = SECOND
"""How far beyond a log's last stamp a label may end: the last picture lasts a while."""
MOST_LABELS = 200_000
LONGEST_TEXT = 20_000
MOST_BYTES = 1 << 28

_INT64 = 1 << 63


class Method(StrEnum):
    """How labels came about."""

    HUMAN = "human"
    AUTOMATIC = "automatic"
    ADJUDICATED = "adjudicated"
    """A person's or rule's decision between other sets, which it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One statement about a log."""

    label: str
    """Entry of the schema's vocabulary."""
    value: bool | float | str = True
    start_ns: int | None = None
    """None: the whole log."""
    end_ns: int | None = None
    """Exclusive; an instant ends one nanosecond after its start."""
    note: str = ""

    @property
    def span(self) -> Span:
        """Start and end of a label that has them."""
        assert self.start_ns is not None and self.end_ns is not None, self.label
        return self.start_ns, self.end_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """What one annotator said of one log."""

    log: str
    """Content digest of the log."""
    schema: str
    """Digest of the label schema."""
    annotator: str
    """Who: a person's name, or a labeller's."""
    method: Method = Method.HUMAN
    clock: str = "log"
    """Which clock the times are on: one that the log carries, or ``rows``."""
    alignment: str = ""
    """Digest of the alignment whose rows were labelled; empty on a log's own clock."""
    considered: tuple[str, ...] = ()
    """Labels that were looked for."""
    labels: tuple[Label, ...] = ()
    source: Mapping[str, str | float] = field(default_factory=dict)
    """Where it comes from: an imported file, a labeller with its code and configuration."""

    def __post_init__(self) -> None:
        settle(self)

    def of(self, label: str) -> tuple[Label, ...]:
        """The statements of one entry of the vocabulary."""
        return tuple(item for item in self.labels if item.label == label)

    def counts(self) -> dict[str, int]:
        """How many statements of each entry that was looked for."""
        found = Counter(item.label for item in self.labels)
        return {name: found[name] for name in self.considered}


def instant(label: str, at_ns: int, value: bool | float | str = True, note: str = "") -> Label:
    """A label of one moment."""
    return Label(label=label, value=value, start_ns=at_ns, end_ns=at_ns + 1, note=note)


def validated(item: LabelSet, schema: LabelSchema, *, span: Span, clocks: Sequence[str], where: object) -> LabelSet:
    """The same set with its labels in order, held against schema and log.

    Args:
        item: what an annotator said.
        schema: the vocabulary it names.
        span: first stamp of the log, and one past its last.
        clocks: those that the log carries.
        where: a file or log, for errors.

    Raises:
        DataRefused: an unknown label or value, a span that is empty, negative, outside the log or overlaps another,
            a clock that the log does not have, an entry that was not looked for but found.
        NameRefused: an unusable annotator.
    """
    Name(item.annotator)
    _check_clock(item, clocks, where)
    considered = item.considered or tuple(schema.labels)
    for name in considered:
        schema.rule(name, where=where)
    if len(item.labels) > MOST_LABELS:
        raise DataRefused("more labels than one set may hold", got=len(item.labels), where=where)
    labels = tuple(_checked(label, schema.rule(label.label, where=where), span, where) for label in item.labels)
    strays = {label.label for label in labels} - set(considered)
    if strays:
        raise DataRefused("labels of something that was not looked for", got=", ".join(sorted(strays)), where=where)
    _refuse_conflicts(labels, schema, where)
    ordered = tuple(sorted(labels, key=_place))
    return replace(item, considered=tuple(sorted(set(considered))), labels=ordered)


def _place(label: Label) -> tuple[int, int, str, str, str]:
    """Order of labels in a set: so that the same statements are the same bytes."""
    start = -_INT64 if label.start_ns is None else label.start_ns
    end = -_INT64 if label.end_ns is None else label.end_ns
    return start, end, label.label, str(label.value), label.note


def _check_clock(item: LabelSet, clocks: Sequence[str], where: object) -> None:
    if item.clock == ROWS:
        if not is_digest(item.alignment):
            raise DataRefused("labels made on rows name the alignment", got=item.alignment or "none", where=where)
        return
    if item.alignment:
        raise DataRefused("labels on a log's own clock know no alignment", got=item.alignment[:12], where=where)
    if item.clock not in clocks:
        have = ", ".join(dict.fromkeys(clocks)) or "none"
        raise DataRefused("the log has no such clock", got=ascii(item.clock)[:40], where=where, hint=f"one of {have}")


def _checked(item: Label, rule: LabelRule, span: Span, where: object) -> Label:
    value = check_value(rule, item.value, label=item.label, where=where)
    for text in (item.note, value if isinstance(value, str) else ""):
        if len(text) > LONGEST_TEXT or "\0" in text or not _is_unicode(text):
            raise DataRefused(f"{item.label} holds a text that is too long or binary", got=len(text), where=where)
    if rule.extent is Extent.LOG:
        if item.start_ns is not None or item.end_ns is not None:
            raise DataRefused(f"{item.label} is of the whole log, without times", got=item.start_ns, where=where)
        return replace(item, value=value)
    start, end = item.start_ns, item.end_ns
    if start is None or end is None:
        raise DataRefused(f"{item.label} needs a start and an end", got="none", where=where)
    if not -_INT64 <= start < end < _INT64:
        raise DataRefused(f"{item.label}: a span ends after it starts", got=f"[{start}, {end}) ns", where=where)
    if rule.extent is Extent.INSTANT and end != start + 1:
        raise DataRefused(f"{item.label} is of an instant", got=f"a span of {end - start} ns", where=where)
    if not (span[0] <= start and end <= span[1] + SLACK_NS):
        raise DataRefused(
            f"{item.label} lies outside its log",
            got=f"[{start}, {end}) ns",
            where=where,
            hint=f"the log runs from {span[0]} to {span[1]} ns",
        )
    if rule.type is ValueType.FLAG and value is False:
        raise DataRefused(f"{item.label}: a span of a flag says yes", got="false", where=where, hint="leave it out")
    return replace(item, value=value)


def _is_unicode(text: str) -> bool:
    """Whether it can be written down: half a surrogate pair cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _refuse_conflicts(labels: Sequence[Label], schema: LabelSchema, where: object) -> None:
    by_name: dict[str, list[Label]] = defaultdict(list)
    for item in labels:
        by_name[item.label].append(item)
    for name, held in by_name.items():
        rule = schema.labels[name]
        if rule.overlap:
            continue
        if rule.extent is Extent.LOG:
            if len(held) > 1:
                raise DataRefused(
                    f"{name} is said twice", got=" and ".join(str(i.value) for i in held[:2]), where=where
                )
            continue
        both = overlapping([item.span for item in held])
        if both is not None:
            (a, b), (c, d) = both
            raise DataRefused(f"spans of {name} overlap", got=f"[{a}, {b}) and [{c}, {d}) ns", where=where)


def to_rows(item: LabelSet) -> list[dict[str, Any]]:
    """The statements as plain rows, for tables and queries: one a label, in order."""
    return [
        {"label": x.label, "value": x.value, "start_ns": x.start_ns, "end_ns": x.end_ns, "note": x.note}
        for x in item.labels
    ]


def from_json(tree: Any, *, where: str) -> LabelSet:
    """Read a stored set.

    Raises:
        ConfigError: another shape.
    """
    if not isinstance(tree, Mapping):
        raise ConfigError("not a label set", got=type(tree).__name__, where=where)
    return decode(LabelSet, tree, where=where)


def read_json_file(path: Path) -> Any:
    """Parse a label file of others strictly: UTF-8, no key twice, no NaN, bounded size and depth.

    Raises:
        DataRefused: anything else.
    """
    if not path.is_file():
        raise DataRefused("no such label file", where=path)
    if path.stat().st_size > MOST_BYTES:
        raise DataRefused("a label file larger than labels are", got=f"{path.stat().st_size} bytes", where=path)
    try:
        return json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DataRefused("not a label file", got=str(error)[:120] or "too deep", where=path) from error


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {ascii(twice)[:60]} stands twice in one object")
    return out


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")
