"""Dates, times, prices, shares and measures: numbers of a text that nobody dials."""

import re
from collections.abc import Iterator
from functools import lru_cache

from psychechat.safety.replies.rules import Rules, rules

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


def without_quantities(folded: str) -> str:
    """The folded text with those blanked, as long as it was."""
    if re.search(r"\d", folded):
        for pattern in _patterns():
            folded = pattern.sub(_blank, folded)
    return folded


def _blank(match: re.Match[str]) -> str:
    return "\x00" * len(match.group())


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern) for pattern in _quantities(rules()))


@lru_cache(maxsize=1)
def measured() -> re.Pattern[str]:
    """Begins where a number ends that measures something."""
    return re.compile(_after(rules()))
