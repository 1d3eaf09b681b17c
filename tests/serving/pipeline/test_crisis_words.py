"""The first words of a crisis: by its kind, by the conversation before it, and by whether it is more than a guess."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from psychechat import prompts
from psychechat.config.memory import MemorySettings
from psychechat.conversation import Assessment, Conversation, Reply, Utterance
from psychechat.engines.cast import everywhere
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator, assessment
from psychechat.help.fixed_words import words
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.request import TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.turn import run_turn
from psychechat.policy import Policy
from psychechat.reply_bank import load
from psychechat.risk import Severity
from psychechat.telemetry import Metrics

pytestmark = pytest.mark.asyncio

OPENING = words("en").opening
GUESS, SURE, PILLS = "It is all too loud in here.", "Nobody would look for me.", "I just swallowed all the pills"
SAFE = "Are you safe right now?"
CALM = "We had soup at noon, and then it rained."


def at(ideation: float, severity: Severity = Severity.IDEATION) -> Assessment:
    risk = dict.fromkeys(Severity, 0.0) | {Severity.NONE: 1 - ideation, severity: ideation}
    return replace(assessment(), risk=risk)


READ = {"too loud": at(0.6), "look for me": at(0.95), "sleepy": at(0.6), "blade": at(0.7, Severity.BEHAVIOR)}


@dataclass
class World:
    policy: Mapping[str, Any] = field(default_factory=dict)
    said: list[Utterance] = field(default_factory=list)

    def __post_init__(self) -> None:
        packs = prompts.load_all({"en": "en", "zh": "zh"}, {"en": "en", "zh": "zh"})
        engines = everywhere(ScriptedGenerator())
        memory = LocalMemory(MemorySettings())
        policy = Policy.model_validate(self.policy)
        self.pipeline = Pipeline(ScriptedClassifier(READ), engines, packs, memory, Metrics(), policy)

    async def say(self, text: str) -> Reply:
        self.said.append(Utterance("seeker", text))
        request = TurnRequest(Conversation(tuple(self.said)), "llm", "req-1")
        reply = (await run_turn(self.pipeline, request, lambda _: None)).reply
        self.said.append(Utterance("counselor", reply.choices[0].text))
        return reply

    async def opening(self, *lines: str) -> str:
        """Which of the openings the reply to the last line begins with. A line that asks is the counselor's."""
        for line in lines:
            if line.endswith("?"):
                self.said[-1] = Utterance("counselor", line)
                continue
            reply = await self.say(line)
        text = reply.choices[0].text
        return next((name for name, told in OPENING.model_dump().items() if text.startswith(told)), "")


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        pytest.param([GUESS], "unsure", id="a guess"),
        pytest.param([SURE], "generic", id="no guess"),
        pytest.param(["the blade"], "generic", id="a guess at something graver"),
        pytest.param(["I want to kill myself"], "thoughts", id="a phrase"),
        pytest.param(["I want to kill myself", GUESS], "thoughts", id="a guess behind a phrase"),
        pytest.param([SURE, GUESS], "generic", id="a guess in a held conversation"),
        pytest.param(["I want to kill myself", "the blade"], "plan_or_means", id="graver than before"),
        pytest.param([PILLS], "under_way", id="an act under way"),
        pytest.param([PILLS, "I am getting really sleepy now"], "plan_or_means", id="what follows it is no guess"),
        pytest.param([PILLS, SAFE, "no"], "plan_or_means", id="nor a short answer"),
        pytest.param([CALM], "", id="no crisis"),
    ],
)
async def test_how_a_crisis_is_opened(lines: list[str], name: str) -> None:
    assert await World().opening(*lines) == name


async def test_where_the_conversation_is_only_observed_it_changes_nothing() -> None:
    observed = World({"risk": {"conversation": "observe"}})
    assert await observed.opening("I want to kill myself", GUESS) == "unsure"


async def test_what_opens_before_the_earlier_lines_are_read_is_as_sure_as_it_is() -> None:
    """A client that sends a conversation which nobody remembers, with a phrase in it that may be overruled."""
    earlier = [Utterance("seeker", "This queue makes me want to die."), Utterance("counselor", "Which one is it?")]
    assert await World({"risk": {"veto_below": 0.05}}, [*earlier]).opening(SURE) == "generic"


async def test_with_a_bank_each_reply_is_one_of_its_replies() -> None:
    world, bank = World(), load("en")
    crisis = (await world.say("I want to kill myself")).choices[0].text
    assert any(crisis.endswith(text) for text in bank.crisis.of("thoughts"))
    quiet = (await world.say("We had soup.")).choices[0].text
    assert bank.held_near
    assert any(quiet.startswith(text) for text in bank.held_near)
