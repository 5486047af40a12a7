"""Policies as the command line names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worldgate.record.events import Ref
    from worldgate.record.workspace import Workspace


def recorded_policy(ws: Workspace, text: str) -> Ref:
    """A policy by file, shipped name, or what the record calls it."""
    from worldgate.evidence import policy

    if text.endswith(".toml") or text in policy.shipped():
        return policy.register(ws, policy.load(text))
    return ws.resolve(text, "gate_policy")
