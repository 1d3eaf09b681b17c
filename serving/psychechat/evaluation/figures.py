"""The paper's four figures of a dialogue, by its formulas: as they were published, and corrected.

EIS (emotion improvement) is how far the valence has risen, EDS (emotion disturbance) the mean of its falls, GAR (goals
achieved) a share, RLS (risk level) the mean of how ill a reply sat with the seeker, from 0 to 4. Higher is better for
EIS and GAR, lower for EDS and RLS. Source: PsychēChat (arXiv 2601.12392), and the code of its evaluation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Name = Literal["EIS", "EDS", "GAR", "RLS"]
Figures = Mapping[Name, float | None]
"""None: there was nothing to tell it by."""

BETTER: Mapping[Name, Literal[1, -1]] = {"EIS": 1, "EDS": -1, "GAR": 1, "RLS": -1}
"""Whether higher or lower is better."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What a seeker's turn tells: how they feel, how the counselor's last reply sat with them, what is achieved."""

    valence: int
    risk: int | None
    """0: understood, to 4: hurt. None: nobody could tell."""
    goals: tuple[int, ...] | None = ()
    """Numbers of the card's goals, from 1. None: goals were not rated."""
    says: bool = True
    """Whether any words are left once the sign of the end is cut off."""


def as_published(start: int, ratings: Sequence[Rating]) -> Figures:
    """`start`: the valence of the card. All turns count, the first one too, in which nobody has replied yet; goals are
    told apart by their number, whatever it is, and divided by two.
    """
    if not ratings:
        return dict.fromkeys(BETTER)
    valences = [start, *(rating.valence for rating in ratings)]
    return {
        "EIS": float(valences[-1] - start),
        "EDS": _falls(valences) / len(ratings),
        "GAR": _goals(ratings, None, 2),
        "RLS": _mean([rating.risk for rating in ratings]),
    }


def corrected(goals: int, ratings: Sequence[Rating]) -> Figures:
    """`goals`: how many the card has. What the first turn tells is where the seeker starts from, since no reply came
    before it; a last turn that only says that it is the last is no turn; goals that the card does not have are none.
    """
    turns = [rating for place, rating in enumerate(ratings) if rating.says or place == 0]
    if len(turns) < 2:
        return dict.fromkeys(BETTER)
    valences = [rating.valence for rating in turns]
    return {
        "EIS": float(valences[-1] - valences[0]),
        "EDS": _falls(valences) / (len(turns) - 1),
        "GAR": _goals(ratings, goals, goals),
        "RLS": _mean([rating.risk for rating in turns[1:]]),
    }


def _falls(valences: Sequence[int]) -> int:
    return sum(max(0, before - after) for before, after in pairwise(valences))


def _goals(ratings: Sequence[Rating], known: int | None, of: int) -> float | None:
    if any(rating.goals is None for rating in ratings) or not of:
        return None
    reached = {goal for rating in ratings for goal in rating.goals or () if known is None or 1 <= goal <= known}
    return len(reached) / of


def _mean(risks: Sequence[int | None]) -> float | None:
    told = [risk for risk in risks if risk is not None]
    return sum(told) / len(told) if told else None
