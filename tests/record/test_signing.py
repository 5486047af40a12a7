"""Envelopes: a statement of one type never passes for another."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from worldgate.core.errors import Tampered
from worldgate.core.names import Name
from worldgate.record import keys
from worldgate.record.signing import EVENT_TYPE, sign_statement, statement_type, verify_envelope

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
    relabelled = {**envelope, "payloadType": DECISION}
    with pytest.raises(Tampered, match="signature"):
        verify_envelope(relabelled, DECISION, [signer.public_key])


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
