"""One step: accumulated batches, recomputed blocks, lower precision, other devices."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from tests.worlds.synthetic import CAMERA, SIZE, debug_config, episodes, replace_inputs
from torch import nn

from worldgate.core.errors import ConfigError, UsageError
from worldgate.worlds.batches import Batch
from worldgate.worlds.tokenizers import mae
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train import parallel
from worldgate.worlds.train.config import LoopConfig, Parallel, PhaseConfig
from worldgate.worlds.train.loop import train
from worldgate.worlds.train.steps import Learner, Steps, drawn

CPU = torch.device("cpu")


class Line(nn.Module):
    """A model of one weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]))
        self.other = nn.Parameter(torch.tensor([5.0]))


class LinePhase:
    """Learns ``y = w x`` from numbers in turn."""

    name = "line"

    def __init__(self, model, **options):
        self.model, self.config = model, PhaseConfig(**{"steps": 4, "warmup": 1, "decay": 0.0, "ema": 0.0, **options})

    def parameters(self):
        return [self.model.weight]

    def draw(self, rng):
        return Batch(tensors={"x": torch.tensor(rng.normal(size=3), dtype=torch.float32)}, seed=int(rng.integers(99)))

    def loss(self, batch):
        return (self.model.weight * batch["x"] - 3 * batch["x"] + 0.1 * torch.randn(3)).square().mean()


def stepped(batches, count=3):
    model = Line()
    phase = LinePhase(model)
    steps = Steps(phase, Learner(model, LoopConfig(), CPU, parallel.Ranks()))
    draw = drawn(phase, [np.random.default_rng(n) for n in range(batches)])
    told = [steps.step(draw, batches, 0.0) for _ in range(count)]
    return model, told, steps


def test_accumulated_batches_give_the_gradient_of_their_mean():
    model, told, _ = stepped(2, count=1)
    again = Line()
    phase = LinePhase(again)
    losses = []
    for n in range(2):
        batch = phase.draw(np.random.default_rng(n))
        torch.manual_seed(batch.seed)
        losses.append(phase.loss(batch))
    mean = torch.stack(losses).mean()
    mean.backward()
    assert told[0][0] == pytest.approx(mean.item(), rel=1e-6)
    assert told[0][1] == pytest.approx(abs(again.weight.grad.item()), rel=1e-5)
    assert model.weight.grad is not None


def test_only_the_weights_of_a_phase_learn_and_all_may_learn_again_after_it():
    model, _, steps = stepped(1)
    assert model.other.item() == 5.0
    assert not model.other.requires_grad
    steps.learner.release()
    assert model.other.requires_grad


def test_a_state_brings_back_moments_averages_and_count_to_the_bit():
    one, _, steps = stepped(1)
    other = Line()
    phase = LinePhase(other)
    again = Steps(phase, Learner(other, LoopConfig(), CPU, parallel.Ranks()))
    other.load_state_dict(one.state_dict())
    again.restore(steps.state())
    batch = phase.draw(np.random.default_rng(5))
    assert steps.step(lambda: batch, 1, 0.5) == again.step(lambda: batch, 1, 0.5)
    assert torch.equal(one.weight, other.weight)
    assert again.count == 4


def test_a_batch_goes_to_the_device_and_keeps_its_seed():
    batch = Batch(tensors={"x": torch.ones(2)}, seed=4)
    moved = batch.to(torch.device("meta"))
    assert (moved["x"].device.type, moved.seed) == ("meta", 4)
    with pytest.raises(KeyError):
        batch["y"]


def tokenizer(**loop):
    made = replace_inputs(mae.debug(), Inputs(states=(), action="", cameras=(CAMERA,), size=SIZE))
    return dataclasses.replace(
        made, phase=dataclasses.replace(made.phase, steps=5), loop=dataclasses.replace(made.loop, **loop)
    )


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_blocks_that_are_recomputed_give_the_same_losses(tmp_path):
    for name, options in (("plain", {}), ("again", {"recompute": True})):
        train("mae", episodes(2), [], tokenizer(**options), tmp_path / name)
    assert losses(tmp_path / "again") == losses(tmp_path / "plain")


def test_bfloat16_is_close_and_not_the_same(tmp_path):
    for name, options in (("plain", {}), ("half", {"bf16": True})):
        config = debug_config("conv")
        loop = dataclasses.replace(config.loop, **options)
        train("conv", episodes(4), [], dataclasses.replace(config, loop=loop), tmp_path / name)
    assert losses(tmp_path / "half") != losses(tmp_path / "plain")
    np.testing.assert_allclose(losses(tmp_path / "half"), losses(tmp_path / "plain"), rtol=0.1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore:Mismatch dtype")  # torch's own, while it compiles
def test_compiled_blocks_give_nearly_the_same_losses(tmp_path):
    for name, options in (("plain", {}), ("compiled", {"compile": True})):
        train("mae", episodes(2), [], tokenizer(**options), tmp_path / name)
    np.testing.assert_allclose(losses(tmp_path / "compiled"), losses(tmp_path / "plain"), rtol=1e-3)


def test_a_family_without_blocks_cannot_recompute_them(tmp_path):
    config = debug_config("state")
    asked = dataclasses.replace(config, loop=dataclasses.replace(config.loop, recompute=True))
    with pytest.raises(UsageError, match="names no blocks"):
        train("state", episodes(4), [], asked, tmp_path / "run")


def test_a_device_that_is_not_there_is_named_with_those_that_are():
    assert parallel.device_of("cpu") == CPU
    with pytest.raises(UsageError, match="lacks the device") as caught:
        parallel.device_of("tpu")
    assert "cpu" in str(caught.value.hint)


def test_the_first_choice_of_a_device_is_the_fastest(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert parallel.device_of("auto") == torch.device("cuda:3")
    assert parallel.device_of("cuda:1") == torch.device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert parallel.device_of("auto") == torch.device("mps")


def test_a_way_of_sharing_that_there_is_not_is_refused():
    assert LoopConfig(parallel="fsdp").parallel is Parallel.FSDP
    with pytest.raises(ConfigError):
        LoopConfig(parallel="zero")


def test_without_torchrun_a_process_is_alone_and_agrees_with_itself():
    with parallel.group() as ranks:
        assert (ranks.first, ranks.count) == (True, 1)
        assert ranks.mean([1.0, 2.0]) == [1.0, 2.0]
        assert ranks.same("x") == "x"
        assert ranks.all(3) == [3]
        ranks.wait()
