"""Telephone numbers in what a model wrote, told from its dates, ages, times, prices and counts.

A number is judged by its shape where that is enough, else by the words around it: `contacts.yaml` has those. Where
neither tells, a long number is a telephone's: a seeker who dials a wrong one may not try again.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from psychechat.safety.replies.numbers import LONGEST, Number, joined, numbers
from psychechat.safety.replies.quantities import measured
from psychechat.safety.replies.rules import Rules, rules


def telephone_numbers(folded: str) -> Iterator[Number]:
    """Telephone numbers of a folded text: what somebody would dial, or send a message to."""
    words = rules()
    if words.hint.search(folded) and any(_is_long_enough(words, folded, number) for number in joined(words, folded)):
        for number in numbers(folded):
            if _Place(folded, number, words).is_called():
                yield number


def _is_long_enough(words: Rules, folded: str, number: Number) -> bool:
    if len(number.digits) > 2 or number.digits in words.codes_of_two:
        return True
    return words.extension.search(folded[max(0, number.start - 20) : number.start]) is not None


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
            if self.words.extension.search(self._before):
                return True
            is_time = _TIME_WORD.search(self._before)
            return digits in self.words.codes_of_two and self._is_to_be_called and not self._is_counted and not is_time
        if self._is_to_be_called:
            return not (self._is_counted and self._counts_several)
        return not self._is_counted and self._is_short()

    def _is_short(self) -> bool:
        """Whether a short number that nothing explains is one that people know, or has no other shape."""
        digits = self.number.digits
        if digits in self.words.codes:
            return not (self.number.spoken and self.number.is_sequence)
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
        return small and measured().match(self._after) is not None

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
        if not number.ranged or number.digits in self.words.codes or len(number.digits) > LONGEST:
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
