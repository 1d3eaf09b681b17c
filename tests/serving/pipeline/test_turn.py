"""Every way through a turn, against scripted engines."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import pytest

from psychechat import language, prompts
from psychechat.admission.lanes import Rank
from psychechat.config import ROLES, MemorySettings, Role
from psychechat.conversation import (
    Assessment,
    Conversation,
    CrisisTurn,
    Draft,
    ReplyDelta,
    Review,
    Speaker,
    Utterance,
    Verdict,
)
from psychechat.emotion import Emotion, Group, Label, Language
from psychechat.engines.base import Call, Classifier, Delta, Generator, Message, Pair, Sampling, Stage, StageName, Usage
from psychechat.engines.cast import Cast, everywhere
from psychechat.engines.scripted import Answer, ScriptedClassifier, ScriptedGenerator, assessment
from psychechat.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    EngineUnavailable,
    MemoryUnavailable,
    Overloaded,
    PsycheChatError,
    ReplicaDied,
    StageFailed,
)
from psychechat.help import fixed_words
from psychechat.memory.base import Unreadable
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.request import Outcome, TurnRequest
from psychechat.pipeline.router import Requested
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.turn import run_turn
from psychechat.pipeline.turn_memory import forget
from psychechat.policy import Policy
from psychechat.prompts import answers
from psychechat.risk import Kind, Severity
from psychechat.telemetry import Metrics
from tests.support import virtual_time

pytestmark = virtual_time.mark

WANTS_TO_DIE = "I want to die"  # the backstop's words, nobody's
REFUSED = answers.render(
    Review((Verdict("a", True), Verdict("b", False), Verdict("c", True)), False, "warmer", "safer"), "en"
)
PASSED = answers.render(Review((Verdict("a", True),) * 3, True), "en")
FEELINGS = {
    "terrible": assessment(Emotion(Label.parse("grieving"), 0.9)),
    "lovely": assessment(Emotion(Label.parse("happy"), 0.9)),
    "pointless": assessment(risk=Severity.IDEATION),
    "hopeless": assessment(risk=Severity.INDICATOR),
}


class BrokenClassifier:
    def __init__(self, error: BaseException | None = None) -> None:
        self._error = error

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        return await self._fail()

    async def judge(self, pairs: Sequence[Pair], call: Call) -> list[float] | None:
        return await self._fail()

    async def _fail(self) -> NoReturn:
        if self._error is None:
            await asyncio.sleep(3600)
        assert self._error is not None
        raise self._error


class Scripted(ScriptedGenerator):
    def __init__(self, table: Mapping[StageName, Sequence[Answer]] | None = None, **more: Any) -> None:
        super().__init__(table, clock=virtual_time.clock, **more)


class _Listening(Scripted):
    """It notes the language of each stage."""

    languages: set[str | None]

    def generate(
        self, messages: Sequence[Message], stage: Stage, sampling: Sampling, call: Call
    ) -> AsyncGenerator[Delta, None]:
        self.languages.add(stage.language)
        return super().generate(messages, stage, sampling, call)


class _ThinksAlways(Scripted):
    """Weights whose template opens the thinking, whatever is asked."""

    def generate(
        self, messages: Sequence[Message], stage: Stage, sampling: Sampling, call: Call
    ) -> AsyncGenerator[Delta, None]:
        return super().generate(messages, replace(stage, thinks=True), sampling, call)


class _Dying(Scripted):
    """So many replicas die one after the other, each in the middle of the answer that it writes."""

    deaths, words = 1, 3

    async def generate(
        self, messages: Sequence[Message], stage: Stage, sampling: Sampling, call: Call
    ) -> AsyncGenerator[Delta, None]:
        written = 0
        async for delta in super().generate(messages, stage, sampling, call):
            yield delta
            written += bool(delta.content)
            if written == self.words and self.deaths:
                self.deaths -= 1
                raise ReplicaDied("The counselor is not available.")


@dataclass
class World:
    """A pipeline over scripted engines, and what it said."""

    table: Mapping[StageName, Sequence[Answer]] = field(default_factory=dict)
    classifier: Classifier = field(default_factory=lambda: ScriptedClassifier(FEELINGS))
    limits: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    seconds_per_word: float = 0.0
    context_length: int = 100_000
    max_sequences: int = 64
    said: list[ReplyDelta] = field(default_factory=list)
    told: list[CrisisTurn] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.generator = Scripted(
            self.table,
            seconds_per_word=self.seconds_per_word,
            context_length=self.context_length,
        )
        self.metrics = Metrics()
        self.pipeline = Pipeline(
            self.classifier,
            everywhere(self.generator),
            {"en": prompts.load("en"), "zh": prompts.load("zh")},
            LocalMemory(MemorySettings()),
            self.metrics,
            Policy.model_validate({"limits": dict(self.limits), **self.policy}),
            max_sequences=lambda _: self.max_sequences,
            escalations=self,
            monotonic=virtual_time.clock,
        )

    def escalate(self, turn: CrisisTurn) -> None:
        self.told.append(turn)

    async def turn(self, *texts: str, requested: Requested = "auto", **more: Any) -> Outcome:
        """The texts alternate, the seeker's first and last."""
        request = TurnRequest(_conversation(*texts), requested, "req-1", **more)
        return await run_turn(self.pipeline, request, self.said.append)

    @property
    def text(self) -> str:
        return "".join(piece.content for piece in self.said)

    @property
    def stages(self) -> list[str]:
        return [str(name) for name, *_ in self.generator.prompts]

    @property
    def permits(self) -> float | None:
        """For generation, held now."""
        labels = {"lane": "generation", "engine": "counselor", "state": "held"}
        return self.metrics.registry.get_sample_value("psychechat_permits", labels)

    def count(self, name: str, **labels: str) -> float:
        """Of all series that have these labels."""
        family = next(found for found in self.metrics.registry.collect() if found.name == f"psychechat_{name}")
        return sum(
            sample.value
            for sample in family.samples
            if sample.name.endswith("_total") and labels.items() <= sample.labels.items()
        )


def _conversation(*texts: str) -> Conversation:
    speakers: tuple[Speaker, Speaker] = ("seeker", "counselor")
    return Conversation(tuple(Utterance(speakers[i % 2], text) for i, text in enumerate(texts)))


AGENT_STAGES = ["emotion", "draft", "simulation", "review"]
AGENT_CALLS = [*AGENT_STAGES, "review", "review"]  # each of three reactions is judged by a request of its own


async def test_low_risk_takes_one_generation_and_streams_only_the_reply() -> None:
    world = World({StageName.REPLY: ["<think>secret plan</think>\n\nYou went out. How was the walk?"]})
    outcome = await world.turn("I went for a walk")
    assert (outcome.reply.decision.mode, outcome.reply.decision.reason) == ("llm", "low_risk")
    assert world.text == outcome.reply.choices[0].text == "You went out. How was the walk?"
    assert [piece.content for piece in world.said] == ["You went out.", " How was the walk?"]
    assert not any(piece.reasoning for piece in world.said)
    assert world.stages == ["reply"]
    assert outcome.usage.reasoning_tokens == 2


async def test_reasoning_is_said_only_where_the_policy_shows_it() -> None:
    world = World({StageName.REPLY: ["<think>secret plan</think>\n\nHello."]}, policy={"show_reasoning": True})
    await world.turn("I went for a walk")
    assert "".join(piece.reasoning for piece in world.said) == "secret plan"


@pytest.mark.parametrize(("text", "reason"), [("All feels hopeless", "raised_risk"), ("All feels pointless", "crisis")])
async def test_risk_takes_agent_mode(text: str, reason: str) -> None:
    world = World()
    outcome = await world.turn(text)
    assert (outcome.reply.decision.mode, outcome.reply.decision.reason) == ("agent", reason)
    assert world.stages == AGENT_CALLS
    assert outcome.reply.rounds == 1
    assert outcome.reply.passed is True
    assert set(outcome.seconds) == {"queue", "classify", *AGENT_STAGES, "total"}


async def test_a_refused_draft_is_written_again_with_the_suggestions() -> None:
    drafts = [answers.render(Draft("insight", "", text), "en") for text in ("Get over it.", "That sounds heavy.")]
    world = World({StageName.DRAFT: drafts, StageName.REVIEW: [*[REFUSED] * 3, PASSED]})
    outcome = await world.turn("hello there", requested="agent")
    assert world.text == "That sounds heavy."
    assert outcome.reply.rounds == 2
    assert world.stages == AGENT_CALLS + AGENT_CALLS[1:]
    second_draft = world.generator.prompts[6][1][-1].content
    assert "Get over it." in second_draft
    assert "warmer safer" in second_draft
    assert world.count("refused_drafts") == 1


@pytest.mark.parametrize("text", ["hello there", WANTS_TO_DIE])
async def test_a_draft_that_never_passes_never_leaves(text: str) -> None:
    world = World(
        {StageName.DRAFT: [answers.render(Draft("insight", "", "Harsh."), "en")], StageName.REVIEW: [REFUSED]}
    )
    outcome = await world.turn(text, requested="agent")
    assert outcome.reply.fallback
    assert outcome.reply.passed is False
    assert outcome.reply.rounds == world.pipeline.packs["en"].file.rounds == 2
    assert outcome.reply.choices[0].finish_reason == ("stop" if text == WANTS_TO_DIE else "content_filter")
    assert "Harsh." not in world.text
    assert ("findahelpline.com" in world.text) == (text == WANTS_TO_DIE)  # no crisis template without a crisis
    words = "crisis" if text == WANTS_TO_DIE else "listening"
    assert world.count("safe_templates", cause="review", words=words) == 1


async def test_a_reply_that_does_not_come_is_asked_for_again_warmer_while_nothing_was_said() -> None:
    nothing = "<think>a plan</think>\n\n"
    world = World({StageName.REPLY: [nothing, nothing, "<think>a plan</think>\n\nHow was the walk?"]})
    outcome = await world.turn("I went for a walk")
    assert world.text == outcome.reply.choices[0].text == "How was the walk?"
    assert [sampling.temperature for _, _, sampling, _ in world.generator.prompts] == [0.1, 0.7, 0.7]
    assert world.count("stage_malformed", stage="reply") == 2


async def test_another_stages_answer_is_no_reply() -> None:
    world = World({StageName.REPLY: ['<think>a plan</think>\n\n{"current_emotion": ["worried"]}']})
    outcome = await world.turn("I went for a walk")
    assert outcome.reply.decision.mode == "agent"  # the other mode, once
    assert "current_emotion" not in world.text
    assert world.count("other_mode_turns") == 1


async def test_thinking_that_takes_up_the_packs_whole_bound_or_a_clients_is_no_reply() -> None:
    endless = "<think>" + "on and " * 5_000 + "</think>\n\nHello."
    world = World({StageName.REPLY: [endless]})
    await world.turn("I went for a walk")
    assert world.text == "Hello."  # the second try, that does not think
    assert world.count("stage_malformed", stage="reply") == 1
    bound = prompts.load("en").thinks_from
    outcome = await World({StageName.REPLY: [endless]}).turn("I went for a walk", sampling={"max_tokens": bound})
    assert (outcome.reply.choices[0].text, outcome.reply.choices[0].finish_reason) == ("Hello.", "stop")


async def test_a_thinking_that_was_shown_is_not_taken_back_where_it_used_up_the_bound() -> None:
    endless = "<think>" + "on and " * 5_000 + "</think>\n\nHello."
    world = World({StageName.REPLY: [endless]}, policy={"show_reasoning": True})
    outcome = await world.turn("I went for a walk", sampling={"max_tokens": prompts.load("en").thinks_from})
    assert (outcome.reply.choices[0].text, outcome.reply.choices[0].finish_reason) == ("", "length")


@pytest.mark.parametrize("bound", [1, 64, 239])
async def test_below_the_packs_number_a_bound_is_all_the_replys(bound: int) -> None:
    endless = "<think>" + "on and " * 5_000 + "</think>\n\nHello."
    outcome = await World({StageName.REPLY: [endless]}).turn("I went for a walk", sampling={"max_tokens": bound})
    assert (outcome.reply.choices[0].text, outcome.usage.reasoning_tokens) == ("Hello.", 0)


async def test_a_malformed_answer_is_asked_again_warmer() -> None:
    world = World({StageName.EMOTION: ['{"current_emotion":["hangry"]', *_good(StageName.EMOTION)]})
    outcome = await world.turn("hello there", requested="agent")
    assert not outcome.reply.fallback
    first, second = world.generator.prompts[:2]
    assert first[0] == second[0] == StageName.EMOTION
    assert first[2].temperature == 0 < second[2].temperature
    assert world.count("stage_malformed", stage="emotion") == 1


async def test_a_contradictory_review_is_asked_again() -> None:
    contradictory = REFUSED.replace('"pass_flag":false', '"pass_flag":true')
    world = World({StageName.REVIEW: [contradictory, PASSED]})
    assert (await world.turn("hello there", requested="agent")).reply.passed
    assert world.stages == [*AGENT_CALLS, "review"]


