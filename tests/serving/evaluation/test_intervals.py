"""Intervals over cards."""

import pytest

from psychechat.evaluation.intervals import difference, estimate


def test_seeds_of_one_card_are_one_card() -> None:
    often = estimate({"a": [0.0] * 50, "b": [1.0]})
    assert often is not None
    assert (often.mean, often.cards) == (0.5, 2)
    assert (often.low, often.high) == (0.0, 1.0)


def test_the_interval_is_that_of_a_mean() -> None:
    values = {str(n): [float(n % 2)] for n in range(400)}
    found = estimate(values)
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.1)
    assert estimate(values) == found, "the same rows have the same interval"


def test_a_difference_pairs_cards_which_differ_more_than_counselors_do() -> None:
    theirs = {str(n): [float(n)] for n in range(10)}
    ours = {str(n): [n + 0.5] for n in range(10)} | {"only ours": [1000.0]}
    found = difference(ours, theirs)
    assert found is not None
    assert (found.low, found.mean, found.high, found.cards) == (0.5, 0.5, 0.5, 10)
    assert found.excludes_zero


def test_nothing_has_no_interval() -> None:
    assert estimate({"a": []}) is None
    assert difference({"a": [1.0]}, {"b": [1.0]}) is None
