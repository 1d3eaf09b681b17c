"""A body of /v1/responses in chat's words: what is the same turn, and which names its errors have."""

from typing import Any, get_args, get_type_hints

import pytest
from openai.types.responses import ResponseInputItemParam

from psychechat.api.chat.history import conversation
from psychechat.api.chat.protocol import ChatRequest
from psychechat.api.responses.protocol import ResponsesRequest
from psychechat.api.responses.translation import as_chat, renamed
from psychechat.conversation import Utterance
from psychechat.errors import InvalidRequest
from psychechat.policy import MOST_MESSAGES, Limits

HELLO = {"role": "user", "content": "hello there"}
OUTPUT = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "How was it?", "annotations": [], "logprobs": []}],
}
IMAGE = {"type": "input_image", "image_url": "data:,x", "detail": "auto"}


def chat(said: object, **more: Any) -> ChatRequest:
    return ResponsesRequest.model_validate({"model": "psychechat", "input": said, **more}).chat


def heard(said: object, **more: Any) -> tuple[list[tuple[str, str]], tuple[str, ...], dict[str, int]]:
    told, left_out = conversation(chat(said, **more).messages, Limits())
    spoken: list[tuple[str, str]] = [(utterance.speaker, utterance.text) for utterance in told.utterances]
    return spoken, told.operator_notes, {what: count for what, count in left_out.items() if count}


@pytest.mark.parametrize(
    "said",
    [
        "hello there",
        [HELLO],
        [{"type": "message", **HELLO}],
        [{"role": "user", "content": [{"type": "input_text", "text": "hello there"}]}],
        [{"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "input_text", "text": "there"}]}],
        [{"type": "input_text", "text": "hello there"}],
    ],
)
def test_the_seekers_line_is_heard_in_every_form(said: object) -> None:
    """The last one is no item of OpenAI's; what it says is the seeker's all the same."""
    [(speaker, text)], notes, left_out = heard(said)
    assert (speaker, text.replace("\n", " "), notes, left_out) == ("seeker", "hello there", (), {})


def test_a_reply_comes_back_as_it_was_and_as_a_short_message() -> None:
    for reply in (OUTPUT, {"role": "assistant", "content": "How was it?"}):
        spoken, *_ = heard([HELLO, reply, {"role": "user", "content": "bad"}])
        assert spoken[1] == ("counselor", "How was it?")
    refusal = {**OUTPUT, "content": [{"type": "refusal", "refusal": "No."}]}
    assert heard([HELLO, refusal, HELLO])[0][1] == ("counselor", "No.")


def test_instructions_are_the_first_note() -> None:
    developer = {"type": "message", "role": "developer", "content": "Be brief."}
    assert heard([developer, HELLO], instructions="You work for a school.")[1] == (
        "You work for a school.",
        "Be brief.",
    )
    assert heard("hello there", instructions=" ")[1] == ()


def test_instructions_are_kept_before_more_items_than_are_read() -> None:
    body = chat([HELLO] * (MOST_MESSAGES + 5), instructions="You work for a school.")
    assert body.messages[0].content.text == "You work for a school."
    assert len(body.messages) == MOST_MESSAGES


def _types() -> list[str]:
    kinds = {name for item in get_args(ResponseInputItemParam) for name in _names(get_type_hints(item)["type"])}
    return sorted(kinds - {"message"})


def _names(hint: Any) -> list[str]:
    return [hint] if isinstance(hint, str) else [name for part in get_args(hint) for name in _names(part)]


@pytest.mark.parametrize("kind", _types())
def test_every_item_that_is_no_message_is_left_out_whatever_it_holds(kind: str) -> None:
    text = [{"type": "text", "text": "not the seeker's"}]
    item = {"type": kind, "id": "x", "content": text, "summary": text, "output": "x", "role": "developer"}
    assert heard([item, HELLO]) == ([("seeker", "hello there")], (), {"tool": 1})


def test_a_reference_without_its_type_is_one() -> None:
    assert heard([{"id": "rs_1"}, HELLO])[2] == {"tool": 1}


@pytest.mark.parametrize("reference", [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_1", "type": None}])
def test_a_reply_by_its_id_stands_between_what_the_seeker_said(reference: dict[str, Any]) -> None:
    """Left out it would make one message of that. The AI SDK sends it so unless it is told not to store."""
    said, *_ = heard([HELLO, reference, HELLO])
    assert said == [("seeker", "hello there"), ("counselor", "…"), ("seeker", "hello there")]


def test_images_beside_words_are_left_out_and_counted() -> None:
    parts = [IMAGE, {"type": "input_text", "text": "hello there"}, {"type": "input_file", "file_id": "f"}]
    assert heard([{"role": "user", "content": parts}]) == ([("seeker", "hello there")], (), {"part": 1})


def test_what_both_have_is_the_same_and_the_rest_has_chats_name() -> None:
    same = {
        "temperature": 0.5,
        "top_p": 0.9,
        "stream": True,
        "user": "u",
        "safety_identifier": "s",
        "service_tier": "auto",
        "metadata": {"session_id": "one", "locale": "en-US"},
        "moderation": {"model": "m"},
    }
    body = chat("hello there", **same, max_output_tokens=9, reasoning={"effort": "none", "summary": "auto"})
    wanted = ChatRequest.model_validate(
        {"model": "psychechat", "messages": [HELLO], **same, "max_completion_tokens": 9, "reasoning_effort": "none"}
    )
    assert body == wanted
    assert not body.thinks


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        ([HELLO], [HELLO]),
        ("hello there", [HELLO]),
        ({"input": HELLO}, [HELLO]),
        ({"messages": [HELLO]}, [HELLO]),
        ({"input": None, "messages": [HELLO]}, [HELLO]),
        ({"input": 7, "instructions": 7}, [{"role": "user", "content": 7}]),
        ({"input": [7, None], "reasoning": "high"}, [7, None]),
        ({}, []),
    ],
)
def test_bodies_of_whatever_make_keep_what_was_said(body: Any, messages: list[Any]) -> None:
    translated = as_chat(body)
    assert (translated["messages"] if isinstance(translated, dict) else translated) == messages


@pytest.mark.parametrize(
    ("param", "body", "name"),
    [
        ("messages[1].content", {"input": [HELLO, HELLO]}, "input[1].content"),
        ("messages[1].content", {"input": [HELLO], "instructions": "x"}, "input[0].content"),
        ("messages[0].content", {"input": [HELLO], "instructions": "x"}, "instructions"),
        ("messages[0].content", {"input": "hello"}, "input"),
        ("messages", {"input": [HELLO]}, "input"),
        ("model", {"input": [HELLO]}, "model"),
    ],
)
def test_errors_have_this_endpoints_names(param: str, body: dict[str, Any], name: str) -> None:
    error = renamed(InvalidRequest(f"'{param}' is wrong. The messages are too long.", param=param), body)
    assert (error.param, str(error)) == (name, f"'{name}' is wrong. The messages are too long.")
    assert error.message == str(error)


def test_a_conversation_is_remembered_by_either_way() -> None:
    turns = [HELLO, {"role": "assistant", "content": "How was it?"}, {"role": "user", "content": "bad"}]
    by_chat = ChatRequest.model_validate({"model": "psychechat", "messages": turns})
    by_items = chat([{"role": "user", "content": [{"type": "input_text", "text": "hello there"}]}, OUTPUT, turns[2]])
    limits = Limits()
    assert conversation(by_chat.messages, limits)[0] == conversation(by_items.messages, limits)[0]
    assert conversation(by_items.messages, limits)[0].answered[-1] == Utterance("counselor", "How was it?")
