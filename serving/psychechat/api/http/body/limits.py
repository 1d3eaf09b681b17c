"""Limits that several routes share."""

import unicodedata

from psychechat.errors import InvalidRequest
from psychechat.policy import Limits

MAX_SESSION = 256
"""Characters of a session id."""


def is_session(name: str) -> bool:
    """Whether this is a valid session id: not too long, no control characters (a path could not hold a line break)."""
    return 0 < len(name) <= MAX_SESSION and not any(unicodedata.category(character) == "Cc" for character in name)


def check_length(place: str, text: str, limits: Limits) -> None:
    """Raises InvalidRequest, with `place` as its parameter, if the text is too long."""
    if len(text) > limits.message_characters:
        raise InvalidRequest(
            f"'{place}' is longer than {limits.message_characters} characters.",
            param=place,
            code="string_above_max_length",
        )
