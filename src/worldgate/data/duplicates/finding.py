"""Finding: the copies among a workspace's logs, recorded as evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from worldgate.core.config import decode
from worldgate.core.progress import Progress, silent
from worldgate.data.check import EVENT as CHECKED
from worldgate.data.duplicates import reports
from worldgate.data.duplicates.clusters import Cluster, choose, conflicts, join
from worldgate.data.duplicates.match import Match
from worldgate.data.duplicates.match_stage import STAGE
from worldgate.data.duplicates.rules import Keep, MatchConfig
from worldgate.data.duplicates.stage import sketch_files
from worldgate.data.ingest import Shelf
from worldgate.data.labelling.store import all_labels
from worldgate.engines import Call, Engine, Stage, run, session
from worldgate.record.workspace import Workspace

EVENT = "duplicates.found"
KIND = "duplicates"
FACTS = ("success", "task", "robot", "site")
"""Facts that the same evidence cannot have twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateReport:
    """The copies among some logs."""

    logs: tuple[str, ...]
    """Digests of all that were compared."""
    matches: tuple[Match, ...]
    clusters: tuple[Cluster, ...]
    keep: Keep
    config: MatchConfig
    code: str
    """Digest of the code that compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """The same evidence on two sides of a split."""

    match: Match
    first_split: str
    second_split: str


def find(
    ws: Workspace,
    logs: Sequence[str] | None = None,
    *,
    keep: Keep = Keep.LONGEST,
    config: MatchConfig | None = None,
    held: Collection[str] = (),
    engine: Engine | None = None,
    progress: Progress = silent,
    shelf: Shelf | None = None,
) -> DuplicateReport:
    """Find logs that hold the same evidence, and record what was found; the same answer is recorded once.

    Args:
        ws: the workspace.
        logs: digests; None: all.
        keep: which log of a cluster is kept.
        config: what counts as the same.
        held: logs that are kept before any other.
        engine: where sketches are drawn and compared; None: as the workspace says.
        progress: called after every sketch.
        shelf: of this workspace.

    Raises:
        NotFound: no such log, or its bytes are gone.
    """
    shelf, rules = shelf or Shelf(ws), config or MatchConfig()
    chosen = reports.chosen(shelf, logs)
    stage = Stage(function=STAGE)
    with session(ws, engine) as place:
        files = sketch_files(ws, shelf, chosen, engine=place, progress=progress)
        call = Call(
            stage=stage,
            name=f"{len(chosen)} logs",
            inputs=chosen,
            config={"sketches": [files[log] for log in chosen], "match": rules},
        )
        (result,) = run([call], place=shelf.place, engine=place)
    matches = decode(_Matches, {"matches": result.value}, where="matches").matches
    says, counts = _says(ws, shelf, chosen), noticed(ws, shelf, chosen)
    clusters = tuple(
        Cluster(
            logs=group,
            kept=choose(group, keep, shelf.records, counts, held),
            conflicts=conflicts(group, says),
        )
        for group in join(chosen, matches)
    )
    report = DuplicateReport(
        logs=chosen, matches=matches, clusters=clusters, keep=keep, config=rules, code=stage.code()
    )
    body = {
        "matches": len(matches),
        "clusters": len(clusters),
        "conflicts": sum(bool(c.conflicts) for c in clusters),
        "keep": keep,
        "config": rules,
        "code": report.code,
    }
    reports.keep(ws, shelf, report, kind=KIND, event=EVENT, logs=chosen, body=body)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Matches:
    matches: tuple[Match, ...]


def _says(ws: Workspace, shelf: Shelf, logs: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """What facts and labels say of each log as a whole."""
    says: dict[str, dict[str, str]] = defaultdict(dict)
    for log in logs:
        facts = shelf.record(log).facts
        says[log] |= {f"fact {key}": str(facts[key]).lower() for key in FACTS if facts.get(key, "") != ""}
    for item in all_labels(ws):
        values: dict[str, set[str]] = defaultdict(set)
        for label in item.set.labels:
            values[label.label].add(str(label.value).lower())
        for name, told in values.items():
            if item.log.digest in says:
                says[item.log.digest][f"label {item.schema.name}/{name}"] = ", ".join(sorted(told))
    return says


def noticed(ws: Workspace, shelf: Shelf, logs: Sequence[str]) -> Mapping[str, int]:
    """How much readers and the newest checks noticed in each log."""
    checked: dict[str, dict[str, int]] = defaultdict(dict)
    for event in ws.ledger.events(CHECKED):
        found = sum(len(outcome["findings"]) for outcome in event.body["outcomes"])
        checked[event.inputs[0].digest][event.inputs[1].digest] = found
    return {log: len(shelf.record(log).findings) + sum(checked[log].values()) for log in logs}


def leaks(matches: Sequence[Match], split_of: Mapping[str, str]) -> Iterator[Leak]:
    """Matches between logs of two splits; logs without a split do not count."""
    for match, first, second in reports.crossing(matches, split_of):
        yield Leak(match=match, first_split=first, second_split=second)
