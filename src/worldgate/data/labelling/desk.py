"""The desk where foreign label files are put into our terms: which log a file means, whose labels, when a frame is.

A label tool counts pictures or seconds from the start of its own file; here is the log that tells what nanosecond that
is. A desk holds one schema, the logs that may be meant, and the names of people.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from worldgate.core.digest import short
from worldgate.core.errors import DataRefused
from worldgate.core.streams import IntArray
from worldgate.data.labelling.schema import Extent, LabelRule, LabelSchema, ValueType
from worldgate.data.labelling.sets import Label, LabelSet
from worldgate.data.labelling.spans import Span

_STRANGE = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """A span as pictures, counted from 0, both ends included."""

    first: int
    last: int
    moved_ns: int
    """By how much the worse boundary moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a log was, in the terms that label tools use."""

    digest: str
    name: str
    start_ns: int
    """First stamp; seconds in a label file count from here."""
    end_ns: int
    """One past the last stamp."""
    clock: str = "log"
    """The clock of these stamps and of the frames'."""
    camera: str = ""
    """The stream whose pictures are counted."""
    frames_ns: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    """(F,) stamps of its pictures, strictly rising."""

    def edges(self, *, where: object) -> IntArray:
        """(F + 1,) when each picture begins, and when the last one ends: a median period after its start.

        Raises:
            DataRefused: this log has no pictures to count.
        """
        if not len(self.frames_ns):
            raise DataRefused("labels by picture, and no camera to count", got=self.name, where=where, hint="--camera")
        steps = np.diff(self.frames_ns)
        last = int(np.median(steps)) if len(steps) else max(1, self.end_ns - int(self.frames_ns[-1]))
        return np.append(self.frames_ns, self.frames_ns[-1] + last)

    def of_frames(self, first: int, last: int, *, where: object) -> Span:
        """The span of pictures ``first`` to ``last``, both included, counted from 0.

        Raises:
            DataRefused: pictures that the log does not have.
        """
        edges = self.edges(where=where)
        if not 0 <= first <= last < len(edges) - 1:
            raise DataRefused(
                "pictures that the log does not have",
                got=f"{first} to {last}",
                where=where,
                hint=f"{self.camera} of {self.name} has pictures 0 to {len(edges) - 2}",
            )
        return int(edges[first]), int(edges[last + 1])

    def to_frames(self, span: Span, *, where: object) -> Pictures | None:
        """The pictures whose span is nearest; None where both boundaries are nearest to the same one.

        Spans that do not overlap take pictures that do not: one too short for a picture must not take its neighbour's.
        """
        edges = self.edges(where=where)
        first, after = _nearest(edges, span[0]), _nearest(edges, span[1])
        if first >= after:
            return None
        moved = max(abs(int(edges[first]) - span[0]), abs(int(edges[after]) - span[1]))
        return Pictures(first=first, last=after - 1, moved_ns=moved)

    def picture_at(self, at_ns: int, *, where: object) -> Pictures:
        """The picture that shows a moment, or the first or last of all."""
        edges = self.edges(where=where)
        place = min(max(int(np.searchsorted(edges, at_ns, side="right")) - 1, 0), len(edges) - 2)
        return Pictures(first=place, last=place, moved_ns=abs(at_ns - int(edges[place])))


def _means(name: str, log: Timing) -> bool:
    return name in (log.digest, log.name) or PurePath(name).stem == PurePath(log.name).stem


