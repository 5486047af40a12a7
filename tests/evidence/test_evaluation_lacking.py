"""What episodes or a model lack is said with its reason, or left out of a figure; nothing is made up for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.evidence.test_evaluation import HELD, TRAIN, only, row, value
from tests.evidence.worlds_to_judge import (
    CLASSES,
    FORCE,
    FRONT,
    NAMES,
    STATE,
    TOP,
    Model,
    episode,
    read_frames,
    rows,
    spec,
    tiny_weights,
)  # fmt: skip

from worldgate.core.episodes import Episode
from worldgate.core.errors import UsageError
from worldgate.core.streams import Array, FloatArray, Kind
from worldgate.core.worlds import Capability, Frame, Prompt, Signal, Unrolling
from worldgate.evidence.evaluation import EvaluateConfig, Evaluation, evaluate
from worldgate.evidence.evaluation.embedding import Embedding
from worldgate.evidence.evaluation.keeping import EVALUATED
from worldgate.evidence.evaluation.keeping import measure as measure_and_keep
from worldgate.evidence.evaluation.measures import NotMeasured
from worldgate.evidence.evaluation.pointwise import units_of
from worldgate.evidence.evaluation.readouts import fit_components, fit_readout
from worldgate.evidence.evaluation.references import References, Scale
from worldgate.evidence.evaluation.report import Row
from worldgate.evidence.evaluation.summary import lines, tell, text
from worldgate.evidence.evaluation.sums import Estimate, advantage, estimate
from worldgate.evidence.evaluation.truth import Truth
from worldgate.evidence.windows import circular
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SEEN = spec(states=False, cameras=(FRONT,))
"""Of a model that is shown pictures alone."""


def without(episodes: Sequence[Episode], *streams: str) -> list[Episode]:
    return [replace(e, streams={n: r for n, r in e.streams.items() if n not in streams}) for e in episodes]


def gaps(held: Episode, *, every: bool = True) -> Episode:
    """An episode whose states alignment could not fill, from the first row or in the middle."""
    state = held.streams[STATE]
    gap = np.ones(len(held), np.bool_)
    if not every:
        gap[:] = False
        gap[20:24] = True
    return replace(held, streams={**held.streams, STATE: replace(state, gap=gap)})


def told(
    model: Model, held: Sequence[Episode], config: EvaluateConfig, references: Sequence[Episode] = TRAIN
) -> Evaluation:
    return evaluate(model, held, config, references=references, read_frames=read_frames)


def refused(found: Evaluation) -> dict[str, str]:
    return dict(found.facts.not_measured)


# ---- what the episodes lack -----------------------------------------------------------------------------------------


def test_without_the_objects_place_nothing_is_said_of_it() -> None:
    held, train = (without(part, STATE, FORCE) for part in (HELD[:3], TRAIN[:4]))
    found = told(Model(spec=SEEN), held, only("object_pose", "plausibility", "optimism", "contact", "video_mse"), train)
    why = refused(found)
    assert why["object_pose"] == "no stream of the episodes holds object.x and object.y"
    assert why["plausibility"] == "the model gives neither states nor pictures of an object whose place is known"
    assert "object and goal" in why["optimism"]
    assert "force in three directions" in why["contact"]


def test_training_episodes_that_do_not_know_the_object_fit_no_read_out() -> None:
    found = told(Model(spec=SEEN), HELD[:3], only("object_pose", "plausibility"), without(TRAIN[:4], STATE))
    assert refused(found)["object_pose"] == "no stream holds object.x and object.y"
    assert "neither states nor pictures" in refused(found)["plausibility"]


def test_a_model_that_tells_neither_place_nor_pictures_is_not_asked_for_them() -> None:
    found = told(Model(spec=spec(states=False, force=True)), HELD[:3], only("object_pose", "plausibility"), TRAIN[:4])
    assert refused(found)["object_pose"] == "the model predicts neither object.x and object.y nor pictures"
    assert {r.figure for r in found.rows} == {"violations/limits", "violations/teleport"}, "no geometry, no pictures"


def test_without_training_episodes_pictures_tell_no_place() -> None:
    found = told(Model(spec=SEEN), HELD[:3], only("object_pose"), ())
    assert "needs training episodes" in refused(found)["object_pose"]


def test_an_episode_that_lacks_what_the_first_one_has_is_left_out_of_its_figures() -> None:
    bare = [replace(e, id=e.id[::-1]) for e in without(HELD[1:2], FORCE)]
    blind = rows(STATE, Kind.VECTOR, np.asarray(HELD[2].array(STATE)), "m", NAMES)
    blind = replace(blind, info=replace(blind.info, names=()))
    nameless = replace(HELD[2], streams={**HELD[2].streams, STATE: blind})
    model = Model(spec=spec(cameras=(FRONT,)))
    found = told(model, [HELD[0], *bare, nameless], only("contact", "object_pose"), TRAIN[:6])
    for figure, left in ((f"{FRONT}/contact_f1", 2), (f"{STATE}/object_error", 2)):
        assert row(found, figure, 5).values["model"].episodes == left, figure


def test_contact_that_never_changes_in_training_cannot_be_read_out() -> None:
    still = [
        replace(e, streams={**e.streams, FORCE: rows(FORCE, Kind.VECTOR, np.zeros((len(e), 3)), "N", ("x", "y", "z"))})
        for e in TRAIN[:4]
    ]
    found = told(
        Model(spec=spec(cameras=(FRONT,))), HELD[:2], only("contact"), [*still[:2], *without(still[2:], FORCE)]
    )
    assert refused(found)["contact"] == "the training episodes do not show both contact and none"


def test_episodes_full_of_gaps_teach_nothing_and_their_windows_are_counted_as_left_out() -> None:
    held = [gaps(e, every=False) for e in HELD[:3]]
    found = told(Model(), held, only("action_following", windows=8), [*TRAIN[:4], gaps(TRAIN[4])])
    assert value(found, "states/action_r2", 5, "real") > 0.5
    assert found.facts.skipped > 0
    assert f"{found.facts.skipped} windows left out" in "\n".join(text(found))


def test_short_training_episodes_lend_no_actions_and_leave_the_number_of_futures_alone() -> None:
    short = [episode(i, length=8) for i in range(4)]
    found = told(Model(noise=0.01), HELD[:2], only("energy"), short)
    assert found.facts.samples == 6
    assert "other" not in row(found, f"{STATE}/energy", 5).values
    shorter = [episode(i, length=5) for i in range(4)]
    assert told(Model(), HELD[:2], only("energy"), shorter).facts.samples == 6, "nobody knows whether futures differ"


def test_a_training_episode_lends_no_actions_to_itself() -> None:
    from worldgate.evidence.evaluation.donors import Donors

    references = References(TRAIN[:1], spec(), read_frames, 1)
    scales = {STATE: references.scale(STATE, "m")}
    assert Donors(references, scales, 10).pick(references.tracks[0], 20) is None
    other = References(HELD[:1], spec(), read_frames, 1).tracks[0]
    assert Donors(references, scales, 10).pick(other, 20) is not None


def test_what_real_pictures_do_not_show_cannot_be_inconsistent_or_vanish() -> None:
    held = [episode(i, hidden=True) for i in range(100, 103)]
    for e in held:  # from the first row on
        np.asarray(e.array(FRONT))[:] = 120
    model = Model(spec=spec(cameras=(FRONT, TOP)))
    found = told(model, held, only("consistency", "plausibility"), TRAIN)
    assert found.row(f"{STATE}+{FRONT}/consistency", 5) is None
    assert row(found, f"{STATE}+{TOP}/consistency", 5).values["model"].episodes == 3
    assert found.row("violations/vanishing") is not None, "the other camera still sees it"


def test_a_window_that_begins_in_success_tells_nothing_of_optimism() -> None:
    states = np.array(HELD[0].array(STATE))
    states[:, 5:7] = states[:, 3:5]  # the goal follows the object
    done = replace(HELD[0], streams={**HELD[0].streams, STATE: rows(STATE, Kind.VECTOR, states, "m", NAMES)})
    found = told(Model(), [done, HELD[1]], only("optimism"))
    assert row(found, f"{STATE}/optimism").values["model"].episodes == 1


def test_truth_that_was_not_recorded_is_none() -> None:
    bare = Truth(*without(HELD[:1], STATE, FORCE, CLASSES))
    assert bare.named("object.x", "object.y") is None
    assert bare.segmented is bare.visible is bare.hidden is bare.person_xy is None
    assert bare.clock_error_s is None
    for facts, drifts in (
        ('{"attributes": {"clock_drift_ppm": 0}}', False),
        ('{"attributes": {"clock_offset_ms": 3}}', True),
    ):
        known = Truth(replace(HELD[0], facts={"scenario": facts}))
        assert (known.clock_error_s is not None) == drifts


# ---- what the model lacks -------------------------------------------------------------------------------------------


def test_measures_of_states_and_of_colour_say_that_there_are_none(tmp_path: Path) -> None:
    seen = refused(told(Model(spec=SEEN), HELD[:2], only("crps", "coverage", "video_lpips"), TRAIN[:3]))
    assert seen["crps"] == seen["coverage"] == "the model gives no states"
    assert "weights" in seen["video_lpips"]
    save_file(tiny_weights(), tmp_path / "w.safetensors")
    wanted = ("video_moving", "video_moving_psnr", "video_lpips")
    numbers = refused(told(Model(), HELD[:2], only(*wanted, weights=str(tmp_path / "w.safetensors")), TRAIN[:3]))
    assert set(numbers) == set(wanted)
    assert set(numbers.values()) == {"the model gives no colour pictures"}


def test_a_model_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="neither states nor frames"):
        evaluate(Model(spec=spec(states=False)), HELD[:1])


@dataclass
class Single(Model):
    """Gives one future, and refuses to be asked for more."""

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> Unrolling:
        if samples > 1:
            raise UsageError("this model gives one future", got=samples)
        return super().open(prompt, samples=samples, seed=seed)


def test_a_model_that_gives_one_future_is_asked_for_one() -> None:
    assert told(Single(noise=0.01), HELD[:2], only("energy"), TRAIN[:3]).facts.samples == 1


@dataclass
class Passive(Model):
    """Takes no actions: everything stays where it was."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.STATE})

    def open(self, prompt: Prompt, *, samples: int = 1, seed: int) -> Any:
        del seed
        return _Still(prompt.states[STATE][-1], samples)


