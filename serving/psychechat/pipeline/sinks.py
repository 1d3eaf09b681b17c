"""Sinks between a generation and its client: the output guard, a buffer that holds replies back, a TTFT hook.

Each emits what it lets through to the next one.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from psychechat.conversation import Cause, Choice, ReplyDelta, TokenLogprob
from psychechat.policy import OutputGuard
from psychechat.safety.output_guard import Guard

Emit = Callable[[ReplyDelta], None]


class FirstWords:
    """TTFT hook: calls back on the first content delta; reasoning does not count. Empty deltas are dropped."""

    def __init__(self, emit: Emit, on_first_words: Callable[[], None]) -> None:
        self._emit, self._on_first_words = emit, on_first_words
        self.has_content = False
        """Whether content was emitted; reasoning does not count."""

    def emit(self, delta: ReplyDelta) -> None:
        if delta.content and not self.has_content:
            self.has_content = True
            self._on_first_words()
        if delta.content or delta.reasoning:
            self._emit(delta)


class HeldBack:
    """Buffer that keeps everything until it is released."""

    def __init__(self) -> None:
        self._held: list[ReplyDelta] = []

    def emit(self, delta: ReplyDelta) -> None:
        self._held.append(delta)

    def release(self, emit: Emit) -> None:
        while self._held:
            emit(self._held.pop(0))


@dataclass(frozen=True, slots=True)
class ReplyOutput:
    """Output options of LLM Mode: where its choices go, and under which rules."""

    emit: Emit | None
    """Next sink; None while the reply is not streamed, so that a safe template never follows half a reply."""
    guard: OutputGuard
    show_reasoning: bool
    ending: Callable[[str], str]
    """Closing text of a reply that the guard stopped, by what of it was emitted."""


class GuardedReply:
    """Output guard of one choice: takes what the model writes, emits the sentences that pass."""

    def __init__(self, index: int, output: ReplyOutput) -> None:
        self._index, self._output = index, output
        self._thinking, self._reply = Guard(output.guard), Guard(output.guard)
        self.tokens = ReplyTokens()
        self.has_emitted = False
        """Whether anything was emitted, thinking included."""
        self.emitted = ""
        self.logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def shows_reasoning(self) -> bool:
        return self._output.show_reasoning

    @property
    def finding(self) -> Cause | None:
        """What the guard found, in the thinking or in the reply."""
        return self._thinking.cause or self._reply.cause

    @property
    def stopped(self) -> bool:
        return self._thinking.stopped or self._reply.stopped

    def feed(self, content: str, reasoning: str, *, last: bool) -> None:
        """Take the model's next output; emit what passes the guard."""
        thoughts = self._thinking.feed(reasoning) if self._output.show_reasoning else ""
        if content or last:  # the thinking is over
            thoughts += self._thinking.finish()
        words = "" if self._thinking.stopped else self._reply.feed(content)
        if last:
            words += self._reply.finish()
        tokens = self.tokens.take(words)
        self.logprobs += tokens
        self._emit(ReplyDelta(self._index, words, thoughts, tokens))

    def end_stopped(self) -> Choice:
        """Choice that the guard has stopped, after emitting its closing text."""
        fallback = not self.emitted
        self._emit(ReplyDelta(self._index, self._output.ending(self.emitted)))
        return Choice(self.emitted, "content_filter", cause=self.finding, fallback=fallback)

    def _emit(self, delta: ReplyDelta) -> None:
        self.emitted += delta.content
        if (delta.content or delta.reasoning) and self._output.emit is not None:
            self.has_emitted = True
            self._output.emit(delta)


class ReplyTokens:
    """Log probabilities aligned with emitted text: feed the engine's tokens, take those of each piece that is emitted.

    Text is emitted later than its tokens come, and not all of it: leading white space and what follows a stop are
    dropped. Positions are counted in bytes, since a character may be spread over several tokens.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, TokenLogprob]] = deque()
        self._fed = self._taken = 0

    def feed(self, tokens: Iterable[TokenLogprob]) -> None:
        for token in tokens:
            written = token.bytes
            if not self._fed:
                written = written.decode(errors="surrogateescape").lstrip().encode(errors="surrogateescape")
            if written:
                self._waiting.append((self._fed, token))
                self._fed += len(written)

    def take(self, text: str) -> tuple[TokenLogprob, ...]:
        """Tokens that begin in this text, which follows the text taken before."""
        self._taken += len(text.encode())
        taken = []
        while self._waiting and self._waiting[0][0] < self._taken:
            taken.append(self._waiting.popleft()[1])
        return tuple(taken)
