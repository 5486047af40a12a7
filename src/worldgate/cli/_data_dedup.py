"""``worldgate data dedup``: the same evidence more than once, which copy is kept, and what a dataset leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from worldgate.cli._contract import find_logs
from worldgate.cli._encoder import chosen_encoder
from worldgate.cli._engine import EngineOption, WorkersOption, chosen_engine
from worldgate.cli._output import JsonFlag, Table, answer, note, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from worldgate.data.duplicates.finding import DuplicateReport, Leak
    from worldgate.data.duplicates.semantic import AlikeLeak, AlikeReport
    from worldgate.data.ingest import IngestedLog


def dedup(
    *logs: str,
    keep: Literal["longest", "first", "fewest-findings", "real-first"] = "longest",
    dataset: str | None = None,
    coverage: float = 0.5,
    encoder: str | None = None,
    alike: float = 0.9,
    count_alike: bool = False,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Find logs that hold the same evidence under another name, container, codec, crop or clock.

    For example:

        worldgate data dedup
        worldgate data dedup --dataset kitchen-2 --keep fewest-findings
        worldgate data dedup --encoder pixels --alike 0.95

    Nothing is deleted: the answer is recorded, and a contract's section [duplicates] says what a snapshot does about
    copies. Exit code 4 where copies stand on both sides of the dataset's splits. Logs are compared by what moves in
    them, so pieces shorter than about 2 s are found only where their numbers are the same to the bit. With --encoder,
    logs that look alike are named too, apart from copies: advice, which changes neither what is kept nor the exit code,
    unless --count-alike asks for it. A contract asks for it in its section [duplicates.alike].

    Args:
        logs: Ids or names of logs; without any, those of the dataset, or all logs of the workspace.
        keep: Which log of a group of copies would be kept.
        dataset: Id or name of a dataset whose splits are searched for leaks.
        coverage: Least share of what moves in the shorter log that must be found in the other.
        encoder: Also find logs whose pictures look alike: pixels, or the id or name of a world model with a tokenizer.
        alike: Least likeness by the encoder, from 0 to 1.
        count_alike: Treat logs that look alike as copies: say which would be kept, and count leaks by them.
    """
    from worldgate.core.errors import UsageError
    from worldgate.data import datasets
    from worldgate.data.duplicates import finding, semantic
    from worldgate.data.duplicates.rules import AlikeConfig, Keep, MatchConfig
    from worldgate.data.ingest import Shelf

    if encoder is None and count_alike:
        raise UsageError("nothing was asked to look for likeness", got="--count-alike", hint="--encoder pixels")
    config, rules, by = MatchConfig(coverage=coverage), AlikeConfig(least=alike), Keep(keep)
    with open_workspace(workspace) as ws, chosen_engine(ws, engine, workers) as where, progress("sketch") as tell:
        shelf = Shelf(ws)
        entries = datasets.manifest(ws, ws.resolve(dataset, "dataset").digest).episodes if dataset else ()
        split_of = {entry.log: entry.split for entry in entries}
        named = find_logs(ws, logs)
        chosen = [ref.digest for ref in named] if named else list(split_of) or None
        found = finding.find(ws, chosen, keep=by, config=config, engine=where, progress=tell, shelf=shelf)
        leaks = list(finding.leaks(found.matches, split_of))
        body: dict[str, object] = {"report": found, "leaks": leaks, "dataset": dataset or ""}
        parts = [*_parts(found, leaks, split_of, shelf.records)]
        crossing: list[AlikeLeak] = []
        if encoder is not None:
            seeing, kept = chosen_encoder(ws, encoder), by if count_alike else None
            likely = semantic.find(ws, seeing, chosen, keep=kept, config=rules, progress=tell, shelf=shelf)
            crossing = list(semantic.leaks(likely.likenesses, split_of))
            body |= {"alike": likely, "alike_leaks": crossing}
            parts += _likely(likely, crossing, {(m.first, m.second) for m in found.matches}, shelf.records)
        answer("data.dedup", body, *parts, as_json=json)
    refused = bool(leaks or (crossing and count_alike))
    if refused:
        note("group or drop copies before the split: policy = 'group' or 'drop' under [duplicates] in the contract")
    return 4 if refused else 0


