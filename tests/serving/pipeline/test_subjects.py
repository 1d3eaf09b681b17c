"""What a message is about: told to the stages that answer, and kept for a short answer to the counselor's question."""

from dataclasses import replace

from psychechat.conversation import Subject
from psychechat.engines.base import StageName
from psychechat.engines.scripted import ScriptedClassifier, assessment
from tests.serving.pipeline.test_turn import WANTS_TO_DIE, World
from tests.support import virtual_time

pytestmark = virtual_time.mark

BOSS, ANSWER, FILM = "My boss wants it done by Friday", "since March", "I watched a long film about penguins last night"


def world(reply: str) -> World:
    classifier = ScriptedClassifier({"boss": replace(assessment(), subjects={"work": 0.8, "money": 0.1})})
    return World({StageName.REPLY: [reply]}, classifier)


async def subjects(here: World, *said: str) -> list[Subject | None]:
    """Of each turn, with the replies before it."""
    texts: list[str] = []
    heard: list[Subject | None] = []
    for text in said:
        outcome = await here.turn(*texts, text)
        texts += [text, outcome.reply.choices[0].text]
        heard.append(outcome.reply.reading.subject)
    return heard


async def test_a_stage_is_told_it() -> None:
    here = world("That is tight.")
    await here.turn(BOSS)
    assert "The message is about work." in here.generator.prompts[-1][1][-1].content
    await here.turn(FILM)
    assert "is about" not in here.generator.prompts[-1][1][-1].content


async def test_a_short_answer_to_a_question_is_about_what_was_asked() -> None:
    asks = world("That is tight. How long has it been so?")
    assert await subjects(asks, BOSS, ANSWER, ANSWER, FILM, ANSWER) == ["work", "work", "work", None, None]
    asks_nothing = world("That is tight.")
    assert await subjects(asks_nothing, BOSS, ANSWER) == ["work", None]


async def test_in_a_crisis_it_changes_nothing() -> None:
    here = world("That is tight.")
    outcome = await here.turn(f"{BOSS}. {WANTS_TO_DIE}")
    assert outcome.reply.reading.in_crisis
    assert outcome.reply.reading.subject == "work"
