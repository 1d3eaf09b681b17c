"""LLM Mode: one generation that thinks, then replies, a sentence at a time past the output guard and the third head."""

from contextlib import aclosing

from psychechat.concurrency import together
from psychechat.conversation import Choice, StageInputs
from psychechat.engines.base import FinishReason, Sampling, StageName
from psychechat.engines.thinking import CLOSE
from psychechat.errors import EngineUnavailable, ReplicaDied, StageFailed
from psychechat.pipeline.modes import stages
from psychechat.pipeline.modes.stages import StageContext
from psychechat.pipeline.sinks import GuardedReply, ReplyOutput

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

    A malformed reply, and one of which the client's bound left nothing but thinking, is retried at a higher temperature
    and without thinking; a dead replica's is generated anew.
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
                sampling = context.pack.warmer(sampling)
                think = False
            if guarded.has_emitted or attempt == context.limits.stage_attempts:
                raise


def _broken(guarded: GuardedReply) -> Choice:
    """What has left of a reply whose rest is broken. Raises StageFailed if nothing has: then it can be tried again."""
    if guarded.has_emitted and guarded.emitted:
        return guarded.end_cut()
    raise StageFailed(StageName.REPLY)


async def _write(
    context: StageContext, inputs: StageInputs, sampling: Sampling, index: int, guarded: GuardedReply, think: bool
) -> Choice:
    """Raises StageFailed for an answer that is not a reply: empty, with thinking in it, or another stage's JSON."""
    written = thinking = ""
    finish: FinishReason | None = None
    reply = stages.stream_reply(context, inputs, sampling, index, think=think, show_reasoning=guarded.shows_reasoning)
    async with aclosing(reply) as deltas:
        async for delta in deltas:
            # The blank line after the thinking is not part of the reply.
            content = delta.content if written else delta.content.lstrip()
            written += content
            if CLOSE in written or written.startswith(_JSON):  # thinking, or another stage's answer
                return _broken(guarded)
            thinking += delta.reasoning
            finish = delta.finish_reason or finish
            guarded.tokens.feed(delta.logprobs)
            await guarded.feed(content, delta.reasoning, finish=finish)
            if guarded.stopped:
                break
    context.metrics.count_findings(
        "broken" if guarded.is_broken else guarded.finding, blocked=guarded.stopped, contacts=guarded.withheld
    )
    if guarded.is_broken:
        return _broken(guarded)
    clients_bound = sampling.max_tokens < context.pack.sampling(StageName.REPLY).max_tokens
    nothing_was_written = not written.strip()
    can_do_without_thinking = think and not guarded.has_emitted  # it has used up the client's bound
    told = None if sampling.logprobs is None or guarded.withheld else guarded.logprobs
    match finish:
        case _ if guarded.stopped:
            return guarded.end_stopped()
        case "stop" | "length" if (
            guarded.emitted.strip()
            or (finish == "stop" and nothing_was_written and sampling.stop)  # the client's stop came first
            or (finish == "length" and nothing_was_written and clients_bound and not can_do_without_thinking)
        ):
            kept = thinking.strip() if context.pack.keeps_thinking else ""
            return Choice(
                guarded.emitted, finish, told, cause=guarded.finding, withheld=guarded.withheld, thinking=kept
            )
        case "stop" | "length":
            raise StageFailed(StageName.REPLY)
        case _:
            raise EngineUnavailable("The engine ended the reply before it was whole.")
