"""Each parameter that the installed openai package has is read, ignored or refused here on purpose."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args, is_typeddict

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as OfChat
from openai.types.responses.response_create_params import ResponseCreateParamsBase as OfResponses
from pydantic import BaseModel
from typing_extensions import get_type_hints

from psychechat.api.chat.parameters import IGNORED_IN_CHAT, IGNORED_IN_RESPONSES, REFUSED
from psychechat.api.chat.protocol import ChatRequest
from psychechat.api.http.body.wire import Body
from psychechat.api.responses.protocol import ResponsesRequest

Ignored = Mapping[str, Any]
BOTH = pytest.mark.parametrize(
    ("params", "body", "ignored"),
    [(OfChat, ChatRequest, IGNORED_IN_CHAT), (OfResponses, ResponsesRequest, IGNORED_IN_RESPONSES)],
    ids=["chat", "responses"],
)


def inside(hint: Any) -> Iterator[tuple[str, Any]]:
    """The fields of the object that a field is or may be; none for a list of them."""
    if is_typeddict(hint):
        yield from get_type_hints(hint).items()
    elif not str(hint).startswith(("typing.Iterable", "typing.List", "collections.abc")):
        for part in get_args(hint):
            yield from inside(part)


def read_inside(body: type[Body], name: str) -> set[str] | None:
    """The fields that are read of an object; None where it is no object, or taken whole."""
    if name in body.READ_INSIDE:
        return set(body.READ_INSIDE[name])
    kinds = [kind for kind in get_args(body.model_fields[name].annotation) if isinstance(kind, type)]
    return next((set(kind.model_fields) for kind in kinds if issubclass(kind, BaseModel)), None)


@BOTH
def test_no_parameter_is_undecided(params: Any, body: type[Body], ignored: Ignored) -> None:
    """A newer package may bring one: read it, or say in the table what becomes of it."""
    undecided = []
    for name, hint in get_type_hints(params).items():
        if name in ignored or name in REFUSED:
            continue
        if name not in body.model_fields:
            undecided.append(name)
            continue
        read = read_inside(body, name)
        if read is not None:
            names = [f"{name}.{field}" for field, _ in inside(hint) if field not in read]
            undecided += [each for each in names if each not in ignored and each not in REFUSED]
    assert undecided == []


@BOTH
def test_nothing_is_both_read_and_ignored(params: Any, body: type[Body], ignored: Ignored) -> None:
    """But for what the answer tells: there is one tier."""
    assert set(ignored) & set(body.model_fields) == {"service_tier"}
    for name in ignored:
        outer, _, field = name.partition(".")
        assert field or name in get_type_hints(params), f"{name} is no parameter"
        assert not field or outer in body.model_fields


def test_a_parameter_of_next_year_would_be_seen() -> None:
    class NextYear(OfResponses, total=False):
        mood: str

    with pytest.raises(AssertionError, match="mood"):
        test_no_parameter_is_undecided(NextYear, ResponsesRequest, IGNORED_IN_RESPONSES)
