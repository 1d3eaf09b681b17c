"""Bodies as clients send them: JSON, with what they break most often forgiven, and what can be made out of the rest."""

import codecs
import json
import re
from typing import Any

import orjson
from fast_json_repair import repair_json

_HALF = re.compile(
    r"((?:\\\\|\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2})+)|\\u[dD][89a-fA-F][\da-fA-F]{2}"
)
"""Escape of half a character, of one beyond the first 65,536, without its other half; in group 1 what looks like it."""
_LOST = "\N{REPLACEMENT CHARACTER}"
_SEVEN_BIT = re.compile(r"iso2022|hz$|utf-7")
"""Codecs whose bytes are UTF-8 as well, and say something else there: only their name tells."""
_NO_CHARSET = re.compile(r"idna|punycode|.*escape|undefined|charmap")
"""Codecs of Python's for texts that no client writes in."""
_ASCII, _NO_HAN, _HANGUL = re.compile(r"[\x00-\x7f]+"), re.compile(r"[^一-鿿]+"), re.compile(r"[가-힣]")
_SAMPLE = 20_000
"""Characters by which a charset is told."""
_KOREAN = 0.9
"""Share of Chinese characters whose bytes would be Hangul in EUC-KR: about half in Chinese, all in Korean."""
_FEW = 2
"""Characters that may be lost in any text: one emoji cut in two places."""
_SHARE = 0.1
"""Lost characters' share of all, from which on what is left does not say what the text said."""
_PASSAGE, _NEAR = 8, 20
"""Of a long text: more lost characters, within as many, than a word has. There is a passage that nobody knows."""


def read(body: bytes, charset: str | None = None) -> Any:
    """Value of a JSON body. Raises json.JSONDecodeError if it is none.

    `charset`: of its content type. It is heard where the body is no UTF-8, as JSON should be.

    Forgiven is what leaves no doubt about the rest: a byte order mark, UTF-16, GB18030 (GBK), control characters inside
    strings, and bytes that are no UTF-8 and halves of characters, each of which becomes U+FFFD.
    """
    codec = _codec(charset)
    if codec is None or not _SEVEN_BIT.match(codec):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    return _forgiving(_text(body, codec))


def made_out(body: bytes, charset: str | None = None) -> Any:
    """What a body that is no JSON may have been meant to say; None if that cannot be told. In linear time.

    It is a guess: a body that was cut off reads as if it ended there, and quotes inside a text may end it.
    """
    try:
        return read(repair_json(_text(body, _codec(charset))).encode())
    except ValueError:
        return None


def is_lost(text: str) -> bool:
    """Whether so much of the text, or of a passage in it, is U+FFFD that nobody can tell what it said. Single
    characters that are lost here and there leave the words around them.
    """
    lost = text.count(_LOST)
    if lost <= _FEW:
        return False
    return lost > _SHARE * len(text) or (lost > _PASSAGE and _is_dense(text))


def _is_dense(text: str) -> bool:
    places = [place for place, character in enumerate(text) if character == _LOST]
    return any(last - first < _NEAR for first, last in zip(places, places[_PASSAGE:], strict=False))


def _forgiving(text: str) -> Any:
    try:
        return json.loads(_HALF.sub(lambda found: found[1] or _LOST, text), strict=False)
    except (ValueError, RecursionError):
        raise json.JSONDecodeError("no JSON", "", 0) from None


def _codec(charset: str | None) -> str | None:
    """Python's name of a charset; None for one that it does not know, and for those that need no name."""
    try:
        name = codecs.lookup(charset or "utf-8").name
        "".encode(name)
    except (LookupError, ValueError):
        return None
    if name.startswith(("utf-8", "utf-16", "utf-32")) or _NO_CHARSET.match(name):
        return None
    return "gb18030" if name.startswith("gb") else name  # which holds the other two


def _text(body: bytes, codec: str | None) -> str:
    detected = json.detect_encoding(body)
    if codec is not None and _SEVEN_BIT.match(codec):
        return body.decode(codec, "replace")
    if not detected.startswith("utf-8"):
        return body.decode(detected, "replace")
    try:
        return body.decode(detected)
    except UnicodeDecodeError:
        return _no_utf8(body, body.decode(detected, "replace"), codec)


def _no_utf8(body: bytes, text: str, codec: str | None) -> str:
    """UTF-8 with some bytes broken, or what UTF-8 loses most of, ASCII apart: the codec's, or else GB18030.

    `text`: the body read as UTF-8.
    """
    lost, beyond_ascii = text.count(_LOST), len(text) - len(text.encode("ascii", "ignore"))
    if lost <= beyond_ascii / 2:
        return text
    if codec is not None:
        return body.decode(codec, "replace")
    if lost >= _FEW:
        try:
            guessed = body.decode("gb18030")
        except UnicodeDecodeError:
            return text
        return guessed if _is_chinese(guessed) else text
    return text


def _is_chinese(text: str) -> bool:
    """Whether a text that was read as GB18030 may be meant: Big5, Shift JIS and EUC-KR are legal there too, and would
    say something else.
    """
    beyond_ascii = _ASCII.sub("", text)[:_SAMPLE]
    letters = sum(map(str.isalpha, beyond_ascii))
    common = _NO_HAN.sub("", beyond_ascii).encode("gb2312", "ignore")
    korean = _HANGUL.findall(common.decode("euc_kr", "ignore"))
    return len(common) / 2 >= letters / 2 and len(korean) <= _KOREAN * letters
