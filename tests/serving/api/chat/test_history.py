"""One conversation has one key in memory, however a client sends it back."""

from typing import Any

import pytest

from psychechat.api.chat.history import conversation
from psychechat.api.chat.protocol import ChatMessage
from psychechat.conversation import Conversation
from psychechat.errors import InvalidRequest, UnsupportedParameter
from psychechat.memory.base import Keys
from psychechat.policy import Limits
from tests.serving.api.conftest import Served

KEYS, LIMITS = Keys(b"k" * 32), Limits()
TEXT, IMAGE = {"type": "text", "text": "I failed my exam."}, {"type": "image_url", "image_url": {"url": "data:,x"}}
ASKED = {"role": "assistant", "content": "What happened then?"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function"}]}
NEWEST = {"role": "user", "content": "I went home."}
PLAIN = [{"role": "user", "content": "I failed my exam."}, ASKED, NEWEST]


def heard(messages: list[Any], limits: Limits = LIMITS) -> tuple[Conversation, dict[str, int]]:
    said, left_out = conversation([ChatMessage.model_validate(message) for message in messages], limits)
    return said, {str(what): count for what, count in left_out.items() if count}


@pytest.mark.parametrize(
    ("messages", "left_out"),
    [
        (PLAIN, {}),
        ([{"role": "user", "content": [IMAGE, TEXT, {"type": "input_audio"}]}, ASKED, NEWEST], {"part": 1}),
        ([{"role": "user", "content": [IMAGE]}, *PLAIN], {"part": 1}),
        ([{"role": "user", "content": "I failed my exam.\ufffd"}, ASKED, NEWEST], {"character": 1}),
        ([*PLAIN[:2], {"role": "user", "content": "I went\ufffd home.\ufffd"}], {"character": 1}),
        ([PLAIN[0], CALL, {"role": "tool", "tool_call_id": "a", "content": [IMAGE]}, ASKED, NEWEST], {"tool": 2}),
        ([PLAIN[0], {**ASKED, "tool_calls": [{}]}, {"role": "function", "name": "f"}, NEWEST], {"tool": 2}),
        ([{"role": "critic", "content": [IMAGE]}, *PLAIN, {"role": "critic", "content": " "}], {"role": 2}),
        ([{**PLAIN[0], "role": " Human"}, {**ASKED, "role": "AI"}, {**NEWEST, "role": "narrator"}], {}),
        ([PLAIN[0], {"role": "assistant", "tool_calls": [{}]}, ASKED, {**NEWEST, "role": "USER"}], {"tool": 1}),
        ([PLAIN[0], {"role": "assistant"}, {"role": "Tool", "content": "x"}, ASKED, NEWEST], {"tool": 1}),
        ([*PLAIN, ASKED], {"reply": 1}),
        ([*PLAIN, CALL, {"role": "tool", "content": "x"}, ASKED], {"reply": 2, "tool": 1}),
        (
            [*PLAIN[:2], {"role": "user", "content": [IMAGE, {"type": "input_text", "text": "I went home."}]}],
            {"part": 1},
        ),
        ([PLAIN[0], {"role": "assistant", "content": [{"type": "refusal", "refusal": ASKED["content"]}]}, NEWEST], {}),
    ],
    ids=[
        *("plain", "image beside", "image alone", "half an emoji", "half ones in the newest", "tool", "function"),
        *(
            "unknown role",
            "other names",
            "calls alone",
            "nothing said",
            "reply last",
            "tools last",
            "image beside the newest",
            "refusal",
        ),
    ],
)
def test_one_conversation_has_one_key(messages: list[Any], left_out: dict[str, int]) -> None:
    plain, _ = heard(PLAIN)
    said, counted = heard(messages)
    assert counted == left_out
    assert said == plain
    assert KEYS.before("t", said) == KEYS.before("t", plain) is not None
    assert KEYS.after("t", said, "And now?") == KEYS.after("t", plain, "And now?")


@pytest.mark.parametrize("text", ["x", "一", " "])
def test_a_part_that_holds_text_is_kept(text: str) -> None:
    parts: list[Any] = [
        {"type": kind, "text": text, "image_url": {}} for kind in ("text", "input_text", "output_text", "thought")
    ]
    said, left_out = heard([{"role": "user", "content": parts}, ASKED, NEWEST])
    assert left_out == {}
    assert not text.strip() or said.utterances[0].text == "\n".join([text] * 4)


@pytest.mark.parametrize("role", ["user", "User", "human", "CLIENT", "customer", "patient", "seeker", "critic", "用户"])
def test_whoever_is_not_another_is_the_seeker(role: str) -> None:
    for content in ("I went home.", ["I went", {"text": "home."}]) if role in ("critic", "用户") else ("I went home.",):
        said, left_out = heard([*PLAIN[:2], {"role": role, "content": content}])
        assert (said.newest.split(), left_out) == (["I", "went", "home."], {})


@pytest.mark.parametrize("role", ["Assistant", "ai", "bot", "Model", "counselor", "therapist"])
def test_other_names_of_the_counselor(role: str) -> None:
    assert heard([PLAIN[0], {**ASKED, "role": role}, NEWEST]) == heard(PLAIN)


def test_the_operator_is_known_in_any_case() -> None:
    assert heard([{"role": "System", "content": "Be kind."}, NEWEST])[0].operator_notes == ("Be kind.",)


def test_the_counselors_words_stay_as_they_are_remembered() -> None:
    replied = "Bread\ufffd is good."
    said, left_out = heard([PLAIN[0], {"role": "assistant", "content": replied}, NEWEST])
    assert left_out == {}
    first, _ = heard(PLAIN[:1])
    assert KEYS.before("t", said) == KEYS.after("t", first, replied)


def test_notes_may_stand_anywhere() -> None:
    notes = [{"role": "system", "content": "Be kind."}, {"role": "developer", "content": "Be brief."}]
    said, left_out = heard([notes[0], *PLAIN, notes[1]])
    assert (said.operator_notes, left_out) == (("Be kind.", "Be brief."), {})


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([ASKED], "messages[0].role"),
        ([{"role": "tool"}, {"role": "system", "content": "x"}], "messages[1].role"),
        ([{"role": "critic"}], "messages[0].role"),
        ([NEWEST, {"role": "user", "content": "\ufffd "}], "messages[1].content"),
        ([{"role": "user", "content": "x" * 11}, ASKED, NEWEST], "messages[0].content"),
        ([NEWEST] * 5, "messages"),
    ],
)
def test_an_error_names_the_message_in_the_request(messages: list[Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        heard(messages, Limits(messages=4, message_characters=19 if len(messages) != 3 else 10))
    assert refused.value.param == param


def test_messages_that_are_left_out_are_not_counted_as_too_many() -> None:
    said, _ = heard([*PLAIN[:2], *[{"role": "tool"}] * 10, NEWEST], Limits(messages=3))
    assert said == heard(PLAIN)[0]


def test_an_image_alone_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedParameter, match="text"):
        heard([*PLAIN[:2], {"role": "user", "content": [IMAGE]}])


def test_memory_is_found_again_and_what_was_left_out_is_counted(served: Served) -> None:
    def post(messages: list[Any]) -> dict[str, Any]:
        answer = served.http.post("/v1/chat/completions", json={"model": "psychechat", "messages": messages})
        assert answer.status_code == 200
        body: dict[str, Any] = answer.json()
        return body

    def counted() -> float | None:
        return served.pipeline.metrics.registry.get_sample_value("psychechat_left_out_total", {"what": "part"})

    before = counted()
    assert before is not None
    first = post([{"role": "user", "content": [IMAGE, TEXT]}])
    history = [PLAIN[0], {"role": "tool"}, first["choices"][0]["message"]]
    second = post([*history, NEWEST, ASKED])
    assert second["psychechat"]["session"] == first["psychechat"]["session"]
    assert second["psychechat"]["shift"] is not None
    assert counted() == before + 1
