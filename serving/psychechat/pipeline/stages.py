"""The five stages, each one generation: what goes in is a brief, what comes out is a hand-off."""

import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from opentelemetry.trace import Tracer

from psychechat import tracing
from psychechat.admission.lanes import Permit
from psychechat.concurrency import together
from psychechat.conversation import Draft, EmotionAnalysis, Reaction, Review
from psychechat.engines.base import Call, Delta, Generator, Message, Sampling, Stage, StageName, Usage
from psychechat.engines.stopping import StopStrings
from psychechat.errors import ReplicaDied, StageFailed
from psychechat.policy import Limits
from psychechat.prompts import answers
from psychechat.prompts.pack import Brief, Pack
from psychechat.telemetry import Metrics

T = TypeVar("T")

WARMER = 0.7
"""Temperature, at least, of every try after the first."""


@dataclass
class Tally:
    """What a turn has cost so far. Its stages fill it in; the reply, the metrics and the spans are read from it."""

    tracer: Tracer = tracing.OFF
    usage: Usage = field(default_factory=Usage)
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            with tracing.span(self.tracer, stage):
                yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


@dataclass(frozen=True)
class Desk:
    """What the stages of one turn work with."""

    counselor: Generator
    seeker: Generator
    pack: Pack
    limits: Limits
    call: Call
    metrics: Metrics
    tally: Tally
    spare: Callable[[int], Permit | None]
    """Room at the engines for so many more sequences of this turn, if nobody waits for it."""

    def generator(self, stage: StageName) -> Generator:
        return self.seeker if self.pack.role(stage) == "seeker" else self.counselor


async def analyse_emotion(desk: Desk, brief: Brief) -> EmotionAnalysis:
    return await _answer(desk, StageName.EMOTION, brief, answers.parse_emotion)


async def write_draft(desk: Desk, brief: Brief, asked: Mapping[str, Any]) -> Draft:
    """A draft that ends at its length bound was cut: it is written once more with twice the room.

    `asked` holds the client's fields of `Sampling`. Its stops end the reply here, so that the review sees what leaves.

    Raises StageFailed if more room does not help; a cut reply is never taken for a whole one.
    """
    sampling = replace(desk.pack.sampling(StageName.DRAFT), **{**asked, "stop": ()})
    for widened in (False, True):
        draft = await _answer(desk, StageName.DRAFT, brief, answers.parse_draft, sampling=sampling, widened=widened)
        if len(draft.response) < desk.pack.response_characters(widened):
            stops = StopStrings(asked.get("stop", ()))
            return replace(draft, response=(stops.feed(draft.response) + stops.finish()).strip())
        desk.metrics.truncated.inc()
    raise StageFailed(StageName.DRAFT)


async def simulate(desk: Desk, brief: Brief) -> tuple[Reaction, ...]:
    return await _answer(desk, StageName.SIMULATION, brief, answers.parse_simulation)


async def review(desk: Desk, brief: Brief) -> Review:
    """By a request for each reaction, side by side, if the pack has it so and there is room that nobody waits for.

    They share one prompt, so that it is computed once.
    """
    others = answers.REACTIONS - 1
    room = desk.spare(others) if desk.pack.reviews_each else None
    if room is None:
        return await _answer(desk, StageName.REVIEW, brief, answers.parse_review)
    messages, sampling = desk.pack.messages(StageName.REVIEW, brief), desk.pack.sampling(StageName.REVIEW)
    with room, desk.tally.timed(StageName.REVIEW):
        reviews = await together(
            *(
                _parsed(
                    desk,
                    messages,
                    desk.pack.stage(StageName.REVIEW, reaction=reaction),
                    sampling,
                    partial(answers.parse_lone_review, reaction=reaction),
                )
                for reaction in range(1, answers.REACTIONS + 1)
            )
        )
    verdicts = tuple(verdict for review in reviews for verdict in review.verdicts)
    return replace(next((review for review in reviews if not review.passed), reviews[0]), verdicts=verdicts)


