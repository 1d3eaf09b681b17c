"""Lines of the phrase table: what a clinician writes for a phrase, and how it is looked for in a text.

A line is words. Between two words is a space; a line with Chinese in it has none, so there spaces are for the reader.

    kill(ing)? myself     (a|b) one of these; ? behind it: or nothing; without a space it is part of the word
    <want> to die         one of the list `want` of the table's `words`
    <number> kms          any number in digits
    took ~ pills          ~ is up to five words of the same sentence (Chinese: eight characters)
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from psychechat.safety.phrases.folding import plain
from psychechat.safety.phrases.views import HAN

MOST_LITERALS = 600
"""That a line may stand for, to be looked for as they are. Of another line some are, and then the whole of it."""
REACH = 120
"""Characters of a folded text that one line may cover."""

_TOKEN = re.compile(r"(\s*)(?:(\()|<([a-z0-9_]+|[\u4e00-\u9fff]+)>|(~)|([^\s()~<>?|]+))")
_ANY_HAN = re.compile(f"[{HAN}]")
_NUMBER = "#"
_GAP = r"(?:,? [^ ,.!?;。！？；]+){0,5}?,?"
_GAP_HAN = r"[^.!?;。！？；]{0,8}?"


class LineError(ValueError):
    """A line that cannot be read."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """One place of a line: what may stand there."""

    choices: tuple[str, ...]
    """Empty: anything short, for a `~`; for a `#`, that sign alone."""
    glued: bool
    """Whether no space goes before."""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line, ready to be looked for. `literals`: every match holds one; `pattern`: None where they are all of it."""

    literals: tuple[str, ...]
    pattern: re.Pattern[str] | None
    words: frozenset[str]
    """All Latin words that may stand in it."""
    reach: int
    """Characters that it may cover."""

    def match(self, text: str, start: int, end: int) -> tuple[int, int] | None:
        """Where the line is in the text, around the literal that was found in it."""
        if self.pattern is None:
            return (start, end) if _is_apart(text, start, end) else None
        place, until = max(0, end - self.reach), min(len(text), start + self.reach)
        for _ in range(_TRIES):
            match = self.pattern.search(text, place, until)
            if match is None or match.start() > start:
                return None
            if match.end() >= end:
                return (match.start(), match.end()) if _is_apart(text, *match.span()) else None
            place = match.start() + 1
        return None


_TRIES = 8


def _is_apart(text: str, start: int, end: int) -> bool:
    """Whether no Latin word goes on over either end."""
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    return not (_is_latin(before) and _is_latin(text[start])) and not (_is_latin(after) and _is_latin(text[end - 1]))


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def read(line: str, words: Mapping[str, Sequence[str]]) -> Line:
    """The line, folded, with its lists filled in from `words`."""
    units = _units(line, words)
    while units and units[0].optional:
        del units[0]
    while units and units[-1].optional:
        del units[-1]
    if not units or not units[0].choices or not units[-1].choices:
        raise LineError(f"the line {line!r} is empty, or begins or ends with '~'")
    units[0] = replace(units[0], glued=False)
    latin_words = frozenset(_latin_words(units, chinese=bool(_ANY_HAN.search(line))))
    reach = min(REACH, sum(_longest(unit) for unit in units))
    whole = _count(units)
    if whole and whole <= MOST_LITERALS:
        return Line(tuple(sorted(set(_literals(units)))), None, latin_words, reach)
    anchors = max(_runs(units), key=_worth, default=())
    if not anchors:
        raise LineError(f"the line {line!r} has no word that must be there")
    return Line(anchors, re.compile(_pattern(units)), latin_words, reach)


def _latin_words(units: Sequence[_Unit], *, chinese: bool) -> Iterator[str]:
    """All Latin words that may stand in the line, with what is glued to them."""
    together: list[_Unit] = []
    for unit in [*units, _Unit((), glued=False)]:
        if together and (chinese or not unit.glued):
            for literal in _literals(together):
                yield from _LATIN_WORD.findall(literal)
            together = []
        if unit.choices:
            together.append(unit)


_LATIN_WORD = re.compile(r"[a-z0-9]+")


def _units(line: str, words: Mapping[str, Sequence[str]]) -> list[_Unit]:
    reader = _Reader(line, words)
    units = reader.units()
    if reader.place < len(line.rstrip()):
        raise LineError(f"the line {line!r} cannot be read from {line[reader.place :].strip()!r} on")
    return units


def _folded(word: str) -> str:
    return word if _SIMPLE.fullmatch(word) else plain(word)


_SIMPLE = re.compile(r"[a-z]+(?: [a-z]+)*")


