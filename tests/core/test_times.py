"""Time: int64 nanoseconds inside, ISO 8601 with a zone at the edges."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worldgate.core.errors import UsageError
from worldgate.core.times import SECOND, format_ns, format_span, now_ns, parse_ns

FIRST, LAST = -(2**63), 2**63 - 1


@given(st.integers(FIRST, LAST))
@example(0)
@example(-1)
@example(1_763_805_600_000_000_001)
@example(FIRST)
def test_a_formatted_time_reads_back_to_the_nanosecond(value: int) -> None:
    assert parse_ns(format_ns(value)) == value


@given(st.integers(FIRST, LAST))
def test_a_plain_integer_is_nanoseconds(value: int) -> None:
    assert parse_ns(str(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01 00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.5Z", SECOND // 2),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1969-12-31T23:59:59.999999999Z", -1),
    ],
)
def test_iso_times_mean_what_they_say(text: str, expected: int) -> None:
    assert parse_ns(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T10:00:00",
        "2026-11-22",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-22T25:00:00Z",
        "1.5",
        "",
        "2026-11-22T10:00:00.0000000001Z",
        "٢٠٢٦-11-22T10:00:00Z",
    ],
)
def test_a_time_without_a_zone_or_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        parse_ns(text)


def test_a_span_is_shown_in_seconds_from_its_zero() -> None:
    assert format_span(2 * SECOND, 3 * SECOND, zero_ns=SECOND) == "[1.000, 2.000) s"


def test_the_clock_counts_nanoseconds_since_1970() -> None:
    assert parse_ns("2020-01-01T00:00:00Z") < now_ns() < parse_ns("2200-01-01T00:00:00Z")