def _parts(
    found: DuplicateReport, leaks: Sequence[Leak], split_of: Mapping[str, str], records: Mapping[str, IngestedLog]
) -> Iterator[Table | str]:
    if found.clusters:
        yield _clusters(found, split_of, records)
        yield _matches(found, records)
    for cluster in found.clusters:
        for conflict in cluster.conflicts:
            told = ", ".join(f"{records[log].name} says {value}" for log, value in conflict.says.items())
            yield f"conflict: {conflict.what}: {told}"
    for leak in leaks:
        first, second = records[leak.match.first].name, records[leak.match.second].name
        yield f"leak: {first} ({leak.first_split}) and {second} ({leak.second_split}): {leak.match.kind}"
    left = sum(len(c.left) for c in found.clusters)
    yield f"copies among {len(found.logs)} logs: {left}, in {len(found.clusters)} groups"


def _clusters(found: DuplicateReport, split_of: Mapping[str, str], records: Mapping[str, IngestedLog]) -> Table:
    from worldgate.core.digest import short

    rows = []
    for number, cluster in enumerate(found.clusters, 1):
        for log in cluster.logs:
            start, end = records[log].span_ns
            kept = "kept" if log == cluster.kept else "left"
            seconds = f"{(end - start) / 1e9:.1f}"
            rows.append((number, records[log].name, short(log), seconds, split_of.get(log, "-"), kept))
    columns = ("group", "log", "id", "length [s]", "split", f"by {found.keep}")
    return Table(title="copies", columns=columns, rows=rows)


def _matches(found: DuplicateReport, records: Mapping[str, IngestedLog]) -> Table:
    rows = []
    for m in found.matches:
        start = records[m.first].span_ns[0]
        other = records[m.second].span_ns[0]
        rows.append(
            (
                records[m.first].name,
                _span(m.first_ns, start),
                records[m.second].name,
                _span(m.second_ns, other),
                m.kind,
                f"{m.numbers:.2f}",
                f"{m.pictures:.2f}",
                m.why,
            )
        )
    columns = ("log", "span [s]", "other", "span [s]", "kind", "by numbers", "by pictures", "why")
    return Table(title="what is the same; shares of the shorter log's motion", columns=columns, rows=rows)


def _likely(
    likely: AlikeReport,
    crossing: Sequence[AlikeLeak],
    copies: Collection[tuple[str, str]],
    records: Mapping[str, IngestedLog],
) -> Iterator[Table | str]:
    from worldgate.core.digest import short

    group_of = {log: number for number, group in enumerate(likely.groups, 1) for log in group.logs}
    rows = []
    for like in likely.likenesses:
        first, second = records[like.first], records[like.second]
        told = "yes" if (like.first, like.second) in copies else "no"
        logs = (first.name, short(first.digest), second.name, short(second.digest))
        rows.append((group_of[like.first], *logs, f"{like.score:.2f}", told, like.why))
    if rows:
        columns = ("group", "log", "id", "other", "id", "likeness", "copy", "cameras")
        yield Table(title=f"alike by {likely.encoder}: advice, no proof of a copy", columns=columns, rows=rows)
    for number, group in enumerate(likely.groups, 1):
        if group.kept:
            yield f"alike group {number}: {records[group.kept].name} would be kept"
    for leak in crossing:
        like = leak.likeness
        ends = f"{records[like.first].name} ({leak.first_split}) and {records[like.second].name} ({leak.second_split})"
        yield f"alike across splits: {ends}: {like.score:.2f}"
    yield f"alike by {likely.encoder}, {likely.config.least:g} and more: {len(rows)} pairs, {len(likely.groups)} groups"


def _span(span: tuple[int, int], start: int) -> str:
    return f"{(span[0] - start) / 1e9:.1f} to {(span[1] - start) / 1e9:.1f}"
