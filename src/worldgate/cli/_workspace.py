"""The option that most commands share: which workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

if TYPE_CHECKING:
    from worldgate.record.workspace import Workspace

WorkspaceOption: TypeAlias = Annotated[
    Path | None,
    Parameter(
        name=["--workspace", "-w"], help="Workspace folder; else $WORLDGATE_WORKSPACE, else the nearest one upwards."
    ),
]


def open_workspace(path: Path | None) -> Workspace:
    """Open the workspace that a command was given or stands in."""
    from worldgate.record.workspace import Workspace

    return Workspace.open(path)
