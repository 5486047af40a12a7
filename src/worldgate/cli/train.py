"""``worldgate train``: a world model from a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from worldgate.cli._output import JsonFlag, answer, progress
from worldgate.cli._recipe import SetOption
from worldgate.cli._workspace import WorkspaceOption, open_workspace
from worldgate.core.errors import UsageError

if TYPE_CHECKING:
    from worldgate.core.progress import Progress
    from worldgate.record.events import Ref
    from worldgate.record.workspace import Workspace


def train(
    family: str | None = None,
    dataset: str | None = None,
    /,
    *,
    name: str = "",
    debug_config: Annotated[bool, Parameter(name="--debug-config", negative=())] = False,
    set_: SetOption = (),
    resume: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Train a world model or a tokenizer on a dataset.

    For example:

        worldgate train state cell-1 --name arm-dynamics
        worldgate train fsq cell-1 --set video.context=background
        worldgate train --resume 4c7a9a17

    Ctrl-C writes a snapshot and prints the line that resumes; asking again for the same finds the same run.

    Args:
        family: A family of `worldgate list models`, or a tokenizer of `worldgate list tokenizers`.
        dataset: Id or name of a dataset; it learns from the split train and is judged on val.
        name: What people will call the model.
        debug_config: The family's small configuration, which trains in seconds on a CPU.
        resume: Id of a run to go on with; takes nothing else.
    """
    given = family is not None or dataset is not None or bool(name or set_ or debug_config)
    if resume is not None and given:
        raise UsageError("--resume takes a run id and nothing else", got=resume)
    with open_workspace(workspace) as ws, progress("train") as tell:
        if resume is not None:
            from worldgate.worlds.train import stage

            model = stage.resume(ws, resume, progress=tell)
        else:
            model = _start(ws, family, dataset, name, debug_config, set_, tell)
        made = next(event for event in ws.ledger.events(f"{model.kind}.trained") if model in event.outputs)
    figures = [f"{key} {value:.4g}" for key, value in sorted(made.body["held_out"].items())]
    body = {"model": model, **made.body}
    what = model.kind.replace("_", " ")
    said = f"{what} {model.digest[:12]} {model.name}".rstrip() + f", after {made.body['seconds']:g} s"
    after = "gap DATASET --model" if model.kind == "world_model" else "show"
    answer("train", body, said, *figures, f"next: worldgate {after} {model.digest[:12]}", as_json=json)


def _start(
    ws: Workspace,
    family: str | None,
    dataset: str | None,
    name: str,
    debug_config: bool,
    sets: tuple[str, ...],
    tell: Progress,
) -> Ref:
    if family is None or dataset is None:
        raise UsageError("train takes a family and a dataset", hint="worldgate train state DATASET")
    from worldgate.core.config import resolve
    from worldgate.worlds.family import load_trainable

    module = load_trainable(family)
    config = resolve(module.debug() if debug_config else module.Config(), sets=sets).value
    ref = ws.resolve(dataset, "dataset")
    from worldgate.worlds.train import stage

    return stage.train(ws, ref.digest, family, config, name=name, progress=tell)
