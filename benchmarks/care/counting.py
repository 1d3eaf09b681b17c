"""Counts as they are told: a share with its interval, and how far values spread."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

Z95 = 1.959964


def wilson(count: int, total: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's interval of a share, at 95 % for the usual `z`; (0, 1) of nothing.

    https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
    """
    if total == 0:
        return 0.0, 1.0
    share, spread = count / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def share(count: int, total: int) -> dict[str, Any]:
    low, high = wilson(count, total)
    return {
        "count": count,
        "of": total,
        "share": round(count / total, 4) if total else None,
        "interval_95": [round(low, 4), round(high, 4)],
    }


def share_of(found: Iterable[bool]) -> dict[str, Any]:
    seen = list(found)
    return share(sum(seen), len(seen))


def spread(values: Sequence[float], places: int = 4) -> dict[str, float]:
    """The median and the 95th percentile; nothing of fewer than two."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"count": len(values), "p50": round(cuts[49], places), "p95": round(cuts[94], places)}
