"""A reply's words on their way out: past the output guard, past whoever holds them back, to the client.

Each sink emits what it lets through to the next one.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from psychechat.conversation import Cause, Choice, ReplyDelta, TokenLogprob
from psychechat.policy import OutputGuard
from psychechat.safety.output_guard import Guard

Emit = Callable[[ReplyDelta], None]


class FirstWords:
    """Passes on what is not empty, and tells when the first words of the reply leave."""

    def __init__(self, emit: Emit, on_first_words: Callable[[], None]) -> None:
        self._emit, self._on_first_words = emit, on_first_words
        self.has_content = False
        """Whether words have left. The thinking is none."""

    def emit(self, delta: ReplyDelta) -> None:
        if delta.content and not self.has_content:
            self.has_content = True
            self._on_first_words()
        if delta.content or delta.reasoning:
            self._emit(delta)


class HeldBack:
    """Keeps everything until it is released."""

    def __init__(self) -> None:
        self._held: list[ReplyDelta] = []

    def emit(self, delta: ReplyDelta) -> None:
        self._held.append(delta)

    def release(self, emit: Emit) -> None:
        while self._held:
            emit(self._held.pop(0))


@dataclass(frozen=True, slots=True)
class ReplyOutput:
    """Where LLM Mode's choices go, and under which rules."""

    emit: Emit | None
    """None: nothing leaves before it is whole."""
    guard: OutputGuard
    show_reasoning: bool
    ending: Callable[[str], str]
    """The fixed words that follow what has left of a reply that the guard stopped."""


class GuardedReply:
    """A sink for one choice: what the model writes goes past the output guard, a sentence at a time."""

    def __init__(self, index: int, output: ReplyOutput) -> None:
        self._index, self._output = index, output
        self._thinking, self._reply = Guard(output.guard), Guard(output.guard)
        self.tokens = ReplyTokens()
        self.has_emitted = False
        """Whether anything has left, thinking included."""
        self.emitted = ""
        self.logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def shows_reasoning(self) -> bool:
        return self._output.show_reasoning

    @property
    def finding(self) -> Cause | None:
        """What the guard found."""
        return self._thinking.cause or self._reply.cause

    @property
    def stopped(self) -> bool:
        return self._thinking.stopped or self._reply.stopped

    def feed(self, content: str, reasoning: str, *, last: bool) -> None:
        """Take what the model has written next; emit what may leave of it."""
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
        """With the fixed words, now that the guard has stopped it."""
        fallback = not self.emitted
        self._emit(ReplyDelta(self._index, self._output.ending(self.emitted)))
        return Choice(self.emitted, "content_filter", cause=self.finding, fallback=fallback)

    def _emit(self, delta: ReplyDelta) -> None:
        self.emitted += delta.content
        if (delta.content or delta.reasoning) and self._output.emit is not None:
            self.has_emitted = True
            self._output.emit(delta)


class ReplyTokens:
    """Feed it a reply's tokens as the engine tells them, then take those of each piece of text that leaves.

    Text leaves later than its tokens come, and not all of it does: white space before the reply, and whatever follows
    a stop, are no part of it. Both are counted in bytes, since a character may be spread over several tokens.
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
        """The tokens that begin in this text."""
        self._taken += len(text.encode())
        taken = []
        while self._waiting and self._waiting[0][0] < self._taken:
            taken.append(self._waiting.popleft()[1])
        return tuple(taken)
