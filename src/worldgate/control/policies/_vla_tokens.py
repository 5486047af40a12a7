"""What a vision-language-action policy reads and says, as tokens: words, numbers by bins, and the actions of a chunk.

The ids are those of :class:`worldgate.worlds.tokens.vocabulary.Vocabulary`: special tokens, a marker for each stream,
then each stream's codes. A language model that takes over such ids brings its own words; here they follow the last id.
Numbers are normalised by the release's statistics first and binned then, so that other statistics make another machine.
Each action of a chunk has bins of its own: what is asked for at once lies nearer than what is asked for in a second,
and would be told coarsely by bins wide enough for both.

Shape legend: B batch, L tokens, D channels of a stream, K actions of a chunk, A action channels, W words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.control.policies._nets import Sight
from worldgate.core.digest import digest_array, digest_json
from worldgate.core.errors import DataRefused, UsageError
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import FloatArray, IntArray
from worldgate.core.worlds import Signal
from worldgate.worlds.tokenizers import bins as binning
from worldgate.worlds.tokens.vocabulary import Role, Vocabulary, lay_out
from worldgate.worlds.tracks import Inputs, Layout, Track

ACTION = "action"
"""Name of the action's stream in a policy's vocabulary."""
_LETTERS = 24
"""Bytes of a word that is kept."""


class Lexicon(nn.Module):
    """The words of the training instructions; kept in the weights, as bytes.

    Args:
        most: W, most different words.
    """

    said_WC: Tensor
    longest: Tensor

    def __init__(self, most: int) -> None:
        super().__init__()
        self.register_buffer("said_WC", torch.zeros(most, _LETTERS, dtype=torch.uint8))
        self.register_buffer("longest", torch.zeros(1, dtype=torch.int64))

    @property
    def words(self) -> tuple[str, ...]:
        """In the order of their ids."""
        rows = self.said_WC.cpu().numpy()
        return tuple(bytes(row).rstrip(b"\0").decode(errors="replace") for row in rows if row.any())

    def fit(self, texts: Sequence[str]) -> None:
        """Take the words of these instructions.

        Raises:
            DataRefused: one without words, too many words, or one that is too long.
        """
        mute = sum(not _words(text) for text in texts)
        if mute:
            hint = "--set inputs.text= the facts that hold it, or an empty list for a policy that is told nothing"
            raise DataRefused("episodes without an instruction", got=f"{mute} of {len(texts)}", hint=hint)
        found = sorted({word for text in texts for word in _words(text)})
        if len(found) > len(self.said_WC):
            hint = f"--set words={len(found)}"
            raise DataRefused("more words than the policy has ids for", got=len(found), hint=hint)
        self.said_WC.zero_()
        for row, word in zip(self.said_WC, found, strict=False):
            letters = word.encode()
            if len(letters) > _LETTERS:
                raise DataRefused("a word that is too long to keep", got=word, hint=f"{_LETTERS} bytes")
            row[: len(letters)] = torch.tensor(list(letters), dtype=torch.uint8)
        self.longest.fill_(max(len(_words(text)) for text in texts))

    def knows(self, text: str) -> bool:
        """Whether :meth:`ids` takes it."""
        said = _words(text)
        return 0 < len(said) <= int(self.longest) and set(said) <= set(self.words)

    def ids(self, text: str) -> IntArray:
        """(longest,) 1 + the number of each word, then 0.

        Raises:
            UsageError: no word, a word that no training instruction held, or more words than any of them had.
        """
        said, known = _words(text), {word: 1 + n for n, word in enumerate(self.words)}
        if not said:
            raise UsageError("an instruction without words", got=repr(text), hint=" ".join(known))
        odd = next((word for word in said if word not in known), None)
        if odd is not None:
            raise UsageError("a word that this policy never learned", got=odd, where=text[:80], hint=" ".join(known))
        most = int(self.longest)
        if len(said) > most:
            raise UsageError("an instruction longer than it learned", got=f"{len(said)} words", hint=f"at most {most}")
        return np.array([*(known[word] for word in said), *[0] * (most - len(said))], np.int64)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


class Codes(nn.Module):
    """Bins of all that is seen in numbers and of the chunk, and the vocabulary that they make.

    Args:
        sight: what is seen and given.
        count: codes of every channel.
    """

    def __init__(self, sight: Sight, count: int) -> None:
        super().__init__()
        self.sight, self.count = sight, count
        self.states = tuple(s for s in sight.seen if len(s.shape) == 1)
        self.seen = nn.ModuleList(_bins(s.name, s.shape[0], count) for s in self.states)
        self.chunk = _bins(ACTION, sight.chunk * sight.action, count)

    def fit(self, seen: Mapping[str, Tensor]) -> None:
        """Learn ranges from normalised numbers: (N, D) of each stream, and ``chunk`` (N, K, A)."""
        for signal, held in zip(self.states, self._seen(), strict=True):
            held.fit([_track(seen[signal.name].double().numpy())])
            still_D = held.high_A <= held.low_A  # what never moved may move at work, and must not look as always then
            held.low_A -= still_D.double()
            held.high_A += still_D.double()
        self.chunk.fit([_track(seen["chunk"].flatten(1).double().numpy())])

    def vocabulary(self, rate_hz: float) -> Vocabulary:
        """Which ids mean what."""
        roles = [(s.name, Role.STATE, held, 1) for s, held in zip(self.states, self._seen(), strict=True)]
        roles.append((ACTION, Role.ACTION, self.chunk, self.sight.chunk))
        streams: list[dict[str, Any]] = [
            {"stream": name, "role": role, "count": held.vocabulary, "block": held.width, "rows": rows}
            | {"tokenizer": digest_json({"bins": self.count, "ends": [digest_array(end) for end in held.ends]})}
            for name, role, held, rows in roles
        ]
        return lay_out(streams, rate_hz=rate_hz, dataset="", alignment="")

    def read(self, seen: Mapping[str, Tensor]) -> list[Tensor]:
        """(B, D) codes of each stream of numbers, from normalised numbers (B, D)."""
        return [_encoded(held, seen[s.name]) for s, held in zip(self.states, self._seen(), strict=True)]

    def told(self, chunk_BKA: Tensor) -> Tensor:
        """(B, K, A) codes of normalised chunks."""
        return _encoded(self.chunk, chunk_BKA.flatten(1)).reshape(chunk_BKA.shape)

    def chunk_of(self, codes_BKA: Tensor) -> Tensor:
        """(B, K, A) normalised, the way back of :meth:`told`; codes may lie between two."""
        bounded = 2 * codes_BKA.flatten(1).double().cpu().numpy() / (self.count - 1) - 1
        found = self.chunk.unbounded(bounded)
        return torch.from_numpy(found.astype(np.float32)).reshape(codes_BKA.shape)

    def _seen(self) -> Iterator[binning.Bins]:
        return (cast(binning.Bins, held) for held in self.seen)


def _bins(name: str, width: int, count: int) -> binning.Bins:
    """Bins of normalised numbers."""
    signal = Signal(name=name, unit="1", shape=(width,))
    config = binning.Config(inputs=Inputs(states=(), action=name), bins=(count,))
    return binning.create(config, Layout(rate_hz=1.0, states=(), action=signal), Normaliser(streams={}))


def _encoded(held: binning.Bins, rows_BD: Tensor) -> Tensor:
    codes = held.encode(rows_BD.cpu().double().numpy())
    return torch.from_numpy(codes).reshape(rows_BD.shape)


def _track(rows_TD: FloatArray) -> Track:
    """Rows as a tokenizer of motion is fitted on them."""
    return Track(
        id="", group="", states_TD=np.empty((len(rows_TD), 0)), actions_TA=rows_TD, valid_T=np.ones(len(rows_TD), bool)
    )
