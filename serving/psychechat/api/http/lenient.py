"""Bodies as clients send them: JSON, with what they break most often forgiven, and what can be made out of the rest."""

import json
import re
from typing import Any

import orjson
from fast_json_repair import repair_json

_HALF = re.compile(
    r"((?:\\\\|\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2})+)|\\u[dD][89a-fA-F][\da-fA-F]{2}"
)
"""Escape of half a character, of one beyond the first 65,536, without its other half; in group 1 what looks like it."""


def read(body: bytes) -> Any:
    """Value of a JSON body. Raises json.JSONDecodeError if it is none.

    Forgiven is what leaves no doubt about the rest: a byte order mark, UTF-16, control characters inside strings, and
    bytes that are no UTF-8 and halves of characters, each of which becomes U+FFFD.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _forgiving(body)


def made_out(body: bytes) -> Any:
    """What a body that is no JSON may have been meant to say; None if that cannot be told. In linear time.

    It is a guess: a body that was cut off reads as if it ended there, and quotes inside a text may end it.
    """
    try:
        return read(repair_json(_text(body)).encode())
    except ValueError:
        return None


def _forgiving(body: bytes) -> Any:
    try:
        text = _HALF.sub(lambda found: found[1] or "\N{REPLACEMENT CHARACTER}", _text(body))
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        raise json.JSONDecodeError("no JSON", "", 0) from None


def _text(body: bytes) -> str:
    return body.decode(json.detect_encoding(body), "replace")
