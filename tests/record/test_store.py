"""The store gives back the bytes that a digest names, or says that it cannot."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldgate.core.digest import canonical
from worldgate.core.errors import DataRefused, NotFound, Tampered, UsageError
from worldgate.record.stores._objects import TREE_TYPE, check_relative
from worldgate.record.stores.folder import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    (tmp_path / "objects").mkdir()
    return FolderStore(tmp_path / "objects")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_bytes(b"{}")
    (root / "a.parquet").write_bytes(b"rows")
    (root / "b.parquet").write_bytes(b"rows")
    return root


def test_bytes_come_back_by_their_digest(store: FolderStore) -> None:
    digest = store.put_bytes(b"hello")
    assert digest == hashlib.sha256(b"hello").hexdigest() == store.put_bytes(b"hello")
    assert store.get(digest) == b"hello"
    assert store.has(digest)
    assert list(store.digests()) == [digest]
    assert store.path(digest).stat().st_mode & 0o222 == 0


def test_a_file_is_kept_as_its_bytes(store: FolderStore, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(os.urandom(3_000_000))
    assert store.get(store.put_file(file)) == file.read_bytes()
    with pytest.raises(NotFound):
        store.put_file(tmp_path / "absent")


def test_other_bytes_under_a_digest_are_refused(store: FolderStore) -> None:
    digest = store.put_bytes(b"hello")
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"hullo")
    with pytest.raises(Tampered):
        store.get(digest)
    with pytest.raises(Tampered):
        store.check(digest)


def test_what_is_not_there_is_not_found(store: FolderStore) -> None:
    for ask in (store.get, store.check):
        with pytest.raises(NotFound):
            ask("0" * 64)
    assert not store.has("0" * 64)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "0" * 63, "F" * 64])
def test_only_digests_become_paths(store: FolderStore, digest: str) -> None:
    with pytest.raises(UsageError):
        store.path(digest)


def test_a_tree_comes_back_with_its_names_and_no_byte_twice(store: FolderStore, folder: Path, tmp_path: Path) -> None:
    digest = store.put_tree(folder)
    out = store.checkout(digest, under=tmp_path / "cache")
    assert {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()} == {
        "meta/info.json": b"{}",
        "a.parquet": b"rows",
        "b.parquet": b"rows",
    }
    assert store.checkout(digest, under=tmp_path / "cache") == out
    assert len(list(store.digests())) == 3
    assert store.tree(digest) == store.parts(digest)


def test_one_file_is_a_tree_with_its_name(store: FolderStore, folder: Path, tmp_path: Path) -> None:
    out = store.checkout(store.put_tree(folder / "a.parquet"), under=tmp_path / "cache")
    assert [p.name for p in out.iterdir()] == ["a.parquet"]


def test_a_tree_is_named_by_its_content_alone(store: FolderStore, folder: Path) -> None:
    digest = store.put_tree(folder)
    moved = folder.rename(folder.with_name("elsewhere"))
    assert store.put_tree(moved) == digest
    (moved / "a.parquet").write_bytes(b"other")
    assert store.put_tree(moved) != digest


def test_a_checkout_that_broke_off_is_made_again(store: FolderStore, folder: Path, tmp_path: Path) -> None:
    digest = store.put_tree(folder)
    out = store.checkout(digest, under=tmp_path)
    (out.parent / "done").unlink()
    (out / "a.parquet").unlink()
    assert (store.checkout(digest, under=tmp_path) / "a.parquet").read_bytes() == b"rows"


def test_a_tree_with_a_missing_object_is_not_checked_out(store: FolderStore, folder: Path, tmp_path: Path) -> None:
    digest = store.put_tree(folder)
    store.path(store.tree(digest)["meta/info.json"]).unlink()
    with pytest.raises(NotFound, match="missing"):
        store.checkout(digest, under=tmp_path / "cache")
    assert not list((tmp_path / "cache" / "trees").iterdir())


def test_a_link_inside_the_folder_is_followed(store: FolderStore, folder: Path) -> None:
    (folder / "c.parquet").symlink_to("a.parquet")
    assert store.tree(store.put_tree(folder))["c.parquet"] == hashlib.sha256(b"rows").hexdigest()


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "meta", "nowhere"])
def test_a_link_that_leaves_or_leads_to_a_folder_is_refused(store: FolderStore, folder: Path, target: str) -> None:
    (folder.parent / "outside").write_bytes(b"secret")
    (folder / "link").symlink_to(target)
    with pytest.raises(DataRefused):
        store.put_tree(folder)


def test_a_pipe_is_refused_rather_than_waited_for(store: FolderStore, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(DataRefused):
        store.put_tree(folder)


@pytest.mark.parametrize("name", [b"back\\slash", b"new\nline", b"not-utf8-\xff"])
def test_an_unusable_file_name_is_refused(store: FolderStore, folder: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x")
    with pytest.raises(DataRefused):
        store.put_tree(folder)


def test_an_empty_or_absent_folder_is_refused(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataRefused):
        store.put_tree(tmp_path / "empty")
    with pytest.raises(NotFound):
        store.put_tree(tmp_path / "absent")


@pytest.mark.parametrize(
    "files",
    [
        {"../evil": "0" * 64},
        {"/abs": "0" * 64},
        {"a/../../b": "0" * 64},
        {"": "0" * 64},
        {"a//b": "0" * 64},
        {"a": "../../../etc/passwd"},
        {"a\\b": "0" * 64},
        {"a\u202e": "0" * 64},
        {"a": 5},
        ["a"],
    ],
)
def test_a_manifest_that_would_leave_its_folder_is_refused(store: FolderStore, tmp_path: Path, files: object) -> None:
    digest = store.put_bytes(canonical({"files": files, "type": TREE_TYPE}))
    with pytest.raises(Tampered):
        store.checkout(digest, under=tmp_path / "cache")
    assert not (tmp_path / "evil").exists()


def test_an_object_that_is_no_tree_has_no_parts(store: FolderStore) -> None:
    for data in (b"", b'{"files":{"', b'{"files":{}}', b"x" * 100):
        assert store.parts(store.put_bytes(data)) == {}
    with pytest.raises(Tampered):
        store.tree(store.put_bytes(b"{}"))


@given(st.text(max_size=12))
def test_every_accepted_path_stays_inside(name: str) -> None:
    try:
        check_relative(name)
    except Tampered:
        return
    joined = os.path.normpath(os.path.join("/root", name))  # noqa: PTH118  # the point is what the OS would do
    assert joined.startswith("/root/")
    assert "\0" not in name


def test_a_file_that_changes_while_it_is_kept_is_refused(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worldgate.record.stores import folder as module

    (tmp_path / "growing").write_bytes(b"first")
    digest_of = module.digest_file

    def grows(path: Path) -> str:
        digest = digest_of(path)
        path.write_bytes(b"first and more")
        return digest

    monkeypatch.setattr(module, "digest_file", grows)
    with pytest.raises(DataRefused, match="changed while"):
        store.put_file(tmp_path / "growing")
    assert not list(store.digests())


def test_what_a_broken_put_left_behind_is_no_object(store: FolderStore) -> None:
    digest = store.put_bytes(b"kept")
    (store.path(digest).parent / "partial").write_bytes(b"ke")
    assert list(store.digests()) == [digest]


def test_two_processes_that_check_out_one_tree_share_one_view(
    store: FolderStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = store.put_tree(folder)
    first = FolderStore(store.root)
    link = FolderStore._link_target

    def overtaken(self: FolderStore, part: str, name: str) -> Path:
        if self is not first:
            first.checkout(digest, under=tmp_path / "cache")
        return link(self, part, name)

    monkeypatch.setattr(FolderStore, "_link_target", overtaken)
    view = store.checkout(digest, under=tmp_path / "cache")
    assert sorted(p.relative_to(view) for p in view.rglob("*") if p.is_file()) == sorted(
        p.relative_to(folder) for p in folder.rglob("*") if p.is_file()
    )
    assert len(list(view.parent.parent.iterdir())) == 1, "nothing of the slower one is left"


def test_a_view_that_cannot_be_made_says_so(
    store: FolderStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = store.put_tree(folder)

    def full(self: Path, target: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Path, "symlink_to", full)
    with pytest.raises(OSError, match="no space left"):
        store.checkout(digest, under=tmp_path / "cache")
    monkeypatch.undo()
    assert store.checkout(digest, under=tmp_path / "cache").is_dir()
