"""``worldgate data search``: spans like an example, texts that hold words, logs with facts; or all three at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from worldgate.cli._encoder import chosen_encoder
from worldgate.cli._engine import EngineOption, WorkersOption, chosen_engine
from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.data.search.by_example import Example
    from worldgate.record.workspace import Workspace


def search(
    *,
    like: str | None = None,
    start: Annotated[float, Parameter(name="--from")] = 0.0,
    end: Annotated[float | None, Parameter(name="--to")] = None,
    by: Literal["both", "pictures", "numbers"] = "both",
    encoder: str | None = None,
    text: str = "",
    where: str = "",
    most: int = 10,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Find spans of logs by example, by words and by facts.

    For example:

        worldgate data search --like run_007.mcap --from 2.0 --to 4.0
        worldgate data search --text "red cup" --where "success = false AND site = 'north'"

    What is asked for must all hold. By example the best span of each log is shown, compared by what moves.

    Args:
        like: Id or name of a log that others should be like.
        start: Where the example begins, in s from the log's first message.
        end: Where it ends, in s; else at its end.
        by: What the example is compared by.
        encoder: Compare pictures by what is in them, not by how they move: pixels, or the id or name of a world model
            with a tokenizer.
        text: Words that a log's name, task, facts, labels or findings must hold.
        where: SQL condition on the table `logs` of `worldgate query`.
        most: Most hits.
    """
    from worldgate.core.digest import short
    from worldgate.core.errors import UsageError
    from worldgate.data.ingest import Shelf
    from worldgate.data.search import by_example

    if most < 1:
        raise UsageError("a search gives at least one hit", got=most, where="--most")
    with open_workspace(workspace) as ws, chosen_engine(ws, engine, workers) as place, progress("sketch") as tell:
        seeing = chosen_encoder(ws, encoder) if encoder is not None else None
        example = _example(ws, like, start, end, by) if like else None
        hits = by_example.search(
            ws, example, words=text, where=where, most=most, encoder=seeing, engine=place, progress=tell
        )
        spans = {log: record.span_ns[0] for log, record in Shelf(ws).records.items()}
    rows = [
        (
            hit.name,
            short(hit.log),
            f"{(hit.start_ns - spans[hit.log]) / 1e9:.1f} to {(hit.end_ns - spans[hit.log]) / 1e9:.1f}",
            f"{hit.score:.2f}",
            hit.why,
        )
        for hit in hits
    ]
    table = Table(columns=("log", "id", "span [s]", "score", "why"), rows=rows)
    answer("data.search", {"hits": hits}, *([table] if rows else []), f"{len(hits)} hits", as_json=json)


def _example(ws: Workspace, like: str, start: float, end: float | None, by: str) -> Example:
    from worldgate.core.errors import UsageError
    from worldgate.data.ingest import Shelf
    from worldgate.data.search.by_example import Example

    log = ws.resolve(like, "log").digest
    first, last = Shelf(ws).record(log).span_ns
    span = (first + round(start * 1e9), last if end is None else first + round(end * 1e9))
    if not first <= span[0] < span[1]:
        raise UsageError("an example from its end to its beginning", got=f"{start:g} to {end}", where="--from, --to")
    return Example(log=log, span_ns=span, pictures=by != "numbers", numbers=by != "pictures")
