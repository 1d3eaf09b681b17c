"""Sinks between a generation and its client: the output guard, a record of what has left, a buffer that holds replies
back, a TTFT hook.

Each emits what it lets through to the next one.
"""

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile

from psychechat.conversation import Cause, Choice, Reply, ReplyDelta, TokenLogprob
from psychechat.engines.base import FinishReason
from psychechat.pipeline.judge import Judge
from psychechat.policy import OutputGuard
from psychechat.safety.output_guard import Guard, ReplyContext, sentences

Emit = Callable[[ReplyDelta], None]


class FirstWords:
    """TTFT hook: calls back on the first content delta; reasoning does not count. Empty deltas are dropped."""

    def __init__(self, emit: Emit, on_first_words: Callable[[], None]) -> None:
        self._emit, self._on_first_words = emit, on_first_words
        self._has_content = False

    def emit(self, delta: ReplyDelta) -> None:
        if delta.content and not self._has_content:
            self._has_content = True
            self._on_first_words()
        if delta.content or delta.reasoning:
            self._emit(delta)


class Written:
    """Record of each choice's text, so that a reply which comes whole, or broke off, can be completed."""

    def __init__(self, emit: Emit, texts: Mapping[int, str] | None = None) -> None:
        self._emit = emit
        self.texts: defaultdict[int, str] = defaultdict(str, texts or {})
        """By choice, what has left."""
        self.has_reasoning = False

    def emit(self, delta: ReplyDelta) -> None:
        self._emit(delta)
        self.note(delta)

    def note(self, delta: ReplyDelta) -> None:
        """A delta that left by another way."""
        self.texts[delta.index] += delta.content
        self.has_reasoning = self.has_reasoning or bool(delta.reasoning)

    def complete(self, reply: Reply) -> None:
        """Emit what of the reply has not left."""
        for index, choice in enumerate(reply.choices):
            if choice.text.startswith(self.texts[index]):
                self.emit(ReplyDelta(index, choice.text[len(self.texts[index]) :]))


class HeldBack:
    """Buffer that keeps everything from the next sink until it is released."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._held: list[ReplyDelta] = []

    def emit(self, delta: ReplyDelta) -> None:
        self._held.append(delta)

    def release(self) -> None:
        while self._held:
            self._emit(self._held.pop(0))

    def discard(self) -> None:
        self._held.clear()


@dataclass(frozen=True, slots=True)
class ReplyOutput:
    """Output options of LLM Mode: where its choices go, and under which rules."""

    emit: Emit | None
    """Next sink; None while the reply is not streamed, so that fixed words never follow half a reply."""
    guard: OutputGuard
    context: ReplyContext
    judge: Judge
    show_reasoning: bool
    ending: Callable[[str, Cause | None], str]
    """Closing text of a reply that was stopped, by what of it was emitted and what was found in the rest."""
    cut: str = ""
    """Closing text of a reply that broke off within a sentence."""


class GuardedReply:
    """Output guard of one choice, and the third head behind it: takes what the model writes, emits the sentences that
    pass both. The head's word holds as the guard's does: `audit` only notes it, and with the guard off it is not asked.
    """

    def __init__(self, index: int, output: ReplyOutput) -> None:
        self._index, self._output = index, output
        self._thinking, self._reply = Guard(output.guard), Guard(output.guard, output.context)
        self._asks = output.judge.is_asked and output.guard.mode != "off"
        self._hurts = self._refused = False
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
        """What was found, in the thinking or in the reply."""
        return self._thinking.cause or ("hurting" if self._hurts else self._reply.cause)

    @property
    def stopped(self) -> bool:
        return self._thinking.stopped or self._reply.stopped or self._refused

    @property
    def is_broken(self) -> bool:
        """Whether the reply is no text that a person could read."""
        return self._reply.broken is not None

    @property
    def withheld(self) -> int:
        return self._reply.withheld

    async def feed(self, content: str, reasoning: str, *, finish: FinishReason | None = None) -> None:
        """Take the model's next output; emit what passes. `finish`: this is the last of it, and why."""
        thoughts = self._thinking.feed(reasoning) if self._output.show_reasoning else ""
        if content or finish:  # the thinking is over
            thoughts += self._thinking.finish()
        words = "" if self._thinking.stopped else self._reply.feed(content)
        if finish:
            words += self._reply.finish(whole=finish == "stop")
        words = await self._judged(words)
        tokens = () if self.withheld else self.tokens.take(words)
        self.logprobs += tokens
        self._emit(ReplyDelta(self._index, words, thoughts, tokens))

    async def _judged(self, words: str) -> str:
        """Sentences before the first that the head refuses; they are judged in one call. Once nobody answers, the rest
        of the reply is not asked about, so that no stream waits for a dead classifier sentence by sentence.
        """
        if not words or not self._asks:
            return words
        parts, judge = list(sentences(words)), self._output.judge
        judgements = await judge.judge(parts, "llm")
        self._asks = "unknown" not in judgements
        self._hurts = self._hurts or "hurting" in judgements
        if self._output.guard.mode == "audit":
            return words
        passed = list(takewhile(lambda place: not judge.refuses(judgements[place]), range(len(parts))))
        self._refused = len(passed) < len(parts)
        return "".join(parts[place] for place in passed)

    def end_stopped(self) -> Choice:
        """Choice that was stopped, after emitting its closing text."""
        fallback = not self.emitted
        self._emit(
            ReplyDelta(self._index, self._output.ending(self.emitted, "hurting" if self._refused else self.finding))
        )
        return Choice(
            self.emitted,
            "content_filter",
            cause=self.finding,
            blocked=True,
            withheld=self.withheld,
            fallback=fallback,
        )

    def end_cut(self) -> Choice:
        """Choice whose rest is broken: what has left of it, up to the end of a sentence or a fixed one."""
        self._emit(ReplyDelta(self._index, closing(self.emitted, self._output.cut)))
        return Choice(self.emitted, "stop", cause=self.finding, withheld=self.withheld, cut=True)

    def _emit(self, delta: ReplyDelta) -> None:
        self.emitted += delta.content
        if (delta.content or delta.reasoning) and self._output.emit is not None:
            self.has_emitted = True
            self._output.emit(delta)


def closing(text: str, cut: str) -> str:
    """What a reply that broke off needs at its end: nothing after a whole sentence, else a fixed one."""
    return "" if _WHOLE.search(text) else f"\n\n{cut}"


def whole_sentences(text: str) -> str:
    """Text up to the end of its last whole sentence; empty if it has none."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]].rstrip() if ends else ""


_SENTENCE_END = re.compile(r"""[.!?…](?=["'”’」』)）\]*]*(?:\s|\Z))["'”’」』)）\]*]*|[。！？]["'”’」』)）\]*]*""")
_WHOLE = re.compile(r"""[.!?…。！？]["'”’」』)）\]*]*\s*\Z""")


class ReplyTokens:
    """Log probabilities aligned with emitted text: feed the engine's tokens, take those of each piece that is emitted.

    Text is emitted later than its tokens come, and not all of it: leading white space and what follows a stop are
    dropped. A token that ends beyond the text waits for the rest of it, which never comes where a stop began within.
    Positions are counted in bytes, since a character may be spread over several tokens.
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
                self._fed += len(written)
                self._waiting.append((self._fed, token))

    def take(self, text: str) -> tuple[TokenLogprob, ...]:
        """Tokens that end in this text, which follows the text taken before."""
        self._taken += len(text.encode())
        taken = []
        while self._waiting and self._waiting[0][0] <= self._taken:
            taken.append(self._waiting.popleft()[1])
        return tuple(taken)