def stream_reply(
    desk: Desk, brief: Brief, sampling: Sampling, index: int, *, think: bool, tell: bool
) -> AsyncGenerator[Delta, None]:
    """LLM Mode's single generation: thinking first, then the reply. Choices after the first share its prompt.

    `tell`: whether the thinking's text comes too.
    """
    messages = desk.pack.messages(StageName.REPLY, brief)
    stage = desk.pack.stage(StageName.REPLY)
    stage = replace(stage, thinks=stage.thinks and think, tells_thinking=tell)
    return _generate(desk, messages, stage, sampling, new_prompt=index == 0)


async def _answer(
    desk: Desk,
    name: StageName,
    brief: Brief,
    parse: Callable[[str], T],
    *,
    sampling: Sampling | None = None,
    widened: bool = False,
) -> T:
    """One JSON stage in one request. Raises StageFailed."""
    messages = desk.pack.messages(name, brief)
    stage = desk.pack.stage(name, widened=widened)
    sampling = sampling or desk.pack.sampling(name)
    if widened:
        sampling = replace(sampling, max_tokens=2 * sampling.max_tokens)
    with desk.tally.timed(name):
        return await _parsed(desk, messages, stage, sampling, parse)


async def _parsed(
    desk: Desk, messages: Sequence[Message], stage: Stage, sampling: Sampling, parse: Callable[[str], T]
) -> T:
    """An answer as the pack samples it, then warmer while it does not parse.

    Raises StageFailed after the last try. The parser's own error quotes the answer, so it goes no further.
    """
    for attempt in range(desk.limits.stage_attempts):
        if attempt:
            sampling = replace(sampling, temperature=max(WARMER, sampling.temperature))
        text = await _whole(desk, messages, stage, sampling)
        try:
            return parse(text)
        except ValueError:
            desk.metrics.malformed.labels(stage.name).inc()
    raise StageFailed(stage.name)


async def _whole(desk: Desk, messages: Sequence[Message], stage: Stage, sampling: Sampling) -> str:
    """One answer. Where its replica dies, another writes it anew: nothing of it has left."""
    for moved in (False, True):
        try:
            async with aclosing(_generate(desk, messages, stage, sampling)) as deltas:
                return "".join([delta.content async for delta in deltas])
        except ReplicaDied:
            if moved:
                raise
    raise AssertionError


async def _generate(
    desk: Desk, messages: Sequence[Message], stage: Stage, sampling: Sampling, *, new_prompt: bool = True
) -> AsyncGenerator[Delta, None]:
    """The engine's deltas, counted. Closing this closes the engine's own stream, which aborts it there."""
    call = replace(desk.call, trace=tracing.headers())
    stream = desk.generator(stage.name).generate(messages, stage, sampling, call)
    began: float | None = None
    async with aclosing(stream) as deltas:
        async for delta in deltas:
            now = time.perf_counter()
            began = began or now
            if delta.usage is not None:
                usage = delta.usage if new_prompt else replace(delta.usage, prompt_tokens=0, cached_tokens=0)
                desk.tally.usage += usage
                _count(desk.metrics, stage.name, usage)
                told = usage.completion_tokens - (0 if stage.tells_thinking else usage.reasoning_tokens)
                if stage.schema is None and told > 1:  # a stage in JSON comes in one piece
                    desk.metrics.inter_token_seconds.observe((now - began) / (told - 1))
            yield delta


def _count(metrics: Metrics, stage: StageName, usage: Usage) -> None:
    metrics.tokens.labels(stage, "computed").inc(usage.prompt_tokens - usage.cached_tokens)
    metrics.tokens.labels(stage, "cached").inc(usage.cached_tokens)
    metrics.tokens.labels(stage, "generated").inc(usage.completion_tokens)
    metrics.reasoning_tokens.inc(usage.reasoning_tokens)
