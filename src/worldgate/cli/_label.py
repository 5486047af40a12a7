"""What the label commands share: how logs are named, and options of the form ``KEY=VALUE``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worldgate.data.labelling.store import LabelShelf
    from worldgate.record.workspace import Workspace


def find_digests(ws: Workspace, names: Sequence[str], shelf: LabelShelf) -> list[str]:
    """The logs that a user named, by digest; all where none was."""
    return [ws.resolve(name, "log").digest for name in names] or list(shelf.logs)


def pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """Read ``KEY=VALUE`` options.

    Raises:
        UsageError: one without a key or value.
    """
    from worldgate.core.errors import UsageError

    out = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise UsageError(f"{what} takes KEY=VALUE", got=ascii(text)[:80])
        out[key] = value
    return out
