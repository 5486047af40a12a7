"""``worldgate train``: a world model, a tokenizer or a policy from a dataset."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import App, Parameter

from worldgate.cli._output import JsonFlag, answer, note, progress
from worldgate.cli._recipe import SetOption
from worldgate.cli._workspace import WorkspaceOption, open_workspace
from worldgate.core.errors import UsageError
from worldgate.core.progress import silent

if TYPE_CHECKING:
    from worldgate.core.progress import Progress
    from worldgate.record.events import Ref
    from worldgate.record.workspace import Workspace

SizeOption: TypeAlias = Literal["debug", "nano", "small", "base", "large"]

app = App(name="train")


@app.default
def train(
    family: str | None = None,
    dataset: str | None = None,
    /,
    *,
    name: str = "",
    size: SizeOption | None = None,
    debug_config: Annotated[bool, Parameter(name="--debug-config", negative=())] = False,
    set_: SetOption = (),
    resume: str | None = None,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Train a world model, a tokenizer or a policy on a dataset.

    For example:

        worldgate train state cell-1 --name arm-dynamics
        worldgate train fsq cell-1 --size base --set video.context=background
        worldgate train policy act cell-1 --name pusher
        worldgate train --resume 4c7a9a17

    A few steps are timed first, and what the whole will take is said before it starts. Ctrl-C writes a snapshot and
    prints the line that resumes; asking again for the same finds the same run. Several processes or GPUs train
    together under torchrun: `torchrun --nproc-per-node 2 -m worldgate train ...`.

    Args:
        family: A family of `worldgate list models`, or a tokenizer of `worldgate list tokenizers`.
        dataset: Id or name of a dataset; it learns from the split train and is judged on val.
        name: What people will call the model.
        size: How large the model is made; small is the default.
        debug_config: The same as --size debug, which trains in seconds on a CPU.
        resume: Id of a run to go on with; takes nothing else.
    """
    given = family is not None or dataset is not None or bool(name or set_ or debug_config or size)
    if resume is not None and given:
        raise UsageError("--resume takes a run id and nothing else", got=resume)
    if debug_config and size not in {None, "debug"}:
        raise UsageError("--debug-config is --size debug", got=f"--size {size}")
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started; the others are silent
    with open_workspace(workspace) as ws, progress("train") if first else nullcontext(silent) as tell:
        if resume is not None:
            from worldgate.control import training
            from worldgate.worlds.train import stage

            if training.is_policy(ws, resume):
                _told(ws, training.resume(ws, resume, progress=tell), as_json=json)
                return
            model = stage.resume(ws, resume, progress=tell)
        else:
            model = _start(ws, family, dataset, name, "debug" if debug_config else size, set_, tell)
        if not first:
            return
        made = next(event for event in ws.ledger.events(f"{model.kind}.trained") if model in event.outputs)
    figures = [f"{key} {value:.4g}" for key, value in sorted(made.body["held_out"].items())]
    took = made.body["cost"]
    if "estimated_s" in took:
        figures.append(f"{took['took_s']:.0f} s, where {took['estimated_s']:.0f} s were expected")
    body = {"model": model, **made.body}
    what = model.kind.replace("_", " ")
    said = f"{what} {model.digest[:12]} {model.name}".rstrip() + f", after {made.body['seconds']:g} s"
    after = "gap DATASET --model" if model.kind == "world_model" else "show"
    answer("train", body, said, *figures, f"next: worldgate {after} {model.digest[:12]}", as_json=json)


@app.command
def policy(
    policy: str,
    dataset: str,
    /,
    *,
    name: str = "",
    size: SizeOption = "small",
    set_: SetOption = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Train a policy on a dataset, and register it as a release.

    For example:

        worldgate train policy act cell-1 --name pusher --set inputs.cameras='["observation.images.front"]'
        worldgate train policy diffusion cell-1 --size debug --set goal='["observation.state"]'

    It imitates what was recorded. Figures on held-out episodes stand beside those of repeating the last action and of
    the mean action: an error of actions is no rate of success. Ctrl-C writes a snapshot and prints the line that
    resumes; asking again for the same finds the same run.

    Args:
        policy: A policy of `worldgate list policies` that is trained.
        dataset: Id or name of a dataset; it learns from the split train and is judged on val.
        name: What people will call the release; else the policy's name.
        size: How large it is made; debug trains in seconds on a CPU.
    """
    from worldgate.control import training
    from worldgate.core.config import resolve
    from worldgate.worlds.sizes import Size

    config = resolve(training.config_for(policy, Size(size)), sets=set_).value
    with open_workspace(workspace) as ws, progress("train") as tell:
        data = ws.resolve(dataset, "dataset")
        release = training.train(ws, data.digest, policy, config, name=name, progress=tell)
        _told(ws, release, as_json=json)


def _told(ws: Workspace, release: Ref, *, as_json: bool) -> None:
    """Say what a policy's training made."""
    from worldgate.control import training
    from worldgate.core.digest import short

    run = training.run_of(ws, release)
    figures = training.held_out_figures(ws, run)
    lines = [f"{key} {value:.4g}" for key, value in figures.items()]
    said = f"release {short(release.digest)} {release.name}"
    next_ = f"next: worldgate policy evaluate {short(release.digest)} --dataset DATASET"
    answer("train.policy", {"release": release, "run": run, "held_out": figures}, said, *lines, next_, as_json=as_json)


def _start(
    ws: Workspace,
    family: str | None,
    dataset: str | None,
    name: str,
    size: str | None,
    sets: tuple[str, ...],
    tell: Progress,
) -> Ref:
    if family is None or dataset is None:
        raise UsageError("train takes a family and a dataset", hint="worldgate train state DATASET")
    from worldgate.core.config import resolve
    from worldgate.worlds.family import load_trainable
    from worldgate.worlds.sizes import Size, config_of

    chosen = config_of(family, load_trainable(family), Size(size or "small"))
    config = resolve(chosen, sets=sets).value
    ref = ws.resolve(dataset, "dataset")
    from worldgate.worlds.train import stage

    return stage.train(
        ws, ref.digest, family, config, name=name, progress=tell, announce=lambda cost: note(f"train: {cost}")
    )
