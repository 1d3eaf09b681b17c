"""Turns with a listed phrase that the classifier overrules, against scripted engines."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from psychechat.admission.lanes import Rank
from psychechat.config import MemorySettings
from psychechat.conversation import Assessment
from psychechat.engines.base import Call
from psychechat.engines.scripted import ScriptedClassifier, assessment
from psychechat.memory.local import LocalMemory
from psychechat.risk import Severity
from tests.serving.pipeline.test_turn import WANTS_TO_DIE, BrokenClassifier, World
from tests.support import virtual_time

pytestmark = virtual_time.mark

QUEUE = "It rained. This queue makes me want to die. I baked bread."
SENTENCE = "this queue makes me want to die."
FEELINGS = {"pointless": assessment(risk=Severity.IDEATION)}
VETO = {"risk": {"veto_below": 0.05}}


class Counting(ScriptedClassifier):
    """Keeps what it was asked; is unsure of the sentence if `share` is more than 0."""

    def __init__(self, share: float = 0.0) -> None:
        super().__init__(FEELINGS)
        self.asked: list[Sequence[str]] = []
        self._share = share

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        self.asked.append(utterances)
        read = await super().classify(utterances, call)
        unsure = {Severity.NONE: 1 - self._share, Severity.IDEATION: self._share}
        pairs = zip(utterances, read, strict=True)
        return [replace(each, risk=unsure) if text.casefold() == SENTENCE else each for text, each in pairs]


async def test_an_overruled_phrase_is_no_crisis_and_an_indicator() -> None:
    world = World(classifier=(classifier := Counting()), policy=VETO)
    outcome = await world.turn(QUEUE)
    assert (outcome.reply.decision.reason, outcome.reply.decision.crisis) == ("raised_risk", False)
    assert outcome.reply.reading.severity is Severity.INDICATOR
    assert "findahelpline" not in world.text
    assert world.told == []
    assert world.count("phrases_overruled") == 1
    assert world.count("crisis_turns", source="backstop") == 0
    assert classifier.asked == [[QUEUE, "This queue makes me want to die."]], "with its neighbours it is all of it"


async def test_an_overruled_phrase_still_decides_the_rank_at_the_door() -> None:
    """It is a crisis until it has been read: however full the door is."""
    world = World(policy=VETO | {"admission": {"tokens": 64, "door_seconds": 0.1}})
    lane = world.pipeline.admission.classification
    with await lane.acquire(Rank.ORDINARY, 64):
        outcome = await world.turn(QUEUE)
    assert outcome.reply.reading.overruled


@pytest.mark.parametrize(
    ("text", "classifier", "policy"),
    [
        pytest.param(QUEUE, Counting(0.06), VETO, id="the sentence is not low enough"),
        pytest.param(QUEUE, BrokenClassifier(ConnectionError()), VETO, id="no answer"),
        pytest.param(QUEUE, BrokenClassifier(), VETO, id="a late answer"),
        pytest.param(QUEUE, Counting(), {}, id="heads that nobody has measured"),
        pytest.param("I took an overdose an hour ago.", Counting(), VETO, id="under way"),
        pytest.param(QUEUE + " All is pointless.", Counting(), VETO, id="the whole message is one"),
    ],
)
async def test_a_crisis_all_the_same(text: str, classifier: ScriptedClassifier, policy: dict[str, object]) -> None:
    world = World(classifier=classifier, policy=policy)
    outcome = await world.turn(text)
    assert outcome.reply.decision.reason == "crisis"
    assert len(world.told) == 1


async def test_nothing_is_overruled_while_a_crisis_holds_the_conversation() -> None:
    world = World(classifier=Counting(), policy=VETO)
    outcome = await world.turn("All is pointless")
    outcome = await world.turn("All is pointless", outcome.reply.choices[0].text, QUEUE)
    assert outcome.reply.decision.reason == "crisis"
    assert not outcome.reply.reading.overruled


@pytest.mark.parametrize("remembered", [True, False], ids=["in memory", "memory lost"])
async def test_an_overruled_phrase_of_an_earlier_line_holds_nothing(remembered: bool) -> None:
    """Live turns and lines that are read again agree."""
    world = World(classifier=(classifier := Counting()), policy=VETO)
    outcome = await world.turn(QUEUE)
    if not remembered:
        world.pipeline.memory = LocalMemory(MemorySettings(), virtual_time.clock)
        world.pipeline.read_lines.clear()
    asked = len(classifier.asked)
    outcome = await world.turn(QUEUE, outcome.reply.choices[0].text, "I went for a walk in the park")
    assert outcome.reply.decision.reason == "low_risk"
    assert not outcome.reply.reading.conversation.held
    assert len(classifier.asked) - asked == (1 if remembered else 2)


async def test_an_earlier_crisis_holds_where_the_classifier_does_not_answer() -> None:
    world = World(classifier=BrokenClassifier(ConnectionError()), policy=VETO)
    outcome = await world.turn(WANTS_TO_DIE, "Tell me more.", "I went for a walk in the park")
    assert outcome.reply.reading.conversation.held
