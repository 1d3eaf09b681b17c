"""LLM stages: each turns StageInputs into a typed result; the reply alone is streamed."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from psychechat import tracing
from psychechat.admission.lanes import Permit
from psychechat.concurrency import together
from psychechat.conversation import Draft, EmotionAnalysis, Mode, Reaction, Review, StageInputs
from psychechat.engines.base import Call, Delta, Generator, Message, Sampling, Stage, StageName, Usage
from psychechat.engines.cast import Cast
from psychechat.engines.stopping import StopStrings
from psychechat.errors import ReplicaDied, StageFailed
from psychechat.language import SCRIPTS, scripts
from psychechat.pipeline.judge import Judge
from psychechat.pipeline.request import TurnMeter
from psychechat.policy import Limits
from psychechat.prompts import answers
from psychechat.prompts.pack import Pack
from psychechat.telemetry import Metrics

T = TypeVar("T")

STAGES: Mapping[Mode, Sequence[StageName]] = {
    "agent": (StageName.EMOTION, StageName.DRAFT, StageName.SIMULATION, StageName.REVIEW),
    "llm": (StageName.REPLY,),
}


@dataclass(frozen=True)
class StageContext:
    """Cast, pack, limits and meters that the stages of one turn share."""

    cast: Cast
    pack: Pack
    limits: Limits
    call: Call
    metrics: Metrics
    meter: TurnMeter
    judge: Judge
    try_acquire: Callable[[int], Permit | None]
    """Permit for n more sequences of this turn; None unless there is room and the queue is empty."""

    @property
    def rounds(self) -> int:
        """Drafts that may be written."""
        return self.limits.rounds or self.pack.file.rounds

    def generator(self, stage: StageName) -> Generator:
        return self.cast.generators[self.pack.role(stage)]

    def stage(
        self, name: StageName, inputs: StageInputs, *, widened: bool = False, reaction: int | None = None
    ) -> Stage:
        """The pack's. Of no language where the seeker uses other scripts too: those are the conversation's then."""
        stage = self.pack.stage_for(name, inputs, widened=widened, reaction=reaction)
        spoken = "\n".join(line.text for line in inputs.conversation.utterances if line.speaker == "seeker")
        return stage if scripts(spoken) <= SCRIPTS[self.pack.language] else replace(stage, language=None)


def stages_by_generator(cast: Cast, pack: Pack) -> list[tuple[Generator, list[StageName]]]:
    """Each generator of a turn with the stages that it answers."""
    by_generator: dict[int, tuple[Generator, list[StageName]]] = {}
    for stage in StageName:
        generator = cast.generators[pack.role(stage)]
        by_generator.setdefault(id(generator), (generator, []))[1].append(stage)
    return list(by_generator.values())


async def analyse_emotion(context: StageContext, inputs: StageInputs) -> EmotionAnalysis:
    return (await _answer(context, StageName.EMOTION, inputs, answers.parse_emotion)).value


async def write_draft(context: StageContext, inputs: StageInputs, client_sampling: Mapping[str, Any]) -> Draft:
    """Draft of the reply. One that ends at its length bound was cut: it is written once more with the bound doubled.

    `client_sampling`: fields of `Sampling` that the client set. Its stop strings are applied here, to the parsed reply,
    so that the review sees what leaves.

    Raises StageFailed if it is cut again: a cut reply is never taken for a whole one.
    """
    sampling = replace(context.pack.sampling(StageName.DRAFT), **{**client_sampling, "stop": ()})
    for widened in (False, True):
        draft, thinking = await _answer(
            context, StageName.DRAFT, inputs, answers.parse_draft, sampling=sampling, widened=widened
        )
        if context.pack.bank or len(draft.response) < context.pack.response_characters(widened):
            stops = StopStrings(client_sampling.get("stop", ()))
            response = (stops.feed(draft.response) + stops.finish()).strip()
            return replace(draft, response=response, thinking=thinking)
        context.metrics.truncated.inc()
    raise StageFailed(StageName.DRAFT)


async def simulate(context: StageContext, inputs: StageInputs) -> tuple[Reaction, ...]:
    return (await _answer(context, StageName.SIMULATION, inputs, answers.parse_simulation)).value


async def review(context: StageContext, inputs: StageInputs) -> Review:
    """Review of the draft: one request, or one per reaction in parallel where the pack allows it and there is room.

    These share a prefix, so that it is prefilled once.
    """
    others = answers.REACTIONS - 1
    room = context.try_acquire(others) if context.pack.reviews_each else None
    if room is None:
        return (await _answer(context, StageName.REVIEW, inputs, answers.parse_review)).value
    messages, sampling = context.pack.messages(StageName.REVIEW, inputs), context.pack.sampling(StageName.REVIEW)
    with room, context.meter.timed(StageName.REVIEW):
        answered = await together(
            *(
                _parsed(
                    context,
                    messages,
                    context.stage(StageName.REVIEW, inputs, reaction=reaction),
                    sampling,
                    partial(answers.parse_lone_review, reaction=reaction),
                )
                for reaction in range(1, answers.REACTIONS + 1)
            )
        )
    reviews = [review.value for review in answered]
    verdicts = tuple(verdict for review in reviews for verdict in review.verdicts)
    return replace(next((review for review in reviews if not review.passed), reviews[0]), verdicts=verdicts)


def stream_reply(
    context: StageContext, inputs: StageInputs, sampling: Sampling, index: int, *, think: bool, show_reasoning: bool
) -> AsyncGenerator[Delta, None]:
    """Deltas of LLM Mode's generation: thinking first, then the reply. Choices share a prompt, counted for the first.

    `show_reasoning`: whether the thinking's text is streamed too, as it is where later turns show it again.
    """
    messages = context.pack.messages(StageName.REPLY, inputs)
    stage = context.stage(StageName.REPLY, inputs)
    stage = replace(stage, thinks=stage.thinks and think, tells_thinking=show_reasoning or context.pack.keeps_thinking)
    return _generate(context, messages, stage, sampling, count_prompt=index == 0)


class _Answered(NamedTuple, Generic[T]):
    value: T
    thinking: str = ""
    """Without the tags, and the white space around it."""


async def _answer(
    context: StageContext,
    name: StageName,
    inputs: StageInputs,
    parse: Callable[[str], T],
    *,
    sampling: Sampling | None = None,
    widened: bool = False,
) -> _Answered[T]:
    """Result of a JSON stage. `widened`: with the reply's bound and max_tokens doubled. Raises StageFailed."""
    messages = context.pack.messages(name, inputs)
    stage = context.stage(name, inputs, widened=widened)
    sampling = sampling or context.pack.sampling(name)
    if widened:
        sampling = replace(sampling, max_tokens=2 * sampling.max_tokens)
    with context.meter.timed(name):
        return await _parsed(context, messages, stage, sampling, parse)


