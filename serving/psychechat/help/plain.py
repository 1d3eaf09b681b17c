"""A message as lists of words look at it, whatever keyboard it was typed on."""

import unicodedata

MOST_CHARACTERS = 2_000
"""Of a message: its beginning is looked at."""

_APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ´`＇", "'"))


def plain(text: str) -> str:
    """In one width and small letters, with one kind of apostrophe and single blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES).split())