def _nearest(edges: IntArray, at_ns: int) -> int:
    place = int(np.searchsorted(edges, at_ns))
    around = [k for k in (place - 1, place) if 0 <= k < len(edges)]
    return min(around, key=lambda k: abs(int(edges[k]) - at_ns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a label file is read and written against."""

    schema: LabelSchema
    logs: Sequence[Timing]
    """The logs that a file may speak of."""
    people: Mapping[str, str] = field(default_factory=dict)
    """The tool's id or mail address of a person -> our name."""
    only_log: bool = False
    """There is one log, and the file means it, whatever it calls it."""
    by_picture: bool = False
    """Write spans as pictures of the log's camera, where a format can do both."""
    json_schema: Mapping[str, Any] | None = None
    """A JSON Schema that a file must fulfil, where the user gave one."""

    def log(self, *names: object, where: object) -> Timing:
        """The log that a file means by a digest or name, trying each given.

        Raises:
            DataRefused: none of these logs, or several of this name.
        """
        if self.only_log:
            return self.logs[0]
        for name in names:
            found = [log for log in self.logs if isinstance(name, str) and name and _means(name, log)]
            if len(found) > 1:
                raise DataRefused("several logs have this name", got=name, where=where, hint="give one log alone")
            if found:
                return found[0]
        told = next((ascii(name)[:80] for name in names if name), "no name")
        raise DataRefused("a log that is not here", got=told, where=where, hint="worldgate ingest it, or give --log")

    def of_digest(self, digest: str) -> Timing:
        """The log of a digest.

        Raises:
            DataRefused: none of these.
        """
        for log in self.logs:
            if log.digest == digest:
                return log
        raise DataRefused("a log that is not at hand", got=short(digest))

    def person(self, *ids: object, prefix: str) -> str:
        """Our name of a person: by the mapping, else the first text given, else ``prefix-number``; a plain name."""
        for ident in ids:
            if str(ident) in self.people:
                return self.people[str(ident)]
        first = next((ident for ident in ids if ident not in (None, "")), "unknown")
        text = first if isinstance(first, str) else f"{prefix}-{first}"
        return re.sub(r"\.\.+", ".", _STRANGE.sub("-", text))[:60].strip("-._") or prefix

    def ident(self, name: str) -> str:
        """The tool's id of a person, where the mapping has one; else the name."""
        return next((ident for ident, ours in self.people.items() if ours == name), name)

    def entry(self, control: object, value: object, *, where: object) -> tuple[str, bool | str]:
        """What a tool's (control, value) means in the schema: the label, and what it says.

        A control named like a label means that label; any other control means the one label that has this value, or is
        called so.

        Raises:
            DataRefused: no label fits, or several do.
        """
        labels = self.schema.labels
        if isinstance(control, str) and control in labels:
            return control, _said(control, labels[control], value, where=where)
        fits: list[tuple[str, bool | str]] = [
            (n, True) for n, r in labels.items() if r.type is ValueType.FLAG and n == value
        ]
        fits += [(n, str(value)) for n, r in labels.items() if r.type is ValueType.CATEGORY and value in r.values]
        if len(fits) == 1:
            return fits[0]
        what = "several labels have this value" if fits else f"{self.schema.title} has no such label"
        got = f"{ascii(value)[:60]} of {ascii(control)[:60]}"
        raise DataRefused(what, got=got, where=where, hint=self.schema.vocabulary())


def _said(name: str, rule: LabelRule, value: object, *, where: object) -> bool | str:
    if rule.type is ValueType.FLAG:
        words: dict[object, bool] = {
            name: True,
            "true": True,
            "yes": True,
            "false": False,
            "no": False,
            f"not {name}": False,
        }
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value in words:
            return words[value]
        raise DataRefused(f"{name} is yes or no", got=ascii(value)[:60], where=where)
    if not isinstance(value, str):
        raise DataRefused(f"{name} is text", got=ascii(value)[:60], where=where)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What a file held."""

    sets: tuple[LabelSet, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What is no label of ours, in words -> how often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    labels: int
    moved: int = 0
    """Labels whose times the format could not carry exactly."""
    most_ns: int = 0
    """By how much, at most."""
    lost: int = 0
    """Spans that were left out because they are shorter than a picture."""


class Losses:
    """Counts what a format changes while it writes."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._moved: list[int] = []
        self._lost = 0

    def pictures(self, label: Label, rule: LabelRule, log: Timing) -> Pictures | None:
        """A label's pictures; None, and counted as lost, where it is shorter than one."""
        if rule.extent is Extent.INSTANT:
            found: Pictures | None = log.picture_at(label.span[0], where=log.name)
        else:
            found = log.to_frames(label.span, where=log.name)
        if found is None:
            self._lost += 1
        elif found.moved_ns:
            self._moved.append(found.moved_ns)
        return found

    def moved(self, by_ns: int) -> None:
        """A label's times moved."""
        self._moved.append(by_ns)

    def exported(self, sets: Sequence[LabelSet]) -> Exported:
        """What was written."""
        labels = sum(len(item.labels) for item in sets) - self._lost
        most = max(self._moved, default=0)
        return Exported(labels=labels, moved=len(self._moved), most_ns=most, lost=self._lost)
