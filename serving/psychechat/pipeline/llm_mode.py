"""LLM Mode: one generation that thinks, then replies."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from psychechat.conversation import Choice, TokenLogprob
from psychechat.engines.base import FinishReason, Sampling, StageName
from psychechat.errors import EngineUnavailable, StageFailed
from psychechat.pipeline import stages
from psychechat.pipeline.concurrency import together
from psychechat.pipeline.packs import Brief
from psychechat.pipeline.reply_tokens import ReplyTokens
from psychechat.pipeline.stages import Desk

_CLOSE = "</think>"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a reply, on its way out. `index` is the choice it belongs to."""

    index: int = 0
    content: str = ""
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the content's tokens, where they were asked for."""


async def answer(
    desk: Desk, brief: Brief, sampling: Sampling, choices: int, say: Callable[[Piece], None], *, think: bool = True
) -> tuple[Choice, ...]:
    """`choices` replies side by side, each said piece by piece. The first that fails takes the others with it.

    Without `think` the reply comes at once, whatever the pack says.
    """
    with desk.tally.timed(StageName.REPLY):
        return tuple(await together(*(_one(desk, brief, sampling, index, say, think) for index in range(choices))))


async def _one(
    desk: Desk, brief: Brief, sampling: Sampling, index: int, say: Callable[[Piece], None], think: bool
) -> Choice:
    text = ""
    tokens = ReplyTokens()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: FinishReason | None = None
    async with aclosing(stages.stream_reply(desk, brief, sampling, index, think=think)) as deltas:
        async for delta in deltas:
            # The blank line after the thinking is not part of the reply.
            content = delta.content if text else delta.content.lstrip()
            text += content
            if _CLOSE in text:  # what went before was thinking, and no reply
                raise StageFailed(StageName.REPLY)
            finish = delta.finish_reason or finish
            tokens.feed(delta.logprobs)
            if content or delta.reasoning:
                piece = Piece(index, content, delta.reasoning, tokens.take(content))
                logprobs += piece.logprobs
                say(piece)
    told = None if sampling.logprobs is None else logprobs
    match finish:
        case "stop" if text.strip() or sampling.stop:  # the client's stop may have come first
            return Choice(text, "stop", told)
        case "length":
            return Choice(text, "length", told)
        case "stop":
            raise StageFailed(StageName.REPLY)
        case _:
            raise EngineUnavailable("The engine ended the reply before it was whole.")
