"""The check of what a model adds to the fixed words of a crisis reply. It fails closed: where it errs, the fixed words
stand alone, and they are enough.

A small model that is told "I have decided to hang myself" may write "Enjoy this moment". So whatever sounds glad,
approving or like a farewell stays here unless it is known to be harmless: `crisis_reply.yaml` has both.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from psychechat import fast_yaml
from psychechat.conversation import Conversation, Speaker
from psychechat.emotion import Language
from psychechat.policy import OutputGuard
from psychechat.safety import output_guard
from psychechat.safety.crisis import plain
from psychechat.safety.replies.broken_text import broken, repeats

Unfit = Literal[
    "empty", "broken", "guard", "celebration", "praise", "goodbye", "thanks", "act", "method", "topic", "repetition",
    "questions", "sentences", "unfinished",
]  # fmt: skip
"""Why words may not follow the fixed ones.

`thanks`: for anything but that somebody spoke. `act`: a push to act on the danger. `method`: it names one. `topic`: it
says of the seeker what only the counselor has said. `unfinished`: its end is not a sentence's.
"""

MOST_SENTENCES = 4
MOST_QUESTIONS = 1


def check(text: str, *, language: Language, conversation: Conversation, guard: OutputGuard) -> Unfit | None:
    """The reason why the model's words may not follow the fixed ones, or None where they may."""
    if reason := _shape(text, language, _said(conversation, "seeker")):
        return reason
    if reason := unfit_words(text, guard):
        return reason
    if _is_put_in_mouth(text, language, conversation):
        return "topic"
    return "guard" if output_guard.check(text, output_guard.for_whole(guard)) else None


def celebrates(text: str) -> bool:
    """Whether the text is glad at something: no reply to somebody who is not."""
    return _celebrations().unfit(plain(text)) is not None


def unfit_words(text: str, guard: OutputGuard) -> Unfit | None:
    """The reason why words of any shape, such as a title, may not be shown in a crisis, or None where they may."""
    return _lines().unfit(plain(text).translate(_simplified(tuple(guard.rules.simplified.items()))))


def warm() -> None:
    """The table read and its patterns compiled, so that no reply waits for it."""
    _lines()
    _celebrations()


def _said(conversation: Conversation, speaker: Speaker) -> str:
    return "\n".join(utterance.text for utterance in conversation.utterances if utterance.speaker == speaker)


@lru_cache(maxsize=4)  # a policy is swapped rarely
def _simplified(pairs: tuple[tuple[str, str], ...]) -> Mapping[int, str]:
    return str.maketrans(dict(pairs))


# --------------------------------------------------------------------------------------------------- shape


_SENTENCE = re.compile(
    r"[^.!?。！？\n]*[^\s.!?。！？\n][^.!?。！？\n]*(?:[.!?](?![\s\"'”’)])[^.!?。！？\n]*)*[.!?。！？\n]*"
)
_ENDED = re.compile(r"(?:[!?。！？]+|(?<![.…])\.)[\"'”’」』)）\]]*\s*\Z")
_QUESTION = re.compile(r"[?？]+|(?:吗|呢)[。！.!]")


def _shape(text: str, language: Language, seeker_text: str) -> Unfit | None:
    if not text.strip():
        return "empty"
    if broken(text, language, seeker_text):
        return "broken"
    if repeats(text, language):
        return "repetition"
    if not _ENDED.search(text):
        return "unfinished"
    if len(_QUESTION.findall(text)) > MOST_QUESTIONS:
        return "questions"
    return "sentences" if len(_sentences(text)) > MOST_SENTENCES else None


def _sentences(text: str) -> list[str]:
    return [sentence.group() for sentence in _SENTENCE.finditer(text)]


# ------------------------------------------------------------------------------------------------- phrases


_Section = Literal["always", "passes", "stops"]


