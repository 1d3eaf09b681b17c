"""Turns after calm ones: the classifier alone makes a crisis only of what it is sure of; phrases are never doubted."""

from dataclasses import replace

import pytest

from psychechat.conversation import Assessment
from psychechat.engines.scripted import ScriptedClassifier, assessment
from psychechat.pipeline.request import Outcome
from psychechat.risk import Severity
from tests.serving.pipeline.test_turn import WANTS_TO_DIE, World
from tests.support import virtual_time

pytestmark = virtual_time.mark

CALM = ["I went to work as usual today", "We had pasta for dinner again", "The film last night was long"]
UNSURE, SURE = "It all feels pointless to me now", "It all feels over and done for me"
LESS = "The whole of it wears me down so much"
"""Just a crisis by itself."""


def of_ideation(share: float) -> Assessment:
    return replace(assessment(), risk={**assessment().risk, Severity.NONE: 1 - share, Severity.IDEATION: share})


FEELINGS = {
    "pointless": of_ideation(0.7),
    "over and done": of_ideation(0.95),
    "wears me down": of_ideation(0.5),
    "the thought": of_ideation(0.7),
}


def world(**policy: object) -> World:
    return World(classifier=ScriptedClassifier(FEELINGS), policy={"risk": {"ideation": 0.44, **policy}})


def conversation(*said: str) -> list[str]:
    """With a line between that no counselor here has said: nothing is known of it."""
    lines = [line for text in said for line in (text, "I see.")]
    return lines[:-1]


async def talk(here: World, *said: str) -> Outcome:
    """Turn by turn, each with the replies before it, so that memory knows the conversation."""
    texts: list[str] = []
    for text in said:
        outcome = await here.turn(*texts, text)
        texts += [text, outcome.reply.choices[0].text]
    return outcome


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([UNSURE], "crisis"),
        (["hi", UNSURE], "crisis"),
        ([*CALM[:1], SURE], "crisis"),
        ([*CALM[:1], UNSURE], "raised_risk"),
        ([*CALM, UNSURE], "raised_risk"),
        ([*CALM, SURE], "crisis"),
        ([*CALM, UNSURE, SURE], "crisis"),
        ([*CALM, WANTS_TO_DIE], "crisis"),
        ([WANTS_TO_DIE, *CALM, UNSURE], "crisis"),
        ([*CALM, LESS], "raised_risk"),
        (["idk", "nothing", "no", UNSURE], "crisis"),
    ],
)
async def test_what_calm_lines_make_of_the_next_one(said: list[str], reason: str, remembered: bool) -> None:
    here = world()
    outcome = await talk(here, *said) if remembered else await here.turn(*conversation(*said))
    assert outcome.reply.decision.reason == reason
    assert outcome.reply.reading.in_crisis == (reason == "crisis")


async def test_what_is_only_observed_doubts_nothing() -> None:
    assert (await talk(world(conversation="observe"), *CALM, UNSURE)).reply.decision.reason == "crisis"


async def test_a_strangers_calm_under_the_same_name_doubts_nothing() -> None:
    here = world()
    await here.turn(*conversation(*CALM), session="shared")
    assert (await here.turn(UNSURE, session="shared")).reply.decision.reason == "crisis"


async def test_lines_that_are_likely_again_and_again_are_a_crisis_in_the_end() -> None:
    here = world()
    told = [f"{UNSURE}, on day {number}" for number in range(3)]
    outcomes = [(await talk(here, *CALM, *told[: last + 1])).reply for last in range(3)]
    assert [reply.decision.reason for reply in outcomes] == ["raised_risk", "raised_risk", "crisis"]


async def test_an_answer_is_read_with_its_question_without_a_doubt() -> None:
    here = world()
    said = [*conversation(*CALM), "Are you thinking of suicide?", "the thought is there"]
    assert (await here.turn(*said)).reply.reading.in_crisis


@pytest.mark.parametrize(("shares", "severity"), [((0.95, 0.0), "ideation"), ((0.0, 0.95), "behavior")])
async def test_doubt_says_whether_it_is_a_crisis_and_not_which(shares: tuple[float, float], severity: str) -> None:
    ideation, behavior = shares
    risk = {**assessment().risk, Severity.NONE: 0.05, Severity.IDEATION: ideation, Severity.BEHAVIOR: behavior}
    here = World(classifier=ScriptedClassifier({"grave": replace(assessment(), risk=risk)}))
    reply = (await talk(here, *CALM, "That is rather grave, I suppose")).reply
    assert reply.reading.severity is Severity[severity.upper()]


async def test_a_doubted_line_is_known_to_tasks_that_quote_it_alone() -> None:
    here = world()
    await talk(here, *CALM, UNSURE)
    assert here.pipeline.crisis_lines.knows("", UNSURE)
    assert here.told == []


async def test_in_a_held_conversation_no_stage_is_told_of_a_goodbye() -> None:
    reading = replace(assessment(), acts={"goodbye": 0.9})
    here = World(classifier=ScriptedClassifier({"so long": reading}))
    assert (await here.turn("well, so long then")).reply.reading.act == "goodbye"
    prompts = len(here.generator.prompts)
    await talk(here, WANTS_TO_DIE, "well, so long then")
    assert not any(
        "says goodbye" in message.content
        for _, messages, *_ in here.generator.prompts[prompts:]
        for message in messages
    )