@dataclass
class _Still:
    last: FloatArray
    samples: int

    def step(self, actions_BKA: FloatArray | None) -> Frame:
        steps = 4 if actions_BKA is None else actions_BKA.shape[1]
        return Frame(states={STATE: np.broadcast_to(self.last, (self.samples, steps, len(self.last))).copy()})


def test_a_model_without_actions_is_rolled_out_without_them() -> None:
    model = Passive(spec=spec(action=None))
    found = told(model, HELD[:2], only("energy", "determinism", "action_following"), TRAIN[:3])
    assert value(found, "same_seed") == 1.0
    assert value(found, f"{STATE}/energy", 5) == pytest.approx(value(found, f"{STATE}/energy", 5, "hold"))
    assert refused(found) == {"action_following": "the model takes no actions"}


def test_a_model_that_breaks_has_no_distance_of_distributions_and_copy_last_has() -> None:
    found = told(Model(broken=True), HELD[:3], only("energy_distance"), TRAIN[:3])
    values = row(found, f"{STATE}/energy_distance", 5).values
    assert "model" not in values and values["hold"].value is not None


class Clips:
    name, frames = "three", 3

    def __call__(self, clips_NKHWC: Array) -> FloatArray:
        return clips_NKHWC.reshape(len(clips_NKHWC), -1).astype(np.float64)[:, ::997]


