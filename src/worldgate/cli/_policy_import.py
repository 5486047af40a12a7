"""``worldgate policy import``: somebody else's policy as a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from worldgate.cli._output import JsonFlag, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def import_(
    folder: Path,
    /,
    *,
    rate: float,
    name: str = "",
    convention: str = "joint_position",
    unit: str = "",
    channels: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=True)] = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Register a policy that LeRobot trained as a release: ACT, Diffusion, SmolVLA, pi0 or pi0.5, from their folder.

    For example:

        worldgate policy import pretrained_model --rate 30 --name aloha-act
        worldgate policy import pretrained_model --rate 50 --unit rad --channels shoulder elbow wrist

    Weights, statistics, streams and chunk come from the folder, and with SmolVLA, pi0 and pi0.5 the tokenizer: nothing
    is fetched, and a file that is missing is named. What the folder does not say is said here and is part of the
    release: another rate, unit or convention is another release.

    Args:
        folder: A folder with config.json and model.safetensors; nothing in it is executed.
        rate: Hz at which it acts.
        name: What people will call the release; else the folder's name.
        convention: Controller convention of its actions.
        unit: Of its actions.
        channels: Names of the action's channels.
    """
    from worldgate.control.policies import lerobot
    from worldgate.core.digest import short
    from worldgate.fleet import releases

    fitted = lerobot.read(folder, rate_hz=rate, convention=convention, unit=unit, names=channels)
    with open_workspace(workspace) as ws:
        ref = fitted.publish(ws, name=name or folder.resolve().name)
        held = releases.load(ws, ref.digest)
    own = held.controller
    said = f"release {short(ref.digest)} {ref.name}: {own.execute} of {own.chunk} actions at {own.rate_hz:g} Hz"
    streams = [f"sees {s.name} {s.shape}" for s in held.observation]
    if "prompt" in held.pre:
        tokenizer = short(str(held.pre["tokenizer"]))
        streams.append(f"is told {str(held.pre['prompt'])!r}, as tokens of tokenizer {tokenizer}")
    next_ = f"next: worldgate policy evaluate {short(ref.digest)} --dataset DATASET"
    answer("policy.import", {"release": ref, "manifest": held.manifest()}, said, *streams, next_, as_json=json)
