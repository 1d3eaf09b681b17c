"""Turns whose drafts and sentences the classifier's third head judges, against scripted engines."""

import asyncio
import math
from collections.abc import Mapping, Sequence

import pytest

from psychechat import prompts
from psychechat.conversation import Conversation, Draft, ReplyDelta, Utterance
from psychechat.emotion import Language
from psychechat.engines.base import Call, Pair, StageName
from psychechat.engines.scripted import ScriptedClassifier
from psychechat.errors import EngineUnavailable
from psychechat.help import fixed_words
from psychechat.pipeline.judge import Judge
from psychechat.pipeline.request import TurnMeter
from psychechat.pipeline.sinks import GuardedReply, ReplyOutput
from psychechat.policy import Policy
from psychechat.prompts import answers
from psychechat.risk import Severity
from psychechat.safety.output_guard import ReplyContext
from psychechat.telemetry import Metrics
from tests.serving.pipeline.test_turn import (
    AGENT_CALLS,
    ENDING,
    FEELINGS,
    PASSED,
    REFUSED,
    UNSAFE,
    WANTS_TO_DIE,
    World,
    told,
)
from tests.support import virtual_time

pytestmark = virtual_time.mark

HARSH, KIND = "That was your own fault.", "That sounds heavy to carry."
ON = {"review": {"hurting_at": 0.5}}
GLAD = "What a lovely day"
"""It takes LLM Mode."""


class Head(ScriptedClassifier):
    """Has three heads; keeps what the third one was asked. It may fail, or answer after some seconds."""

    def __init__(
        self,
        hurting: Mapping[str, float] | None = {"your own fault": 0.9},
        *,
        failure: Exception | None = None,
        seconds: float = 0.0,
    ) -> None:
        super().__init__(FEELINGS, hurting)
        self.asked: list[Sequence[Pair]] = []
        self.failure, self.seconds = failure, seconds

    async def judge(self, pairs: Sequence[Pair], call: Call) -> list[float] | None:
        self.asked.append(pairs)
        await asyncio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        return await super().judge(pairs, call)

    @property
    def drafts(self) -> list[list[str]]:
        return [[pair.draft for pair in pairs] for pairs in self.asked]


def drafts(*texts: str, language: Language = "en") -> dict[StageName, list[str]]:
    return {StageName.DRAFT: [answers.render(Draft("insight", "", text), language) for text in texts]}


UNKNOWN = [
    pytest.param(Head(failure=EngineUnavailable("gone")), id="gone"),
    pytest.param(Head(failure=RuntimeError("a bug")), id="a bug"),
    pytest.param(Head({KIND.casefold(): math.nan}), id="no number"),
    pytest.param(Head(seconds=60.0), id="late"),
]

# ---------------------------------------------------------------------------------------------- Agent Mode


async def test_a_draft_that_hurts_is_written_again_with_the_packs_sentence() -> None:
    world = World(drafts(HARSH, KIND), (head := Head()), policy=ON)
    outcome = await world.turn("My father left", "I see.", "I failed him", requested="agent")
    assert (world.text, outcome.reply.rounds, outcome.reply.passed) == (KIND, 2, True)
    assert head.asked == [[Pair("I failed him", HARSH)], [Pair("I failed him", KIND)]]
    assert world.stages == AGENT_CALLS + AGENT_CALLS[1:]  # the review was generated all the same
    second_draft = world.generator.prompts[6][1][-1].content
    assert HARSH in second_draft
    assert prompts.load("en").hurting_suggestion in second_draft
    assert world.count("judgements", mode="agent", result="hurting") == 1
    assert world.count("judgements", mode="agent", result="kind") == 1
    assert world.count("refused_drafts") == 1
    assert "judge" in outcome.seconds


async def test_the_sentence_is_in_the_language_of_the_pack() -> None:
    world = World(drafts(HARSH, "听起来很不容易。", language="zh"), Head(), policy=ON)
    await world.turn("我最近很累，不知道怎么办", requested="agent")
    assert prompts.load("zh").hurting_suggestion in world.generator.prompts[6][1][-1].content


async def test_what_both_refuse_is_told_both_suggestions() -> None:
    world = World(drafts(HARSH, KIND) | {StageName.REVIEW: [*[REFUSED] * 3, PASSED]}, Head(), policy=ON)
    await world.turn("hello there", requested="agent")
    second_draft = world.generator.prompts[6][1][-1].content
    assert f"{prompts.load('en').hurting_suggestion} warmer safer" in second_draft
    assert world.count("refused_drafts") == 1


async def test_the_head_lets_nothing_pass_that_the_review_refuses() -> None:
    world = World(drafts(KIND) | {StageName.REVIEW: [REFUSED]}, Head(), policy=ON)
    outcome = await world.turn("hello there", requested="agent")
    assert (outcome.reply.passed, outcome.reply.fallback) == (False, True)
    assert prompts.load("en").hurting_suggestion not in world.generator.prompts[6][1][-1].content


