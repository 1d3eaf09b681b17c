"""Output guard: releases a reply sentence by sentence, each once it was searched for the policy's phrases.

A sentence with a contact that nobody gave the model is left out. Broken text ends what leaves. Sentences and findings
depend on the text alone, not on the pieces in which it is streamed.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from psychechat.conversation import Cause, Conversation, PhraseCause
from psychechat.emotion import Language
from psychechat.policy import GuardRules, OutputGuard
from psychechat.safety.crisis import plain
from psychechat.safety.phrases import LineError
from psychechat.safety.replies.broken_text import Broken, Proofreader
from psychechat.safety.replies.contacts import allowed_contacts, made_up_contacts

LONGEST = 400
"""Characters of a sentence; a longer one is checked and released in parts."""
SHORTEST = 4
"""Characters of a sentence; a shorter one is checked with the next, since each check costs milliseconds."""
_RECALLED = 32_000
"""Characters of the seeker's, the last ones, whose contacts a reply may name: they are read in a tenth of a second."""
_OVERLAP = 240
"""Characters before a sentence that are checked with it, since a phrase may span two sentences."""

_END = re.compile(r"""[。！？\n]|[.!?…]["'”’」』)\]*]*(?=[\s一-鿿])""")
_SENTENCE = re.compile(r"[.!?。！？…]")
_CLAUSE = re.compile(r"[.!?。！？…,，;；:：—]|(?<![a-z])(?:but|so|then)(?![a-z])|但|而是|那就")
_TAG = re.compile(r"[,，]\W*\w{1,6}(?: \w{1,6})?\W*$")
"""Tag that turns a statement into a question: "okay?", "好吗？"."""


