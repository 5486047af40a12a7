"""Bins, what falls into them, and the empty ones as limits of a claim."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldgate.core.errors import ConfigError, NameRefused
from worldgate.core.evidence import Trial
from worldgate.core.streams import Origin
from worldgate.evidence import scenarios, trials
from worldgate.evidence.coverage import cover, of_release, place_of
from worldgate.evidence.coverage_bins import Bins
from worldgate.evidence.scenarios import Scenario
from worldgate.evidence.variations import Variation
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

X = Bins(site="bench", name="x", path="initial.x", unit="m", edges=(0.0, 0.1, 0.2))
LIGHT = Bins(site="bench", name="light", path="strata.light", choices=("dim", "bright"))
REAL = frozenset({Origin.REAL})


def scenario(x: Any = 0.05, **changes: Any) -> Scenario:
    fields: dict[str, Any] = {
        "name": f"at-{x}",
        "site": "bench",
        "initial": {"x": x},
        "units": {"initial.x": "m"},
        "strata": {"light": "dim"},
    }
    return Scenario(**{**fields, **changes})


def trial(of: Scenario, origin: Origin = Origin.REAL, **changes: Any) -> Trial:
    return Trial(
        **{
            "scenario": of.digest, "release": "a" * 64, "executor": origin, "slot": "bench/r/a", "seed": 1,
            "success": True, "violations": 0, **changes,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("x", "place"), [(0.0, 0), (0.099, 0), (0.1, 1), (0.2, 1), (0.21, None), (-0.01, None), (True, None), ("0.1", None)]
)
def test_a_bin_is_closed_below_and_the_last_one_above(x: Any, place: int | None) -> None:
    assert place_of(X, scenario(x)) == place


@pytest.mark.parametrize("changes", [{"units": {"initial.x": "mm"}}, {"units": {}}, {"initial": {}, "units": {}}])
def test_a_value_in_another_unit_or_without_one_falls_into_no_bin(changes: dict[str, Any]) -> None:
    assert place_of(X, scenario(**changes)) is None


def test_true_is_not_one() -> None:
    counts = Bins(site="bench", name="n", path="initial.x", choices=(1, 0))
    flags = Bins(site="bench", name="n", path="initial.x", choices=(True, False))
    assert place_of(counts, scenario(1)) == 0 and place_of(counts, scenario(True)) is None
    assert place_of(flags, scenario(False)) == 1 and place_of(flags, scenario(0)) is None
    assert (counts.labels(), flags.labels()) == (("1", "0"), ("true", "false"))


@given(value=st.floats(-1, 1), edges=st.lists(st.floats(-1, 1), min_size=2, max_size=6, unique=True))
def test_a_value_falls_into_one_bin_exactly_where_it_lies_between_the_edges(value: float, edges: list[float]) -> None:
    bins = Bins(site="bench", name="x", path="initial.x", edges=tuple(sorted(edges)))
    place = bins.place({"initial": {"x": value}}, unit="")
    assert (place is not None) is (min(edges) <= value <= max(edges))
    if place is not None:
        assert bins.edges[place] <= value <= bins.edges[place + 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"edges": ()},
        {"choices": ("a",)},
        {"edges": (0.1,)},
        {"edges": (0.2, 0.1)},
        {"edges": (0.0, float("inf"))},
        {"path": "name"},
        {"path": "envelope.clearance_m"},
        {"path": "initial"},
        {"unit": "feet"},
    ],
)
def test_bins_that_mean_nothing_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(X, **changes)
    with pytest.raises(NameRefused):
        dataclasses.replace(X, name="../x")


def test_empty_bins_are_limits_of_the_claim() -> None:
    low, far = scenario(0.05), scenario(0.5, name="far", strata={})
    other, drawn = scenario(0.15, site="kitchen"), scenario(0.15, variations=(VARIED,))
    listed = {one.digest: one for one in (low, far, other, drawn)}
    ran = [trial(low), trial(low, seed=2), trial(low, Origin.SIMULATED), trial(scenario(0.19))]
    found = cover((X, LIGHT), listed, ran)
    assert [(b.bin, b.scenarios, b.real, b.simulated, b.imagined) for b in found.bins] == [
        ("0 to 0.1 m", 1, 2, 1, 0),
        ("0.1 to 0.2 m", 0, 0, 0, 0),
        ("dim", 1, 2, 1, 0),
        ("bright", 0, 0, 0, 0),
    ]
    assert found.limits(population=REAL) == (
        "nothing is shown for x 0.1 to 0.2 m at bench: no scenario",
        "nothing is shown for light bright at bench: no scenario",
        "far falls into no bin of x at bench",
        "far falls into no bin of light at bench",
    )
    assert len(found.limits(population=frozenset({Origin.IMAGINED}))) == 6


VARIED = Variation(name="x", path="initial.x", unit="m", range=(0.0, 0.1))


def test_a_trial_that_does_not_count_fills_no_bin() -> None:
    low = scenario(0.05)
    for ran in ([], [trial(low, excluded="camera")], [trial(low, Origin.SIMULATED)], [trial(low, Origin.IMAGINED)]):
        limits = cover((X,), {low.digest: low}, ran).limits(population=REAL)
        assert limits[0] == "nothing is shown for x 0 to 0.1 m at bench: no trial that counts"
    assert len(cover((X,), {low.digest: low}, []).limits(population=None)) == 1, "of scenarios alone"


def test_what_a_suite_covers_is_told_with_and_without_the_trials_of_a_release(workspace: Workspace) -> None:
    scenes = [scenario(x) for x in (0.05, 0.15)]
    digests = tuple(scenarios.register(workspace, one).digest for one in scenes)
    suite = scenarios.Suite(name="s", role="gate-holdout", scenarios=digests, coverage=(X,))
    release = Ref("release", workspace.put_json({"schema": "worldgate/release/1", "weights": {}}), "r1")
    workspace.record("release.registered", body={"release": release.digest}, outputs=(release,))
    trials.record_trials(workspace, [trial(scenes[0], release=release.digest)])
    head = workspace.ledger.head().seq
    ran = of_release(workspace, suite, release.digest, upto_seq=head)
    assert [(b.bin, b.scenarios, b.real) for b in ran.bins] == [("0 to 0.1 m", 1, 1), ("0.1 to 0.2 m", 1, 0)]
    assert [b.real for b in of_release(workspace, suite, "", upto_seq=head).bins] == [0, 0]
    assert [b.real for b in of_release(workspace, suite, release.digest, upto_seq=head - 1).bins] == [0, 0]
