"""``worldgate policy improve``: a release made better inside a world model, and what of it is true."""

from __future__ import annotations

from worldgate.cli._output import JsonFlag, Table, answer, note, progress
from worldgate.cli._recipe import SetOption
from worldgate.cli._workspace import WorkspaceOption, open_workspace

FAILED = 1


def improve(
    release: str,
    /,
    *,
    model: str,
    task: str,
    name: str = "",
    option: tuple[str, ...] = (),
    set_: SetOption = (),
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> int:
    """Improve a cloned policy in a world model's imagination, and check it in the true environment.

    For example:

        worldgate policy improve pusher --model arm-dynamics --task push --name pusher-2
        worldgate policy improve pusher --model arm-dynamics --task push --option size=0 --set rounds=100

    Heads for reward and worth are fitted to true runs of the release; futures that the model imagines from those runs
    teach the policy, held near the one it was; where the model's members disagree, a step costs. Imagined and true
    returns before and after are always printed, from the same situations. Exits with 1, and registers nothing, unless
    the true return rose: if only the imagined one did, the model was exploited.

    Args:
        release: Id or name of a release of the policy mlp.
        model: Id or name of a world model that predicts what the release observes.
        task: The true environment: a task of `worldgate list tasks`.
        name: What people will call the new release.
        option: An option of the task, KEY=VALUE; may be given several times.
    """
    import dataclasses

    from worldgate.control.imagination.checking import Verdict
    from worldgate.control.imagination.improve import ImproveConfig
    from worldgate.control.imagination.stage import improve as improve_release
    from worldgate.core.config import resolve
    from worldgate.sim.tasks import config_of

    config = resolve(ImproveConfig(), sets=set_, environment=False).value
    options = dataclasses.asdict(resolve(config_of(task), sets=option, environment=False).value)
    with open_workspace(workspace) as ws, progress("improve") as tell:
        old, world = ws.resolve(release, "release"), ws.resolve(model, "world_model")
        made, found = improve_release(ws, old, world, task, options, config, name=name, progress=tell)
    check = found.check
    rows = [(what, str(before), str(after), str(gain)) for what, before, after, gain in check.rows()]
    title = f"{task}: means over {len(check.true_before_P)} situations with 90 % intervals; true is simulated"
    said = {
        Verdict.SEEN: "the true environment shows the gain",
        Verdict.EXPLOITED: "exploited: the model shows a gain and the true environment does not; nothing registered",
        Verdict.NONE: "no gain, neither imagined nor true; nothing registered",
    }[check.verdict]
    parts: list[str | Table] = [Table(title=title, columns=("", "before", "after", "gain"), rows=rows), said]
    if made is not None:
        parts.append(
            f"release {made.digest[:12]} {made.name}; next: worldgate policy evaluate {made.name} --task {task}"
        )
    body = {"release": made, "parent": old, "model": world, "task": task, "moved": found.moved, **check.body()}
    answer("policy.improve", body, *parts, as_json=json)
    if not found.uncertain:
        note("this model does not say how sure it is, so doubt cost nothing")
    return 0 if check.verdict is Verdict.SEEN else FAILED
