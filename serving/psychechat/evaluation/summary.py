"""What a run's rows add up to: figures with their intervals, what was dropped, what the server found, and limits."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from psychechat.evaluation.dialogue import Row
from psychechat.evaluation.figures import BETTER, Figures, Name, Rating, as_published, corrected
from psychechat.evaluation.intervals import Estimate, difference, estimate

Kind = Literal["as_published", "corrected"]
KINDS: tuple[Kind, ...] = ("as_published", "corrected")
CRISES = ("ideation", "behavior", "attempt")


def figures(row: Row) -> dict[Kind, Figures]:
    ratings = [
        Rating(turn["valence"], turn["risk"], None if turn["goals"] is None else tuple(turn["goals"]), turn["says"])
        for turn in row["turns"]
    ]
    return {"as_published": as_published(row["start"], ratings), "corrected": corrected(row["goals"], ratings)}


def by_card(rows: Iterable[Row], kind: Kind, name: Name) -> dict[str, list[float]]:
    """Of each card, the figure of each seed's dialogue. Dropped ones tell nothing."""
    values_by_card: dict[str, list[float]] = {}
    for row in rows:
        if row["end"] != "dropped" and (value := figures(row)[kind][name]) is not None:
            values_by_card.setdefault(row["card"], []).append(value)
    return values_by_card


def estimates(rows: Sequence[Row]) -> dict[Kind, dict[Name, Estimate | None]]:
    return {kind: {name: estimate(by_card(rows, kind, name)) for name in BETTER} for kind in KINDS}


def differences(ours: Sequence[Row], theirs: Sequence[Row]) -> dict[Kind, dict[Name, Estimate | None]]:
    """Ours less the baseline's, card by card."""
    return {
        kind: {name: difference(by_card(ours, kind, name), by_card(theirs, kind, name)) for name in BETTER}
        for kind in KINDS
    }


