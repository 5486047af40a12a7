"""How commands name a contract: a TOML file, one that ships with Worldgate, or one that the record holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldgate.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worldgate.record.events import Ref
    from worldgate.record.workspace import Workspace


def find_contract(ws: Workspace, text: str) -> Ref:
    """The contract that a user named, recorded if it was not yet.

    Raises:
        NotFound: no file, shipped contract or recorded contract of this name.
        ConfigError: a file that is no contract.
    """
    from worldgate.data import contracts

    if text.endswith(".toml") or text in contracts.shipped():
        return contracts.add(ws, contracts.read(text))
    return ws.resolve(text, "contract")


def find_logs(ws: Workspace, names: Sequence[str]) -> list[Ref] | None:
    """The logs that a user named; None, which means all, where none was."""
    return [ws.resolve(name, "log") for name in names] or None


def read_facts(texts: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` texts as facts.

    Raises:
        UsageError: one without a name or an equals sign.
    """
    odd = [text for text in texts if not text.partition("=")[0] or "=" not in text]
    if odd:
        raise UsageError("a fact is NAME=VALUE", got=ascii(odd[0]), hint="--fact success=true")
    return dict(text.split("=", 1) for text in texts)
