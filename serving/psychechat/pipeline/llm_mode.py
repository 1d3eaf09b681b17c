"""LLM Mode: one generation that thinks, then replies, a sentence at a time past the output guard."""

from contextlib import aclosing
from dataclasses import replace

from psychechat.concurrency import together
from psychechat.conversation import Choice, StageInputs
from psychechat.engines.base import FinishReason, Sampling, StageName
from psychechat.engines.thinking import CLOSE
from psychechat.errors import EngineUnavailable, ReplicaDied, StageFailed
from psychechat.pipeline import stages
from psychechat.pipeline.sinks import GuardedReply, ReplyOutput
from psychechat.pipeline.stages import StageContext

_JSON = ("{", "[")


async def answer(
    context: StageContext,
    inputs: StageInputs,
    sampling: Sampling,
    choices: int,
    output: ReplyOutput,
    *,
    think: bool = True,
) -> tuple[Choice, ...]:
    """Replies in parallel, each emitted piece by piece. The first that fails cancels the others.

    `think` False: no thinking before the reply, whatever the pack says.
    """
    with context.meter.timed(StageName.REPLY):
        return tuple(
            await together(*(_one(context, inputs, sampling, index, output, think) for index in range(choices)))
        )


async def _one(
    context: StageContext, inputs: StageInputs, sampling: Sampling, index: int, output: ReplyOutput, think: bool
) -> Choice:
    """One choice, retried until something was emitted, since that cannot be taken back.

    A malformed reply is retried at a higher temperature and without thinking; a dead replica's is generated anew.
    """
    attempt = 0
    while True:
        attempt += 1
        guarded = GuardedReply(index, output)
        try:
            return await _write(context, inputs, sampling, index, guarded, think)
        except (StageFailed, ReplicaDied) as error:
            if isinstance(error, StageFailed):
                context.metrics.malformed.labels(StageName.REPLY).inc()
                sampling = replace(sampling, temperature=max(sampling.temperature, stages.RETRY_TEMPERATURE))
                think = False
            if guarded.has_emitted or attempt == context.limits.stage_attempts:
                raise


async def _write(
    context: StageContext, inputs: StageInputs, sampling: Sampling, index: int, guarded: GuardedReply, think: bool
) -> Choice:
    """Raises StageFailed for an answer that is not a reply: empty, with thinking in it, or another stage's JSON."""
    written = ""
    finish: FinishReason | None = None
    reply = stages.stream_reply(context, inputs, sampling, index, think=think, show_reasoning=guarded.shows_reasoning)
    async with aclosing(reply) as deltas:
        async for delta in deltas:
            # The blank line after the thinking is not part of the reply.
            content = delta.content if written else delta.content.lstrip()
            written += content
            if CLOSE in written or written.startswith(_JSON):  # thinking, or another stage's answer
                raise StageFailed(StageName.REPLY)
            finish = delta.finish_reason or finish
            guarded.tokens.feed(delta.logprobs)
            guarded.feed(content, delta.reasoning, last=finish is not None)
            if guarded.stopped:
                break
    if guarded.finding:
        context.metrics.guard_findings.labels(guarded.finding, "blocked" if guarded.stopped else "flagged").inc()
    told = None if sampling.logprobs is None else guarded.logprobs
    clients_bound = sampling.max_tokens < context.pack.sampling(StageName.REPLY).max_tokens
    match finish:
        case _ if guarded.stopped:
            return guarded.end_stopped()
        case "stop" if written.strip() or sampling.stop:  # the client's stop may have come first
            return Choice(guarded.emitted, "stop", told, guarded.finding)
        case "length" if written.strip() or clients_bound:
            return Choice(guarded.emitted, "length", told, guarded.finding)
        case "stop" | "length":
            raise StageFailed(StageName.REPLY)
        case _:
            raise EngineUnavailable("The engine ended the reply before it was whole.")
