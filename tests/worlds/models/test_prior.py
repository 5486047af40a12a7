"""The guess that the token families start from: a linear law is found, and noise is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from worldgate.worlds.models._dream import Before, Earlier
from worldgate.worlds.models._prior import Prior
from worldgate.worlds.models._tape import Tape
from worldgate.worlds.nn.streams import Guidance
from worldgate.worlds.tracks import Track


def tape_of(states, actions, acts=True):
    """One track a pair of arrays (T, D) and (T, A)."""
    tracks = [
        Track(
            id=str(i),
            group="",
            states_TD=s.numpy(),
            actions_TA=a.numpy(),
            valid_T=np.ones(len(s), bool),
        )
        for i, (s, a) in enumerate(zip(states, actions, strict=True))
    ]
    tokens = [[s.unsqueeze(1)] for s in states]
    blank = [torch.zeros(0, 1, states[0].shape[1])]
    return Tape(tracks, tokens, actions, [acts] * len(tracks), torch.zeros(len(tracks), 0), blank)


def follow(seed, gain=0.3, noise=0.0):
    """Numbers that go part of the way to their command in each row."""
    rng = torch.Generator().manual_seed(seed)
    actions = torch.randn(60, 2, generator=rng)
    rows = [torch.zeros(2)]
    for t in range(59):
        rows.append(rows[-1] + gain * (actions[t] - rows[-1]) + noise * torch.randn(2, generator=rng))
    return torch.stack(rows), actions


def guess(prior, now, action, level=1.0, acted=True):
    before = Before(tokens=(now.reshape(1, 1, 1, 2),), level_NTS=torch.full((1, 1, 1), level))
    guidance = Guidance(
        actions_NTA=action.reshape(1, 1, 2),
        acted_NT=torch.tensor([[acted]]),
        text_NE=torch.zeros(1, 0),
        told_N=torch.zeros(1, dtype=torch.bool),
    )
    mean, variance = prior(before, guidance)[0]
    return mean.flatten(), variance.flatten()


def fitted(pairs, acts=True):
    prior = Prior([2], [1], [True], 2)
    tape = tape_of([p[0] for p in pairs], [p[1] for p in pairs], acts)
    prior.fit(tape, tape.tokens)
    return prior


def test_a_linear_law_is_found_and_its_error_is_small():
    prior = fitted([follow(seed) for seed in range(6)])
    now, action = torch.tensor([0.5, -1.0]), torch.tensor([1.0, 0.0])
    mean, variance = guess(prior, now, action)
    assert mean.tolist() == pytest.approx([0.65, -0.7], abs=0.02)
    assert float(variance.max()) < 1e-3


def test_without_an_action_the_guess_is_wider():
    prior = fitted([follow(seed) for seed in range(6)])
    now, action = torch.tensor([0.5, -1.0]), torch.tensor([1.0, 0.0])
    assert float(guess(prior, now, action, acted=False)[1].min()) > 10 * float(guess(prior, now, action)[1].max())


def test_noise_is_no_law():
    rng = torch.Generator().manual_seed(0)
    pairs = [(torch.randn(40, 2, generator=rng).cumsum(0) * 0.1, torch.randn(40, 2, generator=rng)) for _ in range(6)]
    prior = fitted(pairs)
    now = torch.tensor([1.0, -1.0])
    mean, variance = guess(prior, now, torch.tensor([2.0, 2.0]))
    assert mean.tolist() == pytest.approx(now.tolist(), abs=0.06), "nothing moves"
    assert variance.sqrt().tolist() == pytest.approx([0.1, 0.1], abs=0.03)


def test_of_what_is_not_known_the_usual_is_guessed():
    pairs = [follow(seed) for seed in range(6)]
    held = torch.cat([p[0][:-1] for p in pairs])
    mean, variance = guess(fitted(pairs), torch.tensor([3.0, 3.0]), torch.tensor([1.0, 1.0]), level=0.0)
    assert torch.allclose(mean, held.mean(dim=0), atol=1e-5)
    assert bool((variance <= held.var(dim=0) + 1e-5).all())


def test_tracks_without_actions_leave_the_acting_guess_alone():
    prior = fitted([follow(seed) for seed in range(3)], acts=False)
    assert not bool(prior.get_buffer("laws_0")[1::2].any())


def coast(seed, friction=0.1):
    """Numbers that answer a command one row late, and keep most of their speed."""
    rng = torch.Generator().manual_seed(seed)
    actions = torch.randn(60, 2, generator=rng)
    rows = [torch.zeros(2), torch.zeros(2)]
    for t in range(1, 59):
        rows.append(rows[-1] + (1 - friction) * (rows[-1] - rows[-2]) + 0.05 * actions[t - 1])
    return torch.stack(rows), actions


def test_what_was_earlier_tells_speed_and_late_answers():
    prior = fitted([coast(seed) for seed in range(6)])
    now, old, late = torch.tensor([0.5, -1.0]), torch.tensor([0.3, -1.0]), torch.tensor([1.0, -1.0])
    acting = Guidance(
        actions_NTA=torch.zeros(1, 1, 2),
        acted_NT=torch.ones(1, 1, dtype=torch.bool),
        text_NE=torch.zeros(1, 0),
        told_N=torch.zeros(1, dtype=torch.bool),
    )

    def told(known):
        earlier = Earlier(
            numbers=(old.reshape(1, 1, 1, 2),),
            known_NT=torch.tensor([[known]]),
            actions_NTA=late.reshape(1, 1, 2),
        )
        before = Before(tokens=(now.reshape(1, 1, 1, 2),), level_NTS=torch.ones(1, 1, 1), earlier=earlier)
        mean, variance = prior(before, acting)[0]
        return mean.flatten(), variance.flatten()

    mean, variance = told(True)
    assert mean.tolist() == pytest.approx([0.5 + 0.9 * 0.2 + 0.05, -1.0 - 0.05], abs=0.02)
    assert float(variance.max()) < 1e-4
    alone, wider = told(False)
    assert torch.allclose(alone, guess(prior, now, torch.zeros(2))[0]), "what is not known has no say"
    assert float(wider.min()) > 10 * float(variance.max())


def test_windows_say_where_what_was_earlier_is_known():
    numbers = torch.arange(5.0).reshape(1, 5, 1, 1)
    guidance = Guidance(
        actions_NTA=10 * torch.arange(5.0).reshape(1, 5, 1),
        acted_NT=torch.ones(1, 5, dtype=torch.bool),
        text_NE=torch.zeros(1, 0),
        told_N=torch.zeros(1, dtype=torch.bool),
    )
    known = torch.tensor([[True, True, True, False, True]])
    for prefixed, expected in ((False, [2, 4]), (True, [4])):
        earlier = Earlier.of([numbers], known, guidance, prefixed=prefixed)
        at = earlier.known_NT[0].nonzero().flatten()
        assert at.tolist() == expected
        assert earlier.numbers[0][0, at, 0, 0].tolist() == [t - 2 for t in expected], "two frames back"
        assert earlier.actions_NTA[0, at, 0].tolist() == [10 * (t - 1) for t in expected], "what led to the one before"