def test_a_clip_ends_before_the_window_does() -> None:
    model = Model(spec=SEEN)
    one, two = (
        evaluate(model, HELD[:3], only("video_fvd", chunk=chunk), read_frames=read_frames, clip_features=Clips())
        for chunk in (2, 32)
    )
    assert row(one, f"{FRONT}/fvd").values == row(two, f"{FRONT}/fvd").values


def test_pictures_without_a_mask_of_the_object_tell_its_place_less_well() -> None:
    """Class ids are no colours, and colours without class ids name no object: both are read as whole pictures."""
    ids, colours = spec(states=False, cameras=(CLASSES,)), SEEN
    off = {
        name: value(told(Model(spec=seen), HELD[:3], only("object_pose"), train), f"{camera}/object_error", 1, "real")
        for name, seen, camera, train in (
            ("ids", ids, CLASSES, TRAIN),
            ("colours", colours, FRONT, without(TRAIN, CLASSES)),
            ("masked", colours, FRONT, TRAIN),
        )
    }
    assert max(off.values()) < 0.15
    assert off["masked"] < min(off["ids"], off["colours"]) / 2


# ---- parts ----------------------------------------------------------------------------------------------------------


def test_a_read_out_needs_rows_from_two_episodes() -> None:
    rows_TF, rows_TG = np.ones((40, 2)), np.ones((40, 1))
    for parts in ([rows_TF], [rows_TF[:10], rows_TF[:10]], [rows_TF, np.full((40, 2), np.nan)]):
        with pytest.raises(NotMeasured, match="at least 30 real rows"):
            fit_readout(parts, [rows_TG[: len(p)] for p in parts])