class _Reader:
    """Reads one line from left to right."""

    def __init__(self, line: str, words: Mapping[str, Sequence[str]]) -> None:
        self._line = line
        self._words = words
        self._chinese = bool(_ANY_HAN.search(line))
        self.place = 0

    def units(self) -> list[_Unit]:
        """Up to the end, or to a `|` or `)` that ends a choice."""
        units: list[_Unit] = []
        while token := _TOKEN.match(self._line, self.place):
            self.place = token.end()
            space, group, name, gap, word = token.groups()
            glued = (not space and bool(units)) or (self._chinese and not (units and _are_latin(units[-1], word)))
            if gap:
                units.append(_Unit((), glued=True))
                continue
            if group:
                choices = self._choices()
            elif name == "number":
                choices = (_NUMBER,)
            elif name:
                choices = tuple(map(_folded, _listed(name, self._words, self._line)))
            else:
                choices = (_folded(word),)
            units.append(_Unit(choices, glued, self._taken("?")))
        return units

    def _choices(self) -> tuple[str, ...]:
        choices: list[str] = []
        while True:
            units = self.units()
            if not units or not 0 < _size(units) <= _MOST_CHOICES:
                raise LineError(f"the line {self._line!r} has nothing, a '~' or too much between '(', '|' and ')'")
            choices += _literals(units)
            if self._taken(")"):
                return tuple(choices)
            if not self._taken("|"):
                raise LineError(f"the line {self._line!r} has a '(' without its ')'")

    def _taken(self, sign: str) -> bool:
        taken = self._line.startswith(sign, self.place)
        self.place += taken
        return taken


def _are_latin(unit: _Unit, word: str | None) -> bool:
    """Whether both are words with a space between them, in a Chinese line too."""
    return word is not None and word[0].isascii() and all(choice.isascii() for choice in unit.choices)


_MOST_CHOICES = 2_000


def _listed(name: str, words: Mapping[str, Sequence[str]], line: str, depth: int = 0) -> Iterator[str]:
    if name not in words or depth > _DEEPEST:
        raise LineError(f"the line {line!r} names <{name}>, which 'words' does not have")
    for word in words[name]:
        if word.startswith("<") and word.endswith(">"):
            yield from _listed(word[1:-1], words, line, depth + 1)
        else:
            yield word


_DEEPEST = 4
"""Lists in lists."""


def _count(units: Sequence[_Unit]) -> int:
    """How many literals the units stand for; 0 where there is a gap or a number among them."""
    return 0 if any(_NUMBER in choice for unit in units for choice in unit.choices) else _size(units)


def _size(units: Sequence[_Unit]) -> int:
    size = 1
    for unit in units:
        size *= len(unit.choices) + unit.optional if unit.choices else 0
    return size


def _longest(unit: _Unit) -> int:
    if not unit.choices:
        return _LONGEST_GAP
    return max(len(choice) + _LONGEST_NUMBER * choice.count(_NUMBER) for choice in unit.choices) + 1


_LONGEST_GAP = 50
_LONGEST_NUMBER = 10


def _literals(units: Sequence[_Unit]) -> Iterator[str]:
    for pieces in product(*([*_spelled(unit), ""] if unit.optional else _spelled(unit) for unit in units)):
        yield "".join(pieces).lstrip(" ")


def _spelled(unit: _Unit) -> list[str]:
    return [choice if unit.glued else f" {choice}" for choice in unit.choices]


def _runs(units: Sequence[_Unit]) -> Iterator[tuple[str, ...]]:
    """The literals of each stretch of a line that makes few, and begins and ends with a word that must be there."""
    for first, unit in enumerate(units):
        for last in range(first, len(units)):
            run = units[first : last + 1]
            ends = unit.choices and units[last].choices and not unit.optional and not units[last].optional
            whole_words = not unit.glued or first == 0 or not units[first - 1].choices or _is_han(unit)
            if ends and whole_words and 0 < _count(run) <= _MOST_ANCHORS:
                yield tuple(sorted(set(_literals(run))))
        if any(_NUMBER in choice for choice in unit.choices) and not unit.optional:
            parts = [max(choice.split(_NUMBER), key=len).strip() for choice in unit.choices]
            if all(parts):
                yield tuple(sorted(set(parts)))


_MOST_ANCHORS = 400


def _is_han(unit: _Unit) -> bool:
    return all(_ANY_HAN.search(choice) for choice in unit.choices)


def _worth(literals: Sequence[str]) -> float:
    """The longer the shortest literal, the seldomer it is found. A Chinese character says as much as a short word."""
    return min(map(_weight, literals)) - len(literals) / 100


def _weight(literal: str) -> float:
    length = len(literal.encode())
    return length / 2 if literal in _COMMON else length


_COMMON_WORDS = """
    i im ive ill id am is are was the a an my me to it this that he she they his her their you want will going have had
    get got of in on for and with just not dont be been do so what how when if would could can
    我 你 他 她 的 了 是 在 会 去 要 想 不 就 都 也 有 没 不想 今天 明天 现在 已经 怎么 什么 自己 没有 这个 一个
    我们 他们 时候 可以 就是 因为 如果 知道 觉得 还是 真的 准备 一会儿 下周 周末 孩子 朋友 同学 妈妈 爸爸 父母 大家
    别人 生活 以后 哪里 如何 手里 手上 东西
"""
_COMMON = frozenset(_COMMON_WORDS.split())
"""Words that most texts have."""


def _pattern(units: Sequence[_Unit]) -> str:
    """Regular expression of a line with gaps or very many choices."""
    pieces = []
    for place, unit in enumerate(units):
        if not unit.choices:
            before, after = units[place - 1], units[place + 1]
            pieces.append(_GAP_HAN if after.glued and (_is_han(after) or _is_han(before)) else _GAP)
            continue
        choices = "|".join(map(re.escape, sorted(unit.choices, key=len, reverse=True))).replace(r"\#", "[0-9]+")
        space = "" if unit.glued or place == 0 else " "
        apart = "" if unit.glued and place else r"(?<![a-z0-9])"
        pieces.append(f"(?:{space}{apart}(?:{choices}))" + ("?" if unit.optional else ""))
    return "".join(pieces)