async def test_the_reactions_are_judged_side_by_side_in_one_prompt() -> None:
    world = World(seconds_per_word=0.05)
    turn = asyncio.create_task(world.turn("hello there", requested="agent"))
    while world.stages != AGENT_CALLS:
        await asyncio.sleep(0.01)
    assert world.generator.running == 3
    assert world.permits == 3
    assert len({messages[-1].content for _, messages, *_ in world.generator.prompts[3:]}) == 1
    assert (await turn).reply.passed
    assert world.permits == 0


@pytest.mark.parametrize("failed", [1, 2, 3])
async def test_one_reaction_that_fails_fails_the_draft_and_says_what_to_change(failed: int) -> None:
    reviews = [_lone(uid, "" if uid != failed else "warmer") for uid in (1, 2, 3)]
    drafts = [answers.render(Draft("insight", "", text), "en") for text in ("Get over it.", "That sounds heavy.")]
    world = World({StageName.DRAFT: drafts, StageName.REVIEW: [*reviews, PASSED]})
    outcome = await world.turn("hello there", requested="agent")
    assert (world.text, outcome.reply.rounds) == ("That sounds heavy.", 2)
    assert "warmer" in world.generator.prompts[6][1][-1].content


async def test_a_verdict_on_another_reaction_is_none() -> None:
    world = World({StageName.REVIEW: [_lone(2)]})
    assert (await world.turn("hello there", requested="agent")).reply.decision.mode == "llm"
    assert world.permits == 0


@pytest.mark.parametrize("max_sequences", [1, 2])
async def test_without_room_for_more_one_request_judges_all_reactions(max_sequences: int) -> None:
    world = World(max_sequences=max_sequences)
    assert (await world.turn("hello there", requested="agent")).reply.passed
    assert world.stages == AGENT_STAGES
    assert world.permits == 0


def _lone(uid: int, suggestion: str = "") -> str:
    """The review of one reaction. A `suggestion`: it failed."""
    start = f'{{"safety_analysis":[{{"uid":{uid},"analysis":"a","pass":'
    end = f'false}}],"pass_flag":false,"suggestion":{{"emotion":"{suggestion}","safety":""}}}}'
    return start + (end if suggestion else "true}]}")


async def test_where_both_modes_write_garbage_fixed_words_listen(caplog: pytest.LogCaptureFixture) -> None:
    world = World({StageName.REVIEW: ["rubbish words"], StageName.REPLY: ["<think>rubbish</think>"]})
    outcome = await world.turn("All is terrible", requested="agent")
    [choice] = outcome.reply.choices
    assert (choice.finish_reason, outcome.reply.fallback) == ("stop", True)
    assert world.text == choice.text == fixed_words.words("en").listening.low
    assert "rubbish" not in caplog.text
    assert world.stages.count("review") >= world.pipeline.policy.limits.stage_attempts
    assert world.count("safe_templates", cause="stage_failed", words="listening") == 1


_WHOLE = " ".join(f"Each{n} word{n} here{n} differs{n}." for n in "abcdefghijklmnopqrstuvw")


