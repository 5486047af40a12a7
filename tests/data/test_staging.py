"""Staging: what lies in a bucket is fetched whole, unchanged, under names that stay inside, and gone afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worldgate.core.errors import ConfigError, DataRefused, NotFound, RecordError
from worldgate.data import staging
from worldgate.data.ingest import ingest, ingested
from worldgate.data.staging import is_url, listing, staged

Record = Callable[..., Path]


@pytest.fixture
def fs(bucket: str) -> Any:
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False)


def test_a_url_is_no_path() -> None:
    assert is_url("s3://bucket/key")
    assert not is_url("folder/run.mcap")
    assert not is_url(Path("s3:/bucket/key"))


def test_one_object_and_a_prefix_are_ingested_as_their_files_would_be(
    workspace: Any, record_log: Record, fs: Any, bucket: str, tmp_path: Path
) -> None:
    paths = [record_log(seed) for seed in range(3)]
    for path in paths:
        fs.put_file(str(path), f"{bucket}/kitchen/day/{path.name}")
    (one,) = ingest(workspace, f"s3://{bucket}/kitchen/day/run_000.mcap", site="kitchen")
    refs = ingest(workspace, f"s3://{bucket}/kitchen/day/", site="kitchen")
    assert refs[0] == one
    other = type(workspace).init(tmp_path / "other", person="tester")
    assert {ref.digest for ref in refs} == {ref.digest for ref in ingest(other, paths[0].parent, site="kitchen")}
    assert [r.source for r in ingested(other).values()] == [r.source for r in ingested(workspace).values()]
    assert not list((workspace.cache / "staging").iterdir())


def test_nothing_there_and_nobody_there_are_told_apart(
    workspace: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound):
        ingest(workspace, f"s3://{bucket}/nothing")
    with pytest.raises(NotFound):
        ingest(workspace, f"s3://{bucket}-which-nobody-made/x")
    with pytest.raises(ConfigError) as caught:
        ingest(workspace, "s3://key:secret@bucket/x")
    assert "secret" not in str(caught.value)


def test_an_object_that_changes_while_it_is_fetched_is_refused(
    fs: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.pipe_file(f"{bucket}/a.bin", b"first")
    fetch = staging._fetch

    def slowly(url: str, path: Path) -> None:
        fetch(url, path)
        fs.pipe_file(f"{bucket}/a.bin", b"other")

    monkeypatch.setattr(staging, "_fetch", slowly)
    with pytest.raises(DataRefused, match="changed while"), staged(f"s3://{bucket}/a.bin", under=tmp_path):
        pass
    assert not list((tmp_path / "staging").iterdir())


@pytest.mark.parametrize("key", ["../evil", "a/../../evil", "back\\slash", "a//b"])
def test_a_key_that_could_leave_its_folder_is_refused(fs: Any, bucket: str, tmp_path: Path, key: str) -> None:
    fs.call_s3("put_object", Bucket=bucket, Key=f"logs/{key}", Body=b"x")
    with pytest.raises(DataRefused, match="unusable name"), staged(f"s3://{bucket}/logs", under=tmp_path):
        pass
    assert not (tmp_path / "evil").exists()


def test_a_server_that_is_gone_is_no_empty_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(RecordError, match="does not answer"):
        listing(f"s3://{bucket}/logs")
    s3fs.S3FileSystem.clear_instance_cache()
