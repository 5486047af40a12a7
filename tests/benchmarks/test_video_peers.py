"""The peers of the video benchmark learn, keep to the same protocol as ours, and are compared as the table says."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import Kind
from worldgate.core.worlds import ModelSpec, Prompt, Signal, rollout
from worldgate.worlds.tracks import Layout, Track, fit_normaliser

HERE = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path[:0] = [str(HERE), str(HERE / "peers")]
import video  # noqa: E402
import video_edm  # noqa: E402
import video_genie  # noqa: E402
import video_learning as learning  # noqa: E402
import video_table as table  # noqa: E402

CAMERA = "observation.images.front"
LAYOUT = Layout(
    rate_hz=10.0,
    states=(Signal(name="observation.state", unit="m", shape=(2,), names=("x", "y")),),
    action=Signal(name="action", unit="m", shape=(2,)),
    cameras=(Signal(name=CAMERA, unit="1", shape=(64, 64, 3), kind=Kind.IMAGE),),
    groups=("",),
)
SMALL = {
    "edm": video_edm.Config(width=16, levels=2, blocks=1, patch=4, batch=8, rate=3e-3),
    "genie": video_genie.Config(
        width=32, depth=2, heads=2, rate=4e-3, batch=8, tokens_width=32, tokens_depth=1, tokens_rate=4e-3,
        tokens_batch=8,
    ),
}  # fmt: skip
MODULES: dict[str, Any] = {"edm": video_edm, "genie": video_genie}


def track(seed: int, rows: int = 24) -> Track:
    """A square that goes where the action says, on a grey table."""
    draw = np.random.default_rng(seed)
    place = np.clip(np.cumsum(draw.normal(0, 4, (rows + 1, 2)), axis=0) + 32, 8, 56)
    frames = np.full((rows, 64, 64, 3), 90, np.uint8)
    for t, (i, j) in enumerate(place[:rows].round().astype(int)):
        frames[t, i - 6 : i + 6, j - 6 : j + 6] = (230, 40, 30)
    return Track(
        id=str(seed),
        group="",
        states_TD=place[:rows].astype(np.float32),
        actions_TA=place[1:].astype(np.float32),
        valid_T=np.ones(rows, np.bool_),
        frames={CAMERA: frames},
    )


TRAIN, HELD_OUT = [track(i) for i in range(6)], [track(i) for i in range(100, 103)]


def made(name: str) -> Any:
    torch.manual_seed(0)
    normaliser: Normaliser = fit_normaliser(TRAIN, LAYOUT)
    return MODULES[name].create(SMALL[name], LAYOUT, normaliser, TRAIN, HELD_OUT)


def spec() -> ModelSpec:
    return ModelSpec(
        family="peer", digest="", normaliser="", rate_hz=10.0, context=learning.CONTEXT, states=LAYOUT.states,
        cameras=LAYOUT.cameras, action=LAYOUT.action,
    )  # fmt: skip


def rolled(peer: Any, seed: int = 0, samples: int = 2) -> np.ndarray[Any, Any]:
    held = HELD_OUT[0]
    rows = slice(4, 4 + learning.CONTEXT)
    prompt = Prompt(
        states={"observation.state": held.states_TD[rows]},
        frames={CAMERA: held.frames[CAMERA][rows]},
        actions=held.actions_TA[rows],
    )
    now = rows.stop - 1
    frame = rollout(peer.world(spec()), prompt, held.actions_TA[now : now + 3], samples=samples, seed=seed).frame
    assert frame.states["observation.state"].shape == (samples, 3, 2)
    return frame.frames[CAMERA]


def error(peer: Any) -> float:
    """Of imagined pictures, on intensities from 0 to 1."""
    now = 3 + learning.CONTEXT
    real = HELD_OUT[0].frames[CAMERA][now + 1 : now + 4].astype(np.float64)
    return float((((rolled(peer) - real) / 255) ** 2).mean())


@pytest.mark.parametrize("name", ["edm", "genie"])
def test_a_peer_learns_and_beats_its_untrained_self(name: str) -> None:
    peer = made(name)
    before, ticks = error(peer), count(step=0.5)
    told = learning.learn(peer.stages(), 60.0, lambda: {"energy@1": error(peer)}, clock=lambda: next(ticks))
    assert error(peer) < 0.5 * before
    last = told["stages"][-1]
    assert last["losses"][-1]["loss"] < last["losses"][0]["loss"]
    assert [point["part"] for point in told["curve"]] == list(learning.JUDGED)
    assert told["curve"][-1]["own_loss_held_out"] < told["curve"][0]["own_loss_held_out"]
    assert sum(stage["steps"] for stage in told["stages"]) == 120


@pytest.mark.parametrize("name", ["edm", "genie"])
def test_a_peer_repeats_by_seed_and_its_futures_differ(name: str) -> None:
    peer = made(name)
    one, again, other = rolled(peer), rolled(peer), rolled(peer, seed=1)
    assert one.shape == (2, 3, 64, 64, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, again)
    if name == "genie":  # an untrained denoiser gives back nearly nothing of its noise; an untrained chooser chooses
        assert not np.array_equal(one, other)
        assert not np.array_equal(one[0], one[1])


def test_remembered_keys_give_what_the_whole_window_gives() -> None:
    torch.manual_seed(0)
    net = video_genie.Dynamics(replace(SMALL["genie"], depth=3), 5)
    codes, told = torch.randint(512, (2, 4, 64)), torch.randn(2, 4, 5)
    whole, _ = net(codes, told)
    _, past = net(codes[:, :3], told[:, :3])
    last, _ = net(codes[:, 3:], told[:, 3:], past)
    torch.testing.assert_close(last, whole[:, 3:])


def test_the_sampler_goes_from_the_highest_level_to_none_and_keeps_a_clean_picture() -> None:
    sigmas = video_edm.levels()
    assert len(sigmas) == video_edm.STEPS + 1
    assert sigmas[0] == pytest.approx(5.0)
    assert sigmas[-2] == pytest.approx(0.002, rel=1e-3)
    assert sigmas[-1] == 0
    net = video_edm.Denoiser(SMALL["edm"], 4)
    picture = torch.rand(2, 3, 64, 64) - 0.5
    past, told = torch.zeros(2, 12, 64, 64), torch.zeros(2, 4, 4)
    kept = net(picture, torch.full((2,), 0.002), past, told)
    torch.testing.assert_close(kept, picture, atol=1e-2, rtol=0)


def sums(values: list[float]) -> dict[str, list[float]]:
    return {str(i): [value, 1.0] for i, value in enumerate(values)}


def found(ours: list[float], peer: list[float], *, starved: bool = False) -> dict[str, Any]:
    def of(values: list[float]) -> dict[str, Any]:
        steps = {"8": {"model": sums(values), "hold": sums([9.0] * len(values)), "other": sums([8.0] * len(values))}}
        return {f"{CAMERA}/energy": {"unit": "1", "better": "lower", "steps": steps}}

    return {"flow": {"sums": of(ours), "starved": False}, "edm": {"sums": of(peer), "starved": starved}}


def test_a_lead_needs_its_whole_interval_and_says_when_the_peer_is_starved() -> None:
    clear = table.rows_of("cell", found([1, 2, 3, 1, 2, 3], [2, 3, 4, 2, 3, 4.5], starved=True), 10.0)
    assert len(clear) == 1
    row = clear[0]
    assert (row["peer"], row["ok"], row["starved"]) == ("edm", True, True)
    assert row["others"]["edm"]["difference"][0] == pytest.approx(13 / 12, abs=1e-4)
    assert row["others"]["copy-last"]["verdict"] == "ahead"
    assert row["counterfactual"][0] == pytest.approx(1 - 2 / 8)
    mixed = table.rows_of("cell", found([1, 2, 3, 1, 2, 3], [3, 1, 2, 3, 1, 2]), 10.0)[0]
    assert mixed["others"]["edm"]["verdict"] == "even"
    assert not mixed["ok"]
    behind = table.rows_of("cell", found([5, 5, 6, 5, 5, 6], [1, 1, 2, 1, 1, 2]), 10.0)[0]
    assert behind["others"]["edm"]["verdict"] == "behind"
    few = table.rows_of("cell", found([1, 1], [3, 3]), 10.0)[0]
    assert few["others"]["edm"]["verdict"] == "open"
    assert not few["ok"]


def point(energy: float, own: float | None) -> dict[str, Any]:
    return {"energy@8": energy, "moving@8": 1.0, "copy-last energy@8": 0.0, "own_loss_held_out": own}


def test_nobody_is_ahead_where_neither_more_nor_less_is_better() -> None:
    held = found([1, 2, 3, 1, 2, 3], [2, 3, 4, 2, 3, 4.5])
    for model in held.values():
        model["sums"][f"{CAMERA}/energy"]["better"] = "target"
    row = table.rows_of("cell", held, 10.0)[0]
    assert (row["peer"], row["ok"], row["others"]["edm"]["verdict"]) == ("", False, "open")


def trained(*curve: dict[str, Any], steps: int = 500) -> dict[str, Any]:
    return {"curve": list(curve), "stages": [{"steps": steps}]}


def test_who_still_gained_in_the_last_quarter_or_hardly_began_is_starved() -> None:
    assert table.starved(trained(point(2.0, 1.0), point(1.8, 1.0)))
    assert table.starved(trained(point(2.0, 1.0), point(2.0, 0.9)))
    assert not table.starved(trained(point(2.0, 1.0), point(1.98, 0.99)))
    assert not table.starved(trained(point(2.0, None), point(1.98, None)))
    assert table.starved(trained(point(2.0, None)))
    assert table.starved(trained(point(2.0, 1.0), point(2.0, 1.0), steps=20))


def test_cells_are_kept_and_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        done.append(request["do"])
        return {"curve": [point(1.0, None)], "asked": request["asked"]}

    monkeypatch.setattr(video, "cells", SimpleNamespace(**{**vars(video.cells), "answer": answer}))
    bench = video.Bench(cache=tmp_path, seconds=1.0, windows=1, samples=1, tell=lambda line: None, quick=True)
    folder = tmp_path / "set-cell-0123"
    first, weights, _ = bench.trained(folder, "edm", 1, {})
    again, same, asked = bench.trained(folder, "edm", 1, {})
    assert (first, weights) == (again, same)
    assert done == ["train"]
    bench.trained(folder, "edm", 2, {})
    bench.judged(folder, weights, asked, {})
    assert done == ["train", "train", "judge"]
    longer = replace(bench, seconds=2.0)
    longer.trained(folder, "edm", 1, {})
    assert done[-1] == "train"
    assert len(done) == 4


def test_a_model_whose_process_fails_is_named_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def apart(self: Any, key: str, request: dict[str, Any]) -> dict[str, Any]:
        if request["asked"]["model"] == "genie":
            raise subprocess.CalledProcessError(1, "python")
        if request["do"] == "judge":
            return {"sums": {}}
        energy = {0: 3.0, 1: 1.0, 2: 2.0}[request["asked"]["configuration"]]
        return {"config": str(energy), **trained(point(energy, 1.0), point(energy, 1.0))}

    monkeypatch.setattr(video.Bench, "_apart", apart)
    bench = video.Bench(cache=tmp_path, seconds=1.0, windows=1, samples=1, tell=lambda line: None, jobs=2)
    out, failed = video.measure(bench, tmp_path / "set-cell-0123", ["edm", "genie"], 3, {})
    assert list(out) == ["edm"]
    assert (out["edm"]["configuration"], out["edm"]["of"]) == (1, 3)
    assert list(failed) == ["genie"]
