"""Bounds that more than one route has."""

import unicodedata

from psychechat.errors import InvalidRequest
from psychechat.policy import Limits

MAX_SESSION = 256
"""Characters of a session's name."""


def is_session(name: str) -> bool:
    """Whether a session can have this name. One with a line break in it no path could hold."""
    return 0 < len(name) <= MAX_SESSION and not any(unicodedata.category(character) == "Cc" for character in name)


def check_length(place: str, text: str, limits: Limits) -> None:
    """Raises InvalidRequest, which names the place, if the text is too long."""
    if len(text) > limits.message_characters:
        raise InvalidRequest(
            f"'{place}' is longer than {limits.message_characters} characters.",
            param=place,
            code="string_above_max_length",
        )