def test_components_of_pictures_need_a_row_without_a_gap() -> None:
    seen = spec(cameras=(FRONT,))
    with pytest.raises(NotMeasured, match="no row without a gap"):
        fit_components(References([gaps(TRAIN[0])], seen, read_frames, 1), FRONT)
    both, one = (References(e, seen, read_frames, 2) for e in ([TRAIN[0], gaps(TRAIN[1])], [TRAIN[0]]))
    assert np.allclose(fit_components(both, FRONT).mean_P, fit_components(one, FRONT).mean_P), "gaps teach nothing"


def test_an_angle_enters_an_embedding_as_a_point_on_the_circle() -> None:
    turning = np.array([False, True])
    scale = Scale(std=np.array([2.0, 1.0]), moves=np.array([True, True]), circular=turning)
    embedding = Embedding(label="states", scales={STATE: scale})
    near, far = embedding.rows({STATE: np.array([[1.0, -np.pi + 0.01], [1.0, np.pi - 0.01]])}, {})
    np.testing.assert_allclose(near, [0.5, 0.0, np.sin(-np.pi + 0.01), np.cos(-np.pi + 0.01)])
    assert np.abs(near - far).max() < 0.03, "both sides of the turn are the same place"


def test_units_that_do_not_fit_the_channels_are_one_unit() -> None:
    assert units_of(Signal(name="s", unit="m,rad"), "", 2) == {"m": (0,), "rad": (1,)}
    assert units_of(Signal(name="s", unit="m,rad"), "", 3) == {"m,rad": (0, 1, 2)}


def test_one_row_tells_no_turn() -> None:
    turns = np.array([[3.1], [-3.1], [3.1]])
    assert circular([turns[:1], turns], "rad") == (True,)
    assert circular([turns[:1]], "rad") == (False,)


def test_no_episodes_give_no_estimate_and_no_advantage() -> None:
    common: dict[str, Any] = {"level": 0.05, "resamples": 10, "seed": 0}
    nothing = Estimate(value=None)
    assert estimate({}, "mean", **common) == nothing
    one, other = {0: np.ones(2)}, {1: np.ones(2)}
    assert advantage(one, other, "mean", relative=True, **common) == nothing, "no episode that both measured"
    assert tell(None) == tell(nothing) == "-"


@pytest.mark.parametrize(
    ("interval", "meets"), [((0.8, 0.95), True), ((0.5, 0.8), False), ((None, None), None), (None, None)]
)
def test_a_target_is_met_where_the_interval_holds_it(
    interval: tuple[float | None, float | None] | None, meets: bool | None
) -> None:
    values = {} if interval is None else {"model": Estimate(value=0.85, lower=interval[0], upper=interval[1])}
    held = Row(figure="s/coverage_90", step=1, situation="", unit="1", better="target", values=values, target=0.9)
    assert held.meets_target is meets


def test_the_summary_names_what_it_is_beaten_in_and_the_p_of_a_distance() -> None:
    bad = told(Model(gain=-3.0), HELD, only("energy", "mmd"), TRAIN[:4])
    words = "\n".join(text(bad))
    assert "is beaten in 1" in words and f"beaten in: {STATE}/energy" in words
    assert any(", p 0." in line.model for line in lines(bad)), [line.model for line in lines(bad)]


def test_an_evaluation_is_kept_with_its_evidence(workspace: Workspace) -> None:
    dataset = Ref("dataset", "d" * 64)
    config = EvaluateConfig(horizons=(5,), windows=2, samples=2, resamples=50, measures=("energy",))
    found, kept, evidence = measure_and_keep(
        workspace, Model(), HELD[:2], config, references=TRAIN[:2], dataset=dataset, inputs=(dataset,)
    )
    assert Evaluation.from_json(workspace.get_json(kept.digest)) == found
    (event,) = workspace.ledger.events(EVALUATED)
    assert event.outputs == (kept,) and event.inputs == (dataset,)
    assert event.body["subject"] == found.subject and event.body["episodes"] == 2
    assert workspace.get_json(evidence.digest)["schema"] == "worldgate/site-gap/1"
