"""What recomputes a decision reads the record and changes nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldgate.core.errors import NotFound, RecordError, Tampered
from worldgate.record.keys import Keyring
from worldgate.record.readings import NOWHERE, EventList, Lid, Reading
from worldgate.record.workspace import Workspace


@pytest.fixture
def reading(filled: Workspace) -> Reading:
    """Of the records of ``filled``, without the one before the last."""
    events = [event for event in filled.ledger.events() if event.seq != 7]
    hashes = {event.seq: event.hash for event in filled.ledger.events()}
    ledger = EventList(filled.id, events[::-1], filled.ledger.keyring(), filled.ledger.head(), hashes)
    return Reading(filled.root, ledger, filled.store)


def test_events_are_read_as_the_ledger_reads_them(filled: Workspace, reading: Reading) -> None:
    held, here = filled.ledger, reading.ledger
    gone = held.digests()[6]
    assert here.digests() == [digest for digest in held.digests() if digest != gone]
    assert here.head() == held.head()
    assert here.hash_at(7) == held.hash_at(7), "a place whose record cannot be read"
    assert here.hash_at(99) is None
    for kind in (None, "trial.run", ("trial.run", "gate.decided"), "no.such"):
        assert list(here.events(kind, since=4)) == [e for e in held.events(kind, since=4) if e.digest != gone]
    assert here.get(held.digests()[3]) == held.get(held.digests()[3])
    with pytest.raises(NotFound, match="no such event"):
        here.get(gone)


def test_names_are_resolved_from_the_events_alone(filled: Workspace, reading: Reading) -> None:
    assert reading.resolve("kitchen") == filled.resolve("kitchen")
    assert reading.kinds() == filled.kinds()
    reading.close()
    nothing = Reading(filled.root, EventList(filled.id, (), Keyring(filled.id), NOWHERE), filled.store)
    with pytest.raises(NotFound):
        nothing.resolve("kitchen")
    nothing.close()


def test_what_is_put_under_a_lid_stays_there(filled: Workspace, tmp_path: Path) -> None:
    lid = Lid(filled.store)
    before = list(filled.store.digests())
    (tmp_path / "file").write_bytes(b"from a file")
    for data, digest in ((b"bytes", lid.put_bytes(b"bytes")), (b"from a file", lid.put_file(tmp_path / "file"))):
        assert lid.has(digest)
        assert lid.get(digest) == data
        assert not filled.store.has(digest)
    with pytest.raises(RecordError, match="only read"):
        lid.delete(before[0])
    assert list(lid.digests()) == before == list(filled.store.digests())


def test_what_the_store_holds_goes_before_what_was_put(filled: Workspace) -> None:
    lid = Lid(filled.store)
    digest = lid.put_bytes(filled.store.get(held := next(filled.store.digests())))
    assert digest == held
    path = filled.store.path(held)
    path.chmod(0o644)
    path.write_bytes(b"others")
    with pytest.raises(Tampered):
        lid.get(held)
    with pytest.raises(Tampered):
        lid.check(held)


def test_a_lid_answers_as_its_store(filled: Workspace) -> None:
    lid, store = Lid(filled.store), filled.store
    for digest in store.digests():
        lid.check(digest)
        assert lid.size(digest) == store.size(digest)
        assert lid.path(digest) == store.path(digest)
        assert lid.local(digest) == store.local(digest)
        assert lid.ends(digest) == store.ends(digest)


def test_json_of_another_form_is_not_read(filled: Workspace, reading: Reading) -> None:
    assert filled.get_json(filled.store.put_bytes(b'{"a": 1}')) == {"a": 1}
    with pytest.raises(Tampered, match="not canonical JSON"):
        reading.get_json(filled.store.put_bytes(b'{"a": 1}'))
