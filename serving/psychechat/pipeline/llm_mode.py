"""LLM Mode: one generation that thinks, then replies, a sentence at a time past the output guard."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from psychechat.concurrency import together
from psychechat.conversation import Cause, Choice, TokenLogprob
from psychechat.engines.base import FinishReason, Sampling, StageName
from psychechat.errors import EngineUnavailable, ReplicaDied, StageFailed
from psychechat.pipeline import stages
from psychechat.pipeline.reply_logprobs import ReplyTokens
from psychechat.pipeline.stages import Desk
from psychechat.policy import OutputGuard
from psychechat.prompts.pack import Brief
from psychechat.safety.output_guard import Guard

_CLOSE = "</think>"
_JSON = ("{", "[")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a reply, on its way out. `index` is the choice it belongs to."""

    index: int = 0
    content: str = ""
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the content's tokens, where they were asked for."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """How what the model writes leaves."""

    say: Callable[[Piece], None] | None
    """None: nothing leaves before it is whole."""
    guard: OutputGuard
    show_reasoning: bool
    ending: Callable[[str], str]
    """The fixed words that follow what was said of a reply that the guard stopped."""


async def answer(
    desk: Desk, brief: Brief, sampling: Sampling, choices: int, outlet: Outlet, *, think: bool = True
) -> tuple[Choice, ...]:
    """`choices` replies side by side, each said piece by piece. The first that fails takes the others with it.

    Without `think` the reply comes at once, whatever the pack says.
    """
    with desk.tally.timed(StageName.REPLY):
        return tuple(await together(*(_one(desk, brief, sampling, index, outlet, think) for index in range(choices))))


async def _one(desk: Desk, brief: Brief, sampling: Sampling, index: int, outlet: Outlet, think: bool) -> Choice:
    """As asked, then warmer and without thinking while nothing comes of it that could be said.

    What was said is never taken back. Where the replica dies before a word was said, another writes the reply.
    """
    for attempt in range(desk.limits.stage_attempts):
        leaving = _Leaving(index, outlet)
        try:
            return await _write(desk, brief, sampling, index, leaving, think)
        except (StageFailed, ReplicaDied) as error:
            if isinstance(error, StageFailed):
                desk.metrics.malformed.labels(StageName.REPLY).inc()
                sampling = replace(sampling, temperature=max(sampling.temperature, stages.WARMER))
                think = False
            if leaving.begun or attempt + 1 == desk.limits.stage_attempts:
                raise
    raise AssertionError


async def _write(desk: Desk, brief: Brief, sampling: Sampling, index: int, leaving: "_Leaving", think: bool) -> Choice:
    """Raises StageFailed for what is no reply: nothing after the thinking, more of it, or another stage's JSON."""
    written = ""
    finish: FinishReason | None = None
    reply = stages.stream_reply(desk, brief, sampling, index, think=think, tell=leaving.tells_thinking)
    async with aclosing(reply) as deltas:
        async for delta in deltas:
            # The blank line after the thinking is not part of the reply.
            content = delta.content if written else delta.content.lstrip()
            written += content
            if _CLOSE in written or written.startswith(_JSON):  # thinking, or another stage's answer
                raise StageFailed(StageName.REPLY)
            finish = delta.finish_reason or finish
            leaving.tokens.feed(delta.logprobs)
            leaving.take(content, delta.reasoning, last=finish is not None)
            if leaving.stopped:
                break
    if leaving.found:
        desk.metrics.guard_findings.labels(leaving.found, "blocked" if leaving.stopped else "flagged").inc()
    told = None if sampling.logprobs is None else leaving.logprobs
    clients_bound = sampling.max_tokens < desk.pack.sampling(StageName.REPLY).max_tokens
    match finish:
        case _ if leaving.stopped:
            return leaving.end()
        case "stop" if written.strip() or sampling.stop:  # the client's stop may have come first
            return Choice(leaving.said, "stop", told, leaving.found)
        case "length" if written.strip() or clients_bound:
            return Choice(leaving.said, "length", told, leaving.found)
        case "stop" | "length":
            raise StageFailed(StageName.REPLY)
        case _:
            raise EngineUnavailable("The engine ended the reply before it was whole.")


class _Leaving:
    """One choice on its way out: what has left of it, and what the guard has found."""

    def __init__(self, index: int, outlet: Outlet) -> None:
        self._index, self._outlet = index, outlet
        self._thinking, self._reply = Guard(outlet.guard), Guard(outlet.guard)
        self.tokens = ReplyTokens()
        self.begun = False
        """Whether anything has left, thinking included."""
        self.said = ""
        self.logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def tells_thinking(self) -> bool:
        return self._outlet.show_reasoning

    @property
    def found(self) -> Cause | None:
        return self._thinking.cause or self._reply.cause

    @property
    def stopped(self) -> bool:
        return self._thinking.stopped or self._reply.stopped

    def take(self, content: str, reasoning: str, *, last: bool) -> None:
        thoughts = self._thinking.feed(reasoning) if self._outlet.show_reasoning else ""
        if content or last:  # the thinking is over
            thoughts += self._thinking.finish()
        words = "" if self._thinking.stopped else self._reply.feed(content)
        if last:
            words += self._reply.finish()
        tokens = self.tokens.take(words)
        self.logprobs += tokens
        self._say(Piece(self._index, words, thoughts, tokens))

    def end(self) -> Choice:
        """With the fixed words, now that the guard has stopped it."""
        fallback = not self.said
        self._say(Piece(self._index, self._outlet.ending(self.said)))
        return Choice(self.said, "content_filter", found=self.found, fallback=fallback)

    def _say(self, piece: Piece) -> None:
        self.said += piece.content
        if (piece.content or piece.reasoning) and self._outlet.say is not None:
            self.begun = True
            self._outlet.say(piece)
