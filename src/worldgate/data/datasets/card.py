"""A dataset's card: what is in it, under which terms, how well it is aligned, what was found and left out.

One description, two forms: Markdown with the front matter that hubs read (``license``, ``tags``, ``size_categories``),
and a page of HTML that loads nothing from anywhere. Everything is read from the record; nothing is typed in by hand.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldgate.core.config import decode
from worldgate.core.digest import short
from worldgate.core.errors import NotFound
from worldgate.core.normalisers import Normaliser
from worldgate.core.report import Section, Table, write_report
from worldgate.core.streams import NUMERIC, Origin
from worldgate.core.times import MILLISECOND, format_ns
from worldgate.data import contracts
from worldgate.data.alignment_report import AlignmentReport
from worldgate.data.check import EVENT as CHECKED
from worldgate.data.datasets.loading import load_entries
from worldgate.data.datasets.manifests import DatasetManifest, EpisodeEntry, manifest, normaliser
from worldgate.data.datasets.previews import previews
from worldgate.data.ingest import EPOCHS_NS, Shelf
from worldgate.data.privacy import showing
from worldgate.data.retention import keeping
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SHOWN = 200
PREVIEWED = 4
"""Episodes that a page shows where nobody says which."""
UNSTATED = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a card says, part by part."""

    title: str
    lead: str
    notice: str
    licences: tuple[str, ...]
    rows: int
    origins: tuple[Origin, ...]
    sections: tuple[Section, ...]


def card(ws: Workspace, dataset: Ref) -> Card:
    """Describe a dataset from the record.

    Raises:
        NotFound: no such dataset.
    """
    held = manifest(ws, dataset.digest)
    shelf = Shelf(ws)
    licences = tuple(sorted({str(e.facts.get("licence", UNSTATED)) for e in held.episodes}))
    rows = sum(entry.rows for entry in held.episodes)
    seconds = rows / held.rate_hz if held.rate_hz else 0.0
    return Card(
        title=held.name,
        lead=f"{len(held.episodes)} episodes, {seconds / 60:.1f} minutes at {held.rate_hz:g} Hz, "
        f"{len(held.streams)} streams; dataset {short(dataset.digest)}.",
        notice=f"Origin of every episode: {', '.join(held.origins)}.",
        licences=licences,
        rows=rows,
        origins=held.origins,
        sections=(
            _identity(ws, dataset, held),
            _terms(ws, held, licences),
            _splits(held, shelf),
            _streams(ws, dataset, held),
            _alignment(ws, held),
            _findings(ws, held),
            _episodes(held, shelf),
        ),
    )


def write_html(ws: Workspace, dataset: Ref, path: Path, *, episodes: Sequence[str] = ()) -> Path:
    """Write the card as one self-contained page, with what some episodes look like.

    Args:
        ws: the workspace.
        dataset: what is described.
        path: the page; replaced if it exists.
        episodes: names, or prefixes of ids, of those that are shown; empty: the first of every split, and a few more.

    Raises:
        NotFound: no such dataset or episode.
    """
    told, held = card(ws, dataset), manifest(ws, dataset.digest)
    looks = [_looks(ws, held, entry) for entry in _picked(held, episodes)]
    sections = (*told.sections, *looks)
    return write_report(path, title=told.title, lead=told.lead, notice=told.notice, sections=sections)


def _picked(held: DatasetManifest, names: Sequence[str]) -> list[EpisodeEntry]:
    if not names:
        splits = list(dict.fromkeys(entry.split for entry in held.episodes))
        first = [held.split(split)[0] for split in splits]
        return [*first, *(entry for entry in held.episodes if entry not in first)][: max(PREVIEWED, len(first))]
    found = {n: [e for e in held.episodes if e.name == n or (len(n) >= 4 and e.id.startswith(n))] for n in names}
    lost = [name for name, entries in found.items() if not entries]
    if lost:
        some = ", ".join(entry.name for entry in held.episodes[:4])
        raise NotFound("no such episode in this dataset", got=lost[0], where=held.name, hint=f"one of {some}")
    return [entries[0] for entries in found.values()]


