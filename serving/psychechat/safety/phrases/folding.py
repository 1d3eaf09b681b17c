"""Foldings: a text as people see it through its spelling.

There are at most three views of a text. `typed` folds what a spelling checker would not mind: width, case, dashes,
apostrophes and spacing. `seen` reads through markup, look-alikes, marks and what has no shape. `spelled` reads what
`spelling` does. Each is made in one pass after the other over the text, so in time that grows with the text alone.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

import decancer_py

from psychechat.safety.phrases.spelling import Speller, Spelling
from psychechat.safety.phrases.views import HAN, Characters, View, alternatives, changed, substituted, translated


class Folder:
    """Folds texts for one table of phrases. `words`: all Latin words of the phrases, in lower case."""

    def __init__(self, spelling: Spelling, words: Iterable[str]) -> None:
        self._fillers = alternatives(spelling.fillers, before=" ", after="(?= )")
        self._odd = re.compile(f"{_ODD}|[{re.escape(''.join(spelling.look_alikes))}]" if spelling.look_alikes else _ODD)
        self._seen = Characters(lambda character: _as_seen(character, spelling.look_alikes))
        self._speller = Speller(spelling, frozenset(word for word in words if len(word) > 1 and not word.isdigit()))

    def views(self, text: str) -> Iterator[View]:
        """The views in which the text is not the same as in the one before."""
        typed = self._tidied(View(text, True, ()), _TYPED)
        yield typed
        seen = typed
        if self._odd.search(text):
            plain, step = substituted(_MARKUP, _without_markup, text)
            seen = self._tidied(View(plain, False, (step,)), self._seen)
            if seen.lines != typed.lines:
                yield seen
        spelled = self._speller.spelled(seen)
        if spelled.lines != seen.lines:
            yield spelled

    def _tidied(self, view: View, characters: "Characters") -> View:
        view = _tidied(translated(view, characters))
        return view if self._fillers is None else changed(view, self._fillers, lambda _: "")


def plain(phrase: str) -> str:
    """A phrase of a table, folded as a text is that is looked at as it was typed."""
    view = translated(View(phrase, True, ()), _TYPED)
    return _tidied(view).text.strip()


def _tidied(view: View) -> View:
    for sign, pattern, replace in _TIDY:
        if sign in view.lines:
            view = changed(view, pattern, replace)
    return view


def warm() -> None:
    """Load what is slow to load, so that no message waits for it."""
    _simplified("後")
    decancer_py.parse("ⓐ")


# ------------------------------------------------------------------------------------------------ characters


_APOSTROPHES = frozenset("'‘’‚‛′`´ʹʻʼʽˈˊˋ＇｀")
_QUOTES = frozenset('“”„‟«»「」『』〝〞＂"')
_SPACED = frozenset("_/\\#")
"""Stand between words as a space does."""
_UNSEEN = ("Mn", "Me", "Cf", "Cc")
"""Marks on a letter, through it or around it, and what has no shape."""
_HIDDEN = "\u200b"
"""Stands for one of them in the view `typed`, where it parts a word: a model does not read over it either."""
_LONGEST = 4
"""A ligature of a whole sentence stays one character."""


def _as_typed(character: str) -> str:
    if character.isspace():
        return "\n" if character in "\n\r\v\f\x85\u2028\u2029" else " "
    if character in _APOSTROPHES:
        return ""
    if character in _QUOTES:
        return '"'
    if character in _SPACED:
        return " "
    if character == "…":
        return character
    category = unicodedata.category(character)
    if category in _UNSEEN:
        return _HIDDEN
    if category == "Pd" or character == "−":
        return "-"
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", character).casefold())
    if not folded or len(folded) > _LONGEST:
        return character
    return _simplified(folded) if "\u3400" <= folded <= "\u9fff" else folded


def _as_seen(character: str, look_alikes: Mapping[str, str]) -> str:
    typed = _as_typed(character)
    if typed == _HIDDEN:
        return ""
    if typed in look_alikes:
        return look_alikes[typed]
    if typed.isascii() or not typed or "\u2e80" <= typed <= "\u9fff" or unicodedata.category(typed[0]) == "So":
        return typed if not _is_squared(character) else str(decancer_py.parse(character))
    plain = str(decancer_py.parse(typed))
    return plain if plain.isascii() and 0 < len(plain) <= _LONGEST else typed


def _is_squared(character: str) -> bool:
    """Whether it is a letter in a frame or half a flag, which NFKC leaves as they are."""
    return "\U0001f130" <= character <= "\U0001f1ff"


@cache
def _converter() -> Callable[[str], str]:
    from opencc import OpenCC  # loads its tables

    convert: Callable[[str], str] = OpenCC("t2s").convert
    return convert


def _simplified(character: str) -> str:
    return "着" if character == "著" else _converter()(character)


_TYPED = Characters(_as_typed)

_ODD = rf"[^\x0a\x20-\x7e{HAN}，。！？；：、（）“”‘’《》…—]|[<&]"
"""What the view `seen` may read otherwise, besides look-alikes."""

_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,80}>|<!--.{0,80}?-->|&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});")


def _without_markup(match: re.Match[str]) -> str:
    return html.unescape(match[0]) if match[0][0] == "&" else ""


# ------------------------------------------------------------------------------------------------ spacing

_TIDY: tuple[tuple[str, re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    ("--", re.compile(r" ?-{2,} ?"), lambda _: ", "),
    (" -", re.compile(r" -+ "), lambda _: ", "),
    ("-", re.compile(r"-(?<=[a-z]-)(?=[a-z])"), lambda _: " "),
    ("..", re.compile(r"\.{2,}"), lambda _: "…"),
    ("  ", re.compile(r" {2,}"), lambda _: " "),
    ("\n", re.compile(r" *\n[ \n]*"), lambda _: "\n"),
    (" ", re.compile(rf" (?<=[{HAN}] )(?=[{HAN}])"), lambda _: ""),
)
"""A sign, without which the pattern need not be tried; what it finds; what is read for it."""