def counts(rows: Sequence[Row], planned: int) -> dict[str, Any]:
    """Of dialogues and of replies. What a counselor without a `psychechat` object does not tell is None."""
    replies = [turn["reply"] for row in rows for turn in row["turns"] if turn["reply"]]
    known = [reply for reply in replies if reply["mode"] is not None]
    dropped = [row for row in rows if row["end"] == "dropped"]
    return {
        "planned": planned,
        "dialogues": len(rows) - len(dropped),
        "dropped": len(dropped),
        "drop_rate": round(len(dropped) / len(rows), 4) if rows else None,
        "dropped_for": dict(Counter(row["dropped"] for row in dropped).most_common()),
        "ended_by_seeker": sum(row["end"] == "ended" for row in rows),
        "seeker_turns": sum(len(row["turns"]) for row in rows),
        "seeker_asked_again": sum(turn["tries"] - 1 for row in rows for turn in row["turns"]),
        "replies": len(replies),
        "fallbacks": sum(bool(reply["fallback"]) for reply in known) if known else None,
        "crises": sum(reply["level"] in CRISES or reply["reason"] == "crisis" for reply in known) if known else None,
        "held": sum(bool(reply["held"]) for reply in known) if known else None,
        "refused_by_review": sum(reply["passed"] is False for reply in known) if known else None,
        "hurting": sum(reply["hurting"] for reply in known) if known else None,
        "cut": sum(reply["finish"] == "length" for reply in replies),
        "ways": dict(Counter(f"{reply['mode']}, {reply['reason']}" for reply in known).most_common()),
        "seconds": _spread([reply["seconds"] for reply in replies]),
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {name: round(float(np.quantile(values, at)), 3) for name, at in (("p50", 0.5), ("p95", 0.95))}


def told(found: Mapping[Kind, Mapping[Name, Estimate | None]]) -> dict[str, Any]:
    return {kind: {name: one.told if one else None for name, one in of.items()} for kind, of in found.items()}


# ------------------------------------------------------------------------------------------------ limits


Share = Annotated[float, Field(ge=0, le=1)]


class Limits(BaseModel):
    """What a run may not be: the file of `--gate`. A figure that nobody could tell breaks no limit of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    figures: Kind = "corrected"
    worse_by: Mapping[Name, Annotated[float, Field(ge=0)]] = {}
    """Beside the baseline, card by card: broken where the whole interval is worse by more than this."""
    at_least: Mapping[Name, float] = {}
    at_most: Mapping[Name, float] = {}
    """Of the mean: broken where the whole interval lies beyond."""
    drop_rate: Share | None = None
    fallback_rate: Share | None = None
    cards: Annotated[int, Field(ge=1)] = 1
    """So many cards at least with a whole dialogue, and so many behind each figure that has a limit; of `worse_by` so
    many that the baseline has too. So nothing passes that was hardly asked.
    """


class BadLimits(ValueError):
    """A file of limits that is none; the message names the field."""


def limits(file: Path) -> Limits:
    try:
        return Limits.model_validate(yaml.safe_load(file.read_text("utf-8")) or {})
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise BadLimits(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise BadLimits(f"{file} is not YAML") from None


def broken(
    rules: Limits,
    ours: Mapping[Name, Estimate | None],
    beside: Mapping[Name, Estimate | None] | None,
    counted: Mapping[str, Any],
    cards: int,
) -> list[str]:
    """Which limits are, in words. `ours` and `beside` are of the kind that the rules name."""
    return [
        *_few(rules, ours, beside or {}),
        *_compared(rules.at_least, ours, lambda one, limit: one.high < limit, "is below"),
        *_compared(rules.at_most, ours, lambda one, limit: one.low > limit, "is above"),
        *_worse(rules.worse_by, beside or {}),
        *_rates(rules, counted),
        *([f"{cards} cards were held to the end, and {rules.cards} are asked for"] if cards < rules.cards else []),
    ]


def _compared(
    asked: Mapping[Name, float],
    results: Mapping[Name, Estimate | None],
    is_beyond: Callable[[Estimate, float], bool],
    word: str,
) -> Iterator[str]:
    for name, limit in asked.items():
        one = results[name]
        if one is not None and is_beyond(one, limit):
            yield f"{name} {one.mean:+.2f} [{one.low:+.2f}, {one.high:+.2f}] {word} {limit:g}"


def _few(rules: Limits, ours: Mapping[Name, Estimate | None], beside: Mapping[Name, Estimate | None]) -> Iterator[str]:
    """Figures that hang on too few cards. What none of our cards tell is not rated, unless nothing is."""
    for name in dict.fromkeys((*rules.at_least, *rules.at_most)):
        if (one := ours[name]) is not None and one.cards < rules.cards:
            yield f"{name} is told by {one.cards} cards, and {rules.cards} are asked for"
    for name in rules.worse_by:
        both = one.cards if (one := beside.get(name)) else 0
        if ours[name] is not None and both < rules.cards:
            yield f"{name} is compared over {both} cards, and {rules.cards} are asked for"
    if rules.worse_by and all(ours[name] is None for name in rules.worse_by):
        yield f"nothing was compared with the baseline: {', '.join(rules.worse_by)} could not be told"


def _worse(allowed: Mapping[Name, float], beside: Mapping[Name, Estimate | None]) -> Iterator[str]:
    for name, margin in allowed.items():
        one, better = beside.get(name), BETTER[name]
        if one is not None and (one.high < -margin if better > 0 else one.low > margin):
            yield f"{name} is worse than the baseline's by {-better * one.mean:.2f} [{one.low:+.2f}, {one.high:+.2f}]"


def _rates(rules: Limits, counted: Mapping[str, Any]) -> Iterator[str]:
    if rules.drop_rate is not None and (counted["drop_rate"] or 0) > rules.drop_rate:
        yield f"{counted['dropped']} dialogues were dropped, a share of {counted['drop_rate']}"
    fallbacks, replies = counted["fallbacks"], counted["replies"]
    if rules.fallback_rate is not None and replies and (fallbacks or 0) / replies > rules.fallback_rate:
        yield f"{fallbacks} of {replies} replies were fixed words"
