"""Telephone numbers in what a model wrote, told from its dates, ages, times, prices and counts.

A number is judged by its shape where that is enough, else by the words around it: `contacts.yaml` has those. Where
neither tells, a long number is a telephone's: a seeker who dials a wrong one may not try again.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import yaml


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
        if len(self.digits) > _LONGEST:
            return False
        values = [int(group) for group in self.groups]
        if len(values) == 1 and len(self.digits) > 2:
            values = [int(digit) for digit in self.digits]
            return {abs(b - a) for a, b in pairwise(values)} == {1} and _is_even(values)
        return (len(values) > 2 and _is_even(values)) or (len(values) > 3 and _is_even(values[1:]))


_LONGEST = 40
"""Digits of a run that anybody counts through."""


def _is_even(values: Sequence[int]) -> bool:
    steps = {b - a for a, b in pairwise(values)}
    return len(steps) == 1 and steps != {0}


def telephone_numbers(folded: str) -> Iterator[Number]:
    """Telephone numbers of a folded text: what somebody would dial, or send a message to."""
    words = rules()
    if words.hint.search(folded) and any(_is_long_enough(words, number) for number in _joined(words, folded)):
        for number in numbers(folded):
            if _Place(folded, number, words).is_called():
                yield number


def numbers(folded: str) -> Iterator[Number]:
    """Numbers of a folded text that are no part of a date, a time, a price, a share or a measure."""
    words = rules()
    if words.hint.search(folded):
        yield from _joined(words, _without_quantities(words, folded))


def _is_long_enough(words: "Rules", number: Number) -> bool:
    return len(number.digits) > 2 or number.digits in words.codes_of_two


def form(number: Number) -> str:
    """The number as it is compared: with its country's code, where it has one, and without a zero behind that."""
    country, national = _parts(number)
    return country + national


def forms(number: Number) -> frozenset[str]:
    """The ways in which somebody may write a number that was given: with the country's code, or without."""
    country, national = _parts(number)
    found = {number.digits, country + national}
    if country:
        found |= {f"00{country}{national}", f"011{country}{national}", national, f"0{national}"}
    if len(national) == 10 and re.match("8(00|33|44|55|66|77|88)", national):
        found.add(f"1{national}")
    if len(number.digits) == 11 and number.digits.startswith("18"):
        found.add(number.digits[1:])
    return frozenset(found)


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


# ------------------------------------------------------------------------------------------------- folding


