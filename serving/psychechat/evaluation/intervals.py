"""Means over cards with their intervals, by the bootstrap: cards are drawn anew, since turns of one are alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over cards, and the percentile interval of it."""

    mean: float
    low: float
    high: float
    cards: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    @property
    def told(self) -> dict[str, float | int]:
        return {
            "mean": round(self.mean, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "cards": self.cards,
        }


ByCard = Mapping[str, Sequence[float]]
"""Of each card its values, one a seed."""


def estimate(values: ByCard) -> Estimate | None:
    """None of nothing. Of a single card the interval is the mean alone, and says nothing."""
    return _bootstrap([sum(of_card) / len(of_card) for of_card in values.values() if of_card])


def difference(ours: ByCard, theirs: ByCard) -> Estimate | None:
    """Ours less theirs, card by card, over the cards that both have."""
    both = [card for card in ours if ours[card] and theirs.get(card)]
    return _bootstrap([_mean(ours[card]) - _mean(theirs[card]) for card in both])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _bootstrap(means: Sequence[float]) -> Estimate | None:
    if not means:
        return None
    of_cards = np.asarray(means, dtype=float)
    drawn = np.random.default_rng(0).integers(len(means), size=(DRAWS, len(means)))
    low, high = np.quantile(of_cards[drawn].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(of_cards.mean()), float(low), float(high), len(means))
