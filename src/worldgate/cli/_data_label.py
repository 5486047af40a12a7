"""``worldgate data label``: schemas, labels by people and by programs, agreement, and label files of other tools."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cyclopts import App

from worldgate.cli._data_label_files import export, import_, migrate
from worldgate.cli._label import find_digests, pairs
from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from worldgate.data.labelling.store import LabelShelf, RecordedLabels
    from worldgate.record.events import Ref
    from worldgate.record.workspace import Workspace

app = App(name="label", help="Label logs under a schema, measure agreement, exchange label files.")
app.command(import_, name="import")
app.command(export)
app.command(migrate)


def figure(value: float) -> str:
    """A figure with three decimals; a dash where nothing can be said."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def number(value: float) -> float | None:
    """A figure for JSON, which has no NaN."""
    return None if math.isnan(value) else value


@app.command
def schema(
    name: str | None = None,
    /,
    *,
    against: str | None = None,
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Record a label schema and show it; without a name, list those recorded.

    For example:

        worldgate data label schema manipulation
        worldgate data label schema kitchen-labels.toml --against manipulation.v1.0

    Args:
        name: A TOML file, a schema that ships with Worldgate, or the id or name of a recorded one.
        against: Another version: say what changed, and which version that needs. Nothing is recorded then.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.data.labelling import catalogue
    from worldgate.data.labelling.schema import shipped

    with open_workspace(workspace) as ws:
        if name is None:
            held = ws.artifacts(catalogue.KIND)
            table = Table(columns=("id", "schema"), rows=[(ref.digest[:12], ref.name) for ref in held])
            said = f"shipped with Worldgate: {', '.join(shipped())}"
            answer(
                "label.schemas",
                {"schemas": held, "shipped": shipped()},
                table,
                said,
                as_json=json,
            )
            return
        if against is not None:
            _compare(ws, name, against, as_json=json)
            return
        ref = catalogue.find(ws, name, actor=key)
        found = catalogue.load(ws, ref.digest)
    rows = [
        (label, rule.type, rule.extent, ", ".join(rule.values) or rule.unit, rule.annotators, rule.about)
        for label, rule in found.labels.items()
    ]
    table = Table(columns=("label", "type", "of", "values or unit", "annotators", "about"), rows=rows, title=ref.name)
    answer(
        "label.schema",
        {"schema": ref, "content": found},
        table,
        f"label schema {ref.digest[:12]} {ref.name}",
        as_json=json,
    )


def _compare(ws: Workspace, name: str, against: str, *, as_json: bool) -> None:
    from worldgate.data.labelling import catalogue
    from worldgate.data.labelling.changes import compare, needed
    from worldgate.data.labelling.schema import LabelSchema, read

    def get(text: str) -> LabelSchema:
        if text.endswith(".toml"):
            return read(text)
        return catalogue.load(ws, catalogue.find(ws, text).digest)

    old, new = get(against), get(name)
    found, step = compare(old, new), needed(old, new)
    rows = [(item.step, item.label, item.what) for item in found]
    said = f"from {old.title} to {new.title}: a {step} change" if found else f"{old.title} and {new.title} say the same"
    table = Table(columns=("needs", "label", "what changed"), rows=rows)
    answer("label.changes", {"step": step, "changes": found}, *([table] if rows else []), said, as_json=as_json)


@app.command
def show(
    *logs: str, schema: str | None = None, rows: bool = False, workspace: WorkspaceOption = None, json: JsonFlag = False
) -> None:
    """Show who labelled which log, and whether it still counts.

    For example:

        worldgate data label show
        worldgate data label show 4c7a9a17 --schema manipulation --rows

    Args:
        logs: Ids or names of logs; without any, all of them.
        schema: Name of a schema; else all.
        rows: Show every label, with its time from the log's start in seconds.
    """
    from worldgate.data.labelling.catalogue import plain
    from worldgate.data.labelling.sets import to_rows
    from worldgate.data.labelling.store import LabelShelf

    with open_workspace(workspace) as ws:
        shelf = LabelShelf(ws)
        digests = find_digests(ws, logs, shelf)
        items = [i for d in digests for i in shelf.of(d, schema=plain(schema) if schema else None)]
        body = [
            {"set": i.ref, "log": i.log, "schema": i.schema, "annotator": i.annotator, "method": i.method}
            | {"clock": i.clock, "stale": shelf.stale(i), "counts": i.set.counts(), "labels": to_rows(i.set)}
            for i in items
        ]
        tables = [_sets(items, shelf)]
        if rows:
            tables.append(_rows(items, shelf))
    said = f"{len(items)} label sets" if items else "no labels yet; next: worldgate data label auto"
    answer("labels", {"sets": body}, *(tables if items else []), said, as_json=json)


def _sets(items: Sequence[RecordedLabels], shelf: LabelShelf) -> Table:
    rows = []
    for item in items:
        counts = ", ".join(f"{name} {count}" for name, count in item.set.counts().items() if count)
        stale = shelf.stale(item)
        made = item.clock if not item.alignment else f"rows of {item.alignment[:12]}"
        rows.append((item.log.name, item.schema.name, item.annotator, item.method, made, counts, stale or "counts"))
    return Table(columns=("log", "schema", "annotator", "how", "clock", "labels", "state"), rows=rows)


def _rows(items: Sequence[RecordedLabels], shelf: LabelShelf) -> Table:
    from worldgate.core.times import format_span

    out = []
    for item in items:
        zero = shelf.log(item.log.digest).span_ns[0]
        for label in item.set.labels:
            when = "whole log" if label.start_ns is None else format_span(*label.span, zero_ns=zero)
            out.append((item.log.name, item.annotator, label.label, label.value, when, label.note))
    return Table(columns=("log", "annotator", "label", "value", "from the log's start", "note"), rows=out)


@app.command
def add(
    log: str,
    label: str,
    value: str = "true",
    /,
    *,
    schema: str,
    annotator: str,
    start: float | None = None,
    end: float | None = None,
    note: str = "",
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Add one label by hand to what an annotator said of a log.

    For example:

        worldgate data label add 4c7a9a17 success true --schema manipulation --annotator ada --key ada
        worldgate data label add 4c7a9a17 phase push --schema manipulation --annotator ada --start 1.2 --end 2.0

    Args:
        log: Id or name of a log.
        label: An entry of the schema.
        value: What it says: a category, true or false, a number or a text.
        schema: The label schema: a TOML file, a shipped or a recorded one.
        annotator: Who says it.
        start: From when, in seconds from the log's start; without, the whole log.
        end: Until when, exclusive; without, an instant.
        note: More words.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.data.labelling import catalogue
    from worldgate.data.labelling.by_hand import add_label

    with open_workspace(workspace) as ws:
        found = catalogue.find(ws, schema, actor=key)
        ref = add_label(
            ws,
            ws.resolve(log, "log"),
            found,
            label,
            value,
            annotator=annotator,
            start_s=start,
            end_s=end,
            note=note,
            actor=key,
        )
    answer("label.added", {"set": ref}, f"label set {ref.digest[:12]} of {annotator}", as_json=json)


@app.command
def auto(
    *logs: str,
    labeller: tuple[str, ...] = (),
    set_: tuple[str, ...] = (),
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Label logs by programs, from their telemetry.

    For example:

        worldgate data label auto
        worldgate data label auto 4c7a9a17 --labeller contact --set contact.least_n=0.5

    What a labeller found wrong and right on the simulated cell stands in the documentation; see `worldgate list
    labellers`.

    Args:
        logs: Ids or names of logs; without any, all of them.
        labeller: Only these.
        set_: A labeller's own setting, as LABELLER.KEY=VALUE.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.cli._contract import find_logs
    from worldgate.data.labelling.automatic import record_automatic
    from worldgate.data.labelling.spans import length_ns

    with open_workspace(workspace) as ws, progress("label") as tell:
        found = record_automatic(ws, find_logs(ws, logs), labeller, params=_params(set_), actor=key, progress=tell)
    rows = []
    for log, said in found:
        spans = [label.span for label in said.labels if label.start_ns is not None]
        words = ", ".join(sorted({str(label.value).lower() for label in said.labels})) if said.reads else "cannot say"
        seconds = f"{length_ns(spans) / 1e9:.2f}" if spans else ""
        rows.append((log.name, said.labeller, len(said.labels), words, seconds, ", ".join(said.reads)))
    table = Table(columns=("log", "labeller", "labels", "says", "covers [s]", "reads"), rows=rows)
    body = {
        "said": [
            {"log": log, "labeller": said.labeller, "reads": said.reads, "labels": said.labels} for log, said in found
        ]
    }
    answer("label.auto", body, table, "next: worldgate data label show --rows", as_json=json)


def _params(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    from worldgate.core.config import value_of

    out: dict[str, dict[str, Any]] = {}
    for path, text in pairs(texts, "--set").items():
        name, _, key = path.partition(".")
        out.setdefault(name, {})[key] = value_of(text)
    return out


@app.command
def agree(
    *logs: str,
    schema: str,
    annotator: tuple[str, ...] = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Measure how well annotators agree: Krippendorff's alpha and segment F1.

    For example:

        worldgate data label agree --schema manipulation
        worldgate data label agree 4c7a9a17 --schema manipulation --annotator ada --annotator bob

    Args:
        logs: Ids or names of logs; without any, all of them.
        schema: The label schema: a shipped or a recorded one.
        annotator: Only these; people and labellers alike.
    """
    from worldgate.data.labelling import catalogue
    from worldgate.data.labelling.report import agreement
    from worldgate.data.labelling.store import LabelShelf

    with open_workspace(workspace) as ws:
        shelf = LabelShelf(ws)
        report = agreement(shelf, find_digests(ws, logs, shelf), catalogue.find(ws, schema), annotator)
    rows, body = [], []
    for item in report.labels:
        f1 = item.f1
        span = f"{figure(f1.lower)} to {figure(f1.upper)}" if f1 is not None else ""
        rows.append(
            (
                item.label,
                ", ".join(item.annotators),
                item.logs,
                figure(item.alpha),
                figure(f1.value) if f1 else "",
                span,
            )
        )
        measured = {"value": number(f1.value), "lower": number(f1.lower), "upper": number(f1.upper)} if f1 else None
        body.append(
            {"label": item.label, "annotators": item.annotators, "logs": item.logs}
            | {"alpha": number(item.alpha), "f1": measured}
        )
    columns = ("label", "annotators", "logs", "alpha", "segment F1", "95 % interval over logs")
    said = f"macro F1 {figure(report.macro_f1)}" if rows else "no log was labelled by two"
    whole = {"schema": report.schema, "labels": body, "macro_f1": number(report.macro_f1)}
    answer("label.agreement", whole, *([Table(columns=columns, rows=rows)] if rows else []), said, as_json=json)


@app.command
def adjudicate(
    log: str,
    /,
    *,
    schema: str,
    take: tuple[str, ...],
    by: str,
    reason: str,
    key: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Decide between the people who labelled a log, label by label.

    For example:

        worldgate data label adjudicate 4c7a9a17 --schema manipulation --take "*=ada" --by eve --reason "slow motion"
        worldgate data label adjudicate 4c7a9a17 --schema manipulation --take phase=bob --by eve --reason "a grasp"

    Args:
        log: Id or name of a log.
        schema: The label schema: a shipped or a recorded one.
        take: LABEL=ANNOTATOR: whose word holds; * is every label that is not named.
        by: Who decides.
        reason: Why, in words.
        key: Name of the key that signs; else the program's own.
    """
    from worldgate.data.labelling import catalogue
    from worldgate.data.labelling.adjudication import decide

    with open_workspace(workspace) as ws:
        ref: Ref = decide(
            ws,
            ws.resolve(log, "log"),
            catalogue.find(ws, schema),
            pairs(take, "--take"),
            by=by,
            reason=reason,
            actor=key,
        )
    answer("label.adjudicated", {"set": ref}, f"label set {ref.digest[:12]} decides, by {by}", as_json=json)
