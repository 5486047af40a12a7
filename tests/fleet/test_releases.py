"""Releases: identity, weights, diff."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from worldgate.core.digest import sha256
from worldgate.core.errors import DataRefused, NotFound, WeightsRefused
from worldgate.core.normalisers import Normaliser, Statistics
from worldgate.core.worlds import Signal
from worldgate.fleet import releases
from worldgate.fleet.releases import Controller, Release, diff

ENVIRONMENT = "observation.environment_state"


def statistics(mean=(0.1, 0.2, 0.3, 0.41)):
    return Statistics(mean=mean, std=tuple(1.0 for _ in mean))


def release(**changes):
    fields = {
        "policy": "mlp",
        "weights": {"policy.safetensors": sha256(b"weights")},
        "normaliser": Normaliser(
            streams={ENVIRONMENT: statistics(), "action": Statistics(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))}
        ),
        "observation": (Signal(name=ENVIRONMENT, unit="m", names=("x", "y", "gx", "gy"), shape=(4,), frame="table"),),
        "action": Signal(name="action", unit="m", names=("x", "y", "z"), shape=(3,), frame="table"),
        "controller": Controller(convention="tool_position", rate_hz=10.0),
        "dataset": sha256(b"dataset"),
    }
    return Release(**{**fields, **changes})


CHANGED = {
    "policy": "scripted",
    "weights": {"policy.safetensors": sha256(b"other weights")},
    "normaliser": Normaliser(
        streams={
            ENVIRONMENT: statistics((0.1, 0.2, 0.3, 41.0)),
            "action": Statistics(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        }
    ),
    "observation": (Signal(name=ENVIRONMENT, unit="mm", names=("x", "y", "gx", "gy"), shape=(4,), frame="table"),),
    "action": Signal(name="action", unit="m", names=("x", "y", "z"), shape=(3,), frame="base"),
    "controller": Controller(convention="tool_velocity", rate_hz=10.0),
    "pre": {"resize": 64.0},
    "post": {"limit": 0.05},
    "runtime": {"numpy": "2.4"},
    "quantisation": "int8",
    "seed": 1,
    "dataset": sha256(b"other dataset"),
    "code": "abc",
    "parent": sha256(b"parent"),
}


def test_every_field_of_a_release_has_a_changed_value_here():
    assert set(CHANGED) == {f.name for f in dataclasses.fields(Release)}


@pytest.mark.parametrize("field", sorted(CHANGED))
def test_a_change_of_any_field_changes_the_identity_and_is_the_one_thing_diff_names(field):
    before, after = release(), release(**{field: CHANGED[field]})
    assert before.digest != after.digest
    assert {change.field for change in diff(before, after)} == {field}


@given(
    st.dictionaries(st.text(min_size=1), st.one_of(st.text(), st.booleans(), st.floats(-1e6, 1e6)), max_size=4),
    st.dictionaries(st.text(min_size=1), st.one_of(st.text(), st.booleans(), st.floats(-1e6, 1e6)), max_size=4),
)
def test_identity_and_diff_always_agree(a, b):
    left, right = release(pre=a), release(pre=b)
    assert (left.digest == right.digest) == (not diff(left, right))


@given(st.integers(0, 3), st.floats(-100, 100), st.sampled_from(("mean", "std")))
def test_a_single_statistic_is_one_line(i, value, part):
    values = list(getattr(statistics(), part))
    values[i] = value
    changed = dataclasses.replace(statistics(), **{part: tuple(values)})
    normaliser = Normaliser(streams={**release().normaliser.streams, ENVIRONMENT: changed})
    lines = [c.line for c in diff(release(), release(normaliser=normaliser))]
    assert lines in ([], [f"normaliser.{ENVIRONMENT}.{part}[{i}]"])
    assert bool(lines) == (value != getattr(statistics(), part)[i])


def test_the_wrong_normaliser_shows_the_one_line():
    (change,) = diff(release(), release(normaliser=CHANGED["normaliser"]))
    assert str(change) == "normaliser.observation.environment_state.mean[3]: 0.41 → 41"


def test_a_unit_that_changed_is_named_by_its_stream():
    (change,) = diff(release(), release(observation=CHANGED["observation"]))
    assert str(change) == "observation.observation.environment_state.unit: m → mm"


def test_the_order_of_streams_is_part_of_the_identity():
    other = Signal(name="observation.state", unit="rad", shape=(4,))
    first = release().observation[0]
    changes = diff(release(observation=(first, other)), release(observation=(other, first)))
    assert [c.line for c in changes] == ["observation.order[0]", "observation.order[1]"]


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "policy.safetensors"
    save_file({"w": np.ones((2, 3), dtype=np.float32)}, path)
    return path


def test_a_registered_release_comes_back_equal(workspace, weights):
    files = releases.put_weights(workspace, {"policy.safetensors": weights})
    made = release(weights=files, pre={"mode": "a", "delay_ns": "12", "half": 0.5, "on": True, "one": 1})
    ref = releases.register(workspace, made, name="r1")
    back = releases.load(workspace, ref.digest)
    assert back.digest == made.digest == ref.digest
    assert not diff(made, back)
    assert workspace.resolve("r1", "release") == ref


def test_registering_says_what_it_was_made_from(workspace, weights):
    files = releases.put_weights(workspace, {"policy.safetensors": weights})
    releases.register(workspace, release(weights=files), name="r1")
    (event,) = workspace.ledger.events("release.registered")
    assert [r.kind for r in event.inputs] == ["weights", "normaliser", "dataset"]
    assert [r.kind for r in event.outputs] == ["release"]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Bomb()),
        b"PK\x03\x04torch zip",
        b"",
        b"\xff" * 64,
        (10).to_bytes(8, "little") + b'{"w":"x"} ',
        (2).to_bytes(8, "little") + b"{}",
        (10**12).to_bytes(8, "little") + b"{}",
    ],
    ids=["pickle", "zip", "empty", "noise", "bad header", "no tensors", "huge header"],
)
def test_weights_that_are_not_safetensors_are_refused_whatever_they_are_called(workspace, tmp_path, data):
    path = tmp_path / "policy.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsRefused):
        releases.put_weights(workspace, {"policy.safetensors": path})
    digest = workspace.store.put_bytes(data)
    with pytest.raises(WeightsRefused):
        releases.register(workspace, release(weights={"policy.safetensors": digest}), name="bad")
    assert not list(workspace.ledger.events("release.registered"))


def test_truncated_weights_are_refused(workspace, weights):
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(WeightsRefused):
        releases.put_weights(workspace, {"policy.safetensors": weights})


def test_weights_that_the_store_lacks_are_refused(workspace):
    with pytest.raises(WeightsRefused):
        releases.register(workspace, release(), name="r1")


def test_missing_weights_are_not_found(workspace, tmp_path):
    with pytest.raises(NotFound):
        releases.put_weights(workspace, {"policy.safetensors": tmp_path / "none.safetensors"})


@pytest.mark.parametrize(
    "changes",
    [
        {"normaliser": Normaliser()},
        {"action": Signal(name="action", shape=(2,))},
        {"action": Signal(name="action", names=("x",), shape=(3,))},
        {"observation": release().observation * 2},
        {"controller": Controller(convention="c", rate_hz=0.0)},
        {"controller": Controller(convention="c", rate_hz=10.0, chunk=4, execute=5)},
    ],
)
def test_a_release_that_contradicts_itself_is_refused(workspace, changes):
    with pytest.raises(DataRefused):
        releases.register(workspace, release(**changes), name="r1")


def test_an_object_that_is_no_manifest_is_refused(workspace):
    for data in (b"{}", b"[]", b"not json", b'{"normaliser": "x", "schema": "other"}'):
        with pytest.raises((DataRefused, NotFound)):
            releases.load(workspace, workspace.store.put_bytes(data))


def test_statistics_that_are_not_the_named_ones_are_refused():
    tree = release().manifest()
    with pytest.raises(DataRefused):
        releases.from_manifest(tree, CHANGED["normaliser"], where="test")


def test_normalising_and_back_is_the_identity():
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, (50, 4))
    values[:, 1] = 7.0
    normaliser = Normaliser.fit({"s": values})
    scaled = normaliser.apply("s", values)
    np.testing.assert_allclose(scaled[:, 0].std(), 1.0)
    np.testing.assert_allclose(normaliser.invert("s", scaled), values)
    with pytest.raises(DataRefused):
        Normaliser.fit({"s": np.full((3, 2), np.nan)})
    with pytest.raises(NotFound):
        normaliser.apply("other", values)
