"""Content identity: canonical JSON, the rule for nanoseconds, and what has no JSON form."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldgate.core.digest import (
    canonical,
    digest_array,
    digest_file,
    digest_json,
    restore,
    sha256,
    short,
    to_json,
)
from worldgate.core.errors import UsageError

# RFC 8785, appendix B: IEEE 754 bit patterns and their ECMAScript form.
RFC8785_NUMBERS = [
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


@pytest.mark.parametrize(("bits", "text"), RFC8785_NUMBERS)
def test_numbers_are_written_as_rfc_8785_lists_them(bits: str, text: str) -> None:
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert canonical(value) == text.encode()


def test_the_structure_example_of_rfc_8785_gives_its_bytes() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical(value) == expected.encode()


def test_keys_are_ordered_by_utf_16_units_not_by_code_points() -> None:
    assert canonical({"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "1": 4}) == (
        '{"1":4,"\u20ac":3,"\U0001f600":2,"\ufb33":1}'.encode()
    )


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_a_nanosecond_time_survives_json_exactly(value: int) -> None:
    assert restore(json.loads(canonical({"start_ns": value, "spans_ns": [[value, value]]}))) == {
        "start_ns": value,
        "spans_ns": [[value, value]],
    }
    assert to_json({"start_ns": value}) == {"start_ns": str(value)}


@pytest.mark.parametrize("value", [2**53, -(2**53), 10**30])
def test_a_large_integer_outside_a_ns_key_is_refused(value: int) -> None:
    with pytest.raises(UsageError, match="beyond 2"):
        canonical({"count": value})


@pytest.mark.parametrize("value", [2**53 - 1, -(2**53) + 1])
def test_the_largest_safe_integers_are_written_as_they_are(value: int) -> None:
    assert canonical({"count": value}) == f'{{"count":{value}}}'.encode()


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), np.float32("nan"), np.array([1.0, np.nan])]
)
def test_a_number_without_a_json_form_is_refused_and_the_key_named(value: object) -> None:
    with pytest.raises(UsageError, match="without a JSON form") as caught:
        canonical({"deep": {"speed": value}})
    assert caught.value.where == "speed"


@pytest.mark.parametrize("value", [b"bytes", object(), 1j])
def test_a_type_without_a_json_form_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        canonical([value])


class _Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class _Thing:
    name: str
    at_ns: int
    colour: _Colour
    path: Path
    tags: frozenset[str]


def test_dataclasses_enums_paths_sets_and_numpy_become_plain_json() -> None:
    thing = _Thing("x", np.int64(7), _Colour.RED, Path("a/b"), frozenset({"q", "p"}))  # type: ignore[arg-type]
    assert to_json(thing) == {"name": "x", "at_ns": "7", "colour": "red", "path": "a/b", "tags": ["p", "q"]}
    assert to_json(np.array([[1, 2], [3, 4]])) == [[1, 2], [3, 4]]


@given(st.dictionaries(st.text(max_size=8), st.integers(-1000, 1000), min_size=2, max_size=6))
def test_the_order_of_keys_does_not_change_a_digest(value: dict[str, int]) -> None:
    value = {key: number for key, number in value.items() if not key.endswith("_ns")}
    assert digest_json(value) == digest_json(dict(reversed(value.items())))


def test_an_array_digest_covers_dtype_shape_and_values_but_not_memory_layout() -> None:
    a = np.arange(6, dtype=np.int64).reshape(2, 3)
    assert digest_array(a) == digest_array(np.asfortranarray(a))
    assert digest_array(a) == digest_array(a.astype(">i8"))
    others = [a.reshape(3, 2), a.astype(np.int32), a + 1]
    assert len({digest_array(a), *(digest_array(x) for x in others)}) == 4


def test_a_file_digest_is_the_digest_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "f").write_bytes(data)
    assert digest_file(tmp_path / "f") == hashlib.sha256(data).hexdigest() == sha256(data[:1000], data[1000:])
    assert len(short(digest_file(tmp_path / "f"))) == 12
