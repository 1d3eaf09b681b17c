"""What a contact is, once it is found in a text."""

from typing import Literal, NamedTuple

Kind = Literal["number", "address", "account"]


class Span(NamedTuple):
    """A contact, where it is in the text, and what it is."""

    start: int
    end: int
    kind: Kind


Found = tuple[Span, frozenset[str]]
"""A contact, and the names of which one must be allowed."""
