"""What a turn is to those who look after crises: a table of the ways in which a conversation goes on."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from psychechat.conversation import Event, Reading
from psychechat.engines.scripted import reading
from psychechat.risk import HoldRules, Kind, LineReading, RiskState, Severity, next_state
from psychechat.safety.conversation_risk import Before
from psychechat.safety.escalation import happened, transition

NONE, INDICATOR, IDEATION, BEHAVIOR, ATTEMPT = Severity
RULES = HoldRules()


def low(count: int) -> list[tuple[Severity, Kind | None]]:
    return [(NONE, None)] * count


def line(number: int, severity: Severity | None, kind: Kind | None = None) -> LineReading:
    place = f"place-{number}" if severity is not None and severity >= IDEATION else None
    return LineReading(f"line-{number}", severity, kind=kind, place=place, other_person=kind == "other_person")


def read(severity: Severity, kind: Kind | None = None) -> Reading:
    return replace(reading(risk=severity), kind=kind)


@pytest.mark.parametrize(
    ("lines", "events"),
    [
        ([(NONE, None), (INDICATOR, None)], [None, None]),
        ([(IDEATION, None), (IDEATION, None)], ["started", "continued"]),
        ([(IDEATION, None), (BEHAVIOR, None), (ATTEMPT, None)], ["started", "worse", "worse"]),
        ([(ATTEMPT, None), (IDEATION, None), (BEHAVIOR, None)], ["started", "continued", "continued"]),
        ([(BEHAVIOR, None), (IDEATION, None), (BEHAVIOR, None)], ["started", "continued", "continued"]),
        (
            [(IDEATION, None), (IDEATION, "thoughts"), (IDEATION, "plan_or_means"), (IDEATION, "under_way")],
            ["started", "continued", "worse", "worse"],
        ),
        ([(IDEATION, "under_way"), (IDEATION, "plan_or_means")], ["started", "continued"]),
        (
            [(IDEATION, "plan_or_means"), (IDEATION, None), (IDEATION, "plan_or_means")],
            ["started", "continued", "continued"],
        ),
        ([(IDEATION, None), *low(3)], ["started", None, None, "over"]),
        ([(BEHAVIOR, None), *low(6)], ["started", *[None] * 5, "over"]),
        # A new episode begins afresh: what the last one was of makes nothing in it less.
        (
            [(ATTEMPT, "under_way"), *low(6), (IDEATION, None), (IDEATION, "plan_or_means")],
            ["started", *[None] * 5, "over", "started", "worse"],
        ),
        ([(IDEATION, None), (INDICATOR, None), *low(2)], ["started", None, None, None]),
    ],
)
def test_an_episode_is_told_from_its_beginning_to_its_end(
    lines: Sequence[tuple[Severity, Kind | None]], events: Sequence[Event | None]
) -> None:
    state, happens = RiskState(), []
    for number, (severity, kind) in enumerate(lines):
        after = next_state(state, [line(number, severity, kind)], RULES)
        happens.append(transition(state, after, crisis=severity >= IDEATION))
        state = after
    assert happens == events


def test_risk_that_rises_is_told_when_it_begins_to() -> None:
    state, happens = RiskState(), []
    for number in range(4):
        after = next_state(state, [replace(line(number, INDICATOR), ideation=1.1)], RULES)
        happens.append(transition(state, after, crisis=False))
        state = after
    assert happens == [None, "rising", None, None]


CALM = RiskState()
HELD = next_state(CALM, [line(0, BEHAVIOR, "plan_or_means")], RULES)
"""Since the conversation's place-0."""
ENDING = replace(HELD, low_lines=5)


@pytest.mark.parametrize(
    ("severity", "kind", "before", "followed", "event", "episode"),
    [
        (IDEATION, None, CALM, True, "started", "place-9"),
        (IDEATION, None, HELD, True, "continued", "place-0"),
        (ATTEMPT, None, HELD, True, "worse", "place-0"),
        (NONE, None, ENDING, True, "over", "place-0"),
        (NONE, None, HELD, True, None, "place-0"),
        # Somebody speaks of another person: neither held nor part of an episode.
        (IDEATION, "other_person", CALM, True, "started", None),
        (ATTEMPT, "other_person", HELD, True, "started", None),
        # Observed: each crisis is told, and no end.
        (IDEATION, None, CALM, False, "started", None),
        (IDEATION, None, HELD, False, "started", None),
        (NONE, None, ENDING, False, None, None),
        # Not asked for, or not read: nothing is known of what came before.
        (IDEATION, None, None, True, "started", None),
        (NONE, None, None, True, None, None),
    ],
)
def test_what_happened_and_in_which_episode(
    severity: Severity,
    kind: Kind | None,
    before: RiskState | None,
    followed: bool,
    event: Event | None,
    episode: str | None,
) -> None:
    newest = line(9, severity, kind)
    after = next_state(before or CALM, [newest], RULES)
    told = happened(
        replace(read(severity, kind), conversation=after), Before(before) if before else None, newest, followed=followed
    )
    assert told == (event, episode)


@pytest.mark.parametrize(
    ("severity", "reread", "event", "episode"),
    [
        # Another conversation's hold, remembered under one name for both, hides no crisis.
        (IDEATION, CALM, "started", "place-9"),
        # Memory is lost. Whether its beginning was told is not known: told again, by the same name.
        (IDEATION, HELD, "started", "place-0"),
        (ATTEMPT, HELD, "worse", "place-0"),
        (NONE, ENDING, "over", "place-0"),
        (NONE, CALM, None, None),
    ],
)
def test_where_memory_does_not_tell_the_conversations_own_words_do(
    severity: Severity, reread: RiskState, event: Event | None, episode: str | None
) -> None:
    elsewhere = replace(HELD, episode="of somebody else")
    newest = line(9, severity)
    after = next_state(elsewhere, [newest], RULES)
    assert happened(replace(read(severity), conversation=after), Before(elsewhere, reread), newest, followed=True) == (
        event,
        episode,
    )
