"""A transformer over one sequence of tokens: words, numbers, pictures, and queries for the actions of a chunk.

Notable choices: every token sees every other one, and all actions are told at once (OpenVLA-OFT, arXiv 2502.19645):
one pass instead of one for each code, which is what keeps a decision at some milliseconds on a CPU, and an expert that
is told what to do leaves little to choose from one code to the next. Codes of numbers are ordered, so their embedding
is a smooth function of the code, and the target is spread over neighbouring codes (arXiv 2403.03950): both let a code
that was never seen mean what its neighbours mean.

Shape legend: B batch, L tokens, D channels of a stream, K actions, A channels of an action, N codes, W width, F waves.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.control.policies._nets import Eye, NetConfig, Sight
from worldgate.core.worlds import Signal
from worldgate.worlds.nn.attention import SpaceTime

WAVES = 4
AROUND = 3
"""Codes on either side of the likeliest that are believed with it."""
AT_ONCE = 4
"""Actions that one query tells."""


class Numbers(nn.Module):
    """Codes of one stream as tokens: a linear map of waves of each code, summed over the channels of one thing.

    Channels of one thing are those whose names begin alike: ``red.x`` and ``red.y`` are two codes of one token.
    """

    def __init__(self, signal: Signal, count: int, width: int) -> None:
        super().__init__()
        self.count = count
        names = signal.names or tuple(str(n) for n in range(signal.shape[0]))
        things = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
        features = 1 + 2 * WAVES
        self.maps_DFW = nn.Parameter(
            torch.randn(len(names), features, width) * math.sqrt(len(things) / len(names) / features)
        )
        self.thing_TW = nn.Parameter(torch.randn(len(things), width))
        belongs = [things.index(name.rpartition(".")[0] or name) for name in names]
        self.register_buffer("belongs_D", torch.tensor(belongs), persistent=False)

    belongs_D: Tensor

    def forward(self, codes_BD: Tensor) -> Tensor:
        """(B, things, W)."""
        value = 2 * codes_BD.float() / (self.count - 1) - 1
        turns = value[..., None] * (math.pi * 2.0 ** torch.arange(-1, WAVES - 1, device=value.device))
        waves = [value[..., None], turns.sin(), turns.cos()]
        each_BDW = torch.einsum("bdf,dfw->bdw", torch.cat(waves, dim=-1), self.maps_DFW)
        return self.thing_TW.expand(len(codes_BD), -1, -1).index_add(1, self.belongs_D, each_BDW)


class Transformer(nn.Module):
    """Tokens in, logits of the codes of a chunk out.

    Args:
        sight: what is seen and given.
        config: width, heads; ``encoder`` is the number of layers.
        words: most different words; 0: none is read.
        count: N, codes of every channel.
    """

    def __init__(self, sight: Sight, config: NetConfig, words: int, count: int) -> None:
        super().__init__()
        width = config.width
        self.sight, self.count = sight, count
        self.cameras = tuple(s.name for s in sight.seen if len(s.shape) == 3)
        self.words = nn.Embedding(1 + words, width) if words else None
        self.numbers = nn.ModuleList(Numbers(s, count, width) for s in sight.seen if len(s.shape) == 1)
        self.eyes = nn.ModuleList(Eye(s.shape[0], config) for s in sight.seen if len(s.shape) == 3)
        self.marks_MW = nn.Parameter(torch.randn(len(sight.seen), width))
        self.query_QW = nn.Parameter(torch.randn(-(-sight.chunk // AT_ONCE), width))
        self.stack = SpaceTime(width, config.encoder, config.heads, time_every=0)
        for name, weight in self.stack.named_parameters():
            if name.endswith("leave.weight"):  # which starts at zero: for long, nothing that is read would matter
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        self.leave = nn.Linear(width, AT_ONCE * sight.action * count)

    def forward(self, words_BL: Tensor, codes: list[Tensor], pictures: list[Tensor]) -> Tensor:
        """(B, K, A, N).

        Args:
            words_BL: ids of words, 0 after the last; (B, 0) where none is read.
            codes: (B, D) of each stream of numbers.
            pictures: (B, S, S, 3) of each camera.
        """
        asks_BQW = self.query_QW.expand(len(words_BL), -1, -1)
        parts = []
        if self.words is not None:
            parts.append(self.words(words_BL))
            asks_BQW = asks_BQW + self.words(words_BL).sum(dim=1, keepdim=True)
        read = [embed(held) for embed, held in zip(self.numbers, codes, strict=True)]
        read += [eye(held) for eye, held in zip(self.eyes, pictures, strict=True)]
        parts += [mark + tokens for mark, tokens in zip(self.marks_MW, read, strict=True)]
        x_BLW = torch.cat([*parts, asks_BQW], dim=1)
        places = torch.arange(x_BLW.shape[1], device=x_BLW.device)[:, None]
        out_BQW = self.stack(x_BLW[:, None], places)[:, 0, -len(self.query_QW) :]
        logits_BQX = self.leave(out_BQW)
        logits_BKAN: Tensor = logits_BQX.reshape(len(x_BLW), -1, self.sight.action, self.count)
        return logits_BKAN[:, : self.sight.chunk]


def surprise(logits_BKAN: Tensor, codes_BKA: Tensor, there_BK: Tensor, spread: float) -> Tensor:
    """Mean cross-entropy with the true codes, spread over their neighbours, of what is there."""
    at_N = torch.arange(logits_BKAN.shape[-1], device=logits_BKAN.device)
    if spread:
        wanted = torch.softmax(-((at_N - codes_BKA[..., None]) / spread).square() / 2, dim=-1)
    else:
        wanted = functional.one_hot(codes_BKA, len(at_N)).float()
    entropy_BKA = -(wanted * logits_BKAN.log_softmax(dim=-1)).sum(dim=-1)
    total: Tensor = (entropy_BKA.mean(dim=-1) * there_BK).sum() / there_BK.sum().clamp_min(1)
    return total


def likeliest(logits_BKAN: Tensor) -> Tensor:
    """(B, K, A) codes, not whole: the mean of those around the likeliest, as likely as they are."""
    at_N = torch.arange(logits_BKAN.shape[-1], device=logits_BKAN.device)
    apart_BKAN = (at_N - logits_BKAN.argmax(dim=-1, keepdim=True)).abs()
    near_BKAN = logits_BKAN.masked_fill(apart_BKAN > AROUND, -torch.inf).softmax(dim=-1)
    found: Tensor = (near_BKAN * at_N).sum(dim=-1)
    return found
