"""Sketches and matching: what is found again, and what of one rig is not mistaken for a copy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from worldgate.core.errors import ConfigError, Tampered
from worldgate.core.streams import Kind, Stream
from worldgate.data.duplicates.index import nearest
from worldgate.data.duplicates.match import Match, MatchKind, Weighed, compare, settle
from worldgate.data.duplicates.rules import MatchConfig
from worldgate.data.duplicates.sketches import from_bytes, sketch, to_bytes
from worldgate.data.duplicates.verify import films
from worldgate.data.duplicates.voting import candidates

SECOND = 1_000_000_000
RATE = 10


def motion(seed: int, seconds: float, rate: int) -> Any:
    """(N, 3) smooth and never the same."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(seconds * rate)) / rate
    waves = [
        np.sin(2 * np.pi * (times[:, None] * rng.uniform(0.1, 0.6, 3) + rng.uniform(0, 1, 3))) * rng.uniform(0.3, 1, 3)
        for _ in range(3)
    ]
    return np.sum(waves, axis=0)


def episode(fakes: Any, seed: int, *, seconds: float = 8.0, start_ns: int = 10**18, state: int | None = None) -> Any:
    """Joints at 50 Hz and a camera at 10 Hz in which a bright square moves as they do, before one background."""
    joints = motion(seed if state is None else state, seconds, 50)
    path = motion(seed, seconds, RATE)
    background = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    images = np.repeat(background[None], len(path), axis=0)
    for image, (down, right, _) in zip(images, path, strict=True):
        row, column = int(28 + 9 * down), int(28 + 9 * right)
        image[max(0, row - 6) : max(0, row + 6), max(0, column - 6) : max(0, column + 6)] = (250, 240, 230)
    stamps = start_ns + np.arange(len(joints), dtype=np.int64) * (SECOND // 50)
    shutter = start_ns + np.arange(len(path), dtype=np.int64) * (SECOND // RATE)
    return fakes.log(
        fakes.stream("observation.state", stamps, joints),
        fakes.stream("observation.images.front", shutter, fakes.Frames(images), kind=Kind.IMAGE),
        name=f"e{seed}",
    )


def changed(log: Any, **change: Any) -> Any:
    """A log with every stream changed: ``pictures``, ``numbers`` map arrays; ``keep`` is a span in s; ``later_ns``."""
    held = {}
    for name, stream in log.held.items():
        frames = stream.info.kind is Kind.IMAGE
        values = stream.values.images if frames else stream.values
        first = stream.times_ns[0]
        low, high = change.get("keep", (0.0, 1e6))
        inside = (stream.times_ns >= first + low * SECOND) & (stream.times_ns < first + high * SECOND)
        values = change.get("pictures" if frames else "numbers", lambda x: x)(values[inside])
        held[name] = replace(
            stream,
            times_ns=stream.times_ns[inside] + change.get("later_ns", 0),
            values=type(stream.values)(values) if frames else values,
        )
    return replace(log, held=held)


def without(log: Any, kind: Kind) -> Any:
    return replace(log, held={name: s for name, s in log.held.items() if s.info.kind is not kind})


def matched(*logs: Any) -> list[Match]:
    sketches = [from_bytes(to_bytes(sketch(log))) for log in logs]
    config = MatchConfig()
    found = [
        compare((str(c.first), str(c.second)), (sketches[c.first], sketches[c.second]), c, config)
        for c in candidates(sketches, config)
    ]
    return [m for m in found if m is not None]


def test_episodes_of_one_rig_before_one_background_are_no_copies(fakes: Any) -> None:
    assert matched(*(episode(fakes, seed) for seed in range(6))) == []


def test_what_is_renamed_and_recorded_at_another_time_is_an_exact_copy(fakes: Any) -> None:
    log = changed(episode(fakes, 0), later_ns=5 * SECOND)
    renamed = replace(log, held={f"x{i}": replace(s, info=replace(s.info, name=f"x{i}")) for i, s in
                                 enumerate(log.held.values())})  # fmt: skip
    (match,) = matched(episode(fakes, 0), renamed)
    assert (match.kind, match.offset_ns, match.score) == (MatchKind.EXACT, 5 * SECOND, 1.0)


def test_numbers_as_float32_are_no_exact_copy_but_a_close_one(fakes: Any) -> None:
    log = without(episode(fakes, 0), Kind.IMAGE)
    (match,) = matched(log, changed(log, numbers=lambda x: x.astype(np.float32)))
    assert match.kind is MatchKind.STATE_ACTION
    assert match.numbers == pytest.approx(1.0, abs=0.02)


def test_a_cut_copy_with_other_pictures_sizes_and_light_is_found_with_its_span(fakes: Any) -> None:
    log = episode(fakes, 0)
    noise = np.random.default_rng(3)

    def spoil(images: Any) -> Any:
        small = images[:, 3:-3, 3:-3] * 0.7 + 20 + noise.normal(0, 3, images[:, 3:-3, 3:-3].shape)
        return np.clip(small, 0, 255).astype(np.uint8)

    copy = changed(log, keep=(2.0, 6.5), later_ns=-7 * SECOND, pictures=spoil)
    (match,) = matched(log, copy)
    assert match.kind is MatchKind.RE_ENCODED
    assert abs(match.offset_ns + 7 * SECOND) < 0.05 * SECOND
    assert match.first_ns[0] >= 10**18 + 1.5 * SECOND
    assert match.first_ns[1] <= 10**18 + 7 * SECOND
    assert match.pictures > 0.8


def test_pictures_alone_are_enough(fakes: Any) -> None:
    log = without(episode(fakes, 0), Kind.VECTOR)
    (match,) = matched(log, changed(log, pictures=lambda x: np.roll(x, 2, axis=2)))
    assert match.kind is MatchKind.PICTURES


def with_fine_camera(fakes: Any, seed: int) -> Any:
    """Two cameras: one sees the square, one a fine pattern that slides."""
    log = without(episode(fakes, seed), Kind.VECTOR)
    (front,) = log.held.values()
    rng = np.random.default_rng(seed)
    path = np.rint(20 * motion(seed + 100, 8.0, RATE)).astype(int)
    # Pairs of cells that alternate: what moves has next to no lowest coefficients.
    pattern = 128 + 60 * np.kron(rng.uniform(-1, 1, (8, 8)), [[1, -1], [-1, 1]])
    pattern = np.kron(pattern, np.ones((4, 4)))[..., None].repeat(3, axis=2).astype(np.uint8)
    images = np.stack([np.roll(pattern, (2 * down, 2 * right), axis=(0, 1)) for down, right, _ in path])
    fine = replace(front, info=replace(front.info, name="observation.images.wrist"), values=fakes.Frames(images))
    return replace(log, held={**log.held, "observation.images.wrist": fine})


def test_a_camera_that_a_glance_turns_away_is_fitted_where_another_one_agrees(fakes: Any) -> None:
    log = with_fine_camera(fakes, 0)
    copy = changed(log, pictures=lambda x: np.roll(x, 4, axis=1))
    one, two = (next(f for f in sketch(x).films if f.name.endswith("wrist")) for x in (log, copy))
    glanced, fitted = (films(one, two, 0, MatchConfig(), unseen=unseen) for unseen in (False, True))
    assert glanced is not None
    assert fitted is not None
    assert glanced.error > 0.5, "the lowest coefficients do not agree"
    assert fitted.error < 0.1
    (match,) = matched(log, copy)
    assert match.kind is MatchKind.PICTURES
    other = with_fine_camera(fakes, 1)
    (front,) = without(episode(fakes, 0), Kind.VECTOR).held.values()
    mixed = replace(other, held={**other.held, front.info.name: front})
    assert matched(log, mixed) == [], "one camera that agrees is not enough where the other shows something else"


def displaced(fakes: Any, seed: int, cells: float) -> Any:
    """The same task again: all goes as before, up to so many cells of 32 elsewhere, more or less as time goes on."""
    log = without(episode(fakes, seed), Kind.VECTOR)
    drift = np.sin(np.linspace(0, 2 * np.pi, 80))

    def elsewhere(images: Any) -> Any:
        moved = [np.roll(x, round(2 * cells * d), axis=1) for x, d in zip(images, drift, strict=True)]
        background = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        things = [np.roll((x == (250, 240, 230)).all(axis=2), round(2 * cells * d), axis=1) for x, d in
                  zip(images, drift, strict=True)]  # fmt: skip
        return np.stack([np.where(t[..., None], m, background) for t, m in zip(things, moved, strict=True)])

    return log, changed(log, pictures=elsewhere)


def test_one_task_done_again_a_little_elsewhere_is_no_copy(fakes: Any) -> None:
    log, again = displaced(fakes, 0, 1.5)
    coarse = films(sketch(log).films[0], sketch(again).films[0], 0, MatchConfig())
    assert coarse is not None
    assert coarse.coverage >= MatchConfig().coverage, "by what moves alone it looks like one"
    assert matched(log, again) == []


def test_a_doubtful_pair_counts_only_where_no_other_log_comes_near() -> None:
    def told(first: int, second: int, apart: float, *, sure: bool = False, match: bool = True) -> Any:
        found = Match(first=str(first), second=str(second), kind=MatchKind.PICTURES, first_ns=(0, 1), second_ns=(0, 1),
                      offset_ns=0, numbers=0.0, pictures=1.0, score=1.0, why="")  # fmt: skip
        return (first, second), Weighed(match=found if match else None, sure=sure, apart=apart)

    far = [told(0, other, 0.8, match=False) for other in range(2, 5)]
    far += [told(other, 1, 0.7, match=False) for other in range(2, 4)]
    doubtful, near = told(0, 1, 0.06), told(1, 5, 0.3, match=False)
    assert [m.second for m in settle([doubtful, *far])] == ["1"]
    assert settle([doubtful, *far, near]) == [], "here tasks are repeated"
    assert settle([doubtful, *far[:4]]) == [], "too few others to tell"
    assert [m.second for m in settle([told(0, 1, 0.01, sure=True), near])] == ["1"]
    assert [m.second for m in settle([doubtful, *far, told(0, 6, 0.01, sure=True)])] == ["1", "6"]


def test_a_programme_that_an_arm_repeats_is_no_copy_where_pictures_differ(fakes: Any) -> None:
    repeated = changed(
        episode(fakes, 1, state=0), numbers=lambda x: x + np.random.default_rng(0).normal(0, 1e-4, x.shape)
    )
    assert matched(episode(fakes, 0, state=0), repeated) == []


def test_numbers_that_are_the_same_to_the_bit_are_a_copy_whatever_the_pictures(fakes: Any) -> None:
    (match,) = matched(episode(fakes, 0, state=0), episode(fakes, 1, state=0))
    assert match.kind is MatchKind.STATE_ACTION
    assert "the same to the bit" in match.why


def test_a_shared_start_is_not_enough(fakes: Any) -> None:
    log = without(episode(fakes, 0), Kind.IMAGE)
    other = without(episode(fakes, 1), Kind.IMAGE)
    a, b = (x.held["observation.state"].array for x in (log, other))
    spliced = np.concatenate([a[:100] + 1e-6, b[100:] + (a[100] - b[100])])
    stream = replace(other.held["observation.state"], values=spliced)
    assert matched(log, replace(other, held={"observation.state": stream})) == []


def test_logs_in_which_nothing_moves_are_no_copies(fakes: Any) -> None:
    still = np.zeros((400, 3))
    noise = np.random.default_rng(0)
    logs = [
        changed(without(episode(fakes, 0), Kind.IMAGE), numbers=lambda x: still + noise.normal(0, 1e-3, still.shape))
        for _ in range(4)
    ]
    assert matched(*logs) == []


def test_empty_logs_and_streams_that_run_backwards_are_sketched(fakes: Any) -> None:
    empty = fakes.log(fakes.stream("a", [], np.zeros((0, 2))))
    assert sketch(empty).parts == ()
    log = without(episode(fakes, 0), Kind.IMAGE)
    turned: Stream = log.held["observation.state"]
    turned = replace(turned, times_ns=turned.times_ns[::-1].copy(), values=turned.array[::-1].copy())
    (numbers,) = sketch(fakes.log(turned)).numbers
    assert np.array_equal(numbers.values, sketch(log).numbers[0].values)


def test_rows_that_are_not_finite_are_left_out(fakes: Any) -> None:
    def spoil(values: Any) -> Any:
        values = values.copy()
        values[50:60] = np.nan
        return values

    (numbers,) = sketch(changed(without(episode(fakes, 0), Kind.IMAGE), numbers=spoil)).numbers
    assert np.isfinite(numbers.values).all()


def test_a_bound_on_partners_leaves_the_copies_among_many_logs_of_one_task(fakes: Any) -> None:
    logs = [changed(episode(fakes, 0), numbers=wobbling(seed, 0.1), later_ns=seed) for seed in range(12)]
    logs.append(changed(logs[3], numbers=wobbling(99, 0.001), later_ns=77))
    sketches = [sketch(without(log, Kind.IMAGE)) for log in logs]
    everything = candidates(sketches, MatchConfig(partners=0))
    few = candidates(sketches, MatchConfig(partners=2))
    assert len(few) <= 2 * len(logs) < len(everything)
    assert (3, 12) in {(pair.first, pair.second) for pair in few}
    with pytest.raises(ConfigError):
        MatchConfig(partners=-1)


def wobbling(seed: int, much: float) -> Any:
    """Numbers with a slow wobble of their own."""

    def change(values: Any) -> Any:
        return values + much * np.ptp(values, axis=0) * motion(1000 + seed, len(values) / 50, 50)[: len(values)]

    return change


def test_other_bytes_are_no_sketch() -> None:
    with pytest.raises(Tampered):
        from_bytes(b"not safetensors")


def test_shares_beyond_one_are_refused() -> None:
    with pytest.raises(ConfigError):
        MatchConfig(coverage=1.5)


def test_the_graph_and_the_product_find_the_same_neighbours() -> None:
    pytest.importorskip("usearch")
    rng = np.random.default_rng(0)
    base = rng.normal(size=(600, 24)).astype(np.float32)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    owner = np.arange(600) // 10
    exact, cosines = nearest(base, owner, base[:100], owner[:100], 5, graph=False)
    found, near = nearest(base, owner, base[:100], owner[:100], 5, graph=True)
    assert (owner[exact] != owner[:100, None]).all()
    assert (found == exact).mean() > 0.98
    assert np.allclose(np.sort(near), np.sort(cosines), atol=1e-2)


def test_fewer_neighbours_than_asked_for_are_told() -> None:
    base = np.eye(3, dtype=np.float32)
    rows, _ = nearest(base, np.array([0, 0, 1]), base, np.array([0, 0, 1]), 4, graph=False)
    assert (np.sort(rows, axis=1)[:, -2:] == [[-1, 2], [-1, 2], [0, 1]]).all()
