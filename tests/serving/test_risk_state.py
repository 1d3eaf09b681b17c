"""The conversation's risk, line by line: when a hold begins, what counts towards its end, what changes nothing."""

from dataclasses import replace

import pytest

from psychechat.risk import HoldRules, LineReading, RiskState, Severity, next_state, worse

RULES = HoldRules()
NONE, INDICATOR, IDEATION, BEHAVIOR, ATTEMPT = Severity


def line(name: str, severity: Severity | None = NONE, **more: object) -> LineReading:
    return replace(LineReading(name, severity), **more)  # type: ignore[arg-type]


def after(*lines: LineReading, state: RiskState | None = None) -> RiskState:
    return next_state(state or RiskState(), lines, RULES)


def low(count: int, start: int = 0) -> list[LineReading]:
    return [line(f"low-{start + number}") for number in range(count)]


CRISIS = line("crisis", IDEATION)


@pytest.mark.parametrize(
    ("lines", "held", "peak"),
    [
        ([line("a")], False, NONE),
        ([line("a", INDICATOR)], False, INDICATOR),
        ([CRISIS], True, IDEATION),
        ([CRISIS, *low(2)], True, IDEATION),
        ([CRISIS, *low(3)], False, NONE),
        ([line("c", BEHAVIOR), *low(5)], True, BEHAVIOR),
        ([line("c", BEHAVIOR), *low(6)], False, NONE),
        ([line("c", ATTEMPT), *low(5)], True, ATTEMPT),
        ([CRISIS, *low(2), line("again", IDEATION), *low(2, 2)], True, IDEATION),
        ([line("c", ATTEMPT), *low(2), CRISIS, *low(5, 2)], True, ATTEMPT),
        ([CRISIS, line("x", INDICATOR), line("y", INDICATOR), *low(2)], True, IDEATION),
        ([CRISIS, *[line(f"i{n}", INDICATOR) for n in range(19)]], True, IDEATION),
        ([CRISIS, *[line(f"i{n}", INDICATOR) for n in range(20)]], False, INDICATOR),
    ],
)
def test_a_hold_begins_and_ends(lines: list[LineReading], held: bool, peak: Severity) -> None:
    state = after(*lines)
    assert (state.held, state.peak) == (held, peak)


@pytest.mark.parametrize(
    "nothing",
    [
        line("low-0"),
        line("unknown", None),
        line("short", weighs=False),
        line("phrase", alarm=True),
        line("helper", IDEATION, other_person=True),
        line("helper", other_person=True),
    ],
    ids=["sent again", "unknown", "short", "an overruled phrase", "of another person", "of another, low"],
)
def test_what_does_not_count_towards_the_end(nothing: LineReading) -> None:
    state = after(CRISIS, *low(2))
    assert after(nothing, state=state).held
    assert not after(nothing, line("the third"), state=state).held


@pytest.mark.parametrize("unread", [line("u", None), line("h", ATTEMPT, other_person=True)])
def test_what_is_unknown_or_of_another_person_changes_nothing(unread: LineReading) -> None:
    for state in (RiskState(), after(CRISIS), after(line("a", INDICATOR))):
        assert after(unread, state=state) == state


@pytest.mark.parametrize(
    ("before", "doubt"),
    [
        ([], 1),
        (low(1), 4),
        (low(2), 12),
        (low(9), 12),
        ([*low(1), *low(1)], 4),
        ([line("short", weighs=False)], 1),
        ([line("no", is_long=False)], 1),
        ([*low(2), line("likely", INDICATOR, doubted=True)], 4),
        ([*low(2), line("a", INDICATOR, doubted=True), line("b", INDICATOR, doubted=True)], 1),
        ([*low(2), line("helper", IDEATION, other_person=True)], 1),
        ([line("phrase", alarm=True), line("hint", INDICATOR), line("unknown", None)], 1),
        ([*low(2), line("hint", INDICATOR)], 12),
        ([*low(2), CRISIS], 1),
        ([*low(2), CRISIS, *low(9, 2)], 1),
    ],
    ids=[
        *("first", "one", "two", "many", "sent again", "short", "short answer", "doubted", "doubted again"),
        *("of another", "not calm", "hint", "held", "was held"),
    ],
)
def test_calm_lines_make_the_classifier_doubted_until_there_was_a_crisis(
    before: list[LineReading], doubt: float
) -> None:
    assert RULES.doubt(after(*before)) == doubt


