"""What can go wrong between a workspace and its bucket: nothing counts as kept that cannot be read back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from worldgate.core.digest import sha256
from worldgate.core.errors import ConfigError, DataRefused, RecordError, Tampered
from worldgate.record.events import Ref
from worldgate.record.stores import open_store
from worldgate.record.stores.fsspec import FsspecStore
from worldgate.record.verify import verify
from worldgate.record.workspace import Workspace


@pytest.fixture
def fs(bucket: str) -> Any:
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False)


@pytest.fixture
def store(bucket: str, tmp_path: Path) -> FsspecStore:
    return FsspecStore(f"s3://{bucket}/objects", tmp_path / "cache")


@pytest.fixture
def ws(bucket: str, tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.init(tmp_path / "fleet", person="ada", store=f"s3://{bucket}/objects") as held:
        yield held


def key_of(bucket: str, digest: str) -> str:
    return f"{bucket}/objects/{digest[:2]}/{digest[2:]}"


def test_a_large_file_goes_up_in_parts_and_comes_back_whole(
    store: FsspecStore, fs: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs.core

    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda *_, **__: 5 * 2**20)
    (tmp_path / "big").write_bytes(os.urandom(17 * 2**20))
    digest = store.put_file(tmp_path / "big")
    assert "-" in fs.info(key_of(bucket, digest))["ETag"], "several parts"
    other = FsspecStore(store.url, tmp_path / "elsewhere")
    assert other.local(digest).read_bytes() == (tmp_path / "big").read_bytes()


def test_a_server_that_goes_away_in_mid_put_leaves_nothing_that_counts(
    store: FsspecStore, fs: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3fs import S3FileSystem

    whole = S3FileSystem._call_s3

    async def dies(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method in {"upload_part", "put_object"}:
            raise ConnectionResetError("the server is gone")
        return await whole(self, method, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(S3FileSystem, "_call_s3", dies)
        with pytest.raises(RecordError, match="does not answer") as caught:
            store.put_bytes(b"hello")
    assert "the server is gone" in str(caught.value)
    assert not store.has(sha256(b"hello"))
    assert store.put_bytes(b"hello") == sha256(b"hello")
    assert FsspecStore(store.url, tmp_path / "elsewhere").get(sha256(b"hello")) == b"hello"


def test_a_server_that_keeps_other_bytes_than_it_was_given_is_found_out_at_once(
    store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3fs import S3FileSystem

    whole = S3FileSystem._call_s3

    async def wrong(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return await whole(self, method, *args, **({**kwargs, "Body": b"hellO"} if "Body" in kwargs else kwargs))

    monkeypatch.setattr(S3FileSystem, "_call_s3", wrong)
    with pytest.raises(Tampered):
        store.put_bytes(b"hello")


def test_an_object_that_was_cut_short_is_put_again(store: FsspecStore, fs: Any, bucket: str) -> None:
    fs.pipe_file(key_of(bucket, sha256(b"hello")), b"hel")
    assert store.put_bytes(b"hello") == sha256(b"hello")
    store.check(sha256(b"hello"))


def test_a_damaged_local_copy_costs_a_fetch_and_nothing_else(store: FsspecStore) -> None:
    digest = store.put_bytes(b"hello")
    copy = store.path(digest)
    for damage in (b"hullo", b""):
        copy.chmod(0o644)
        copy.write_bytes(damage)
        assert store.get(digest) == b"hello"
        assert store.local(digest).read_bytes() == b"hello"
        assert copy.read_bytes() == b"hello"


def test_a_file_that_changes_while_it_is_kept_is_refused(
    store: FsspecStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worldgate.record.stores import fsspec as module

    (tmp_path / "growing").write_bytes(b"first")
    copy = module.shutil.copyfile

    def grows(source: Path, target: Path) -> None:
        source.write_bytes(b"first and more")
        copy(source, target)

    monkeypatch.setattr(module.shutil, "copyfile", grows)
    with pytest.raises(DataRefused, match="changed while"):
        store.put_file(tmp_path / "growing")
    assert not list(store.digests())


def test_verification_reads_the_bucket_and_not_our_copies(ws: Workspace, fs: Any, bucket: str) -> None:
    digest = ws.store.put_bytes(b"weights")
    gone = ws.store.put_bytes(b"gone")
    ws.record("dataset.made", body={"gone": gone}, outputs=[Ref("dataset", digest, "kitchen")])
    assert verify(ws).ok
    fs.pipe_file(key_of(bucket, digest), b"weighty")
    fs.rm_file(key_of(bucket, gone))
    problems = " ".join(problem.what for problem in verify(ws).problems)
    assert "not its digest" in problems
    assert "missing from the store" in problems


def test_an_event_is_not_written_when_the_bucket_does_not_answer(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3fs import S3FileSystem

    head = ws.ledger.head()

    async def dies(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(S3FileSystem, "_call_s3", dies)
    with pytest.raises(RecordError):
        ws.record("a.b", body={"object": "0" * 64})
    assert ws.ledger.head() == head


def test_a_file_system_without_atomic_puts_gets_them_by_a_move(tmp_path: Path) -> None:
    held = open_store(f"local://{tmp_path}/far", cache=tmp_path / "cache")
    digest = held.put_bytes(b"hello")
    assert [p.relative_to(tmp_path / "far").as_posix() for p in (tmp_path / "far").rglob("*") if p.is_file()] == [
        f"{digest[:2]}/{digest[2:]}"
    ]
    assert list(held.digests()) == [digest]


def test_credentials_and_unknown_kinds_of_url_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store("s3://key:secret@bucket/prefix", cache=tmp_path)
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError):
        open_store("gopher://bucket/prefix", cache=tmp_path)
