"""The output guard: a reply leaves a sentence at a time, each after no phrase of the policy was found in it.

What a sentence is depends on the text alone, never on the pieces in which it comes; so does what the guard finds.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from psychechat.conversation import Cause
from psychechat.emotion import Language
from psychechat.policy import GuardRules, OutputGuard
from psychechat.safety.crisis import plain

LONGEST = 400
"""Characters that a sentence may have. A longer one is checked and let go in parts."""
SHORTEST = 4
"""What ends before is read with the sentence that follows: each look costs milliseconds."""
_OVERLAP = 240
"""Characters before a sentence that are read with it, for a phrase may be split over two."""

_END = re.compile(r"""[。！？\n]|[.!?…]["'”’」』)\]*]*(?=[\s一-鿿])""")
_SENTENCE = re.compile(r"[.!?。！？…]")
_CLAUSE = re.compile(r"[.!?。！？…,，;；:：—]|(?<![a-z])(?:but|so|then)(?![a-z])|但|而是|那就")
_TAG = re.compile(r"[,，]\W*\w{1,6}(?: \w{1,6})?\W*$")
"""What is put behind a statement to make it sound like a question: "okay?", "好吗？"."""


class Guard:
    """Feed it the pieces of one text in order, then `finish`. What it returns may leave.

    `buffered`: whole sentences that have passed, and nothing once it has `stopped`. `audit`: every piece as it came.
    """

    def __init__(self, settings: OutputGuard) -> None:
        self._mode = settings.mode
        self._finder = _finder(settings.rules)
        self._held = ""
        self._before = ""
        self.cause: Cause | None = None

    @property
    def stopped(self) -> bool:
        return self.cause is not None and self._mode == "buffered"

    def feed(self, piece: str) -> str:
        if self._mode == "off":
            return piece
        self._held += piece
        passed = ""
        while self.cause is None and (end := _end(self._held)):
            passed += self._checked(end)
        return passed if self._mode == "buffered" else piece

    def finish(self) -> str:
        """What was held back, if it passes, now that nothing follows it."""
        passed = self._checked(len(self._held)) if self.cause is None and self._held else ""
        return passed if self._mode == "buffered" else ""

    def _checked(self, end: int) -> str:
        sentence, self._held = self._held[:end], self._held[end:]
        self.cause = self._finder.find(self._before, sentence)
        self._before = (self._before + sentence)[-_OVERLAP:]
        return sentence if self.cause is None else ""


def check(text: str, settings: OutputGuard) -> Cause | None:
    """What the guard finds in a text that is whole already; nothing where it is off."""
    if settings.mode == "off":
        return None
    guard = Guard(settings)
    guard.feed(text)
    guard.finish()
    return guard.cause


def for_whole(settings: OutputGuard) -> OutputGuard:
    """The settings for a reply that leaves whole: to check it first costs nobody a wait, so `audit` stops it too."""
    return settings if settings.mode == "off" else settings.model_copy(update={"mode": "buffered"})


def _end(held: str) -> int:
    """Where the first sentence ends, short ones together; 0 while that cannot be told."""
    end = _END.search(held, SHORTEST, LONGEST + 1)
    if end is not None and end.end() <= LONGEST:
        return end.end()
    if len(held) <= LONGEST:
        return 0
    return held.rfind(" ", 1, LONGEST) + 1 or LONGEST


# ------------------------------------------------------------------------------------------------ phrases


@dataclass(frozen=True, slots=True)
class _Phrase:
    """One line of the rules. What stands for `~` are the pattern's groups."""

    cause: Cause
    pattern: re.Pattern[str]
    words: tuple[tuple[str, ...], ...]
    """Of each of these the text must hold one, or the pattern need not be tried."""
    final: bool
    """Whether nothing excuses it."""

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        if all(any(word in text for word in words) for words in self.words):
            yield from self.pattern.finditer(text)


@dataclass(frozen=True, slots=True)
class _Finder:
    """The rules, ready to be looked for."""

    phrases: tuple[_Phrase, ...]
    excuses: Mapping[Cause, re.Pattern[str]]
    refusals: re.Pattern[str]
    simplified: Mapping[int, str]

    def find(self, before: str, sentence: str) -> Cause | None:
        """What is wrong with the sentence. `before` is what preceded it, which has passed."""
        text = self._plain(before + sentence)
        passed = len(self._plain(before))
        for phrase in self.phrases:
            for match in phrase.matches(text):
                if match.end() > passed and (phrase.final or not self._excused(text, match, phrase.cause)):
                    return phrase.cause
        return None

    def _plain(self, text: str) -> str:
        return plain(text).translate(self.simplified)

    def _excused(self, text: str, match: re.Match[str], cause: Cause) -> bool:
        """In a question, in a sentence that refuses, or after a "not", an "if" or a "you said" of its clause."""
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
    """The line's words in order, each as all that may stand in its place; `~` as nothing."""
    slots = []
    for token in re.findall(r"\([^)]*\)|\S+", line):
        parts = [] if token == "~" else token.strip("()").split("|")  # noqa: S105
        slots.append(tuple(word for part in parts for word in (words[part[1:-1]] if part[0] == "<" else (part,))))
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
