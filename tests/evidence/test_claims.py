"""Safety cases: what a tree must look like, what each question answers, and that nothing claims more than it shows."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.evidence import conftest as fake_things
from tests.evidence import promotions
from tests.evidence import stories as st

from worldgate.core.errors import ConfigError, NotFound
from worldgate.core.streams import Origin
from worldgate.core.times import format_ns
from worldgate.evidence import claim_field, claim_levels, claim_status, claims, policy, scenarios
from worldgate.evidence.claim_field import KINDS, read_query
from worldgate.evidence.claim_queries import Answer, CheckPassed, Standing, _stage, _within
from worldgate.evidence.claim_svg import draw
from worldgate.evidence.coverage_bins import Bins
from worldgate.evidence.decide import DAY_NS, Scope, decide
from worldgate.evidence.observed import observed
from worldgate.fleet.incidents import CLOSED
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

LATER = st.NOW + 2 * st.DAY


def tree(**changes: Any) -> dict[str, Any]:
    """The smallest case."""
    base: dict[str, Any] = {
        "schema": claims.SCHEMA,
        "title": "Case",
        "goal": {"G1": {"text": "It holds", "supported_by": ["E1"]}},
        "solution": {"E1": {"text": "The record", "query": {"kind": "record", "fresh_days": 1}}},
    }
    return {**base, **changes}


def goal(*supports: str, **more: Any) -> dict[str, Any]:
    return {"text": "It holds", "supported_by": list(supports), **more}


# ---- form -----------------------------------------------------------------------------------------------------------


def test_the_smallest_case_is_read() -> None:
    case = claims.read(tree(), where="x.toml")
    assert (case.root, list(case.elements)) == ("G1", ["G1", "E1"])


SHORT = tree()["solution"]["E1"]


@pytest.mark.parametrize(
    ("changes", "what", "where", "hint"),
    [
        ({"schema": "worldgate/claims/9"}, "not a tree of claims", "x.toml:schema", None),
        ({"goals": {}}, "unknown key", "x.toml:goals", "did you mean goal"),
        ({"goal": {"G1": goal("E1", levels="L1")}}, "unknown key", "goal.G1.levels", "did you mean level"),
        ({"goal": {"1": goal("E1")}}, "not a usable id", "goal.1", None),
        ({"goal": {"E1": goal("E1")}}, "this id is a goal already", "solution.E1", None),
        ({"goal": {"G1": {**goal("E1"), "text": " "}}}, "says nothing", "goal.G1.text", None),
        ({"goal": {"G1": goal("E1", level="L8")}}, "no such evidence level", "goal.G1.level", "L7"),
        ({"goal": {"G1": goal("E11")}}, "no such element", "goal.G1.supported_by", "did you mean E1"),
        ({"goal": {"G1": goal("Z")}}, "no such element", "goal.G1.supported_by", "one of G1, E1"),
        ({"goal": {"G1": goal("E1", "E1")}}, "an id stands twice", "goal.G1.supported_by", None),
        (
            {"goal": {"G1": goal("E1", in_context_of=["E1"])}},
            "a solution cannot stand here",
            "in_context_of",
            "context",
        ),
        ({"strategy": {"S1": goal("E1")}, "goal": {"G1": goal("S1")}}, "cannot stand here", "strategy.S1", "a goal"),
        ({"goal": {"G1": {"text": "x"}}}, "a goal without support", "goal.G1.supported_by", "undeveloped = true"),
        ({"goal": {"G1": goal("E1", undeveloped=True)}}, "undeveloped, and yet supported", "goal.G1", None),
        ({"goal": {"G1": goal("E1"), "G2": goal("E1")}}, "one goal at the top", "x.toml:goal", None),
        ({"goal": {"G1": goal("G1")}}, "goes in a circle", "goal.G1", None),
        ({"goal": {"G1": goal("G2"), "G2": goal("G3"), "G3": goal("G2", "E1")}}, "circle", "goal.G2", None),
        ({"solution": {"E1": SHORT, "E2": SHORT}}, "nothing leads to this element", "solution.E2", None),
        ({"context": {"C1": {"text": "x"}}}, "nothing leads to this element", "context.C1", None),
        ({"solution": {"E1": {"text": "x"}}}, "field required", "solution.E1.query", None),
    ],
)
def test_a_tree_without_form_is_refused_with_its_place(
    changes: dict[str, Any], what: str, where: str, hint: str | None
) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        claims.read(tree(**changes), where="x.toml")
    assert where in str(caught.value.where)
    assert hint is None or hint in str(caught.value.hint)


def test_a_diamond_chain_of_sixty_goals_is_read_at_once() -> None:
    """Every path through it would be 2^30."""
    goals = {}
    for i in range(30):
        goals[f"A{i}"] = goal(f"B{i}", f"C{i}")
        after = f"A{i + 1}" if i < 29 else "E1"
        goals[f"B{i}"], goals[f"C{i}"] = goal(after), goal(after)
    case = claims.read(tree(goal=goals), where="x.toml")
    assert len(case.elements) == 91


@pytest.mark.parametrize(
    ("query", "what", "where", "hint"),
    [
        ({"kind": "recrod", "fresh_days": 1}, "no such question", "q.kind", "did you mean record"),
        ({"kind": 7, "fresh_days": 1}, "no such question", "q.kind", "one of decision"),
        ({"kind": "record", "fresh_days": 1, "witnes": "x"}, "unknown key", "q:witnes", "did you mean witness"),
        ({"kind": "record", "fresh_days": 0}, "a day old", "q.fresh_days", None),
        ({"kind": "record"}, "field required", "fresh_days", None),
        ({"kind": "record", "fresh_days": 1, "witness": "$witness"}, "placeholder", "q.witness", "say --witness"),
        ({"kind": "record", "fresh_days": 1, "witness": "$w"}, "placeholder", "q.witness", "one of $witness"),
    ],
)
def test_a_question_that_cannot_be_read_is_refused(query: dict[str, Any], what: str, where: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        read_query(query, {"witness": ""}, where="q")
    assert where in str(caught.value.where)
    assert hint is None or hint in str(caught.value.hint)


def test_the_shipped_tree_is_read_and_others_are_not_found(tmp_path: Path) -> None:
    assert claims.shipped() == ["cell"]
    assert claims.load("cell").root == "G1"
    file = tmp_path / "own.toml"
    file.write_text('schema = "worldgate/claims/1"\ntitle = "x"\n[goal.G1]\ntext = "x"\nundeveloped = true\n')
    assert claims.load(file).elements["G1"].undeveloped
    with pytest.raises(NotFound, match="no such tree"):
        claims.load("kitchen")


# ---- questions ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> st.Story:
    ws = Workspace.init(tmp_path_factory.mktemp("claims") / "ws", person=st.RELEASER)
    told = st.promote(ws, fake_things)
    st.recorded(ws, told.release, st.NOW + 5 * st.HOUR, 8)
    st.recorded(ws, told.release, st.NOW + 9 * st.HOUR, 8)
    return told


def ask(ws: Workspace, now_ns: int = LATER, **query: Any) -> Answer:
    config = read_query({"fresh_days": 30, **query}, {}, where="q")
    return config.aged(KINDS[config.kind][1](ws, config, now_ns), now_ns)


IN_FORCE = {"kind": "decision", "release": "r1", "slot": st.SLOT}


def test_a_decision_in_force_is_fresh_with_its_digests(story: st.Story) -> None:
    found = ask(story.ws, **IN_FORCE)
    assert (found.standing, found.level, found.population) == (Standing.FRESH, "L6", "real")
    assert story.decision.ref.digest in found.evidence
    assert "approved by bea" in found.reason


@pytest.mark.parametrize(
    ("changes", "now", "standing", "reason"),
    [
        ({}, st.NOW + 60 * st.DAY, "failed", "too few persons"),
        ({}, st.NOW + 200 * st.DAY, "stale", "ran out"),
        ({}, st.NOW, "stale", "holds from"),
        ({"fresh_days": 1}, st.NOW + 5 * st.DAY, "stale", "4 days old, at most 1"),
        ({"slot": "bench/ur5/right"}, LATER, "undeveloped", "no promotion decision"),
        ({"release": "r9"}, LATER, "undeveloped", "no promotion decision about r9"),
    ],
)
def test_a_decision_that_is_not_in_force_says_why(
    story: st.Story, changes: dict[str, Any], now: int, standing: str, reason: str
) -> None:
    found = ask(story.ws, now, **{**IN_FORCE, **changes})
    assert found.standing == standing
    assert reason in found.reason


def test_a_decision_reaches_its_stage_and_the_smaller_ones() -> None:
    for held, wanted, good in (
        ("fleet", "site", True), ("site", "site", True), ("canary", "site", False), ("", "canary", False),
        ("", "", True),
    ):  # fmt: skip
        assert (not _stage({"scope": {"stage": held}}, wanted)) == good


def test_evidence_from_the_future_fails() -> None:
    config = read_query({"kind": "record", "fresh_days": 1}, {}, where="q")
    answer = Answer(standing=Standing.FRESH, reason="x", at_ns=LATER + 1)
    assert config.aged(answer, LATER).standing is Standing.FAILED
    assert config.aged(answer, LATER + 1) == answer


def test_a_rejection_fails(workspace: Workspace, fakes: ModuleType) -> None:
    st.promote(workspace, fakes, model=False, normaliser="another")
    found = ask(workspace, **IN_FORCE)
    assert (found.standing, found.reason) == (Standing.FAILED, "the newest gate said REJECT")


def test_another_population_counts_only_where_the_question_says_so(workspace: Workspace, fakes: ModuleType) -> None:
    release, suite = st.register_release(workspace, fakes), st.make_suite(workspace)
    rules = st.tried(workspace, release, suite, [True] * 70, policy="promotion-simulated", origin=Origin.SIMULATED)
    decide(workspace, rules, release, scope=Scope(slots=(st.SLOT,)), now_ns=st.NOW + st.HOUR)
    assert "another population" in ask(workspace, **IN_FORCE).reason
    said = ask(workspace, **IN_FORCE, population="simulated stands in for real")
    assert "too few persons" in said.reason
    assert said.population == "simulated stands in for real"


CHECK = {"kind": "check", "check": "success", "release": "r1", "place": st.SLOT}


@pytest.mark.parametrize(
    ("changes", "standing", "reason"),
    [
        ({}, "fresh", "success PASS"),
        ({"at_least": "0.80"}, "fresh", "success PASS"),
        ({"at_least": "0.99"}, "failed", "success PASS, bound 0.9"),
        ({"check": "violations", "at_most": "0.05"}, "fresh", "violations PASS"),
        ({"check": "violations", "at_most": "0.01"}, "failed", "violations PASS"),
        ({"check": "skill"}, "undeveloped", "without the check skill"),
        ({"release": "r9"}, "undeveloped", "no promotion decision"),
        ({"release": "", "model": "dynamics", "check": "horizon", "place": "bench"}, "fresh", "horizon"),
        ({"release": "", "model": "dynamics", "check": "horizon", "place": "bench", "signal": "x*"}, "undeveloped", ""),
    ],
)
def test_a_check_is_as_good_as_its_bound(story: st.Story, changes: dict[str, Any], standing: str, reason: str) -> None:
    found = ask(story.ws, **{**CHECK, **changes})
    assert found.standing == standing
    assert reason in found.reason


def test_a_check_without_a_bound_shows_no_bound_and_an_old_decision_is_stale(story: st.Story) -> None:
    assert ask(story.ws, **CHECK, at_most="1").standing is Standing.FRESH
    found = ask(story.ws, st.NOW + 200 * st.DAY, **CHECK)
    assert found.standing is Standing.STALE
    assert not claim_queries_within({"bound": ""}, at_least="0")


def claim_queries_within(result: dict[str, str], **bounds: str) -> bool:
    return _within(result, CheckPassed(kind="check", fresh_days=1, check="x", release="r", **bounds))


def test_a_question_names_a_release_or_a_model(story: st.Story) -> None:
    with pytest.raises(ConfigError, match="a release or a model"):
        ask(story.ws, **CHECK, model="dynamics")


ADMITTED = {"kind": "admission", "model": "dynamics", "site": "bench", "horizon_s": "0.5"}


@pytest.mark.parametrize(
    ("changes", "now", "standing", "reason"),
    [
        ({}, LATER, "fresh", "1 signals admitted"),
        ({"horizon_s": "100"}, LATER, "failed", "reaches"),
        ({"signal": "contact*"}, LATER, "failed", "none of these signals"),
        ({"site": "kitchen"}, LATER, "undeveloped", "no admission of dynamics at kitchen"),
        ({"model": "m9"}, LATER, "undeveloped", "no admission of m9"),
        ({}, st.NOW + 400 * st.DAY, "stale", "ran out"),
    ],
)
def test_an_admission_reaches_so_far_and_no_further(
    story: st.Story, changes: dict[str, Any], now: int, standing: str, reason: str
) -> None:
    found = ask(story.ws, now, **{**ADMITTED, **changes})
    assert found.standing == standing
    assert reason in found.reason


def test_a_model_that_was_not_admitted_fails(workspace: Workspace, fakes: ModuleType) -> None:
    st.admit(workspace, fakes, gain=0.0)
    assert ask(workspace, **ADMITTED).reason == "the newest gate said REJECT"


TRIALS = {"kind": "trials", "release": "r1", "at_least": 61}


@pytest.mark.parametrize(
    ("changes", "now", "standing", "reason"),
    [
        ({}, LATER, "fresh", "61 scenes in 61 trials"),
        ({"suite": "bench-holdout", "at_least": 60}, LATER, "fresh", "60 scenes"),
        ({"at_least": 62}, LATER, "failed", "at least 62"),
        ({"fresh_days": 1}, LATER, "stale", "0 scenes"),
        ({"slot": "kitchen/*"}, LATER, "undeveloped", "no real trial"),
        ({"suite": "none"}, LATER, "undeveloped", "no such suite: none"),
        ({"release": "r9"}, LATER, "undeveloped", "no such release: r9"),
    ],
)
def test_trials_are_counted_by_scene(
    story: st.Story, changes: dict[str, Any], now: int, standing: str, reason: str
) -> None:
    found = ask(story.ws, now, **{**TRIALS, **changes})
    assert found.standing == standing
    assert reason in found.reason


def test_repeats_of_a_scene_are_one_and_imagined_runs_reach_l3(workspace: Workspace, fakes: ModuleType) -> None:
    release = st.register_release(workspace, fakes)
    suite = st.make_suite(workspace, 5)
    ref = policy.register(workspace, policy.load("promotion"))
    made = promotions.plan(workspace, ref, release, held=suite, now_ns=st.NOW)
    for number in (1, 1, 2):
        promotions.run(workspace, made, [True], first=number, executor=Origin.IMAGINED, metrics={"x": float(number)})
    assert ask(workspace, **TRIALS).standing is Standing.UNDEVELOPED, "imagined runs are no real trials"
    found = ask(workspace, **{**TRIALS, "at_least": 2}, population="imagined")
    assert (found.standing, found.level, found.population) == (Standing.FRESH, "L3", "imagined")
    assert "2 scenes in" in found.reason


def test_open_loop_runs_are_counted_by_recording_and_reach_l3(workspace: Workspace, fakes: ModuleType) -> None:
    release = st.register_release(workspace, fakes)
    query = {"kind": "open_loop", "release": "r1", "at_least": 2}
    assert ask(workspace, **query).standing is Standing.UNDEVELOPED
    now = 0
    for log in ("a", "b", "b"):
        body = {"open_loop": log * 64, "release": release.digest, "scenario": "c" * 64, "rows": 3}
        event = workspace.record("trial.open_loop", body=body, inputs=(Ref("log", log * 64), release))
        now = event.recorded_at_ns
    found = ask(workspace, now, **query)
    assert (found.standing, found.level) == (Standing.FRESH, "L3")
    assert ask(workspace, now, **{**query, "at_least": 3}).standing is Standing.FAILED
    assert ask(workspace, now + 40 * DAY_NS, **query).standing is Standing.STALE


def test_empty_bins_fail_a_coverage_claim_and_are_named(workspace: Workspace, fakes: ModuleType) -> None:
    release = st.register_release(workspace, fakes)
    names = []
    for x in (0.1, 0.9):
        scene = scenarios.Scenario(name=f"at-{x}", site="bench", initial={"x": x})
        names.append(scenarios.register(workspace, scene).digest)
    bins = Bins(site="bench", name="reach", path="initial.x", edges=(0.0, 0.5, 1.0))
    held = scenarios.Suite(name="covering", role="gate-holdout", scenarios=tuple(names), coverage=(bins,))
    suite = scenarios.register_suite(workspace, held)
    ref = policy.register(workspace, policy.load("promotion"))
    made = promotions.plan(workspace, ref, release, held=suite, now_ns=st.NOW)
    query = {"kind": "coverage", "release": "r1", "suite": "covering"}
    promotions.run(workspace, made, [True])
    found = ask(workspace, **query)
    assert found.standing is Standing.FAILED
    assert "nothing is shown for reach" in found.reason
    promotions.run(workspace, made, [True], first=2)
    assert ask(workspace, **query).standing is Standing.FRESH
    assert ask(workspace, st.NOW + 40 * st.DAY, **query).standing is Standing.FAILED, "old trials fill no bin"
    assert "no such suite" in ask(workspace, **{**query, "suite": "x"}).reason
    assert "no such release" in ask(workspace, **{**query, "release": "r9"}).reason
    st.make_suite(workspace, 2)
    assert "does not say" in ask(workspace, **{**query, "suite": "bench-holdout"}).reason


def test_exposure_counts_overlaps_once_and_clock_errors_off(story: st.Story) -> None:
    """Two recordings of 8 h that overlap by 4 h, half a second off at each end: 12 h less a second."""
    seen = observed(story.ws, story.release.digest, until_ns=LATER)
    assert seen.observed_ns == 12 * st.HOUR - st.SECOND
    found = ask(story.ws, kind="exposure", release="r1", at_least_h="11.9")
    assert (found.standing, found.level) == (Standing.FRESH, "L6")
    assert ask(story.ws, kind="exposure", release="r1", at_least_h="12").standing is Standing.FAILED
    for missing in ({"release": "r9"}, {"slot": "kitchen/*"}):
        query = {"kind": "exposure", "release": "r1", "at_least_h": "1", **missing}
        assert ask(story.ws, **query).standing is Standing.UNDEVELOPED


def test_recordings_that_say_too_little_are_no_exposure(workspace: Workspace, fakes: ModuleType) -> None:
    release = st.register_release(workspace, fakes)
    st.recorded(workspace, release, st.NOW, 1, origin="simulated")
    st.recorded(workspace, release, st.NOW, 1, arm="")
    st.recorded(workspace, release, st.NOW, 1, facts={"release": "f" * 64})
    st.recorded(workspace, release, st.NOW, 0.0001, facts={"release": release.digest})
    body = {"site": "bench", "robot": "ur5", "arm": "left", "origin": "real", "facts": {"release": release.digest}}
    workspace.record("log.ingested", body=body)
    assert observed(workspace, release.digest, until_ns=LATER).recordings == ()
    both = frozenset({Origin.REAL, Origin.SIMULATED})
    assert len(observed(workspace, release.digest, origins=both, until_ns=LATER).recordings) == 1
    query = {"kind": "exposure", "release": "r1", "at_least_h": "0.9"}
    assert ask(workspace, **query).standing is Standing.UNDEVELOPED
    assert ask(workspace, **query, population="simulated stands in for real").standing is Standing.FRESH


RATE = {"kind": "incident_rate", "release": "r1", "at_most_per_h": "0.3"}


def test_an_incident_rate_has_an_exact_bound_and_uncertainty_counts_against(
    workspace: Workspace, fakes: ModuleType
) -> None:
    release = st.register_release(workspace, fakes)
    assert "without exposure there is no rate" in ask(workspace, **RATE).reason
    st.recorded(workspace, release, st.NOW, 10, facts={"release": release.digest, "clock_error_s": 0})
    found = ask(workspace, **RATE)
    assert found.standing is Standing.FRESH
    assert "0 incidents in 10 h: at most 0.2996 per h" in found.reason
    other = st.register_release(workspace, fakes, "r2", normaliser="another")
    st.incident(workspace, fakes, other, st.NOW + st.HOUR)
    assert ask(workspace, **RATE).standing is Standing.FRESH, "another release was on the arm"
    st.incident(workspace, fakes, None, st.NOW + 2 * st.HOUR, note="nobody knows what ran")
    found = ask(workspace, **RATE)
    assert found.standing is Standing.FAILED
    assert "1 incidents" in found.reason


def test_incidents_must_be_closed_by_a_scenario(workspace: Workspace, fakes: ModuleType) -> None:
    query = {"kind": "incidents_closed", "slot": "bench/*"}
    assert ask(workspace, **query).reason == "no incident on the record"
    opened = st.incident(workspace, fakes, None, st.NOW)
    assert "is open" in ask(workspace, **query).reason
    body = {
        "incident": opened.body["incident"],
        "slot": st.SLOT,
        "scenario": "",
        "reason": "a bird",
        "person": "tester",
    }
    workspace.record(CLOSED, body=body, actor="tester")
    assert "left no scenario" in ask(workspace, **query).reason
    found = ask(workspace, **query, with_scenario=False)
    assert (found.standing, found.reason, found.level) == (Standing.FRESH, "1 incidents, all closed", "")


def test_the_record_holds_with_and_without_a_witness(workspace: Workspace) -> None:
    found = ask(workspace, kind="record")
    assert found.standing is Standing.FRESH
    assert "unwitnessed" in found.reason
    head = workspace.ledger.head()
    kept = ask(
        workspace, list(workspace.ledger.events())[-1].recorded_at_ns, kind="record", witness=f"{head.seq}:{head.hash}"
    )
    assert kept.standing is Standing.FRESH
    assert kept.at_ns is not None
    assert ask(workspace, kind="record", witness=f"{head.seq}:{'0' * 64}").standing is Standing.FAILED
    with pytest.raises(ConfigError, match="not a head"):
        ask(workspace, kind="record", witness="yesterday")


# ---- the whole tree -------------------------------------------------------------------------------------------------


def assess(ws: Workspace, told: dict[str, Any], now_ns: int = LATER) -> claim_status.Assessment:
    names = {"release": "r1", "slot": st.SLOT, "site": "bench", "model": "dynamics"}
    return claim_status.assess(claims.read(told, where="x.toml"), ws, now_ns=now_ns, names=names)


def test_the_shipped_tree_is_fresh_for_a_good_release_and_stale_later(story: st.Story) -> None:
    names = {"release": "r1", "slot": st.SLOT, "site": "bench", "model": "dynamics"}
    case = claims.load("cell")
    found = claim_status.assess(case, story.ws, now_ns=LATER, names=names)
    assert {i: c.standing for i, c in found.claims.items() if c.standing not in (None, Standing.FRESH)} == {}
    assert found.holds
    later = claim_status.assess(case, story.ws, now_ns=st.NOW + 100 * st.DAY, names=names)
    assert not later.holds
    assert claim_status.headline(later).startswith(f"G1 is {later.root.standing} at {format_ns(later.now_ns)}")


@pytest.mark.parametrize(
    ("stated", "query", "standing"),
    [
        ("L6", IN_FORCE, "fresh"),
        ("L7", IN_FORCE, "failed"),
        ("L4", ADMITTED, "fresh"),
        ("L5", ADMITTED, "failed"),
        ("L0", {"kind": "record"}, "failed"),
        ("", {"kind": "record"}, "fresh"),
    ],
)
def test_a_stated_level_is_held_to_account(story: st.Story, stated: str, query: dict[str, Any], standing: str) -> None:
    solution = {"E1": {"text": "x", "level": stated, "query": {"fresh_days": 30, **query}}}
    found = assess(story.ws, tree(solution=solution)).claims["E1"]
    assert found.standing == standing
    assert standing == "fresh" or f"states {stated}" in found.reason


def test_imagined_trials_cannot_carry_a_claim_of_usefulness(workspace: Workspace, fakes: ModuleType) -> None:
    release = st.register_release(workspace, fakes)
    ref = policy.register(workspace, policy.load("promotion"))
    made = promotions.plan(workspace, ref, release, held=st.make_suite(workspace, 4), now_ns=st.NOW)
    promotions.run(workspace, made, [True] * 5, executor=Origin.IMAGINED)
    query = {**TRIALS, "at_least": 3, "population": "imagined", "fresh_days": 9}
    found = assess(workspace, tree(solution={"E1": {"text": "x", "level": "L5", "query": query}}))
    assert found.claims["E1"].standing is Standing.FAILED
    assert "its evidence reaches L3" in found.claims["E1"].reason
    assert "IMAGINED DATA" in draw(found), "what is not real says so in the picture"


def test_a_goal_is_as_good_as_its_worst_support_and_states_no_more_than_its_best(story: st.Story) -> None:
    sources = {
        "E1": {"text": "fresh", "query": {"fresh_days": 30, **ADMITTED}},
        "E2": {"text": "stale", "query": {"fresh_days": 1, **ADMITTED}},
        "E3": {"text": "undeveloped", "query": {"fresh_days": 1, **ADMITTED, "model": "m9"}},
        "E4": {"text": "failed", "query": {"fresh_days": 1, **ADMITTED, "horizon_s": "99"}},
    }
    goals = {
        "G1": goal("A", "B", "C", "D", "H", "N"),
        "A": goal("E1"),
        "B": goal("E1", "E2"),
        "C": goal("E2", "E3"),
        "D": goal("E3", "E4"),
        "H": goal("E1", level="L5"),
        "N": {"text": "later", "undeveloped": True},
    }
    found = assess(story.ws, tree(goal=goals, solution=sources), now_ns=LATER)
    standings = {i: str(c.standing) for i, c in found.claims.items() if len(i) == 1}
    assert standings == {
        "A": "fresh", "B": "stale", "C": "undeveloped", "D": "failed", "H": "failed", "N": "undeveloped",
    }  # fmt: skip
    assert found.root.standing is Standing.FAILED
    assert found.claims["H"].reason.startswith("states L5")
    assert found.claims["B"].reason == "E2 is stale"


def test_the_export_speaks_sacm_and_the_picture_is_well_formed(story: st.Story) -> None:
    told = tree(
        goal={
            "G1": goal("S1", "N", in_context_of=["C1", "A1", "J1"]),
            "G2": goal("E1"),
            "N": {"text": "x", "undeveloped": True},
        },
        strategy={"S1": goal("G2")},
        context={"C1": {"text": "Bench & <floor>"}},
        assumption={"A1": {"text": "Averylongwordwithoutanyspaceinitthatmustbebrokensomewhere"}},
        justification={"J1": {"text": "Because"}},
    )
    found = assess(story.ws, told)
    tree_of = claim_status.export(found)
    items = tree_of["sacm"]["ArgumentPackage"]["argumentationElements"]
    kinds = {item["class"] for item in items}
    assert kinds == {
        "Claim", "ArgumentReasoning", "ArtifactReference", "AssertedInference", "AssertedEvidence", "AssertedContext",
    }  # fmt: skip
    declared = {i["gid"]: i["assertionDeclaration"] for i in items if i["class"] == "Claim"}
    assert declared == {"G1": "asserted", "G2": "asserted", "N": "needsSupport", "A1": "assumed", "J1": "axiomatic"}
    picture = draw(found)
    root = ET.fromstring(picture)
    shapes = [element.tag.rsplit("}", 1)[1] for element in root.iter()]
    assert shapes.count("circle") == 1
    assert shapes.count("ellipse") == 2
    assert shapes.count("polygon") == 2, "a parallelogram and a diamond"
    assert "Bench &amp; &lt;floor&gt;" in picture
    assert "UNDEVELOPED" in picture
    assert draw(found) == picture
    inside = [float(t.attrib["x"]) for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert 0 < min(inside) <= max(inside) < float(root.attrib["width"])


_PLACES = ("x", "y", "width", "height", "cx", "cy", "r")


def test_nothing_overlaps_in_the_picture(story: st.Story) -> None:
    names = {"release": "r1", "slot": st.SLOT, "site": "bench", "model": "dynamics"}
    picture = draw(claim_status.assess(claims.load("cell"), story.ws, now_ns=LATER, names=names))
    boxes = []
    for shape in ET.fromstring(picture).iter():
        at = {key: float(shape.attrib[key]) for key in _PLACES if key in shape.attrib}
        if shape.tag.endswith("rect") and "x" in at:
            boxes.append((at["x"], at["y"], at["width"], at["height"]))
        elif shape.tag.endswith("circle"):
            boxes.append((at["cx"] - at["r"], at["cy"] - at["r"], 2 * at["r"], 2 * at["r"]))
    assert len(boxes) >= 13
    for i, (x, y, w, h) in enumerate(boxes):
        for u, v, k, m in boxes[i + 1 :]:
            assert x + w <= u or u + k <= x or y + h <= v or v + m <= y


def test_an_old_answer_is_asked_once_for_all_who_ask_the_same(story: st.Story, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    config, real = KINDS["record"]

    def counted(ws: Workspace, query: Any, now_ns: int) -> Answer:
        asked.append(query)
        return real(ws, query, now_ns)

    monkeypatch.setattr(claim_field, "KINDS", {**KINDS, "record": (config, counted)})
    monkeypatch.setattr(claim_status, "KINDS", claim_field.KINDS)
    same = {"text": "x", "query": {"kind": "record", "fresh_days": 1}}
    assess(story.ws, tree(goal={"G1": goal("E1", "E2")}, solution={"E1": same, "E2": same}))
    assert len(asked) == 1


def test_levels_are_ordered_and_explained() -> None:
    assert [claim_levels.rank(level) for level in claim_levels.LEVELS] == list(range(8))
    assert claim_levels.rank("") == -1
    assert claim_levels.of_checks([]) == ""
    assert claim_levels.short_of("L5", "") == "states L5, but this evidence has no level on that ladder"
    assert claim_levels.short_of("L3", "L6") == ""
