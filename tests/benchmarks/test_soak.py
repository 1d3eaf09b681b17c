"""What the soak says is wrong."""

import pytest

from benchmarks.soak.__main__ import growth, missed, percentiles, told, too_much

STILL = {"mb": 100.0, "grown_mb": 0.0, "mb_an_hour": 0.0}


def test_growth_is_of_the_second_half_and_of_who_lived_through_it() -> None:
    samples = [(float(at), {"warm 1": 500.0 - at, "leak 2": 100.0 + 2 * at}) for at in range(0, 600, 10)]
    samples[40][1]["brief 3"] = 1.0
    found = growth(samples)
    assert set(found) == {"warm 1", "leak 2"}
    assert found["leak 2"] == {"mb": 700.0, "mb_an_hour": 7200.0, "grown_mb": 580.0}
    assert too_much(found["leak 2"])
    assert not too_much(found["warm 1"])


@pytest.mark.parametrize(
    ("mb", "grown", "wrong"), [(100.0, 29.0, False), (100.0, 31.0, True), (2000.0, 99.0, False), (2000.0, 101.0, True)]
)
def test_a_process_may_grow_a_little(mb: float, grown: float, wrong: bool) -> None:
    assert too_much({"mb": mb, "grown_mb": grown}) is wrong


def test_percentiles_are_in_seconds_and_weighed() -> None:
    assert percentiles({"100": 98, "5000.0": 2}) == {"p50": 0.1, "p95": 0.1, "p99": 5.0}


def test_what_is_missed_is_named() -> None:
    def row(kind: str, name: str, milliseconds: int, failed: int = 0) -> dict[str, object]:
        times = {str(milliseconds): 10}
        return {"method": kind, "name": name, "num_requests": 10, "num_failures": failed, "response_times": times}

    good = told([row("turn", "psychechat", 900), row("TTFT", "psychechat", 500), row("refused", "psychechat", 20)])
    assert missed(good, {"ingress 1": STILL}) == []
    bad = told([row("turn", "psychechat", 900, failed=2), row("TTFT", "psychechat", 60_000)])
    assert missed(bad, {"ingress 1": STILL | {"grown_mb": 70.0}}) == [
        "2 turns with psychechat failed",
        "the first words of psychechat took 60.0 s at p95",
        "ingress 1 grew by 70.0 MB",
    ]
    assert missed(told([]), {}) == ["no turn ended"]
