"""Envelopes: a statement of one type never passes for another."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope

from worldgate.core.digest import canonical, sha256
from worldgate.core.errors import Tampered
from worldgate.core.names import Name
from worldgate.record import keys
from worldgate.record.signing import (
    EVENT_TYPE,
    in_toto,
    read_statement,
    sign_statement,
    statement_type,
    verify_envelope,
)

DECISION = statement_type("decision")


@pytest.fixture
def signer(tmp_path: Path) -> Any:
    return keys.generate(tmp_path, Name("one"))


def test_what_is_signed_comes_back(signer: Any) -> None:
    envelope = sign_statement(b'{"a":1}', DECISION, signer)
    assert verify_envelope(envelope, DECISION, [signer.public_key]) == b'{"a":1}'
    assert verify_envelope(envelope, DECISION, [signer.public_key]) == b'{"a":1}', "verifying must not change it"


def test_an_approval_does_not_pass_for_a_decision(signer: Any) -> None:
    envelope = sign_statement(b"{}", statement_type("approval"), signer)
    with pytest.raises(Tampered, match="another type"):
        verify_envelope(envelope, DECISION, [signer.public_key])
    relabelled = {**envelope, "payloadType": EVENT_TYPE}
    with pytest.raises(Tampered, match="another type"):
        verify_envelope(relabelled, DECISION, [signer.public_key])
    with pytest.raises(Tampered, match="signature"):
        verify_envelope(relabelled, EVENT_TYPE, [signer.public_key])
    inner = base64.b64decode(envelope["payload"]).replace(b"approval", b"decision")
    with pytest.raises(Tampered, match="signature"):
        verify_envelope({**envelope, "payload": base64.b64encode(inner).decode()}, DECISION, [signer.public_key])


RELEASE = "a" * 64


@pytest.mark.parametrize(
    ("payload", "name", "digest"),
    [
        (
            canonical({"subject": {"kind": "world_model", "digest": RELEASE}, "release": "b" * 64}),
            "world_model",
            RELEASE,
        ),
        (canonical({"release": RELEASE}), "release", RELEASE),
        (canonical({"release": "not a digest"}), "statement", ""),
        (b"[1, 2]", "statement", ""),
        (b'{"a": 1, "a": 2}', "statement", ""),
        (b"no JSON", "statement", ""),
    ],
)
def test_a_statement_is_in_toto_about_what_it_names_and_keeps_its_bytes(
    signer: Any, payload: bytes, name: str, digest: str
) -> None:
    envelope = sign_statement(payload, DECISION, signer)
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert verify_envelope(envelope, DECISION, [signer.public_key]) == payload
    if payload != b"no JSON":
        statement = json.loads(base64.b64decode(envelope["payload"]))
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert statement["predicateType"] == "urn:worldgate:decision:v1"
        assert statement["subject"] == [{"name": name, "digest": {"sha256": digest or sha256(payload)}}]


def test_a_statement_about_something_else_than_its_predicate_names_is_refused(signer: Any) -> None:
    payload = canonical({"release": RELEASE})
    statement = in_toto(payload, DECISION).replace(b'"sha256":"aaaa', b'"sha256":"bbbb')
    raw = Envelope(statement, "application/vnd.in-toto+json", {})
    raw.sign(signer)
    with pytest.raises(Tampered, match="something else"):
        verify_envelope(raw.to_dict(), DECISION, [signer.public_key])


def test_a_changed_payload_is_refused(signer: Any) -> None:
    envelope = sign_statement(b'{"result":"HOLD"}', EVENT_TYPE, signer)
    envelope["payload"] = base64.b64encode(b'{"result":"PROMOTE"}').decode()
    with pytest.raises(Tampered):
        verify_envelope(envelope, EVENT_TYPE, [signer.public_key])


def test_another_key_under_the_same_id_is_refused(signer: Any, tmp_path: Path) -> None:
    other = keys.generate(tmp_path, Name("two"))
    envelope = sign_statement(b"{}", EVENT_TYPE, other)
    envelope["signatures"][0]["keyid"] = signer.public_key.keyid
    with pytest.raises(Tampered):
        verify_envelope(envelope, EVENT_TYPE, [signer.public_key])


def test_the_same_key_twice_is_not_two(signer: Any) -> None:
    envelope = sign_statement(b"{}", EVENT_TYPE, signer)
    envelope["signatures"] *= 2
    with pytest.raises(Tampered):
        verify_envelope(envelope, EVENT_TYPE, [signer.public_key], threshold=2)


@pytest.mark.parametrize(
    "change",
    [
        {"critical": "unknown"},
        {"signatures": []},
        {"signatures": None},
        {"signatures": ["text"]},
        {"signatures": [{"keyid": "x"}]},
        {"payload": "*not base64*"},
        {"payload": None},
        {"payloadType": None},
    ],
)
def test_a_malformed_envelope_is_refused(signer: Any, change: dict[str, Any]) -> None:
    with pytest.raises(Tampered):
        verify_envelope({**sign_statement(b"{}", EVENT_TYPE, signer), **change}, EVENT_TYPE, [signer.public_key])


@pytest.mark.parametrize("more", [{"note": "unsigned"}, None])
def test_one_signature_and_not_a_field_more_is_read(signer: Any, tmp_path: Path, more: dict[str, str] | None) -> None:
    envelope = sign_statement(b"{}", DECISION, signer)
    assert read_statement(envelope, DECISION, signer.public_key) == b"{}"
    if more is None:  # another key's signature beside it
        envelope["signatures"] += sign_statement(b"{}", DECISION, keys.generate(tmp_path, Name("two")))["signatures"]
    else:
        envelope["signatures"][0] |= more
    with pytest.raises(Tampered, match="not one signature and nothing else"):
        read_statement(envelope, DECISION, signer.public_key)
