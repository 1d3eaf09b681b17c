"""What a phase's turns come to, how phases compare, and what of it is not as it should be."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.overload.client import Ended
from benchmarks.overload.conversations import MODELS, Kind
from benchmarks.overload.load import FEWEST_CRISIS_TURNS

GOODPUT, HEALTH_SECONDS = 0.9, 0.05
MOST_TIMES_IDLE = {"resources_phrase": 1.5, "resources_veiled": 1.5, "own_words": 2.5}
"""How much longer than at an idle server a crisis may wait, at the median: for its first words, with the resources in
them, by the kind of crisis, and for the model's own."""
PHASES = ("idle", "busy", "busy_ordinary", "closed", "capacity", "overload", "closed_same_answers")
LOADED = ("busy", "capacity", "overload")
"""Phases in which crises are held against those of an idle server."""

Times = Callable[[Sequence[Ended]], list[float]]


def resources(ended: Sequence[Ended], kind: Kind) -> list[float]:
    """Seconds to the first words of each crisis of this kind: a phrase is known at once, another has to be read."""
    return [one.first_words for one in ended if _is_timed(one) and one.kind == kind]


def own_words(ended: Sequence[Ended]) -> list[float]:
    """Seconds to the model's own words of each crisis that has some."""
    return [one.own_words for one in ended if _is_timed(one) and one.own_words]


def _is_timed(one: Ended) -> bool:
    """Sent as a crisis and taken for one, by `psychechat`: a pinned mode has other times, and so have false alarms."""
    return one.taken and one.kind != "ordinary" and one.model == MODELS[0]


def summary(ended: Sequence[Ended], begin: float, end: float) -> dict[str, Any]:
    """Rates and times are of what ended between the two moments; what became of turns is told of all."""
    seconds, within = end - begin, [one for one in ended if begin <= one.at <= end]
    good = [one for one in within if one.good]
    crises, held = [one for one in ended if one.crisis], [one for one in ended if one.held]
    ordinary = [one.first_words for one in within if one.whole and not one.crisis and not one.held]
    veiled = [one for one in ended if one.kind == "veiled"]
    return {
        "turns": len(ended),
        "seconds": round(seconds, 1),
        "sent_crises": round(sum(one.kind != "ordinary" for one in ended) / max(1, len(ended)), 3),
        "by_turn": dict(sorted(Counter(str(one.number) for one in ended).items())),
        "turns_a_second": round(len(within) / seconds, 3),
        "goodput_crises": round(sum(one.crisis for one in good) / max(1, len(good)), 3),
        "goodput_held": round(sum(one.held for one in good) / max(1, len(good)), 3),
        "goodput_tokens_a_second": round(sum(one.tokens for one in good) / seconds, 1),
        "goodput_turns_a_second": round(len(good) / seconds, 3),
        "statuses": dict(sorted(Counter(str(one.status) for one in ended).items())),
        "failed": sum(one.told for one in ended),
        "cut": sum(one.cut for one in ended),
        "lost": sum(one.lost for one in ended),
        "held": {"turns": len(held), "safe_templates": sum(one.safe_template for one in held)},
        "veiled": {
            "turns": len(veiled),
            "taken_for_crises": sum(one.taken for one in veiled),
            "missed": sum(one.whole and not one.taken for one in veiled),
            "refused": sum(one.status == 429 for one in veiled),
        },
        "safe_templates": sum(one.safe_template and not one.meant for one in ended),
        "ordinary_first_words_s": percentiles(ordinary),
        "crisis": {
            "turns": len(crises),
            "false_alarms": sum(one.taken and one.kind == "ordinary" for one in ended),
            "not_answered": sum(not one.whole for one in crises),
            "safe_templates": sum(one.safe_template and not one.meant for one in crises),
            "under_way": sum(one.meant for one in crises),
            "first_words_without_resources": sum(one.taken and not one.helped for one in crises),
            "resources_phrase_s": percentiles(resources(within, "phrase")),
            "resources_veiled_s": percentiles(resources(within, "veiled")),
            "own_words_s": percentiles(own_words(within)),
        },
    }


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {"count": len(seconds)}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"count": len(seconds)} | {f"p{p}": round(cuts[p - 1], 4) for p in (50, 90, 99)}


def ratio(of: str, found: Mapping[str, Any], beside: Mapping[str, Any]) -> float:
    """Of two phases' goodput, in `turns` or `tokens`."""
    rate, other = (float(phase[f"goodput_{of}_a_second"]) for phase in (found, beside))
    return round(rate / other, 3) if other else 0.0


def times_idle(found: Sequence[float], idle: Sequence[float]) -> dict[str, Any]:
    """The ratio of their medians, and where 95 of 100 such ratios lie if both are drawn again and again from what was
    seen; none of them where too little was.
    """
    if min(len(found), len(idle)) < 2:
        return {}
    return {"p50": round(statistics.median(found) / statistics.median(idle), 2), "between": interval(found, idle)}


def interval(seconds: Sequence[float], beside: Sequence[float]) -> list[float]:
    draws = np.random.default_rng(0)
    medians = [np.median(draws.choice(seen, (10_000, len(seen))), axis=1) for seen in (seconds, beside)]
    return [round(float(bound), 2) for bound in np.percentile(medians[0] / medians[1], (2.5, 97.5))]


def crises_beside_idle(phases: Mapping[str, Sequence[Ended]], idle: Sequence[Ended]) -> dict[str, Any]:
    """By what a crisis waits for, and by phase."""
    waits: Mapping[str, Times] = {
        "resources_phrase": lambda ended: resources(ended, "phrase"),
        "resources_veiled": lambda ended: resources(ended, "veiled"),
        "own_words": own_words,
    }
    return {
        name: {phase: times_idle(times(ended), times(idle)) for phase, ended in phases.items()}
        for name, times in waits.items()
    }


def missed(result: Mapping[str, Any]) -> list[str]:
    """Of a result that has all phases."""
    lost = {phase: result[phase]["lost"] for phase in PHASES}
    wrong = [f"{count} turns cut or crisis turns not answered: {phase}" for phase, count in lost.items() if count]
    for phase in ("idle", "busy"):
        crisis = result[phase]["crisis"]
        if (count := crisis["turns"] - crisis["not_answered"]) < FEWEST_CRISIS_TURNS:
            wrong.append(f"only {count} crisis turns were answered: {phase}")
    if (goodput := result["goodput_ratio"]["same_answers"]["turns"]) < GOODPUT:
        wrong.append(f"goodput at twice the capacity was {goodput} of the capacity for what was answered, in turns")
    for name, most in MOST_TIMES_IDLE.items():
        for phase in LOADED:
            found = result["crisis_times_idle"][name][phase]
            if not found:
                wrong.append(f"too few crises to tell {name}: {phase}")
            elif found["p50"] > most:
                wrong.append(f"a crisis waited {found['p50']} times as long as at an idle server, {name}: {phase}")
    for phase in LOADED:
        if (p99 := result["health_s"][phase]["p99"]) > HEALTH_SECONDS:
            wrong.append(f"/health took {p99} s at p99: {phase}")
    return wrong
