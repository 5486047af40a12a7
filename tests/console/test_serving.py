"""Serving: tokens that outlive the program, addresses that can be opened, and places that cannot be had."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from worldgate.console.serving import Place, listen, serve, token_in
from worldgate.core.errors import UsageError


def test_a_token_outlives_the_program_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "desk.token"
    token = token_in(path)
    assert len(token) >= 32
    assert token_in(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token_in(path, fresh=True) != token


def test_a_token_too_short_to_be_one_of_ours_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "desk.token"
    path.write_text("abc")
    assert len(token_in(path)) >= 32


def test_addresses_say_scheme_host_and_token(tmp_path: Path) -> None:
    assert Place().url(8420, "t") == "http://127.0.0.1:8420/?token=t"
    assert Place(host="::1").url(1, "t") == "http://[::1]:1/?token=t"
    assert Place(host="cell", certificate=tmp_path).url(1, "t").startswith("https://cell:1/")
    assert "0.0.0.0" not in Place(host="0.0.0.0").url(1, "t")


def test_browsers_trust_this_machine_or_a_certificate(tmp_path: Path) -> None:
    assert all(Place(host=host).secure for host in ("127.0.0.1", "::1", "localhost"))
    assert not any(Place(host=host).secure for host in ("192.168.1.5", "0.0.0.0", "cell.local"))
    assert Place(host="192.168.1.5", certificate=tmp_path).secure


def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    held = listen(Place(port=0))
    port = held.getsockname()[1]
    with pytest.raises(UsageError, match="cannot serve here"):
        listen(Place(port=port))
    with pytest.raises(UsageError, match="cannot serve here"):
        listen(Place(host="host.invalid"))
    held.close()


def test_a_certificate_needs_its_key_and_must_be_one(tmp_path: Path) -> None:
    held = listen(Place(port=0))
    junk = tmp_path / "cell.pem"
    junk.write_text("not a certificate")
    with pytest.raises(UsageError, match="needs its key"):
        serve(_nothing, Place(certificate=junk), held)
    with pytest.raises(UsageError, match="cannot be used"):
        serve(_nothing, Place(certificate=junk, key=junk), held)
    held.close()


async def _nothing(scope: object, receive: object, send: object) -> None:
    raise AssertionError
