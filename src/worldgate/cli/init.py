"""``worldgate init``: a workspace and its first keys."""

from __future__ import annotations

import getpass
import re
from pathlib import Path

from worldgate.cli._output import JsonFlag, answer


def init(path: Path = Path(), /, *, person: str | None = None, name: str = "", json: JsonFlag = False) -> None:
    """Make a workspace and its first keys.

    For example:

        worldgate init
        worldgate init fleet --person ada

    Args:
        path: Folder to make it in.
        person: Whose key becomes the root of trust; else the name you are logged in with.
        name: What people call the workspace; else the folder's name.
    """
    from worldgate.record.workspace import Workspace

    who = person or re.sub(r"[^A-Za-z0-9_-]", "", getpass.getuser()) or "person"
    with Workspace.init(path, person=who, name=name) as workspace:
        body = {"root": workspace.root, "name": workspace.name, "id": workspace.id, "person": workspace.person}
        answer(
            "init",
            body,
            f"workspace {workspace.name} in {workspace.root}, with keys of {workspace.person} and of the program",
            f"next: worldgate ingest LOGS --workspace {workspace.root}",
            as_json=json,
        )
