"""Who asks whether a person answers is told the truth, whatever a model would say, and a crisis stays a crisis."""

from dataclasses import replace

import pytest

from psychechat.emotion import Emotion, Label
from psychechat.engines.base import StageName
from psychechat.engines.scripted import ScriptedClassifier, assessment
from psychechat.help import fixed_words, who_answers
from psychechat.pipeline.router import Requested
from tests.serving.pipeline.test_turn import WANTS_TO_DIE, BrokenClassifier, World
from tests.support import virtual_time

pytestmark = virtual_time.mark

CLAIM = "Yes, I am a real person and I sit here with you."
ENGLISH, CHINESE = fixed_words.words("en"), fixed_words.words("zh")


def world(**more: object) -> World:
    sad = {"lost": assessment(Emotion(Label.parse("sad"), 0.9))}
    return World({StageName.REPLY: [CLAIM]}, **{"classifier": ScriptedClassifier(sad), **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("requested", ["auto", "agent", "llm"])
async def test_the_truth_is_told_without_a_model_in_every_mode(requested: Requested) -> None:
    asked = world()
    outcome = await asked.turn("Are you a real person?", requested=requested)
    assert asked.text == f"{ENGLISH.who_answers.program} {ENGLISH.who_answers.alone}"
    assert asked.stages == []
    assert outcome.reply.choices[0].finish_reason == "stop"
    assert outcome.reply.resources == ()
    assert asked.count("safe_templates", cause="fixed", words="who_answers") == 1
    assert asked.told == []


async def test_what_else_was_said_is_heard_too() -> None:
    asked = world()
    await asked.turn("I lost my job on Monday and have told nobody at home so far. Are you even human?")
    assert asked.text == f"{ENGLISH.who_answers.program} {ENGLISH.listening.low}"


async def test_it_is_told_in_the_seekers_language() -> None:
    asked = world()
    await asked.turn("你是真人吗？")
    assert asked.text == f"{CHINESE.who_answers.program}{CHINESE.who_answers.alone}"
    asked = world()
    await asked.turn("Bonjour, est-ce que je parle à une vraie personne ? Je ne sais pas qui vous êtes.")
    assert asked.text.startswith(fixed_words.words("fr").who_answers.program)


async def test_who_wants_a_person_is_told_whom_to_reach() -> None:
    asked = world()
    reply = (await asked.turn("Can I talk to a real person please")).reply
    assert asked.text.startswith(f"{ENGLISH.who_answers.program}\n\n{ENGLISH.who_answers.person}\n- ")
    assert reply.resources
    assert all(row.contact in asked.text for row in reply.resources)


async def test_a_crisis_comes_first_and_the_truth_is_in_it() -> None:
    asked = world()
    reply = (await asked.turn(f"Are you a bot? {WANTS_TO_DIE}")).reply
    assert asked.text.startswith(f"{ENGLISH.opening.thoughts} {ENGLISH.who_answers.program}\n\n")
    assert reply.decision.crisis
    assert len(asked.told) == 1
    assert reply.resources


async def test_in_a_held_conversation_the_word_about_help_stays() -> None:
    asked = world()
    said = (WANTS_TO_DIE, "I hear you. Are you safe?", "before I answer, are you a real person?")
    reply = (await asked.turn(*said)).reply
    assert asked.text.startswith(ENGLISH.who_answers.program)
    assert any(line in asked.text for line in ENGLISH.held)
    assert reply.resources


async def test_at_unknown_risk_whom_to_turn_to_is_said_too() -> None:
    asked = world(classifier=BrokenClassifier(ConnectionError()))
    reply = (await asked.turn("are you a robot")).reply
    assert asked.text.startswith(f"{ENGLISH.who_answers.program} {ENGLISH.template}")
    assert reply.resources


async def test_a_question_in_words_that_no_table_has_is_heard_by_the_classifier() -> None:
    oblique = "blink twice if you run on batteries"
    assert who_answers.asked(oblique) is None
    hears = ScriptedClassifier({"batteries": replace(assessment(), asks={"identity": 0.9, "person": 0.05})})
    asked = world(classifier=hears)
    await asked.turn(oblique)
    assert asked.text == f"{ENGLISH.who_answers.program} {ENGLISH.who_answers.alone}"
    hears = ScriptedClassifier({"batteries": replace(assessment(), asks={"identity": 0.1, "person": 0.7})})
    asked = world(classifier=hears)
    await asked.turn(oblique)
    assert ENGLISH.who_answers.person in asked.text
    asked = world(classifier=hears, policy={"says_it_is_a_program": False})
    await asked.turn(oblique, requested="llm")
    assert asked.text == CLAIM


async def test_an_operator_may_leave_it_to_the_model() -> None:
    asked = world(policy={"says_it_is_a_program": False})
    await asked.turn("Are you a real person?", requested="llm")
    assert asked.text == CLAIM


async def test_an_operators_words_are_laid_over_ours() -> None:
    own = {"crisis": {"words": {"en": {"who_answers": {"program": "Software of Hope House answers here."}}}}}
    asked = world(policy=own)
    await asked.turn("who are you?")
    assert asked.text == f"Software of Hope House answers here. {ENGLISH.who_answers.alone}"
