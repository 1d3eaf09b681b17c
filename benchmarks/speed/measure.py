"""From what a load did to figures: percentiles, goodput, medians over rounds, ratios of rounds."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.speed.driver import Load
from benchmarks.speed.wire import Answer


@dataclass(frozen=True)
class Objective:
    """What a turn must keep to count as goodput. Seconds."""

    first_words: float = 2.0
    whole: float = 20.0

    def kept(self, answer: Answer) -> bool:
        in_time = answer.seconds <= self.whole and bool(answer.deltas) and answer.deltas[0] <= self.first_words
        return answer.error is None and in_time


@dataclass(frozen=True)
class Row:
    """One server under one load, in one round. Times in ms, NaN-free: 0 where there is nothing to tell."""

    part: str
    server: str
    at_once: int
    round: int
    turns: int
    errors: int
    turns_s: float
    tokens_s: float
    goodput_s: float
    ttft_p50: float
    ttft_p90: float
    ttft_p99: float
    itl_p50: float
    itl_p90: float
    itl_p99: float
    turn_p50: float
    turn_p90: float
    turn_p99: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cpu_s_per_turn: float
    memory_mb: float
    kinds: str = ""
    """The errors, each with its count."""


def row(
    part: str,
    server: str,
    at_once: int,
    number: int,
    load: Load,
    *,
    cpu_seconds: float = 0.0,
    memory_mb: float = 0.0,
    objective: Objective | None = None,
) -> Row:
    whole = [answer for answer in load.answers if answer.error is None]
    gaps = [b - a for answer in whole for a, b in zip(answer.deltas, answer.deltas[1:], strict=False)]
    ttft = percentiles([answer.deltas[0] for answer in whole if answer.deltas])
    itl, turn = percentiles(gaps), percentiles([answer.seconds for answer in whole])
    kinds = Counter(answer.error for answer in load.answers if answer.error is not None)
    kept = sum((objective or Objective()).kept(answer) for answer in load.answers)
    return Row(
        part,
        server,
        at_once,
        number,
        turns=len(load.answers),
        errors=sum(kinds.values()),
        turns_s=round(len(whole) / load.seconds, 3),
        tokens_s=round(sum(answer.completion_tokens for answer in whole) / load.seconds, 1),
        goodput_s=round(kept / load.seconds, 3),
        ttft_p50=ttft[0],
        ttft_p90=ttft[1],
        ttft_p99=ttft[2],
        itl_p50=itl[0],
        itl_p90=itl[1],
        itl_p99=itl[2],
        turn_p50=turn[0],
        turn_p90=turn[1],
        turn_p99=turn[2],
        prompt_tokens=sum(answer.prompt_tokens for answer in whole),
        cached_tokens=sum(answer.cached_tokens for answer in whole),
        completion_tokens=sum(answer.completion_tokens for answer in whole),
        cpu_s_per_turn=round(cpu_seconds / max(1, len(whole)), 4),
        memory_mb=round(memory_mb),
        kinds=", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items())),
    )


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """p50, p90 and p99 in milliseconds; zeros for nothing."""
    if not seconds:
        return (0.0, 0.0, 0.0)
    p50, p90, p99 = (round(1000 * float(cut), 2) for cut in np.percentile(seconds, (50, 90, 99)))
    return p50, p90, p99


Rows = Sequence[Mapping[str, Any]]


def median(rows: Rows, server: str, at_once: int, figure: str) -> float | None:
    """Over the rounds; None where nothing was measured."""
    found = [r[figure] for r in rows if r["server"] == server and r["at_once"] == at_once]
    return statistics.median(found) if found else None


def ratio(rows: Rows, ours: str, theirs: str | Sequence[str], at_once: int, figure: str) -> float | None:
    """The median of the rounds' own ratios, for both sides of a round met the same machine.

    Of several peers it is the one with the highest figure of the round. A round that one of them lacks does not count.
    """
    peers = (theirs,) if isinstance(theirs, str) else theirs
    return _paired(rows, ours, peers, at_once, figure, lambda a, b: a / b if b else None)


def difference(rows: Rows, ours: str, theirs: str, at_once: int, figure: str) -> float | None:
    return _paired(rows, ours, (theirs,), at_once, figure, lambda a, b: a - b)


def _paired(rows: Rows, ours: str, peers: Sequence[str], at_once: int, figure: str, how: Any) -> float | None:
    def by_round(server: str) -> dict[int, float]:
        return {r["round"]: r[figure] for r in rows if r["server"] == server and r["at_once"] == at_once}

    a, others = by_round(ours), [by_round(peer) for peer in peers]
    whole = [number for number in sorted(a) if all(number in b for b in others)]
    found = [how(a[number], max(b[number] for b in others)) for number in whole]
    found = [value for value in found if value is not None]
    return round(statistics.median(found), 3) if found else None


def as_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [asdict(one) for one in rows]