class _Lines:
    """Lines of the table. A line is tried only where one of its words is in the text: most of them are not."""

    def __init__(self, lines: Iterable[tuple[_Section, Unfit | None, str]], words: Mapping[str, Sequence[str]]) -> None:
        self._lines: list[tuple[_Section, Unfit | None, re.Pattern[str]]] = []
        self._index: defaultdict[str, list[int]] = defaultdict(list)
        for place, (section, reason, line) in enumerate(lines):
            slots = _slots(line, words)
            pattern = re.compile(_pattern(slots, is_han=_HAN.search(line) is not None))
            self._lines.append((section, reason, pattern))
            for key in _keys(slots):
                self._index[key].append(place)
        self._stems = sorted({len(key) - 1 for key in self._index if key.endswith("*")})

    def unfit(self, text: str) -> Unfit | None:
        """The reason of the first line that is in the folded text: as it is, or once what passes is taken out of it."""
        for section, reason, pattern in self._near(text):
            if section == "passes":
                text = pattern.sub(" ; ", text)
            elif pattern.search(text):
                return reason
        return None

    def _near(self, text: str) -> list[tuple[_Section, Unfit | None, re.Pattern[str]]]:
        words = set(_LATIN_WORD.findall(text))
        stems = {f"{word[:length]}*" for word in words for length in self._stems if length <= len(word)}
        keys = self._index.keys() & (words | stems | set(text))
        return [self._lines[place] for place in sorted({place for key in keys for place in self._index[key]})]


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Any]:
    text = files("psychechat").joinpath("safety", "replies", "crisis_reply.yaml").read_text("utf-8")
    table: Mapping[str, Any] = fast_yaml.load(text)
    return table


@lru_cache(maxsize=1)
def _lines() -> _Lines:
    table = _table()
    passes: list[tuple[_Section, Unfit | None, str]] = [
        ("passes", None, line) for lines in table["passes"].values() for line in lines
    ]
    return _Lines([*_by_reason("always"), *passes, *_by_reason("stops")], table["words"])


@lru_cache(maxsize=1)
def _celebrations() -> _Lines:
    lines = [line for language in _table()["celebrations"].values() for line in language]
    return _Lines([("stops", "celebration", line) for line in lines], _table()["words"])


def _by_reason(section: _Section) -> list[tuple[_Section, Unfit | None, str]]:
    table: Mapping[Unfit, Mapping[Language, Sequence[str]]] = _table()[section]
    return [
        (section, reason, line) for reason, languages in table.items() for lines in languages.values() for line in lines
    ]


_HAN = re.compile("[一-鿿]")
_LATIN = re.compile("[a-z0-9]")
_LATIN_WORD = re.compile("[a-z0-9]+")
_CLAUSE = r".!?;:,\u3002\uff01\uff1f\uff1b\uff1a\uff0c\u3001\u2014"
_BETWEEN = rf"[^\w{_CLAUSE}]+"
_GAP = rf"(?:{_BETWEEN}(?!(?:but|then|yet|just|because|and)\b)\w+){{0,6}}?{_BETWEEN}"
_GAP_HAN = rf"(?:(?!但|可是|而是|所以|就)[^{_CLAUSE}]){{0,8}}?"
_END = rf"(?=[\W_]*(?:[{_CLAUSE}]|\Z))"


