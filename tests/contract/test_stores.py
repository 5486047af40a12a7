"""Every store gives back the bytes that a digest names, or says that it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worldgate.core.digest import sha256
from worldgate.core.errors import NotFound
from worldgate.core.seams import cards, load
from worldgate.record.stores import Store


@pytest.fixture(params=sorted(cards("stores")))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind: the module ``folder`` holds ``FolderStore``."""
    made: Store = getattr(load("stores", request.param), f"{request.param.title()}Store")(tmp_path / "objects")
    (tmp_path / "objects").mkdir(exist_ok=True)
    return made


def test_bytes_come_back_by_their_digest(store: Store) -> None:
    for data in (b"", b"hello", os.urandom(100_000)):
        digest = store.put_bytes(data)
        assert digest == sha256(data) == store.put_bytes(data)
        assert store.has(digest)
        assert store.get(digest) == data


def test_a_file_is_kept_as_its_bytes(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    assert store.put_file(tmp_path / "file") == sha256(b"hello")
    assert store.get(sha256(b"hello")) == b"hello"


def test_what_is_not_there_is_not_found(store: Store) -> None:
    assert not store.has("0" * 64)
    with pytest.raises(NotFound):
        store.get("0" * 64)
