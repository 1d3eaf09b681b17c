"""Numbers of a text, in digits or words and in groups, put together from what belongs together."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from psychechat.safety.replies.quantities import without_quantities
from psychechat.safety.replies.rules import Rules, rules


@dataclass(frozen=True, slots=True)
class Number:
    """Digits that belong together, wherever in the text they were found and however they were written."""

    start: int
    end: int
    groups: tuple[str, ...]
    international: bool = False
    """Whether it begins with a plus."""
    spoken: bool = False
    """Whether it is written in words."""
    listed: bool = False
    """Whether commas stand between its words."""
    ranged: bool = False
    """Whether it is two numbers with a line between them."""

    @property
    def digits(self) -> str:
        return "".join(self.groups)

    @property
    def is_sequence(self) -> bool:
        """Whether it counts up or down in equal steps: 5-4-3-2-1, or "for 4... 1, 2, 3, 4"."""
        if len(self.digits) > LONGEST:
            return False
        values = [int(group) for group in self.groups]
        if len(values) == 1 and len(self.digits) > 2:
            values = [int(digit) for digit in self.digits]
            return {abs(b - a) for a, b in pairwise(values)} == {1} and _is_even(values)
        return (len(values) > 2 and _is_even(values)) or (len(values) > 3 and _is_even(values[1:]))


LONGEST = 40
"""Digits of a run that anybody counts through."""


def _is_even(values: Sequence[int]) -> bool:
    steps = {b - a for a, b in pairwise(values)}
    return len(steps) == 1 and steps != {0}


def numbers(folded: str) -> Iterator[Number]:
    """Numbers of a folded text that are no part of a date, a time, a price, a share or a measure."""
    words = rules()
    if words.hint.search(folded):
        yield from joined(words, without_quantities(folded))


def form(number: Number) -> str:
    """The number as it is compared: with its country's code, where it has one, and without a zero behind that."""
    country, national = _parts(number)
    return country + national


def forms(number: Number) -> frozenset[str]:
    """The ways in which somebody may write a number that was given: with the country's code, or without."""
    country, national = _parts(number)
    spellings = {number.digits, country + national}
    if country:
        spellings |= {f"00{country}{national}", f"011{country}{national}", national, f"0{national}"}
    if len(national) == 10 and re.match("8(00|33|44|55|66|77|88)", national):
        spellings.add(f"1{national}")
    if len(number.digits) == 11 and number.digits.startswith("18"):
        spellings.add(number.digits[1:])
    return frozenset(spellings)


def _parts(number: Number) -> tuple[str, str]:
    """The country's code, if the number is written with one, and the rest."""
    digits = number.digits
    prefix = next((zeros for zeros in ("00", "011") if digits.startswith(zeros)), "") if len(digits) > 10 else ""
    if not (number.international or prefix):
        return "", digits
    whole = digits.removeprefix(prefix)
    code = _country(whole)
    return whole[:code], whole[code:].removeprefix("0")


_TWO_DIGIT_COUNTRIES = re.compile(r"2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")


def _country(digits: str) -> int:
    """How many digits the country's code has."""
    return 1 if digits[:1] in ("1", "7") else 2 if _TWO_DIGIT_COUNTRIES.match(digits) else 3


# ------------------------------------------------------------------------------------------------- joining


_JOIN = re.compile(r"[ \u200b]?[-.()·•_*|~]{0,2}[ \u200b]?|\) ?-? ?|[\u200b ]*\*{0,2}[\u200b ]*")
_JOIN_ONES = re.compile(r"[\s\u200b]*(?:[,、.…*·|/-]{0,3}|then|and then|再|然后|接着)[\s\u200b]*")
_JOIN_WORDS = re.compile(r"[\s,.…*·-]{1,4}")
_SLASH = re.compile(r" ?/ ?")
_HAN_VALUES = {character: str(value) for value, group in enumerate(
    ("〇零", "一幺壹", "二贰", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖")
) for character in group}  # fmt: skip


def joined(words: Rules, text: str) -> Iterator[Number]:
    """The numbers of a text, of the tokens that belong together."""
    run: list[re.Match[str]] = []
    for token in words.token.finditer(text):
        if run and not _belongs(run, token, text[run[-1].end() : token.start()]):
            yield from _number(words, text, run)
            run = []
        run.append(token)
    yield from _number(words, text, run)


def _belongs(run: list[re.Match[str]], token: re.Match[str], gap: str) -> bool:
    last = run[-1]
    if len(run) >= LONGEST:
        return False
    if last.lastgroup in ("word", "second") or token.lastgroup in ("word", "second"):
        if last.group() == "hundred" and gap == " and ":
            return True
        return last.lastgroup != "han" != token.lastgroup and _JOIN_WORDS.fullmatch(gap) is not None
    if "\n" in gap:
        return False
    if all(len(each.group()) == 1 for each in (*run, token)) and _JOIN_ONES.fullmatch(gap):
        return True
    if _SLASH.fullmatch(gap):
        return run[0].group().startswith("0") and len(run[0].group()) > 2 and len(token.group()) > 3
    return not (gap == ". " or gap.endswith("  ")) and _JOIN.fullmatch(gap) is not None


def _number(words: Rules, text: str, run: list[re.Match[str]]) -> Iterator[Number]:
    if not run:
        return
    spoken = all(token.lastgroup in ("word", "second") for token in run)
    groups = _spoken_groups(words, run) if spoken else tuple(_value(words, token) for token in run)
    groups = tuple(filter(None, groups))
    if not groups:
        return
    start, end = run[0].start(), run[-1].end()
    lead = re.search(r"(\+)?\s?\(?$", text[max(0, start - 3) : start])
    gaps = [text[a.end() : b.start()] for a, b in pairwise(run)]
    yield Number(
        start - len(lead.group()) if lead and lead.group(1) else start,
        end,
        groups,
        international=bool(lead and lead.group(1)),
        spoken=run[0].lastgroup != "digits",
        listed=any("," in gap for gap in gaps) and spoken,
        ranged=len(groups) == 2 == len(run) and gaps[0].strip() in ("-", "~"),
    )


def _value(words: Rules, token: re.Match[str]) -> str:
    text = token.group()
    if token.lastgroup == "han":
        return "".join(map(_HAN_VALUES.__getitem__, text))
    return text if token.lastgroup == "digits" else words.spoken.get(text, "")


def _spoken_groups(words: Rules, run: list[re.Match[str]]) -> tuple[str, ...]:
    """Spelled digits each for itself; tens with their ones; hundreds as they are meant."""
    groups: list[str] = []
    times = 1
    for token in run:
        word, before = token.group(), groups[-1] if groups else ""
        if word in ("double", "triple"):
            times = 2 if word == "double" else 3
        elif word == "hundred":
            groups[-1:] = [f"{before or 1}00"]
        elif len(before) == 3 and before.endswith("00") and len(words.spoken[word]) == 2:
            groups[-1] = before[0] + words.spoken[word]
        elif re.search("[2-9]0$", before) and words.spoken[word] in "123456789":
            groups[-1] = before[:-1] + words.spoken[word]
        else:
            groups.append(words.spoken[word] * times)
            times = 1
    return tuple(groups)
