"""Figures from answers, worked out by hand."""

import pytest

from benchmarks.speed.driver import Load
from benchmarks.speed.measure import Objective, difference, median, percentiles, ratio, row
from benchmarks.speed.wire import Answer


def test_percentiles_lie_between_neighbours() -> None:
    assert percentiles([0.001 * n for n in range(1, 102)]) == (51.0, 91.0, 100.0)
    assert percentiles([0.002, 0.001]) == (1.5, 1.9, 1.99)
    assert percentiles([]) == (0.0, 0.0, 0.0)


def test_a_row_counts_failures_apart() -> None:
    good = Answer(None, [0.1, 0.2, 0.4], seconds=0.5, prompt_tokens=10, cached_tokens=4, completion_tokens=3)
    slow = Answer(None, [3.0, 3.1], seconds=4.0, completion_tokens=2)
    found = row("p", "s", 2, 1, Load((good, slow, Answer("429 overloaded"), Answer("cut")), 2.0), cpu_seconds=3.0)
    assert (found.turns, found.errors, found.kinds) == (4, 2, "429 overloaded (1), cut (1)")
    assert (found.turns_s, found.tokens_s, found.goodput_s) == (1.0, 2.5, 0.5)  # the slow one is no goodput
    assert (found.ttft_p50, found.itl_p50, found.turn_p50) == (1550.0, 100.0, 2250.0)
    assert (found.prompt_tokens, found.cached_tokens, found.cpu_s_per_turn) == (10, 4, 1.5)


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (Answer(None, [1.0], seconds=2.0), True),
        (Answer(None, [1.0], seconds=2.5), False),
        (Answer(None, [1.6], seconds=2.0), False),
        (Answer(None, [], seconds=2.0), False),  # no words at all
        (Answer("cut", [1.0], seconds=2.0), False),
    ],
)
def test_goodput(answer: Answer, kept: bool) -> None:
    assert Objective(first_words=1.5, whole=2.0).kept(answer) is kept


def test_rounds_are_compared_one_by_one() -> None:
    # The machine was three times as slow in round 2: the servers' own medians would say 2.0.
    rows = [
        {"server": server, "at_once": 1, "round": number, "x": value}
        for server, values in (("a", (4.0, 1.0, 6.0)), ("b", (4.0, 2.0, 3.0)))
        for number, value in enumerate(values, 1)
    ]
    assert ratio(rows, "a", "b", 1, "x") == 1.0
    assert difference(rows, "a", "b", 1, "x") == 0.0
    assert median(rows, "a", 1, "x") == 4.0
    assert ratio(rows, "a", "b", 4, "x") is None


def test_of_several_peers_each_rounds_best_is_compared() -> None:
    rows = [
        {"server": server, "at_once": 1, "round": number, "x": value}
        for server, values in (("a", (6.0, 6.0, 6.0)), ("b", (4.0, 2.0, 1.0)), ("c", (2.0, 3.0)))
        for number, value in enumerate(values, 1)
    ]
    assert ratio(rows, "a", ("b", "c"), 1, "x") == 1.75  # 1.5 and 2.0; round 3 lacks a peer
    assert ratio(rows, "a", ("b", "d"), 1, "x") is None
