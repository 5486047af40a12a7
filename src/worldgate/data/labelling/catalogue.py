"""Recorded label schemas: added once, found by name, and numbered so that the version says what changed."""

from __future__ import annotations

import re

from worldgate.core.digest import short
from worldgate.core.errors import AlreadyExists
from worldgate.data.labelling.changes import refuse_misnumbered
from worldgate.data.labelling.schema import LabelSchema, from_tree, parse_version, read, shipped
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace

EVENT = "label_schema.added"
KIND = "label_schema"


_TITLE = re.compile(r"(.+)\.v\d+\.\d+", re.ASCII)


def plain(text: str) -> str:
    """The name in ``name`` or ``name.vMAJOR.MINOR``."""
    match = _TITLE.fullmatch(text)
    return match[1] if match else text


def name_of(ref: Ref) -> str:
    """The name of a recorded schema, without its version."""
    return plain(ref.name)


def version_of(ref: Ref) -> tuple[int, int]:
    """The version of a recorded schema."""
    return parse_version(ref.name.rpartition(".v")[2])


def of_name(ws: Workspace, name: str) -> list[Ref]:
    """Every recorded version of a schema, oldest first."""
    return sorted((ref for ref in ws.artifacts(KIND) if name_of(ref) == name), key=version_of)


def compatible(made: Ref, wanted: Ref) -> bool:
    """Whether labels under one recorded schema are labels under another: same name, same major number."""
    return name_of(made) == name_of(wanted) and version_of(made)[0] == version_of(wanted)[0]


def add(ws: Workspace, schema: LabelSchema, *, actor: str | None = None) -> Ref:
    """Record a schema; nothing happens where the same one is recorded already.

    Raises:
        AlreadyExists: another schema of this name and version.
        ConfigError: a version number that does not say what changed since the newest one before it.
    """
    digest = ws.put_json(schema)
    for ref in ws.artifacts(KIND):
        if ref.digest == digest:
            return ref
        if ref.name == schema.title:
            major, minor = parse_version(schema.version)
            raise AlreadyExists(
                "another label schema of this name and version",
                got=schema.title,
                where=short(ref.digest),
                hint=f'version = "{major}.{minor + 1}" for a new label, "{major + 1}.0" for any other change',
            )
    before = [ref for ref in of_name(ws, schema.name) if version_of(ref) < parse_version(schema.version)]
    if before:
        refuse_misnumbered(load(ws, before[-1].digest), schema)
    ref = Ref(KIND, digest, schema.title)
    ws.record(EVENT, body={"name": schema.name, "version": schema.version}, outputs=[ref], actor=actor)
    return ref


def load(ws: Workspace, digest: str) -> LabelSchema:
    """A recorded schema.

    Raises:
        NotFound: not in this workspace's store.
    """
    return from_tree(ws.get_json(digest), where=f"label schema {short(digest)}")


def find(ws: Workspace, text: str, *, record: bool = True, actor: str | None = None) -> Ref:
    """The schema that a person named: a TOML file, a shipped one, or the id or name of a recorded one.

    ``name`` alone means its newest recorded version, and a shipped schema only where none of its name is recorded.

    Args:
        ws: the workspace.
        text: what was named.
        record: add a file or shipped schema that is not recorded yet; otherwise it is not found.
        actor: name of the key that signs, where it is added.

    Raises:
        NotFound: nothing of this name.
    """
    if record and text.endswith(".toml"):
        return add(ws, read(text), actor=actor)
    named = of_name(ws, text) or [ref for ref in ws.artifacts(KIND) if ref.name == text]
    if named:
        return named[-1]
    if record and text in shipped():
        return add(ws, read(text), actor=actor)
    return ws.resolve(text, KIND)
