"""Published vectors of canonical JSON (RFC 8785) and of what DSSE v1 signs, with a key of RFC 8032: both verifiers."""

from __future__ import annotations

import base64
import json
import struct
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope

from worldgate.core.digest import canonical
from worldgate.core.errors import UsageError

NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
"""RFC 8785, appendix B."""


@pytest.mark.parametrize("bits", NUMBERS)
def test_numbers_are_written_as_rfc_8785_has_them(tool: ModuleType, bits: str) -> None:
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert canonical([value]) == f"[{NUMBERS[bits]}]".encode()
    assert tool.number(value) == NUMBERS[bits]


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000", "fff0000000000000"])
def test_what_has_no_json_form_is_refused(tool: ModuleType, bits: str) -> None:
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    with pytest.raises(UsageError):
        canonical([value])
    with pytest.raises(tool.Unreadable):
        tool.number(value)


DOCUMENTS: list[tuple[str, str]] = [
    (
        r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}""",
        r"""{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"""
        r""""string":"€$\u000f\nA'B\"\\\\\"/"}""",
    ),
    (
        r"""{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
        "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis"}""",
        '{"\\r":"Carriage Return","1":"One","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis",'
        '"\u20ac":"Euro Sign","\U0001f600":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}',
    ),
]
"""RFC 8785, sections 3.2.2 and 3.2.3."""


@pytest.mark.parametrize(("given", "wanted"), DOCUMENTS)
def test_documents_are_written_as_rfc_8785_has_them(tool: ModuleType, given: str, wanted: str) -> None:
    tree: Any = json.loads(given)
    assert canonical(tree) == wanted.encode()
    assert tool.canonical(tree) == wanted


def test_dsse_signs_its_published_encoding_and_both_verifiers_take_it(tool: ModuleType) -> None:
    kind, payload = "http://example.com/HelloWorld", b"hello world"
    encoded = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"  # the protocol's own example
    assert Envelope(payload, kind, {}).pae() == encoded
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    key = Ed25519PrivateKey.from_private_bytes(secret)
    assert key.public_key().public_bytes_raw() == public
    assert key.sign(b"") == base64.b64decode(
        "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw=="
    ), "RFC 8032, section 7.1, test 1"
    signature = key.sign(encoded)
    assert tool.good_signature(public, kind, payload, signature)
    assert not tool.good_signature(public, kind, b"hello worlD", signature)
    assert not tool.good_signature(public, kind + "/", payload, signature), "another type is another statement"
