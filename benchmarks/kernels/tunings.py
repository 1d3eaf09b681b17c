"""Which tunings are tried, and which of them is best."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from psychechat_kernels.fused_heads.tuning import DEFAULT, Tuning

COMPILED = (
    DEFAULT,
    Tuning(warps=8),
    Tuning(registers=168),
    Tuning(block=32),
    Tuning(step=4, stages=2),
    Tuning(step=2, stages=3),
    Tuning(block=32, registers=128),
    Tuning(warps=8, block=128),
    Tuning(warps=8, step=4, stages=3),
    Tuning(warps=8, registers=128, step=4, stages=2),
)
"""Each another kernel. What spills more than a few values is not among them: 128 columns need eight warps."""
WAVES = (4, 2, 8)


def tunings(*, rehearse: bool = False) -> list[Tuning]:
    """The default first, then those that differ from it in one thing, in two and so on: a sweep may end anywhere."""
    if rehearse:
        return [DEFAULT, Tuning(block=32, waves=8)]
    found = [tuning._replace(waves=waves) for waves in WAVES for tuning in COMPILED]
    return sorted(found, key=lambda tuning: sum(a != b for a, b in zip(tuning, DEFAULT, strict=True)))


def compiled_alike(tuning: Tuning) -> Tuning:
    """What it is compiled as: how it is cut makes no other kernel."""
    return tuning._replace(waves=DEFAULT.waves)


def best(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The tuning with the least time, and how many times as fast as the default it is: the geometric mean over cases.

    A row is a tuning on a case: `tuning`, `case`, `us`, `right`. None without a whole set of rows of the default; one
    that was wrong on a case, or lacks one, is not chosen.
    """
    by_tuning: dict[Tuning, dict[str, float]] = {}
    wrong = set()
    for row in rows:
        tuning = Tuning(**row["tuning"])
        by_tuning.setdefault(tuning, {})[row["case"]] = row["us"]
        if not row["right"]:
            wrong.add(tuning)
    cases = {row["case"] for row in rows}
    whole = {tuning: times for tuning, times in by_tuning.items() if tuning not in wrong and set(times) == cases}
    if DEFAULT not in whole:
        return None
    speed = {
        tuning: math.exp(sum(math.log(whole[DEFAULT][case] / times[case]) for case in cases) / len(cases))
        for tuning, times in whole.items()
    }
    chosen = max(speed, key=lambda tuning: speed[tuning])
    return {"tuning": chosen._asdict(), "times_as_fast": round(speed[chosen], 3)}