async def _parsed(
    context: StageContext, messages: Sequence[Message], stage: Stage, sampling: Sampling, parse: Callable[[str], T]
) -> _Answered[T]:
    """Result of a stage; a parse failure is retried, warmer each time, as the pack says.

    Raises StageFailed after the last attempt. The parser's own error quotes the answer, so it is dropped.
    """
    for attempt in range(context.limits.stage_attempts):
        if attempt:
            sampling = context.pack.warmer(sampling)
        written = await _with_replica_retry(context, messages, stage, sampling)
        try:
            return _Answered(parse(written.content), written.reasoning.strip())
        except ValueError:
            context.metrics.malformed.labels(stage.name).inc()
    raise StageFailed(stage.name)


async def _with_replica_retry(
    context: StageContext, messages: Sequence[Message], stage: Stage, sampling: Sampling
) -> Delta:
    """One answer. If its replica dies, the request is sent once more: nothing of it was emitted yet."""
    try:
        return await _once(context, messages, stage, sampling)
    except ReplicaDied:
        return await _once(context, messages, stage, sampling)


async def _once(context: StageContext, messages: Sequence[Message], stage: Stage, sampling: Sampling) -> Delta:
    async with aclosing(_generate(context, messages, stage, sampling)) as deltas:
        parts = [delta async for delta in deltas]
    return Delta("".join(part.content for part in parts), "".join(part.reasoning for part in parts))


async def _generate(
    context: StageContext, messages: Sequence[Message], stage: Stage, sampling: Sampling, *, count_prompt: bool = True
) -> AsyncGenerator[Delta, None]:
    """Deltas of the engine, with their tokens counted. Closing this closes the engine's stream, which aborts it there.

    `count_prompt` False: another request counts the same prompt.
    """
    call = replace(context.call, trace=tracing.headers())
    stream = context.generator(stage.name).generate(messages, stage, sampling, call)
    began: float | None = None
    async with aclosing(stream) as deltas:
        async for delta in deltas:
            now = context.meter.clock()
            began = began or now
            if delta.usage is not None:
                usage = delta.usage if count_prompt else replace(delta.usage, prompt_tokens=0, cached_tokens=0)
                context.meter.usage += usage
                _count(context.metrics, stage.name, usage)
                told = usage.completion_tokens - (0 if stage.tells_thinking else usage.reasoning_tokens)
                if stage.schema is None and told > 1:  # a stage in JSON comes in one piece
                    context.metrics.inter_token_seconds.observe((now - began) / (told - 1))
            yield delta


def _count(metrics: Metrics, stage: StageName, usage: Usage) -> None:
    metrics.tokens.labels(stage, "computed").inc(usage.prompt_tokens - usage.cached_tokens)
    metrics.tokens.labels(stage, "cached").inc(usage.cached_tokens)
    metrics.tokens.labels(stage, "generated").inc(usage.completion_tokens)
    metrics.reasoning_tokens.inc(usage.reasoning_tokens)
