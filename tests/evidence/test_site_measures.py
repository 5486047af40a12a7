"""From a world model to the document that gates read: what each measure adds to it, and what a bad model changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tests.evidence import worlds_to_judge as small
from tests.evidence.worlds_to_judge import ACTION, FORCE, FRONT, STATE, Model, episode, spec, with_facts

from worldgate.core.digest import canonical
from worldgate.core.errors import UsageError
from worldgate.core.evidence import Status
from worldgate.core.seams import load
from worldgate.evidence import site_report
from worldgate.evidence.evaluation import EvaluateConfig, evaluate
from worldgate.evidence.evaluation.sums import Table
from worldgate.evidence.gate_evidence import GateEvidence
from worldgate.evidence.layout import Layout, Scanner
from worldgate.evidence.site_report import GATED, SiteReport

HELD = [episode(i) for i in range(100, 116)]
TRAIN = [episode(i) for i in range(10)]
MEASURES = (
    "action_following", "counterfactual", "contact", "plausibility", "coverage", "optimism", "envelope", "determinism",
)  # fmt: skip


def measured(model: Model, *measures: str, **changes: object) -> SiteReport:
    fields = {
        "horizons": (1, 5, 10), "windows": 3, "samples": 4, "resamples": 50, "measures": measures or MEASURES,
        "force_limit_n": 1.0, **changes,
    }  # fmt: skip
    table = Table()
    found = evaluate(
        model, HELD, EvaluateConfig(**fields), references=TRAIN, read_frames=small.read_frames, sums=table  # type: ignore[arg-type]
    )  # fmt: skip
    return SiteReport.from_json(site_report.of(found, table, HELD, TRAIN).to_json())


def status(report: SiteReport, check: str, signal: str) -> Status:
    module = load("gates", check)
    given = GateEvidence(subject=report.subject, sites=("bench",), now_ns=0, measured=report)
    found = {r.signal: r.status for r in module.check(module.Config(), given)}
    return found[signal]


@pytest.fixture(scope="module")
def good() -> SiteReport:
    return measured(Model(spec=spec(force=True), noise=0.002, claims=0.005))


def test_every_gated_figure_that_a_model_can_have_is_in_the_document_by_episode(good: SiteReport) -> None:
    found = {r.figure for e in good.episodes for r in e.rows}
    ends = {end for end in GATED if any(f.endswith(end) for f in found)}
    assert set(GATED) - ends == {"/clearance_crossings", "/occupied_iou", "/free_iou", "/path_error"}
    assert {"violations/limits", "same_seed"} <= found
    assert {e.site for e in good.episodes} == {"bench"}
    assert len(good.episodes) == 16 and len(good.calibration) == 10
    assert {r.contender for e in good.episodes for r in e.rows} == {"model", "real"}
    counts = [r for e in good.episodes for r in e.rows if r.figure.endswith(("onset_f1", "_crossings", "same_seed"))]
    assert all(v == int(v) for r in counts for v in r.sums if v is not None), "what is counted stays whole"


def test_a_good_model_follows_and_stands_still_and_a_deaf_or_restless_one_does_not(good: SiteReport) -> None:
    assert status(good, "action_following", "states") is Status.PASS
    assert status(good, "action_following", f"{STATE} standing still") is Status.PASS
    deaf = measured(Model(spec=spec(), gain=0.0), "action_following")
    assert status(deaf, "action_following", "states") is Status.FAIL
    restless = measured(Model(spec=spec(), noise=0.2), "action_following", samples=1)
    assert status(restless, "action_following", f"{STATE} standing still") is Status.FAIL


def test_what_stands_still_is_no_force(good: SiteReport) -> None:
    assert set(good.figures("/still_motion", step=0)) == {f"{STATE}/still_motion"}


def test_a_model_that_feels_nothing_misses_the_crossings(good: SiteReport) -> None:
    assert status(good, "missed_violations", f"{FORCE}/force_crossings") is not Status.FAIL
    numb = measured(Model(spec=spec(force=True), gain=0.0), "envelope")
    missed = []
    for found in (good, numb):
        held = [e.get(f"{FORCE}/force_crossings", 0, "model") for e in found.episodes]
        missed.append(sum(s[2] for s in held if s is not None and s[2] is not None))
    assert missed[0] == 0 < 5 <= missed[1]
    broken = measured(Model(spec=spec(), broken=True), "envelope", clearance_limit_m=0.2, force_limit_n=0.0)
    assert status(broken, "missed_violations", f"{STATE}/clearance_crossings") is Status.FAIL


def test_clearance_is_held_against_the_real_one() -> None:
    near = measured(Model(spec=spec()), "envelope", clearance_limit_m=0.7, force_limit_n=0.0)
    held = [e.get(f"{STATE}/clearance_crossings", 0, "model") for e in near.episodes]
    total = np.sum([s for s in held if s is not None], axis=0)
    assert total.sum() == 3 * 16
    assert total[0] > 0, "the hand comes within 0.7 m in some"


def test_an_optimist_that_gives_no_numbers_is_no_optimist() -> None:
    broken = measured(Model(spec=spec(), broken=True), "optimism", "plausibility")
    assert status(broken, "optimism", f"{STATE} optimism") is Status.FAIL
    assert status(broken, "plausibility", "limits") is Status.FAIL
    assert broken.nonfinite == 48


def test_a_model_that_does_not_repeat_fails() -> None:
    forgets = measured(Model(spec=spec(), noise=0.01, forgets_seed=True), "determinism")
    assert status(forgets, "determinism", "") is Status.FAIL


def test_an_imagined_room_is_held_against_the_layout(tmp_path: Path) -> None:
    scanner = Scanner(stream=STATE, x=0.0, y=0.0, first_rad=0.0, last_rad=1.5, reach_m=1.0)
    room = Layout(site="bench", cell_m=0.1, x=0.0, y=0.0, rows=("#####", "#...#", "....#"), scanner=scanner)
    path = tmp_path / "room.json"
    path.write_bytes(canonical(room.to_json()))
    found = measured(Model(spec=spec()), "layout", layout=str(path))
    assert found.figures("/free_iou", step=10) == [f"{STATE}/free_iou"]
    assert "needs" not in found.not_measured
    other = dataclasses.replace(room, scanner=dataclasses.replace(scanner, stream="scan"))
    path.write_bytes(canonical(other.to_json()))
    assert "does not predict scan" in measured(Model(spec=spec()), "layout", layout=str(path)).not_measured["layout"]


def test_a_model_of_pictures_alone_has_no_standing_still() -> None:
    seen = measured(Model(spec=spec(states=False, cameras=(FRONT,))), "action_following")
    assert seen.figures("/still_motion", step=0) == []
    assert seen.figures("/action_gain", step=10) == [f"{FRONT}/action_gain"]
    assert seen.cameras == (FRONT,)
    assert status(seen, "action_following", "") is Status.INCONCLUSIVE


def test_features_are_whole_and_tell_a_site_that_moves_otherwise() -> None:
    names, rows = site_report.features(spec(), HELD, TRAIN)
    assert len(names) == 3 * (9 + 2)
    assert names[-1] == f"{ACTION}[1]/change"
    assert all(isinstance(v, int) and abs(v) <= 6 * 1024 for row in rows for v in row)
    assert site_report.features(spec(), HELD, ())[1][: len(HELD)] != rows[: len(HELD)]
    states = HELD[0].array(STATE)
    lost = dataclasses.replace(
        HELD[0],
        streams={**HELD[0].streams, STATE: small.rows(STATE, HELD[0].streams[STATE].info.kind, states * np.nan)},
    )
    _, told = site_report.features(spec(), [lost], TRAIN)
    assert told[0][0] == 6 * 1024, "an episode that measured nothing is far from all others"


def test_sites_come_from_the_logs_and_other_episodes_are_refused() -> None:
    table = Table()
    nameless = [dataclasses.replace(h, facts={}) for h in HELD[:2]]
    config = EvaluateConfig(horizons=(1,), windows=1, samples=1, measures=("determinism",))
    found = evaluate(Model(spec=spec()), nameless, config, read_frames=small.read_frames, sums=table)
    report = site_report.of(found, table, nameless, site="harbour")
    assert {e.site for e in report.episodes} == {"harbour"}
    assert report.calibration == ()
    with pytest.raises(UsageError, match="other episodes"):
        site_report.of(found, table, HELD[:1])
    assert site_report.site_of(with_facts(HELD[0], site="kitchen"), "harbour") == "kitchen"
