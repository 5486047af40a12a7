"""Reading a dataset of token sequences: in order, at random, and back to pictures and motion.

Needs no torch until something is decoded. Every shard is compared with the digest that the contents name when it is
first read, so nobody learns from other bytes than were written.

Shape legend: L tokens, R rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldgate.core.atomic import is_done
from worldgate.core.digest import digest_file, short
from worldgate.core.errors import NotFound, Tampered, UsageError
from worldgate.core.streams import Origin
from worldgate.worlds.tokens.files import CONTENTS, MARK, SCHEMA, VERSION, VOCABULARY
from worldgate.worlds.tokens.sequences import TokenArray, split
from worldgate.worlds.tokens.vocabulary import PAD, Vocabulary, versioned

if TYPE_CHECKING:
    from worldgate.worlds.tokens.codecs import Codecs, Decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSequence:
    """One sequence with its receipt."""

    tokens: TokenArray
    """(L,) ids."""
    text: str
    """What the episode says of itself, such as its task; empty where it says nothing."""
    episode: str
    """Id of the episode."""
    log: str
    name: str
    split: str
    origin: Origin
    first_row: int
    """Row of the episode at which the sequence begins."""
    rows: int
    """R."""
    first_ns: int
    last_ns: int
    place: int
    """Number of the empty scene that its pictures are encoded against; -1: none."""
    place_known: bool
    """Whether that scene is its own."""


class TokenDataset:
    """Sequences of one folder."""

    def __init__(self, path: Path) -> None:
        if not is_done(path):
            what = "not a whole dataset of tokens" if path.is_dir() else "no such folder"
            raise NotFound(what, got=path.name, where=path.parent, hint="worldgate world tokens writes one")
        self.path = path
        self.vocabulary = Vocabulary.from_bytes((path / VOCABULARY).read_bytes(), where=str(path / VOCABULARY))
        tree = versioned((path / CONTENTS).read_bytes(), SCHEMA, VERSION, str(path / CONTENTS))
        if tree["vocabulary"] != self.vocabulary.digest:
            got = short(self.vocabulary.digest)
            raise Tampered("the vocabulary of another dataset of tokens", got=got, where=path / VOCABULARY)
        self._shards: list[dict[str, Any]] = tree["shards"]
        self._ends = np.cumsum([int(shard["sequences"]) for shard in self._shards]).tolist()
        self._table = lru_cache(maxsize=2)(self._read)

    @classmethod
    def open(cls, path: Path | str) -> TokenDataset:
        """Open a folder.

        Raises:
            NotFound: no such folder, or one that was not finished.
            DataRefused: not a dataset of tokens, or one of an older version.
            SchemaTooNew: written by a newer Worldgate.
            Tampered: a vocabulary of another dataset.
        """
        return cls(Path(path))

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._ends else 0

    def __iter__(self) -> Iterator[TokenSequence]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> TokenSequence:
        """One sequence; negative indices count from the end.

        Raises:
            IndexError: no such sequence.
            Tampered: a shard that is not the one that was written.
        """
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"sequence {index} of {len(self)}")
        shard = bisect_right(self._ends, place)
        row = self._table(shard).slice(place - (self._ends[shard - 1] if shard else 0), 1)
        values = {name: row.column(name)[0] for name in row.column_names}
        tokens = values.pop("tokens").values.to_numpy(zero_copy_only=False).astype(np.int32)
        plain = {name: value.as_py() for name, value in values.items()}
        return TokenSequence(tokens=tokens, **(plain | {"origin": Origin(plain["origin"])}))

    def batch(self, indices: list[int]) -> tuple[TokenArray, TokenArray]:
        """Sequences side by side: (N, L) ids, padded at the end, and (N, L) 1 where there is a token."""
        held = [self[index].tokens for index in indices]
        length = max((len(tokens) for tokens in held), default=0)
        tokens_NL = np.full((len(held), length), PAD, np.int32)
        there_NL = np.zeros((len(held), length), np.int32)
        for row, tokens in enumerate(held):
            tokens_NL[row, : len(tokens)], there_NL[row, : len(tokens)] = tokens, 1
        return tokens_NL, there_NL

    def decode(self, index: int, codecs: Codecs) -> Decoded:
        """A sequence back to pictures and motion.

        Args:
            index: which.
            codecs: ``Codecs.of(workspace, dataset.vocabulary)``.

        Raises:
            DataRefused: tokens that are no sequence of this vocabulary.
        """
        held = self[index]
        return codecs.decode(split(self.vocabulary, held.tokens, held.rows), held.rows, held.place)

    def _read(self, number: int) -> pa.Table:
        shard = self._shards[number]
        path = self.path / Path(str(shard["file"])).name
        if not path.is_file():
            raise Tampered("a shard is missing", got=path.name, where=self.path)
        if digest_file(path) != shard["sha256"]:
            raise Tampered("a shard is not the one that was written", got=path.name, where=self.path)
        table = pq.read_table(path, memory_map=True)
        mark = (table.schema.metadata or {}).get(MARK, b"").decode()
        if mark != self.vocabulary.digest:
            raise UsageError("a shard of another vocabulary", got=mark[:12], where=path)
        return table
