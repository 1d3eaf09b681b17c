"""Fields of a request that nothing here reads: they are ignored and a header names them. The policy may refuse them.

What looks like one of ours with a slip in it is refused by any policy: who misspells `moderation` relies on it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from string import ascii_lowercase, digits

from fastapi import Request

from psychechat.api.http.body.wire import Body, Ignored
from psychechat.errors import InvalidRequest, UnsupportedParameter

HEADER = "x-psychechat-ignored"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What is repeated to the client. Any other name may be somebody's words."""
_NAMED = 20
_LETTERS = f"{ascii_lowercase}{digits}_."
_SHORTEST = 2
"""A shorter name is one slip away from too many others."""
_OTHERS = {"mode", "models", "top_a"}
"""Fields of other servers that are one slip away from ours."""


def check(body: Body, *, strict: bool) -> None:
    """Raises InvalidRequest for a name that is misspelt; with `strict` for every field that is not read."""
    slips = _slips(type(body))
    for name in body.unread:
        meant = slips.get(name.casefold().replace("-", "_"))
        if strict or meant is not None:
            _refuse(name, body.IGNORED, meant, strict=strict)


def _refuse(name: str, ignored: Mapping[str, Ignored], meant: str | None, *, strict: bool) -> None:
    if name in ignored:
        if strict:
            raise UnsupportedParameter(name, ignored[name].why)
    elif _NAME.fullmatch(name):
        hint = "" if meant is None else f" Did you mean '{meant}'?"
        raise InvalidRequest(f"Unknown parameter: '{name}'.{hint}", param=name)
    elif strict:
        raise InvalidRequest("There is a parameter that is not known here.")


def note(names: Sequence[str], request: Request) -> None:
    """Has the answer name what was not read."""
    if names:
        request.state.ignored = listed(names)


def listed(names: Sequence[str]) -> str:
    """The first names that may be repeated, and how many there are besides: `a, b, +3`."""
    told = list(islice(filter(_NAME.fullmatch, names), _NAMED))
    rest = len(names) - len(told)
    return ", ".join([*told, *([f"+{rest}"] if rest else [])])


@cache
def _slips(kind: type[Body]) -> Mapping[str, str]:
    """Each name of its fields, by that name and by all that one edit makes of it. A body may have a hundred thousand
    names to look up.
    """
    long_enough = [name for name in kind.model_fields if len(name) >= _SHORTEST]
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
