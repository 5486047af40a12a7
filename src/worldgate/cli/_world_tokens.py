"""``worldgate world tokens``: a dataset as token sequences for language-model style policies."""

from __future__ import annotations

from pathlib import Path

from worldgate.cli._output import JsonFlag, Table, answer, note, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def tokens(
    dataset: str,
    out: Path,
    /,
    *,
    pictures: str | None = None,
    actions: str | None = None,
    states: str | None = None,
    rows: int = 0,
    split: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Write a dataset as token sequences, with the vocabulary that says what each id means.

    For example:

        worldgate world tokens cell-1 tokens/cell --pictures codes --actions acts
        worldgate world tokens cell-1 tokens/short --actions fast --states bins --rows 50 --split train

    The folder holds Parquet shards and vocabulary.json, and appears whole or not at all. Exit code 4 if a camera that
    the contract masks is not masked, or no row is without a gap.

    Args:
        dataset: Id or name of a dataset.
        out: A new folder.
        pictures: Id or name of a discrete tokenizer of pictures, as `worldgate train fsq` makes one.
        actions: Id or name of a tokenizer of actions: `worldgate train bins` or `dct`.
        states: Id or name of a tokenizer of states: `worldgate train bins` with `--set inputs.action=STREAM`.
        rows: Most rows of a sequence; 0 makes one of every run without a gap.
        split: Only this split.
    """
    from worldgate.core.errors import UsageError
    from worldgate.worlds.tokens.writing import export

    if rows < 0:
        raise UsageError("a sequence of fewer than no rows", got=rows, where="--rows")
    with open_workspace(workspace) as ws, progress("tokens") as tell:
        refs = [None if name is None else ws.resolve(name, "tokenizer") for name in (pictures, actions, states)]
        made = export(
            ws,
            ws.resolve(dataset, "dataset"),
            out,
            pictures=refs[0],
            actions=refs[1],
            states=refs[2],
            rows=rows,
            split=split,
            progress=tell,
        )
    if made.unknown_places:
        note(f"{made.unknown_places} sequences show a place that the tokenizer does not know: they keep less")
    if made.left_out:
        note(f"{made.left_out} rows lie in gaps and stand in no sequence")
    ranges = [
        (held.stream, held.role, f"{held.first} to {held.first + held.count - 1}", held.block or "varies", held.rows)
        for held in made.vocabulary.ranges
    ]
    table = Table(columns=("stream", "role", "ids", "codes a block", "rows a block"), rows=ranges)
    said = f"{made.sequences} sequences, {made.tokens:,} tokens of {made.vocabulary.size:,} ids in {out}"
    answer("world.tokens", {"exported": made}, table, said, as_json=json)
