"""The vocabulary of a dataset of tokens: which ids mean what, in contiguous ranges that begin at 0.

Ids: special tokens first (padding, begin, end, then one marker for each stream), then one range of codes for each
stream in the order of the markers: states, pictures, actions. A language model that adds them to its own vocabulary
shifts all by one number. Text is no part of it: the language model has its own tokens for that.

Order in time: a block (a marker and its codes) stands where its content is first known, an action where it begins. So
in front of an action stands nothing that came after it, and generating from left to right never needs the future.

Shape legend: R rows of a sequence, L tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from worldgate.core.choices import settle
from worldgate.core.config import decode
from worldgate.core.digest import canonical, digest_json
from worldgate.core.errors import DataRefused, NotFound, SchemaTooNew

SCHEMA, VERSION = "worldgate.vocabulary", 1
PAD, BEGIN, END = 0, 1, 2
SPECIAL = ("pad", "begin", "end")


class Role(StrEnum):
    """What a stream is in a sequence; blocks of one row stand in this order."""

    STATE = "state"
    PICTURE = "picture"
    ACTION = "action"


_ORDER = tuple(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The codes of one stream."""

    stream: str
    role: Role
    marker: int
    """Id of the special token that begins a block of this stream."""
    first: int
    """Id of code 0."""
    count: int
    """Codes."""
    block: int
    """Codes of a block; 0: as many as come before the next marker."""
    rows: int
    """Rows of a block; of pictures, the first block of a sequence holds one row alone."""
    tokenizer: str
    """Digest of the tokenizer."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """All ranges, and what they were made for."""

    ranges: tuple[Range, ...]
    rate_hz: float
    """Rows a second."""
    dataset: str
    """Digest of the dataset that was exported with it."""
    alignment: str
    """Digest of the alignment whose rows these are."""
    schema: str = SCHEMA
    version: int = VERSION
    size: int = field(default=0)
    """Ids run from 0 to one less than this."""

    @property
    def digest(self) -> str:
        """Its identity."""
        return digest_json(self)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self)

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str = "vocabulary.json") -> Vocabulary:
        """Read back :meth:`to_bytes`.

        Raises:
            DataRefused: no vocabulary, an older version, or ranges that are not contiguous.
            SchemaTooNew: written by a newer Worldgate.
            ConfigError: another form.
        """
        held = decode(cls, versioned(data, SCHEMA, VERSION, where), where=where)
        held._refuse_gaps(where)
        return held

    @cached_property
    def _by_stream(self) -> Mapping[str, Range]:
        return {held.stream: held for held in self.ranges}

    def range(self, stream: str) -> Range:
        """Of a stream.

        Raises:
            NotFound: the vocabulary has no such stream.
        """
        if stream not in self._by_stream:
            raise NotFound("no such stream in this vocabulary", got=stream, hint=f"one of {', '.join(self._by_stream)}")
        return self._by_stream[stream]

    def of(self, role: Role) -> tuple[Range, ...]:
        """Ranges of a role, in order."""
        return tuple(held for held in self.ranges if held.role is role)

    def names(self) -> Iterator[str]:
        """One distinct text for each id, in order: what a language model's tokenizer is given to add."""
        yield from (f"<wg:{name}>" for name in SPECIAL)
        yield from (f"<wg:{held.stream}>" for held in self.ranges)
        for held in self.ranges:
            yield from (f"<wg:{held.stream}:{code}>" for code in range(held.count))

    def plan(self, rows: int) -> list[tuple[Range, int]]:
        """The blocks of a sequence of so many rows, in order, each with the first row that it covers.

        The last block of a stream may reach past the end of the sequence; its rows there repeat the last one.
        """
        blocks: list[tuple[int, int, int, Range, int]] = []
        for place, held in enumerate(self.ranges):
            for covers, known in self._rows(held, rows):
                blocks.append((known, _ORDER.index(held.role), place, held, covers))
        return [(held, covers) for _, _, _, held, covers in sorted(blocks, key=lambda block: block[:3])]

    def _rows(self, held: Range, rows: int) -> list[tuple[int, int]]:
        """First row of each block of a stream, and the row at which the block stands."""
        if held.role is Role.ACTION:
            return [(row, row) for row in range(0, rows, held.rows)]
        if held.role is Role.PICTURE:
            later = [(row, min(row + held.rows, rows) - 1) for row in range(1, rows, held.rows)]
            return [(0, 0), *later]
        others = [*self.of(Role.PICTURE), *self.of(Role.ACTION)]
        known = {stands for _, stands in self._rows(others[0], rows)} if others else set(range(rows))
        return [(row, row) for row in sorted(known)]

    def _refuse_gaps(self, where: str) -> None:
        expected, first = len(SPECIAL), len(SPECIAL) + len(self.ranges)
        for held in self.ranges:
            if (held.marker, held.first) != (expected, first) or held.count < 1:
                raise DataRefused("ranges of ids that are not contiguous", got=held.stream, where=where)
            expected, first = expected + 1, first + held.count
        if self.size != first:
            raise DataRefused("a vocabulary of another size", got=self.size, where=where, hint=f"{first} ids")


def lay_out(
    streams: Iterator[dict[str, Any]] | list[dict[str, Any]], *, rate_hz: float, dataset: str, alignment: str
) -> Vocabulary:
    """Give streams their ids.

    Args:
        streams: fields of :class:`Range` without ids.
        rate_hz: rows a second.
        dataset: its digest.
        alignment: its digest.
    """
    ordered = sorted(streams, key=lambda stream: _ORDER.index(stream["role"]))
    ranges, first = [], len(SPECIAL) + len(ordered)
    for place, stream in enumerate(ordered):
        ranges.append(Range(marker=len(SPECIAL) + place, first=first, **stream))
        first += stream["count"]
    return Vocabulary(ranges=tuple(ranges), rate_hz=rate_hz, dataset=dataset, alignment=alignment, size=first)


def versioned(data: bytes, schema: str, version: int, where: str) -> dict[str, Any]:
    """The tree of a JSON file of this schema and version.

    Raises:
        DataRefused: not JSON, another schema, or an older version.
        SchemaTooNew: a newer version.
    """
    try:
        tree = json.loads(data)
    except ValueError as error:
        raise DataRefused("not JSON", got=str(error)[:80], where=where) from error
    if not isinstance(tree, dict) or tree.get("schema") != schema or not isinstance(tree.get("version"), int):
        raise DataRefused(f"not a {schema}", got=str(tree)[:60], where=where)
    if tree["version"] > version:
        raise SchemaTooNew("written by a newer Worldgate", got=f"version {tree['version']}", where=where)
    if tree["version"] < version:
        got, hint = f"version {tree['version']}", "worldgate world tokens writes the dataset anew"
        raise DataRefused("an older version, whose ids mean something else", got=got, where=where, hint=hint)
    return tree
