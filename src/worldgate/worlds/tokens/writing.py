"""Writing a dataset as token sequences: Parquet shards, a vocabulary, and receipts of where every row came from.

A folder holds ``vocabulary.json``, ``tokens.json`` (which shards there are, by digest) and ``<split>-00000.parquet``;
it appears whole or not at all. A row of a shard is a sequence: its tokens, the episode's text as text, and the receipt.
No sequence crosses a gap.

Shape legend: R rows of a sequence, L tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worldgate.core.atomic import atomic_dir
from worldgate.core.digest import canonical, digest_file
from worldgate.core.episodes import Episode
from worldgate.core.errors import AlreadyExists, DataRefused
from worldgate.core.progress import Progress, silent
from worldgate.data import datasets
from worldgate.data.datasets.loading import load_entries
from worldgate.data.datasets.manifests import DatasetManifest, EpisodeEntry
from worldgate.data.exporting import refuse_private, tree_digest
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.worlds.tokens.codecs import Codecs
from worldgate.worlds.tokens.files import COLUMNS, CONTENTS, MARK, SCHEMA, VERSION, VOCABULARY
from worldgate.worlds.tokens.sequences import join
from worldgate.worlds.tokens.vocabulary import Role, Vocabulary, lay_out
from worldgate.worlds.tracks import runs

EXPORTED = "tokens.exported"
_SHARD = 4_000_000
"""Tokens of a shard, about."""
_GROUP = 64
"""Sequences read together."""
_TEXT = ("task",)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensExported:
    """What was written."""

    ref: Ref
    """The tree of files."""
    path: Path
    vocabulary: Vocabulary
    sequences: int
    tokens: int
    unknown_places: int
    """Sequences whose pictures are encoded against a scene that does not fit: they lose more."""
    left_out: int
    """Rows within gaps, which stand in no sequence."""


def export(
    ws: Workspace,
    dataset: Ref,
    out: Path,
    *,
    pictures: Ref | None = None,
    actions: Ref | None = None,
    states: Ref | None = None,
    rows: int = 0,
    split: str | None = None,
    text: tuple[str, ...] = _TEXT,
    progress: Progress = silent,
) -> TokensExported:
    """Write a dataset as token sequences, and record that.

    Args:
        ws: the workspace.
        dataset: which.
        out: a new folder.
        pictures: a discrete tokenizer of pictures.
        actions: a tokenizer of motion, for actions.
        states: one of single rows, for states.
        rows: most rows of a sequence; 0: every run of rows without a gap is one.
        split: only this one; None: all.
        text: facts of an episode that make its text.
        progress: called after every episode.

    Raises:
        AlreadyExists: the folder exists.
        UsageError: no tokenizer, or one whose codes cannot be decoded from tokens alone.
        CapabilityMissing: a tokenizer without codes.
        DataRefused: no row without a gap, another rate or unit than a tokenizer's, or what a contract hides.
        NotFound: no such split, or an episode without a stream that a tokenizer reads.
    """
    if out.exists():
        raise AlreadyExists("this path exists", where=out, hint="choose another name; nothing is overwritten")
    held = datasets.manifest(ws, dataset.digest)
    refuse_private(ws, held)
    codecs = Codecs.load(ws, pictures, actions, states)
    given = {role: ref for role, ref in zip(Role, (states, pictures, actions), strict=True) if ref is not None}
    fields = codecs.streams({role: ref.digest for role, ref in given.items()})
    vocabulary = lay_out(fields, rate_hz=held.rate_hz, dataset=dataset.digest, alignment=held.alignment)
    writer = _Writer(ws, held, codecs, vocabulary, max(0, rows), text)
    with atomic_dir(out) as partial:
        contents = writer.write(partial, held.split(split), progress)
        (partial / VOCABULARY).write_bytes(vocabulary.to_bytes())
        (partial / CONTENTS).write_bytes(canonical(contents))
    made = TokensExported(
        ref=Ref("export", tree_digest(out), f"{held.name} tokens"),
        path=out,
        vocabulary=vocabulary,
        sequences=writer.sequences,
        tokens=writer.tokens,
        unknown_places=writer.unknown,
        left_out=writer.left_out,
    )
    body = {
        "vocabulary": vocabulary.digest,
        "sequences": made.sequences,
        "tokens": made.tokens,
        "origins": sorted({entry.origin for entry in held.split(split)}),
    }
    ws.record(EXPORTED, body=body, inputs=[dataset, *given.values()], outputs=[made.ref])
    return made


class _Writer:
    """Sequences to shards, one episode at a time."""

    def __init__(
        self,
        ws: Workspace,
        held: DatasetManifest,
        codecs: Codecs,
        vocabulary: Vocabulary,
        rows: int,
        text: tuple[str, ...],
    ) -> None:
        self.ws, self.held, self.codecs, self.vocabulary, self.rows, self.text = (
            ws, held, codecs, vocabulary, rows, text,
        )  # fmt: skip
        self.sequences = self.tokens = self.unknown = self.left_out = 0

    def write(self, folder: Path, entries: tuple[EpisodeEntry, ...], progress: Progress) -> dict[str, Any]:
        """Every shard; what ``tokens.json`` says of them."""
        shards: list[dict[str, Any]] = []
        done = 0
        for split in sorted({entry.split for entry in entries}):
            number, open_shard = 0, _Shard(folder / f"{split}-00000.parquet", self.vocabulary)
            for entry in (e for e in entries if e.split == split):
                (episode,) = load_entries(self.ws, self.held, [entry])
                for row in self._sequences(entry, episode):
                    if open_shard.tokens >= _SHARD:
                        shards.append(open_shard.close())
                        number += 1
                        open_shard = _Shard(folder / f"{split}-{number:05d}.parquet", self.vocabulary)
                    open_shard.add(row)
                done += 1
                progress(done, len(entries), f"{self.tokens:,} tokens")
            shards += [open_shard.close()] if open_shard.sequences else []
            open_shard.drop()
        if not shards:
            raise DataRefused("no row without a gap", got="gaps everywhere", hint="worldgate check names them")
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "name": self.held.name,
            "vocabulary": self.vocabulary.digest,
            "dataset": self.vocabulary.dataset,
            "sequences": self.sequences,
            "tokens": self.tokens,
            "shards": shards,
        }

    def _sequences(self, entry: EpisodeEntry, episode: Episode) -> Iterator[dict[str, Any]]:
        seen = self.codecs.see(episode)
        self.left_out += int((~seen.valid_T).sum())
        said = ", ".join(str(episode.facts[name]) for name in self.text if episode.facts.get(name))
        for begin, end in runs(seen.valid_T):
            for first in range(begin, end, self.rows or end - begin):
                rows = min(self.rows or end - begin, end - first)
                tokens_L = join(self.vocabulary, self.codecs.encode(self.vocabulary, seen, first, rows), rows)
                self.sequences, self.tokens = self.sequences + 1, self.tokens + len(tokens_L)
                self.unknown += not seen.known
                yield {
                    "episode": entry.id, "log": entry.log, "name": entry.name, "split": entry.split,
                    "origin": str(entry.origin), "first_row": first, "rows": rows,
                    "first_ns": int(episode.times_ns[first]), "last_ns": int(episode.times_ns[first + rows - 1]),
                    "place": seen.place, "place_known": seen.known, "text": said, "tokens": tokens_L,
                }  # fmt: skip


class _Shard:
    """One Parquet file, written in groups."""

    def __init__(self, path: Path, vocabulary: Vocabulary) -> None:
        self.path, self.tokens, self.sequences = path, 0, 0
        schema = COLUMNS.with_metadata({MARK: vocabulary.digest.encode()})
        self._schema, self._rows = schema, list[dict[str, Any]]()
        self._file = pq.ParquetWriter(path, schema, compression="zstd")

    def add(self, row: dict[str, Any]) -> None:
        """One sequence."""
        self._rows.append(row)
        self.sequences, self.tokens = self.sequences + 1, self.tokens + len(row["tokens"])
        if len(self._rows) == _GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []

    def close(self) -> dict[str, Any]:
        """Finish the file; what the contents say of it."""
        self._flush()
        self._file.close()
        return {"file": self.path.name, "sequences": self.sequences, "sha256": digest_file(self.path)}

    def drop(self) -> None:
        """Remove a file that got no sequence."""
        self._file.close()
        if not self.sequences:
            self.path.unlink()
