"""Codes and values of finite scalar quantisation, draws, and rounding to a rate."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worldgate.core.errors import UsageError
from worldgate.worlds.nn.bottlenecks import Fsq, Gaussian, Tanh, rounded

LEVELS = st.lists(st.integers(2, 9), min_size=1, max_size=4)


@given(LEVELS)
def test_every_code_has_its_own_values_and_comes_back(levels):
    squeeze = Fsq(levels)
    codes = torch.arange(math.prod(levels))
    values = squeeze.values(codes)
    assert torch.equal(squeeze.codes(values), codes)
    assert len(torch.unique(values, dim=0)) == len(codes)
    assert values.abs().max() <= 1


@given(LEVELS, st.integers(0, 2**31 - 1))
def test_what_is_quantised_is_one_of_the_codes_and_quantised_again_the_same(levels, seed):
    squeeze = Fsq(levels)
    raw = 3 * torch.randn(50, len(levels), generator=torch.Generator().manual_seed(seed))
    values, _ = squeeze(raw)
    assert torch.allclose(squeeze.values(squeeze.codes(values)), values, atol=1e-6)


def test_every_level_is_reached_and_the_gradient_passes():
    squeeze = Fsq((8, 5, 2))
    raw = torch.linspace(-6, 6, 400).unsqueeze(1).repeat(1, 3).requires_grad_()
    values, _ = squeeze(raw)
    assert [len(values[:, c].unique()) for c in range(3)] == [8, 5, 2]
    values.sum().backward()
    assert raw.grad is not None
    assert (raw.grad[190:210] > 0).all()


@pytest.mark.parametrize("levels", [(), (1, 4), (2,) * 31])
def test_levels_that_make_no_codebook_are_refused(levels):
    with pytest.raises(UsageError, match="two or more"):
        Fsq(levels)


@pytest.mark.parametrize("code", [-1, 40])
def test_a_code_outside_the_codebook_is_refused(code):
    with pytest.raises(UsageError, match="outside the codebook"):
        Fsq((8, 5)).values(torch.tensor([0, code]))


def test_draws_vary_in_training_alone_and_the_divergence_of_a_standard_normal_is_zero():
    squeeze = Gaussian(4, 0.5)
    raw = torch.zeros(10, 8)
    one, loss = squeeze(raw)
    assert loss.item() == 0
    assert not torch.equal(one, squeeze(raw)[0])
    squeeze.train(False)
    assert torch.equal(squeeze(raw)[0], torch.zeros(10, 4))
    mean, log_variance = torch.tensor([2.0, -1.0, 0, 0]), torch.tensor([0.5, 0, -1.0, 0])
    true = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (log_variance / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    assert squeeze(torch.cat([mean, log_variance]))[1].item() == pytest.approx(0.5 * true.mean().item(), rel=1e-5)


def test_tanh_keeps_within_one():
    assert Tanh(3)(torch.tensor([[-50.0, 0.0, 50.0]]))[0].tolist() == [[-1, 0, 1]]


@given(st.integers(2, 64), st.sampled_from([1.0, 3.0]))
def test_rounding_leaves_so_many_values_each_at_most_half_a_step_away(levels, reach):
    values = torch.linspace(-reach, reach, 5000)
    held = rounded(values, levels, reach)
    assert len(held.unique()) <= levels
    assert (held - values).abs().max() <= reach / levels * 1.001 + 1e-6
    assert (rounded(torch.tensor([-9.0, 9.0]), levels, reach).abs() < reach).all()