@pytest.mark.parametrize("text", ["hello there", WANTS_TO_DIE])
async def test_a_draft_that_hurts_never_leaves(text: str) -> None:
    world = World(drafts(HARSH), Head(), policy=ON)
    outcome = await world.turn(text, requested="agent")
    assert (outcome.reply.passed, outcome.reply.fallback) == (False, True)
    assert HARSH not in world.text
    assert world.count("safe_templates", cause="review") == 1


@pytest.mark.parametrize(("at", "passed"), [(0.9, False), (0.91, True), (1.0, True), (None, True)])
async def test_the_threshold_is_the_policys(at: float | None, passed: bool) -> None:
    world = World(drafts(HARSH), (head := Head()), policy={"review": {"hurting_at": at}})
    assert (await world.turn("hello there", requested="agent")).reply.passed is passed
    assert len(head.asked) == (2 if not passed else 1 if at == 0.91 else 0)  # off is not asked


async def test_heads_that_cannot_tell_refuse_and_count_nothing() -> None:
    """Not even in a crisis: there is nothing that failed."""
    world = World(drafts(KIND), (head := Head(None)), policy=ON)
    for text in ("hello there", WANTS_TO_DIE):
        assert (await world.turn(text, requested="agent")).reply.passed
    assert len(head.asked) == 2
    assert world.count("judgements") == 0


@pytest.mark.parametrize("head", UNKNOWN)
async def test_a_draft_that_nobody_could_judge_passes_an_ordinary_turn(head: Head) -> None:
    world = World(drafts(KIND), head, policy=ON)
    outcome = await world.turn("All feels hopeless")
    assert outcome.reply.decision.reason == "raised_risk"
    assert (outcome.reply.passed, world.text) == (True, KIND)
    assert world.count("judgements", mode="agent", result="unknown") == 1


@pytest.mark.parametrize("head", UNKNOWN)
async def test_and_fails_in_a_crisis(head: Head) -> None:
    world = World(drafts(KIND), head, policy=ON)
    outcome = await world.turn("All feels pointless")
    assert (outcome.reply.passed, outcome.reply.fallback) == (False, True)
    assert KIND not in world.text
    assert "findahelpline.com" in world.text
    assert world.count("judgements", mode="agent", result="unknown") == outcome.reply.rounds


@pytest.mark.parametrize("mode", ["agent", "llm"])
async def test_and_in_a_held_conversation(mode: str) -> None:
    world = World({**drafts(KIND), StageName.REPLY: [KIND]}, (head := Head()), policy=ON)
    said = await told(world, WANTS_TO_DIE)
    head.failure = EngineUnavailable("gone")
    outcome = await world.turn(*said, "I went to work as usual", requested="agent" if mode == "agent" else "llm")
    assert outcome.reply.reading.conversation.held
    assert outcome.reply.reading.severity is not None
    assert not outcome.reply.decision.crisis
    assert outcome.reply.fallback
    assert KIND not in outcome.reply.choices[0].text


async def test_a_draft_is_judged_while_its_review_is_written() -> None:
    """It costs a turn no time of its own."""
    plain, judged = [
        await World(drafts(KIND), Head(seconds=0.05), policy=policy, seconds_per_word=0.1).turn(
            "hello there", requested="agent"
        )
        for policy in ({}, ON)
    ]
    assert judged.seconds["judge"] == pytest.approx(0.05, abs=0.01)
    assert judged.seconds["total"] == pytest.approx(plain.seconds["total"], abs=0.01)


# ------------------------------------------------------------------------------------------------ LLM Mode


async def test_a_sentence_that_hurts_ends_a_reply_quietly() -> None:
    """Who is in no danger is not told of emergency numbers for a clumsy sentence that never left."""
    reply = f"You went out. {HARSH} More words. " + "And more. " * 200
    world = World({StageName.REPLY: [reply]}, Head(), policy=ON, seconds_per_word=0.001)
    outcome = await world.turn(GLAD)
    [choice] = outcome.reply.choices
    assert world.text == choice.text == "You went out."
    assert (choice.finish_reason, choice.cause, choice.blocked) == ("content_filter", "hurting", True)
    assert not outcome.reply.fallback
    assert world.generator.running == 0
    assert outcome.seconds["reply"] < 0.2  # its generation is over
    assert world.count("guard_findings", cause="hurting", action="blocked") == 1
    assert world.count("judgements", mode="llm", result="hurting") == 1


async def test_what_left_without_a_sentences_end_is_closed_with_words() -> None:
    world = World({StageName.REPLY: [f"- You went out\n{HARSH}"]}, Head(), policy=ON)
    await world.turn(GLAD)
    assert world.text == f"- You went out\n\n\n{fixed_words.words('en').cut}"


async def test_at_a_raised_risk_it_ends_as_the_guard_ends_one() -> None:
    world = World({StageName.REPLY: [f"You went out. {HARSH}"]}, Head(), policy=ON)
    outcome = await world.turn("All feels hopeless", requested="llm")
    assert outcome.reply.reading.severity is Severity.INDICATOR
    assert world.text == f"You went out.\n\n{ENDING}"