def _slots(line: str, words: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """The line's words in order, each as all that may stand in its place; `~` and `$` as they are."""
    slots = []
    for token in re.findall(r"\([^)]*\)|\S+", line):
        parts = token.strip("()").split("|")
        choices = [choice for part in parts for choice in (words[part[1:-1]] if part[0] == "<" else (part,))]
        slots.append(tuple(choice if choice in ("~", "$") else plain(choice) for choice in choices))
    return slots


def _pattern(slots: Sequence[tuple[str, ...]], *, is_han: bool) -> str:
    pattern, joint = "", ""
    for slot in slots:
        if slot == ("~",):
            joint = _GAP_HAN if is_han else _GAP
        elif slot == ("$",):
            pattern += _END
        elif slot == (",",):
            pattern, joint = rf"{pattern}{joint.removesuffix(_BETWEEN)}\s*,", r"\s*"
        else:
            pattern += joint + _any_of(slot)
            joint = rf"[^\w{_CLAUSE}]*" if is_han else _BETWEEN
    return pattern


def _any_of(slot: Sequence[str]) -> str:
    words = sorted(slot, key=len, reverse=True)
    latin = "|".join(map(_latin, filter(_LATIN.match, words)))
    others = [re.escape(word) for word in words if not _LATIN.match(word)]
    return f"(?:{'|'.join([*others, *([rf'(?<![a-z0-9])(?:{latin})(?![a-z0-9])'] if latin else [])])})"


def _latin(word: str) -> str:
    return _BETWEEN.join(map(re.escape, word.split())).replace(r"\*", "[a-z]*")


def _keys(slots: Sequence[tuple[str, ...]]) -> frozenset[str]:
    """Of which a text must hold one for the line to be in it: of the place whose words are the longest."""
    keys = [frozenset(map(_key, slot)) for slot in slots if slot[0] not in "~$,"]
    return max(keys, key=lambda slot: min(map(len, slot)))


def _key(choice: str) -> str:
    """A Latin word, the stem of one, or the first character of anything else."""
    words = re.findall(r"[a-z0-9]+\*?", choice)
    return max(words, key=len) if words else choice[0]


# -------------------------------------------------------------------------------------------------- topics


def _is_put_in_mouth(text: str, language: Language, conversation: Conversation) -> bool:
    """Whether the reply says of the seeker what only the counselor has said: "your suicide", after a question and a no.

    Any noun behind a "your" counts, but for what everybody has; of what is dangerous, any statement with a "you" in it.
    A question may ask again.
    """
    topics = _Topics(language, conversation)
    return any(topics.are_put_in(sentence) for sentence in _sentences(text))


class _Topics:
    """What only the counselor has said. What the seeker has denied they have not said."""

    def __init__(self, language: Language, conversation: Conversation) -> None:
        self._language = language
        self._words = _Words.of(language)
        counselor = plain(_said(conversation, "counselor"))
        seeker = _affirmed(_said(conversation, "seeker"), self._words.denial)
        read = _pairs if language == "zh" else _stems
        self._only = {*read(counselor)} - {*read(seeker)} - self._words.anyones
        self._dangers = [word for word in self._words.dangers if word in counselor and word not in seeker]

    def are_put_in(self, sentence: str) -> bool:
        folded = plain(sentence)
        return self._in_chinese(folded) if self._language == "zh" else self._in_english(folded)

    def _in_english(self, sentence: str) -> bool:
        if any(stem in self._only for match in _YOURS.finditer(sentence) for stem in _stems(match.group(1))):
            return True
        if "?" in sentence or not _YOU.search(sentence):
            return False
        return any(stem in self._only and stem in self._words.dangers for stem in _stems(sentence))

    def _in_chinese(self, sentence: str) -> bool:
        if any(pair in self._only for match in _YOURS_ZH.finditer(sentence) for pair in _pairs(match.group(1))):
            return True
        asks = re.search("[?吗]|是否|有没有|是不是", sentence)
        return not asks and "你" in sentence and any(word in sentence for word in self._dangers)


@dataclass(frozen=True, slots=True)
class _Words:
    """The table's words for topics, ready to be compared."""

    anyones: frozenset[str]
    dangers: frozenset[str]
    denial: re.Pattern[str]

    @staticmethod
    @lru_cache(maxsize=2)
    def of(language: Language) -> "_Words":
        topics = _table()["topics"]
        anyones, dangers = topics["anyones"][language], topics["risk"][language]
        denial = re.compile(rf"\b(?:{'|'.join(topics['not']['en'])})\b|{'|'.join(topics['not']['zh'])}")
        if language == "zh":
            return _Words(frozenset(anyones), frozenset(dangers), denial)
        return _Words(frozenset(_stems(" ".join(anyones))), frozenset(_stems(" ".join(dangers))), denial)


_YOURS = re.compile(r"\byours? ((?:[a-z-]+ ?){1,2})")
_YOU = re.compile(r"\byou")
_YOURS_ZH = re.compile(r"你(?:的|那|这|这个|那个|这份|那份)([一-鿿]{2,4})")


def _stems(text: str) -> Iterator[str]:
    """Words without what grammar puts behind them, roughly: the same word comes out the same."""
    for word in re.findall(r"[a-z]{3,}", text):
        stem = re.sub(r"(?:ing|ed|es|s|al|e)$", "", word) if len(word) > 4 else word.removesuffix("s")
        yield re.sub(r"([b-df-hj-km-rtv-z])\1$", r"\1", stem)


def _pairs(text: str) -> Iterator[str]:
    """Of Han characters, each with the next: words, mostly, where nothing parts them."""
    for run in re.findall("[一-鿿]{2,}", text):
        yield from (run[at : at + 2] for at in range(len(run) - 1))


def _affirmed(text: str, denial: re.Pattern[str]) -> str:
    """Without the clauses that deny something."""
    clauses = re.split(r"[.!?;,。！？；，]|\bbut\b|但", plain(text.replace("\n", ". ")))
    return ". ".join(clause for clause in clauses if not denial.search(clause))