class _Folded(dict[int, str]):
    """One character for each, so that places stay the same."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if len(self) < 4096:
            self[code] = folded
        return folded


def _fold(character: str) -> str:
    digit = unicodedata.digit(character, None)
    category = unicodedata.category(character)
    if digit is not None:
        return str(digit)
    if category == "Pd" or character == "−":
        return "-"
    if category == "Zs":
        return " "
    if category in ("Cf", "Me") or "\ufe00" <= character <= "\ufe0f":
        return _UNSEEN
    wide = unicodedata.normalize("NFKC", character)
    folded = (wide if len(wide) == 1 else character).lower()
    return folded if len(folded) == 1 else character


_FOLDED = _Folded()
_UNSEEN = "\u200b"


def fold(text: str) -> str:
    """Case, width, digits of any script, dashes and spaces made alike; as long as the text."""
    return text.lower() if text.isascii() else text.translate(_FOLDED)


# --------------------------------------------------------------------------------------------------- words


@dataclass(frozen=True)
class Rules:
    """The table of words, ready to be looked for."""

    table: Mapping[str, Any]

    def words(self, name: str) -> str:
        """One of the lists as a group of a pattern."""
        lines: str | list[str] = self.table[name]
        return f"(?:{lines if isinstance(lines, str) else '|'.join(lines)})"

    @cached_property
    def codes(self) -> frozenset[str]:
        return self._codes("always")

    @cached_property
    def codes_in_need(self) -> frozenset[str]:
        return self._codes("in need")

    @cached_property
    def codes_of_two(self) -> frozenset[str]:
        return frozenset(map(str, self.table["codes"]["of two digits"]))

    def _codes(self, name: str) -> frozenset[str]:
        return frozenset(str(code) for line in self.table["codes"][name] for code in line)

    @cached_property
    def spoken(self) -> Mapping[str, str]:
        """Words to the digits that they mean."""
        return {word: digits for digits, words in self.table["spoken"].items() for word in words.split("|")}

    @cached_property
    def hint(self) -> re.Pattern[str]:
        """What a text without numbers does not hold."""
        word = "|".join(self.spoken)
        return re.compile(
            rf"\d|[{_HAN_DIGITS}][^\w\n]?[{_HAN_DIGITS}]|\b(?:{word}|double|triple)\W{{1,3}}(?:{word}|hundred)\b"
        )

    @cached_property
    def token(self) -> re.Pattern[str]:
        word = "|".join(sorted(self.spoken, key=len, reverse=True))
        return re.compile(
            rf"(?P<digits>\d+)|(?P<han>(?<![{_HAN_TENS}])[{_HAN_DIGITS}]++(?![{_HAN_TENS}]))"
            rf"|(?<![a-z'’-])(?P<word>{word}|hundred|double|triple)(?![a-z'’])"
            rf"|(?<=-)(?P<second>{word}|hundred)(?![a-z'’])"
        )

    @cached_property
    def quantities(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(pattern) for pattern in _quantities(self))

    @cached_property
    def calling(self) -> re.Pattern[str]:
        """Ends where a number begins that is to be called."""
        between = rf"(?:[\W_]{{1,3}}{self.words('between')}(?![^\W\d_])){{0,6}}"
        text = r"(?:text|send|sms|txt|type|message)\w*\W{1,3}\w+(?: us)?\W{1,3}to"
        western = rf"(?:\b(?:{self.words('calling')}|{self.words('number_of')})(?![^\W\d_]){between}|\b{text})"
        return re.compile(rf"(?:{western}|{self.words('calling_zh')}[^。！？!?\d\n,，;；]{{0,10}})[\W_]*$")

    @cached_property
    def caller(self) -> re.Pattern[str]:
        """Any word of calling."""
        return re.compile(rf"\b(?:{self.words('calling')}|{self.words('number_of')})\b|{self.words('calling_zh')}")

    @cached_property
    def called_at(self) -> re.Pattern[str]:
        """The same, with a name in between: "reach the Harbour Trust on 4455"."""
        verbs = "call|ring|phone|text|reach|contact|dial|message|hold of|through to|touch|talk to|speak to|line is"
        return re.compile(rf"\b(?:{verbs})\b[^.!?。！？\n]{{0,60}}\b(?P<link>at|on|under|via|is)\W*$")

    @cached_property
    def called_after(self) -> re.Pattern[str]:
        lines = r"hotline|helpline|lifeline|(?:text |crisis |phone |support |suicide |emergency )line|crisis"
        article = r"(?:is |are )?(?:the |a |your |our )?(?:[\w'&-]+ ){0,2}"
        western = rf"[\W_]{{1,4}}{article}(?:{lines}|number (?:to|for|you))\b"
        german = r"[\W_]{0,3}(?:anrufen|wählen|rufen|erreichen)\b"
        return re.compile(rf"{western}|{german}|{self.words('number_of_zh')}")

    @cached_property
    def counted(self) -> re.Pattern[str]:
        """Begins where a number ends that counts something."""
        others = f"{self.words('not_counted')}|{self.words('number_of')}"
        return re.compile(rf"[ -](?!(?:{others})\b)(?P<word>[a-zà-ɏ][\w'’-]+)")

    @cached_property
    def measured(self) -> re.Pattern[str]:
        return re.compile(_after(self))

    @cached_property
    def measuring(self) -> re.Pattern[str]:
        """Ends where a number begins that may measure something."""
        return re.compile(rf"(?:\b{self.words('measuring')} |{self.words('measuring_zh')}\s?)\Z")

    @cached_property
    def need(self) -> re.Pattern[str]:
        return re.compile(rf"\b{self.words('need')}|{self.words('need_zh')}")


@lru_cache(maxsize=1)
def rules() -> Rules:
    return Rules(yaml.safe_load(files("psychechat").joinpath("safety", "replies", "contacts.yaml").read_text("utf-8")))


_HAN_DIGITS = "〇零一二三四五六七八九幺壹贰叁肆伍陆柒捌玖"
_HAN_TENS = "十百千万亿拾佰仟萬億半第"
_HAN_VALUES = {character: str(value) for value, group in enumerate(
    ("〇零", "一幺壹", "二贰", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖")
) for character in group}  # fmt: skip


# ---------------------------------------------------------------------------------------------- quantities


_AMOUNT = r"\d{1,3}(?:[,.' ]\d{3}){1,5}(?:[.,]\d{1,2})?|\d{1,15}(?:[.,]\d{1,9})?"
_ALONE = r"(?<![\d+])(?<!\d[-./])"
_NO_MORE = r"(?![-./]?\d)"


def _after(words: Rules) -> str:
    """What is counted, right behind a number."""
    adjective = rf"(?:{words.words('adjective')} ){{0,2}}"
    western = rf"(?: |-)?{adjective}{words.words('after_number')}(?![a-z])|-{words.words('one_of')}\b"
    return rf"(?:{western}|\s?{words.words('measure_zh')})"


def _quantities(words: Rules) -> Iterator[str]:
    """Patterns of what is no telephone number: each blanks what it finds before the next one looks."""
    yield from _dates(words.words("months"))
    yield from _times_and_prices()
    # how many of how many: only where both are small
    yield r"(?<![\d/])\d{1,2} ?/ ?\d{1,3}(?![\d/])|(?<![\d/])1\d\d/[4-9]\d(?![\d/])|(?<!\d)24[-/ ]7(?!\d)"
    yield r"\b\d{1,4} out of (?:every )?\d{1,6}\b|\b\d{1,2} (?:in|of) (?:every )?\d{1,3}\b(?! ?\d)"
    # what is counted or measured
    spread = r"(?:\d[\d.,]{0,15}\s?(?:-|to|or|and|bis|a|à|~|到|至|或|、)\s?)?"
    yield rf"{_ALONE}{spread}(?:{_AMOUNT}){_after(words)}"
    yield r"(?<!\d)\d{1,9}(?:kg|g|mg|km|m|cm|mm|l|ml|k|s|h|x|p|gb|mb|px|c|f|bn|hz)\b"
    # what has the number for a name
    link = rf"(?:[ ,]{words.words('before_link')}){{0,3}}[ #]{{1,2}}(?!(?:{'|'.join(words.codes)})\b)"
    yield rf"\b{words.words('before_number')}\b{link}[a-z]?\d+[a-z]?(?![-.]?\d| \d)"
    yield rf"{words.words('before_zh')}{words.words('before_link_zh')}{{0,3}}\s?\d+(?:\.\d+)?"


def _dates(month: str) -> Iterator[str]:
    year, day = r"(?:19|20)\d\d", r"(?:[12]\d|3[01]|0?[1-9])"
    yield rf"{_ALONE}{year}([-./])(?:0?[1-9]|1[0-2])\1{day}{_NO_MORE}"
    yield rf"{_ALONE}{day}([-./]){day}\1{year}{_NO_MORE}"
    yield rf"{_ALONE}{day}/{day}/\d\d{_NO_MORE}|(?<!\d)(?:0?[1-9]|1[0-2])/{year}(?!\d)"
    yield rf"\b{month}\.? (?:the )?{day}(?:st|nd|rd|th)?(?:,? {year})?(?!\d)|\b{month}\.?,? {year}(?!\d)"
    yield rf"{_ALONE}{day}(?:st|nd|rd|th|\.|er)?(?: of| de)? {month}\b(?:,? (?:de |del )?{year}(?!\d))?"
    yield rf"{_ALONE}{day}\.(?:0?[1-9]|1[0-2])\.(?!\d)"
    yield r"\d{1,4}年(?!中无休)(?:\d{1,2}月(?:\d{1,2}[日号號]?)?)?|\d{1,2}月(?:\d{1,2}[日号號]?)?"
    yield r"\d{1,2}[日号號](?![码碼线線])"
    when = "in|since|during|until|till|before|after|of|from|by|around|year|early|late|mid|seit|im jahr|en|desde|depuis"
    yield rf"\b(?:{when})[ -]{year}(?!\d)|\b{year}s|\d{{1,6}}(?:st|nd|rd|th)\b"


def _times_and_prices() -> Iterator[str]:
    hour = r"\d{1,2}(?:[.:]\d\d)?"
    yield r"(?<!\d)(?:[01]?\d|2[0-4])[:h][0-5]\d(?::[0-5]\d)?(?![\d:])|(?<!\d)[0-2]\d[0-5]\d ?(?:hours|hrs|h)\b"
    yield rf"(?<!\d){hour}(?:\s?(?:-|to|until)\s?{hour})?\s?(?:[ap]\.?\s?m\b|o'?clock|uhr)"
    money = r"(?:[$€£¥₩₹]|\b(?:rmb|usd|eur|gbp|cny|chf|us\$|hk\$))"
    yield rf"{money} ?(?:{_AMOUNT})(?: ?[kmb]\b)?(?![-.]?\d| \d)"
    yield rf"{_ALONE}(?:{_AMOUNT}) ?(?:[€$£¥%‰°]|percent|per cent|prozent|por ciento|pour cent)"
    yield r"(?<![\d,])\d{1,3}(?:,\d{3}){1,5}(?:\.\d+)?(?![\d,])"


def _without_quantities(words: Rules, folded: str) -> str:
    if re.search(r"\d", folded):
        for pattern in words.quantities:
            folded = pattern.sub(_blank, folded)
    return folded


def _blank(match: re.Match[str]) -> str:
    return "\x00" * len(match.group())


# ------------------------------------------------------------------------------------------------- joining


_JOIN = re.compile(r"[ \u200b]?[-.()·•_*|~]{0,2}[ \u200b]?|\) ?-? ?|[\u200b ]*\*{0,2}[\u200b ]*")
_JOIN_ONES = re.compile(r"[\s\u200b]*(?:[,、.…*·|/-]{0,3}|then|and then|再|然后|接着)[\s\u200b]*")
_JOIN_WORDS = re.compile(r"[\s,.…*·-]{1,4}")
_SLASH = re.compile(r" ?/ ?")


def _joined(words: Rules, text: str) -> Iterator[Number]:
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
    if len(run) >= _LONGEST:
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
        ranged=len(gaps) == 1 and gaps[0].strip() in ("-", "~"),
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


# ------------------------------------------------------------------------------------------------- judging


@dataclass(frozen=True)
class _Place:
    """A number in its sentence."""

    text: str
    number: Number
    words: Rules

    def is_called(self) -> bool:
        """Whether it is one to call, by its shape or by the words around it."""
        digits = self.number.digits
        if len(digits) < 2 or self._is_measured:
            return False
        if len(digits) > 6:
            return self._is_to_be_called or self._is_long()
        if self._is_range and len(digits) < 5:
            return False
        if len(digits) == 2:
            is_time = _TIME_WORD.search(self._before)
            return digits in self.words.codes_of_two and self._is_to_be_called and not self._is_counted and not is_time
        if self._is_to_be_called:
            return not (self._is_counted and self._counts_several)
        return not self._is_counted and self._is_short()

    def _is_short(self) -> bool:
        """Whether a short number that nothing explains is one that people know, or has no other shape."""
        digits = self.number.digits
        if digits in self.words.codes:
            return True
        if self.number.listed:
            return False
        if digits in self.words.codes_in_need:
            return not self._is_range and (self._is_needed or not self._may_measure)
        return len(digits) > 4 and not (self._is_sequence_or_range or self._is_round)

    def _is_long(self) -> bool:
        """Whether it has no other shape that is as long."""
        groups, digits = self.number.groups, self.number.digits
        years = all(len(group) == 4 and group[:2] in ("19", "20") for group in groups)
        day = len(groups) == 1 and re.fullmatch(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", digits)
        return not (years or day or self._is_sequence_or_range or self._is_round)

    @cached_property
    def _ends(self) -> list[int]:
        """Where sentences end shortly before it."""
        return [match.end() for match in _SENTENCE.finditer(self._window)]

    @cached_property
    def _window(self) -> str:
        return self.text[max(0, self.number.start - 90) : self.number.start]

    @cached_property
    def _begins_sentence(self) -> bool:
        return not re.search(r"\w", self._window[self._ends[-1] if self._ends else 0 :])

    @cached_property
    def _before(self) -> str:
        """What precedes it in its sentence; if nothing does, the sentence before."""
        ends = [end for end in self._ends if re.search(r"\w", self._window[end:])]
        return self._window[ends[-1] if ends else 0 :]

    @cached_property
    def _after(self) -> str:
        return self.text[self.number.end : self.number.end + 40]

    @cached_property
    def _is_to_be_called(self) -> bool:
        if self.words.calling.search(self._before) or self.words.called_after.match(self._after):
            return True
        if self._stands_alone and self.words.caller.search(self._before):
            return True
        at = self.words.called_at.search(self._before)
        return at is not None and len(self.number.digits) > 2 and not (at["link"] == "at" and self._is_quarter)

    @cached_property
    def _stands_alone(self) -> bool:
        """Whether it is all of its sentence, so that what it is was said before."""
        return self._begins_sentence and re.match(r"\W*(?:\Z|\n)", self._after) is not None

    @cached_property
    def _is_measured(self) -> bool:
        small = self.number.spoken or len(self.number.digits) < 5
        return small and self.words.measured.match(self._after) is not None

    @cached_property
    def _is_counted(self) -> bool:
        """Whether a word follows that may be what it counts."""
        return self.words.counted.match(self._after) is not None

    @cached_property
    def _counts_several(self) -> bool:
        match = self.words.counted.match(self._after)
        return match is not None and match["word"].endswith("s")

    @cached_property
    def _is_needed(self) -> bool:
        after = self.text[self.number.end : self.number.end + 90]
        end = _SENTENCE.search(after)
        return self.words.need.search(self._before + " " + after[: end.start() if end else None]) is not None

    @cached_property
    def _may_measure(self) -> bool:
        return self.words.measuring.search(self._before) is not None

    @cached_property
    def _is_sequence_or_range(self) -> bool:
        return self.number.is_sequence or self._is_range

    @cached_property
    def _is_range(self) -> bool:
        number = self.number
        if not number.ranged or number.digits in self.words.codes or len(number.digits) > _LONGEST:
            return False
        low, high = map(int, number.groups)
        return (
            low < high
            and (number.groups[0] == "0" or number.groups[0][0] != "0")
            and (len(number.digits) < 7 or low % 10 == high % 10 == 0)
        )

    @cached_property
    def _is_round(self) -> bool:
        first, *rest = self.number.groups
        thousands = not rest or (len(first) < 4 and {len(group) for group in rest} == {3})
        return thousands and first[0] != "0" and self.number.digits.endswith("000")

    @cached_property
    def _is_quarter(self) -> bool:
        """Whether it may be a time of day without its colon."""
        return re.fullmatch(r"(?:[01]?\d|2[0-3])(?:00|15|30|45)", self.number.digits) is not None


_TIME_WORD = re.compile(r"\b(?:at|by|before|after|until|till|around|from|to|in)\W*\Z")
_SENTENCE = re.compile(r"[.!?](?=\s)|[。！？\n]")
