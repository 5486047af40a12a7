"""The seam of label formats: each file reads and writes the labels of one tool or standard.

A format module holds a literal ``CARD`` and three functions:

``detect(path: Path) -> bool``
    Whether a file looks like this format, by its first bytes alone; it never raises on foreign data.
``read_labels(path: Path, desk: Desk) -> Imported``
    Read it. What it says of logs, labels and people is looked up at the :class:`~worldgate.data.labelling.desk.Desk`.
    Raises ``DataRefused`` where the file is damaged or says what the schema does not have; what is no label at all
    (boxes, cancelled work) is counted in ``Imported.left_out``, never dropped in silence.
``write_labels(path: Path, sets: Sequence[LabelSet], desk: Desk) -> Exported``
    Write label sets as a new file; ``Exported.moved`` says which boundaries the format could not carry, and how far
    they moved.

Formats know nothing of the record: importing is reading, then :func:`worldgate.data.labelling.store.record_many`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from worldgate.core import seams
from worldgate.core.errors import DataRefused
from worldgate.data.labelling.desk import Desk, Exported, Imported
from worldgate.data.labelling.sets import LabelSet


class LabelFormat(Protocol):
    """What a module of this seam is."""

    def detect(self, path: Path) -> bool:
        """Whether ``path`` looks like this format."""
        ...

    def read_labels(self, path: Path, desk: Desk) -> Imported:
        """Read every label set of a file."""
        ...

    def write_labels(self, path: Path, sets: Sequence[LabelSet], desk: Desk) -> Exported:
        """Write label sets as a new file."""
        ...


def load_format(name: str) -> LabelFormat:
    """A format by its name.

    Raises:
        NotFound: no such format; the hint is the nearest name.
        MissingExtra: its optional dependency is not installed.
    """
    return cast("LabelFormat", seams.load("labels", name))


def detect(path: Path) -> str:
    """The name of the format that recognises a file.

    Raises:
        DataRefused: none does.
    """
    for name in seams.cards("labels"):
        if load_format(name).detect(path):
            return name
    raise DataRefused("no label format recognises this", where=path, hint=f"one of {', '.join(seams.cards('labels'))}")
