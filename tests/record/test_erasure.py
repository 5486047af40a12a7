"""An erasure names what goes and why; tests of the data room show what it takes with it."""

from __future__ import annotations

import pytest

from worldgate.core.errors import NotAuthorised, UsageError
from worldgate.record.erasure import erase, of_workspace
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace


def test_an_erasure_without_a_reason_or_an_object_erases_nothing(workspace: Workspace) -> None:
    digest = workspace.store.put_bytes(b"a face")
    head = workspace.ledger.head()
    for objects, reason in (([digest], " "), ([], "asked to")):
        with pytest.raises(UsageError, match="names what goes and why"):
            erase(workspace, objects, about=[Ref("log", digest)], reason=reason)
    assert workspace.store.has(digest)
    assert workspace.ledger.head() == head


def test_a_service_erases_nothing(workspace: Workspace) -> None:
    digest = workspace.store.put_bytes(b"a face")
    with pytest.raises(NotAuthorised):
        erase(workspace, [digest], about=[], reason="asked to", by="service")
    assert workspace.store.has(digest)
    assert not of_workspace(workspace)
