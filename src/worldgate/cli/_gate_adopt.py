"""``worldgate gate adopt``: a site says under which policy it takes new weights."""

from __future__ import annotations

from worldgate.cli._gate_policy import recorded_policy
from worldgate.cli._output import JsonFlag, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace


def adopt(
    policy: str, /, *, site: tuple[str, ...], key: str, workspace: WorkspaceOption = None, json: JsonFlag = False
) -> None:
    """Take new weights at a site under this policy from now on; promotions under any other count there no longer.

    For example:

        worldgate gate adopt promotion --site kitchen --key grace
        worldgate gate adopt canary.toml --site kitchen --site bakery --key grace

    It replaces what the site adopted before for the policy's stage; a stage without a policy takes nothing then. What
    the releaser of a release adopted does not count for that release.

    Args:
        policy: A TOML file, a policy that ships with Worldgate, or the id or name of a recorded one.
        site: Where it holds; may be given several times.
        key: Name of a person's key.
    """
    from worldgate.evidence import adopted

    with open_workspace(workspace) as ws:
        ref = recorded_policy(ws, policy)
        event = adopted.adopt(ws, ref, site, key=key)
    places, stage = ", ".join(event.body["sites"]), event.body["stage"]
    said = f"{places}: stage {stage} under {ref.name} ({ref.digest[:12]}) from record {event.seq} on"
    answer(
        "gate.adopt",
        {"event": event.digest, "policy": ref, "stage": stage, "sites": event.body["sites"]},
        said,
        as_json=json,
    )
