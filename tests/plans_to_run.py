"""A workspace with a plan on its ledger, for tests of whatever runs its trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worldgate.core.digest import sha256
from worldgate.evidence import plans, scenarios
from worldgate.evidence import policy as policies
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

SLOT = "bench/ur5/left"
NOW = 1_800_000_000_000_000_000
CODES = ("power cut", "wrong scene")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def scene(ws: Workspace, number: int, **changes: Any) -> Ref:
    """A scene that can be told from the others."""
    fields: dict[str, Any] = {"initial": {"x": number}, "attributes": {"light": "dim"}, **changes}
    return scenarios.register(ws, scenarios.Scenario(name=f"cup-{number}", site="bench", **fields))


def release(ws: Workspace, name: str) -> Ref:
    """A release with a manifest and nothing else."""
    tree = {"schema": "worldgate/release/1", "weights": {"w": sha256(name.encode())}}
    ref = Ref("release", ws.put_json(tree), name)
    ws.record("release.registered", body={"release": ref.digest}, outputs=[ref])
    return ref


def registered(
    ws: Workspace,
    *,
    baseline: bool = False,
    scenes: int = 4,
    slots: Sequence[str] = (SLOT,),
    attempts: int = 1,
    **changes: Any,
) -> str:
    """The digest of a plan that was just put on the ledger; changes are those of its scenes."""
    listed = tuple(scene(ws, number, **changes).digest for number in range(scenes))
    suite = scenarios.Suite(name="cups", role="gate-holdout", scenarios=listed, attempts=attempts)
    made = plans.make(
        ws,
        name="cups",
        policy=policies.register(ws, policies.load("promotion")),
        release=release(ws, "r1"),
        suite=scenarios.register_suite(ws, suite),
        slots=slots,
        pairs=scenes,
        baseline=release(ws, "r0") if baseline else None,
        exclusions=CODES,
        now_ns=NOW,
    )
    return plans.register(ws, made).digest


def workspace_with_plan(root: Path, *, baseline: bool = False, scenes: int = 4) -> str:
    """Make a workspace of one person, grace; returns the digest of its plan."""
    with Workspace.init(root, person="grace") as ws:
        return registered(ws, baseline=baseline, scenes=scenes)
