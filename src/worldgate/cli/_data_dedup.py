"""``worldgate data dedup``: the same evidence more than once, which copy is kept, and what a dataset leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from worldgate.cli._contract import find_logs
from worldgate.cli._engine import EngineOption, WorkersOption, chosen_engine
from worldgate.cli._output import JsonFlag, Table, answer, note, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from worldgate.data.duplicates.finding import DuplicateReport, Leak
    from worldgate.data.ingest import IngestedLog


def dedup(
    *logs: str,
    keep: Literal["longest", "first", "fewest-findings", "real-first"] = "longest",
    dataset: str | None = None,
    coverage: float = 0.5,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Find logs that hold the same evidence under another name, container, codec, crop or clock.

    For example:

        worldgate data dedup
        worldgate data dedup --dataset kitchen-2 --keep fewest-findings

    Nothing is deleted: the answer is recorded, and a contract's section [duplicates] says what a snapshot does about
    copies. Exit code 4 where copies stand on both sides of the dataset's splits. Logs are compared by what moves in
    them, so pieces shorter than about 2 s are found only where their numbers are the same to the bit.

    Args:
        logs: Ids or names of logs; without any, those of the dataset, or all logs of the workspace.
        keep: Which log of a group of copies would be kept.
        dataset: Id or name of a dataset whose splits are searched for leaks.
        coverage: Least share of what moves in the shorter log that must be found in the other.
    """
    from worldgate.data import datasets
    from worldgate.data.duplicates import finding
    from worldgate.data.duplicates.rules import Keep, MatchConfig
    from worldgate.data.ingest import Shelf

    config = MatchConfig(coverage=coverage)
    with open_workspace(workspace) as ws, chosen_engine(ws, engine, workers) as where, progress("sketch") as tell:
        shelf = Shelf(ws)
        entries = datasets.manifest(ws, ws.resolve(dataset, "dataset").digest).episodes if dataset else ()
        split_of = {entry.log: entry.split for entry in entries}
        named = find_logs(ws, logs)
        chosen = [ref.digest for ref in named] if named else list(split_of) or None
        found = finding.find(ws, chosen, keep=Keep(keep), config=config, engine=where, progress=tell, shelf=shelf)
        leaks = list(finding.leaks(found.matches, split_of))
        body = {"report": found, "leaks": leaks, "dataset": dataset or ""}
        answer("data.dedup", body, *_parts(found, leaks, split_of, shelf.records), as_json=json)
    if leaks:
        note("group or drop copies before the split: policy = 'group' or 'drop' under [duplicates] in the contract")
    return 4 if leaks else 0


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


def _span(span: tuple[int, int], start: int) -> str:
    return f"{(span[0] - start) / 1e9:.1f} to {(span[1] - start) / 1e9:.1f}"
