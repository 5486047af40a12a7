"""OpenLABEL as others write it, and the JSON Schema that a user gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.core.digest import sha256
from worldgate.core.errors import ConfigError, DataRefused
from worldgate.data.labelling.desk import Desk, Timing
from worldgate.data.labelling.schema import from_tree
from worldgate.data.labelling.sets import Label, LabelSet, Method
from worldgate.data.labels import openlabel

T0 = 1_800_000_000_000_000_000
SECOND = 1_000_000_000
SCHEMA = from_tree(
    {
        "name": "push",
        "labels": {
            "phase": {"type": "category", "values": ["reach", "push"]},
            "contact": {"type": "flag"},
            "force": {"type": "number", "overlap": True},
            "success": {"type": "flag", "extent": "log"},
            "tap": {"type": "flag", "extent": "instant"},
        },
    },
    where="push",
)
LOG = Timing(
    digest=sha256(b"1"),
    name="run-7.mcap",
    start_ns=T0,
    end_ns=T0 + 4 * SECOND,
    camera="front",
    frames_ns=T0 + np.arange(40, dtype=np.int64) * (SECOND // 10),
)


def file_of(**parts: Any) -> dict[str, Any]:
    metadata = {"schema_version": "1.0.0", "annotator": "ada", "tagged_file": "videos/run-7.mp4"}
    return {"openlabel": {"metadata": metadata, **parts}}


def action(name: str, kind: str, *intervals: tuple[int, int], **data: Any) -> dict[str, Any]:
    spans = [{"frame_start": a, "frame_end": b} for a, b in intervals]
    return {"name": name, "type": kind, "frame_intervals": spans, **({"action_data": data} if data else {})}


def read(tmp_path: Path, tree: Any, **more: Any) -> Any:
    file = tmp_path / "x.json"
    file.write_text(json.dumps(tree))
    return openlabel.read_labels(file, Desk(schema=SCHEMA, logs=(LOG,), **more))


def test_without_timestamps_frames_are_the_cameras_pictures_from_zero(tmp_path: Path) -> None:
    tree = file_of(actions={"0": action("anything", "push", (0, 9), (20, 20))}, frames={"0": {}, "1": {}})
    (found,) = read(tmp_path, tree).sets
    assert [(x.label, x.value) for x in found.labels] == [("phase", "push")] * 2
    assert [x.span for x in found.labels] == [(T0, T0 + SECOND), (T0 + 2 * SECOND, T0 + 21 * SECOND // 10)]


def test_timestamps_win_over_pictures(tmp_path: Path) -> None:
    stamps = ["2027-01-15T08:00:00Z", "2027-01-15T08:00:01.5Z", str(T0 + 2 * SECOND)]
    frames = {str(k + 7): {"frame_properties": {"timestamp": at}} for k, at in enumerate(stamps)}
    (found,) = read(tmp_path, file_of(actions={"0": action("contact", "contact", (7, 8))}, frames=frames)).sets
    assert found.labels[0].span == (T0, T0 + 2 * SECOND)


def test_data_of_elements_are_values_and_notes(tmp_path: Path) -> None:
    note = [{"name": "note", "val": "hard"}]
    tree = file_of(
        actions={"0": action("force", "force", (0, 1), num=[{"name": "value", "val": 2.5}], text=note)},
        events={"0": {"name": "tap", "type": "tap", "frame_intervals": [{"frame_start": 3, "frame_end": 3}]}},
        contexts={
            "0": {"name": "success", "type": "success", "context_data": {"boolean": [{"name": "value", "val": False}]}}
        },
        objects={"0": {"name": "cup", "type": "cup"}},
    )
    found = read(tmp_path, tree)
    said = {x.label: x for x in found.sets[0].labels}
    assert (said["force"].value, said["force"].note) == (2.5, "hard")
    assert said["success"].value is False
    assert said["tap"].span == (T0 + 3 * SECOND // 10, T0 + 3 * SECOND // 10 + 1)
    assert found.left_out == {"objects": 1}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"metadata": {"schema_version": "0.3.0"}}, "metadata/schema_version"),
        ({"metadata": {}}, "not OpenLABEL"),
        ({"actions": {"0": {"name": "contact"}}}, "actions/0"),
        ({"actions": {"0": action("contact", "contact", (3, 1))}}, "ends after it starts"),
        ({"actions": {"0": action("contact", "contact", (-3, 1))}}, "does not have"),
        ({"actions": {"0": action("contact", "contact", (0, 40))}}, "does not have"),
        ({"actions": {"0": action("contact", "contact")}}, "needs a frame interval"),
        ({"actions": {"0": action("fly", "fly", (0, 1))}}, "no such label"),
        ({"frames": {"x": {}}}, "not OpenLABEL"),
        ({"frames": {"0": {"frame_properties": {"timestamp": 3}}}}, "unknown meaning"),
        ({"frames": {"0": {"frame_properties": {"timestamp": "noon"}}}}, "unknown meaning"),
        (
            {"frames": {str(k): {"frame_properties": {"timestamp": str(9 - k)}} for k in range(2)}},
            "do not rise",
        ),
        (
            {
                "frames": {"0": {"frame_properties": {"timestamp": str(T0)}}},
                "actions": {"0": action("contact", "contact", (0, 1))},
            },
            "frame without a timestamp",
        ),
    ],
)
def test_what_cannot_be_placed_is_refused_with_its_place(tmp_path: Path, parts: Any, words: str) -> None:
    with pytest.raises(DataRefused, match=words):
        read(tmp_path, file_of(**parts))


STRICT = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"openlabel": {"type": "object", "required": ["ontologies"]}},
}


def test_the_users_json_schema_is_held_on_the_way_in_and_out(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="not valid by the given JSON Schema"):
        read(tmp_path, file_of(), json_schema=STRICT)
    assert read(tmp_path, file_of(ontologies={}), json_schema=STRICT).sets
    item = LabelSet(log=LOG.digest, schema=SCHEMA.digest(), annotator="ada", labels=(Label(label="success"),))
    desk = Desk(schema=SCHEMA, logs=(LOG,), json_schema=STRICT)
    openlabel.write_labels(tmp_path / "good.json", [item], desk)
    never = {**STRICT, "properties": {"openlabel": {"required": ["weather"]}}}
    with pytest.raises(DataRefused, match="'weather' is a required property"):
        openlabel.write_labels(tmp_path / "bad.json", [item], Desk(schema=SCHEMA, logs=(LOG,), json_schema=never))
    assert not (tmp_path / "bad.json").exists()


@pytest.mark.parametrize(
    ("schema", "words"),
    [({"type": 3}, "not a JSON Schema"), ({"$ref": "http://127.0.0.1:9/other.json"}, "needs another file")],
)
def test_a_json_schema_that_is_none_or_reaches_out_is_refused(tmp_path: Path, schema: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, file_of(), json_schema=schema)


def test_several_sets_become_a_folder_of_files(tmp_path: Path) -> None:
    sets = [
        LabelSet(log=LOG.digest, schema=SCHEMA.digest(), annotator="ada"),
        LabelSet(log=LOG.digest, schema=SCHEMA.digest(), annotator="auto.phase", method=Method.AUTOMATIC),
    ]
    openlabel.write_labels(tmp_path / "out", sets, Desk(schema=SCHEMA, logs=(LOG,)))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "run-7.ada.human.json",
        "run-7.auto.phase.automatic.json",
    ]


def test_an_adjudication_stays_where_it_was_decided(tmp_path: Path) -> None:
    item = LabelSet(log=LOG.digest, schema=SCHEMA.digest(), annotator="eve", method=Method.ADJUDICATED)
    desk = Desk(schema=SCHEMA, logs=(LOG,))
    openlabel.write_labels(tmp_path / "x.json", [item], desk)
    found = openlabel.read_labels(tmp_path / "x.json", desk)
    assert found.sets == ()
    assert list(found.left_out.values()) == [1]
