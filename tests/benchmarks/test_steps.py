"""From rows to the medians and ratios that are told."""

import pytest

pytest.importorskip("vllm")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # vLLM and torch warn of themselves on import
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_a_ways_ratio_is_to_the_same_round() -> None:
    from benchmarks.steps import FIGURES, WAYS, summary

    costs = {"before": (10.0, 20.0, 40.0), "ends": (8.0, 18.0, 20.0), "both": (5.0, 5.0, 10.0)}
    rows = [
        {"way": way, "at_once": 16, "round": number, **dict.fromkeys(FIGURES, costs[way][number])}
        for number in range(3)
        for way in WAYS
    ]
    told = summary(rows)["16"]
    assert {way: told[way]["steps"] for way in WAYS} == {"before": [20, 1], "ends": [18, 0.8], "both": [5, 0.25]}
