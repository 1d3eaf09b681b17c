"""Broken text in what a model wrote: bytes that are no letters, raw tags, JSON, another script, the same words again.

Small models write such things, and a reader in distress who meets them no longer trusts the words around them.
"""

import re
from collections import deque
from collections.abc import Mapping
from typing import Literal

from psychechat.emotion import Language
from psychechat.language import CONTROL, PRIVATE, SCRIPTS, script, scripts

Broken = Literal["undecoded", "control", "private", "markup", "json", "quotes", "script", "loop"]
"""What is broken.

`undecoded`: a replacement character, half a character, bytes read as letters. `control`: what steers a terminal or the
direction of writing. `private`: code points without a meaning. `markup`: tags, tokens and names of a template.
`quotes`: one that was never opened or never closed, at an edge. `loop`: the same words over and over.
"""


def broken(text: str, language: Language, seeker_text: str) -> Broken | None:
    """The reason why a whole reply may not leave. `seeker_text`: all that the seeker said, whose scripts it may use."""
    proofreader = Proofreader(language, seeker_text)
    return proofreader.read(text) or proofreader.finish()


class Proofreader:
    """The reader of one reply as it leaves: give it the sentences in order, then `finish`.

    It keeps what may tell of the next sentence: the end of a tag, and how often which words came.
    """

    def __init__(self, language: Language, seeker_text: str) -> None:
        self._scripts = SCRIPTS[language] | scripts(seeker_text)
        self._wants_han = language == "zh" and not _MANY_WORDS.search(seeker_text)
        self._loops = _Loops(language)
        self._tail = "\n"
        self._begun = self._quoted = False
        self._marks = 0

    def read(self, sentence: str) -> Broken | None:
        """What is broken in the sentence, or in where it meets the one before."""
        seen, self._tail = self._tail + sentence, (self._tail + sentence)[-_LONGEST_TAG:]
        self._marks += sentence.count('"')
        opening = not self._begun and bool(sentence.strip())
        if opening:
            self._begun, self._quoted = True, sentence.lstrip().startswith('"')
        fault = next((reason for reason, pattern in _PATTERNS.items() if pattern.search(seen)), None)
        if fault is None and opening and _NEVER_OPENED.match(sentence):
            fault = "quotes"
        if fault is None and not self._is_in_script(sentence):
            fault = "script"
        looping = self._loops.found(sentence)
        return fault or ("loop" if looping else None)

    def finish(self) -> Broken | None:
        """What is broken in the end, now that nothing follows it."""
        dangling = self._marks == 1 and (self._quoted or self._tail.rstrip().endswith('"'))
        return "quotes" if dangling or _NEVER_CLOSED.search(self._tail) else None

    def _is_in_script(self, sentence: str) -> bool:
        return scripts(sentence) <= self._scripts and not (self._wants_han and _MANY_WORDS.search(sentence))


# ------------------------------------------------------------------------------------------------ patterns


_PATTERNS: Mapping[Broken, re.Pattern[str]] = {
    "undecoded": re.compile("[\ufffd\ud800-\udfff]|â€|ï[»¿]|[Â-ï][¢-ª¬-º¼-¾]|锟斤拷|烫烫烫|屯屯屯"),
    "control": CONTROL,
    "private": PRIVATE,
    "markup": re.compile(
        r"<[/!|]?[A-Za-z_][^<>\n]{0,60}>|<0x[0-9A-F]{2}>|<[/|!]|\|>|<(?i:think|reply|response)|<<|>>"
        r"|\[/?(?i:inst|sys|unk|pad|mask|cls|sep|eos|bos)\]|\[(?i:your name|insert\b[^\]\n]{0,40})\]"
        r"|\[(?i:(?:seeker|user|client|counsell?or)(?:'s)?(?: name)?)\]|&(?:amp|lt|gt|quot|nbsp|#\d+);|[▁Ċ]|Ġ(?=[a-z])"
        r"|\n\W{0,6}(?i:assistant|user|system|human|counsell?or|seeker|therapist|咨询师|来访者|用户|助手)\s?[:：]"
        r"|\n\W{0,6}# ?(?i:response|instruction|reply|input)"
    ),
    "json": re.compile(r'[{}]|"[a-z_]{2,20}"\s*:\s*(?:["\d\[]|true|false|null)|\\(?:["nrt]|u[0-9a-fA-F]{4})|```'),
}
_LONGEST_TAG = 70
_NEVER_OPENED = re.compile(r"""\s*(?:[”」』）】》)\]]|"\s*$|"\s*[,，.。])""")
_NEVER_CLOSED = re.compile(r"""(?:[“「『（【《]|(?<![:;=])(?<![:;=] )[(\[]|\s")\s*$""")

_MANY_WORDS = re.compile(r"(?<![A-Za-zÀ-ɏ'’])[A-Za-zÀ-ɏ'’]++(?:[^\w一-鿿]++[A-Za-zÀ-ɏ'’]++){4}")
"""Latin words of a Chinese reply that are no loan any more: "Post-Traumatic Stress Disorder" is one."""


# ----------------------------------------------------------------------------------------------- repetition


_PIECE: Mapping[Language, int] = {"en": 4, "zh": 6}
"""Words, or Han characters, in a row: four words of Chinese are some six characters."""
_A_LOOP = 3
_NEAR = 60
"""Words or Han characters within which a piece must come again to be of a loop: a long list repeats itself too."""
_UNIT = re.compile(r"[^\W_一-鿿]+(?:['’][^\W\d_]+)?|[一-鿿]")
_STUCK = re.compile(r"([^\W_])\1{9}|([^\W\d_]{2,4}?)\2{5}|([!?！？。，、])\3{9}")


def repeats(text: str, language: Language) -> bool:
    """Repetition of any piece: one that a reply in a crisis holds twice shows that nobody is behind it."""
    units, size = _UNIT.findall(text.casefold()), _PIECE[language]
    pieces = [tuple(units[at : at + size]) for at in range(len(units) - size + 1)]
    return len(set(pieces)) < len(pieces)


class _Loops:
    """The pieces of one text as they come: where each came last, and how often in near places."""

    def __init__(self, language: Language) -> None:
        self._last: deque[str] = deque(maxlen=_PIECE[language])
        self._place = 0
        self._seen: dict[tuple[str, ...], tuple[int, int]] = {}

    def found(self, sentence: str) -> bool:
        """Whether a piece has come again and again, or a word or a letter is stuck."""
        looping = [self._comes(unit) for unit in _UNIT.findall(sentence.casefold())]
        return any(looping) or _STUCK.search(sentence) is not None

    def _comes(self, unit: str) -> bool:
        self._last.append(unit)
        self._place += 1
        if len(self._last) < (self._last.maxlen or 0):
            return False
        piece = tuple(self._last)
        if sum(map(str.isdigit, piece)) > 1:  # breathing is counted
            return False
        place, times = self._seen.get(piece, (0, 0))
        times = times + 1 if self._place - place <= _NEAR else 1
        self._seen[piece] = self._place, times
        return times >= _A_LOOP or len(set(piece)) == 1


def warm() -> None:
    """The scripts of common letters beyond ASCII, looked up once, so that no reply waits for it."""
    for code in (*range(0xC0, 0x250), *range(0x370, 0x530), *range(0x3040, 0x3100)):
        script(chr(code))
