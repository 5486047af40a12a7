"""``worldgate world prompts``: what every kind of prompt is worth to a world model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from worldgate.cli._output import JsonFlag, Table, answer, progress
from worldgate.cli._recipe import SetOption
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.evidence.evaluation.sums import Estimate
    from worldgate.evidence.prompting import Prompts

COLUMNS = ("prompt", "of", "error", "empty prompt", "over empty", "over another's", "over less", "works")


def prompts(
    model: str,
    dataset: str,
    /,
    *,
    split: str = "val",
    kind: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=True)] = (),
    samples: int | None = None,
    seconds: float | None = None,
    out: Path | None = None,
    set_: SetOption = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Measure what each kind of prompt is worth: its samples against those of the empty prompt.

    For example:

        worldgate world prompts cell-flow cell-1
        worldgate world prompts cell-flow cell-1 --kind text image first_last --samples 4 --out prompts.json

    The error is the energy score of samples, in training deviations, over the steps that a prompt leaves open. Each
    kind is held against the empty prompt, against the same kind taken from another episode, and against the kind that
    it adds something to; gains are parts of that error, with bounds over episodes. It works where both of the first
    two have a lower bound above zero.

    Args:
        model: Id or name of a world model that takes partial prompts, such as flow and masked.
        dataset: Id or name of a dataset.
        split: Which of its splits; the model must not have learned from it.
        kind: Only these: text, image, clip, first_last, frames, rows, actions, driven, mixture.
        samples: Futures a prompt; 8 without.
        seconds: Horizon; one second without.
        out: Write the whole report as JSON to this new file.
    """
    from worldgate.core.atomic import write_atomic
    from worldgate.core.config import resolve
    from worldgate.core.digest import canonical
    from worldgate.core.errors import AlreadyExists, NotFound
    from worldgate.data import datasets
    from worldgate.evidence.prompting import PromptsConfig, measure
    from worldgate.worlds.train import stage

    if out is not None and out.exists():
        raise AlreadyExists("nothing is overwritten", where=out, hint="another --out")
    given = {"samples": samples, "seconds": seconds}
    base = PromptsConfig(kinds=kind, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    config = resolve(base, sets=set_, environment=False).value
    with open_workspace(workspace) as ws:
        subject, data = ws.resolve(model, "world_model"), ws.resolve(dataset, "dataset")
        held = datasets.load(ws, data.digest, split)
        try:
            references = datasets.load(ws, data.digest, "train") if split != "train" else []
        except NotFound:
            references = []
        with progress("prompts") as tell:
            world = stage.load(ws, subject.digest)
            found = measure(world, held, config, references=references, dataset=data.digest, progress=tell)
        ref = found.keep(ws, subject, data)
    if out is not None:
        write_atomic(out, canonical(found.to_json()))
    said = [*_told(found), *([f"all figures in {out}"] if out is not None else []), f"evaluation {ref.digest[:12]}"]
    body = {"evaluation": ref, "report": found.to_json()}
    answer("world.prompts", body, Table(columns=COLUMNS, rows=_table(found)), *said, as_json=json)


def _table(found: Prompts) -> list[tuple[object, ...]]:
    return [
        (
            row.kind,
            row.stream,
            _value(row.error),
            _value(row.null),
            _gain(row.over_null),
            _gain(row.over_wrong),
            f"{row.less} {_gain(row.over_less)}" if row.over_less is not None else "-",
            "yes" if row.works else "no",
        )
        for row in found.rows
    ]


def _value(found: Estimate) -> str:
    return "-" if found.value is None else f"{found.value:.3g}"


def _gain(found: Estimate) -> str:
    if found.value is None:
        return "-"
    bounds = "" if found.lower is None or found.upper is None else f" [{found.lower:+.0%}, {found.upper:+.0%}]"
    return f"{found.value:+.0%}{bounds}"


def _told(found: Prompts) -> list[str]:
    named = {row.kind: None for row in found.rows}
    kinds = {kind: [row.works for row in found.rows if row.kind == kind] for kind in named}
    works = [kind for kind, rows in kinds.items() if any(rows)]
    fails = [kind for kind, rows in kinds.items() if not any(rows)]
    out = [
        f"{found.windows} windows of {len(found.episodes)} {found.origin} episodes, {found.steps} steps, "
        f"{found.samples} samples; bounds at {1 - found.level:.0%} a side, over episodes"
    ]
    out += [f"better than no prompt and than another one: {', '.join(works)}"] if works else []
    out += [f"not shown: {', '.join(fails)}"] if fails else []
    return [*out, *(f"not measured, {kind}: {why}" for kind, why in found.not_measured.items())]
