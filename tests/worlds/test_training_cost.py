"""What a training will cost is measured before it starts, and leaves no trace in it."""

from __future__ import annotations

import json

import pytest
import torch
from tests.worlds.synthetic import debug_config, episodes

from worldgate.worlds.train import cost
from worldgate.worlds.train.loop import train

LEARNABLE, HELD_OUT = episodes(4), episodes(1, first=50)


@pytest.mark.parametrize("family", ["state", "conv"])
def test_a_rehearsal_says_what_is_to_come_and_changes_nothing(tmp_path, family):
    config, told = debug_config(family), []
    train(family, LEARNABLE, HELD_OUT, config, tmp_path / "plain")
    train(family, LEARNABLE, HELD_OUT, config, tmp_path / "told", announce=told.append)
    plain, with_it = (
        [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("plain", "told")
    )
    assert plain == with_it
    said = told[0]
    assert said == cost.kept(tmp_path / "told")
    assert cost.kept(tmp_path / "plain") is None
    assert [p.phase for p in said.phases] == {"state": ["telemetry"], "conv": ["telemetry", "tokenizer", "dynamics"]}[
        family
    ]
    assert all(p.step_s > 0 and p.flops > 0 and p.evaluations >= 1 for p in said.phases)
    assert said.parameters > 1000
    assert said.memory_bytes > 100e6
    assert "on this machine, " in str(said)


def test_a_time_budget_bounds_what_is_said(tmp_path):
    import dataclasses

    config, told = debug_config("state"), []
    long = dataclasses.replace(config.phase, steps=10**7)
    loop = dataclasses.replace(config.loop, max_seconds=0.5, evaluate_every=10**7)
    budget = dataclasses.replace(config, phase=long, loop=loop)
    train("state", LEARNABLE, [], budget, tmp_path / "run", announce=told.append)
    assert told[0].seconds < 60
    assert told[0].phases[0].seconds > 3600


@pytest.mark.parametrize(("seconds", "said"), [(3.2, "3 s"), (110, "110 s"), (2400, "40 min"), (3 * 3600, "3 h")])
def test_times_are_said_as_people_say_them(seconds, said):
    held = cost.Cost(seconds=seconds, memory_bytes=3_100_000_000, parameters=12345, device="cpu", phases=())
    assert str(held) == f"about {said} on this machine, 3.1 GB; 12,345 weights"


def test_floating_point_operations_of_a_product_are_counted_forward_and_backward():
    with cost._Flops() as counter:
        a, b = torch.randn(8, 16, requires_grad=True), torch.randn(16, 4, requires_grad=True)
        (a @ b).sum().backward()
    assert counter.total == 3 * 2 * 8 * 16 * 4


def test_a_processor_has_no_known_peak_to_be_used_up():
    assert cost.utilisation(1e12, 10.0, torch.device("cpu")) is None
