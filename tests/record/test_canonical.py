"""Canonical JSON: one digest for one meaning, in both programs, or a refusal."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.outsider import tool

from worldgate.core.digest import canonical, read_json
from worldgate.core.errors import UsageError

_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_KEY = _TEXT.filter(lambda key: not key.endswith("_ns"))
"""Times are written otherwise and have tests of their own."""
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _FLOATS | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEY, inner, max_size=4),
    max_leaves=12,
)

# RFC 8785, appendix B: IEEE 754 bits and the text that ECMAScript writes.
_RFC_NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "text"), _RFC_NUMBERS)
def test_numbers_are_written_as_the_rfc_says(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value).decode() == text
    assert tool.canonical(value) == text


def test_keys_are_sorted_by_utf16_and_text_escaped_as_the_rfc_says() -> None:
    tree = {"\u20ac": "Euro", "\r": "CR", "\ufb33": "Hebrew", "1": "One", "\U0001f600": "Smile", "\x80": "\x0f\n"}
    expected = (
        '{"\\r":"CR","1":"One","\x80":"\\u000f\\n","\u20ac":"Euro","\U0001f600":"Smile","\ufb33":"Hebrew"}'
    ).encode()
    assert canonical(tree) == expected
    assert tool.canonical(tree).encode() == expected


@given(_JSON)
def test_both_programs_write_the_same_bytes_and_read_them_back(tree: Any) -> None:
    data = canonical(tree)
    assert tool.canonical(tree).encode() == data
    assert canonical(read_json(data)) == data
    assert tool.canonical(tool.parse(data)).encode() == data


@given(_FLOATS)
def test_both_write_the_same_number(value: float) -> None:
    assert tool.canonical(value).encode() == canonical(value)
    assert float(tool.canonical(value)) == value


@pytest.mark.parametrize("same", [1, 1.0])
def test_one_meaning_has_one_digest(same: float) -> None:
    assert canonical({"a": same}) == b'{"a":1}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2**53, -(2**53)])
def test_what_has_no_one_form_is_refused(value: float) -> None:
    with pytest.raises(UsageError):
        canonical(value)
    with pytest.raises(tool.Unreadable):
        tool.canonical(value)


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    for value in (text, {text: 1}):
        with pytest.raises(UsageError):
            canonical(value)


@pytest.mark.parametrize(
    "data",
    [b'{"a":1,"a":1}', b'{"a":1.0}', b'{"a": 1}', b'{"b":1,"a":1}', b"NaN", b"1e0", b"-0", b'"\\u0061"', b"\xff", b""],
)
def test_the_outsider_refuses_other_spellings(data: bytes) -> None:
    with pytest.raises(tool.Unreadable):
        tool.parse(data)


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_int64_time_survives(value: int) -> None:
    data = canonical({"start_ns": value})
    assert read_json(data) == {"start_ns": value}
    assert json.loads(data) == {"start_ns": str(value)}
