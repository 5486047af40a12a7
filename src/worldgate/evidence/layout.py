"""The layout of a site as a grid: what is occupied, what is free, and how far it is from here to there.

A file for people (schema ``worldgate/layout/1``, JSON): rows of text from the far side (largest y) to the near one,
each letter a cell: ``#`` occupied, ``.`` free, ``?`` unknown. Beside them a scanner, so that ranges can be laid onto
the grid, and routes, pairs of cells whose distance matters. Comparisons are whole numbers: cells, and steps of
shortest paths between cells that share an edge (Moore, 1959), so that a verifier counts the same.

Source: occupancy grids, Elfes, IEEE Computer 22 (1989); governance of the gap, W10.

Shape legend: H x W cells, N beams.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import digest_json, to_json
from worldgate.core.errors import DataRefused
from worldgate.core.streams import ByteArray, FloatArray

SCHEMA = "worldgate/layout/1"
UNKNOWN, FREE, OCCUPIED = 0, 1, 2
_LETTERS = {"?": UNKNOWN, ".": FREE, "#": OCCUPIED}
MOST_CELLS = 250_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """A planar scanner that stands still."""

    stream: str
    """Its ranges, (N,) m."""
    x: float
    y: float
    first_rad: float
    """Bearing of the first beam, from the x axis to the y axis."""
    last_rad: float
    reach_m: float
    """A range of this and more is no return."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One site's grid."""

    schema: str = SCHEMA
    site: str
    cell_m: float
    """Side of a cell."""
    x: float
    """Of the left edge of the grid, m."""
    y: float
    """Of its near edge, m."""
    rows: tuple[str, ...]
    """From the far side to the near one."""
    scanner: Scanner
    routes: tuple[tuple[int, int, int, int], ...] = ()
    """(row, column, row, column) of the two ends, rows counted from the far side."""

    def __post_init__(self) -> None:
        cells = {len(row) for row in self.rows}
        letters = set("".join(self.rows))
        if len(cells) != 1 or not letters <= set(_LETTERS) or not 0 < len(self.rows) * max(cells) <= MOST_CELLS:
            raise DataRefused(
                "rows of a layout are equally long and made of # . ?", got=sorted(letters), where=self.site
            )
        if not self.cell_m > 0 or not self.scanner.reach_m > 0:
            raise DataRefused("cells and the scanner's reach are above 0", got=self.cell_m, where=self.site)
        for ends in self.routes:
            for i, j in (ends[:2], ends[2:]):
                inside = 0 <= i < len(self.rows) and 0 <= j < len(self.rows[0])
                if not inside or self.rows[i][j] != ".":
                    raise DataRefused("a route ends at a free cell of its grid", got=list(ends), where=self.site)

    @property
    def grid(self) -> ByteArray:
        """(H, W) of UNKNOWN, FREE and OCCUPIED."""
        return np.array([[_LETTERS[letter] for letter in row] for row in self.rows], np.uint8)

    @property
    def digest(self) -> str:
        """Identity."""
        return digest_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        tree = to_json(self)
        assert isinstance(tree, dict)
        return tree


def read(tree: Mapping[str, Any], *, where: str) -> Layout:
    """From plain JSON.

    Raises:
        DataRefused: another schema, a ragged grid, or a route that ends where nobody can stand.
        ConfigError: unknown or missing fields.
    """
    if tree.get("schema") != SCHEMA:
        raise DataRefused("not a layout this version reads", got=tree.get("schema"), where=where)
    return decode(Layout, tree, where=where)