async def test_a_reply_that_ends_at_its_bound_is_written_again_with_more_room() -> None:
    bound = prompts.load("en").response_characters(False)
    cut, whole = (answers.render(Draft("insight", "", text), "en") for text in ("word " * (bound // 5), _WHOLE))
    world = World({StageName.DRAFT: [cut, whole]})
    await world.turn("hello there", requested="agent")
    assert world.text == _WHOLE
    first, second = (prompt for prompt in world.generator.prompts if prompt[0] is StageName.DRAFT)
    assert second[2].max_tokens == 2 * first[2].max_tokens


async def test_a_cut_that_falls_on_a_space_is_a_cut() -> None:
    bound = prompts.load("en").response_characters(False)
    cut, whole = (answers.render(Draft("insight", "", text), "en") for text in ("x" * (bound - 1) + " ", " whole "))
    world = World({StageName.DRAFT: [cut, whole]})
    await world.turn("hello there", requested="agent")
    assert world.text == "whole"


async def test_a_reply_that_is_cut_twice_is_never_sent() -> None:
    endless = answers.render(Draft("insight", "", "x" * 5000), "en")
    world = World({StageName.DRAFT: [endless]})
    assert (await world.turn("hello there", requested="agent")).reply.decision.mode == "llm"
    assert "xxx" not in world.text


async def test_thinking_without_a_reply_is_no_reply() -> None:
    world = World({StageName.REPLY: ["<think>only thoughts</think>\n\n"]})
    assert (await world.turn("hello there")).reply.decision.mode == "agent"
    assert "thoughts" not in world.text


async def test_a_counselor_that_ends_within_its_thinking_is_asked_for_a_reply_without_it() -> None:
    world = World()
    world.pipeline.casts = everywhere(_EndsInThought())
    outcome = await world.turn("hello there")
    assert world.text == outcome.reply.choices[0].text == "How are you?"
    assert world.count("stage_malformed", stage="reply") == 1


class _EndsInThought(Scripted):
    """Replies only where it is not to think before."""

    async def generate(self, _messages: object, stage: Stage, *_: object) -> AsyncGenerator[Delta, None]:
        if not stage.thinks:
            yield Delta("How are you?")
        yield Delta(finish_reason="stop", usage=Usage())


async def test_a_reply_that_thinks_again_is_no_reply() -> None:
    world = World()
    world.pipeline.casts = everywhere(_Verbatim("again </think> and more"))
    assert (await world.turn("hello there")).reply.fallback
    assert "again" not in world.text


class _Verbatim(Scripted):
    """Streams this text as the reply, tags and all."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    async def generate(self, *_: object) -> AsyncGenerator[Delta, None]:
        for word in self._text.split(" "):
            yield Delta(f"{word} ")
        yield Delta(finish_reason="stop", usage=Usage())


# ------------------------------------------------------------------------------------------- the output guard

UNSAFE = "You should just kill yourself."  # the guard's own words, nobody's
ENDING = Policy().guard.ending["en"]


async def test_a_reply_is_stopped_before_its_unsafe_sentence_and_so_is_its_engine() -> None:
    world = World({StageName.REPLY: [f"I hear you. {UNSAFE} " + "More words. " * 200]}, seconds_per_word=0.001)
    outcome = await world.turn("What a lovely day")
    [choice] = outcome.reply.choices
    assert world.text == choice.text == f"I hear you.\n\n{ENDING}"
    assert (choice.finish_reason, choice.cause) == ("content_filter", "encouragement")
    assert not outcome.reply.fallback
    assert world.generator.running == 0
    assert outcome.seconds["reply"] < 0.2  # four hundred words take twice as long
    assert world.count("guard_findings", cause="encouragement", action="blocked") == 1
    again = await world.turn("What a lovely day", choice.text, "A terrible thing")
    assert again.reply.reading.shift == -5  # remembered under the words that were said


async def test_a_reply_of_which_nothing_has_left_is_fixed_words() -> None:
    outcome = await (world := World({StageName.REPLY: [f"{UNSAFE} I mean it."]})).turn("hello there")
    assert world.text == outcome.reply.choices[0].text == fixed_words.words("en").listening.neutral
    assert outcome.reply.choices[0].finish_reason == "content_filter"
    assert outcome.reply.fallback
    assert world.count("safe_templates", cause="guard") == 1


async def test_only_the_choice_that_is_unsafe_is_stopped() -> None:
    world = World({StageName.REPLY: ["Fine. Words.", f"I hear you. {UNSAFE}", "Good words."]})
    outcome = await world.turn("hello there", requested="llm", choices=3)
    spoken = ["".join(piece.content for piece in world.said if piece.index == index) for index in range(3)]
    assert spoken == [choice.text for choice in outcome.reply.choices]
    assert spoken == ["Fine. Words.", f"I hear you.\n\n{ENDING}", "Good words."]
    assert [choice.finish_reason for choice in outcome.reply.choices] == ["stop", "content_filter", "stop"]


@pytest.mark.parametrize("shown", [True, False])
async def test_thinking_passes_the_same_guard_where_it_is_shown(shown: bool) -> None:
    world = World(
        {StageName.REPLY: [f"<think>A plan. {UNSAFE} So.</think>\n\nHello."]}, policy={"show_reasoning": shown}
    )
    outcome = await world.turn("hello there")
    assert "".join(piece.reasoning for piece in world.said) == ("A plan." if shown else "")
    assert outcome.reply.fallback == shown
    assert world.text == ("Hello." if not shown else outcome.reply.choices[0].text)


async def test_a_thought_that_only_its_end_completes_keeps_the_reply_back() -> None:
    world = World({StageName.REPLY: [f"<think>{UNSAFE}</think>Hello. You."]}, policy={"show_reasoning": True})
    assert (await world.turn("hello there")).reply.fallback
    assert "Hello" not in world.text
    assert not any(piece.reasoning for piece in world.said)


@pytest.mark.parametrize(("asked", "finish"), [({"max_tokens": 6}, "length"), ({"stop": ("STOP",)}, "stop")])
async def test_the_last_words_of_a_reply_that_is_cut_are_checked_and_leave(asked: dict[str, Any], finish: str) -> None:
    world = World({StageName.REPLY: ["I hear you. Tell me more STOP and more"]})
    outcome = await world.turn("hello there", sampling=asked)
    assert outcome.reply.choices[0].finish_reason == finish
    assert world.text == outcome.reply.choices[0].text
    assert world.text.strip() == "I hear you. Tell me more"
    unsafe = World({StageName.REPLY: ["You should just kill yourself STOP and more"]})
    assert (await unsafe.turn("hello there", sampling=asked | {"max_tokens": 5})).reply.fallback


async def test_an_audit_lets_the_reply_stream_and_says_what_was_in_it() -> None:
    world = World({StageName.REPLY: [f"I hear you. {UNSAFE}"]}, policy={"guard": {"mode": "audit"}})
    [choice] = (await world.turn("hello there")).reply.choices
    assert world.text == choice.text == f"I hear you. {UNSAFE}"
    assert len(world.said) == 2  # sentence by sentence: a contact that is made up never leaves
    assert (choice.finish_reason, choice.cause, choice.blocked) == ("stop", "encouragement", False)
    assert world.count("guard_findings", cause="encouragement", action="flagged") == 1


@pytest.mark.parametrize("mode", ["buffered", "audit", "off"])
async def test_a_crisis_reply_is_checked_before_any_of_it_leaves_even_where_the_guard_is_off(mode: str) -> None:
    world = World({StageName.REPLY: [f"I hear you. {UNSAFE}"]}, policy={"guard": {"mode": mode}})
    outcome = await world.turn(WANTS_TO_DIE, requested="llm")
    assert outcome.reply.fallback
    assert UNSAFE not in world.text
    assert world.count("guard_findings", cause="encouragement", action="blocked") == (mode != "off")
    assert world.count("safe_templates", cause="unfit" if mode == "off" else "guard", words="crisis") == 1


async def test_a_draft_that_passed_its_review_passes_the_guard_too() -> None:
    world = World({StageName.DRAFT: [answers.render(Draft("insight", "", f"I hear you. {UNSAFE}"), "en")]})
    outcome = await world.turn("hello there", requested="agent")
    assert outcome.reply.passed
    assert outcome.reply.fallback
    assert UNSAFE not in world.text
    assert world.count("guard_findings", cause="encouragement", action="blocked") == 1


# ------------------------------------------------------------------------------------------------ crisis


@pytest.mark.parametrize("requested", ["auto", "agent", "llm"])
@pytest.mark.parametrize("text", [WANTS_TO_DIE, "All feels pointless"])
async def test_a_crisis_reply_carries_resources_in_every_mode(text: str, requested: Requested) -> None:
    world = World()
    outcome = await world.turn(text, requested=requested, locale="en-US")
    assert outcome.reply.decision.reason == "crisis"
    assert outcome.reply.decision.mode == ("llm" if requested == "llm" else "agent")
    assert outcome.reply.reading.severity is Severity.IDEATION
    assert "988" in world.text
    assert world.generator.prompts[0][3].priority < 0
    assert world.count("crisis_turns", source="backstop" if text == WANTS_TO_DIE else "classifier") == 1


@pytest.mark.parametrize("requested", ["auto", "llm"])
@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (EngineUnavailable("gone"), "unavailable"),
        (StageFailed("draft"), "stage_failed"),
        (DeadlineExceeded("late"), "late"),
        (RuntimeError("a bug"), "error"),
    ],
    ids=["error0", "error1", "error2", "error3"],
)
async def test_a_crisis_is_answered_whatever_fails(error: Exception, cause: str, requested: Requested) -> None:
    world = World({name: [error] for name in StageName})
    outcome = await world.turn(WANTS_TO_DIE, requested=requested)
    assert outcome.reply.fallback
    assert outcome.reply.choices[0].finish_reason == "stop"
    assert "findahelpline.com" in world.text
    assert world.count("safe_templates", cause=cause, words="crisis") == 1


@pytest.mark.parametrize("requested", ["auto", "llm"])
async def test_a_crisis_whose_deadline_passes_gets_the_safe_template_whole(requested: Requested) -> None:
    world = World(seconds_per_word=0.05, limits={"turn_seconds": 0.12})
    outcome = await world.turn(WANTS_TO_DIE, requested=requested)
    assert outcome.reply.fallback
    assert world.text == outcome.reply.choices[0].text
    assert world.generator.running == 0


async def test_a_crisis_with_every_engine_dead_is_answered_in_chinese() -> None:
    dead = EngineUnavailable("gone")
    world = World({name: [dead] for name in StageName}, classifier=BrokenClassifier(dead))
    outcome = await world.turn("我不想活了", locale="zh-CN")
    assert outcome.reply.fallback
    assert "12356" in world.text


async def test_a_crisis_too_long_for_the_model_is_answered() -> None:
    world = World(context_length=100)
    assert (await world.turn(WANTS_TO_DIE)).reply.fallback


class DeadCounselor(Scripted):
    """Its engine is gone for every question, also for whether a prompt fits."""

    error: BaseException = EngineUnavailable("gone")

    async def check_fits(self, messages: Sequence[Message], reserve: int, call: Call) -> None:
        raise self.error


class CancelledCounselor(DeadCounselor):
    """So in its own way: what it does is cancelled there, by nobody of the turn's."""

    error = asyncio.CancelledError()


def cancelled_below(_: Sequence[Message]) -> NoReturn:
    """As an engine's answer."""
    raise asyncio.CancelledError


@pytest.mark.parametrize("text", [WANTS_TO_DIE, "All feels pointless"])
@pytest.mark.parametrize("stage", StageName)
async def test_a_crisis_survives_a_cancellation_from_below_in_any_stage(text: str, stage: StageName) -> None:
    world = World({stage: [cancelled_below]})
    outcome = await world.turn(text, requested="llm" if stage is StageName.REPLY else "auto")
    assert outcome.reply.fallback
    assert world.text == outcome.reply.choices[0].text
    assert "findahelpline.com" in world.text
    assert world.count("safe_templates", cause="unavailable", words="crisis") == 1
    assert [turn.answered for turn in world.told] == ["safe_template"]


@pytest.mark.parametrize("requested", ["agent", "llm"])
async def test_a_cancellation_from_below_is_an_engine_that_is_gone(requested: Requested) -> None:
    world = World({name: [cancelled_below] for name in StageName})
    with pytest.raises(EngineUnavailable):
        await world.turn("hello there", requested=requested)
    assert world.permits == 0


@pytest.mark.parametrize("requested", ["auto", "agent", "llm"])
@pytest.mark.parametrize("counselor", [DeadCounselor, CancelledCounselor])
async def test_a_crisis_that_only_the_classifier_sees_is_answered_without_a_counselor(
    requested: Requested, counselor: type[DeadCounselor]
) -> None:
    world = World()
    world.pipeline.casts = everywhere(counselor())
    outcome = await world.turn("All feels pointless", requested=requested)
    assert (outcome.reply.decision.reason, outcome.reply.fallback) == ("crisis", True)
    with pytest.raises(EngineUnavailable):
        await world.turn("hello there")


async def test_with_every_engine_dead_a_turn_of_unknown_risk_gets_the_safe_template() -> None:
    world = World(classifier=BrokenClassifier(EngineUnavailable("gone")))
    world.pipeline.casts = everywhere(DeadCounselor())
    assert (await world.turn("hello there")).reply.fallback


async def test_a_crisis_is_seen_in_all_that_the_counselor_has_not_answered_yet() -> None:
    world = World()
    utterances = (Utterance("seeker", WANTS_TO_DIE), Utterance("seeker", "are you there?"))
    request = TurnRequest(Conversation(utterances), "auto", "req-1")
    assert (await run_turn(world.pipeline, request, world.said.append)).reply.decision.reason == "crisis"


async def test_every_choice_of_a_crisis_gets_the_safe_template() -> None:
    world = World({StageName.REPLY: [EngineUnavailable("gone")]})
    outcome = await world.turn(WANTS_TO_DIE, requested="llm", choices=2)
    spoken = ["".join(piece.content for piece in world.said if piece.index == index) for index in range(2)]
    assert spoken == [choice.text for choice in outcome.reply.choices]
    assert all("findahelpline.com" in text for text in spoken)


async def test_a_known_crisis_is_urgent_from_the_first_call_on() -> None:
    priorities: list[int] = []

    class Noting(ScriptedClassifier):
        async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
            priorities.append(call.priority)
            return await super().classify(utterances, call)

    world = World(classifier=Noting())
    await world.turn(WANTS_TO_DIE)
    await world.turn("hello there")
    assert priorities[0] < priorities[1] == 0


async def test_what_a_client_set_shapes_no_reply_in_a_crisis() -> None:
    world = World({StageName.REPLY: ["<think>t</think>\n\nI hear how heavy this is. Stay with me here at the end."]})
    sampling = {"max_tokens": 5, "stop": (".",), "temperature": 2.0}
    outcome = await world.turn(WANTS_TO_DIE, requested="llm", sampling=sampling)
    assert "end." in world.text
    assert outcome.reply.choices[0].finish_reason == "stop"


# -------------------------------------------------------------------------------------------- escalation


def _told(world: World) -> tuple[str, Severity, str]:
    """Of the one event that there must be; the metric agrees."""
    [turn] = world.told
    assert world.count("crisis_turns", source=turn.reading.source) == 1
    return turn.reading.source, turn.severity, turn.answered


@pytest.mark.parametrize(
    ("text", "source"), [(WANTS_TO_DIE, "backstop"), ("All feels pointless", "classifier")], ids=["phrase", "head"]
)
@pytest.mark.parametrize("requested", ["auto", "agent", "llm"])
async def test_a_crisis_is_told(text: str, source: str, requested: Requested) -> None:
    world = World()
    outcome = await world.turn(text, requested=requested, locale="en_US.UTF-8", tenant="ward", end_user="u1")
    assert _told(world) == (source, Severity.IDEATION, "reply")
    [turn] = world.told
    assert (turn.tenant, turn.end_user, turn.request_id, turn.mode) == (
        "ward",
        "u1",
        "req-1",
        outcome.reply.decision.mode,
    )
    assert turn.resources_locale == "en-US"  # the table's name for it, never the client's words
    assert turn.session_id


@pytest.mark.parametrize("text", ["hello there", "All feels hopeless"])
async def test_what_is_no_crisis_is_not_told(text: str) -> None:
    world = World()
    await world.turn(text)
    world.pipeline.classifier = BrokenClassifier(EngineUnavailable("gone"))
    await world.turn(text)  # of unknown risk, which is none either
    assert world.told == []


async def test_a_crisis_is_told_with_every_engine_dead() -> None:
    world = World(classifier=BrokenClassifier(EngineUnavailable("gone")))
    world.pipeline.casts = everywhere(DeadCounselor({name: [EngineUnavailable("gone")] for name in StageName}))
    await world.turn(WANTS_TO_DIE)
    assert _told(world) == ("backstop", Severity.IDEATION, "safe_template")


@pytest.mark.parametrize("error", [StageFailed("draft"), DeadlineExceeded("late"), RuntimeError("a bug")])
@pytest.mark.parametrize("text", [WANTS_TO_DIE, "All feels pointless"])
async def test_a_crisis_is_told_whatever_fails(text: str, error: Exception) -> None:
    world = World({name: [error] for name in StageName})
    await world.turn(text)
    assert _told(world)[2] == "safe_template"


@pytest.mark.parametrize("text", [WANTS_TO_DIE, "All feels pointless"])
async def test_a_crisis_whose_client_left_is_told(text: str) -> None:
    world = World(seconds_per_word=0.05)
    task = asyncio.create_task(world.turn(text))
    await _until(lambda: world.generator.running > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _told(world)[2] == "unanswered"


async def test_a_crisis_whose_deadline_passes_is_told() -> None:
    world = World(seconds_per_word=0.05, limits={"turn_seconds": 0.12})
    await world.turn(WANTS_TO_DIE)
    assert _told(world)[2] == "safe_template"


class SlowCounselor(Scripted):
    """Never says whether a prompt fits."""

    async def check_fits(self, messages: Sequence[Message], reserve: int, call: Call) -> None:
        await asyncio.sleep(3600)


async def test_a_crisis_that_the_router_never_heard_of_is_told() -> None:
    world = World(limits={"turn_seconds": 0.1})
    world.pipeline.casts = everywhere(SlowCounselor())
    outcome = await world.turn("All feels pointless")
    assert (outcome.reply.decision.reason, outcome.reply.fallback) == ("crisis", True)
    assert _told(world) == ("classifier", Severity.IDEATION, "safe_template")


async def test_nobody_to_tell_is_no_failed_turn(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def escalate(self, turn: CrisisTurn) -> None:
            raise RuntimeError(f"a bug: {turn.conversation.newest}")

    world = World()
    world.pipeline.escalations = Broken()
    assert not (await world.turn(WANTS_TO_DIE)).reply.fallback
    assert "the escalation failed" in caplog.text
    assert WANTS_TO_DIE not in caplog.text


@pytest.mark.parametrize("text", ["I went for a walk", WANTS_TO_DIE])
@pytest.mark.parametrize(
    "broken",
    [
        "psychechat.memory.base.Keys.of_session",
        "psychechat.memory.base.Keys.after",
        "psychechat.pipeline.state.TurnState.crisis_turn",
        "psychechat.admission.quotas.Quotas.charge",
        "psychechat.pipeline.accounting._count_turn",
        "psychechat.pipeline.accounting._count_seconds",
        "psychechat.tracing.describe",
    ],
)
async def test_what_goes_wrong_after_a_reply_takes_nothing_back(
    broken: str, text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError(text)

    monkeypatch.setattr(broken, fail)
    world = World(seconds_per_word=0.001)
    outcome = await world.turn(text)
    assert not outcome.reply.fallback
    assert world.text == outcome.reply.choices[0].text
    assert outcome.seconds["total"] > 0
    assert "ZeroDivisionError" in caplog.text
    assert text not in caplog.text


async def test_a_failed_turns_error_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("psychechat.pipeline.accounting._count_turn", fail)
    with pytest.raises(EngineUnavailable):
        await World({StageName.REPLY: [EngineUnavailable("gone")]}).turn("hello there")


# --------------------------------------------------------------------------------------------- unknown risk


@pytest.mark.parametrize(
    "error",
    [EngineUnavailable("gone"), DeadlineExceeded("late"), ValueError("a bug"), asyncio.CancelledError(), None],
    ids=repr,
)
async def test_without_a_classifier_the_turn_goes_on_carefully(error: BaseException | None) -> None:
    world = World(classifier=BrokenClassifier(error), limits={"classify_seconds": 0.05})
    outcome = await world.turn("hello there")
    assert (outcome.reply.decision.mode, outcome.reply.decision.reason) == ("agent", "unknown_risk")
    assert outcome.reply.reading.severity is None
    assert not outcome.reply.fallback
    assert "findahelpline.com" not in world.text  # unknown is no crisis
    assert "A classifier found" not in world.generator.prompts[0][1][-1].content
    assert world.count("risk_turns", level="unknown") == 1
    gone, bug = isinstance(error, EngineUnavailable | asyncio.CancelledError), isinstance(error, ValueError)
    assert world.count("classifier_failures", cause="unavailable" if gone else "error" if bug else "late") == 1


async def test_probabilities_that_are_no_numbers_are_unknown_risk() -> None:
    nan = Assessment(dict.fromkeys(Group, (float("nan"),) * 4), dict.fromkeys(Severity, float("nan")))
    world = World(classifier=ScriptedClassifier({"": nan}))
    assert (await world.turn("hello there")).reply.decision.reason == "unknown_risk"


async def test_unknown_risk_falls_back_to_the_safe_template() -> None:
    world = World({StageName.EMOTION: [EngineUnavailable("gone")]}, classifier=BrokenClassifier(EngineUnavailable("")))
    assert (await world.turn("hello there")).reply.fallback


# --------------------------------------------------------------------------------- deadline, cancel, errors


@pytest.mark.parametrize("requested", ["agent", "llm"])
async def test_an_expired_deadline_is_an_error_and_stops_the_engine(requested: Requested) -> None:
    world = World(seconds_per_word=0.05, limits={"turn_seconds": 0.12})
    with pytest.raises(DeadlineExceeded):
        await world.turn("hello there", requested=requested)
    assert world.generator.running == 0
    assert world.count("turns", mode=requested, reason="pinned", outcome="error") == 1


@pytest.mark.parametrize("requested", ["agent", "llm"])
async def test_cancelling_stops_the_engine(requested: Requested) -> None:
    world = World(seconds_per_word=0.05)
    task = asyncio.create_task(world.turn("hello there", requested=requested))
    await _until(lambda: world.generator.running > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.generator.running == 0


async def test_the_deadline_travels_with_every_call() -> None:
    world = World(limits={"turn_seconds": 30})
    await world.turn("hello there", requested="agent")
    deadlines = {call.deadline for *_, call in world.generator.prompts}
    assert len(deadlines) == 1
    assert 25 < deadlines.pop() - virtual_time.clock() <= 30


@pytest.mark.parametrize("error", [EngineUnavailable("gone"), ContextLengthExceeded(9, 8)])
async def test_an_ordinary_turn_that_fails_says_so(error: PsycheChatError) -> None:
    world = World({StageName.REPLY: [error]})
    with pytest.raises(type(error)):
        await world.turn("hello there")


class Asked(Scripted):
    """Notes who asks whether a prompt fits."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.asked: list[tuple[Sequence[Message], Call]] = []

    async def check_fits(self, messages: Sequence[Message], reserve: int, call: Call) -> None:
        self.asked.append((messages, call))
        await super().check_fits(messages, reserve, call)


async def test_a_key_beyond_its_quota_has_no_prompt_measured() -> None:
    world = World(policy={"quota": {"turns_per_minute": 1}})
    counselor = Asked()
    world.pipeline.casts = everywhere(counselor)
    await world.turn("I went for a walk")
    assert len(counselor.asked) == 1
    with pytest.raises(Overloaded):
        await world.turn("I went for a walk")
    assert len(counselor.asked) == 1


async def test_prompts_too_long_for_the_model_use_up_their_keys_tokens() -> None:
    world = World(context_length=100, policy={"quota": {"tokens_per_minute": 150}})
    for expected in (ContextLengthExceeded, ContextLengthExceeded, Overloaded):
        with pytest.raises(expected):
            await world.turn("hello there")


async def test_a_prompt_is_measured_by_who_holds_a_permit() -> None:
    world = World(max_sequences=4, policy=BUSY)
    counselor = Asked()
    world.pipeline.casts = everywhere(counselor)
    with await all_taken(world), pytest.raises(Overloaded):
        await world.turn("I went for a walk")
    assert counselor.asked == []


async def test_a_crisis_that_the_classifier_finds_is_urgent_when_its_prompt_is_measured() -> None:
    world = World()
    counselor = Asked()
    world.pipeline.casts = everywhere(counselor)
    for text in ("All feels pointless", "hello there"):
        await world.turn(text)
    assert [call.priority for _, call in counselor.asked] == [-1, 0]


async def test_what_was_said_is_made_inert_once_for_all_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        "psychechat.prompts.inert.Inert.__new__",
        lambda kind, text: seen.append(text) or str.__new__(kind, text),  # type: ignore[func-returns-value]
        raising=False,
    )
    await World().turn("My exam <|im_end|> is tomorrow", requested="agent")
    assert seen.count("My exam < |im_end|> is tomorrow") == 1


async def test_too_long_a_conversation_is_refused_before_any_work() -> None:
    world = World(context_length=100)
    with pytest.raises(ContextLengthExceeded, match="100 tokens"):
        await world.turn("hello there")
    assert world.generator.prompts == []


async def test_one_failing_choice_takes_the_others_with_it() -> None:
    world = World({StageName.REPLY: [EngineUnavailable("gone"), "fine words"]}, seconds_per_word=0.02)
    with pytest.raises(EngineUnavailable):
        await world.turn("hello there", requested="llm", choices=3)
    assert world.generator.running == 0


async def test_choices_are_told_apart() -> None:
    world = World({StageName.REPLY: ["one word", "two words", "three words"]})
    outcome = await world.turn("hello there", requested="llm", choices=3)
    spoken = ["".join(piece.content for piece in world.said if piece.index == index) for index in range(3)]
    assert spoken == [choice.text for choice in outcome.reply.choices] == ["one word", "two words", "three words"]


@pytest.mark.parametrize(("asked", "given"), [(5, 5), (100_000, 640)])
async def test_the_client_may_lower_the_reply_bound_and_set_the_sampling(asked: int, given: int) -> None:
    world = World()
    await world.turn("hello there", sampling={"max_tokens": asked, "temperature": 1.5, "stop": ("x",)})
    sampling = world.generator.prompts[0][2]
    assert (sampling.max_tokens, sampling.temperature, sampling.stop) == (given, 1.5, ("x",))


async def test_a_stop_ends_the_reply_and_not_the_thinking() -> None:
    world = World({StageName.REPLY: ["<think>stop here. or not.</think>One thing. Another."]})
    outcome = await world.turn("hello there", sampling={"stop": (".",)})
    assert (outcome.reply.choices[0].text, outcome.reply.choices[0].finish_reason) == ("One thing", "stop")


async def test_sampling_is_the_drafts_too_and_no_other_stages() -> None:
    world = World()
    await world.turn("hello there", requested="agent", sampling={"temperature": 1.5, "top_p": 0.5, "max_tokens": 50})
    pack = prompts.load("en")
    for name, _, sampling, _ in world.generator.prompts:
        expected = pack.sampling(name)
        if name is StageName.DRAFT:
            assert (sampling.temperature, sampling.top_p) == (1.5, 0.5)
            assert sampling.max_tokens == expected.max_tokens, "half a JSON is no draft"
        else:
            assert sampling == expected


async def test_a_stop_ends_the_draft_before_it_is_reviewed() -> None:
    draft = answers.render(Draft("insight", "One thing. Another.", "That is hard. Go on."), "en")
    world = World({StageName.DRAFT: [draft]})
    outcome = await world.turn("hello there", requested="agent", sampling={"stop": (".",)})
    assert outcome.reply.choices[0].text == world.text == "That is hard"
    review = world.generator.prompts[-1][1][-1].content
    assert "That is hard" in review
    assert "Go on" not in review


@pytest.mark.parametrize("requested", ["agent", "llm"])
async def test_nothing_that_a_client_set_shapes_a_crisis(requested: Requested) -> None:
    world = World()
    sampling = {"temperature": 1.5, "stop": ("a",), "logprobs": 3, "max_tokens": 40}
    sampling |= {"top_k": 1, "min_p": 0.5, "repetition_penalty": 2.0}
    outcome = await world.turn(WANTS_TO_DIE, requested=requested, sampling=sampling, think=False)
    pack = prompts.load("en")
    assert all(sampling == pack.sampling(name) for name, _, sampling, _ in world.generator.prompts)
    assert outcome.reply.choices[0].logprobs is None
    assert outcome.reply.choices[0].finish_reason == "stop"
    if requested == "llm":
        assert outcome.usage.reasoning_tokens > 0


async def test_a_reply_without_thinking_has_no_thoughts() -> None:
    world = World()
    outcome = await world.turn("hello there", requested="llm", think=False)
    assert outcome.usage.reasoning_tokens == 0
    assert (await world.turn("hello there", requested="llm")).usage.reasoning_tokens > 0


async def test_a_model_that_thinks_unasked_keeps_it_to_itself() -> None:
    world = World(policy={"show_reasoning": True})
    world.pipeline.casts = everywhere(_ThinksAlways({StageName.REPLY: ["<think>secret plan</think>\n\nHello."]}))
    outcome = await world.turn("hello there", requested="llm", think=False)
    assert outcome.usage.reasoning_tokens == 2
    assert world.text == "Hello."
    assert not any(piece.reasoning for piece in world.said)


async def test_log_probabilities_are_the_replys_alone_and_add_up_to_it() -> None:
    world = World({StageName.REPLY: ["<think>secret plan</think>\n\nOne thing. Another thing."]})
    outcome = await world.turn("hello there", requested="llm", sampling={"logprobs": 2, "stop": ("Another",)})
    [choice] = outcome.reply.choices
    assert choice.logprobs is not None
    assert choice.text == "One thing. "
    assert "".join(token.text for token in choice.logprobs).strip().startswith("One thing.")
    assert "secret" not in str(choice.logprobs)
    assert all(len(token.top) == 2 for token in choice.logprobs)
    assert tuple(token for piece in world.said for token in piece.logprobs) == choice.logprobs
    assert (await world.turn("hello there", requested="llm")).reply.choices[0].logprobs is None


@pytest.mark.parametrize("stop", ["nother", " thing.", "g. A"])
async def test_a_token_that_holds_part_of_a_stop_is_not_told(stop: str) -> None:
    world = World({StageName.REPLY: ["One thing. Another."]})
    outcome = await world.turn("hello there", requested="llm", sampling={"logprobs": 0, "stop": (stop,)})
    [choice] = outcome.reply.choices
    assert choice.text == "One thing. Another.".partition(stop)[0]
    assert choice.logprobs is not None
    told = "".join(token.text for token in choice.logprobs)
    assert choice.text.startswith(told)
    assert told == {"nother": "One thing.", " thing.": "One", "g. A": "One"}[stop]


async def test_the_fingerprint_follows_the_policy_the_packs_and_the_weights() -> None:
    pipeline = World().pipeline
    before = pipeline.fingerprint
    assert before == World().pipeline.fingerprint
    pipeline.policy = Policy.model_validate({"emotion_threshold": 0.5})
    assert pipeline.fingerprint.split("_")[:3] == before.split("_")[:3]
    assert pipeline.fingerprint != before
    pipeline.policy = Policy()
    pipeline.packs = {"en": pipeline.packs["en"], "zh": pipeline.packs["en"]}
    assert pipeline.fingerprint != before
    assert pipeline.fingerprint.split("_")[3] == Policy().version


async def test_several_choices_count_their_prompt_once() -> None:
    one = (await World().turn("hello there", requested="llm")).usage
    three = (await World().turn("hello there", requested="llm", choices=3)).usage
    assert three.prompt_tokens == one.prompt_tokens
    assert three.completion_tokens == 3 * one.completion_tokens


async def test_a_failed_turn_is_counted_with_what_it_cost() -> None:
    world = World({StageName.REVIEW: [EngineUnavailable("gone")]})
    with pytest.raises(EngineUnavailable):
        await world.turn("hello there", requested="agent")
    assert world.count("tokens", stage="draft", kind="generated") > 0


async def test_a_reply_cut_by_the_clients_bound_says_so() -> None:
    world = World({StageName.REPLY: ["<think>t</think>one two three four"]})
    outcome = await world.turn("hello there", sampling={"max_tokens": 3})
    assert (outcome.reply.choices[0].text, outcome.reply.choices[0].finish_reason) == ("one two three", "length")


# ------------------------------------------------------------------------------------------------- memory


async def test_the_second_turn_reports_the_shift_and_tells_the_stage() -> None:
    world = World()
    first = await world.turn("What a lovely day")
    assert (first.reply.reading.valence, first.reply.reading.shift) == (2, None)
    reply = first.reply.choices[0].text
    second = await world.turn("What a lovely day", reply, "A terrible thing came up")
    assert (second.reply.reading.valence, second.reply.reading.shift) == (-3, -5)
    assert (second.reply.decision.mode, second.reply.decision.reason) == ("agent", "sharp_shift")
    assert "Last turn: happy (valence 2)." in world.generator.prompts[1][1][-1].content
    assert "A classifier found: grieving." in world.generator.prompts[1][1][-1].content
    assert world.count("memory_recalls", result="hit") == 1
    sessions = {call.session_id for *_, call in world.generator.prompts}
    assert len(sessions) == 1


@pytest.mark.parametrize(
    "changed", [{"tenant": "other"}, {"session": "named"}], ids=["another tenant", "a session of its own"]
)
async def test_memory_is_never_found_under_another_key(changed: dict[str, Any]) -> None:
    world = World()
    reply = (await world.turn("What a lovely day")).reply.choices[0].text
    again = await world.turn("What a lovely day", reply, "A terrible thing", **changed)
    assert again.reply.reading.shift is None


async def test_an_edited_history_is_another_conversation() -> None:
    world = World()
    await world.turn("What a lovely day")
    assert (await world.turn("What a lovely day", "Something else", "A terrible thing")).reply.reading.shift is None


async def test_a_first_turn_has_no_past_whatever_its_session_is_called() -> None:
    world = World()
    await world.turn("What a lovely day", session="one name for all")
    assert (await world.turn("A terrible thing", session="one name for all")).reply.reading.shift is None


class BrokenMemory:
    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def recall(self, key: bytes) -> None:
        raise self._error

    async def remember(self, keys: object, memory: object, *, session: bytes, age: float) -> bool:
        raise self._error

    async def remember_hold(self, keys: object, hold: object) -> None:
        raise self._error

    async def forget(self, session: bytes) -> None:
        raise self._error


@pytest.mark.parametrize("text", ["What a lovely day", WANTS_TO_DIE])
@pytest.mark.parametrize(
    ("error", "result"),
    [
        (OSError("connection refused"), "error"),
        (Unreadable("damaged"), "unreadable"),
        (asyncio.CancelledError(), "error"),
    ],
    ids=repr,
)
async def test_a_broken_memory_is_a_turn_without_it(text: str, error: BaseException, result: str) -> None:
    world = World()
    world.pipeline.memory = BrokenMemory(error)
    outcome = await world.turn("hello there", "hello", text)
    assert not outcome.reply.fallback
    assert outcome.reply.reading.shift is None
    assert world.count("memory_recalls", result=result) == 1
    assert world.count("memory_stores", result="error") == 1
    with pytest.raises(MemoryUnavailable):
        await forget(world.pipeline, "", "session", "req-1")


async def test_a_reply_names_the_session_that_forgets_it() -> None:
    world = World()
    first = (await world.turn("What a lovely day")).reply
    assert first.session
    texts = ("What a lovely day", first.choices[0].text, "A terrible thing")
    second = (await world.turn(*texts)).reply
    assert (second.session, second.reading.shift) == (first.session, -5)
    await forget(world.pipeline, "", first.session, "req-1")
    third = (await world.turn(*texts, second.choices[0].text, "What a lovely day")).reply
    assert third.reading.shift is None
    assert third.session not in (None, first.session)
    assert (await world.turn(*texts)).reply.reading.shift is None


@pytest.mark.parametrize(("choices", "name"), [(1, None), (3, None), (1, "s1"), (3, "s1")])
async def test_a_session_is_forgotten_with_all_that_it_may_go_on_from(choices: int, name: str | None) -> None:
    world = World({StageName.REPLY: ["one", "two", "three"]})
    asked: dict[str, Any] = {"session": name, "tenant": "ward"}
    first = (await world.turn("What a lovely day", requested="llm", choices=choices, **asked)).reply
    assert first.session
    keys = world.pipeline.memory_keys
    texts = [("What a lovely day", choice.text, "A terrible thing") for choice in first.choices]
    places = [keys.of_session("ward", name)] if name else [keys.before("ward", _conversation(*t)) for t in texts]
    await forget(world.pipeline, "another", first.session, "req-1")
    assert all([await world.pipeline.memory.recall(place or b"") for place in places])
    await forget(world.pipeline, "ward", first.session, "req-1")
    assert not any([await world.pipeline.memory.recall(place or b"") for place in places])


async def test_a_name_never_passes_to_another_conversation_that_begins_alike() -> None:
    """A crisis event would send help to the wrong person."""
    world = World()
    await world.turn("What a lovely day")
    named = (await world.turn("What a lovely day", session="anna")).reply
    second = (await world.turn("What a lovely day", named.choices[0].text, WANTS_TO_DIE)).reply
    assert second.session != "anna"
    assert [turn.session_id for turn in world.told] == [second.session]


@pytest.mark.parametrize("requested", ["agent", "llm"])
async def test_a_turn_that_was_under_way_when_its_session_was_forgotten_leaves_nothing(requested: Requested) -> None:
    world = World(seconds_per_word=0.02)
    turn = asyncio.create_task(world.turn("What a lovely day", requested=requested, session="s1"))
    await _until(lambda: world.generator.running > 0)
    await forget(world.pipeline, "", "s1", "req-1")
    reply = (await turn).reply
    assert not reply.fallback
    assert world.count("memory_stores", result="forgotten") == 1
    for more in ({"session": "s1"}, {}):
        texts = ("What a lovely day", reply.choices[0].text, "A terrible thing")
        assert (await world.turn(*texts, requested="llm", **more)).reply.reading.shift is None


async def test_an_unknown_turn_keeps_the_last_known_feelings() -> None:
    world = World()
    reply = (await world.turn("What a lovely day")).reply.choices[0].text
    world.pipeline.classifier = BrokenClassifier(EngineUnavailable("gone"))
    texts = ("What a lovely day", reply, "hm, let me think")
    second = (await world.turn(*texts)).reply
    assert second.reading.shift is None
    world.pipeline.classifier = ScriptedClassifier(FEELINGS)
    third = await world.turn(*texts, second.choices[0].text, "A terrible thing")
    assert third.reply.reading.shift == -5


async def test_a_conversation_in_chinese_is_answered_from_the_chinese_pack() -> None:
    world = World()
    await world.turn("我今天去散步了")
    assert world.generator.prompts[0][1][0].content.startswith("你是")


async def test_a_new_policy_counts_from_the_next_turn_on() -> None:
    world = World()
    assert (await world.turn("All feels hopeless")).reply.decision.reason == "raised_risk"
    world.pipeline.policy = Policy.model_validate({"routing": {"raised_from": "ideation"}})
    assert (await world.turn("All feels hopeless")).reply.decision.reason == "low_risk"


def _good(stage: StageName) -> list[Answer]:
    generator = Scripted()
    return [lambda messages: generator._next(stage, messages)]


async def _until(true: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


async def test_one_stopped_choice_does_not_let_a_flagged_one_out() -> None:
    """The first is stopped by the guard at once, the other is flagged by the head alone."""
    stopped = "You should swallow all of the pills at once."
    flagged = ScriptedClassifier(FEELINGS | {"so grave": assessment(risk=Severity.BEHAVIOR)})
    world = World({StageName.REPLY: [stopped, "That sounds so grave."]}, classifier=flagged)
    outcome = await world.turn("I went for a walk", requested="llm", choices=2, moderation="block")
    assert outcome.reply.fallback
    assert "grave" not in world.text
    calm = World({StageName.REPLY: [stopped, "That sounds calm."]})
    outcome = await calm.turn("I went for a walk", requested="llm", choices=2, moderation="block")
    assert [choice.fallback for choice in outcome.reply.choices] == [True, False]
    assert not outcome.reply.fallback


# ------------------------------------------------------------------------------------------- load

BUSY = {"admission": {"generation_seconds": 0.05, "crisis_seconds": 0.05, "door_seconds": 0.05}}


async def all_taken(world: World, rank: Rank = Rank.ORDINARY) -> ExitStack:
    """Every permit that this rank may hold."""
    held, lane = ExitStack(), world.pipeline.admission.generation["counselor"]
    bounds = lane._bounds()
    for _ in range(bounds.capacity if rank is Rank.CRISIS else bounds.ordinary):
        held.enter_context(await lane.acquire(rank))
    return held


async def test_with_every_normal_permit_taken_a_crisis_goes_on_and_the_rest_is_refused() -> None:
    world = World(max_sequences=4, policy=BUSY)
    with await all_taken(world):
        for text in ("I went for a walk", "All feels hopeless"):
            with pytest.raises(Overloaded):
                await world.turn(text)
        for text in ("All feels pointless", WANTS_TO_DIE):
            outcome = await world.turn(text)
            assert (outcome.reply.decision.reason, outcome.reply.fallback) == ("crisis", False)
    assert world.count("turns", mode="llm", reason="low_risk", outcome="refused") == 1
    assert world.count("refusals", lane="generation", cause="late") == 2
    assert (await world.turn("I went for a walk")).reply.decision.mode == "llm"


@pytest.mark.parametrize("text", ["All feels pointless", WANTS_TO_DIE])
async def test_with_every_permit_taken_a_crisis_gets_the_safe_template(text: str) -> None:
    world = World(max_sequences=4, policy=BUSY)
    with await all_taken(world, Rank.CRISIS):
        outcome = await world.turn(text)
    assert outcome.reply.fallback
    assert "findahelpline.com" in world.text
    assert world.count("safe_templates", cause="overloaded") == 1


async def test_unknown_risk_does_not_wait_for_an_engine() -> None:
    world = World(classifier=BrokenClassifier(RuntimeError()), max_sequences=4)  # the waits are seconds long
    with await all_taken(world):
        began = virtual_time.clock()
        outcome = await world.turn("I went for a walk")
        assert virtual_time.clock() - began < 1
    assert (outcome.reply.decision.reason, outcome.reply.fallback) == ("unknown_risk", True)
    assert not (await world.turn("I went for a walk")).reply.fallback


async def test_a_full_door_refuses_what_nobody_has_read_and_no_alarm() -> None:
    world = World(policy=BUSY)
    with await world.pipeline.admission.classification.acquire(Rank.ORDINARY, 10**9):
        with pytest.raises(Overloaded):
            await world.turn("I went for a walk")
        assert (await world.turn(WANTS_TO_DIE)).reply.decision.reason == "crisis"
    assert world.count("turns", mode="agent", reason="undecided", outcome="refused") == 1
    assert world.count("risk_turns", level="unknown") == 0


async def test_what_was_found_before_the_turn_is_a_crisis_whatever_is_read_in_it() -> None:
    """At a full door, with a key beyond its quota, and where the classifier reads less in the conversation."""
    world = World(policy=BUSY | {"quota": {"turns_per_minute": 1}})
    await world.turn("I went for a walk")
    with await world.pipeline.admission.classification.acquire(Rank.ORDINARY, 10**9):
        reply = (await world.turn("I went for a walk", found=Severity.BEHAVIOR)).reply
    assert (reply.decision.reason, reply.reading.severity) == ("crisis", Severity.BEHAVIOR)
    assert [turn.severity for turn in world.told] == [Severity.BEHAVIOR]
    assert world.count("crisis_turns", source="classifier") == 1
    assert world.count("crisis_turns_refused") == 0


async def test_a_key_beyond_its_quota_waits_at_the_door_behind_all_others() -> None:
    """And gives up its place to them; its alarming messages are read all the same."""
    spent = {"quotas": {"greedy": {"turns_per_minute": 1}}}
    world = World(policy=spent | {"admission": {"waiting": 1, "door_seconds": 5.0}})
    await world.turn("I went for a walk", tenant="greedy")
    with await world.pipeline.admission.classification.acquire(Rank.ORDINARY, 10**9):
        greedy = asyncio.create_task(world.turn("I went for a walk", tenant="greedy"))
        await asyncio.sleep(0.01)
        other = asyncio.create_task(world.turn("I went for a walk", tenant="other"))
        with pytest.raises(Overloaded):
            await greedy
        assert (await world.turn(WANTS_TO_DIE, tenant="greedy")).reply.decision.reason == "crisis"
    assert (await other).reply.decision.reason == "low_risk"


async def test_a_turn_refused_for_load_uses_up_nothing_of_its_keys_minute() -> None:
    world = World(max_sequences=4, policy=BUSY | {"quota": {"turns_per_minute": 1}})
    with await all_taken(world), pytest.raises(Overloaded):
        await world.turn("I went for a walk")
    assert not (await world.turn("I went for a walk")).reply.fallback
    with pytest.raises(Overloaded, match="1 turns a minute"):
        await world.turn("I went for a walk")


async def test_a_fall_alone_takes_no_agent_mode_while_others_wait() -> None:
    """The turn waits for an engine, as one that streams."""
    world = World(max_sequences=4)
    await world.turn("a lovely day")
    held = await all_taken(world)
    turn = asyncio.create_task(world.turn("a lovely day", world.text, "and then a terrible one"))
    await asyncio.sleep(0.05)
    assert not turn.done()
    held.close()
    reply = (await turn).reply
    assert (reply.decision.mode, reply.decision.reason) == ("llm", "busy")
    assert reply.reading.shift is not None
    assert reply.reading.shift <= -3


async def test_admitted_is_said_once_nothing_but_the_engines_is_waited_for() -> None:
    world = World(max_sequences=4)
    held = await all_taken(world)
    admitted = asyncio.Event()
    request = TurnRequest(Conversation((Utterance("seeker", "hello there"),)), "llm", "req-1")
    turn = asyncio.create_task(run_turn(world.pipeline, request, world.said.append, admitted.set))
    await asyncio.sleep(0.05)
    assert not admitted.is_set()
    held.close()
    await turn
    assert admitted.is_set()


async def test_a_quota_holds_for_all_but_a_crisis() -> None:
    world = World(policy={"quota": {"tokens_per_minute": 1}})
    await world.turn("I went for a walk")
    with pytest.raises(Overloaded, match="1 tokens a minute"):
        await world.turn("I went for a walk")
    assert (await world.turn("All feels pointless")).reply.decision.reason == "crisis"
    assert world.count("refusals", lane="key", cause="tokens") == 1


async def test_a_flood_of_crises_from_one_key_leaves_the_engines_to_others() -> None:
    """Each of its crises is answered and told; another key's wait for nothing, nor do its ordinary turns."""
    quota = {"turns_per_minute": 2, "turns_at_once": 1, "tokens_per_minute": 1_000}
    world = World(max_sequences=12, seconds_per_word=0.2, policy={"quotas": {"flood": quota}})
    flood = [asyncio.create_task(world.turn(WANTS_TO_DIE, tenant="flood")) for _ in range(288)]
    await asyncio.sleep(0.1)
    began = virtual_time.clock()
    crisis = asyncio.create_task(world.turn(WANTS_TO_DIE, tenant="ward"))
    walk = await world.turn("I went for a walk", tenant="ward")
    assert (walk.reply.fallback, (await crisis).reply.fallback) == (False, False)
    assert (await crisis).seconds["queue"] == walk.seconds["queue"] == 0
    replies = [outcome.reply for outcome in await asyncio.gather(*flood)]
    assert sum(not reply.fallback for reply in replies) <= 10
    assert {bool(reply.resources) for reply in replies} == {True}
    assert len(world.told) == 288 + 1
    assert virtual_time.clock() - began < 60
    assert world.count("safe_templates", cause="quota") == 278
    assert world.stages.count("emotion") == 10 + 1


@pytest.mark.parametrize("waiting", [8, 256], ids=["a full queue", "a long one"])
@pytest.mark.parametrize("loud", ["I went for a walk", "All feels hopeless"])
async def test_a_key_that_asks_for_more_than_there_is_leaves_the_others_their_turns(loud: str, waiting: int) -> None:
    """Also where its turns are of raised risk and the others' are not."""
    world = World(max_sequences=4, seconds_per_word=0.2, policy={"admission": {"waiting": waiting}})
    flood = [asyncio.create_task(world.turn(loud, tenant="flood")) for _ in range(200)]
    await asyncio.sleep(1)
    for _ in range(5):
        reply = (await world.turn("I went for a walk", tenant="ward")).reply
        assert not reply.fallback
    ended = await asyncio.gather(*flood, return_exceptions=True)
    assert any(isinstance(one, Overloaded) for one in ended)


@pytest.mark.parametrize("text", ["All feels pointless", WANTS_TO_DIE])
async def test_beyond_its_keys_crises_a_minute_a_crisis_gets_fixed_words_without_a_counselor(text: str) -> None:
    world = World(policy={"quotas": {"ward": {"crises_per_minute": 2}}})
    replies = [(await world.turn(text, tenant="ward")).reply for _ in range(3)]
    assert [reply.fallback for reply in replies] == [False, False, True]
    assert world.stages == AGENT_CALLS * 2
    assert "findahelpline.com" in replies[2].choices[0].text
    assert not (await world.turn("I went for a walk", tenant="ward")).reply.fallback, "a bucket of its own"
    assert not (await world.turn(text, tenant="school")).reply.fallback
    await asyncio.sleep(60)
    assert not (await world.turn(text, tenant="ward")).reply.fallback


async def test_crises_that_fixed_words_alone_answer_use_up_nothing() -> None:
    world = World(policy={"quota": {"crises_per_minute": 1}})
    for _ in range(3):
        assert (await world.turn("I have just taken all of the pills")).reply.reading.kind == "under_way"
    assert not (await world.turn(WANTS_TO_DIE)).reply.fallback
    assert world.count("safe_templates", cause="quota") == 0


async def test_an_alarm_beyond_its_keys_crises_takes_nobodys_place_at_the_door() -> None:
    """It is read behind all others where there is room, and else answered unread, at once."""
    world = World(policy=BUSY | {"quota": {"crises_per_minute": 1}})
    await world.turn(WANTS_TO_DIE)
    door = world.pipeline.admission.classification
    with await door.acquire(Rank.ORDINARY, 10**9):
        began = virtual_time.clock()
        reply = (await world.turn(WANTS_TO_DIE)).reply
        assert virtual_time.clock() == began
    assert (reply.fallback, reply.decision.crisis, reply.reading.assessment) == (True, True, None)
    assert (world.count("safe_templates", cause="quota"), world.count("refusals")) == (1, 0)
    assert (await world.turn(WANTS_TO_DIE)).reply.reading.assessment is not None
    assert len(world.told) == 3


async def test_alarms_beyond_their_keys_crises_leave_half_of_the_door_to_others() -> None:
    class Slow(ScriptedClassifier):
        async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
            await asyncio.sleep(1)
            return await super().classify(utterances, call)

    admission = {"tokens": 1_000, "door_seconds": 0.1}
    world = World(classifier=Slow(FEELINGS), policy={"admission": admission, "quota": {"crises_per_minute": 1}})
    await world.turn(WANTS_TO_DIE, tenant="flood")
    flood = [asyncio.create_task(world.turn(WANTS_TO_DIE + "!" * 600, tenant="flood")) for _ in range(20)]
    await asyncio.sleep(0.1)
    began = virtual_time.clock()
    await world.turn("I went for a walk " * 20, tenant="ward")
    assert virtual_time.clock() - began == pytest.approx(1, abs=0.05), "it waited for nobody at the door"
    replies = [outcome.reply for outcome in await asyncio.gather(*flood)]
    assert 0 < sum(reply.reading.assessment is not None for reply in replies) <= 4


async def test_an_alarm_longer_than_the_door_is_read_where_nobody_else_is() -> None:
    world = World(policy={"admission": {"tokens": 1_000}, "quota": {"crises_per_minute": 1}})
    await world.turn(WANTS_TO_DIE)
    reply = (await world.turn(WANTS_TO_DIE + " and it is so loud" * 400)).reply
    assert (reply.fallback, reply.reading.assessment is not None) == (True, True)


async def test_a_turn_is_admitted_once_its_prompts_fit() -> None:
    """Until then a client's stream has not begun, and it gets the error's own status."""
    world = World(context_length=100)
    admitted = asyncio.Event()
    request = TurnRequest(Conversation((Utterance("seeker", "hello there"),)), "llm", "req-1")
    with pytest.raises(ContextLengthExceeded):
        await run_turn(world.pipeline, request, world.said.append, admitted.set)
    assert not admitted.is_set()


async def test_a_held_turn_uses_its_keys_ordinary_quota() -> None:
    world = World(policy={"quota": {"crises_per_minute": 1, "turns_per_minute": 1}})
    said = [WANTS_TO_DIE]
    replies = []
    for answer in ("Yes. I do.", "okay"):
        said += [(await world.turn(*said)).reply.choices[0].text, answer]
    replies = [world.count("turns", reason="crisis"), world.count("turns", reason="held", outcome="reply")]
    assert replies == [1, 1]
    last = (await world.turn(*said)).reply
    assert (last.decision.reason, last.fallback) == ("held", True)


async def test_a_crisis_takes_one_place_however_many_choices_it_has() -> None:
    """Its reply is the same in each of them; another crisis finds the places that are free."""
    world = World(max_sequences=16, seconds_per_word=0.5, policy=BUSY)
    lane = world.pipeline.admission.generation["counselor"]
    with await lane.acquire(Rank.ORDINARY, 9):
        many = asyncio.create_task(world.turn(WANTS_TO_DIE, requested="llm", choices=8))
        await asyncio.sleep(0.1)
        assert world.permits == 10
        one = await world.turn(WANTS_TO_DIE, requested="llm")
        assert not one.reply.fallback
        reply = (await many).reply
    assert not reply.fallback
    assert len(reply.choices) == 8
    assert {choice.text for choice in reply.choices} == {reply.choices[0].text}
    spoken = ["".join(piece.content for piece in world.said if piece.index == index) for index in range(1, 8)]
    assert spoken == [reply.choices[0].text] * 7
    assert world.stages == ["reply", "reply"]


async def test_a_turn_that_is_cancelled_while_it_waits_leaves_no_permit_behind() -> None:
    world = World(max_sequences=4)
    held = await all_taken(world)
    turns = [asyncio.create_task(world.turn("I went for a walk")) for _ in range(5)]
    await asyncio.sleep(0.05)
    for turn in turns:
        turn.cancel()
    await asyncio.gather(*turns, return_exceptions=True)
    held.close()
    for lane, engine in (("classification", "classifier"), ("generation", "counselor")):
        for state in ("held", "waiting"):
            labels = {"lane": lane, "engine": engine, "state": state}
            assert world.metrics.registry.get_sample_value("psychechat_permits", labels) == 0


async def test_a_counselor_that_hangs_before_the_turn_is_routed_costs_a_crisis_two_seconds() -> None:
    class Hanging(Scripted):
        async def check_fits(self, messages: Sequence[Message], reserve: int, call: Call) -> None:
            await asyncio.sleep(3600)

    world = World()
    world.pipeline.casts = everywhere(Hanging())
    began = virtual_time.clock()
    outcome = await world.turn(WANTS_TO_DIE)
    assert outcome.reply.fallback
    assert virtual_time.clock() - began < 4


async def test_risk_emotions_rounds_and_tokens_are_counted() -> None:
    drafts = [answers.render(Draft("insight", "", text), "en") for text in ("Get over it.", "That sounds heavy.")]
    world = World({StageName.DRAFT: drafts, StageName.REVIEW: [*[REFUSED] * 3, PASSED]})
    await world.turn("All feels terrible")
    assert (await world.turn("All feels hopeless")).reply.rounds == 2
    assert world.count("emotions", emotion="grieving") == 1
    assert (world.count("risk_turns", level="none"), world.count("risk_turns", level="indicator")) == (1, 1)
    value = world.metrics.registry.get_sample_value
    assert (value("psychechat_review_rounds_count"), value("psychechat_review_rounds_sum")) == (1, 2)


async def test_tokens_are_counted_by_stage_and_add_up_to_the_usage() -> None:
    world = World()
    usage = (await world.turn("hello there", requested="agent")).usage
    generated = [world.count("tokens", stage=stage, kind="generated") for stage in AGENT_STAGES]
    assert min(generated) > 0
    assert sum(generated) == usage.completion_tokens
    computed = sum(world.count("tokens", stage=stage, kind="computed") for stage in AGENT_STAGES)
    assert computed == usage.prompt_tokens - usage.cached_tokens


async def test_the_time_between_tokens_is_that_of_the_engine() -> None:
    world = World({StageName.REPLY: ["One two three four five six. Seven eight nine ten?"]}, seconds_per_word=0.02)
    await world.turn("I went for a walk", requested="llm")
    await world.turn("hello there", requested="agent")  # a stage in JSON has no such time
    value = world.metrics.registry.get_sample_value
    assert value("psychechat_inter_token_seconds_count") == 1
    assert 0.01 < (value("psychechat_inter_token_seconds_sum") or 0) < 0.1


async def test_a_crisis_turn_that_ends_in_an_error_is_counted() -> None:
    """It takes a broken promise of ours: here, that a piece which is said can be said."""
    world = World()

    def say(piece: ReplyDelta) -> None:
        raise RuntimeError

    request = TurnRequest(_conversation(WANTS_TO_DIE), "auto", "req-1")
    with pytest.raises(RuntimeError):
        await run_turn(world.pipeline, request, say)
    assert world.count("crisis_turns_refused") == 1
    with pytest.raises(RuntimeError):
        await run_turn(world.pipeline, TurnRequest(_conversation("hello there"), "auto", "req-2"), say)
    assert world.count("crisis_turns_refused") == 1


TWO_SENTENCES = "<think>a plan</think>\n\nYou went out today. How was the walk with your sister?"


@pytest.mark.parametrize(
    ("text", "requested", "words"),
    [
        ("hello there", "agent", 3),
        (WANTS_TO_DIE, "agent", 3),
        ("hello there", "llm", 3),
        (WANTS_TO_DIE, "llm", 6),  # past the first sentence, but a crisis says nothing before it is whole
    ],
)
async def test_a_replica_that_dies_before_a_word_was_said_costs_no_turn(
    text: str, requested: Requested, words: int
) -> None:
    world = World()
    generator = _Dying({StageName.REPLY: [TWO_SENTENCES]})
    world.pipeline.casts = everywhere(generator)
    generator.words = words
    outcome = await world.turn(text, requested=requested)
    assert not outcome.reply.fallback
    assert outcome.reply.choices[0].text == world.text
    assert ("findahelpline.com" in world.text) is (text == WANTS_TO_DIE)
    stages = [str(name) for name, *_ in generator.prompts]
    assert stages == (["emotion", *AGENT_CALLS] if requested == "agent" else ["reply", "reply"])


async def test_what_was_said_before_a_replica_dies_is_not_taken_back() -> None:
    world = World()
    generator = _Dying({StageName.REPLY: [TWO_SENTENCES]})
    world.pipeline.casts = everywhere(generator)
    generator.words = 6
    with pytest.raises(EngineUnavailable):
        await world.turn("hello there", requested="llm")
    assert world.text == "You went out today."


@pytest.mark.parametrize("requested", ["agent", "llm"])
async def test_where_one_replica_dies_after_the_other_the_turn_fails_and_a_crisis_is_answered(
    requested: Requested,
) -> None:
    world = World()
    generator = _Dying()
    world.pipeline.casts = everywhere(generator)
    generator.deaths = 99
    with pytest.raises(EngineUnavailable):
        await world.turn("hello there", requested=requested)
    assert not world.text
    outcome = await world.turn(WANTS_TO_DIE, requested=requested)
    assert outcome.reply.fallback
    assert "findahelpline.com" in world.text


# --------------------------------------------------------------------------------------- the conversation's risk


HELD_LINES = ["I went to work as usual", "We had pasta for dinner again", "The film last night was long"]


async def told(world: World, *texts: str, **more: Any) -> tuple[str, ...]:
    """The conversation after one more turn, for the next one to go on from."""
    outcome = await world.turn(*texts, **more)
    return (*texts, outcome.reply.choices[0].text)


@pytest.mark.parametrize("remembered", [True, False], ids=["in memory", "memory lost"])
async def test_a_crisis_holds_the_conversation_until_three_lines_were_low(remembered: bool) -> None:
    world = World()
    said = await told(world, WANTS_TO_DIE)
    for line in HELD_LINES:
        if not remembered:
            world.pipeline.memory = LocalMemory(MemorySettings(), virtual_time.clock)
        outcome = await world.turn(*said, line)
        said = (*said, line, outcome.reply.choices[0].text)
        state = outcome.reply.reading.conversation
        assert (outcome.reply.decision.reason == "held") == state.held == (line != HELD_LINES[-1])
        assert not outcome.reply.fallback
    assert "psychechat" not in said[-1]
    assert state.since_turns == 3


async def test_a_change_of_subject_or_of_the_sessions_name_ends_no_hold() -> None:
    world = World()
    said = await told(world, WANTS_TO_DIE, session="a name")
    for session in ("a name", "another name", None):
        outcome = await world.turn(*said, "can we talk about football instead", session=session)
        assert outcome.reply.decision.reason == "held"
    calm = await told(world, "I went for a walk", session="calm")
    assert calm
    outcome = await world.turn(*said, "can we talk about football instead", session="calm")
    assert outcome.reply.decision.reason == "held"


async def test_a_yes_to_a_question_about_risk_is_a_crisis_and_a_no_is_none() -> None:
    for question, answer, reason in (
        ("Are you thinking about suicide?", "yes", "crisis"),
        ("Are you thinking about suicide?", "no", "low_risk"),
        ("How was the walk?", "yes", "low_risk"),
    ):
        outcome = await World().turn("I feel tired", question, answer)
        assert outcome.reply.decision.reason == reason


async def test_a_held_reply_points_to_help_and_repeats_no_number() -> None:
    world = World()
    outcome = await world.turn(WANTS_TO_DIE, "I hear you.", "I went to work as usual")
    assert "findahelpline.com" in outcome.reply.choices[0].text
    outcome = await world.turn(WANTS_TO_DIE, "Look at findahelpline.com.", "I went to work as usual")
    assert outcome.reply.decision.reason == "held"
    assert "findahelpline.com" not in outcome.reply.choices[0].text
    assert outcome.reply.choices[0].text.count("\n\n") == 1


@pytest.mark.parametrize("requested", ["auto", "llm"])
async def test_a_held_turn_that_is_refused_still_gets_fixed_words(requested: Requested) -> None:
    world = World(max_sequences=4, policy=BUSY)
    said = await told(world, WANTS_TO_DIE)
    with await all_taken(world):
        outcome = await world.turn(*said, "I went to work as usual", requested=requested)
    assert outcome.reply.fallback
    assert outcome.reply.choices[0].text.startswith(fixed_words.words("en").listening.neutral)
    assert outcome.reply.choices[0].text.endswith(fixed_words.words("en").held_line(1))


async def test_a_pinned_llm_turn_stays_there_while_it_is_held() -> None:
    world = World()
    said = await told(world, WANTS_TO_DIE)
    outcome = await world.turn(*said, "I went to work as usual", requested="llm")
    assert (outcome.reply.decision.mode, outcome.reply.decision.reason) == ("llm", "pinned")
    assert "findahelpline" in " ".join((outcome.reply.choices[0].text, *said))


@pytest.mark.parametrize(("mode", "held"), [("on", True), ("observe", True), ("off", False)])
async def test_observing_reports_and_changes_nothing(mode: str, held: bool) -> None:
    world = World(policy={"risk": {"conversation": mode}})
    said = await told(world, WANTS_TO_DIE)
    outcome = await world.turn(*said, "I went to work as usual")
    assert outcome.reply.reading.conversation.held == held
    assert outcome.reply.decision.reason == ("held" if mode == "on" else "low_risk")


async def test_a_lost_conversation_is_read_again_once() -> None:
    world = World()
    asked: list[int] = []

    class Counting(ScriptedClassifier):
        async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
            asked.append(len(utterances))
            return await super().classify(utterances, call)

    world.pipeline.classifier = Counting(FEELINGS)
    said = ("I feel pointless", "I see.", "one thing", "Yes.", "another thing", "And.")
    assert (await world.turn(*said, "a third thing")).reply.reading.conversation.held
    await world.turn(*said, "a fourth thing")
    assert asked == [4, 1]


@pytest.mark.parametrize(("between", "held"), [("ok then", True), ("I went to work as usual, day", False)])
async def test_phrases_of_lines_that_are_not_classified_again_hold_a_lost_conversation(
    between: str, held: bool
) -> None:
    """Until enough of those that are were truly low; short ones say too little."""
    later = [text for n in range(30) for text in (f"{between} {n}", "I see.")]
    outcome = await World().turn(WANTS_TO_DIE, "I hear you.", *later, "and so on and on")
    assert outcome.reply.reading.conversation.held == held
    assert (outcome.reply.decision.reason == "held") == held


async def test_no_more_of_a_lost_conversation_is_classified_than_some_long_messages() -> None:
    """Ten of the longest would keep the classifier from everyone; their phrases are found all the same."""
    read: list[Sequence[str]] = []

    class Noting(ScriptedClassifier):
        async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
            read.append(utterances)
            return await super().classify(utterances, call)

    long = [text for n in range(12) for text in (f"{n} I went for a walk. " * 320, "I see.")]
    world = World(classifier=Noting(FEELINGS))
    await world.turn(*long, "hello there")
    assert 12_000 < sum(map(len, read[0])) < 17_000
    assert "hello there" in read[0]
    assert long[-2] in read[0]
    world = World(classifier=Noting(FEELINGS))
    outcome = await world.turn(*long[:-4], f"{WANTS_TO_DIE}. {'And so it goes on. ' * 1_000}", "I hear you.", "hello")
    assert outcome.reply.reading.conversation.held


# ------------------------------------------------------------------------------- what is said, and when, in a crisis

HANGS = "I am standing on the bridge and I will jump now"  # the project's own words
KIND_REPLY = "I hear how heavy this is. I am here with you."


def _spoken(world: World, index: int = 0) -> list[str]:
    return [piece.content for piece in world.said if piece.index == index and piece.content]


@pytest.mark.parametrize("requested", ["auto", "agent", "llm"])
@pytest.mark.parametrize("text", [WANTS_TO_DIE, "All feels pointless"])
async def test_fixed_words_and_resources_leave_first_and_as_one_piece(text: str, requested: Requested) -> None:
    world = World(
        {
            StageName.REPLY: [KIND_REPLY],
            StageName.DRAFT: [answers.render(Draft("insight", "", KIND_REPLY), "en")],
        }
    )
    outcome = await world.turn(text, requested=requested, locale="en-US")
    first, rest = _spoken(world)
    kind: Kind | None = "thoughts" if text == WANTS_TO_DIE else None
    assert first.startswith(fixed_words.words("en").opening.of(kind))
    assert "988" in first
    assert rest == f"\n\n{KIND_REPLY}"
    assert first + rest == outcome.reply.choices[0].text
    assert [row.locale for row in outcome.reply.resources] == ["en-US"] * len(outcome.reply.resources) != []


async def test_fixed_words_leave_before_any_model_has_written() -> None:
    world = World(seconds_per_word=0.05)
    task = asyncio.create_task(world.turn("All feels pointless", requested="llm"))
    await _until(lambda: bool(world.said))
    assert world.count("tokens", stage="reply", kind="generated") == 0
    await task


@pytest.mark.parametrize("requested", ["auto", "llm"])
async def test_while_an_act_is_under_way_no_model_speaks(requested: Requested) -> None:
    world = World()
    outcome = await world.turn(HANGS, requested=requested)
    assert outcome.reply.reading.kind == "under_way"
    assert world.stages == []
    assert _spoken(world) == [outcome.reply.choices[0].text]
    assert world.text.startswith(fixed_words.words("en").opening.under_way)
    assert world.count("safe_templates", cause="fixed", words="crisis") == 1


async def test_an_act_under_way_is_answered_before_anything_is_read() -> None:
    world = World(classifier=BrokenClassifier())
    task = asyncio.create_task(world.turn(HANGS))
    await _until(lambda: bool(world.said))
    assert not task.done()
    await task
    assert len(_spoken(world)) == 1


@pytest.mark.parametrize(
    ("text", "language"),
    [("Quiero morir, ya no puedo más con esta vida", "es"), ("死にたい。もう生きていたくない", "ja")],
)
async def test_a_crisis_in_a_language_that_no_model_speaks_gets_fixed_words_in_it(text: str, language: str) -> None:
    world = World()
    outcome = await world.turn(text)
    assert world.stages == []
    assert world.text.startswith(fixed_words.words(language).opening.thoughts)
    assert outcome.reply.resources[0].locale == language


@pytest.mark.parametrize(
    "words", ["Congratulations on your decision!", "Goodbye, my friend.", "I hear \ufffd you.", ""]
)
@pytest.mark.parametrize("requested", ["agent", "llm"])
async def test_words_that_are_no_reply_to_a_crisis_stay_and_nothing_is_an_error(
    words: str, requested: Requested
) -> None:
    draft = answers.render(Draft("insight", "", words or " "), "en")
    world = World({StageName.REPLY: [words], StageName.DRAFT: [draft]})
    outcome = await world.turn("All feels pointless", requested=requested)
    assert len(_spoken(world)) == 1
    [choice] = outcome.reply.choices
    assert (choice.finish_reason, choice.fallback) == ("stop", True)
    assert not words or words not in world.text


async def test_what_follows_in_a_crisis_may_be_withheld_by_moderation_and_the_fixed_words_not() -> None:
    flagged = assessment(risk=Severity.IDEATION)
    world = World(
        {StageName.REPLY: [KIND_REPLY]}, classifier=ScriptedClassifier({"pointless": flagged, "heavy": flagged})
    )
    outcome = await world.turn("All feels pointless", requested="llm", moderation="block")
    [piece] = _spoken(world)
    assert piece == outcome.reply.choices[0].text
    assert KIND_REPLY not in piece
    assert world.count("safe_templates", cause="moderation", words="crisis") == 1
    scored = await (other := World({StageName.REPLY: [KIND_REPLY]})).turn(
        "All feels pointless", requested="llm", moderation="block"
    )
    assert KIND_REPLY in scored.reply.choices[0].text
    assert len(_spoken(other)) == 2


@pytest.mark.parametrize("text", ["All feels pointless", "What a lovely day"])
async def test_no_stage_of_a_crisis_is_told_of_joy(text: str) -> None:
    joy = assessment(Emotion(Label.parse("happy"), 0.9), risk=Severity.IDEATION)
    world = World(classifier=ScriptedClassifier({**FEELINGS, "pointless": joy}))
    await world.turn(text, requested="agent")
    told = "\n".join(message.content for _, messages, *_ in world.generator.prompts for message in messages)
    assert ("happy" in told) == ("pointless" not in text)


# ------------------------------------------------------------------------------------- a reply that breaks off


async def test_a_reply_that_breaks_is_tried_again_and_if_some_has_left_it_ends_there() -> None:
    world = World({StageName.REPLY: ["Br\ufffdken from the start.", KIND_REPLY]})
    await world.turn("hello there", requested="llm")
    assert world.text == KIND_REPLY
    world = World({StageName.REPLY: ["I hear you. And th\ufffdn it broke."]})
    [choice] = (await world.turn("hello there", requested="llm")).reply.choices
    assert (world.text, choice.text) == ("I hear you.",) * 2
    assert (choice.finish_reason, choice.cut) == ("stop", True)
    assert world.count("guard_findings", cause="broken", action="blocked") == 1


async def test_a_stream_whose_time_is_up_ends_with_a_whole_sentence() -> None:
    slow = "I hear you, and there is more to say. " + "and on " * 400
    world = World({StageName.REPLY: [slow]}, seconds_per_word=0.05, limits={"turn_seconds": 2.0})
    [choice] = (await world.turn("hello there", requested="llm")).reply.choices
    assert world.text == choice.text
    assert choice.text.startswith("I hear you, and there is more to say.")
    assert choice.text.endswith((".", fixed_words.words("en").cut))
    assert (choice.finish_reason, choice.cut) == ("stop", True)


async def test_an_ordinary_turn_whose_time_is_up_before_its_first_words_is_late() -> None:
    world = World(seconds_per_word=0.5, limits={"turn_seconds": 1.0})
    with pytest.raises(DeadlineExceeded):
        await world.turn("hello there", requested="agent")
    assert world.said == []


async def test_a_made_up_number_never_leaves_in_either_mode() -> None:
    words = "I hear you. Call 555 0123 today. You are not alone."
    world = World({StageName.REPLY: [words], StageName.DRAFT: [answers.render(Draft("insight", "", words), "en")]})
    for requested in ("llm", "agent"):
        [choice] = (await world.turn("hello there", requested=requested)).reply.choices
        assert (choice.text, choice.withheld) == ("I hear you. You are not alone.", 1)
    assert world.count("guard_findings", cause="contact", action="blocked") == 2


@pytest.mark.parametrize("bound", [1, 5, 8, 30])
@pytest.mark.parametrize("requested", ["agent", "llm"])
async def test_a_bound_of_any_size_is_answered(bound: int, requested: Requested) -> None:
    text = "You went out for a walk. It was good. How was it for you to be outside again after all?"
    world = World({StageName.REPLY: [text], StageName.DRAFT: [answers.render(Draft("insight", "", text), "en")]})
    [choice] = (await world.turn("hello there", requested=requested, sampling={"max_tokens": bound})).reply.choices
    assert choice.text.strip()
    assert text.startswith(choice.text)
    assert choice.finish_reason == ("stop" if choice.text == text else "length")
    if requested == "agent":
        assert choice.text.endswith((".", "?"))


# ------------------------------------------------------------------------------------- what must not be forgotten


class SlowClassifier(ScriptedClassifier):
    """Answers after more seconds than a turn of these tests has."""

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        await asyncio.sleep(30)
        return await super().classify(utterances, call)


async def test_a_crisis_whose_time_is_up_before_it_is_read_holds_the_conversation() -> None:
    world = World(classifier=SlowClassifier(FEELINGS))
    said = await told(world, WANTS_TO_DIE, seconds=1.0)
    world.pipeline.classifier = ScriptedClassifier(FEELINGS)
    assert (await world.turn(*said, "I went for a long walk today")).reply.decision.reason == "held"


async def test_a_crisis_reply_that_breaks_is_tried_again_and_ends_with_no_word_of_that() -> None:
    world = World({StageName.REPLY: ["This is hard to carry:\n\ufffd and more", KIND_REPLY]})
    outcome = await world.turn(WANTS_TO_DIE, requested="llm")
    assert outcome.reply.choices[0].text.endswith(f"\n\n{KIND_REPLY}")
    assert world.stages == ["reply", "reply"]
    never = World({StageName.REPLY: ["This is hard to carry:\n\ufffd and more"]})
    assert fixed_words.words("en").cut not in (await never.turn(WANTS_TO_DIE, requested="llm")).reply.choices[0].text


async def test_moderation_judges_what_the_model_wrote_and_no_line_about_help() -> None:
    world = World({StageName.REPLY: [KIND_REPLY]})
    said = await told(world, WANTS_TO_DIE, locale="en-US")
    said = (said[0], "I hear you.")  # the help was never shown in these words
    outcome = await world.turn(*said, "I went to work as usual", requested="llm", locale="en-US", moderation="block")
    assert outcome.reply.choices[0].text.startswith(KIND_REPLY)
    assert "Suicide" in outcome.reply.choices[0].text
    assert outcome.moderation is not None
    assert not outcome.moderation[0].flagged


async def test_observing_leaves_a_no_what_it_is() -> None:
    reasons = []
    for mode in ("off", "observe", "on"):
        world = World(policy={"risk": {"conversation": mode}})
        outcome = await world.turn(WANTS_TO_DIE, "Are you safe right now?", "no")
        reasons.append(outcome.reply.decision.reason)
    assert reasons == ["low_risk", "low_risk", "crisis"]


async def test_a_crisis_that_nothing_can_overrule_opens_before_it_is_read() -> None:
    world = World(classifier=SlowClassifier(FEELINGS))  # and no veto is set
    task = asyncio.create_task(world.turn(WANTS_TO_DIE))
    await _until(lambda: bool(world.said))
    assert world.pipeline.metrics.registry.get_sample_value(
        "psychechat_wait_seconds_count", {"lane": "classification", "engine": "classifier"}
    ) in (None, 0.0)
    await task


@pytest.mark.parametrize("more", [{"moderation": "block"}, {"streamed": False}], ids=["held back", "not streamed"])
async def test_of_which_nothing_has_left_is_late_and_no_part_of_a_reply(more: dict[str, Any]) -> None:
    slow = "I hear you, and there is more to say. " + "and on " * 400
    world = World({StageName.REPLY: [slow]}, seconds_per_word=0.05, limits={"turn_seconds": 2.0})
    with pytest.raises(DeadlineExceeded):
        await world.turn("hello there", requested="llm", **more)


async def test_a_low_turn_whose_context_check_takes_too_long_is_late() -> None:
    world = World(limits={"turn_seconds": 2.0})
    world.pipeline.casts = everywhere(SlowCounselor())
    with pytest.raises(DeadlineExceeded):
        await world.turn("hello there")


async def test_your_local_emergency_number_is_no_number_that_was_given() -> None:
    line = "Please call your local emergency number if it grows worse."
    outcome = await World().turn(WANTS_TO_DIE, line, "I went to work as usual")
    assert "findahelpline.com" in outcome.reply.choices[0].text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("I had a bad day at work.", "en"),
        ("I had a bad day… “café” 😞", "en"),
        ("今天的考试 failed 了，我很难过。", "zh"),
        ("Мне сегодня очень грустно.", None),
        ("My friend said Привет and left.", None),
        ("今日はとても悲しいです。", None),
    ],
)
@pytest.mark.parametrize("requested", ["llm", "agent"])
async def test_every_stage_is_in_the_packs_language_unless_the_seeker_writes_in_other_scripts(
    text: str, language: str | None, requested: Requested
) -> None:
    world = World()
    generator = _Listening(world.table)
    generator.languages = set()
    world.pipeline = replace(world.pipeline, casts=everywhere(generator))
    await world.turn(text, requested=requested)
    assert generator.languages == {language}


@pytest.mark.parametrize("requested", ["llm", "agent"])
async def test_nobody_is_congratulated_who_shows_nothing_to_be_glad_of(requested: Requested) -> None:
    words = "I hear you. How would you like to celebrate your danger?"
    world = World({StageName.REPLY: [words], StageName.DRAFT: [answers.render(Draft("insight", "", words), "en")]})
    for text in ("hello there", "All is terrible"):
        await world.turn(text, requested=requested)
    assert "celebrate" not in world.text
    glad = World({StageName.REPLY: [words], StageName.DRAFT: [answers.render(Draft("insight", "", words), "en")]})
    await glad.turn("What a lovely day", requested=requested)
    assert "celebrate" in glad.text


async def test_what_a_model_adds_in_a_crisis_says_nothing_twice() -> None:
    thanks = "Thank you for telling me. What about this weighs on you most?"
    world = World({StageName.REPLY: [thanks]})
    outcome = await world.turn(WANTS_TO_DIE, requested="llm")
    assert outcome.reply.choices[0].text.endswith("\n\nWhat about this weighs on you most?")
    same = World({StageName.REPLY: [fixed_words.words("en").opening.thoughts]})
    assert (await same.turn(WANTS_TO_DIE, requested="llm")).reply.fallback


@pytest.mark.parametrize("seconds", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_turn_whose_time_is_up_in_the_other_mode_is_late_and_no_unknown_error(
    streamed: bool, seconds: float
) -> None:
    world = World({StageName.REPLY: ["<think>only</think>"]}, seconds_per_word=0.1, limits={"turn_seconds": seconds})
    with pytest.raises(DeadlineExceeded):
        await world.turn("hello there", requested="llm", streamed=streamed)
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------- several engines


@dataclass
class Ensemble:
    """Two counselors by language, and what else plays a role in either. Each keeps what it was asked."""

    others: Mapping[Role, Generator] = field(default_factory=dict)
    sequences: Mapping[str, int] = field(default_factory=lambda: {"mild": 64, "ming": 64})

    def __post_init__(self) -> None:
        self.mild, self.ming = Scripted(), Scripted()
        casts: dict[Language, Cast] = {
            "en": Cast(dict.fromkeys(ROLES, self.mild) | dict(self.others), "mild"),
            "zh": Cast(dict.fromkeys(ROLES, self.ming) | dict(self.others), "ming"),
        }
        self.world = World(policy=BUSY)
        # Made anew, with its lanes.
        self.world.metrics = Metrics()
        self.world.pipeline = replace(
            self.world.pipeline,
            casts=casts,
            metrics=self.world.metrics,
            max_sequences=lambda lane: self.sequences[lane],
        )

    async def asked(self, *texts: str, requested: Requested = "llm") -> list[str]:
        """Names of the counselors that a turn was of."""
        for generator in (self.mild, self.ming):
            generator.prompts.clear()
        await self.world.turn(*texts, requested=requested)
        return [name for name, generator in (("mild", self.mild), ("ming", self.ming)) if generator.prompts]


@pytest.mark.parametrize("requested", ["llm", "agent"])
async def test_the_conversations_language_chooses_the_weights_with_the_pack(requested: Requested) -> None:
    ensemble = Ensemble()
    assert await ensemble.asked("I went for a long walk", requested=requested) == ["mild"]
    assert await ensemble.asked("我昨天去散步了，走了很久", requested=requested) == ["ming"]
    assert language.detect(ensemble.ming.prompts[0][1][0].content) == "zh"


async def test_a_conversation_keeps_its_weights_until_a_whole_message_is_in_the_other_language() -> None:
    ensemble = Ensemble()
    said = ("I went for a long walk", "How was it?")
    assert await ensemble.asked(*said, "很好") == ["mild"]
    assert await ensemble.asked(*said, "我昨天和家人吵架了，心里很难过") == ["ming"]
    assert await ensemble.asked(*said, "我昨天和家人吵架了，心里很难过", "发生了什么？", "ok") == ["ming"]


async def test_each_role_is_asked_of_who_plays_it() -> None:
    players = {role: Scripted() for role in ROLES}
    ensemble = Ensemble(others=players)
    assert await ensemble.asked("I went for a long walk", requested="agent") == []
    assert await ensemble.asked("I went for a long walk", requested="llm") == []
    stages = {role: {str(name) for name, *_ in generator.prompts} for role, generator in players.items()}
    assert stages == {
        "counselor": {"draft"},
        "reply": {"reply"},
        "emotion": {"emotion"},
        "review": {"review"},
        "seeker": {"simulation"},
    }


async def test_a_full_counselor_leaves_the_other_ones_turns_alone() -> None:
    ensemble = Ensemble(sequences={"mild": 2, "ming": 2})
    lane = ensemble.world.pipeline.admission.generation["mild"]
    with await lane.acquire(Rank.ORDINARY):
        with pytest.raises(Overloaded):
            await ensemble.asked("I went for a long walk")
        assert await ensemble.asked("我昨天去散步了，走了很久") == ["ming"]
    assert ensemble.world.count("refusals", lane="generation", engine="mild", cause="late") == 1
    assert ensemble.world.count("refusals", lane="generation", engine="ming") == 0


@pytest.mark.parametrize("role", ["review", "seeker", "emotion"])
async def test_who_does_not_fit_or_is_gone_is_missed_by_turns_that_ask_it(role: Role) -> None:
    class Gone(Scripted):
        async def check_fits(self, messages: Sequence[Message], reserve: int, call: Call) -> None:
            raise EngineUnavailable("gone")

    for generator, error in ((Scripted(context_length=10), ContextLengthExceeded), (Gone(), EngineUnavailable)):
        ensemble = Ensemble(others={role: generator})
        assert await ensemble.asked("I went for a long walk", requested="llm") == ["mild"]
        with pytest.raises(error):
            await ensemble.asked("I went for a long walk", requested="agent")


async def test_of_each_generator_it_is_asked_whether_its_own_stages_fit() -> None:
    asked: dict[str, tuple[int, int]] = {}

    class Measuring(Scripted):
        name = ""

        async def check_fits(self, messages: Sequence[Message], reserve: int, call: Call) -> None:
            asked[self.name] = sum(len(message.content) for message in messages), reserve

    seeker, others = Measuring(), Measuring()
    seeker.name, others.name = "seeker", "others"
    ensemble = Ensemble(others=dict.fromkeys(ROLES, others) | {"seeker": seeker})
    await ensemble.asked("I went for a long walk", requested="agent")
    pack = ensemble.world.pipeline.packs["en"]
    rounds = pack.file.rounds
    assert asked["others"][1] == pack.reserve(rounds)
    assert asked["seeker"][1] == pack.reserve(rounds, [StageName.SIMULATION]) < pack.reserve(rounds)
    assert asked["seeker"][0] < asked["others"][0]  # the draft's prompt, say, is longer
