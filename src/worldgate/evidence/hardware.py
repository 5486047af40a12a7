"""What an arm is made of: tool, cameras with their calibration, controller firmware, as the site tells it.

The same release on another tool is another machine. So a decision binds what each arm was made of when it was made,
trials of a plan end where an arm is changed, and nothing authorises a release on an arm that was changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worldgate.core.errors import UsageError
from worldgate.core.names import Slot
from worldgate.record.events import Event, Ref
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/hardware/1"
CONFIGURED = "slot.configured"


def configure(ws: Workspace, slot: str, parts: Mapping[str, Any], *, now_ns: int, actor: str | None = None) -> Ref:
    """Record what an arm is made of from now on.

    Args:
        ws: the workspace.
        slot: ``site/robot/arm``.
        parts: plain JSON: ``urdf``, ``tool``, ``cameras``, ``controller`` and whatever else makes it this machine.
        now_ns: since when.
        actor: name of the key that signs; None: the program's own.

    Raises:
        UsageError: nothing said, or what has no JSON form.
        NameRefused: not a slot.
    """
    place = str(Slot.parse(slot))
    if not parts:
        raise UsageError("an arm is made of something", got="{}", where=place, hint='tool = "gripper 85-12"')
    ref = Ref("hardware", ws.put_json({"schema": SCHEMA, "slot": place, "parts": dict(parts)}))
    ws.record(
        CONFIGURED, body={"slot": place, "hardware": ref.digest}, outputs=(ref,), valid_from_ns=now_ns, actor=actor
    )
    return ref


def current(events: Iterable[Event], slots: Sequence[str]) -> dict[str, str]:
    """Slot -> digest of what it is made of by these ``slot.configured`` events; empty where nobody told."""
    found = dict.fromkeys(slots, "")
    for event in events:
        if event.body["slot"] in found:
            found[event.body["slot"]] = str(event.body["hardware"])
    return found


def changed_after(ws: Workspace, plan: str, slots: Sequence[str], *, upto_seq: int) -> list[str]:
    """Arms that were changed after the first trial of a plan, in words: its trials ran on two machines."""
    first = next((e.seq for e in ws.ledger.events("trial.run") if e.body.get("plan") == plan), upto_seq)
    later = [e for e in ws.ledger.events(CONFIGURED) if first < e.seq <= upto_seq]
    changed = {str(e.body["slot"]) for e in later} & set(slots)
    return [f"{slot} was changed after its first trial" for slot in sorted(changed)]
