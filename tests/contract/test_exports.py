"""Every file of the exports seam writes whole folders that are read again with values, times, names and marks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.data.logs import samples

from worldgate.core.errors import AlreadyExists, UsageError
from worldgate.core.seams import cards
from worldgate.core.streams import Kind, Origin, Stream, StreamInfo
from worldgate.data.exports import Item, Part, Shipment, load_export
from worldgate.data.logs import open_folder

NAMES = sorted(cards("exports"))


def part(name: str, kind: Kind, values: Any, times: Any, rows: Any, **more: Any) -> Part:
    values = np.asarray(values)
    info = StreamInfo(name=name, kind=kind, count=len(values), shape=values.shape[1:], clock="header", **more)
    stream = Stream(info=info, times_ns=np.asarray(times, np.int64), values=values)
    return Part(stream=stream, rows=np.asarray(rows, np.int64), index=np.arange(len(values), dtype=np.int64) * 2 + 5)


def shipment(*items: Item, **options: Any) -> Shipment:
    return Shipment(
        name="sample",
        items=items,
        origins=frozenset(item.origin for item in items),
        rate_hz=10.0,
        readme="# sample\n",
        source={"dataset": "ab" * 32},
        options=options,
    )


@dataclass(frozen=True)
class Broken:
    """Items of which the second cannot be read."""

    first: Item

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[Item]:
        yield self.first
        raise OSError("the disk is gone")


def item(length: int = 4, origin: Origin = Origin.REAL, split: str = "train") -> Item:
    times = samples.START_NS + np.arange(length) * 100_000_000
    rows = np.arange(length)
    state = part("observation.state", Kind.VECTOR, samples.numbers(length), times, rows, names=("a", "b", "c"))
    camera = part(samples.CAMERA, Kind.IMAGE, samples.pictures(length), times + 3, rows)
    return Item(name="run", origin=origin, split=split, parts={p.info.name: p for p in (state, camera)})


@st.composite
def items(draw: st.DrawFn) -> Item:
    """Random rows over random messages: some held by several rows, some rows without one."""
    length = draw(st.integers(1, 12))
    parts = {}
    for number in range(draw(st.integers(1, 3))):
        counts = draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=length, max_size=length))
        place, rows = -1, []
        for step in counts:
            place += step == 1 or place < 0
            rows.append(-1 if step == -1 else place)
        if max(rows) < 0:
            rows[-1] = place
        held = sorted(set(rows) - {-1})
        rows = [held.index(row) if row >= 0 else -1 for row in rows]
        dtype = draw(st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_]))
        shape = draw(st.sampled_from([(1,), (3,), (2, 2)]))
        finite: dict[str, Any] = (
            {"allow_nan": False, "allow_infinity": False} if dtype in {np.float32, np.float64} else {}
        )
        small = {"min_value": -(2**50), "max_value": 2**50} if dtype is np.int64 else {}
        elements = hnp.from_dtype(np.dtype(dtype), **finite, **small)
        values = draw(hnp.arrays(dtype, (len(held), *shape), elements=elements))
        gaps = draw(st.lists(st.integers(1, 10**12), min_size=len(held), max_size=len(held)))
        names = ("x", "y", "z") if shape == (3,) else ()
        unit = draw(st.sampled_from(["", "rad", "m"]))
        name = f"observation.s{number}"
        times = draw(st.integers(0, 2**60)) + np.cumsum(gaps)
        parts[name] = part(name, Kind.VECTOR, values, times, rows, names=names, unit=unit, frame="base")
    texts = draw(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=3))
    if texts:
        stamps = np.arange(len(texts)) + 7
        parts["note"] = part("note", Kind.TEXT, samples.texts(*texts), stamps, [])
    facts: dict[str, str | float | bool] = {
        "task": draw(st.sampled_from(["push", "Grüße"])),
        "success": draw(st.booleans()),
    }
    return Item(name="run", origin=Origin.SIMULATED, split="train", parts=parts, facts=facts)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=12)
@given(st.lists(items(), min_size=1, max_size=1))
def test_random_items_come_back_with_values_times_and_names(name: str, made: list[Item]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        load_export(name).write(shipment(*made), Path(folder) / "out")
        (log,) = open_folder(Path(folder) / "out").logs
        assert log.findings == ()
        assert log.origin is Origin.SIMULATED
        assert {k: log.facts[k] for k in ("task", "success")} == dict(made[0].facts)
        assert {info.name for info in log.streams()} == set(made[0].parts)
        for key, was in made[0].parts.items():
            got = log.read(key)
            np.testing.assert_array_equal(got.times_ns, was.stream.times_ns)
            np.testing.assert_array_equal(got.array, was.stream.array)
            assert got.array.dtype == was.stream.array.dtype
            for field in ("kind", "names", "unit", "frame", "clock", "shape", "count"):
                assert getattr(got.info, field) == getattr(was.info, field), (key, field)


@pytest.mark.parametrize("name", NAMES)
def test_the_mark_the_card_and_the_source_stand_in_what_is_written(name: str, tmp_path: Path) -> None:
    load_export(name).write(shipment(item(origin=Origin.IMAGINED)), tmp_path / "out")
    (log,) = open_folder(tmp_path / "out").logs
    assert log.origin is Origin.IMAGINED
    assert (tmp_path / "out" / "README.md").read_text() == "# sample\n"
    said = [p.read_text() for p in (tmp_path / "out").rglob("*.json")]
    assert any("ab" * 32 in text for text in said)
    assert log.read(samples.CAMERA).times_ns[0] == samples.START_NS + 3


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_of_an_export_that_breaks_off_and_nothing_is_overwritten(name: str, tmp_path: Path) -> None:
    broken = Shipment(
        name="b", items=Broken(item()), origins=frozenset({Origin.REAL}), rate_hz=10.0, readme="", source={}
    )
    with pytest.raises(OSError, match="gone"):
        load_export(name).write(broken, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="nothing to export"):
        load_export(name).write(
            Shipment(name="e", items=(), origins=frozenset({Origin.REAL}), rate_hz=10.0, readme="", source={}),
            tmp_path / "out",
        )
    (tmp_path / "out").mkdir()
    with pytest.raises(AlreadyExists):
        load_export(name).write(shipment(item()), tmp_path / "out")
