"""Label Studio's own JSON, as its editor and server write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgate.core.digest import sha256
from worldgate.core.errors import DataRefused
from worldgate.data.labelling.desk import Desk, Timing
from worldgate.data.labelling.schema import from_tree
from worldgate.data.labelling.sets import Method
from worldgate.data.labels import detect, labelstudio

T0 = 1_800_000_000_000_000_000
MS = 1_000_000
SCHEMA = from_tree(
    {
        "name": "push",
        "labels": {
            "phase": {"type": "category", "values": ["Reach", "Push"]},
            "contact": {"type": "flag"},
            "force": {"type": "number", "overlap": True},
            "success": {"type": "flag", "extent": "log"},
            "stars": {"type": "number", "extent": "log"},
            "caption": {"type": "text", "extent": "log", "overlap": True},
            "tap": {"type": "flag", "extent": "instant"},
        },
    },
    where="push",
)
FRAMES = T0 + np.arange(100, dtype=np.int64) * 40 * MS
LOG = Timing(
    digest=sha256(b"1"), name="run-7.mcap", start_ns=T0, end_ns=T0 + 4_000 * MS, camera="front", frames_ns=FRAMES
)
OTHER = Timing(digest=sha256(b"2"), name="run-8.mcap", start_ns=T0, end_ns=T0 + 4_000 * MS)


def region(kind: str, value: Any, control: str = "label", ident: str = "r1", **more: Any) -> dict[str, Any]:
    return {
        "id": ident,
        "from_name": control,
        "to_name": "ts",
        "type": kind,
        "value": value,
        "origin": "manual",
        **more,
    }


def task(*results: Any, data: Any = None, **more: Any) -> dict[str, Any]:
    work = {
        "id": 1001,
        "completed_by": 10,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-03-09T22:16:08.728353Z",
        "lead_time": 4.288,
        **more,
    }
    where = data or {"video": "/data/upload/83/run-7.mp4"}
    return {"id": 1, "data": where, "annotations": [work], "predictions": [], "project": 83}


def read(tmp_path: Path, *tasks: Any, **more: Any) -> Any:
    file = tmp_path / "export.json"
    file.write_text(json.dumps(list(tasks)))
    assert detect(file) == "labelstudio"
    return labelstudio.read_labels(file, Desk(schema=SCHEMA, logs=(LOG, OTHER), **more))


def test_a_time_series_region_counts_seconds_from_the_logs_start(tmp_path: Path) -> None:
    value = {"start": 0.25, "end": 1.000000001, "instant": False, "timeserieslabels": ["Push"]}
    (found,) = read(tmp_path, task(region("timeserieslabels", value)), people={"10": "ada"}).sets
    (label,) = found.labels
    assert (label.label, label.value, label.span) == ("phase", "Push", (T0 + 250 * MS, T0 + 1_000 * MS + 1))
    assert (found.annotator, found.method, found.log) == ("ada", Method.HUMAN, LOG.digest)


def test_times_as_text_with_a_zone_are_absolute(tmp_path: Path) -> None:
    value = {"start": "2027-01-15T08:00:01.000Z", "end": "2027-01-15T08:00:02Z", "timeserieslabels": ["contact"]}
    (found,) = read(tmp_path, task(region("timeserieslabels", value))).sets
    assert found.labels[0].span == (T0 + 1_000 * MS, T0 + 2_000 * MS)
    for bad in ("2027-01-15 08:00", "soon", None, True, [], 1e300, -1e300):
        value["end"] = bad  # type: ignore[assignment]
        with pytest.raises(DataRefused, match="not a time"):
            read(tmp_path, task(region("timeserieslabels", value)))


def test_timeline_pictures_are_counted_from_one_with_both_ends(tmp_path: Path) -> None:
    value = {"ranges": [{"start": 1, "end": 10}, {"start": 20, "end": 20}], "timelinelabels": ["Reach"]}
    (found,) = read(tmp_path, task(region("timelinelabels", value))).sets
    assert [x.span for x in found.labels] == [(T0, T0 + 400 * MS), (T0 + 760 * MS, T0 + 800 * MS)]
    whole = {"ranges": [{"start": 100, "end": 100}], "timelinelabels": ["Reach"]}
    (found,) = read(tmp_path, task(region("timelinelabels", whole))).sets
    assert found.labels[0].span[1] == T0 + 4_000 * MS, "the last picture lasts as long as the others"


@pytest.mark.parametrize("ends", [(0, 5), (5, 4), (1, 101), (1.5, 2), ("1", 2), (None, 2), (-3, 2)])
def test_pictures_that_are_not_there_are_refused(tmp_path: Path, ends: Any) -> None:
    value = {"ranges": [{"start": ends[0], "end": ends[1]}], "timelinelabels": ["Reach"]}
    with pytest.raises(DataRefused, match="pictures"):
        read(tmp_path, task(region("timelinelabels", value)))


def test_pictures_without_a_camera_to_count_are_refused(tmp_path: Path) -> None:
    value = {"ranges": [{"start": 1, "end": 2}], "timelinelabels": ["Reach"]}
    with pytest.raises(DataRefused, match="no camera to count"):
        read(tmp_path, task(region("timelinelabels", value), data={"csv": "s3://bucket/run-8.csv"}))


def test_choices_numbers_ratings_and_texts_are_of_the_log_or_of_the_region_they_share(tmp_path: Path) -> None:
    (found,) = read(
        tmp_path,
        task(
            region("timeserieslabels", {"start": 1, "end": 2, "timeserieslabels": ["contact"]}, ident="a"),
            region("number", {"start": 1, "end": 2, "number": 3.5}, "force", ident="a"),
            region("number", {"number": 4}, "force", ident="a"),
            region("choices", {"choices": ["no"]}, "success", ident="b"),
            region("rating", {"rating": 4}, "stars", ident="c"),
            region("textarea", {"text": ["first", "second"]}, "caption", ident="d"),
            region("timeserieslabels", {"start": 3, "end": 3, "instant": True, "timeserieslabels": ["tap"]}, ident="e"),
        ),
    ).sets
    said = {(x.label, x.value) for x in found.labels}
    assert said >= {("success", False), ("stars", 4), ("caption", "first"), ("caption", "second"), ("force", 4)}
    assert {x.span for x in found.labels if x.label == "force"} == {(T0 + 1_000 * MS, T0 + 2_000 * MS)}
    assert [x.span for x in found.labels if x.label == "tap"] == [(T0 + 3_000 * MS, T0 + 3_000 * MS + 1)]


def test_predictions_are_a_models_and_cancelled_work_and_boxes_are_left_out_by_name(tmp_path: Path) -> None:
    done = task(region("timeserieslabels", {"start": 1, "end": 2, "timeserieslabels": ["contact"]}))
    done["annotations"] += [
        {"completed_by": {"id": 11, "email": "bob@example.org"}, "result": [], "was_cancelled": True},
        {
            "completed_by": {"id": 12, "email": "eve@example.org"},
            "result": [region("videorectangle", {"sequence": []})],
        },
    ]
    value = {"start": 0, "end": 1, "timeserieslabels": ["contact"]}
    done["predictions"] = [{"model_version": "model 1", "score": 0.5, "result": [region("timeserieslabels", value)]}]
    found = read(tmp_path, done, task(data={"video": "run-8.mp4"}) | {"annotations": []})
    assert [(x.annotator, x.method.value) for x in found.sets] == [
        ("labelstudio-10", "human"),
        ("eve-example.org", "human"),
        ("model-1", "automatic"),
    ]
    assert found.left_out == {
        "cancelled annotations": 1,
        "regions of type 'videorectangle'": 1,
        "tasks without labels": 1,
    }


@pytest.mark.parametrize(
    ("results", "data", "words"),
    [
        ([region("timeserieslabels", {"start": 1, "end": 2, "timeserieslabels": ["Fly"]})], None, "no such label"),
        ([region("number", {"number": 1}, "weight")], None, "does not have"),
        ([region("timeserieslabels", {"timeserieslabels": ["Push"]})], None, "needs a start and an end"),
        ([region("choices", {"choices": ["perhaps"]}, "success")], None, "is yes or no"),
        ([region("choices", {"choices": "yes"}, "success")], None, "not a Label Studio list"),
        ([3], None, "not a Label Studio object"),
        ([region("choices", {"choices": ["yes"]}, "success")], {"video": "run-99.mp4"}, "a log that is not here"),
    ],
)
def test_what_the_schema_or_the_workspace_does_not_have_is_refused(
    tmp_path: Path, results: Any, data: Any, words: str
) -> None:
    with pytest.raises(DataRefused, match=words):
        read(tmp_path, task(*results, data=data))


def test_what_an_export_holds_is_what_label_studio_reads(tmp_path: Path) -> None:
    value = {"start": 0.5, "end": 1, "timeserieslabels": ["Push"]}
    noted = region("timeserieslabels", value, meta={"text": ["look again"]})
    people = {"10": "ada"}
    sets = read(tmp_path, task(noted, region("choices", {"choices": ["yes"]}, "success")), people=people).sets
    labelstudio.write_labels(tmp_path / "out.json", sets, Desk(schema=SCHEMA, logs=(LOG,), people=people))
    (out,) = json.loads((tmp_path / "out.json").read_text())
    (work,) = out["annotations"]
    assert out["data"] == {"log": "run-7.mcap"}
    assert work["completed_by"] == 10
    region_out = next(x for x in work["result"] if x["type"] == "timeserieslabels")
    assert region_out["value"] == {"start": 0.5, "end": 1.0, "instant": False, "timeserieslabels": ["Push"]}
    assert region_out["from_name"] == "phase"
    assert region_out["meta"] == {"text": ["look again"]}