async def test_a_reply_of_which_nothing_has_left_is_fixed_words() -> None:
    world = World({StageName.REPLY: [f"{HARSH} I mean it."]}, Head(), policy=ON)
    outcome = await world.turn(GLAD)
    assert world.text == outcome.reply.choices[0].text == fixed_words.words("en").listening.glad
    assert outcome.reply.fallback
    assert world.count("safe_templates", cause="guard") == 1


async def test_each_sentence_is_read_behind_all_that_the_seeker_said() -> None:
    reply = "You went out. How was the walk? Tell me."
    world = World({StageName.REPLY: [reply]}, (head := Head()), policy=ON)
    outcome = await world.turn("Hello there", "Hello.", GLAD, requested="llm")
    assert world.text == outcome.reply.choices[0].text == reply
    assert head.drafts == [["You went out."], [" How was the walk?"], [" Tell me."]]
    assert {pair.seeker for pairs in head.asked for pair in pairs} == {GLAD}


async def test_what_comes_at_once_is_judged_at_once() -> None:
    said: list[ReplyDelta] = []
    policy, head = Policy.model_validate(ON), Head()
    judge = Judge(head, policy, Call("req-1", "session"), Metrics(), TurnMeter(), seeker=GLAD, is_strict=False)
    context = ReplyContext(Conversation((Utterance("seeker", GLAD),)), "en", tuple)
    reply = GuardedReply(0, ReplyOutput(said.append, policy.guard, context, judge, False, lambda said, _: "The end."))
    await reply.feed(f"You went out. {KIND} {HARSH} Tell me more. And", "")
    assert head.drafts == [["You went out.", f" {KIND}", f" {HARSH}", " Tell me more."]]
    assert reply.stopped
    assert reply.end_stopped().text == "".join(delta.content for delta in said) == f"You went out. {KIND}The end."


async def test_of_several_choices_only_the_one_that_hurts_is_stopped() -> None:
    world = World({StageName.REPLY: ["Fine. Words.", f"I see. {HARSH}", "Good words."]}, Head(), policy=ON)
    outcome = await world.turn("hello there", requested="llm", choices=3)
    assert [choice.text for choice in outcome.reply.choices] == ["Fine. Words.", "I see.", "Good words."]


async def test_what_the_guard_stops_is_its_own_finding() -> None:
    world = World({StageName.REPLY: [f"I hear you. {UNSAFE} {HARSH}"]}, (head := Head()), policy=ON)
    [choice] = (await world.turn("hello there", requested="llm")).reply.choices
    assert choice.cause == "encouragement"
    assert head.drafts == [["I hear you."]]


async def test_an_audit_says_what_hurts_and_lets_it_go() -> None:
    world = World({StageName.REPLY: [f"I see. {HARSH} Well."]}, Head(), policy={**ON, "guard": {"mode": "audit"}})
    [choice] = (await world.turn("hello there", requested="llm")).reply.choices
    assert world.text == choice.text == f"I see. {HARSH} Well."
    assert (choice.finish_reason, choice.cause, choice.blocked) == ("stop", "hurting", False)
    assert world.count("guard_findings", cause="hurting", action="flagged") == 1


async def test_without_the_guard_nobody_asks() -> None:
    world = World({StageName.REPLY: [HARSH]}, (head := Head()), policy={**ON, "guard": {"mode": "off"}})
    await world.turn("hello there", requested="llm")
    assert (world.text, head.asked) == (HARSH, [])


@pytest.mark.parametrize("head", UNKNOWN)
async def test_a_stream_that_nobody_judges_goes_on_and_waits_once(head: Head) -> None:
    head.asked.clear()
    reply = f"{KIND} What weighs on you most? I am here."
    world = World({StageName.REPLY: [reply]}, head, policy=ON, seconds_per_word=0.01)
    outcome = await world.turn("hello there", requested="llm")
    assert world.text == outcome.reply.choices[0].text == reply
    assert head.drafts == [[KIND]]
    assert outcome.seconds["judge"] <= 2.01
    assert world.count("judgements", mode="llm", result="unknown") == 1


@pytest.mark.parametrize("head", UNKNOWN)
async def test_a_crisis_reply_that_nobody_judges_is_fixed_words(head: Head) -> None:
    world = World({StageName.REPLY: [KIND]}, head, policy=ON)
    outcome = await world.turn(WANTS_TO_DIE, requested="llm")
    assert outcome.reply.fallback
    assert KIND not in world.text
    assert world.count("safe_templates", cause="guard", words="crisis") == 1


async def test_the_reply_of_a_crisis_that_hurts_is_withheld_whole() -> None:
    world = World({StageName.REPLY: [f"{KIND} {HARSH}"]}, Head(), policy=ON)
    outcome = await world.turn(WANTS_TO_DIE, requested="llm")
    assert outcome.reply.fallback
    assert KIND not in world.text


async def test_an_endless_message_is_sent_to_the_head_by_its_end() -> None:
    world = World({StageName.REPLY: [KIND]}, (head := Head()), policy=ON)
    await world.turn("so " * 9_000 + "tired", requested="llm")
    [[pair]] = head.asked
    assert pair.seeker.endswith("so so tired")
    assert len(pair.seeker) == 4_000
