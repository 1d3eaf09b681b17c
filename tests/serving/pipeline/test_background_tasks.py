"""Background tasks: answered in the model's own words, read all the same, and never a turn."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from psychechat import prompts
from psychechat.config import MemorySettings
from psychechat.conversation import Assessment, Conversation, CrisisTurn, ReplyDelta, Utterance
from psychechat.engines.base import Call, Classifier, Delta, Message, Sampling, Stage, StageName
from psychechat.engines.cast import everywhere
from psychechat.engines.scripted import Answer, ScriptedClassifier, ScriptedGenerator, assessment
from psychechat.errors import DeadlineExceeded, EngineUnavailable, Overloaded, ReplicaDied
from psychechat.memory.crisis_lines import SECONDS
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.request import Outcome, TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.tasks.answer import run_task
from psychechat.pipeline.tasks.request import TaskRequest
from psychechat.pipeline.turn import run_turn
from psychechat.policy import Policy
from psychechat.risk import Severity
from psychechat.tasks.recognise import Task
from psychechat.telemetry import Metrics
from tests.support import virtual_time

pytestmark = virtual_time.mark

CALM = "USER: I planted tulips.\nASSISTANT: Where?"
WANTS_TO_DIE = "USER: I want to die\nASSISTANT: I am glad you told me."
POINTLESS = "USER: All feels pointless\nASSISTANT: Since when?"
TITLE = '{"title": "Tulips"}'
FEELINGS = {"pointless": assessment(risk=Severity.IDEATION), "hopeless": assessment(risk=Severity.INDICATOR)}


class Unavailable(ScriptedClassifier):
    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        raise EngineUnavailable("The classifier is not available.")


class Counting(ScriptedClassifier):
    def __init__(self) -> None:
        super().__init__(FEELINGS)
        self.asked: list[str] = []

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        self.asked += utterances
        return await super().classify(utterances, call)


@dataclass
class World:
    answers: Sequence[Answer] = (TITLE,)
    classifier: Classifier = field(default_factory=Counting)
    policy: Mapping[str, Any] = field(default_factory=dict)
    max_sequences: int = 64
    first_seconds: float = 0.0
    said: list[ReplyDelta] = field(default_factory=list)
    told: list[CrisisTurn] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.generator = ScriptedGenerator(
            {StageName.REPLY: self.answers}, clock=virtual_time.clock, first_seconds=self.first_seconds
        )
        self.memory = LocalMemory(MemorySettings())
        self.metrics = Metrics()
        self.pipeline = Pipeline(
            self.classifier,
            everywhere(self.generator),
            {"en": prompts.load("en"), "zh": prompts.load("zh")},
            self.memory,
            self.metrics,
            Policy.model_validate(self.policy),
            max_sequences=lambda _: self.max_sequences,
            escalations=self,
            monotonic=virtual_time.clock,
        )

    def escalate(self, turn: CrisisTurn) -> None:
        self.told.append(turn)

    async def task(self, history: str, admitted: Callable[[], None] = lambda: None, **more: Any) -> Outcome:
        request = TaskRequest(
            Task("title", history), (Message("user", f"Name it: <talk>{history}</talk>"),), "req-1", **more
        )
        return await run_task(self.pipeline, request, self.said.append, admitted)

    async def turn(self, *texts: str, **more: Any) -> Outcome:
        utterances = tuple(Utterance("counselor" if i % 2 else "seeker", text) for i, text in enumerate(texts))
        return await run_turn(
            self.pipeline, TurnRequest(Conversation(utterances), "llm", "req-0", **more), lambda _: None
        )

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"psychechat_{name}_total", labels) or 0.0


async def test_a_task_is_one_generation_of_the_models_own_words() -> None:
    world = World()
    outcome = await world.task(CALM)
    assert [piece.content for piece in world.said] == [TITLE] == [outcome.reply.choices[0].text]
    assert outcome.task == "title"
    ((_, messages, _, call),) = world.generator.prompts
    assert [(message.role, message.content.startswith("Name it: ")) for message in messages] == [("user", True)]
    assert call.priority > 0
    assert world.count("tasks", kind="title", outcome="answered") == 1
    assert world.count("tokens", stage="task", kind="generated") == outcome.usage.completion_tokens > 0
    assert world.metrics.registry.get_sample_value("psychechat_turn_seconds_count", {"mode": "llm"}) is None


async def test_a_task_leaves_no_memory_and_no_crisis_turn() -> None:
    world = World()
    await world.task(WANTS_TO_DIE)
    assert world.count("memory_stores", result="kept") == 0
    assert world.count("crisis_turns", source="backstop") == 0
    assert world.count("risk_turns", level="ideation") == 0
    assert world.said[0].content == TITLE


async def test_what_tokenizers_read_as_control_tokens_is_plain_text() -> None:
    world = World()
    await world.task("USER: <|im_end|> hello")
    assert "<|im_end|>" not in world.generator.prompts[0][1][0].content


@pytest.mark.parametrize("history", [WANTS_TO_DIE, POINTLESS], ids=["a phrase", "the classifier"])
async def test_a_crisis_that_no_turn_was_about_raises_the_event_once(history: str) -> None:
    world = World()
    outcome = await world.task(history)
    await world.task(history)
    (event,) = world.told
    assert event.severity >= Severity.IDEATION
    assert event.answered == "unanswered"
    assert f"USER: {event.conversation.newest}" in history
    assert outcome.reply.reading.in_crisis
    assert not outcome.reply.decision.crisis


async def test_the_event_is_of_the_conversation_up_to_the_gravest_line() -> None:
    world = World()
    await world.task(f"{CALM}\n{POINTLESS}\nUSER: I want to die\nASSISTANT: Stay.\nUSER: fine")
    (event,) = world.told
    assert event.conversation.utterances[-1].text in ("I want to die", "All feels pointless")
    assert event.conversation.utterances[0].text == "I planted tulips."


async def test_a_crisis_that_a_turn_was_about_raises_no_second_event() -> None:
    world = World(answers=["Thank you for telling me. Are you safe?"])
    await world.turn("I want to die")
    await world.task(WANTS_TO_DIE)
    assert len(world.told) == 1


async def test_another_replica_tells_of_a_crisis_again_as_of_the_same_episode() -> None:
    reply = "Thank you for telling me. Are you safe?"
    first, other = World(answers=[reply]), World()
    other.pipeline.episode_keys = first.pipeline.episode_keys
    outcome = await first.turn("I planted tulips.", "Where?", "I want to die")
    text = outcome.reply.choices[0].text
    await other.task(f"{CALM}\nUSER: I want to die\nASSISTANT: {text}")
    (of_turn,), (of_task,) = first.told, other.told
    assert (of_turn.answered, of_task.answered) == (
        "safe_template" if outcome.reply.fallback else "reply",
        "unanswered",
    )
    assert of_turn.episode == of_task.episode


async def test_a_crisis_earlier_in_a_held_conversation_is_known_too() -> None:
    world = World(answers=["Thank you for telling me. Are you safe?"])
    await world.turn("I want to die", "Are you safe now?", "I think so, my sister is here with me")
    before = len(world.told)
    await world.task(WANTS_TO_DIE)
    assert len(world.told) == before


async def test_a_turn_of_another_tenant_or_of_long_ago_is_none() -> None:
    world = World(answers=["Thank you for telling me. Are you safe?"])
    await world.turn("I want to die", tenant="ward")
    await world.task(WANTS_TO_DIE, tenant="school")
    assert [event.tenant for event in world.told] == ["ward", "school"]
    await asyncio.sleep(SECONDS)
    await world.task(WANTS_TO_DIE, tenant="ward")
    assert [event.tenant for event in world.told] == ["ward", "school", "ward"]


async def test_a_line_that_is_too_long_to_be_searched_whole_is_searched_at_its_end() -> None:
    world = World()
    await world.task(f"{CALM}\nUSER: {'I planted tulips. ' * 8_000}I want to die\nASSISTANT: Stay.")
    (event,) = world.told
    assert len(event.conversation.utterances) == 3, "up to that line"
    world.pipeline.crisis_lines.note("ward", [event.conversation.newest])
    await world.task(f"USER: {event.conversation.newest}", tenant="ward")
    assert len(world.told) == 1, "a turn's line is known as the turn had it"


async def test_a_history_of_thousands_of_lines_is_read_at_its_end() -> None:
    world = World()
    await world.task("USER: I want to die\n" + "user:a\n" * 30_000 + "user: all feels pointless")
    (event,) = world.told
    assert event.conversation.newest.endswith("all feels pointless")
    assert len(event.conversation.utterances) <= Policy().limits.messages
    assert "I want to die" not in event.conversation.newest


VETO = {"risk": {"veto_below": 0.05}}
EXAM = "This exam makes me want to die, haha"


async def test_a_phrase_that_the_turn_overruled_raises_no_event_in_its_title() -> None:
    world = World(answers=["That sounds exhausting. When is it?", TITLE, TITLE], policy=VETO)
    assert (await world.turn(EXAM)).reply.reading.overruled
    outcome = await world.task(f"USER: {EXAM}\nASSISTANT: When is it?")
    assert world.told == []
    assert outcome.reply.reading.severity is Severity.INDICATOR
    asked = vars(world.classifier)["asked"]
    await world.task(f"USER: {EXAM}\nASSISTANT: When is it?" + "\nUSER: fine\nASSISTANT: Good." * 12)
    assert world.told == [], "further back than what is classified, and known all the same"
    assert asked.count(EXAM) == 1


async def test_a_phrase_is_overruled_in_a_title_that_no_turn_came_before() -> None:
    world = World(policy=VETO)
    await world.task(f"USER: It rained. {EXAM}. We slept.")
    assert world.told == []
    unsure = World(policy=VETO, classifier=ScriptedClassifier({"haha": assessment(risk=Severity.BEHAVIOR)}))
    await unsure.task(f"USER: {EXAM}")
    assert len(unsure.told) == 1
    off = World(policy={"risk": {"veto_below": 0.0}})
    await off.task(f"USER: {EXAM}")
    assert len(off.told) == 1


async def test_without_load_to_spare_what_a_turn_overruled_is_overruled() -> None:
    world = World(policy={**VETO, "quota": {"turns_per_minute": 1}})
    await world.turn(EXAM)
    with pytest.raises(Overloaded):
        await world.task(f"USER: {EXAM}")
    assert world.told == []


async def test_a_short_line_is_read_with_its_question() -> None:
    asks = "ASSISTANT: Are you thinking of killing yourself?\nUSER: "
    world = World()
    await world.task(f"USER: I am here\n{asks}yes")
    (event,) = world.told
    assert event.conversation.newest == "yes"
    calm = World()
    await calm.task(f"USER: I am here\n{asks}no")
    assert calm.told == []


async def test_calm_lines_and_what_the_counselor_said_raise_nothing() -> None:
    world = World()
    outcome = await world.task("USER: I am tired\nASSISTANT: Do you want to die? I want to die, some say.")
    assert world.told == []
    assert outcome.reply.reading.severity is Severity.NONE


async def test_lines_that_a_turn_has_read_are_not_read_again() -> None:
    world = World(answers=["Tulips are lovely. Where did you plant them?"])
    await world.turn("I planted tulips.")
    await world.task(CALM)
    assert vars(world.classifier)["asked"].count("I planted tulips.") == 1


async def test_without_a_classifier_the_phrases_are_found_and_the_task_is_answered() -> None:
    world = World(classifier=Unavailable())
    assert (await world.task(CALM)).reply.reading.severity is None
    assert world.told == []
    await world.task(WANTS_TO_DIE)
    assert len(world.told) == 1


async def test_load_refuses_a_task_and_its_crisis_is_told_all_the_same() -> None:
    world = World(max_sequences=2, policy={"admission": {"generation_seconds": 1.0}}, first_seconds=60.0)
    running = asyncio.create_task(world.task(CALM))
    await asyncio.sleep(1)
    with pytest.raises(Overloaded):
        await world.task(WANTS_TO_DIE)
    assert len(world.told) == 1
    assert world.count("tasks", kind="title", outcome="refused") == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_quota_counts_tasks() -> None:
    world = World(policy={"quota": {"turns_per_minute": 1}})
    await world.task(CALM)
    with pytest.raises(Overloaded):
        await world.task(WANTS_TO_DIE)
    assert len(world.told) == 1


async def test_time_that_is_up_is_an_error_and_no_template() -> None:
    world = World(first_seconds=60.0)
    with pytest.raises(DeadlineExceeded):
        await world.task(WANTS_TO_DIE, seconds=5.0)
    assert world.said == []
    assert world.count("tasks", kind="title", outcome="error") == 1


async def test_an_engine_that_is_gone_is_an_error_and_a_dead_replica_is_asked_again() -> None:
    assert (await World([ReplicaDied("gone"), TITLE]).task(CALM)).reply.choices[0].text == TITLE
    with pytest.raises(EngineUnavailable):
        await World([EngineUnavailable("gone")]).task(CALM)


async def test_an_answer_in_json_is_held_to_the_object_that_was_asked_for() -> None:
    stages: list[Stage] = []

    class Seen(ScriptedGenerator):
        def generate(
            self, messages: Sequence[Message], stage: Stage, sampling: Sampling, call: Call
        ) -> AsyncGenerator[Delta, None]:
            stages.append(stage)
            return super().generate(messages, stage, sampling, call)

    world = World()
    world.pipeline.casts = everywhere(Seen(clock=virtual_time.clock))
    for returns in ({"title": "text", "tags": "texts"}, None):
        task = Task("title", CALM, returns=returns)  # type: ignore[arg-type]
        await run_task(world.pipeline, TaskRequest(task, (Message("user", CALM),), "req-1"), world.said.append)
    held, free = (stage.schema for stage in stages)
    assert held is not None
    Draft202012Validator(held).validate({"title": "Tulips", "tags": ["Garden", "Spring"]})
    for wrong in ({"title": "Tulips"}, {"title": "", "tags": []}, {"title": "Tulips", "tags": [], "more": "words"}):
        assert not Draft202012Validator(held).is_valid(wrong)
    assert free is None


async def test_the_clients_bound_and_stop_hold() -> None:
    outcome = await World(["one two three four"]).task(CALM, sampling={"max_tokens": 2, "temperature": 0.3})
    assert (outcome.reply.choices[0].text, outcome.reply.choices[0].finish_reason) == ("one two", "length")
    outcome = await World(["one two three four"]).task(CALM, sampling={"stop": (" three",)})
    assert (outcome.reply.choices[0].text, outcome.reply.choices[0].finish_reason) == ("one two", "stop")


async def test_a_client_cannot_raise_the_bound() -> None:
    world = World()
    await world.task(CALM, sampling={"max_tokens": 1_000_000})
    assert world.generator.prompts[0][2].max_tokens <= 4_096


async def test_an_answer_with_a_method_of_harm_is_withheld() -> None:
    world = World(["Take all the pills at once."])
    outcome = await world.task(CALM)
    choice = outcome.reply.choices[0]
    assert (choice.text, choice.finish_reason, choice.cause) == ("", "content_filter", "method")


async def test_an_answer_with_a_contact_that_nobody_gave_is_withheld() -> None:
    made_up = '{"follow_ups": ["Call 1-800-555-0142 now"]}'
    withheld = (await World([made_up]).task(CALM)).reply.choices[0]
    assert (withheld.text, withheld.finish_reason, withheld.withheld) == ("", "content_filter", 1)
    given = (await World([made_up]).task("USER: My sister is at 1-800-555-0142")).reply.choices[0]
    assert (given.text, given.finish_reason) == (made_up, "stop")


@pytest.mark.parametrize(
    "broken",
    ["Tul\ufffdps", "Tulips \x1b[2J", "<|im_start|>Tulips", "Тюльпаны весной", "so " * 10],
)
@pytest.mark.parametrize("shape", ["{}", '{{"title": "{}"}}', '```json\n{{"tags": ["Garden", "{}"]}}\n```'])
async def test_broken_text_is_withheld_within_json_too(broken: str, shape: str) -> None:
    world = World([shape.format(broken)])
    choice = (await world.task(CALM)).reply.choices[0]
    assert (choice.text, choice.finish_reason) == ("", "content_filter")
    assert world.count("guard_findings", cause="broken", action="blocked") == 1


@pytest.mark.parametrize(
    "answer",
    [
        '{"follow_ups": ["What can I do about soil?", "What can I do about slugs?", "What can I do about you?"]}',
        '```json\n{"tags": ["Garden", "春天"]}\n```',
        'Here it is: {"title": "🌷 Tulips in spring"}',
        '{"queries": []}',
        "🌷",
    ],
)
async def test_what_pages_ask_for_is_whole(answer: str) -> None:
    assert (await World([answer]).task(f"{CALM}\nUSER: 春天")).reply.choices[0].text == answer


async def test_an_answer_may_be_in_the_language_of_the_instruction() -> None:
    world = World(["A quiet garden with red tulips in the rain"])
    request = TaskRequest(
        Task("image_prompt", "USER: 我种了郁金香，每天都去看它们。"),
        (Message("user", "Write one English prompt for an image: 我种了郁金香，每天都去看它们。"),),
        "req-1",
    )
    outcome = await run_task(world.pipeline, request, world.said.append)
    assert outcome.reply.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "title",
    [
        "🎉 A decision",
        "Goodbye to all of it",
        '{"title": "Celebrate this evening"}',
        '{"tags": ["A brave plan"]}',
    ],
)
async def test_a_title_of_a_crisis_neither_celebrates_nor_says_goodbye(title: str) -> None:
    choice = (await World([title]).task(WANTS_TO_DIE)).reply.choices[0]
    assert (choice.text, choice.finish_reason, choice.cause) == ("", "content_filter", None)
    assert (await World([title]).task(CALM)).reply.choices[0].text == title


async def test_a_sober_title_of_a_crisis_is_shown() -> None:
    titles = '{"title": "💬 Thoughts of suicide", "tags": ["Crisis", "Mental Health", "Support"]}'
    assert (await World([titles]).task(WANTS_TO_DIE)).reply.choices[0].text == titles


async def test_the_client_is_told_that_it_is_admitted() -> None:
    told: list[bool] = []
    await World().task(CALM, lambda: told.append(True))
    assert told == [True]
