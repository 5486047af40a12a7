"""Search by example: the spans of other logs that move or look most like a span of one.

Windows of 1.2 s of the example (see :mod:`worldgate.data.duplicates.vectors`) are laid over every log at every lag;
the score of a lag is the mean cosine over the example's windows, 0 where the log has none. Numbers count by streams of
the same width and name; where no name is shared, by any of the same width. Pictures count by the best camera, or, where
an encoder is given, by its vectors. The score of a span is the mean over what both logs have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from worldgate.core.encoders import Encoder
from worldgate.core.errors import UsageError
from worldgate.core.progress import Progress, silent
from worldgate.data.duplicates.rules import MatchConfig
from worldgate.data.duplicates.sketches import TICK_NS, Sketch
from worldgate.data.duplicates.stage import read_sketch, sketch_files
from worldgate.data.duplicates.vectors import STRIDE, WINDOW, Windows, of_film, of_numbers
from worldgate.data.ingest import Shelf
from worldgate.data.search import query as sql
from worldgate.data.search import text as texts
from worldgate.data.search.embeddings import STEP_NS, embed
from worldgate.engines import Engine
from worldgate.record.workspace import Workspace

_EVERY: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A span of a log that others should be like."""

    log: str
    span_ns: tuple[int, int]
    """Half-open, on the log's own clock."""
    pictures: bool = True
    numbers: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A span, or a whole log, that was found."""

    log: str
    name: str
    score: float
    """From -1 to 1 by example; BM25 by text alone; 1 by facts alone."""
    start_ns: int
    end_ns: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What of a log can be compared, by kind and name."""

    numbers: Mapping[tuple[int, str], Windows] = field(default_factory=dict)
    pictures: Mapping[str, Windows] = field(default_factory=dict)
    step_ns: int = STRIDE * TICK_NS
    """Between windows of pictures."""


def search(
    ws: Workspace,
    example: Example | None = None,
    *,
    words: str = "",
    where: str = "",
    most: int = 10,
    encoder: Encoder | None = None,
    engine: Engine | None = None,
    progress: Progress = silent,
) -> list[Hit]:
    """The best hits; everything that is asked must hold.

    Args:
        ws: the workspace.
        example: what to be like.
        words: which the log's texts, labels or findings must hold.
        where: an SQL condition on the table ``logs`` of :mod:`worldgate.data.search.tables`.
        most: hits to return, at most one a log.
        encoder: whose vectors compare pictures; None: what moves in them.
        engine: where sketches are drawn; None: as the workspace says.
        progress: called after every log.

    Raises:
        UsageError: nothing asked for, a condition that is none, or an example in which nothing moves.
        NotFound: no such log.
    """
    if example is None and not words and not where:
        raise UsageError("nothing to search for", hint="--like LOG, --text WORDS or --where CONDITION")
    shelf = Shelf(ws)
    logs = list(shelf.records)
    if where:
        logs = [log for log in logs if log in _allowed(ws, where)]
    said: dict[str, texts.TextHit] = {}
    if words:
        for found in texts.search(ws, words, most=_EVERY):
            said.setdefault(found.log, found)
        logs = [log for log in logs if log in said]
    if example is not None:
        shelf.record(example.log)
        hits = _like(ws, shelf, example, [x for x in logs if x != example.log], encoder, engine, progress)
    else:
        hits = [_whole(shelf, log, said.get(log), where) for log in logs]
    return sorted(hits, key=lambda hit: (-hit.score, hit.name))[:most]


def _allowed(ws: Workspace, where: str) -> set[str]:
    # In DuckDB's memory with every door shut a condition can at worst be none.
    return {str(row[0]) for row in sql.query(ws, f"SELECT log FROM logs WHERE ({where}\n)", most=_EVERY).rows}


def _whole(shelf: Shelf, log: str, said: texts.TextHit | None, where: str) -> Hit:
    start, end = shelf.record(log).span_ns
    if said is not None and said.start_ns is not None and said.end_ns is not None:
        start, end = said.start_ns, said.end_ns
    why = f"{said.field}: {said.text}" if said is not None else where
    score = said.score if said is not None else 1.0
    return Hit(log=log, name=shelf.record(log).name, score=score, start_ns=start, end_ns=end, why=why)


