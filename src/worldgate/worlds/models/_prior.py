"""What the frame before says of the next one without any training: a linear guess with its error.

Where nothing stands before, a token is what its place usually shows. Numbers follow a ridge regression of their change
on the numbers before and the action; pictures stay as they are, or change as often as their places do. Errors are those
of left-out episodes, which also choose the penalty, so that few episodes suffice and no evidence means that nothing
moves.

Shape legend: N sequences, T frames, G tokens of a stream, E entries of a token, V codes, R rows, F features, A action
channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worldgate.worlds.models._dream import Before
from worldgate.worlds.models._tape import Tape
from worldgate.worlds.nn.streams import Guidance

_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e6)
_FOLDS = 3
_LEAST = 1e-3
_ODD = 10.0
"""Deviations from the guess at which a number's surprise is held."""
_UNSEEN = 0.5
"""Count of what was never seen."""
_BORROWED = 10.0
"""Counts that every place borrows from all others."""


class Prior(nn.Module):
    """Of every stream, as a Gaussian.

    Args:
        entries: of a token of each stream.
        tokens: G of each stream.
        plain: whether a stream is numbers, one token a frame.
        actions: A.
    """

    def __init__(self, entries: Sequence[int], tokens: Sequence[int], plain: Sequence[bool], actions: int) -> None:
        super().__init__()
        self.plain = tuple(plain)
        numbers = sum(e for e, alone in zip(entries, plain, strict=True) if alone)
        for s, (e, places, alone) in enumerate(zip(entries, tokens, plain, strict=True)):
            self.register_buffer(f"step_{s}", torch.ones(2, places, e))
            self.register_buffer(f"mean_{s}", torch.zeros(places, e))
            self.register_buffer(f"spread_{s}", torch.ones(places, e))
            if alone:
                self.register_buffer(f"blind_{s}", torch.zeros(numbers + 1, e))
                self.register_buffer(f"acting_{s}", torch.zeros(numbers + actions + 1, e))

    @torch.no_grad()
    def fit(self, tape: Tape, tokens: Sequence[Tensor]) -> None:
        """Learn from the training tracks' tokens (R, G, E) of these streams, as numbers."""
        now, after, track = tape.pairs()
        first = len(tape.tokens) - len(tokens)
        held = [t[now] for t in tokens]
        features = torch.cat(
            [h[:, 0] for h, alone in zip(held, self.plain, strict=True) if alone] or [torch.empty(0)], 1
        )
        for s, stream in enumerate(held):
            mine = tape.present[track, first + s]
            change = (tokens[s][after] - stream)[mine]
            if bool(mine.any()):
                self.get_buffer(f"mean_{s}").copy_(stream[mine].mean(dim=0))
                self.get_buffer(f"spread_{s}").copy_(stream[mine].std(dim=0, unbiased=False).clamp(min=_LEAST))
            step = self.get_buffer(f"step_{s}")
            step[:] = change.square().mean(dim=0).sqrt().clamp(min=_LEAST)
            if not self.plain[s] or not bool(mine.any()):
                continue
            acts = mine & tape.acts[track]
            drive = torch.cat([features, tape.actions_RA[now]], dim=1)
            for row, name, rows, given in ((0, "blind", mine, features), (1, "acting", acts, drive)):
                if bool(rows.any()):
                    moved = (tokens[s][after] - stream)[rows][:, 0]
                    weights, error = _ridge(given[rows], moved, track[rows])
                    self.get_buffer(f"{name}_{s}").copy_(weights)
                    step[row] = error.clamp(min=_LEAST)

    def forward(self, before: Before, guidance: Guidance) -> list[tuple[Tensor, Tensor]]:
        """Mean (N, T, G, E) and variance of every stream's clean tokens."""
        acted_NT11 = guidance.acted_NT[..., None, None]
        was = [before.level_NTS[..., s, None, None] for s in range(len(self.plain))]
        known = [self._known(s, w, tokens) for s, (w, tokens) in enumerate(zip(was, before.tokens, strict=True))]
        features = [held for (held, _), alone in zip(known, self.plain, strict=True) if alone]
        out = []
        for s, alone in enumerate(self.plain):
            (mean, doubt), step = known[s], self.get_buffer(f"step_{s}")
            if alone:
                one = mean.new_ones(*mean.shape[:-1], 1)
                blind = torch.cat([*features, one], dim=-1)
                acting = torch.cat([*features, guidance.actions_NTA.unsqueeze(2), one], dim=-1)
                moves = torch.where(
                    acted_NT11, acting @ self.get_buffer(f"acting_{s}"), blind @ self.get_buffer(f"blind_{s}")
                )
                mean = mean + was[s] * moves
            change = torch.where(acted_NT11, step[1], step[0]).square()
            usual = self.get_buffer(f"spread_{s}").square()
            out.append((mean, torch.minimum(doubt + change, usual)))
        return out

    def _known(self, stream: int, was: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the clean tokens before, from what is remembered of them."""
        mean, usual = self.get_buffer(f"mean_{stream}"), self.get_buffer(f"spread_{stream}").square()
        gain = was * usual / (was.square() * usual + (1 - was).square()).clamp(min=_LEAST**2)
        return mean + gain * (tokens - was * mean), usual * (1 - gain * was)


class Habits(nn.Module):
    """How often each code of a place comes after each other one there, counted; for pictures of codes.

    Args:
        tokens: G.
        digits_E: which digit of a place each entry is; few counts are filled up with those of its digit everywhere.
        codes: V; code V stands for one that is not known.
    """

    def __init__(self, tokens: int, digits_E: Tensor, codes: int) -> None:
        super().__init__()
        self.codes = codes
        entries = len(digits_E)
        self.register_buffer("digits_E", digits_E, persistent=False)
        self.register_buffer("place_G1", torch.arange(tokens)[:, None], persistent=False)
        self.register_buffer("entry_E", torch.arange(entries), persistent=False)
        self.register_buffer("log_GEVV", torch.zeros(tokens, entries, codes + 1, codes))

    digits_E: Tensor
    place_G1: Tensor
    entry_E: Tensor
    log_GEVV: Tensor

    @torch.no_grad()
    def fit(self, now_RGE: Tensor, after_RGE: Tensor) -> None:
        """Count pairs of frames in a row."""
        pairs = now_RGE * self.codes + after_RGE
        counts = torch.stack([(pairs == code).sum(dim=0) for code in range(self.codes**2)], dim=-1).float()
        counts = torch.unflatten(counts, -1, (self.codes, self.codes))
        counts = torch.cat([counts, counts.sum(dim=2, keepdim=True)], dim=2)
        each = nn.functional.one_hot(self.digits_E).float()
        usual = torch.einsum("gevw,ed->dvw", counts, each) + _UNSEEN
        counts = counts + _BORROWED * (usual / usual.sum(dim=-1, keepdim=True))[self.digits_E]
        self.log_GEVV.copy_((counts / counts.sum(dim=-1, keepdim=True)).log())

    def forward(self, before_NTGE: Tensor) -> Tensor:
        """Log probabilities (N, T, G, E, V)."""
        return self.log_GEVV[self.place_G1, self.entry_E, before_NTGE]


def told(now: Sequence[Tensor], before: Sequence[Tensor], guesses: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """What is known of a frame's numbers: they, how they changed, and how they differ from the guess.

    Args:
        now: (N, T, 1, E) of every state stream, the guess where nothing is known.
        before: the same of the frame before.
        guesses: mean and variance of each.
    """
    odd = [((x - mean) / variance.sqrt()).clamp(-_ODD, _ODD) for x, (mean, variance) in zip(now, guesses, strict=True)]
    return [*now, *(x - y for x, y in zip(now, before, strict=True)), *odd]


def posterior(prior: tuple[Tensor, Tensor], x_NTGE: Tensor, level_NT: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation when ``x = level * clean + (1 - level) * noise`` is known, too."""
    (mean, variance), level = prior, level_NT[..., None, None]
    gain = level * variance / (level.square() * variance + (1 - level).square()).clamp(min=_LEAST**2)
    return mean + gain * (x_NTGE - level * mean), (variance * (1 - gain * level)).sqrt()


def _ridge(given_RF: Tensor, moved_RE: Tensor, track_R: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (F + 1, E), and the deviation (E) of left-out episodes' errors."""
    given = torch.cat([given_RF, given_RF.new_ones(len(given_RF), 1)], dim=1).double()
    moved = moved_RE.double()
    fold = track_R % _FOLDS
    errors = []
    for penalty in _PENALTIES:
        square = torch.zeros(moved.shape[1], dtype=torch.float64)
        for f in range(_FOLDS):
            out, seen = fold == f, fold != f
            if bool(out.any()) and bool(seen.any()):
                square += (moved[out] - given[out] @ _solve(given[seen], moved[seen], penalty)).square().sum(dim=0)
        errors.append(square / len(moved))
    table = torch.stack(errors)
    best = table.argmin(dim=0)
    weights = torch.stack([_solve(given, moved, penalty) for penalty in _PENALTIES])
    chosen = weights[best, :, torch.arange(moved.shape[1])].T
    return chosen.float(), table.amin(dim=0).sqrt().float()


def _solve(given: Tensor, moved: Tensor, penalty: float) -> Tensor:
    square = given.T @ given
    ridge = penalty * len(given) * torch.eye(len(square), dtype=square.dtype)
    out: Tensor = torch.linalg.solve(square + ridge, given.T @ moved)
    return out