def _looks(ws: Workspace, held: DatasetManifest, entry: EpisodeEntry) -> Section:
    """Strips and plots of one episode, without what any recorded contract hides."""
    title = f"Episode {entry.name}, split {entry.split}"
    record = Shelf(ws).record(entry.log)
    hidden = {*showing.hidden_cameras(ws, record), *showing.forbidden_streams(ws, held.streams)} & set(held.streams)
    if any(item.log == entry.log and item.erased_ns is not None for item in keeping(ws)):
        return Section(title=title, words=("Its log was erased.",))
    (episode,) = load_entries(ws, held, [entry])
    words = [f"{len(episode)} rows at {episode.rate_hz:g} Hz, {entry.origin}."]
    if hidden:
        words.append(f"Not shown, because a contract masks or forbids it: {', '.join(sorted(hidden))}.")
    return Section(title=title, words=tuple(words), pictures=tuple(previews(episode, hidden)))


def markdown(ws: Workspace, dataset: Ref) -> str:
    """The card as Markdown with the front matter of a hub's dataset card."""
    told = card(ws, dataset)
    size = next((name for limit, name in _SIZES if told.rows < limit), "n>1M")
    front = {
        "license": "other" if len(told.licences) > 1 else _hub_licence(told.licences[0]),
        "pretty_name": told.title,
        "size_categories": [size],
        "tags": ["robotics", "world-models", *told.origins],
        "task_categories": ["robotics"],
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", ""]
    lines += [f"# {told.title}", "", told.lead, "", f"**{told.notice}**", ""]
    for section in told.sections:
        lines += [f"## {section.title}", "", *(line for word in section.words for line in (word, ""))]
        lines += [line for table in section.tables for line in (*_rows(table), "")]
        lines += [line for command in section.commands for line in (f"    {command}", "")]
    return "\n".join(lines).rstrip() + "\n"


def _hub_licence(licence: str) -> str:
    return "unknown" if licence == UNSTATED else licence.lower()


def _rows(table: Table) -> Iterator[str]:
    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ")

    yield "| " + " | ".join(map(cell, table.headings)) + " |"
    yield "|" + " --- |" * len(table.headings)
    for row in table.rows:
        yield "| " + " | ".join(map(cell, row)) + " |"


def _identity(ws: Workspace, dataset: Ref, held: DatasetManifest) -> Section:
    contract = contracts.load(ws, held.contract)
    rows = [
        ("dataset", dataset.digest),
        ("contract", f"{contract.name}.v{contract.version} {held.contract}"),
        ("alignment", held.alignment),
        ("normaliser of the train split", normaliser(ws, dataset.digest).digest),
        *(("made from dataset", parent) for parent in held.parents),
    ]
    words = ("Every id is a SHA-256 of content: the same logs under the same contract and name give the same dataset.",)
    commands = (f"worldgate show {short(dataset.digest)}", "worldgate record verify")
    return Section(
        title="Identity", words=words, tables=(Table(headings=("what", "id"), rows=(*rows,)),), commands=commands
    )


def _terms(ws: Workspace, held: DatasetManifest, licences: Sequence[str]) -> Section:
    by_licence = Counter(str(entry.facts.get("licence", UNSTATED)) for entry in held.episodes)
    logs = {entry.log for entry in held.episodes}
    kept = [item for item in keeping(ws) if item.log in logs]
    until = [item.may_until_ns for item in kept if item.may_until_ns is not None]
    classes = Counter(item.retention for item in kept)
    words = [f"Licences: {', '.join(f'{name} ({by_licence[name]} episodes)' for name in licences)}."]
    words.append(f"Retention: {', '.join(f'{name} ({count})' for name, count in sorted(classes.items()))}.")
    if until:
        words.append(f"The first of these logs is due for erasure on {format_ns(min(until))}.")
    held_back = sum(bool(item.holds) for item in kept)
    gone = sum(item.erased_ns is not None for item in kept)
    words += [f"Held for a case: {held_back} of these logs."] if held_back else []
    words += [f"Erased since: {gone} of these logs; the dataset can no longer be loaded whole."] if gone else []
    return Section(title="Terms", words=tuple(words))


def _splits(held: DatasetManifest, shelf: Shelf) -> Section:
    rows = []
    for split in sorted({entry.split for entry in held.episodes}):
        part = held.split(split)
        sites = ", ".join(sorted({entry.site or UNSTATED for entry in part}))
        robots = ", ".join(sorted({shelf.record(entry.log).robot or UNSTATED for entry in part}))
        rows.append((split, str(len(part)), str(sum(e.rows for e in part)), sites, robots))
    headings = ("split", "episodes", f"rows [{held.rate_hz:g} Hz]", "sites", "robots")
    words = ("No log, camera or changing signal stands on two sides: that is refused when the dataset is made.",)
    return Section(title="Splits", words=words, tables=(Table(headings=headings, rows=tuple(rows)),))


def _streams(ws: Workspace, dataset: Ref, held: DatasetManifest) -> Section:
    measured = Normaliser.from_bytes(ws.store.get(normaliser(ws, dataset.digest).digest)).streams
    rows = []
    for name, schema in held.streams.items():
        found = measured.get(name) if schema.kind in NUMERIC else None
        span = f"{min(found.min):.3g} to {max(found.max):.3g}" if found and found.min else ""
        shape = " x ".join(map(str, schema.shape))
        rows.append((name, schema.kind, shape, schema.unit or UNSTATED, span, ", ".join(schema.names)))
    headings = ("stream", "kind", "shape", "unit", "range in train", "channels")
    return Section(title="Streams", tables=(Table(headings=headings, rows=tuple(rows)),))


def _alignment(ws: Workspace, held: DatasetManifest) -> Section:
    reports = [decode(AlignmentReport, ws.get_json(e.report), where=f"report of {e.name}") for e in held.episodes]
    rows = []
    for name in held.streams:
        of_stream = [report.streams[name] for report in reports if name in report.streams]
        used, gaps = sum(s.used for s in of_stream), sum(s.gaps for s in of_stream)
        median = np.median([s.skew.p50_ns for s in of_stream]) / MILLISECOND
        worst95, worst = (max(getattr(s.skew, q) for s in of_stream) / MILLISECOND for q in ("p95_ns", "max_ns"))
        future = sum(s.future for s in of_stream)
        clocks = ", ".join(sorted({s.clock for s in of_stream}))
        rows.append(
            (name, clocks, f"{median:.2f}", f"{worst95:.2f}", f"{worst:.2f}", str(future), str(gaps), str(used))
        )
    skews = ("median skew [ms]", "worst p95 [ms]", "worst [ms]")
    headings = ("stream", "clock", *skews, "rows from the future", "gap rows", "rows")
    words = ("Skew is the distance between a row and the message it uses; every row of every episode carries its own.",)
    return Section(title="Alignment", words=words, tables=(Table(headings=headings, rows=tuple(rows)),))


def _findings(ws: Workspace, held: DatasetManifest) -> Section:
    inside = {entry.log for entry in held.episodes}
    found: dict[str, set[tuple[str, str]]] = {}
    for event in ws.ledger.events(CHECKED):
        log, contract = event.inputs
        if contract.digest == held.contract and log.digest in inside:
            told = [finding for outcome in event.body["outcomes"] for finding in outcome["findings"]]
            found[log.digest] = {(finding["check"], finding["stream"]) for finding in told}
    counts = Counter(item for items in found.values() for item in items)
    rows = tuple((check, stream, str(count)) for (check, stream), count in sorted(counts.items()))
    headings = ("check", "stream", "episodes flagged")
    words = [] if rows else ["No check found anything in the episodes that are in."]
    tables = [Table(headings=headings, rows=rows)] if rows else []
    if held.refused:
        left = tuple((short(log), "; ".join(why)) for log, why in held.refused.items())
        tables.append(Table(headings=("log left out", "why"), rows=left[:_SHOWN]))
    return Section(title="Checks", words=tuple(words), tables=tuple(tables))


def _episodes(held: DatasetManifest, shelf: Shelf) -> Section:
    rows = []
    for entry in held.episodes[:_SHOWN]:
        record = shelf.record(entry.log)
        start = record.span_ns[0]
        when = format_ns(start) if start >= EPOCHS_NS else "no date"
        facts = ", ".join(f"{k} {_plain(v)}" for k, v in sorted(entry.facts.items()) if k in _TOLD)
        rows.append((entry.name, short(entry.id), entry.split, entry.origin, str(entry.rows), when, facts))
    more = len(held.episodes) - _SHOWN
    words = (f"The first {_SHOWN} of {len(held.episodes)}.",) if more > 0 else ()
    headings = ("episode", "id", "split", "origin", "rows", "recorded", "facts")
    return Section(title="Episodes", words=words, tables=(Table(headings=headings, rows=tuple(rows)),))


_TOLD = frozenset({"task", "success", "site", "robot", "arm", "operator", "licence", "expert"})


def _plain(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
