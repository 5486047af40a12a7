"""Scenarios, suites, variations and what training may see."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worldgate.core.errors import ConfigError, DataRefused, NameRefused, NotFound, UsageError
from worldgate.evidence import photos, scenarios
from worldgate.evidence.scenarios import Envelope, OracleSpec, Scenario, Suite
from worldgate.evidence.variations import Variation, at, put, said
from worldgate.record.workspace import Workspace


def scenario(**changes: Any) -> Scenario:
    fields: dict[str, Any] = {
        "name": "cup",
        "site": "bench",
        "initial": {"cup": [0.1, 0.2], "upright": True},
        "attributes": {"light": 0.0},
        "units": {"initial.cup": "m"},
        "envelope": Envelope(clearance_m=0.1),
    }
    return Scenario(**{**fields, **changes})


X = Variation(name="x", path="initial.cup.0", unit="m", range=(0.0, 0.5))
LIGHT = Variation(name="light", path="attributes.light", choices=(0.0, 0.5, 1.0), stratum=True)
VARIED = scenario(variations=(X, LIGHT))


def test_documents_of_schema_1_are_read_and_keep_their_digests() -> None:
    old = Scenario(
        schema="worldgate/scenario/1",
        name="cup",
        site="bench",
        initial={"cup_m": [0.1, 0.2]},
        envelope=Envelope(clearance_m=0.1, force_n=50.0),
    )
    assert old.digest == "b3ac59b4503d11cc6d117f6225f74b5bda1d5f314b9769cd1ae38e67e3d89fd7", "as version 0.1 named it"
    assert Scenario.from_json(old.to_json()) == old
    suite = Suite(schema="worldgate/suite/1", name="gate", role="gate-holdout", scenarios=(old.digest,))
    assert suite.digest == "6622c2ae50ced18f09e6e2c3c84c81b807924f31c36c5beab10f4fad74e02c05"
    assert Suite.from_json(suite.to_json()) == suite
    assert scenarios.check(old) == old


def test_documents_of_another_schema_are_refused() -> None:
    with pytest.raises(DataRefused, match="not a scenario"):
        Scenario.from_json({"schema": "worldgate/scenario/3"})
    with pytest.raises(DataRefused, match="not a suite"):
        Suite.from_json({"schema": "worldgate/scenario/2"})


@pytest.mark.parametrize(
    "changes",
    [
        {"initial": {"cup": [0.1, 0.2], "upright": False}},
        {"envelope": Envelope(clearance_m=0.2)},
        {"units": {"initial.cup": "mm"}},
        {"frame": "table"},
        {"strata": {"light": "dim"}},
        {"oracles": (OracleSpec(oracle="time", params={"limit_s": 5.0}),)},
        {"photo": "0" * 64},
        {"criterion": "the cup stands"},
        {"role": "tripwire"},
    ],
)
def test_a_scenario_whose_content_changes_is_another(changes: dict[str, Any]) -> None:
    assert scenario(**changes).digest != scenario().digest
    assert Scenario.from_json(scenario(**changes).to_json()) == scenario(**changes)


def test_a_draw_can_be_repeated_with_nothing_but_sha_256() -> None:
    drawn = VARIED.draw(7)
    u = int(hashlib.sha256(f"{VARIED.digest}\nx\n7".encode()).hexdigest()[:13], 16) / 2**52
    assert drawn.initial["cup"] == [0.5 * u, 0.2]
    assert drawn.drawn["x"] == 0.5 * u
    assert (drawn.parent, drawn.seed, drawn.source, drawn.variations) == (VARIED.digest, 7, "synthetic", ())
    assert drawn.strata["light"] == said(drawn.drawn["light"])


@given(seed=st.integers(0, 2**62), low=st.floats(-1e3, 1e3), width=st.floats(1e-3, 1e3), count=st.integers(1, 9))
def test_draws_lie_in_their_range_and_choices(seed: int, low: float, width: float, count: int) -> None:
    ranged = Variation(name="x", path="initial.cup.0", unit="m", range=(low, low + width))
    chosen = Variation(name="n", path="initial.n", choices=tuple(range(count)))
    assert low <= ranged.draw("parent", seed) <= low + width  # type: ignore[operator]
    assert chosen.draw("parent", seed) in range(count)
    assert ranged.draw("parent", seed) == ranged.draw("parent", seed)


def test_draws_are_spread_evenly() -> None:
    drawn = np.array([X.draw("p", seed) for seed in range(2000)], np.float64)
    counts = np.histogram(drawn, bins=10, range=(0.0, 0.5))[0]
    assert counts.min() > 150 and counts.max() < 250  # mean 200, s.d. 13
    assert sum(LIGHT.draw("p", seed) == 0.5 for seed in range(600)) in range(150, 251)


def test_another_parameter_does_not_shift_a_draw_but_another_parent_does() -> None:
    alone = dataclasses.replace(VARIED, variations=(X,))
    assert X.draw(VARIED.digest, 3) == VARIED.draw(3).drawn["x"]
    assert alone.draw(3).drawn["x"] != VARIED.draw(3).drawn["x"]


@settings(deadline=None)
@given(seeds=st.sets(st.integers(0, 10_000), min_size=2, max_size=20))
def test_every_draw_is_a_scenario_of_its_own_and_survives_the_store(seeds: set[int]) -> None:
    drawn = [VARIED.draw(seed) for seed in seeds]
    assert len({one.digest for one in drawn}) == len(seeds)
    for one in drawn:
        back = Scenario.from_json(one.to_json())
        assert back.digest == one.digest
    parent = Scenario.from_json(VARIED.to_json())
    assert [parent.draw(seed).digest for seed in seeds] == [one.digest for one in drawn]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"range": None}, "a range or choices"),
        ({"choices": (1,)}, "a range or choices"),
        ({"range": (1.0, 1.0)}, "to a larger one"),
        ({"range": (0.0, float("nan"))}, "to a larger one"),
        ({"stratum": True}, "names no stratum"),
        ({"path": "name"}, "sets a part of"),
        ({"path": "envelope.clearance_m"}, "sets a part of"),
        ({"unit": "furlong"}, "not a known unit"),
    ],
)
def test_a_variation_that_means_nothing_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        dataclasses.replace(X, **changes)


def test_variations_have_usable_and_different_names() -> None:
    with pytest.raises(NameRefused):
        dataclasses.replace(X, name="../x")
    with pytest.raises(ConfigError, match="stands twice"):
        scenario(variations=(X, X))


@pytest.mark.parametrize("path", ["initial.cup.2", "initial.saucer", "initial.cup", "initial.upright"])
def test_a_variation_changes_only_what_is_there_and_of_its_kind(path: str) -> None:
    with pytest.raises(ConfigError, match="nothing there to vary"):
        scenario(variations=(dataclasses.replace(X, path=path),)).draw(0)


def test_a_scenario_without_variations_gives_no_draws() -> None:
    with pytest.raises(UsageError, match="nothing to draw"):
        scenario().draw(0)
    with pytest.raises(UsageError, match="nothing to draw"):
        VARIED.draw(-1)


leaves = st.one_of(st.booleans(), st.integers(-5, 5), st.floats(-5, 5), st.text(max_size=3))
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    tree=st.dictionaries(st.sampled_from("ab"), trees, max_size=2), keys=st.lists(st.sampled_from("ab01"), max_size=3)
)
def test_putting_back_what_stands_at_a_path_changes_nothing(tree: dict[str, Any], keys: list[str]) -> None:
    path = ".".join(keys)
    try:
        held = at(tree, path)
    except KeyError:
        return
    if isinstance(held, bool | int | float | str):
        assert put(tree, path, held) == tree


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"units": {"initial.cup": "m,m,m"}}, "as many units"),
        ({"units": {"initial.cup": "meters"}}, "not a known unit"),
        ({"units": {"initial.plate": "m"}}, "a unit of nothing"),
        ({"units": {}, "variations": (X,)}, "in another unit"),
        ({"variations": (dataclasses.replace(X, unit="mm"),)}, "in another unit"),
        ({"oracles": (OracleSpec(oracle="succes"),)}, "no such entry"),
        ({"oracles": (OracleSpec(oracle="force", params={"limit_kn": 1}),)}, "unknown key"),
        ({"envelope": Envelope(clearance_m=-0.1)}, "a limit lies between"),
        ({"envelope": Envelope(clearance_m=200.0)}, "a limit lies between"),
        ({"name": "a/b"}, "usable name"),
    ],
)
def test_swapped_units_and_unknown_limits_are_refused_before_anything_is_recorded(
    workspace: Workspace, changes: dict[str, Any], match: str
) -> None:
    head = workspace.ledger.head()
    with pytest.raises(UsageError, match=match):
        scenarios.register(workspace, scenario(**changes))
    assert workspace.ledger.head() == head


def test_a_unit_of_one_channel_is_that_of_its_place() -> None:
    pose = scenario(initial={"pose": [0.0, 0.0, 0.0]}, units={"initial.pose": "m,m,rad"})
    assert scenarios.unit_of(pose, "initial.pose.2") == "rad"
    assert scenarios.unit_of(pose, "initial.pose.0") == "m"
    assert scenarios.unit_of(pose, "attributes.light") == ""
    turned = Variation(name="yaw", path="initial.pose.2", unit="m", range=(0.0, 1.0))
    with pytest.raises(ConfigError, match="another unit"):
        scenarios.check(dataclasses.replace(pose, variations=(turned,)))


def test_parameters_of_oracles_are_filled_in_when_a_scenario_is_recorded(workspace: Workspace) -> None:
    ref = scenarios.register(workspace, scenario(oracles=(OracleSpec(oracle="time", params={"limit_s": 9}),)))
    (spec,) = scenarios.load(workspace, ref.digest).oracles
    assert spec.params["limit_s"] == 9
    assert spec.params["until"][0]["signal"] == "success"


def test_a_scenario_that_claims_a_parent_must_be_its_draw(workspace: Workspace) -> None:
    scenarios.register(workspace, VARIED)
    scenarios.register(workspace, VARIED.draw(4))
    forged = dataclasses.replace(VARIED.draw(5), initial={"cup": [0.4, 0.2], "upright": True})
    with pytest.raises(DataRefused, match="not what its parent gives"):
        scenarios.register(workspace, forged)
    with pytest.raises(NotFound):
        scenarios.register(workspace, dataclasses.replace(VARIED.draw(5), parent="0" * 64))
    with pytest.raises(UsageError, match="nothing to draw"):
        scenarios.register(workspace, dataclasses.replace(VARIED.draw(5), seed=None))


def suite(*digests: str, **changes: Any) -> Suite:
    fields: dict[str, Any] = {"name": "gate", "role": "gate-holdout", "scenarios": digests}
    return Suite(**{**fields, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"attempts": 0},
        {"attempts": True},
        {"weights": (1.0,)},
        {"weights": (1.0, 0.0)},
        {"weights": (1.0, float("nan"))},
    ],
)
def test_weights_and_attempts_must_make_sense(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        suite("0" * 64, "1" * 64, **changes)


def test_a_suite_holds_known_scenarios_once_and_none_that_must_be_drawn(workspace: Workspace) -> None:
    ref = scenarios.register(workspace, scenario())
    varied = scenarios.register(workspace, VARIED)
    with pytest.raises(UsageError, match="each once"):
        scenarios.register_suite(workspace, suite())
    with pytest.raises(UsageError, match="each once"):
        scenarios.register_suite(workspace, suite(ref.digest, ref.digest))
    with pytest.raises(DataRefused, match="drawn before it is run"):
        scenarios.register_suite(workspace, suite(varied.digest))
    with pytest.raises(NotFound):
        scenarios.register_suite(workspace, suite("0" * 64))
    made = scenarios.register_suite(workspace, suite(ref.digest, weights=(2.0,), attempts=3))
    held = scenarios.load_suite(workspace, made.digest)
    assert (held.attempts, held.weights, held.digest) == (3, (2.0,), made.digest)


def head(ws: Workspace) -> int:
    return ws.ledger.head().seq


def test_what_training_may_see_never_serves_a_gate_under_any_name(workspace: Workspace) -> None:
    seen = scenarios.register(workspace, scenario(role="train-visible"))
    other = scenarios.register(workspace, scenario(name="bowl", initial={"cup": [0.3, 0.2], "upright": True}))
    renamed = scenarios.register(workspace, scenario(name="saucer", strata={"light": "dim"}))
    assert scenarios.train_visible(workspace, upto_seq=head(workspace)) == {seen.digest, renamed.digest}
    for bad in (seen.digest, renamed.digest):
        with pytest.raises(DataRefused, match="training may see"):
            scenarios.check_suite(workspace, suite(bad), [scenarios.load(workspace, bad)])
    shown = suite(seen.digest, role="train-visible")
    scenarios.check_suite(workspace, shown, [scenarios.load(workspace, seen.digest)])
    before = head(workspace)
    scenarios.register_suite(workspace, suite(other.digest, role="train-visible"))
    assert other.digest in scenarios.train_visible(workspace, upto_seq=head(workspace))
    assert other.digest not in scenarios.train_visible(workspace, upto_seq=before), "as the ledger knew it then"


def test_two_names_for_one_situation_are_one_scene(workspace: Workspace) -> None:
    pair = [scenario(), scenario(name="saucer", criterion="the same, renamed", envelope=Envelope(clearance_m=0.2))]
    with pytest.raises(DataRefused, match="are one scene"):
        scenarios.check_suite(workspace, suite(*(one.digest for one in pair)), pair)
    scenarios.check_suite(workspace, suite(pair[0].digest), pair[:1])


def test_draws_of_what_training_may_see_are_seen(workspace: Workspace) -> None:
    shown = dataclasses.replace(VARIED, role="train-visible")
    scenarios.register(workspace, shown)
    drawn = scenarios.register(workspace, shown.draw(1))
    assert drawn.digest in scenarios.train_visible(workspace, upto_seq=head(workspace))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_photograph_is_kept_under_its_digest(workspace: Workspace, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"start{suffix}"
    assert cv2.imwrite(str(path), np.full((12, 20, 3), 90, np.uint8))
    digest = photos.keep(workspace, path)
    kept = workspace.store.get(digest)
    assert photos.size_of(kept) == photos.size_of(path.read_bytes()) == (20, 12)
    np.testing.assert_allclose(cv2.imdecode(np.frombuffer(kept, np.uint8), cv2.IMREAD_COLOR), 90, atol=1)
    ref = scenarios.register(workspace, scenario(photo=digest))
    (event,) = workspace.ledger.events("scenario.made")
    assert {item.kind for item in event.inputs} == {"photo"}
    assert scenarios.load(workspace, ref.digest).photo == digest
    with pytest.raises(NotFound, match="photograph"):
        scenarios.register(workspace, scenario(photo="0" * 64))


def test_what_a_phone_writes_beside_the_pixels_is_not_kept_and_the_picture_is_upright(workspace: Workspace) -> None:
    lying = np.zeros((16, 32, 3), np.uint8)
    lying[:, :16] = 255
    _, data = cv2.imencode(".jpg", lying)
    turned_right = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    told = b"Exif\0\0" + turned_right + b"52.5163 N, 13.3777 E"
    jpeg = bytes(data)
    jpeg = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(told) + 2) + told + jpeg[2:]
    kept = workspace.store.get(photos.keep_bytes(workspace, jpeg, where="here"))
    assert b"52.5163" in jpeg and b"52.5163" not in kept and b"Exif" not in kept
    upright = cv2.imdecode(np.frombuffer(kept, np.uint8), cv2.IMREAD_COLOR)
    assert upright.shape == (32, 16, 3) and upright[:12].min() > 200 and upright[20:].max() < 50
    text = b"tEXt" + b"Comment\0seen at 52.5163 N"
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    png = photos.encode(lying)
    kept = workspace.store.get(photos.keep_bytes(workspace, png[:33] + chunk + png[33:], where="here"))
    assert b"52.5163" not in kept and kept == png


PNG = photos.encode(np.zeros((4, 4, 3), np.uint8))
HUGE = PNG[:16] + (60_000).to_bytes(4, "big") * 2 + PNG[24:]


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a" + b"\0" * 40, PNG[:40], PNG[:20], HUGE, b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x10" + b"\0" * 40],
)
def test_what_is_no_photograph_or_too_large_to_decode_is_refused(workspace: Workspace, data: bytes) -> None:
    with pytest.raises(DataRefused):
        photos.keep_bytes(workspace, data, where="here")


def test_a_file_that_is_missing_or_too_large_is_no_photograph(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound):
        photos.keep(workspace, tmp_path / "none.png")
    (tmp_path / "big.png").write_bytes(PNG)
    monkeypatch.setattr(photos, "MOST_BYTES", 8)
    with pytest.raises(DataRefused, match="too large"):
        photos.keep(workspace, tmp_path / "big.png")


@given(data=st.binary(max_size=64))
def test_the_size_of_anything_is_read_without_a_crash(data: bytes) -> None:
    photos.size_of(b"\xff\xd8" + data)
    photos.size_of(PNG[:8] + data)
