"""Semantic likeness: what an encoder finds alike is named as advice, apart from copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldgate.core.errors import ConfigError, NotFound
from worldgate.core.streams import ByteArray, FloatArray, Kind, Origin
from worldgate.data.duplicates import finding, holding, semantic
from worldgate.data.duplicates.rules import Alike, AlikeConfig, Duplicates, Keep, Policy
from worldgate.data.duplicates.semantic import Likeness, alike
from worldgate.data.ingest import Shelf, ingest
from worldgate.data.logs.mcap import write_log
from worldgate.record.workspace import Workspace

SECOND = 1_000_000_000


class Colours:
    """An encoder that only sees colours; counts what it is asked."""

    name, digest = "colours", "d" * 64

    def __init__(self) -> None:
        self.asked = 0

    def encode(self, images_NHW3: ByteArray) -> FloatArray:
        self.asked += len(images_NHW3)
        return images_NHW3.reshape(len(images_NHW3), -1, 3).mean(axis=1).astype(np.float32)


@pytest.fixture
def scenes(workspace: Workspace, fakes: Any, tmp_path: Path) -> Workspace:
    """Two red scenes, a green and a blue one; what moves, and when, differs in each."""
    colours = {"red": (200, 20, 20), "rose": (190, 30, 25), "green": (20, 200, 30), "blue": (25, 20, 200)}
    for place, (name, colour) in enumerate(colours.items()):
        rng = np.random.default_rng(place)
        images = np.full((40, 32, 32, 3), colour, dtype=np.uint8)
        for image, (row, column) in zip(images, rng.integers(0, 24, (40, 2)), strict=True):
            image[row : row + 8, column : column + 8] = 128
        shutter = (1_800_000_000 + 100 * place) * SECOND + np.arange(40, dtype=np.int64) * (SECOND // 10)
        camera = fakes.stream("observation.images.front", shutter, fakes.Frames(images), kind=Kind.IMAGE)
        path = tmp_path / f"{name}.mcap"
        write_log(path, [camera], origin=Origin.REAL, facts={"side": name})
        ingest(workspace, path)
    return workspace


def test_scenes_alike_to_the_encoder_are_named_and_are_no_copies(scenes: Workspace) -> None:
    encoder = Colours()
    report = semantic.find(scenes, encoder)
    names = {digest: log.name for digest, log in Shelf(scenes).records.items()}
    (found,) = report.likenesses
    assert {names[found.first], names[found.second]} == {"red.mcap", "rose.mcap"}
    assert found.score > 0.95
    assert "observation.images.front" in found.why
    (group,) = report.groups
    assert (group.kept, group.least) == ("", found.score)
    assert finding.find(scenes).matches == (), "what is alike is no copy"
    asked = encoder.asked
    assert semantic.find(scenes, encoder) == report
    assert encoder.asked == asked, "nothing is encoded twice"
    assert len(list(scenes.ledger.events(semantic.EVENT))) == 1, "the same answer is recorded once"


def test_one_is_kept_only_where_somebody_asks(scenes: Workspace) -> None:
    (group,) = semantic.find(scenes, Colours(), keep=Keep.FIRST).groups
    assert group.kept == group.logs[0]


def test_likeness_across_a_split_is_named_with_both_sides(scenes: Workspace) -> None:
    found = semantic.find(scenes, Colours()).likenesses
    first, second = found[0].first, found[0].second
    (leak,) = semantic.leaks(found, {first: "train", second: "val"})
    assert (leak.first_split, leak.second_split) == ("train", "val")
    assert list(semantic.leaks(found, {first: "train", second: "train"})) == []
    assert list(semantic.leaks(found, {first: "train"})) == []


def test_a_log_that_is_not_there_is_refused(scenes: Workspace) -> None:
    with pytest.raises(NotFound):
        semantic.find(scenes, Colours(), ["0" * 64])


def test_logs_without_pictures_are_alike_to_nothing(workspace: Workspace, record_log: Callable[..., Path]) -> None:
    ingest(workspace, record_log(0, spoil=lambda streams: streams[:2]))
    report = semantic.find(workspace, Colours())
    assert (len(report.logs), report.likenesses, report.groups) == (1, (), ())


@pytest.mark.parametrize("wrong", [{"least": 0.0}, {"least": 1.5}, {"nearest": 0}])
def test_likenesses_beyond_one_and_no_neighbours_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        AlikeConfig(**wrong)


def test_order_and_length_do_not_count_but_content_does() -> None:
    rng = np.random.default_rng(0)
    scene, other, third = (rng.normal(size=(12, 8)).astype(np.float32) for _ in range(3))
    raw = {"a": {"front": scene}, "b": {"wrist": scene[::-1][:7]}, "c": {"front": other}, "d": {"front": third}}
    (found,) = alike(raw, AlikeConfig(least=0.9))
    assert (found.first, found.second) == ("a", "b")
    assert found.score == pytest.approx(1.0, abs=1e-4)
    assert "as" in found.why


def test_pictures_that_all_show_the_same_say_nothing() -> None:
    same = np.ones((5, 4), dtype=np.float32)
    assert list(alike({"a": {"front": same}, "b": {"front": same}}, AlikeConfig())) == []
    assert list(alike({}, AlikeConfig())) == []


@given(seed=st.integers(0, 10_000), logs=st.integers(2, 6), least=st.floats(0.1, 0.99))
@settings(max_examples=40, deadline=None)
def test_whatever_is_found_lies_within_its_bounds_and_names_a_pair_once(seed: int, logs: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    raw = {
        f"log{i}": {f"c{j}": rng.normal(size=(rng.integers(1, 6), 5)).astype(np.float32) for j in range(i % 3)}
        for i in range(logs)
    }
    found: list[Likeness] = list(alike(raw, AlikeConfig(least=least)))
    assert all(least <= x.score + 1e-4 and x.score <= 1 + 1e-4 for x in found)
    pairs = [(x.first, x.second) for x in found]
    assert len(set(pairs)) == len(pairs)
    assert all(a != b and (b, a) not in pairs for a, b in pairs)


def held(scenes: Workspace, alike_: Alike, **more: Any) -> holding.Held:
    shelf = Shelf(scenes)
    return holding.hold(scenes, shelf, list(shelf.records), Duplicates(keep=Keep.FIRST, alike=alike_), **more)


def test_a_contract_names_an_encoder_by_digest_and_gets_no_other(scenes: Workspace) -> None:
    rules = Alike(policy=Policy.GROUP, encoder="d" * 12)
    names = {digest: log.name for digest, log in Shelf(scenes).records.items()}
    assert {names[log] for log in held(scenes, rules, encoder=Colours()).together} == {"red.mcap", "rose.mcap"}
    with pytest.raises(ConfigError, match="another encoder"):
        held(scenes, Alike(policy=Policy.GROUP, encoder="e" * 12), encoder=Colours())
    with pytest.raises(ConfigError, match="another encoder"):
        held(scenes, rules)
    assert held(scenes, Alike(encoder="e" * 12)) == holding.Held(), "a contract that ignores likeness needs no encoder"


@pytest.mark.parametrize("name", ["my-model", "D" * 12, "d" * 11, "d" * 65, ""])
def test_an_encoder_is_not_named_by_what_can_change(name: str) -> None:
    with pytest.raises(ConfigError, match="digest"):
        Alike(encoder=name)


def test_what_an_extended_dataset_holds_is_not_dropped_for_what_looks_alike(scenes: Workspace) -> None:
    rules = Alike(policy=Policy.DROP, encoder="d" * 12)
    by_name = {log.name: digest for digest, log in Shelf(scenes).records.items()}
    assert set(held(scenes, rules, encoder=Colours()).left) == {by_name["rose.mcap"]}
    earlier = {by_name["rose.mcap"]}
    assert set(held(scenes, rules, encoder=Colours(), held=earlier).left) == {by_name["red.mcap"]}
    both = {by_name["rose.mcap"], by_name["red.mcap"]}
    assert held(scenes, rules, encoder=Colours(), held=both).left == {}


def test_a_log_is_dropped_only_for_a_kept_one_that_it_is_alike_to_itself() -> None:
    """A chain a-b-c-d: c is not alike to a, so it is kept though a group would join them all."""
    chain = [Likeness(first=x, second=y, score=0.95, why="") for x, y in ("ab", "bc", "cd")]
    records: Any = {log: type("Record", (), {"span_ns": (0, 1)}) for log in "abcd"}
    dropped = holding._thinned("abcd", chain, Keep.FIRST, _origins(records), {}, ())
    assert {log: kept for log, (_, kept) in dropped.items()} == {"b": "a", "d": "c"}


def _origins(records: Any) -> Any:
    for record in records.values():
        record.origin = Origin.REAL
    return records
