"""Token sequences from codes and back: markers between blocks, every code shifted into its stream's range.

Shape legend: L tokens, R rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from worldgate.core.errors import DataRefused
from worldgate.core.streams import IntArray
from worldgate.worlds.tokens.vocabulary import BEGIN, END, PAD, Range, Vocabulary

TokenArray: TypeAlias = NDArray[np.int32]
Blocks: TypeAlias = Mapping[str, Sequence[IntArray]]
"""stream -> the codes of each of its blocks, in order."""


def join(vocabulary: Vocabulary, blocks: Blocks, rows: int) -> TokenArray:
    """Blocks to one sequence of tokens, from begin to end.

    Args:
        vocabulary: whose ids.
        blocks: of every stream, as many as :meth:`Vocabulary.plan` has.
        rows: R.
    """
    parts = [np.array([BEGIN])]
    left = {stream: iter(held) for stream, held in blocks.items()}
    for held, _ in vocabulary.plan(rows):
        codes = next(left[held.stream])
        assert codes.min() >= 0 and codes.max() < held.count and held.block in (0, len(codes)), held.stream
        parts += [np.array([held.marker]), codes + held.first]
    assert all(next(rest, None) is None for rest in left.values())
    return np.concatenate([*parts, np.array([END])]).astype(np.int32)


def split(vocabulary: Vocabulary, tokens_L: TokenArray, rows: int | None = None) -> dict[str, list[IntArray]]:
    """A sequence of tokens to the codes of its blocks.

    Args:
        vocabulary: whose ids.
        tokens_L: from begin to end; padding after the end is left out.
        rows: how many rows the sequence must hold; None: whatever it holds.

    Raises:
        DataRefused: no begin or end, an id outside the vocabulary, a code in another stream's block, a block of another
            length, or blocks in another order; the place is named.
    """
    tokens = np.asarray(tokens_L, np.int64)
    if len(tokens) and (tokens.min() < 0 or tokens.max() >= vocabulary.size):
        place = int(np.argmax((tokens < 0) | (tokens >= vocabulary.size)))
        _refuse("an id outside the vocabulary", tokens, place, f"0 to {vocabulary.size - 1}")
    end = _end(tokens)
    markers = {held.marker: held for held in vocabulary.ranges}
    out: dict[str, list[IntArray]] = {held.stream: [] for held in vocabulary.ranges}
    order = None if rows is None else [held.stream for held, _ in vocabulary.plan(rows)]
    place, count = 1, 0
    while place < end:
        held = markers.get(int(tokens[place]))
        if held is None:
            _refuse("a token where a block should begin", tokens, place)
        if order is not None and (count >= len(order) or order[count] != held.stream):
            _refuse("a block out of order", tokens, place, order[count] if count < len(order) else "end")
        codes, place = _block(vocabulary, held, tokens, place + 1, end)
        out[held.stream].append(codes)
        count += 1
    if order is not None and count < len(order):
        _refuse("a sequence that ends early", tokens, end, f"a block of {order[count]}")
    return out


def _end(tokens: IntArray) -> int:
    """Where the sequence ends."""
    ends = np.flatnonzero(tokens == END)
    if not len(tokens) or tokens[0] != BEGIN:
        _refuse("a sequence without its begin", tokens, 0)
    if not len(ends):
        _refuse("a sequence that is cut off before its end", tokens, len(tokens) - 1)
    after = np.flatnonzero(tokens[ends[0] + 1 :] != PAD)
    if len(after):
        _refuse("a token after the end", tokens, int(ends[0] + 1 + after[0]))
    return int(ends[0])


def _block(vocabulary: Vocabulary, held: Range, tokens: IntArray, place: int, end: int) -> tuple[IntArray, int]:
    """Codes of the block that begins here, and where the next one does."""
    last = place
    specials = vocabulary.ranges[0].first
    while last < end and tokens[last] >= specials:
        last += 1
    codes = tokens[place:last] - held.first
    odd = (codes < 0) | (codes >= held.count)
    if odd.any():
        _refuse(f"a code of another stream in a block of {held.stream}", tokens, place + int(np.argmax(odd)))
    if not len(codes) or held.block not in (0, len(codes)):
        got = f"a block of {len(codes)} codes of {held.stream}"
        _refuse(got, tokens, place - 1, f"{held.block} codes" if held.block else "at least one code")
    return codes, last


def _refuse(what: str, tokens: IntArray, place: int, hint: str | None = None) -> NoReturn:
    got = int(tokens[place]) if len(tokens) else "nothing"
    raise DataRefused(what, got=got, where=f"token {place}", hint=hint)
