"""Prompts cut from recorded episodes: only rows that are there, without a gap, and as many as the model reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.evidence.test_prompting import EPISODES, FAST, SPEC, Lamp, lamp, read
from tests.evidence.worlds_to_judge import FRONT

from worldgate.core.errors import CapabilityMissing, UsageError
from worldgate.core.worlds import Capability
from worldgate.evidence.prompting import PromptsConfig, measure
from worldgate.evidence.prompts import Asked, cut, recorded
from worldgate.evidence.windows import Tracks, read_tracks
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

TRACKS = read_tracks(EPISODES[0], SPEC, read)


def holed(row: int) -> Tracks:
    good = TRACKS.good.copy()
    good[row] = False
    return replace(TRACKS, good=good)


def test_a_prompt_is_cut_from_rows_that_are_there() -> None:
    assert cut(TRACKS, SPEC, 2, Asked()).states["level"].shape == (3, 1)
    for row in (1, 36):
        with pytest.raises(UsageError, match="no prompt can be cut at this row"):
            cut(TRACKS, SPEC, row, Asked())
    with pytest.raises(UsageError, match="has a gap"):
        cut(holed(4), SPEC, 5, Asked())
    assert cut(holed(4), SPEC, 7, Asked()).states["level"].shape == (3, 1)


def test_a_prompt_shows_no_more_than_is_read_and_no_picture_that_was_not_recorded() -> None:
    assert len(cut(TRACKS, SPEC, 5, Asked(rows=2)).frames[FRONT]) == 2
    with pytest.raises(UsageError, match="more known rows than the model's context"):
        cut(TRACKS, SPEC, 5, Asked(rows=4))
    assert cut(TRACKS, SPEC, 30, Asked(ahead=(5,))).ahead_steps == (5,)
    for step in (0, 6):
        with pytest.raises(UsageError, match="so far ahead"):
            cut(TRACKS, SPEC, 30, Asked(ahead=(step,)))


def test_recorded_actions_are_as_many_as_the_steps_and_finite() -> None:
    assert recorded(TRACKS, 30, 6).shape == (6, 1)
    for row, steps in ((30, 7), (30, 0)):
        with pytest.raises(UsageError, match="fewer recorded actions"):
            recorded(TRACKS, row, steps)
    assert TRACKS.actions is not None
    broken = TRACKS.actions.copy()
    broken[32] = np.nan
    with pytest.raises(UsageError, match="fewer recorded actions"):
        recorded(replace(TRACKS, actions=broken), 30, 6)
    with pytest.raises(CapabilityMissing, match="without actions"):
        recorded(replace(TRACKS, actions=None), 30, 6)


# ---- what prompts are worth, where something is missing -------------------------------------------------------------


def test_without_a_window_in_another_episode_no_prompt_is_wrong() -> None:
    """Then what a prompt is worth beside a wrong one is not known, and nothing works."""
    short = lamp(1)
    rows = {n: replace(r, values=r.values[:8], index=r.index[:8], gap=r.gap[:8]) for n, r in short.streams.items()}
    rows = {
        n: replace(r, source_ns=r.source_ns[:8], skew_ns=r.skew_ns[:8], staleness_ns=r.staleness_ns[:8])
        for n, r in rows.items()
    }
    cropped = replace(short, streams=rows, times_ns=short.times_ns[:8])
    config = PromptsConfig(kinds=("image",), windows=1, samples=2, resamples=20)
    found = measure(Lamp(), [EPISODES[0], cropped], config, references=[lamp(50), lamp(51)], read_frames=read)
    assert found.rows
    for row in found.rows:
        assert row.over_null.value is not None
        assert row.over_wrong.value is None and not row.works


def test_a_model_of_pictures_alone_is_judged_by_them() -> None:
    model = Lamp(spec=replace(SPEC, states=()), capabilities=Lamp().capabilities - {Capability.STATE})
    found = measure(model, EPISODES[:3], replace(FAST, kinds=("text",)), read_frames=read)
    assert {row.stream for row in found.rows} == {FRONT}


def test_what_prompts_are_worth_is_kept_on_the_record(workspace: Workspace) -> None:
    config = PromptsConfig(kinds=("image",), windows=1, samples=2, resamples=20)
    found = measure(Lamp(), EPISODES[:2], config, read_frames=read)
    model = Ref("world_model", found.subject)
    ref = found.keep(workspace, model)
    assert type(found).from_json(workspace.get_json(ref.digest), where="p") == found
    event = next(e for e in workspace.ledger.events() if e.outputs == (ref,))
    assert event.inputs == (model,)
    assert (event.body["subject"], event.body["episodes"]) == (found.subject, 2)
