"""What the overload counts as answered, cut, refused and missed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.overload.client import Ended
from benchmarks.overload.summary import (
    LOADED,
    MOST_TIMES_IDLE,
    PHASES,
    crises_beside_idle,
    interval,
    missed,
    ratio,
    summary,
    times_idle,
)

GOOD = Ended(
    status=200,
    kind="ordinary",
    model="psychechat",
    number=1,
    taken=False,
    held=False,
    whole=True,
    told=False,
    safe_template=False,
    meant=False,
    helped=True,
    tokens=50,
    at=10.0,
    first_words=1.0,
    own_words=0.0,
    seconds=2.0,
)
CRISIS = replace(GOOD, kind="phrase", taken=True, own_words=2.0)
REFUSED = replace(GOOD, status=429, whole=False, tokens=0)
FAILED = replace(REFUSED, status=500)
TOLD = replace(REFUSED, status=200, told=True)
CUT = replace(REFUSED, status=200)


def test_of_ordinary_turns_only_a_cut_one_is_lost_and_each_turn_once() -> None:
    assert summary([GOOD, REFUSED, FAILED, TOLD, CUT, replace(CUT, status=-1)], 0.0, 100.0)["lost"] == 2
    alarming: list[Ended] = [replace(one, kind="phrase") for one in (GOOD, REFUSED, FAILED, TOLD, CUT)]
    found = summary(alarming, 0.0, 100.0)
    assert (found["lost"], found["cut"], found["crisis"]["not_answered"]) == (4, 1, 4)


def test_times_are_of_crises_that_were_known_and_of_one_mode() -> None:
    seen = [replace(CRISIS, kind="veiled", first_words=words, own_words=words + 1) for words in (1.0, 2.0)]
    unseen = replace(GOOD, kind="veiled", first_words=30.0)
    pinned = replace(CRISIS, kind="veiled", first_words=30.0, model="psychechat-llm")
    alarm = replace(GOOD, taken=True, first_words=30.0)
    fixed = replace(CRISIS, kind="veiled", own_words=0.0, safe_template=True, first_words=1.5)
    found = summary([*seen, unseen, pinned, alarm, fixed, GOOD, GOOD], 0.0, 100.0)["crisis"]
    assert found["resources_veiled_s"] == {"count": 3, "p50": 1.5, "p90": 1.9, "p99": 1.99}
    assert (found["own_words_s"]["count"], found["own_words_s"]["p50"]) == (2, 2.5)
    assert found["resources_phrase_s"] == {"count": 0}


def test_ordinary_words_are_neither_a_crisis_nor_held() -> None:
    held = replace(GOOD, held=True, first_words=9.0)
    found = summary([GOOD, GOOD, held, CRISIS], 0.0, 100.0)
    assert (found["ordinary_first_words_s"]["count"], found["ordinary_first_words_s"]["p99"]) == (2, 1.0)
    assert found["held"] == {"turns": 1, "safe_templates": 0}
    assert (found["goodput_crises"], found["goodput_held"]) == (0.25, 0.25)


def test_fixed_words_are_goodput_only_where_they_are_meant() -> None:
    fixed = replace(CRISIS, safe_template=True)
    found = summary([GOOD, fixed, replace(fixed, meant=True)], 0.0, 100.0)
    assert found["goodput_turns_a_second"] == 0.02
    assert (found["safe_templates"], found["crisis"]["safe_templates"], found["crisis"]["under_way"]) == (1, 1, 1)


def test_a_ramp_counts_for_nothing_but_what_became_of_its_turns() -> None:
    crisis = replace(CRISIS, first_words=3.0)
    ramp = [replace(crisis, at=at, first_words=9.0, tokens=1000) for at in (9.0, 31.0)]
    within = [GOOD, GOOD, replace(GOOD, at=30.0), replace(GOOD, safe_template=True), crisis]
    found = summary([*within, *ramp, replace(CUT, at=5.0)], begin=10.0, end=30.0)
    assert (found["turns_a_second"], found["goodput_turns_a_second"]) == (0.25, 0.2)
    assert (found["goodput_tokens_a_second"], found["goodput_crises"]) == (10.0, 0.25)
    assert (found["turns"], found["crisis"]["turns"], found["cut"], found["lost"]) == (8, 3, 1, 1)
    assert summary([crisis, crisis, *ramp], 10.0, 30.0)["crisis"]["resources_phrase_s"]["p99"] == 3.0


def test_goodput_is_compared_in_turns_and_in_tokens() -> None:
    half = {"goodput_turns_a_second": 3.0, "goodput_tokens_a_second": 200.0}
    whole = {"goodput_turns_a_second": 4.0, "goodput_tokens_a_second": 160.0}
    assert (ratio("turns", half, whole), ratio("tokens", half, whole)) == (0.75, 1.25)


def test_the_interval_holds_the_ratio_and_is_wider_for_fewer_turns() -> None:
    chance = np.random.default_rng(1)
    many, beside = chance.lognormal(1.0, 0.3, 600), chance.lognormal(0.3, 0.3, 600)
    found, few = interval(many.tolist(), beside.tolist()), interval(many[:20].tolist(), beside[:20].tolist())
    assert found[0] < np.exp(0.7) < found[1]
    assert few[1] - few[0] > 2 * (found[1] - found[0])
    assert interval(many.tolist(), beside.tolist()) == found
    assert interval([4.0] * 3, [2.0] * 5) == [2.0, 2.0]


def test_crises_are_held_against_those_of_their_kind() -> None:
    idle = [CRISIS, replace(CRISIS, kind="veiled", first_words=4.0)] * 2
    busy = [replace(CRISIS, first_words=2.0, own_words=6.0), replace(CRISIS, kind="veiled", first_words=4.0)] * 3
    found = crises_beside_idle({"busy": busy, "overload": [GOOD]}, idle)
    assert found["resources_phrase"]["busy"]["p50"] == 2.0
    assert found["resources_veiled"]["busy"] == {"p50": 1.0, "between": [1.0, 1.0]}
    assert found["own_words"]["busy"]["p50"] == 2.0
    assert found["own_words"]["overload"] == times_idle([1.0], [1.0, 2.0]) == {}


def fine() -> dict[str, Any]:
    """A result in which nothing is wrong."""
    return {
        **{phase: summary([CRISIS] * 60, 0.0, 100.0) for phase in PHASES},
        "goodput_ratio": {"same_asked": {"turns": 0.5}, "same_answers": {"turns": 0.9}},
        "crisis_times_idle": crises(1.5, 1.5, 2.5),
        "health_s": {phase: {"p99": 0.05} for phase in LOADED},
    }


def crises(*ratios: float) -> dict[str, Any]:
    """Such in every phase."""
    return {name: {phase: {"p50": p50} for phase in LOADED} for name, p50 in zip(MOST_TIMES_IDLE, ratios, strict=True)}


def test_a_good_run_misses_nothing() -> None:
    assert missed(fine()) == []


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("wrong", [CUT, replace(REFUSED, kind="veiled"), replace(TOLD, kind="phrase")])
def test_what_is_lost_in_any_phase_is_missed(phase: str, wrong: Ended) -> None:
    assert missed(fine() | {phase: summary([*[CRISIS] * 60, wrong], 0.0, 100.0)}) == [
        f"1 turns cut or crisis turns not answered: {phase}"
    ]


@pytest.mark.parametrize(
    ("worse", "times"),
    [
        ({"goodput_ratio": {"same_asked": {"turns": 1.0}, "same_answers": {"turns": 0.89}}}, 1),
        ({"crisis_times_idle": crises(1.51, 1.5, 2.5)}, 3),
        ({"crisis_times_idle": crises(1.5, 1.51, 2.5)}, 3),
        ({"crisis_times_idle": crises(1.5, 1.5, 2.51)}, 3),
        ({"crisis_times_idle": crises(1.5, 1.5, 2.5) | {"own_words": {phase: {} for phase in LOADED}}}, 3),
        ({"health_s": {"busy": {"p99": 0.05}, "capacity": {"p99": 0.05}, "overload": {"p99": 0.06}}}, 1),
        ({"idle": summary([CRISIS] * 14, 0.0, 100.0)}, 1),
        ({"busy": summary([], 0.0, 100.0)}, 1),
    ],
)
def test_each_bound_is_kept(worse: dict[str, Any], times: int) -> None:
    assert len(missed(fine() | worse)) == times
