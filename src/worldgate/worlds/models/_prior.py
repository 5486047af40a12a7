"""What the frame before says of the next one without any training: a linear guess with its error.

Where nothing stands before, a token is what its place usually shows. Numbers follow a ridge regression of their change
on the numbers before, on how those had changed, and on the last two actions, one for each of what may be known of
these; pictures stay as they are, or change as often as their places do. Errors are those
of left-out episodes, which also choose the penalty, so that few episodes suffice and no evidence means that nothing
moves.

Shape legend: N sequences, T frames, G tokens of a stream, E entries of a token, V codes, R rows, F features, A action
channels, L laws.
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
_LAWS = ((False, False), (True, False), (False, True), (True, True))
"""By what may be known beside the numbers before: the action, and what was earlier."""
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
        self.sizes = (numbers, numbers, actions, actions, 1)
        for s, (e, places, alone) in enumerate(zip(entries, tokens, plain, strict=True)):
            self.register_buffer(f"step_{s}", torch.ones(len(_LAWS), places, e))
            self.register_buffer(f"mean_{s}", torch.zeros(places, e))
            self.register_buffer(f"spread_{s}", torch.ones(places, e))
            if alone:
                self.register_buffer(f"laws_{s}", torch.zeros(len(_LAWS), sum(self.sizes), e))

    @torch.no_grad()
    def fit(self, tape: Tape, tokens: Sequence[Tensor]) -> None:
        """Learn from the training tracks' tokens (R, G, E) of these streams, as numbers."""
        now, after, track = tape.pairs()
        first = len(tape.tokens) - len(tokens)
        older = torch.isin(now - 1, now)
        earlier = torch.where(older, now - 1, now)
        plain = [t[:, 0] for t, alone in zip(tokens, self.plain, strict=True) if alone]
        numbers = torch.cat(plain, dim=1) if plain else torch.empty(len(tape.actions_RA), 0)
        given = torch.cat(
            [numbers[now], numbers[now] - numbers[earlier], tape.actions_RA[now], tape.actions_RA[earlier]], dim=1
        )
        for s, stream in enumerate(tokens):
            mine = tape.present[track, first + s]
            if not bool(mine.any()):
                continue
            held, change = stream[now][mine], (stream[after] - stream[now])[mine]
            self.get_buffer(f"mean_{s}").copy_(held.mean(dim=0))
            self.get_buffer(f"spread_{s}").copy_(held.std(dim=0, unbiased=False).clamp(min=_LEAST))
            self.get_buffer(f"step_{s}").copy_(change.square().mean(dim=0).sqrt().clamp(min=_LEAST))
            if self.plain[s]:
                self._regress(s, given[mine], change[:, 0], track[mine], tape.acts[track][mine], older[mine])

    def _regress(self, stream: int, given: Tensor, moved: Tensor, track: Tensor, acts: Tensor, older: Tensor) -> None:
        """One law for each of what may be known."""
        laws, step = self.get_buffer(f"laws_{stream}"), self.get_buffer(f"step_{stream}")
        for law, (acted, earlier) in enumerate(_LAWS):
            rows = (acts if acted else torch.ones_like(acts)) & (older if earlier else torch.ones_like(older))
            kinds = (True, earlier, acted, acted and earlier, True)
            used = torch.cat([torch.full((size,), kind) for kind, size in zip(kinds, self.sizes, strict=True)])
            if bool(rows.any()):
                weights, error = _ridge(given[rows][:, used[:-1]], moved[rows], track[rows])
                laws[law, used], step[law] = weights, error.clamp(min=_LEAST)
            elif earlier:
                laws[law], step[law] = laws[law - 2], step[law - 2]

    def forward(self, before: Before, guidance: Guidance) -> list[tuple[Tensor, Tensor]]:
        """Mean (N, T, G, E) and variance of every stream's clean tokens."""
        was = [before.level_NTS[..., s, None, None] for s in range(len(self.plain))]
        known = [self._known(s, w, tokens) for s, (w, tokens) in enumerate(zip(was, before.tokens, strict=True))]
        law_NT = guidance.acted_NT.long()
        if before.earlier is not None:
            law_NT = law_NT + 2 * before.earlier.known_NT.long()
        numbers = [held for (held, _), alone in zip(known, self.plain, strict=True) if alone]
        given_NTF = self._given(numbers, before, guidance)
        out = []
        for s, alone in enumerate(self.plain):
            mean, doubt = known[s]
            if alone:
                moves_NTLE = torch.einsum("ntf,lfe->ntle", given_NTF, self.get_buffer(f"laws_{s}"))
                mean = mean + was[s] * torch.take_along_dim(moves_NTLE, law_NT[..., None, None], dim=2)
            change = self.get_buffer(f"step_{s}")[law_NT].square()
            usual = self.get_buffer(f"spread_{s}").square()
            out.append((mean, torch.minimum(doubt + change, usual)))
        return out

    def _given(self, numbers: Sequence[Tensor], before: Before, guidance: Guidance) -> Tensor:
        """(N, T, F); of no weight where it is not known."""
        actions_NTA, earlier = guidance.actions_NTA, before.earlier
        if earlier is None:
            changes, past_NTA = [torch.zeros_like(x) for x in numbers], torch.zeros_like(actions_NTA)
        else:
            changes = [x - y for x, y in zip(numbers, earlier.numbers, strict=True)]
            past_NTA = earlier.actions_NTA
        one = actions_NTA.new_ones(*actions_NTA.shape[:2], 1)
        return torch.cat([*(x.squeeze(2) for x in (*numbers, *changes)), actions_NTA, past_NTA, one], dim=-1)

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
        pairs = (now_RGE * self.codes + after_RGE).to(self.log_GEVV.device)
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
