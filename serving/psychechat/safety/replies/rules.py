"""The table of words in `contacts.yaml`, ready to be looked for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

from psychechat import fast_yaml

HAN_DIGITS = "〇零一二三四五六七八九幺壹贰叁肆伍陆柒捌玖"
HAN_TENS = "十百千万亿拾佰仟萬億半第"


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
            rf"\d|[{HAN_DIGITS}][^\w\n]?[{HAN_DIGITS}]|\b(?:{word}|double|triple)\W{{1,3}}(?:{word}|hundred)\b"
        )

    @cached_property
    def token(self) -> re.Pattern[str]:
        word = "|".join(sorted(self.spoken, key=len, reverse=True))
        return re.compile(
            rf"(?P<digits>\d+)|(?P<han>(?<![{HAN_TENS}])[{HAN_DIGITS}]++(?![{HAN_TENS}]))"
            rf"|(?<![a-z'’-])(?P<word>{word}|hundred|double|triple)(?![a-z'’])"
            rf"|(?<=-)(?P<second>{word}|hundred)(?![a-z'’])"
        )

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
    def extension(self) -> re.Pattern[str]:
        """Ends where a number begins that may be as short as two digits."""
        return re.compile(r"(?:\bext(?:ension)?\b(?: is| number)?|分机号?[是为]?)[ .:：]*$")

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
    def measuring(self) -> re.Pattern[str]:
        """Ends where a number begins that may measure something."""
        return re.compile(rf"(?:\b{self.words('measuring')} |{self.words('measuring_zh')}\s?)\Z")

    @cached_property
    def need(self) -> re.Pattern[str]:
        return re.compile(rf"\b{self.words('need')}|{self.words('need_zh')}")


@lru_cache(maxsize=1)
def rules() -> Rules:
    return Rules(fast_yaml.load(files("psychechat").joinpath("safety", "replies", "contacts.yaml").read_text("utf-8")))
