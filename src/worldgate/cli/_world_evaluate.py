"""``worldgate world evaluate``: how good a world model or a tokenizer is on held-out episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._recipe import SetOption
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worldgate.evidence.evaluation import Evaluation
    from worldgate.evidence.evaluation.measures import EvaluateConfig
    from worldgate.record.events import Ref
    from worldgate.record.workspace import Workspace

COLUMNS = ("figure", "unit", "ahead [s]", "model", "better baseline", "advantage", "real", "episodes")


def evaluate(
    model: str,
    dataset: str,
    /,
    *,
    split: str = "val",
    samples: int | None = None,
    horizons: Annotated[tuple[int, ...], Parameter(negative=(), consume_multiple=True)] = (),
    measure: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=True)] = (),
    out: Path | None = None,
    site: str = "",
    set_: SetOption = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Measure how good a world model or a tokenizer is on held-out episodes.

    For example:

        worldgate world evaluate arm-dynamics cell-1
        worldgate world evaluate video-1 cell-1 --horizons 8 16 32 64 --measure energy object_pose --out figures.json

    Every figure stands beside copy-last and constant velocity, with bounds over episodes; read-outs are fitted on the
    dataset's training split and their own error on real data stands beside them. The table shows the horizon nearest
    to a second, --out and --json all of them. `worldgate list metrics` says what each measure is.

    Args:
        model: Id or name of a world model or tokenizer.
        dataset: Id or name of a dataset.
        split: Which of its splits; the model must not have learned from it.
        samples: Futures a window, for models that have more than one; 8 without.
        horizons: Steps ahead; else 1 step, 0.5, 1 and 2 s.
        measure: Only these entries of the seam metrics.
        out: Write the whole report as JSON to this new file.
        site: Of episodes whose log names none, for the evidence that gates read.
    """
    from worldgate.core.config import resolve
    from worldgate.core.errors import AlreadyExists
    from worldgate.evidence.evaluation.measures import EvaluateConfig

    if out is not None and out.exists():
        raise AlreadyExists("nothing is overwritten", where=out, hint="another --out")
    base = EvaluateConfig(horizons=horizons, measures=measure, samples=8 if samples is None else samples)
    config = resolve(base, sets=set_, environment=False).value
    with open_workspace(workspace) as ws:
        subject, data = _subject(ws, model), ws.resolve(dataset, "dataset")
        if subject.kind == "tokenizer":
            _tokenizer(ws, subject, data, split, out, as_json=json)
        else:
            _world_model(ws, subject, data, split, config, out, site=site, as_json=json)


def _subject(ws: Workspace, text: str) -> Ref:
    """A world model or a tokenizer of this id or name."""
    from worldgate.core.errors import NotFound

    try:
        return ws.resolve(text, "world_model")
    except NotFound:
        return ws.resolve(text, "tokenizer")


def _write(out: Path | None, body: object) -> None:
    from worldgate.core.atomic import write_atomic
    from worldgate.core.digest import canonical

    if out is not None:
        write_atomic(out, canonical(body))


def _world_model(
    ws: Workspace,
    subject: Ref,
    data: Ref,
    split: str,
    config: EvaluateConfig,
    out: Path | None,
    *,
    site: str,
    as_json: bool,
) -> None:
    from worldgate.core.errors import NotFound
    from worldgate.data import datasets
    from worldgate.evidence.evaluation.keeping import measure
    from worldgate.worlds.train import stage

    episodes = datasets.load(ws, data.digest, split)
    try:
        references = datasets.load(ws, data.digest, "train") if split != "train" else []
    except NotFound:
        references = []
    with progress("evaluate") as tell:
        model = stage.load(ws, subject.digest)
        found, ref, evidence = measure(
            ws, model, episodes, config, references=references, dataset=data, site=site, progress=tell,
            inputs=[subject, data],
        )  # fmt: skip
    _write(out, found.to_json())
    _tell(found, ref, evidence, out, as_json=as_json)


def _tell(found: Evaluation, ref: Ref, evidence: Ref, out: Path | None, *, as_json: bool) -> None:
    from worldgate.evidence.evaluation.summary import lines, text

    situations = lines(found, situations=True)
    parts: list[Table | str] = [Table(columns=COLUMNS, rows=[_row(line) for line in lines(found)])]
    if situations:
        rows = [(line.situation, *_row(line)) for line in situations]
        parts.append(Table(columns=("situation", *COLUMNS), rows=rows))
    said = [
        *text(found),
        *([f"all figures in {out}"] if out is not None else []),
        f"evaluation {ref.digest[:12]}; evidence by episode {evidence.digest[:12]}",
        f"next: worldgate gate admission-full {found.subject[:12]} GAP {evidence.digest[:12]} --site SITE",
    ]
    body = {"evaluation": ref, "evidence": evidence, "report": found.to_json()}
    answer("world.evaluate", body, *parts, *said, as_json=as_json)


def _row(line: object) -> Sequence[object]:
    names = ("figure", "unit", "seconds", "model", "baseline", "advantage", "real", "episodes")
    return [getattr(line, name) or "-" for name in names]


def _tokenizer(ws: Workspace, subject: Ref, data: Ref, split: str, out: Path | None, *, as_json: bool) -> None:
    from worldgate.core.digest import to_json
    from worldgate.worlds.tokenizer_report import evaluate as measure_tokenizer

    with progress("evaluate") as tell:
        found = measure_tokenizer(ws, subject, data, split, progress=tell)
    _write(out, to_json(found))
    rows = [
        (stream, name, figure.unit, *(_number(v) for v in (figure.value, figure.lower, figure.upper, figure.baseline)))
        for stream, figures in found.figures.items()
        for name, figure in figures.items()
    ]
    columns = ("stream", "figure", "unit", "value", "lower bound", "upper bound", "baseline")
    said = [
        f"{found.family} on {', '.join(found.origins)} episodes: {found.episodes}, {found.rows} rows; "
        f"bounds at 95 % a side, over episodes",
        f"{found.encode_hz:.0f} encoded and {found.decode_hz:.0f} decoded a second",
    ]
    if found.unknown_places:
        said.append(f"no empty scene fits {len(found.unknown_places)} episodes: they keep less")
    answer("world.evaluate", {"tokenizer": found}, Table(columns=columns, rows=rows), *said, as_json=as_json)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
