"""A body that is wrong in a hundred thousand places costs no more than one that is wrong in one."""

from typing import Any

import pytest
from pydantic import ValidationError

from psychechat.api.chat.protocol import ChatRequest
from psychechat.api.http.body import unread
from psychechat.api.http.body.wire import Body
from psychechat.api.texts.protocol import ClassifyRequest, ModerationRequest
from psychechat.errors import InvalidRequest
from psychechat.policy import MOST_MESSAGES

HELLO = {"role": "user", "content": "hello"}
CHAT = {"model": "psychechat", "messages": [HELLO]}
STRANGERS = {f"a{number}": 0 for number in range(100_000)}


@pytest.mark.parametrize(
    ("kind", "body", "place"),
    [
        (ChatRequest, {**CHAT, "messages": [{}] * 300_000}, ("messages", 0, "role")),
        (ChatRequest, {**CHAT, "messages": [0] * 300_000}, ("messages", 0)),
        (ChatRequest, CHAT | {"stop": [0] * 300_000}, ("stop",)),
        (ChatRequest, CHAT | {"metadata": STRANGERS}, ("metadata", "a0")),
        (ChatRequest, CHAT | {"stream_options": STRANGERS}, ("stream_options", "a0")),
        (ChatRequest, CHAT | {"moderation": {"model": "m", "policy": STRANGERS}}, ("moderation", "policy", "a0")),
        (ModerationRequest, {"input": [0] * 300_000}, ("input",)),
    ],
)
def test_few_errors_are_collected(kind: Any, body: dict[str, Any], place: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(body)
    assert refused.value.error_count() <= 17
    assert refused.value.errors()[0]["loc"] == place


@pytest.mark.parametrize(("kind", "body"), [(ChatRequest, CHAT), (ClassifyRequest, {"input": "x"})])
def test_a_hundred_thousand_strangers_are_named_by_a_few(kind: type[Body], body: dict[str, Any]) -> None:
    found = kind.model_validate(body | STRANGERS)
    unread.check(found, strict=False)
    assert unread.listed(found.unread).split(", ") == [*(f"a{number}" for number in range(20)), "+99980"]
    with pytest.raises(InvalidRequest, match="'a0'"):
        unread.check(found, strict=True)


def test_of_too_many_messages_the_last_are_read() -> None:
    messages: list[dict[str, str]] = [{}] * 300_000 + [HELLO] * MOST_MESSAGES
    assert len(ChatRequest.model_validate({**CHAT, "messages": messages}).messages) == MOST_MESSAGES
