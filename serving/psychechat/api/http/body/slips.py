"""Names one slip away from ours, by which something of ours may be meant."""

from collections.abc import Iterator, Mapping
from functools import cache
from string import ascii_lowercase, digits

_LETTERS = f"{ascii_lowercase}{digits}_."
_SHORTEST = 2
"""A shorter name is one slip away from too many others."""
_OTHERS = {"mode", "models", "top_a"}
"""Fields of other servers that are one slip away from ours."""


def folded(name: str) -> str:
    """A name as `slips` has it: neither its case nor its dashes tell it from another."""
    return name.casefold().replace("-", "_")


@cache
def slips(names: tuple[str, ...]) -> Mapping[str, str]:
    """Each name, by itself and by all that one edit makes of it. A body may have a hundred thousand to look up."""
    long_enough = [name for name in names if len(name) >= _SHORTEST]
    edited = {slip: name for name in long_enough for slip in _edits(name)}
    return {slip: name for slip, name in edited.items() if slip not in _OTHERS} | {name: name for name in long_enough}


def _edits(name: str) -> Iterator[str]:
    """A letter less, two neighbours swapped, a letter replaced, a letter more."""
    cuts = [(name[:at], name[at:]) for at in range(len(name) + 1)]
    for head, tail in cuts:
        yield head + tail[1:]
        yield head + tail[1:2] + tail[:1] + tail[2:]
        for letter in _LETTERS:
            yield head + letter + tail[1:]
            yield head + letter + tail
