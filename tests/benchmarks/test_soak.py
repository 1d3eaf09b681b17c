"""What the soak says is wrong."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.soak.__main__ import growth, missed, percentiles, replaced, resident, told, too_much
from benchmarks.soak.plot import REST, draw, label, series

STILL = {"mb": 100.0, "grown_mb": 0.0, "mb_an_hour": 0.0}


def test_growth_is_of_the_second_half_and_of_who_lived_through_it() -> None:
    samples = [(float(at), {"warm 1": 500.0 - at, "leak 2": 100.0 + 2 * at}) for at in range(0, 600, 10)]
    samples[40][1]["brief 3"] = 1.0
    found = growth(samples, 600.0)
    assert set(found) == {"warm 1", "leak 2"}
    assert found["leak 2"] == {"mb": 700.0, "mb_an_hour": 7200.0, "grown_mb": 580.0}
    assert too_much(found["leak 2"])
    assert not too_much(found["warm 1"])


def test_what_the_spike_takes_is_no_growth_and_what_stays_of_it_is() -> None:
    def spiked(after: float) -> list[tuple[float, dict[str, float]]]:
        sizes = [(at, 900.0 if 360 <= at < 450 else 500.0 + after if at >= 450 else 500.0) for at in range(0, 600, 10)]
        return [(float(at), {"engine 1": size}) for at, size in sizes]

    assert growth(spiked(after=0.0), 600.0)["engine 1"] == {"mb": 500.0, "mb_an_hour": 0.0, "grown_mb": 0.0}
    assert growth(spiked(after=60.0), 600.0)["engine 1"]["grown_mb"] > 60.0


def test_a_process_that_once_could_not_be_read_is_watched_all_the_same() -> None:
    samples = [(float(at), {"engine 1": 500.0 + at} if at != 500 else {}) for at in range(0, 600, 10)]
    assert growth(samples, 600.0)["engine 1"]["mb_an_hour"] == 3600.0


REPLICA, OTHER = "ray::ServeReplica:psychechat:ingress 1", "ray::ServeReplica:psychechat:ingress 9"
ENGINE = "VLLM::EngineCore 2"


@pytest.mark.parametrize(
    ("processes", "named"),
    [
        ([[REPLICA, ENGINE]] * 3, []),
        ([["haproxy 3"], ["ray::IDLE 4"], []], []),  # they come and go
        ([[REPLICA], [REPLICA], []], [REPLICA]),
        ([[], [ENGINE], [ENGINE]], [ENGINE]),
        ([[], [ENGINE], []], [ENGINE]),
        ([[REPLICA, ENGINE], [REPLICA, ENGINE], [OTHER, ENGINE]], [REPLICA, OTHER]),
    ],
)
def test_a_replica_or_engine_that_is_replaced_is_told(processes: list[list[str]], named: list[str]) -> None:
    samples = [(float(at), dict.fromkeys(found, 1.0)) for at, found in enumerate(processes)]
    assert replaced(samples) == [f"{process} did not live from the beginning to the end" for process in named]


def test_a_process_keeps_its_name_whatever_method_it_runs() -> None:
    class Actor:
        pid, method = 7, ""

        def children(self, recursive: bool) -> list["Actor"]:
            return []

        def cmdline(self) -> list[str]:
            return [f"ray::ServeReplica:psychechat:ingress{self.method}", ""]

        def memory_info(self) -> SimpleNamespace:
            return SimpleNamespace(rss=2e6)

    actor: Any = Actor()
    before, actor.method = resident(actor), ".handle_request"
    assert resident(actor) == before == {"ray::ServeReplica:psychechat:ingress 7": 2.0}


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
    assert missed(bad, {"ingress 1": STILL | {"grown_mb": 70.0, "mb_an_hour": 280.0}}) == [
        "2 turns with psychechat failed",
        "the first words of psychechat took 60.0 s at p95",
        "ingress 1 grew by 70.0 MB, 280.0 MB an hour",
    ]
    assert missed(told([]), {}) == ["no turn ended", "no process was watched from the middle to the end"]


def test_the_plot_shows_each_large_process_and_all_others_together(tmp_path: Path) -> None:
    samples = [(float(at), {ENGINE: 900.0 + at, REPLICA: 150.0, "haproxy 3": 20.0}) for at in range(0, 600, 10)]
    samples[7][1]["locust 9"] = 300.0  # it comes and goes
    found = series(samples)
    assert set(found) == {ENGINE, REPLICA, REST}
    assert found[ENGINE][-1] == 1490.0
    assert (found[REST][0], found[REST][7]) == (20.0, 320.0)
    assert [label(name) for name in (REPLICA, ENGINE, REST)] == ["psychechat:ingress", "VLLM::EngineCore", REST]
    draw(samples, 600.0, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
