"""Every store gives back the bytes that a digest names, or says that it cannot; trees come back with their names.

The bucket is one of a real HTTP server that speaks S3 (moto), reached as any other: through the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from worldgate.core.digest import sha256
from worldgate.core.errors import MissingExtra, NotFound, RecordError, Tampered, UsageError
from worldgate.core.seams import cards
from worldgate.record.stores import Objects, open_store
from worldgate.record.stores.fsspec import FsspecStore

MAKE = Callable[[Path], str]
URLS: dict[str, tuple[str, ...]] = {
    "folder": ("{tmp}/objects",),
    "fsspec": ("s3://{bucket}/prefix", "memory://{bucket}"),
}


def test_every_store_is_held_to_this() -> None:
    assert sorted(URLS) == sorted(cards("stores"))


@pytest.fixture(params=[url for urls in URLS.values() for url in urls])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """A store of each kind."""
    bucket = request.getfixturevalue("bucket") if request.param.startswith("s3") else tmp_path.name
    (tmp_path / "objects").mkdir()
    return open_store(request.param.format(tmp=tmp_path, bucket=bucket), cache=tmp_path / "cache")


@pytest.fixture
def again(store: Objects, tmp_path: Path) -> Objects:
    """The same store as another machine sees it: without our local copies."""
    return open_store(store.url, cache=tmp_path / "elsewhere")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_bytes(b"{}")
    (root / "a.parquet").write_bytes(b"rows")
    (root / "b.parquet").write_bytes(b"rows")
    return root


def test_bytes_come_back_by_their_digest(store: Objects, again: Objects) -> None:
    for data in (b"", b"hello", os.urandom(100_000)):
        digest = store.put_bytes(data)
        assert digest == sha256(data) == store.put_bytes(data)
        for held in (store, again):
            assert held.has(digest)
            assert held.get(digest) == data
            assert held.size(digest) == len(data)
            assert held.local(digest).read_bytes() == data
            held.check(digest)


def test_a_file_is_kept_as_its_bytes(store: Objects, again: Objects, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(data)
    assert store.put_file(tmp_path / "file") == sha256(data)
    assert again.get(sha256(data)) == data
    with pytest.raises(NotFound):
        store.put_file(tmp_path / "absent")


def test_what_is_not_there_is_not_found(store: Objects) -> None:
    assert not store.has("0" * 64)
    for ask in (store.get, store.check, store.local, store.size):
        with pytest.raises(NotFound):
            ask("0" * 64)
    store.delete("0" * 64)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "0" * 63, "F" * 64])
def test_only_digests_become_names(store: Objects, digest: str) -> None:
    for ask in (store.get, store.check, store.local, store.size, store.has, store.delete, store.path):
        with pytest.raises(UsageError):
            ask(digest)


def test_every_object_is_listed_in_order(store: Objects, again: Objects) -> None:
    assert list(store.digests()) == []
    held = sorted(store.put_bytes(bytes([n])) for n in range(5))
    assert list(store.digests()) == list(again.digests()) == held


def test_a_deleted_object_is_gone_for_everyone(store: Objects, again: Objects) -> None:
    digest, other = store.put_bytes(b"let go"), store.put_bytes(b"keep")
    store.local(digest)
    store.delete(digest)
    for held in (store, again):
        assert not held.has(digest)
        with pytest.raises(NotFound):
            held.get(digest)
        assert held.get(other) == b"keep"
    assert store.put_bytes(b"let go") == digest
    assert again.get(digest) == b"let go"


def test_a_tree_comes_back_with_its_names_and_no_byte_twice(
    store: Objects, again: Objects, folder: Path, tmp_path: Path
) -> None:
    digest = store.put_tree(folder)
    for held, under in ((store, tmp_path / "cache"), (again, tmp_path / "elsewhere")):
        out = held.checkout(digest, under=under)
        assert {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()} == {
            "meta/info.json": b"{}",
            "a.parquet": b"rows",
            "b.parquet": b"rows",
        }
        assert held.checkout(digest, under=under) == out
        assert held.tree(digest) == held.parts(digest) == store.tree(digest)
    assert len(list(store.digests())) == 3
    assert store.parts(sha256(b"rows")) == {}


def test_a_tree_with_a_missing_object_is_not_checked_out(store: Objects, folder: Path, tmp_path: Path) -> None:
    digest = store.put_tree(folder)
    store.delete(store.tree(digest)["meta/info.json"])
    with pytest.raises(NotFound, match="missing"):
        store.checkout(digest, under=tmp_path / "cache")


def test_other_bytes_under_a_digest_are_refused(store: Objects, again: Objects, spoil: Callable[[str], None]) -> None:
    digest = store.put_bytes(b"hello")
    spoil(digest)
    with pytest.raises(Tampered):
        store.check(digest)
    for ask in (again.get, again.local, again.check):
        with pytest.raises(Tampered):
            ask(digest)


@pytest.fixture
def spoil(store: Objects, tmp_path: Path) -> Callable[[str], None]:
    """Put other bytes of the same length where an object lies, past the store."""

    def write(digest: str) -> None:
        if "://" not in store.url:
            store.path(digest).chmod(0o644)
            store.path(digest).write_bytes(b"hullo")
            return
        from fsspec.core import url_to_fs

        fs, root = url_to_fs(store.url)
        fs.pipe_file(f"{root}/{digest[:2]}/{digest[2:]}", b"hullo")

    return write


def test_a_kind_of_url_whose_package_is_missing_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from worldgate.record.stores import fsspec as module

    def absent(url: str, **_: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(module, "url_to_fs", absent)
    with pytest.raises(MissingExtra, match=r"pip install \"worldgate\[s3\]\""):
        module.file_system("s3://bucket/prefix")
    with pytest.raises(MissingExtra) as caught:
        module.file_system("gs://bucket/prefix")
    assert caught.value.hint is None, "no extra of ours brings it"


def test_what_else_lies_in_a_bucket_is_no_object(tmp_path: Path) -> None:
    store = open_store(f"memory://{tmp_path.name}", cache=tmp_path / "cache")
    digest = store.put_bytes(b"kept")
    assert isinstance(store, FsspecStore)
    store._fs.pipe_file(f"{store._root}/{digest[:2]}/readme.txt", b"not ours")
    assert list(store.digests()) == [digest]


def test_a_bucket_that_is_not_there_says_so(bucket: str, tmp_path: Path) -> None:
    store = open_store(f"s3://{bucket}-not-made/prefix", cache=tmp_path / "cache")
    with pytest.raises(RecordError, match="no such bucket"):
        store.put_bytes(b"lost")
