"""Holm for the best of several: the textbook's list, the family's error, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldgate.core.errors import UsageError
from worldgate.evidence.best_of import best_of, holm
from worldgate.evidence.scenes import Scenes, one_per_scene


def scenes(successes: int, n: int) -> Scenes:
    return one_per_scene([(str(i), int(i < successes)) for i in range(n)])


def test_the_first_p_value_that_is_too_large_ends_the_list() -> None:
    assert holm({"a": "0.01", "b": "0.04", "c": "0.03", "d": "0.005"}, "0.05") == ("d", "a")
    assert holm({"a": "0.02", "b": "0.02"}, "0.05") == ("a", "b")
    assert holm({"a": "0.05"}, "0.05") == ("a",)
    assert holm({"a": "0.026", "b": "0.027"}, "0.05") == ()


@given(st.dictionaries(st.text(min_size=1), st.fractions(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_bonferroni_and_no_correction(p_values: dict[str, float]) -> None:
    found = set(holm(p_values, "0.05"))
    assert {k for k, p in p_values.items() if p * len(p_values) * 20 <= 1} <= found
    assert found <= {k for k, p in p_values.items() if p * 20 <= 1}


def test_the_best_of_several_is_the_one_with_the_most_evidence() -> None:
    found = best_of({"a": scenes(56, 60), "b": scenes(60, 60), "c": scenes(48, 60)}, "0.8", "0.05")
    assert (found.name, found.shown) == ("b", ("b", "a"))
    assert set(found.p_values) == {"a", "b", "c"}
    assert float(found.p_values["c"]) > 0.5


def test_none_of_several_may_be_good() -> None:
    found = best_of({"a": scenes(48, 60), "b": scenes(49, 60)}, "0.8", "0.05")
    assert (found.name, found.shown) == (None, ())


def test_more_candidates_ask_more_of_each() -> None:
    alone = best_of({"a": scenes(54, 60)}, "0.8", "0.05")
    among = best_of({"a": scenes(54, 60), **{str(i): scenes(30, 60) for i in range(7)}}, "0.8", "0.05")
    assert (alone.name, among.name) == ("a", None)


def test_picking_the_best_of_eight_at_the_bar_errs_at_most_alpha_of_the_time() -> None:
    rng = np.random.default_rng(4)
    runs = 200
    wins = rng.binomial(60, 0.8, (runs, 8))
    wrong = sum(
        best_of({str(i): scenes(int(k), 60) for i, k in enumerate(row)}, "0.8", "0.05").name is not None for row in wins
    )
    assert wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.parametrize("bad", ["-0.1", "1.1", "nan"])
def test_p_values_that_are_none_are_refused(bad: str) -> None:
    with pytest.raises(UsageError):
        holm({"a": bad}, "0.05")


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(UsageError, match="no candidates"):
        holm({}, "0.05")
    with pytest.raises(UsageError, match="successes and failures"):
        best_of({"a": one_per_scene([])}, "0.8", "0.05")
    with pytest.raises(UsageError, match="successes and failures"):
        best_of({"a": one_per_scene([("s", "0.5")])}, "0.8", "0.05")
    with pytest.raises(UsageError, match="strictly between"):
        holm({"a": "0.5"}, "1")
