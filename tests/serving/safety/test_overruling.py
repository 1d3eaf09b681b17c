"""Which phrases the classifier may overrule, and when it does."""

from dataclasses import replace

import pytest

from psychechat.conversation import Assessment, Reading
from psychechat.engines.scripted import assessment
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity
from psychechat.safety import crisis, overruling

POLICY = Policy()


def risk(share: float) -> Assessment:
    return replace(assessment(), risk={Severity.NONE: 1 - share, Severity.IDEATION: share})


def read(text: str) -> Reading:
    reading = crisis.read_text(text, POLICY)
    assert reading.alarm
    return reading


def judged(reading: Reading, *shares: float, below: float = 0.05, held: bool = False) -> Reading:
    known = {passage: risk(share) for passage, share in zip(reading.doubted, shares, strict=True)}
    return overruling.overruled(reading, known, below, held=held)


def test_asked_are_the_sentence_and_it_with_its_neighbours() -> None:
    reading = read("It rained. This queue makes me want to kill myself. I baked bread. We slept late.")
    assert reading.doubted == (
        "This queue makes me want to kill myself.",
        "It rained. This queue makes me want to kill myself. I baked bread.",
    )
    assert read("排队排得我不想活了。").doubted == ("排队排得我不想活了。",)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("I took an overdose an hour ago.", id="under way"),
        pytest.param("I want to kill myself tonight at nine.", id="a plan with a time"),
        pytest.param("I want to kill myself. I have the rope right here in my hands.", id="means in hand"),
        pytest.param("This queue makes me want to k1ll myself", id="leetspeak"),
        pytest.param("this queue makes me want to kіll myself", id="look-alikes"),
        pytest.param("This queue makes me want to k i l l myself", id="letters set apart"),
        pytest.param("Este trabajo, quiero morir, pero en fin.", id="another language"),
        pytest.param("I want to die. " * (overruling.MOST + 1), id="many"),
    ],
)
def test_never_asked(text: str) -> None:
    assert read(text).doubted == ()


def test_a_phrase_that_nothing_overrules_is_found_behind_one_that_may_be() -> None:
    """Of a long text the parts are read on until it is settled, and places are the text's own."""
    filler = "We talked about the weather and the garden again. " * 100
    text = f"This queue makes me want to die. {filler}I took an overdose an hour ago."
    assert read(text).doubted == ()
    assert read(text).kind == "under_way"
    late = f"{filler}This queue makes me want to die. {filler}"
    assert read(late).doubted[0] == "This queue makes me want to die."


def test_overruled_only_if_both_are_very_low() -> None:
    reading = read("It rained. This queue makes me want to die. I baked bread.")
    overruled = judged(reading, 0.049, 0.049)
    assert (overruled.alarm, overruled.overruled) == (False, True)
    assert overruled.phrase_severity is Severity.INDICATOR
    assert overruled.kind is None
    for shares in ((0.05, 0.0), (0.0, 0.05)):
        assert judged(reading, *shares) is reading


def test_what_is_overruled_stays_an_indicator() -> None:
    reading = replace(judged(read("This queue makes me want to die."), 0.01), assessment=risk(0.01))
    assert reading.severity is Severity.INDICATOR
    assert not reading.in_crisis
    assert reading.scores[Severity.INDICATOR] == POLICY.risk.indicator
    assert reading.scores[CRISIS] == pytest.approx(0.01)
    assert replace(reading, assessment=risk(0.9)).in_crisis, "the whole message may be one all the same"


def test_a_sentence_in_a_passage_counts_too() -> None:
    reading = read("This queue makes me want to die.")
    told = replace(risk(0.01), other_risks=({Severity.NONE: 0.9, Severity.ATTEMPT: 0.1},))
    assert overruling.overruled(reading, {reading.doubted[0]: told}, 0.05, held=False) is reading


def test_never_overruled_in_a_hold_or_unread_or_where_it_is_off() -> None:
    reading = read("This queue makes me want to die.")
    assert judged(reading, 0.0, held=True) is reading
    assert judged(reading, 0.0, below=0.0) is reading
    assert overruling.overruled(reading, {}, 0.05, held=False) is reading
    calm = crisis.read_text("I baked bread.", POLICY)
    assert overruling.overruled(calm, {}, 0.05, held=False) is calm


def test_a_phrases_score_is_the_threshold_at_least() -> None:
    reading = replace(read("I want to die"), assessment=risk(0.1))
    assert reading.scores[CRISIS] == POLICY.risk.ideation
    assert replace(reading, assessment=risk(0.7)).scores[CRISIS] == pytest.approx(0.7)
