"""What a message is about: told to the stages that answer, and kept for a short answer to the counselor's question."""

import shutil
from dataclasses import replace
from pathlib import Path

from psychechat import prompts
from psychechat.conversation import EmotionMemory
from psychechat.engines.base import StageName
from psychechat.engines.scripted import ScriptedClassifier, assessment, reading
from psychechat.help.subjects import Subject
from tests.serving.pipeline.test_turn import WANTS_TO_DIE, World
from tests.support import virtual_time

pytestmark = virtual_time.mark

BOSS, ANSWER, FILM = "My boss wants it done by Friday", "since March", "I watched a long film about penguins last night"


ABOUT_WORK = replace(assessment(), subjects={"work": 0.8, "money": 0.1})


def world(reply: str) -> World:
    return World({StageName.REPLY: [reply]}, ScriptedClassifier({"boss": ABOUT_WORK}))


async def subjects(here: World, *said: str) -> list[Subject | None]:
    """Of each turn, with the replies before it."""
    texts: list[str] = []
    heard: list[Subject | None] = []
    for text in said:
        outcome = await here.turn(*texts, text)
        texts += [text, outcome.reply.choices[0].text]
        heard.append(outcome.reply.reading.subject)
    return heard


async def test_a_pack_is_told_it(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(prompts.BUILT_IN / "en", pack)
    (pack / "reply.txt").write_text("{% if subject %}About {{ subject }}.{% endif %}[stage: reply]")
    here = world("That is tight.")
    here.pipeline.packs = {"en": prompts.load(pack)}
    await here.turn(BOSS)
    assert "About work." in here.generator.prompts[-1][1][-1].content
    await here.turn(FILM)
    assert "About" not in here.generator.prompts[-1][1][-1].content


async def test_a_short_answer_to_a_question_is_about_what_was_asked() -> None:
    asks = world("That is tight. How long has it been so?")
    assert await subjects(asks, BOSS, ANSWER, ANSWER, FILM, ANSWER) == ["work", "work", "work", None, None]
    asks_nothing = world("That is tight.")
    assert await subjects(asks_nothing, BOSS, ANSWER) == ["work", None]


async def test_in_a_crisis_nobody_is_told_it_nor_after_one() -> None:
    """A wrong one would hurt most there."""
    here = world("That is tight. Are you safe?")
    assert await subjects(here, f"{BOSS}. {WANTS_TO_DIE}", "I guess so") == [None, None]


async def test_thanks_and_farewells_are_about_nothing() -> None:
    here = world("That is tight. How long has it been so?")
    bye = replace(assessment(), acts={"goodbye": 0.9})
    here.pipeline.classifier = ScriptedClassifier({"boss": ABOUT_WORK, "so long then": bye})
    assert await subjects(here, BOSS, "so long then") == ["work", None]


async def test_a_subject_that_this_version_does_not_know_is_none() -> None:
    asked = replace(reading(), with_question=assessment(), memory=EmotionMemory("", "en", subject="weather"))
    assert asked.subject is None
    assert replace(asked, memory=EmotionMemory("", "en", subject="work")).subject == "work"


async def test_words_tell_what_the_classifier_was_not_sure_of() -> None:
    unsure = replace(assessment(), subjects={"work": 0.25})
    here = World(classifier=ScriptedClassifier({"fired": unsure, "cake": unsure}))
    assert await subjects(here, "I got fired from my job", f"{FILM}, and ate some cake") == ["work", None]
