"""Past deployments from CSV: what is taken, what is refused and where it says so."""

from __future__ import annotations

import pytest

from worldgate.core.digest import sha256
from worldgate.core.errors import DataRefused, NotFound
from worldgate.core.times import parse_ns
from worldgate.fleet.as_of import Certainty, as_of
from worldgate.fleet.backfill import backfill
from worldgate.fleet.planes import Plane
from worldgate.record.events import Ref

R1, R2, W = sha256(b"r1"), sha256(b"r2"), sha256(b"w")
HEADER = "slot,release,from,to,error_s,source\n"
SLOT = "north/nr1/left"
DAY1, DAY2, DAY3 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"


def row(slot=SLOT, release=R1, begin=DAY1, end=DAY2, error="60", source="shift book"):
    return f"{slot},{release},{begin},{end},{error},{source}\n"


@pytest.fixture
def sheet(tmp_path):
    def write(*rows, header=HEADER):
        path = tmp_path / "past.csv"
        path.write_text(header + "".join(rows), encoding="utf-8")
        return path

    return write


def test_an_imported_row_answers_within_its_span_and_holes_stay_unknown(workspace, sheet):
    backfill(workspace, sheet(row(), row(release=R2, begin=DAY3, end="2026-01-04T00:00:00Z")))
    assert as_of(workspace, SLOT, parse_ns("2026-01-01T12:00:00Z")).release == R1
    assert as_of(workspace, SLOT, parse_ns("2026-01-01T00:00:59Z")).certainty is Certainty.AMBIGUOUS
    assert as_of(workspace, SLOT, parse_ns("2026-01-02T12:00:00Z")).certainty is Certainty.UNKNOWN
    assert as_of(workspace, SLOT, parse_ns("2026-01-03T12:00:00Z")).release == R2
    assert as_of(workspace, SLOT, parse_ns("2026-01-03T12:00:00Z")).headline.error_ns == 60 * 10**9


def test_a_switch_noted_to_the_minute_is_ambiguous_for_that_minute(workspace, sheet):
    backfill(workspace, sheet(row(), row(release=R2, begin=DAY2, end=DAY3)))
    answer = as_of(workspace, SLOT, parse_ns(DAY2))
    assert answer.certainty is Certainty.AMBIGUOUS
    assert set(answer.releases) == {R1, R2}


def test_importing_twice_adds_nothing(workspace, sheet):
    first = backfill(workspace, sheet(row()))
    again = backfill(workspace, sheet(row(), row(begin=DAY2, end=DAY3)))
    assert [e.digest for e in again[:1]] == [e.digest for e in first]
    assert len(list(workspace.ledger.events("deployment.reported"))) == 2


def test_a_release_is_found_by_its_name(workspace, sheet):
    workspace.record("release.registered", body={}, outputs=(Ref("release", R1, "spring"),))
    backfill(workspace, sheet(row(release="spring")))
    assert as_of(workspace, SLOT, parse_ns("2026-01-01T12:00:00Z")).release == R1


def test_bare_weights_stay_bare_weights(workspace, sheet):
    backfill(workspace, sheet(row(release=f"weights:{W}")))
    answer = as_of(workspace, SLOT, parse_ns("2026-01-01T12:00:00Z"))
    assert answer.release == f"weights:{W}"
    assert f"CERTAIN weights:{W[:12]}" in str(answer.headline)


def test_a_spreadsheet_with_a_byte_order_mark_and_empty_lines_is_read(workspace, tmp_path):
    path = tmp_path / "past.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + "\n" + row() + ",,,,,\n").encode())
    assert len(backfill(workspace, path)) == 1


def test_a_row_may_say_that_it_was_observed(workspace, sheet):
    backfill(workspace, sheet(row().rstrip() + ",observed\n", header=HEADER.rstrip() + ",plane\n"))
    answer = as_of(workspace, SLOT, parse_ns("2026-01-01T12:00:00Z"))
    assert answer.planes[Plane.OBSERVED].release == R1
    assert answer.planes[Plane.REPORTED].certainty is Certainty.UNKNOWN


BAD = {
    "slot": (row(slot="north/nr1"), "slot"),
    "climbing slot": (row(slot="north/../left"), "slot"),
    "release": (row(release="nobody"), "release"),
    "no release": (row(release=""), "release"),
    "weights": (row(release="weights:abc"), "release"),
    "from without zone": (row(begin="2026-01-01T00:00:00"), "from"),
    "from": (row(begin="yesterday"), "from"),
    "no end": (row(end=""), "to"),
    "end before": (row(end="2025-12-31T00:00:00Z"), "to"),
    "empty": (row(end=DAY1), "to"),
    "future": (row(end="2199-01-01T00:00:00Z"), "to"),
    "no error": (row(error=""), "error_s"),
    "negative error": (row(error="-1"), "error_s"),
    "nan error": (row(error="nan"), "error_s"),
    "infinite error": (row(error="1e400"), "error_s"),
    "no source": (row(source=""), "source"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_and_nothing_is_imported(workspace, sheet, case):
    text, column = BAD[case]
    path = sheet(row(begin=DAY2, end=DAY3), text)
    with pytest.raises(DataRefused) as caught:
        backfill(workspace, path)
    assert str(caught.value.where) == f"{path}:3:{column}"
    assert len(caught.value.lines()) <= 3
    assert not list(workspace.ledger.events("deployment.reported"))


@pytest.mark.parametrize(
    "header",
    [
        "slot,release,from,to,source\n",
        "slot,release,from,to,error_s,source,colour\n",
        "slot,slot,release,from,to,error_s,source\n",
        "",
    ],
)
def test_a_header_that_does_not_fit_is_refused(workspace, sheet, header):
    with pytest.raises(DataRefused) as caught:
        backfill(workspace, sheet(row(), header=header))
    assert str(caught.value.where).endswith(":1")


def test_another_number_of_columns_is_refused(workspace, sheet):
    with pytest.raises(DataRefused, match="columns"):
        backfill(workspace, sheet(row().rstrip() + ",more\n"))


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", HEADER.encode() + b'"unclosed', HEADER.encode()])
def test_what_is_no_csv_or_has_no_rows_is_refused(workspace, tmp_path, data):
    path = tmp_path / "past.csv"
    path.write_bytes(data)
    with pytest.raises(DataRefused):
        backfill(workspace, path)


def test_rows_that_contradict_each_other_are_refused_with_both_lines(workspace, sheet):
    path = sheet(row(), row(release=R2, begin="2026-01-01T12:00:00Z", end=DAY3))
    with pytest.raises(DataRefused) as caught:
        backfill(workspace, path)
    assert caught.value.got == "lines 2 and 3"
    assert not list(workspace.ledger.events("deployment.reported"))


def test_an_overlap_within_the_declared_error_is_no_contradiction(workspace, sheet):
    backfill(workspace, sheet(row(), row(release=R2, begin="2026-01-01T23:59:00Z", end=DAY3)))
    assert as_of(workspace, SLOT, parse_ns("2026-01-01T23:59:30Z")).certainty is Certainty.AMBIGUOUS


def test_a_missing_file_is_not_found(workspace, tmp_path):
    with pytest.raises(NotFound):
        backfill(workspace, tmp_path / "none.csv")
