"""Ratios are of rounds, and a piece is paid for without its share of the start."""

from typing import Any

import pytest

from benchmarks.speed import ingress
from benchmarks.speed.parts import scale


def row(server: str, number: int, *, start: float, second: float, words: float = 2.0) -> dict[str, Any]:
    figures = dict.fromkeys(ingress.FIGURES, 1.0) | {"start_ms": start, "stream_second_ms": second}
    return {"server": server, "round": number, **figures, "words_a_piece": words}


def test_a_piece_is_what_a_stream_costs_beyond_its_start() -> None:
    found = ingress.with_pieces(row("this", 1, start=2.0 * scale.SECONDS, second=2.0 + 3.0, words=2.0))
    assert found["piece_ms"] == pytest.approx(3.0 / (scale.PACE / 2.0))


def test_the_ratio_is_the_median_of_the_rounds_own() -> None:
    rows = [row("this", number, start=start, second=9.0) for number, start in enumerate((4.0, 10.0, 3.0), 1)]
    rows += [row("beside", number, start=start, second=9.0) for number, start in enumerate((8.0, 10.0, 30.0), 1)]
    told = ingress.summary(rows)
    assert told["medians"]["this"]["start_ms"] == 4.0
    assert told["ratios"]["start_ms"] == 0.5
    assert told["ratios"]["stream_second_ms"] == 1.0


def test_alone_there_are_no_ratios() -> None:
    assert "ratios" not in ingress.summary([row("this", 1, start=4.0, second=9.0)])