class ReplyContext:
    """Of one turn, what decides which scripts and contacts a reply may hold."""

    def __init__(
        self,
        conversation: Conversation,
        language: Language,
        known: Callable[[], Sequence[str]],
        is_out_of_place: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`known`: the policy's texts with contacts that a reply may name; asked for only if one names any.
        `is_out_of_place`: what may not be said to this seeker; such a sentence ends a reply as broken text does.
        """
        self._conversation, self._known, self.is_out_of_place = conversation, known, is_out_of_place
        self.language = language
        self.seeker_text = "\n".join(u.text for u in conversation.utterances if u.speaker == "seeker")

    @cached_property
    def contacts(self) -> frozenset[str]:
        """Those of the policy, of the operator and of the seeker. Read once a turn, and only if a reply names any."""
        return allowed_contacts((*self._known(), *self._conversation.operator_notes, self.seeker_text[-_RECALLED:]))


class Guard:
    """Guard of one text: `feed` its pieces in order, then `finish`. What these return may be sent.

    `buffered`: whole sentences that passed, and nothing once `stopped`. `audit`: the policy's phrases stop nothing.
    `off`: every piece unchanged.
    """

    def __init__(self, settings: OutputGuard, context: ReplyContext | None = None) -> None:
        """`context` None: a text that the seeker does not read; contacts and broken text are not looked for."""
        self._mode, self._context = settings.mode, context
        self._finder = _finder(settings.rules)
        self._proofreader = Proofreader(context.language, context.seeker_text) if context else None
        self._held = ""
        self._before = ""
        self.cause: Cause | None = None
        self.broken: Broken | Literal["out of place"] | None = None
        self.withheld = 0
        """Sentences that were left out, for a contact in them that nobody gave the model."""

    @property
    def stopped(self) -> bool:
        return self.broken is not None or (self.cause is not None and self._mode == "buffered")

    def feed(self, piece: str) -> str:
        if self._mode == "off":
            return piece
        self._held += piece
        passed = ""
        while not self.stopped and (end := _end(self._held)):
            passed += self._checked(end)
        return passed

    def finish(self, *, whole: bool = True) -> str:
        """Rest of the text that was held back, if it passes. `whole` False: a bound cut it, so its end may be odd."""
        if not self._held or self.stopped:
            return ""
        passed = self._checked(len(self._held))
        if whole and self._proofreader and not self.stopped:
            self.broken = self._proofreader.finish()
        return "" if self.broken else passed

    def _checked(self, end: int) -> str:
        sentence, self._held = self._held[:end], self._held[end:]
        if self._holds_made_up_contact(sentence):
            self.withheld += 1
            return ""
        if self._proofreader:
            self.broken = self._proofreader.read(sentence)
        if self._context and self.broken is None and self._context.is_out_of_place(sentence):
            self.broken = "out of place"
        self.cause = self.cause or self._finder.find(self._before, sentence)
        self._before = (self._before + sentence)[-_OVERLAP:]
        return "" if self.stopped else sentence

    def _holds_made_up_contact(self, sentence: str) -> bool:
        if self._context is None:
            return False
        text, start = self._before + sentence, len(self._before)
        return bool(made_up_contacts(text, (), start) and made_up_contacts(text, self._context.contacts, start))


@dataclass(frozen=True, slots=True)
class Screened:
    """A complete text once it was guarded."""

    text: str
    """What may be sent; empty if a phrase or broken text stopped it."""
    cause: Cause | None
    broken: Broken | Literal["out of place"] | None
    withheld: int


def screen(text: str, settings: OutputGuard, context: ReplyContext) -> Screened:
    """A reply that is sent whole: all of it but the sentences with made-up contacts, or nothing."""
    guard = Guard(for_whole(settings), context)
    passed = guard.feed(text) + guard.finish()
    return Screened("" if guard.stopped else passed, guard.cause, guard.broken, guard.withheld)


def check(text: str, settings: OutputGuard) -> Cause | None:
    """Finding in a complete text; None if it passes, or if the guard is off."""
    if settings.mode == "off":
        return None
    guard = Guard(settings)
    guard.feed(text)
    guard.finish()
    return guard.cause


def sentences(text: str) -> Iterator[str]:
    """Text in the parts in which the guard releases it: sentences, short ones together, long ones in parts."""
    while end := _end(text):
        yield text[:end]
        text = text[end:]
    if text:
        yield text


def for_whole(settings: OutputGuard) -> OutputGuard:
    """Settings for a reply that is sent whole: checking it first delays no stream, so `audit` stops it too."""
    return settings if settings.mode == "off" else settings.model_copy(update={"mode": "buffered"})


def _end(held: str) -> int:
    """End of the first sentence, short ones together; 0 while it is incomplete."""
    end = _END.search(held, SHORTEST, LONGEST + 1)
    if end is not None and end.end() <= LONGEST:
        return end.end()
    if len(held) <= LONGEST:
        return 0
    return held.rfind(" ", 1, LONGEST) + 1 or LONGEST


# ------------------------------------------------------------------------------------------------ phrases


@dataclass(frozen=True, slots=True)
class _Phrase:
    """One line of the rules. The pattern's groups are what its `~` matched."""

    cause: PhraseCause
    pattern: re.Pattern[str]
    words: tuple[tuple[str, ...], ...]
    """Prefilter: the text must hold one word of each, or the pattern is not tried."""
    final: bool
    """Whether it is a finding in any context."""

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        if all(any(word in text for word in words) for words in self.words):
            yield from self.pattern.finditer(text)


@dataclass(frozen=True, slots=True)
class _Finder:
    """Compiled rules."""

    phrases: tuple[_Phrase, ...]
    excuses: Mapping[PhraseCause, re.Pattern[str]]
    refusals: re.Pattern[str]
    simplified: Mapping[int, str]

    def find(self, before: str, sentence: str) -> PhraseCause | None:
        """Finding in the sentence, or None. `before`: the text before it, which has passed."""
        text = self._plain(before + sentence)
        passed = len(self._plain(before))
        for phrase in self.phrases:
            for match in phrase.matches(text):
                if match.end() > passed and (phrase.final or not self._excused(text, match, phrase.cause)):
                    return phrase.cause
        return None

    def _plain(self, text: str) -> str:
        return plain(text).translate(self.simplified)

    def _excused(self, text: str, match: re.Match[str], cause: PhraseCause) -> bool:
        """Whether a question, a refusing sentence, or a "not", "if" or "you said" in its clause excuses the match."""
        sentence = max((m.end() for m in _SENTENCE.finditer(text, 0, match.start())), default=0)
        clause = max((m.end() for m in _CLAUSE.finditer(text, 0, match.start())), default=0)
        mark = _SENTENCE.search(text, match.end())
        end = mark.start() if mark else len(text)
        if mark and mark.group() in "?？" and not _TAG.search(text, match.end(), end):
            return True
        if self.refusals.search(text, sentence, end):
            return True
        asides = [(clause, match.start()), *map(match.span, range(1, len(match.groups()) + 1))]
        starts = [excuse.start() for excuse in self.excuses[cause].finditer(text, clause, match.end())]
        return any(start <= at < stop for at in starts for start, stop in asides)


@lru_cache(maxsize=8)  # a policy is swapped rarely
def _finder(rules: GuardRules) -> _Finder:
    def any_of(*tables: Mapping[Language, tuple[str, ...]]) -> re.Pattern[str]:
        lines = [(line, language) for table in tables for language, lines in table.items() for line in lines]
        return re.compile("|".join(_pattern(_slots(line, rules.words), language) for line, language in lines) or "(?!)")

    phrases = []
    for cause, languages in rules.phrases.items():
        for language, lines in languages.items():
            for line in lines:
                slots = _slots(line.removeprefix("!"), rules.words)
                words = tuple(tuple(plain(word).split()[0] for word in slot) for slot in slots if slot)
                pattern = re.compile(_pattern(slots, language))
                phrases.append(_Phrase(cause, pattern, words, final=line.startswith("!")))
    shared = rules.excuses.get("any", {})
    return _Finder(
        phrases=tuple(phrases),
        excuses={cause: any_of(shared, rules.excuses.get(cause, {})) for cause in rules.phrases},
        refusals=any_of(rules.refusals),
        simplified=str.maketrans(dict(rules.simplified)),
    )


_GAP: Mapping[Language, int] = {"en": 30, "zh": 10}
"""Characters that `~` may stand for, none of them the end of a sentence."""


def _slots(line: str, words: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Line's words in order, each as its alternatives; `~` as an empty tuple. Raises LineError."""
    slots = []
    for token in re.findall(r"\([^)]*\)|\S+", line):
        parts = [] if token == "~" else token.strip("()").split("|")  # noqa: S105
        slot = tuple(word for part in parts for word in (words[part[1:-1]] if part[0] == "<" else (part,)))
        if nothing := [word for word in slot if not plain(word).split()]:
            raise LineError(f"guard.rules: in the line {line!r} there is nothing to look for in {nothing[0]!r}")
        slots.append(slot)
    return slots


def _pattern(slots: Sequence[tuple[str, ...]], language: Language) -> str:
    parts = []
    for before, slot in zip([(), *slots], slots, strict=False):
        if not slot:
            parts.append(f"([^.!?。！？]{{0,{_GAP[language]}}}?)")
            continue
        if before:
            parts.append(r"[\W_]*")  # any punctuation, also the end of a sentence
        words = "|".join(r"[\W_]+".join(map(re.escape, plain(word).split())) for word in slot)
        parts.append(f"(?<![a-z0-9])(?:{words})(?![a-z0-9])")
    return "".join(parts)
