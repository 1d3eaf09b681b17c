"""Fields of a request that nothing here reads: they are ignored and a header names them. The policy may refuse them.

What looks like one of ours with a slip in it is refused by any policy: who misspells `moderation` relies on it.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import islice

from fastapi import Request

from psychechat.api.http.body.slips import folded, slips
from psychechat.api.http.body.wire import Body, Ignored
from psychechat.errors import InvalidRequest, UnsupportedParameter

HEADER = "x-psychechat-ignored"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What is repeated to the client. Any other name may be somebody's words."""
_NAMED = 20


def check(body: Body, *, strict: bool) -> None:
    """Raises InvalidRequest for a name that is misspelt; with `strict` for every field that is not read."""
    ours = _ours(type(body))
    for name in body.unread:
        meant = ours.get(folded(name))
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
def _ours(kind: type[Body]) -> Mapping[str, str]:
    """What is meant by each slip in a name of its fields, and in one of those inside its fields, as `field.name`."""
    inside = {
        f"{place}.{slip}": f"{place}.{name}"
        for place, names in kind.FREE_INSIDE.items()
        for slip, name in slips(names).items()
    }
    return {**inside, **slips(tuple(kind.model_fields))}
