"""The layout of a site: grids, scans laid onto them, ways through them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldgate.core.digest import canonical
from worldgate.core.errors import DataRefused
from worldgate.evidence.layout import FREE, OCCUPIED, UNKNOWN, Layout, Scanner, compare, load, rasterise, read, steps

SCANNER = Scanner(stream="scan", x=0.05, y=0.05, first_rad=0.0, last_rad=math.pi / 2, reach_m=2.0)
ROOM = Layout(
    site="bench", cell_m=0.1, x=0.0, y=0.0,
    rows=("######", "....##", ".##.#?", "......"), scanner=SCANNER, routes=((3, 0, 1, 0), (3, 0, 3, 5)),
)  # fmt: skip


def test_a_scan_frees_what_it_passes_and_fills_where_it_ends() -> None:
    grid = rasterise(np.array([0.4, 0.3]), ROOM)
    assert grid[3].tolist() == [FREE, FREE, FREE, FREE, OCCUPIED, UNKNOWN]
    assert grid[:, 0].tolist() == [OCCUPIED, FREE, FREE, FREE]
    assert (grid[:3, 1:] == UNKNOWN).all()


def test_a_beam_without_a_return_ends_nowhere_and_one_that_is_not_finite_says_nothing() -> None:
    assert OCCUPIED not in rasterise(np.array([2.0, 3.0]), ROOM)
    assert (rasterise(np.array([np.nan, np.inf]), ROOM) == UNKNOWN).all()
    assert (rasterise(np.array([-1.0, -1.0]), ROOM) == OCCUPIED).sum() == 1


def test_the_room_itself_overlaps_with_itself_whole() -> None:
    grid = ROOM.grid
    found = compare(ROOM, imagined=grid, real=grid)
    assert found.occupied[0] == found.occupied[1] == (grid == OCCUPIED).sum()
    assert found.free[0] == found.free[1] == (grid == FREE).sum()
    assert found.path == (0, steps(grid, (3, 0), (1, 0)) + 5)


def test_a_wall_that_is_not_there_makes_ways_longer_or_blocks_them() -> None:
    grid = ROOM.grid
    walled = grid.copy()
    walled[2, 0] = OCCUPIED
    found = compare(ROOM, imagined=walled, real=grid)
    assert found.free[0] == found.free[1] - 1
    assert found.path[0] == 8 - 2, "around the other side"
    walled[3, 1] = OCCUPIED
    blocked = compare(ROOM, imagined=walled, real=grid)
    assert blocked.path[0] == (24 - 2) + (24 - 5)


def test_only_cells_that_the_real_scan_saw_are_asked_for() -> None:
    real = np.full(ROOM.grid.shape, UNKNOWN, np.uint8)
    real[3, :3] = FREE
    found = compare(ROOM, imagined=np.full_like(real, OCCUPIED), real=real)
    assert (found.occupied, found.free) == ((0, 3), (0, 3))
    assert compare(ROOM, imagined=np.full_like(real, UNKNOWN), real=real).free == (0, 3)


def test_a_layout_goes_to_its_file_and_back(tmp_path: Path) -> None:
    path = tmp_path / "room.json"
    path.write_bytes(canonical(ROOM.to_json()))
    assert load(path) == ROOM
    assert load(path).digest == ROOM.digest


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"rows": ["..", "."]}, "equally long"),
        ({"rows": ["ab"]}, "equally long"),
        ({"rows": []}, "equally long"),
        ({"cell_m": 0}, "above 0"),
        ({"routes": [[0, 0, 3, 0]]}, "free cell"),
        ({"routes": [[9, 0, 3, 0]]}, "free cell"),
        ({"schema": "other"}, "not a layout this version reads"),
    ],
)
def test_a_layout_that_makes_no_sense_is_refused(change: dict[str, object], what: str) -> None:
    tree = json.loads(canonical(ROOM.to_json()))
    with pytest.raises(DataRefused, match=what):
        read({**tree, **change}, where="here")


def test_a_file_that_is_no_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "room.json"
    with pytest.raises(DataRefused, match="can be read"):
        load(path)
    for text, what in (("nonsense", "can be read"), ("[]", "not a layout")):
        path.write_text(text)
        with pytest.raises(DataRefused, match=what):
            load(path)


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=20), st.floats(0.05, 0.3))
def test_a_scan_against_itself_never_loses_a_cell(ranges: list[float], cell_m: float) -> None:
    room = dataclasses.replace(ROOM, cell_m=cell_m)
    grid = rasterise(np.array(ranges), room)
    told = dataclasses.replace(room, rows=tuple("".join("?.#"[v] for v in row) for row in grid), routes=())
    found = compare(told, imagined=grid, real=grid)
    assert found.occupied[0] == found.occupied[1]
    assert found.free[0] == found.free[1]
    assert found.path == (0, 0)


def test_a_way_from_a_wall_is_no_way() -> None:
    assert steps(ROOM.grid, (0, 0), (3, 0)) == 24
    assert steps(ROOM.grid, (3, 0), (3, 0)) == 0
