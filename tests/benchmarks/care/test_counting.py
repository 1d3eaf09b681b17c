"""Intervals are Wilson's, and values are told as their median and their 95th percentile."""

import pytest

from benchmarks.care.counting import share, share_of, spread, wilson


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (0, 20, 0.0, 0.1611),  # nothing seen is not nothing there
        (20, 20, 0.8389, 1.0),
        (14, 20, 0.4810, 0.8545),
        (3, 60, 0.0171, 0.1370),
        (1, 1, 0.2065, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson(count: int, total: int, low: float, high: float) -> None:
    """Figures of R's prop.test without correction."""
    assert wilson(count, total) == pytest.approx((low, high), abs=1e-4)


def test_a_share_is_told_with_its_interval() -> None:
    assert share_of([True, False, True, True]) == share(3, 4)
    assert share(3, 4) == {"count": 3, "of": 4, "share": 0.75, "interval_95": [0.3006, 0.9544]}
    assert share(0, 0)["share"] is None


def test_spread() -> None:
    assert spread([float(value) for value in range(101)]) == {"count": 101, "p50": 50.0, "p95": 95.0}
    assert spread([1.0]) == {}