def _like(
    ws: Workspace,
    shelf: Shelf,
    example: Example,
    logs: Sequence[str],
    encoder: Encoder | None,
    engine: Engine | None,
    progress: Progress,
) -> list[Hit]:
    files = sketch_files(ws, shelf, [example.log, *logs], engine=engine, progress=progress)
    seen = {log: _seen(shelf, log, read_sketch(Path(ws.cache), file), encoder) for log, file in files.items()}
    asked = _part(seen[example.log], example, window_ns=0 if encoder is not None else WINDOW * TICK_NS)
    if not asked.numbers and not asked.pictures:
        raise UsageError(
            "nothing moves in the example, or it is shorter than a window",
            got=f"{(example.span_ns[1] - example.span_ns[0]) / 1e9:.1f} s",
            where=shelf.record(example.log).name,
            hint="a span of 2 s or more in which the robot moves",
        )
    found = (_best(shelf, log, asked, seen[log], example.span_ns) for log in logs)
    return [hit for hit in found if hit is not None]


def _seen(shelf: Shelf, log: str, held: Sketch, encoder: Encoder | None) -> _Seen:
    numbers = {(n.width, n.name): of_numbers(n) for n in held.numbers}
    if encoder is not None:
        return _Seen(numbers=numbers, pictures=embed(shelf, log, encoder), step_ns=STEP_NS)
    floor = MatchConfig().floor
    return _Seen(numbers=numbers, pictures={f.name: of_film(f, floor=floor) for f in held.films})


def _part(whole: _Seen, example: Example, *, window_ns: int) -> _Seen:
    """The windows that lie in the example's span."""
    start, end = example.span_ns

    def cut(windows: Windows, length_ns: int) -> Windows:
        inside = (windows.starts_ns >= start) & (windows.starts_ns + length_ns <= end)
        return Windows(starts_ns=windows.starts_ns[inside], vectors=windows.vectors[inside])

    numbers = {key: cut(w, WINDOW * TICK_NS) for key, w in whole.numbers.items()} if example.numbers else {}
    pictures = {key: cut(w, window_ns) for key, w in whole.pictures.items()} if example.pictures else {}
    return _Seen(
        numbers={key: w for key, w in numbers.items() if len(w.starts_ns)},
        pictures={key: w for key, w in pictures.items() if len(w.starts_ns)},
        step_ns=whole.step_ns,
    )


def _best(shelf: Shelf, log: str, asked: _Seen, other: _Seen, span_ns: tuple[int, int]) -> Hit | None:
    """The lag at which a log is most like the example."""
    pictures = [
        (name, _scores(mine, theirs, asked.step_ns))
        for name, mine in asked.pictures.items()
        for theirs in other.pictures.values()
    ]
    numbers = []
    for (width, name), mine in asked.numbers.items():
        same = {key: w for key, w in other.numbers.items() if key[0] == width}
        for key in [(width, name)] if (width, name) in same else list(same):
            numbers.append((name, _scores(mine, same[key], STRIDE * TICK_NS)))
    lags = sorted({lag for _, scores in (*pictures, *numbers) for lag in scores})
    best: tuple[float, int, str] | None = None
    for lag in lags:
        seen = [(near, name) for name, scores in pictures if (near := scores.get(lag)) is not None]
        felt = [near for _, scores in numbers if (near := scores.get(lag)) is not None]
        parts = [*([max(seen)[0]] if pictures and seen else []), *([float(np.mean(felt))] if felt else [])]
        score = sum(parts) / (bool(pictures) + bool(numbers))
        if best is None or score > best[0]:
            words = [f"{max(seen)[1]} {max(seen)[0]:.2f}"] if seen else []
            words += [f"numbers {np.mean(felt):.2f}"] if felt else []
            best = (score, lag, "; ".join(words))
    if best is None:
        return None
    first, last = shelf.record(log).span_ns
    start, end = max(first, span_ns[0] + best[1]), min(last, span_ns[1] + best[1])
    return Hit(
        log=log,
        name=shelf.record(log).name,
        score=round(best[0], 4),
        start_ns=start,
        end_ns=max(start, end),
        why=best[2],
    )


def _scores(mine: Windows, theirs: Windows, step_ns: int) -> dict[int, float]:
    """Lag in ns, in whole steps -> mean cosine over the example's windows."""
    if not len(theirs.starts_ns):
        return {}
    cosines = theirs.vectors @ mine.vectors.T
    lags = np.rint((theirs.starts_ns[:, None] - mine.starts_ns[None]) / step_ns).astype(np.int64)
    found, place = np.unique(lags, return_inverse=True)
    sums = np.bincount(place.ravel(), weights=cosines.ravel(), minlength=len(found))
    return {int(lag) * step_ns: float(total) / len(mine.starts_ns) for lag, total in zip(found, sums, strict=True)}
