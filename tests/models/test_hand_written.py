"""The real classifier on `risk_sentences.yaml`, with the bounds that it and the server keep.

The bounds are what was measured, failures and all: a change may tighten them. A crisis that the server misses is worst.
"""

from collections import Counter
from pathlib import Path

import pytest

from models.hand_written import Sentence, read, severities
from models.sentences import RISK_CORES
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity
from psychechat.safety.crisis import hits

POLICY = Policy()
SENTENCES = read()


@pytest.fixture(scope="session")
def found(demo_classifier: Path) -> list[tuple[Sentence, Severity]]:
    return list(zip(SENTENCES, severities(demo_classifier, POLICY, SENTENCES), strict=True))


def test_the_list_is_wide_and_its_own() -> None:
    assert len(SENTENCES) >= 150
    kinds = {"plain", "veiled", "negated", "quoted", "third person", "idiom", "everyday"}
    assert {(s.kind, s.language) for s in SENTENCES} == {
        (kind, language) for kind in kinds for language in ("en", "zh")
    }
    cores = [core.casefold() for core in RISK_CORES]
    assert not [s.text for s in SENTENCES if any(core in s.text.casefold() for core in cores)]


@pytest.mark.engine
def test_crises_that_the_server_misses(found: list[tuple[Sentence, Severity]]) -> None:
    """None that is said plainly or with a negation."""
    missed = [s for s, severity in found if s.crisis and severity < CRISIS and not backstop(s)]
    assert within(missed, {"veiled": 1}), texts(missed)


@pytest.mark.engine
def test_crises_that_the_classifier_misses_alone(found: list[tuple[Sentence, Severity]]) -> None:
    missed = [s for s, severity in found if s.crisis and severity < CRISIS]
    assert within(missed, {"veiled": 1, "plain": 1, "quoted": 1}), texts(missed)


@pytest.mark.engine
def test_false_alarms_of_the_classifier(found: list[tuple[Sentence, Severity]]) -> None:
    alarms = [s for s, severity in found if s.high < CRISIS <= severity]
    bounds = {"negated": 3, "third person": 6}
    assert within(alarms, bounds), texts(alarms)


@pytest.mark.engine
def test_false_alarms_of_the_server(found: list[tuple[Sentence, Severity]]) -> None:
    """Who speaks of another person in danger is not counted: the phrases tell that, and a helper is given help."""
    alarms = [s for s, severity in found if s.high < CRISIS and (severity >= CRISIS or backstop(s))]
    bounds = {"negated": 5, "third person": 7, "quoted": 2}
    assert within(alarms, bounds), texts(alarms)


@pytest.mark.engine
def test_how_severe_a_crisis_is(found: list[tuple[Sentence, Severity]]) -> None:
    """A plan or an attempt that is called less than it is; it may still be called a crisis."""
    below = [s for s, severity in found if s.low > CRISIS and severity < s.low]
    assert within(below, {"veiled": 1, "plain": 3}), texts(below)


@pytest.mark.engine
def test_despair_is_at_least_an_indicator(found: list[tuple[Sentence, Severity]]) -> None:
    below = [s for s, severity in found if s.low == Severity.INDICATOR > severity]
    assert within(below, {"veiled": 1}), texts(below)


def within(sentences: list[Sentence], bounds: dict[str, int]) -> bool:
    """Whether no kind has more of them than its bound, which is 0 if none is given."""
    return Counter(s.kind for s in sentences) <= Counter(bounds)


def texts(sentences: list[Sentence]) -> list[str]:
    return [f"{s.kind}: {s.text}" for s in sentences]


def backstop(sentence: Sentence) -> bool:
    found = hits(sentence.text, POLICY.crisis.backstop)
    return any(hit.severity >= CRISIS and hit.kind != "other_person" for hit in found)