def load(path: Path) -> Layout:
    """From a file.

    Raises:
        DataRefused: as :func:`read`, or not JSON.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataRefused("not a layout that can be read", got=error, where=path) from error
    if not isinstance(tree, dict):
        raise DataRefused("not a layout", got=type(tree).__name__, where=path)
    return read(tree, where=str(path))


def rasterise(ranges_N: FloatArray, layout: Layout) -> ByteArray:
    """(H, W): cells a scan passes through are free, those where a beam ends are occupied, the others unknown.

    A range that is not finite tells nothing; one of ``reach_m`` and more passes and does not end.
    """
    scanner, height, width = layout.scanner, len(layout.rows), len(layout.rows[0])
    out = np.full((height, width), UNKNOWN, np.uint8)
    bearings = np.linspace(scanner.first_rad, scanner.last_rad, len(ranges_N))
    ends: list[tuple[int, int]] = []
    for bearing, reached in zip(bearings, np.asarray(ranges_N, np.float64), strict=True):
        if not math.isfinite(reached):
            continue
        far = min(max(float(reached), 0.0), scanner.reach_m)
        along = np.arange(0.0, far, layout.cell_m / 2)
        for i, j in _cells(layout, along, float(bearing)):
            out[i, j] = FREE
        if reached < scanner.reach_m:
            ends += _cells(layout, np.array([far]), float(bearing))
    for i, j in ends:
        out[i, j] = OCCUPIED
    return out


def _cells(layout: Layout, along: FloatArray, bearing: float) -> list[tuple[int, int]]:
    """Cells at distances along a beam, those inside the grid."""
    scanner, height, width = layout.scanner, len(layout.rows), len(layout.rows[0])
    across = np.floor((scanner.x + along * math.cos(bearing) - layout.x) / layout.cell_m).astype(np.int64)
    up = np.floor((scanner.y + along * math.sin(bearing) - layout.y) / layout.cell_m).astype(np.int64)
    inside = (across >= 0) & (across < width) & (up >= 0) & (up < height)
    return [(int(height - 1 - i), int(j)) for i, j in zip(up[inside], across[inside], strict=True)]


@dataclass(frozen=True, slots=True)
class Overlap:
    """A scan against the layout, in cells that the real scan saw and the layout knows."""

    occupied: tuple[int, int]
    """Cells that both call occupied, and that either does."""
    free: tuple[int, int]
    path: tuple[int, int]
    """Steps by which routes differ, and steps they have; a way that is blocked counts every cell of the grid."""


def compare(layout: Layout, *, imagined: ByteArray, real: ByteArray) -> Overlap:
    """Hold a scan on the grid against the layout.

    Args:
        layout: of the site.
        imagined: (H, W) of :func:`rasterise`; the real scan itself gives the ceiling.
        real: (H, W) the real scan of the same moment: what it could not see is not asked for.
    """
    site = layout.grid
    asked = (real != UNKNOWN) & (site != UNKNOWN)

    def overlap(kind: int) -> tuple[int, int]:
        one, two = asked & (site == kind), asked & (imagined == kind)
        return int((one & two).sum()), int((one | two).sum())

    believed = np.where(asked & (imagined != UNKNOWN), imagined, site)
    off = total = 0
    for ends in layout.routes:
        true = steps(site, ends[:2], ends[2:])
        total += true
        off += abs(steps(believed, ends[:2], ends[2:]) - true)
    return Overlap(occupied=overlap(OCCUPIED), free=overlap(FREE), path=(off, total))


def steps(grid_HW: ByteArray, start: tuple[int, int], end: tuple[int, int]) -> int:
    """Steps of a shortest path over cells that are not occupied; all cells of the grid where there is none."""
    height, width = grid_HW.shape
    blocked = grid_HW == OCCUPIED
    far: dict[tuple[int, int], int] = {start: 0}
    waiting = deque([start])
    while waiting and not blocked[start] and end not in far:
        at = waiting.popleft()
        for i, j in ((at[0] + 1, at[1]), (at[0] - 1, at[1]), (at[0], at[1] + 1), (at[0], at[1] - 1)):
            if 0 <= i < height and 0 <= j < width and not blocked[i, j] and (i, j) not in far:
                far[i, j] = far[at] + 1
                waiting.append((i, j))
    return far.get(end, int(height * width))
