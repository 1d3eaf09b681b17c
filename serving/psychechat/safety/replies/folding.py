"""Texts made alike, character by character, so that what is found in them is found in the text as well."""

import unicodedata


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