def test_of_two_states_the_less_calm_is_believed_and_what_either_knows_of_a_crisis() -> None:
    hint = after(*low(2), line("hint", INDICATOR))
    assert worse(hint, after(*low(1))).calm == 1
    was_held = after(CRISIS, *low(3))
    assert worse(was_held, hint).since_turns == 3
    assert RULES.doubt(worse(was_held, hint)) == 1


def test_an_episode_is_named_for_its_place_and_knows_its_gravest_kind() -> None:
    first = after(replace(CRISIS, place="here", kind="thoughts"))
    assert (first.episode, first.kind) == ("here", "thoughts")
    later = after(
        line("b", IDEATION, place="there", kind="under_way"), line("c", IDEATION, kind="thoughts"), state=first
    )
    assert (later.episode, later.kind) == ("here", "under_way")
    over = after(*low(3), state=later)
    assert (over.held, over.episode, over.kind) == (False, None, None)


def test_of_two_holds_the_one_that_has_come_further_stays() -> None:
    planned = after(line("a", IDEATION, kind="plan_or_means"))
    assert worse(planned, after(line("b", IDEATION, kind="thoughts"))) == planned
    assert worse(after(line("b", IDEATION)), planned) == planned


def test_a_hold_has_one_episode_and_a_new_one_another() -> None:
    first = after(CRISIS, line("worse", ATTEMPT))
    assert first.episode == "crisis"
    second = after(*low(6), line("later", IDEATION), state=first)
    assert (second.episode, second.peak) == ("later", IDEATION)


def test_turns_since_the_last_crisis() -> None:
    assert after(line("a")).since_turns is None
    assert after(CRISIS).since_turns == 0
    assert after(CRISIS, *low(2)).since_turns == 2
    assert after(CRISIS, *low(5)).since_turns == 5


def test_lines_one_by_one_and_read_again_come_to_the_same() -> None:
    lines = [line("a"), CRISIS, *low(2), line("b", INDICATOR), line("c", BEHAVIOR), *low(6, 2), line("d")]
    state = RiskState()
    for one in lines:
        state = after(one, state=state)
    assert state == after(*lines)


def test_many_lines_beyond_what_is_usual_are_rising_and_everyday_ones_are_not() -> None:
    everyday = after(*(line(f"{n}", ideation=0.18) for n in range(50)))
    assert (everyday.trend, everyday.is_rising) == ("steady", False)
    slow = after(*(line(f"{n}", INDICATOR, ideation=0.65) for n in range(4)))
    assert slow.is_rising
    assert after(*(line(f"calm{n}", ideation=0.05) for n in range(3)), state=slow).trend == "falling"


def test_a_falling_valence_adds_to_it() -> None:
    steady = after(*(line(f"{n}", ideation=0.4, valence=0) for n in range(5)))
    falling = after(*(line(f"{n}", ideation=0.4, valence=-2 * n) for n in range(5)))
    assert falling.rising > steady.rising


def test_the_worse_of_two_is_the_more_careful() -> None:
    calm, held, longer = after(line("a")), after(CRISIS), after(CRISIS, *low(2))
    assert worse(calm, held) == worse(held, calm) == held
    assert worse(held, longer) == worse(longer, held) == held
    assert worse(after(line("x", ATTEMPT)), held).peak is ATTEMPT


def test_what_is_kept_is_bounded() -> None:
    assert len(after(*low(500)).counted) == 64
