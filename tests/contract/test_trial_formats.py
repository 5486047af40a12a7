"""Every reader of trial files says what the file says, refuses what it does not know, and never crashes on rubbish."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worldgate.core import seams
from worldgate.core.errors import DataRefused, NotFound, WorldgateError
from worldgate.core.streams import Origin
from worldgate.evidence import intake
from worldgate.evidence.told import Asked, Told

NAMES = sorted(seams.cards("trial_formats"))
SLOT = "bench/ur5/left"
STARTED = "2026-11-22T10:00:00Z"
STARTED_NS = 1_795_341_600_000_000_000


def csv_text(**changes: str) -> str:
    cells = {"scenario": "cup", "slot": SLOT, "success": "yes", "violations": "0", "started": STARTED, "seed": "4"}
    cells |= changes
    return f"{','.join(cells)}\n{','.join(cells.values())}\n"


def json_tree(**changes: Any) -> dict[str, Any]:
    trial = {"scenario": "cup", "slot": SLOT, "success": True, "violations": 0, "started": STARTED, "seed": 4}
    return {"schema": "worldgate/trial-file/1", "origin": "real", "trials": [{**trial, **changes}]}


def eval_log(*, simulated: bool | None = False, **changes: Any) -> dict[str, Any]:
    """What inspect-robots 0.60 writes for one scene and two epochs, the second of which broke off."""
    scene = {
        "scene_id": "cup", "status": "error", "error": "PolicyError: gripper lost", "instruction": "lift the cup",
        "epochs": [{"success_at_end": 1.0, "operator": 1.0, "min_distance_to_goal": None}, {}],
        "reduced": {"success_at_end": 1.0}, "scene_metadata": {"table": 2},
        "operator_judgements": ["yes", None], "judgement_sources": ["prompt", None], "operator_notes": [None, None],
        "operator_messages": [[], []], "trial_metadata": [{"actions": "actions/1.npz"}, {}],
        "termination_reasons": ["success", None], "policy_transcripts": [None, None],
    }  # fmt: skip
    info = {"control_hz": 10.0, "capabilities": ["resettable"]}
    info |= {} if simulated is None else {"is_simulated": simulated}
    return {
        "version": 1, "status": "success", "error": None,
        "eval": {
            "task": "lift", "policy": "scripted", "embodiment": "yam", "created": "2026-11-22T09:59:00.5+00:00",
            "inspect_robots_version": "0.60.0", "git_commit": None, "policy_config": {"action_horizon": 4},
            "embodiment_info": info, "seed": 0, "max_steps": 80, "max_seconds": None, "environment_id": None,
            "environment_revision": None, "policy_checkpoint": None, "grader": None, "grader_config": {},
        },
        "results": {"total_scenes": 1, "total_trials": 2, "metrics": {"success_at_end": 1.0}, "errored_trials": 1},
        "stats": {
            "started_at": "2026-11-22T10:00:00+00:00", "completed_at": "2026-11-22T10:01:00+00:00", "duration_s": 60.0,
            "total_steps": 30, "mean_inference_latency_s": 0.01, "frames_dir": None,
        },
        "samples": [{**scene, **changes}],
    }  # fmt: skip


GOOD = {"csv": ("t.csv", csv_text()), "json": ("t.json", json.dumps(json_tree())),
        "inspect_robots": ("log.json", json.dumps(eval_log()))}  # fmt: skip


def put(folder: Path, name: str, text: str | None = None) -> Path:
    file, good = GOOD[name]
    (folder / file).write_text(good if text is None else text, encoding="utf-8")
    return folder / file


def read(folder: Path, name: str, text: str | None = None, **asked: str) -> Told:
    told: Told = seams.load("trial_formats", name).read(put(folder, name, text), Asked(**asked))
    return told


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_knows_its_own_files_and_no_others(name: str, tmp_path: Path) -> None:
    for other in NAMES:
        assert seams.load("trial_formats", name).accepts(put(tmp_path, other)) is (name == other)


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_says_what_the_file_says(name: str, tmp_path: Path) -> None:
    told = read(tmp_path, name, slot=SLOT)
    first = told.entries[0]
    assert (first.scenario, first.success, first.slot, first.started_ns) == ("cup", True, SLOT, STARTED_NS)
    assert first.excluded == "" and GOOD[name][0] in first.where
    assert told.origin is (None if name == "csv" else Origin.REAL)


@pytest.mark.parametrize("name", NAMES)
def test_the_format_is_found_by_the_file(name: str, tmp_path: Path) -> None:
    path = put(tmp_path, name)
    assert intake.read(path, asked=Asked(slot=SLOT)) == read(tmp_path, name, slot=SLOT)
    assert intake.read(path, format=name, asked=Asked(slot=SLOT)).entries


def test_a_file_that_no_format_knows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("cup yes\n")
    with pytest.raises(NotFound, match="no format knows"):
        intake.read(tmp_path / "t.txt")
    with pytest.raises(NotFound, match="no such file"):
        intake.read(tmp_path / "none.csv")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text", ["", "{", "\0\0", "[]", '{"schema": 1}', "1,2\n3\n", '{"a": 1, "a": 2}', "[" * 100_000]
)
def test_rubbish_is_refused_and_never_crashes(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(DataRefused):
        read(tmp_path, name, text)


@pytest.mark.parametrize("name", NAMES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(data=st.data())
def test_a_file_that_was_cut_or_changed_is_read_or_refused(name: str, data: st.DataObject, tmp_path: Path) -> None:
    text = GOOD[name][1]
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    put_in = data.draw(st.text('01{}[],":-eNaN\n\0x', max_size=6))
    try:
        told = read(tmp_path, name, text[:start] + put_in + text[end:], slot=SLOT)
    except WorldgateError:
        return
    assert all(math.isfinite(v) for entry in told.entries for v in entry.metrics.values())
    assert all(type(entry.success) is bool for entry in told.entries)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("scenario,slot\ncup,bench/ur5/left\n", "column is missing"),
        (csv_text().splitlines()[0] + "\n", "no trials"),
        (csv_text(success="maybe"), "success must be"),
        (csv_text(violations="-1"), "whole numbers"),
        (csv_text(violations=""), "whole numbers"),
        (csv_text(violations="0.5"), "whole numbers"),
        (csv_text(seed="²"), "whole numbers"),
        (csv_text(started="2026-11-22T10:00:00"), "not a time"),
        (csv_text(least_clearance_m="nan"), "finite number"),
        (csv_text(least_clearance_m="12 cm"), "finite number"),
        (csv_text(least_clearance_m="1e999"), "finite number"),
        (csv_text().replace("seed", "slot"), "stands twice"),
        (csv_text().rstrip() + ",1\n", "another number of columns"),
        (csv_text().replace("cup", '"cup'), "not a CSV file"),
    ],
)
def test_a_csv_that_cannot_be_trusted_is_refused_with_its_place(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(DataRefused, match=match) as caught:
        read(tmp_path, "csv", text)
    assert "t.csv" in str(caught.value.where)


def test_figures_rows_and_reasons_are_read_from_csv(tmp_path: Path) -> None:
    text = csv_text(least_clearance_m="0.25", row="3", excluded="camera", log="a" * 64, largest_force_n="")
    (entry,) = read(tmp_path, "csv", "\ufeff" + text).entries
    assert (entry.metrics, entry.row, entry.excluded, entry.log) == ({"least_clearance_m": 0.25}, 3, "camera", "a" * 64)
    (plain,) = read(tmp_path, "csv", csv_text().replace(",seed", "").replace(",4", "")).entries
    assert (plain.seed, plain.row) == (None, 0)
    bare = csv_text().replace("slot,", "").replace(f"{SLOT},", "")
    assert read(tmp_path, "csv", bare, slot="bench/ur5/right").entries[0].slot == "bench/ur5/right"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"success": 1}, "success is a bool"),
        ({"success": "yes"}, "success is a bool"),
        ({"violations": True}, "violations is a int"),
        ({"violations": -1}, "whole number"),
        ({"violations": 2**60}, "whole number"),
        ({"seed": 1.5}, "seed is a int"),
        ({"started": "yesterday"}, "not a time"),
        ({"sucess": True}, "unknown key"),
        ({"metrics": {"least_clearance_m": "0.3"}}, "a figure is a number"),
        ({"metrics": {"least_clearance_m": True}}, "a figure is a number"),
        ({"metrics": {"least_clearance_m": None}}, "valid number"),
        ({"metrics": []}, "valid dictionary|mapping"),
    ],
)
def test_json_of_another_type_is_refused(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(DataRefused, match=match):
        read(tmp_path, "json", json.dumps(json_tree(**changes)))


def test_json_says_one_thing(tmp_path: Path) -> None:
    good = json.dumps(json_tree(metrics={"least_clearance_m": 0.5}))
    for bad in (
        good.replace('"success": true', '"success": false, "success": true'),
        good.replace("0.5", "NaN"),
        good.replace("0.5", "1e999"),
        good.replace("[{", "[7, {"),
        json.dumps({**json_tree(), "trials": []}),
        json.dumps({**json_tree(), "origin": "imaginary"}),
        json.dumps({**json_tree(), "schema": "worldgate/trial-file/2"}),
    ):
        with pytest.raises(DataRefused):
            read(tmp_path, "json", bad)
    (entry,) = read(tmp_path, "json", good).entries
    assert entry.metrics == {"least_clearance_m": 0.5}
    (free,) = read(tmp_path, "json", json.dumps(json_tree(seed=None))).entries
    assert free.seed is None


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldgate.evidence.trial_formats._json.MOST_BYTES", 10)
    with pytest.raises(DataRefused, match="too large"):
        read(tmp_path, "json")


def log_text(**changes: Any) -> str:
    return json.dumps(eval_log(**changes))


def test_an_epoch_that_broke_off_is_excluded_and_no_envelope_is_made_up(tmp_path: Path) -> None:
    first, second = read(tmp_path, "inspect_robots", slot=SLOT).entries
    assert (second.success, second.excluded) == (False, "broke off: PolicyError: gripper lost")
    assert first.violations is None and first.seed is None and first.metrics == {}


def test_the_verdict_is_a_persons_where_one_was_given(tmp_path: Path) -> None:
    def said(**changes: Any) -> tuple[bool, str]:
        scores = {"epochs": [{"success_at_end": 1.0, "operator": 0.0}]}
        entry = read(tmp_path, "inspect_robots", log_text(**{**scores, **changes})).entries[0]
        return entry.success, entry.excluded

    assert said(operator_judgements=["no"]) == (False, "")
    assert said(operator_judgements=[None]) == (True, ""), "nobody judged, so the site's own measure stands"
    assert said(operator_judgements=[]) == (True, "")
    assert said(operator_judgements=["yes"], judgement_sources=["vlm"]) == (True, "")
    alone = [{"operator": 1.0}]
    assert said(epochs=alone, operator_judgements=["yes"]) == (True, "")
    assert said(epochs=alone, operator_judgements=[None]) == (False, "no person judged it")
    assert said(epochs=alone, operator_judgements=["yes"], judgement_sources=["vlm"]) == (False, "no person judged it")


@pytest.mark.parametrize(
    ("text", "match", "asked"),
    [
        (log_text(epochs=[{"distance": 0.1}]), "no score of success", {}),
        (log_text(epochs=[{"success_at_end": 0.5}]), "must be 1 or 0", {}),
        (log_text(epochs=[{"success_at_end": None}]), "must be 1 or 0", {}),
        (log_text(), "must be 1 or 0", {"score": "min_distance_to_goal"}),
        (log_text(), "no score of success", {"score": "grade"}),
        (log_text(epochs=[]), "without trials", {}),
        (json.dumps({**eval_log(), "status": "started"}), "not at its end", {}),
        (json.dumps({**eval_log(), "version": 2}), "not an EvalLog", {}),
        (json.dumps({**eval_log(), "more": 1}), "not an EvalLog", {}),
        (log_text(unit="mm"), "cannot be read", {}),
        (json.dumps({**eval_log(), "stats": {"started_at": "10:00"}}), "cannot be read", {}),
        (json.dumps({**eval_log(), "stats": None}), "cannot be read", {}),
        (json.dumps({**eval_log(), "samples": [3]}), "cannot be read", {}),
        (json.dumps({**eval_log(), "eval": "x"}), "cannot be read", {}),
    ],
)
def test_an_eval_log_that_says_too_little_is_refused(
    tmp_path: Path, text: str, match: str, asked: dict[str, str]
) -> None:
    with pytest.raises(DataRefused, match=match):
        read(tmp_path, "inspect_robots", text, **asked)


def test_an_eval_log_says_where_it_ran_if_its_embodiment_does(tmp_path: Path) -> None:
    assert read(tmp_path, "inspect_robots", log_text(simulated=True)).origin is Origin.SIMULATED
    assert read(tmp_path, "inspect_robots", log_text(simulated=None)).origin is None
    tree = eval_log()
    tree["eval"]["policy_checkpoint"] = "b" * 64
    assert read(tmp_path, "inspect_robots", json.dumps(tree)).checkpoint == "b" * 64


def test_every_card_says_what_it_reads() -> None:
    for card in seams.cards("trial_formats").values():
        assert card.line and card.inputs and card.source and not card.needs
