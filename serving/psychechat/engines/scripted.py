"""Engines that answer from a table: for the pipeline's tests, and for trying the server without a model.

`psychechat serve --engine scripted` starts in seconds. It answers every stage in its format with the same words.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from psychechat import language
from psychechat.concurrency import Clock
from psychechat.conversation import Act, Assessment, EmotionMemory, Reading, Thresholds, TokenLogprob
from psychechat.emotion import ABSENT, Emotion, Group, Label, Language
from psychechat.engines.base import (
    Call,
    Delta,
    FinishReason,
    Load,
    Message,
    Pair,
    Sampling,
    Stage,
    StageName,
    Usage,
)
from psychechat.engines.stopping import StopStrings
from psychechat.engines.thinking import CLOSE
from psychechat.errors import ContextLengthExceeded, DeadlineExceeded
from psychechat.help.subjects import Subject
from psychechat.risk import Severity

Answer = str | Exception | Callable[[Sequence[Message]], str]


def assessment(*emotions: Emotion, risk: Severity = Severity.NONE) -> Assessment:
    """An assessment that is sure of these emotions and of this severity."""
    groups = dict.fromkeys(Group, (1.0, 0.0, 0.0, 0.0))
    for label, probability in emotions:
        columns = [0.0] * 4
        columns[ABSENT], columns[label.intensity] = 1.0 - probability, probability
        groups[label.group] = (columns[0], columns[1], columns[2], columns[3])
    return Assessment(groups, {severity: float(severity is risk) for severity in Severity})


def reading(
    labels: Sequence[Label] = (),
    risk: Severity = Severity.NONE,
    memory: EmotionMemory | None = None,
    language: Language = "en",
    act: Act | None = None,
    subject: Subject | None = None,
) -> Reading:
    """A reading that is sure of these labels, the first one most, of this severity, dialogue act and subject."""
    emotions = [Emotion(label, 0.99 - 0.01 * place) for place, label in enumerate(labels)]
    thresholds = Thresholds(dict.fromkeys(Group, 0.5), dict.fromkeys(Severity, 0.5))
    acts: Mapping[Act, float] = {act: 0.99} if act else {}
    subjects: Mapping[Subject, float] = {subject: 0.99} if subject else {}
    read = replace(assessment(*emotions, risk=risk), acts=acts, subjects=subjects)
    return Reading(language, thresholds, memory=memory, assessment=read)


class ScriptedClassifier:
    """Answers with the entry of the first phrase that the utterance holds, else with the one for no phrase.

    `hurting` is the third head's table, of phrases in drafts; None: there is no such head.
    """

    def __init__(
        self, table: Mapping[str, Assessment] | None = None, hurting: Mapping[str, float] | None = None
    ) -> None:
        self._table = _FEELINGS if table is None else table
        self._hurting = hurting

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        return [
            next((entry for phrase, entry in self._table.items() if phrase in utterance.casefold()), assessment())
            for utterance in utterances
        ]

    async def judge(self, pairs: Sequence[Pair], call: Call) -> list[float] | None:
        if self._hurting is None:
            return None
        entries = self._hurting.items()
        return [next((entry for phrase, entry in entries if phrase in pair.draft.casefold()), 0.0) for pair in pairs]

    async def check_health(self) -> None:
        """Always healthy."""


class ScriptedGenerator:
    """Answers each stage with the next of its entries; the last entry repeats.

    An entry that is an exception is raised. Text is streamed in words, each `seconds_per_word` after the one before,
    the first one `first_seconds` later still. As a real engine does, it falls behind no clock: words that are due
    together leave together. More than `max_num_seqs` at once wait, first come, first served. `prompts` keeps what was
    asked, for tests; with `keep` off, a load test's server does not. An adapter may have a table of its own.
    """

    def __init__(
        self,
        table: Mapping[StageName, Sequence[Answer]] | None = None,
        *,
        adapters: Mapping[str, Mapping[StageName, Sequence[Answer]]] | None = None,
        seconds_per_word: float = 0.0,
        first_seconds: float = 0.0,
        keep: bool = True,
        context_length: int = 32_768,
        max_num_seqs: int = 1_000_000,
        cache_words: int = 1_000_000,
        kv_tokens: int | None = None,
        control_tokens: Iterable[str] = (),
        clock: Clock = time.monotonic,
    ) -> None:
        """`kv_tokens`: what its KV memory is said to hold. None: it has none, and so no bound by it. `control_tokens`:
        those that its tokenizer is said to have.
        """
        self._table = _copy(table or {})
        self.kv_tokens = kv_tokens
        self.control_tokens = frozenset(control_tokens)
        self._adapters = {adapter: _copy(its) for adapter, its in (adapters or {}).items()}
        self._seconds_per_word, self._first_seconds = seconds_per_word, first_seconds
        self._keep, self._clock = keep, clock
        self.context_length = context_length
        self._cache_words = cache_words
        self._places = asyncio.Semaphore(max_num_seqs)
        self.prompts: list[tuple[StageName, Sequence[Message], Sampling, Call]] = []
        self.running = 0
        """Generations under way."""
        self._waiting = self._cached = 0

    async def generate(
        self, messages: Sequence[Message], stage: Stage, sampling: Sampling, call: Call
    ) -> AsyncGenerator[Delta, None]:
        if self._keep:
            self.prompts.append((stage.name, messages, sampling, call))
        text = self._next(stage.name, messages, call.adapter)
        reasoning, _, content = text.rpartition(CLOSE)
        if stage.choices and content.strip() not in stage.choices:
            content = stage.choices[0]
        thoughts = reasoning.removeprefix("<think>").split(" ") if stage.thinks and reasoning else []
        words = content.split(" ")
        allowed, stops = sampling.max_tokens, StopStrings(sampling.stop)
        count, asked = len(thoughts) + len(words), sum(len(message.content.split()) for message in messages)
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        self.running += 1
        self._cached += asked + count
        began = self._clock() + self._first_seconds
        held = _NOTHING
        try:
            for index, word in enumerate([*thoughts, *words][:allowed]):
                if (wait := began + (index + 1) * self._seconds_per_word - self._clock()) > 0:
                    if held != _NOTHING:
                        yield held
                    held = _NOTHING
                    await asyncio.sleep(wait)
                if self._clock() > call.deadline:
                    raise DeadlineExceeded("The turn's time is up.")
                piece = word if index in (0, len(thoughts)) else f" {word}"
                if index < len(thoughts):
                    if not stage.tells_thinking:
                        continue
                    held = replace(held, reasoning=held.reasoning + piece)
                elif not stops.hit:
                    scores = _scores(piece, sampling.logprobs)
                    held = replace(held, content=held.content + stops.feed(piece), logprobs=held.logprobs + scores)
                if not self._seconds_per_word:
                    yield held
                    held = _NOTHING
            if held != _NOTHING:
                yield held
            usage = Usage(
                prompt_tokens=asked,
                completion_tokens=min(count, allowed),
                reasoning_tokens=min(len(thoughts), allowed),
            )
            finish: FinishReason = "stop" if count <= allowed or stops.hit else "length"
            yield Delta(stops.finish(), finish_reason=finish, usage=usage)
        finally:
            self.running -= 1
            self._cached -= asked + count
            self._places.release()

    async def check_fits(self, messages: Sequence[Message], reserve: int, call: Call) -> None:
        tokens = sum(len(message.content) for message in messages) + reserve
        if tokens > self.context_length:
            raise ContextLengthExceeded(tokens, self.context_length)

    async def check_health(self) -> None:
        """Always healthy."""

    def load(self) -> Load:
        return Load(self.running, self._waiting, min(1.0, self._cached / self._cache_words))

    async def warm(self, stages: Sequence[Stage]) -> None:
        """Nothing to compile."""

    def _next(self, name: StageName, messages: Sequence[Message], adapter: str | None = None) -> str:
        entries = self._adapters.get(adapter or "", self._table).get(name)
        if not entries:
            return _ANSWERS[language.detect(messages[0].content) or "en"][name]
        entry = entries.pop(0) if len(entries) > 1 else entries[0]
        if isinstance(entry, Exception):
            raise entry
        return entry(messages) if callable(entry) else entry


def _copy(table: Mapping[StageName, Sequence[Answer]]) -> dict[StageName, list[Answer]]:
    return {name: list(entries) for name, entries in table.items()}


_NOTHING = Delta()


def _scores(word: str, alternatives: int | None) -> tuple[TokenLogprob, ...]:
    """Each word is a token that was likely, before ever less likely ones."""
    if alternatives is None:
        return ()
    words = [word, *(f"{word}{number}" for number in range(1, alternatives))][:alternatives]
    top = tuple(TokenLogprob(text, text.encode(), -0.5 - rank) for rank, text in enumerate(words))
    return (TokenLogprob(word, word.encode(), -0.5, top),)


_FEELINGS: Mapping[str, Assessment] = {
    "happy": assessment(Emotion(Label(Group.JOY, 2), 0.9)),
    "开心": assessment(Emotion(Label(Group.JOY, 2), 0.9)),
    "worried": assessment(Emotion(Label(Group.FEAR, 1), 0.8)),
    "担心": assessment(Emotion(Label(Group.FEAR, 1), 0.8)),
    "sad": assessment(Emotion(Label(Group.SADNESS, 2), 0.9)),
    "难过": assessment(Emotion(Label(Group.SADNESS, 2), 0.9)),
    "hopeless": assessment(Emotion(Label(Group.SADNESS, 3), 0.9), risk=Severity.INDICATOR),
    "绝望": assessment(Emotion(Label(Group.SADNESS, 3), 0.9), risk=Severity.INDICATOR),
}

_ANSWERS: Mapping[Language, Mapping[StageName, str]] = {
    "en": {
        StageName.EMOTION: '{"current_emotion":["worried"],"current_analysis":"The seeker speaks of a worry.",'
        '"recent_change":"","overall_trend":"","shift_analysis":""}',
        StageName.DRAFT: '{"phase":"exploration","strategy":"Ask openly.",'
        '"response":"Thank you for telling me. What about this weighs on you most?"}',
        StageName.SIMULATION: '[{"type":"normal","response":"It is the waiting."},{"type":"silent","response":"..."},'
        '{"type":"sentimental","response":"Nobody has asked me that."}]',
        StageName.REVIEW: '{"safety_analysis":[{"uid":1,"analysis":"Open.","pass":true},{"uid":2,"analysis":"Calm.",'
        '"pass":true},{"uid":3,"analysis":"Heard.","pass":true}],"pass_flag":true,'
        '"suggestion":{"emotion":"","safety":""}}',
        StageName.REPLY: "<think>The seeker speaks of a worry.</think>\n\n"
        "Thank you for telling me. What about this weighs on you most?",
    },
    "zh": {
        StageName.EMOTION: '{"current_emotion":["担心"],"current_analysis":"来访者说起一件担心的事。",'
        '"recent_change":"","overall_trend":"","shift_analysis":""}',
        StageName.DRAFT: '{"phase":"探索","strategy":"开放地询问。",'
        '"response":"谢谢你告诉我。这件事里最让你放不下的是什么？"}',
        StageName.SIMULATION: '[{"type":"正常","response":"是等待。"},{"type":"沉默不语","response":"……"},'
        '{"type":"多愁善感","response":"从来没有人这样问过我。"}]',
        StageName.REVIEW: '{"safety_analysis":[{"uid":1,"analysis":"开放。","pass":true},{"uid":2,"analysis":"平静。",'
        '"pass":true},{"uid":3,"analysis":"被听见。","pass":true}],"pass_flag":true,'
        '"suggestion":{"emotion":"","safety":""}}',
        StageName.REPLY: "<think>来访者说起一件担心的事。</think>\n\n谢谢你告诉我。这件事里最让你放不下的是什么？",
    },
}
