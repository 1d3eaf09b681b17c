"""Which replies fit a turn, by what was read of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest

from psychechat.conversation import (
    Act,
    Conversation,
    Draft,
    EmotionMemory,
    Reading,
    Review,
    Round,
    Speaker,
    StageInputs,
    Utterance,
)
from psychechat.emotion import Label
from psychechat.engines.scripted import reading
from psychechat.help.subjects import Subject
from psychechat.ngrams import Told
from psychechat.reply_bank import Bank, choices
from psychechat.reply_bank.fitting import FEW
from psychechat.risk import RiskState, Severity

SAD, ANGRY, AFRAID, HAPPY, CALM = map(Label.parse, ("sad", "angry", "afraid", "happy", "calm"))
EXPECTANT = Label.parse("expectant")
AFTER = RiskState(since_turns=4)
HELD = RiskState(peak=Severity.IDEATION, held=True, since_turns=1)


def key(name: str) -> list[str]:
    return [f"{name} {number}." for number in range(2)]


BANK = Bank.model_validate(
    {
        "language": "en",
        "crisis": {"thoughts": key("thoughts"), "unknown": key("crisis")},
        "dark": key("dark"),
        "heavy": key("heavy"),
        "held": key("held"),
        "answers": {
            "affirmed": {"words": ["yes", "I do"], "replies": key("affirmed")},
            "denied": {"words": ["no"], "replies": key("denied")},
            "unsure": {"words": ["i don't know"], "replies": key("unsure")},
            "other": key("answer"),
        },
        "acts": {"greeting": key("greeting"), "anger": key("anger at you"), "advice": key("advice")}
        | {"thanks": key("thanks"), "small_talk": key("small talk")},
        "topics": {
            "boss": {"subject": "work", "words": ["boss"], "any": key("boss"), "glad": key("boss glad")},
            "dog": {"subject": "death", "words": ["dog died"], "any": key("dog")},
            "rain": {"subject": "talking", "chat": True, "words": ["rain"], "any": key("rain")},
        },
        "subjects": {"work": {"any": key("work"), "hard": key("work hard"), "angry": key("work angry")}},
        "feelings": {"sadness": key("sadness"), "joy": key("joy"), "anticipation": key("anticipation")},
        "question": key("question"),
        "low": key("low"),
        "open": key("open"),
    }
)


def inputs(read: Reading | None, *lines: str, **more: Any) -> StageInputs:
    lines = lines or ("Well.",)
    speakers: tuple[Speaker, ...] = ("seeker", "counselor") * len(lines)
    said = tuple(Utterance(speaker, text) for speaker, text in zip(speakers, lines, strict=False))
    return StageInputs(Conversation(said), read, **more)


def answered(read: Reading | None, *lines: str, bank: Bank = BANK) -> str:
    """The place of the bank whose replies fit."""
    [place] = {text.rpartition(" ")[0] for text in choices(bank, inputs(read, *lines))}
    return place


def about(subject: Subject | None = None, *labels: Label, **more: Any) -> Reading:
    return reading(labels, subject=subject, **more)


def leaning(read: Reading, gladness: float) -> Reading:
    return replace(read, words=Told(gladness=gladness))


def acting(subject: Subject | None = None, /, **acts: float) -> Reading:
    read = reading(subject=subject)
    assert read.assessment is not None
    told = {act: acts.get(act, 0.0) for act in get_args(Act)}
    return replace(read, assessment=replace(read.assessment, acts=told))


def hinted(indicator: float, ideation: float = 0.0, **acts: float) -> Reading:
    """P(indicator or worse), of it P(ideation)."""
    read = acting(**acts)
    assert read.assessment is not None
    risk = dict.fromkeys(Severity, 0.0) | {
        Severity.NONE: 1 - indicator,
        Severity.INDICATOR: indicator - ideation,
        Severity.IDEATION: ideation,
    }
    return replace(read, assessment=replace(read.assessment, risk=risk))


@pytest.mark.parametrize(
    ("read", "lines", "place"),
    [
        pytest.param(None, (), "open", id="nothing was read"),
        pytest.param(replace(reading(), assessment=None), (), "heavy", id="the classifier could not tell"),
        pytest.param(replace(reading(), assessment=None, conversation=HELD), (), "held", id="and one is held"),
        pytest.param(hinted(0.7, goodbye=0.9), (), "open", id="a hint of risk in a farewell"),
        pytest.param(hinted(0.95, goodbye=0.9), (), "heavy", id="and more than a hint"),
        pytest.param(replace(hinted(0.7, ideation=0.6), doubt=4.0), (), "heavy", id="a crisis that is doubted"),
        pytest.param(replace(reading(), phrase_severity=Severity.INDICATOR), (), "heavy", id="a phrase of a loss"),
        pytest.param(replace(reading(), is_about_risk=True), ("A", "Do you?", "dunno"), "heavy", id="left open"),
        pytest.param(replace(acting(goodbye=0.9), conversation=AFTER), ("bye",), "open", id="a farewell after a hold"),
        pytest.param(reading((), Severity.IDEATION), (), "crisis", id="a crisis of a kind that nobody knows"),
        pytest.param(replace(reading((), Severity.IDEATION), kind="thoughts"), (), "thoughts", id="thoughts"),
        pytest.param(
            replace(reading((), Severity.IDEATION), kind="other_person"), (), "crisis", id="a kind without any"
        ),
        pytest.param(
            replace(reading((), Severity.BEHAVIOR), conversation=RiskState(kind="thoughts")), (), "crisis", id="graver"
        ),
        pytest.param(
            replace(reading((), Severity.IDEATION), conversation=RiskState(kind="thoughts")),
            (),
            "thoughts",
            id="as before",
        ),
        pytest.param(reading((HAPPY,), Severity.INDICATOR), (), "heavy", id="the subject is touched, gladly or not"),
        pytest.param(about("work", ANGRY), (), "work angry", id="a subject and a tone"),
        pytest.param(about("work", AFRAID), (), "work hard", id="a tone without replies is a hard one"),
        pytest.param(about("work"), (), "work", id="a subject without a tone"),
        pytest.param(about("work", HAPPY), (), "joy", id="no glad replies of the subject"),
        pytest.param(about("work", SAD), ("my boss!",), "boss", id="a topic that is heard"),
        pytest.param(about("work", HAPPY), ("my boss!",), "boss glad", id="and gladly"),
        pytest.param(about("love", SAD), ("my boss!",), "sadness", id="a topic by the way"),
        pytest.param(leaning(about("work"), 0.3), ("my boss!",), "work", id="rather glad: right for either"),
        pytest.param(leaning(about("work"), -0.3), ("my boss!",), "boss", id="rather not"),
        pytest.param(leaning(about("death"), 0.3), ("my dog died",), "dog", id="but a death is one"),
        pytest.param(leaning(about(None), 0.3), ("rain again",), "rain", id="and chat is chat"),
        pytest.param(
            acting("talking", goodbye=0.7), ("A", "B", "that was it then"), "open", id="a goodbye must be sure"
        ),
        pytest.param(acting("work", small_talk=0.9), ("my boss!",), "boss", id="small talk of a topic"),
        pytest.param(acting(advice=0.7), ("nobody talks to me",), "open", id="no question, hardly for advice"),
        pytest.param(acting(advice=0.7), ("我该怎么开口",), "advice", id="a question for advice without a mark"),
        pytest.param(acting("talking", thanks=0.7), ("A", "B", "so kind of you"), "thanks", id="thanks for this talk"),
        pytest.param(about(None), ("rain again",), "rain", id="chat"),
        pytest.param(about(None, SAD), ("rain again",), "sadness", id="a sad one names the rain by the way"),
        pytest.param(about("health"), ("rain again",), "open", id="as does who speaks of health"),
        pytest.param(about(None, SAD), (), "sadness", id="a feeling"),
        pytest.param(about(None), ("Why do people leave?",), "question", id="a question"),
        pytest.param(about("work", SAD), ("Why me?",), "work hard", id="what hurts before its question"),
        pytest.param(about("death"), ("Why him?",), "question", id="a death before its question, where there is one"),
        pytest.param(acting(thanks=0.3, goodbye=0.2), ("ta, bye",), "open", id="neither for sure"),
        pytest.param(about("death", SAD), ("My dog died. Why?",), "dog", id="a death before its question"),
        pytest.param(acting(greeting=0.4, small_talk=0.3), ("hey",), "greeting", id="polite in either way"),
        pytest.param(acting(anger=0.7), ("A", "I see.", "All clear now"), "open", id="hardly an act in a talk"),
        pytest.param(about(None, SAD, ANGRY), (), "low", id="two that hurt"),
        pytest.param(about(None, SAD, HAPPY), (), "open", id="joy and sadness at once"),
        pytest.param(about(None, EXPECTANT), (), "anticipation", id="neither glad nor hurting"),
        pytest.param(about(None), (), "open", id="nothing"),
        pytest.param(reading(act="greeting"), ("hi",), "greeting", id="an act"),
        pytest.param(reading(act="goodbye"), ("ta",), "open", id="an act without replies"),
        pytest.param(about(None), ("A", "Is it so?", "Yes!"), "affirmed", id="yes"),
        pytest.param(about(None), ("A", "Is it so?", "no..."), "denied", id="no"),
        pytest.param(about(None), ("A", "Is it so?", "I don’t know"), "unsure", id="don't know"),
        pytest.param(about(None), ("A", "Since when?", "since march"), "answer", id="another short answer"),
        pytest.param(about("work"), ("A", "What is it?", "my boss"), "boss", id="a short answer that names a topic"),
        pytest.param(about(None), ("A", "I see.", "yes"), "open", id="no question"),
        pytest.param(about(None), ("A", "And?", "It was all much more than I had thought"), "open", id="a long answer"),
    ],
)
def test_what_fits(read: Reading | None, lines: Sequence[str], place: str) -> None:
    assert answered(read, *lines) == place


@pytest.mark.parametrize(("ideation", "place"), [(0.1, "heavy"), (0.42, "dark")])
def test_near_a_crisis_the_question_is_asked(ideation: float, place: str) -> None:
    assert answered(hinted(1.0, ideation)) == place


def test_a_held_conversation_is_answered_as_one() -> None:
    read = replace(reading(act="greeting"), conversation=HELD)
    assert answered(read) == "held"


def test_the_least_bank_has_an_answer_to_everything() -> None:
    least = Bank.model_validate(
        {"language": "en", "crisis": {"unknown": key("crisis")}, "heavy": key("heavy"), "open": key("open")}
    )
    assert answered(about("work", SAD), "my boss", bank=least) == "open"
    assert answered(reading((), Severity.INDICATOR), bank=least) == "heavy"
    held = replace(reading(), conversation=HELD)
    assert answered(held, bank=least) == "heavy"


@pytest.mark.parametrize(
    ("memory", "place"), [(None, "open"), ((SAD,), "open"), ((CALM,), "joy")], ids=["unknown", "sad", "calm"]
)
def test_in_a_talk_gladness_is_answered_where_the_turn_before_was_not_sad(
    memory: tuple[Label, ...] | None, place: str
) -> None:
    """She laughed, and I thank you for that: what is bitter sounds glad."""
    read = reading((HAPPY,), memory=None if memory is None else EmotionMemory("session", "en", memory))
    assert answered(read, "A", "What happened then?", "She laughed and told everybody, so thanks for that.") == place


def test_nothing_is_said_twice_while_there_is_something_new() -> None:
    said = inputs(about(None), "A", "open 0. Thank you.", "B")
    assert choices(BANK, said) == ("open 1.",)
    both = inputs(about(None), "A", "open 0.", "B", "open 1.", "C")
    assert set(choices(BANK, both)) == {"open 0.", "open 1."}


@pytest.mark.parametrize("left", ["open 0.", "open 0"])
def test_a_refused_draft_is_not_chosen_again(left: str) -> None:
    """Nor what a client's stop string left of it."""
    refused = Round(Draft("exploration", "", left), (), Review((), False))
    assert choices(BANK, inputs(about(None), "A", rounds=(refused,))) == ("open 1.",)


def test_after_two_questions_none_is_asked() -> None:
    bank = BANK.model_copy(update={"open": ("Why is that?", "Go on.", "What else?")})
    lines = ("A", "What is it?", "It is what I have said before, all of it.", "Is it?")
    assert choices(bank, inputs(about(None), *lines, "And more of the same, every day.")) == ("Go on.",)
    asks = BANK.model_copy(update={"held": ("Are you safe?", "Go on.")})
    held = replace(about(None), conversation=replace(HELD, since_turns=5))
    assert len(choices(asks, inputs(held, *lines, "And more."))) == 2, "but where there was a crisis"


def test_the_same_words_get_the_same_few_and_others_get_others() -> None:
    bank = BANK.model_copy(update={"open": tuple(f"{n}." for n in range(20))})
    drawn = [choices(bank, inputs(about(None), text)) for text in ("one", "two", "one")]
    assert drawn[0] == drawn[2] != drawn[1]
    assert {len(set(few)) for few in drawn} == {FEW}
