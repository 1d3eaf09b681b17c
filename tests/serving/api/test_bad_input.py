"""The right status and OpenAI's error object for whatever is sent, and a server that lives on."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HELLO = {"role": "user", "content": "hello there"}


@pytest.fixture(autouse=True)
def _lives_on(served: Any) -> Iterator[None]:
    yield
    reply = served.http.post("/v1/chat/completions", json={"model": "psychechat", "messages": [HELLO]})
    assert reply.status_code == 200


def post(served: Any, body: object = None, **more: Any) -> httpx.Response:
    content = more.pop("content", None)
    if content is None:
        content = json.dumps(body).encode()
    headers = {"content-type": "application/json"} | more.pop("headers", {})
    response: httpx.Response = served.http.post("/v1/chat/completions", content=content, headers=headers)
    return response


def assert_error(response: httpx.Response, status: int, *, param: str | None = None, code: str | None = None) -> str:
    assert response.status_code == status
    assert response.headers["x-request-id"]
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code)
    assert isinstance(error["message"], str)
    return str(error["message"])


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"NaN", b"[" * 10_000, b'{"n": ' + b"9" * 5_000 + b"}"],
)
def test_a_body_that_is_no_json_object(served: Any, content: bytes) -> None:
    assert "JSON" in assert_error(post(served, content=content), 400)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "system", "content": "x"}, {"role": "critic"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": "\ud83d"}]}, "messages[0].content"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": " \n\u3000"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"reasoning_effort": "vast"}, "reasoning_effort"),
        ({"chat_template_kwargs": {"enable_thinking": "no"}}, "chat_template_kwargs.enable_thinking"),
        ({"stream_options": {"other": 1}}, "stream_options.other"),
        ({"moderation": {"model": "m", "policy": {"outputs": {"mode": "block"}}}}, "moderation.policy.outputs"),
        ({"top_k": -2}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"min_p": 1.1}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_penalty": 2.1}, "repetition_penalty"),
        ({"n": 0}, "n"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ["x", ""]}, "stop[1]"),
        ({"stop": "x" * 65}, "stop[0]"),
        ({"metadata": {"session_id": ""}}, "metadata.session_id"),
        ({"metadata": {"session_id": "x" * 257}}, "metadata.session_id"),
        ({"metadata": {"session_id": "a\nb"}}, "metadata.session_id"),
        ({"metadata": {"session_id": "a\x7f"}}, "metadata.session_id"),
        ({"service_tier": 7}, "service_tier"),
        ({"model": "psychechat-llm", "n": 9}, "n"),
        ({"n": 129}, "n"),
        ({"metadata": {f"k{number}": "v" for number in range(17)}}, "metadata"),
        ({"seed": 1.5}, "seed"),
        ({"stream": "perhaps"}, "stream"),
        ({"stream": "yes"}, "stream"),  # wrong types are not bent
        ({"n": "1"}, "n"),
        ({"temperature": "0.5"}, "temperature"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"user": 7}, "user"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"moderaton": {"model": "m"}}, "moderaton"),
        ({"model": None}, "model"),
    ],
)
def test_a_wrong_field_is_named(served: Any, change: dict[str, Any], param: str) -> None:
    body = {"model": "psychechat", "messages": [HELLO], **change}
    assert param in assert_error(post(served, body), 400, param=param) or param.startswith("messages")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": [{}]}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required"}}}, "tool_choice"),
        ({"tool_choice": 7}, "tool_choice"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"n": 2}, "n"),
        ({"model": "psychechat-agent", "n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"model": "psychechat-agent", "logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
    ],
)
def test_what_a_counselor_cannot_honour_is_refused_by_name(served: Any, change: dict[str, Any], param: str) -> None:
    body = {"model": "psychechat", "messages": [HELLO], **change}
    message = assert_error(post(served, body), 400, param=param, code="unsupported_parameter")
    assert param in message


def test_neutral_values_of_those_pass(served: Any) -> None:
    body = {
        "model": "psychechat",
        "messages": [HELLO],
        "tools": [],
        "tool_choice": "none",
        "logprobs": False,
        "n": 1,
        "response_format": {"type": "text"},
        "store": False,
        "seed": 3,
        "user": "u",
        "service_tier": "auto",
        "stream_options": None,
        "temperature": None,
    }
    assert post(served, body).status_code == 200


@pytest.mark.parametrize("bound", [1, 3, 40])
def test_a_bound_of_any_size_is_answered(served: Any, bound: int) -> None:
    body = {"model": "psychechat", "messages": [HELLO], "max_completion_tokens": bound, "max_tokens": 400}
    [choice] = post(served, body).json()["choices"]
    assert choice["message"]["content"]
    assert choice["finish_reason"] == ("length" if bound < 40 else "stop")


def test_a_body_of_another_type_is_not_read(served: Any) -> None:
    content = json.dumps({"model": "psychechat", "messages": [URGENT]}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
        message = assert_error(post(served, content=content, headers={"content-type": kind}), 415)
        assert "application/json" in message
    for kind in ("Application/JSON; charset=utf-8", "application/vnd.api+json"):
        assert post(served, content=content, headers={"content-type": kind}).status_code == 200


def test_an_unknown_model_is_not_found(served: Any) -> None:
    message = assert_error(
        post(served, {"model": "gpt-4o", "messages": [HELLO]}), 404, param="model", code="model_not_found"
    )
    assert "psychechat-agent" in message
    assert_error(served.http.get("/v1/models/gpt-4o"), 404, param="model", code="model_not_found")


def test_a_message_of_100_kilobytes_is_too_long(served: Any) -> None:
    body = {"model": "psychechat", "messages": [{"role": "user", "content": "a" * 100_000}]}
    assert_error(post(served, body), 400, param="messages[0].content", code="string_above_max_length")


def test_a_conversation_longer_than_the_context_is_told_both_numbers(served: Any) -> None:
    turns = [HELLO, {"role": "assistant", "content": "b" * 20_000}, {"role": "user", "content": "c" * 20_000}]
    response = post(served, {"model": "psychechat", "messages": turns})
    message = assert_error(response, 400, param="messages", code="context_length_exceeded")
    assert "32768 tokens" in message


def test_a_body_over_the_bound_is_refused_while_it_arrives(served: Any) -> None:
    assert "1000000" in assert_error(post(served, content=b" " * 1_000_001), 413)


def test_a_body_that_drips_in_is_not_waited_for(serving: Any) -> None:
    with serving(limits={"body_seconds": 0.3}) as served:
        with socket.create_connection(("127.0.0.1", served.port)) as slow:
            slow.settimeout(20)
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            slow.sendall(head + b"content-length: 500\r\n\r\n")
            for _ in range(4):
                slow.sendall(b" ")
                time.sleep(0.03)  # real time: the server, with its bound, runs in a thread of its own
            answer = b"".join(iter(lambda: slow.recv(4096), b""))
        status, _, rest = answer.partition(b"\r\n")
        assert b" 408 " in status
        error = json.loads(rest.partition(b"\r\n\r\n")[2])["error"]
        assert set(error) == {"message", "type", "param", "code"}
        # A body that came in time is no longer bound, however long its turn takes.
        served.generator._seconds_per_word = 0.03
        assert post(served, {"model": "psychechat-llm", "messages": [HELLO]}).status_code == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /none HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500", b"404"),
        (b"POST /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 500", b"403"),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500", b"415"),
        (b"GET /health HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked", b"200"),
    ],
)
def test_nor_is_one_that_nobody_reads(serving: Any, head: bytes, status: bytes) -> None:
    """Else who has no key could hold a connection for as long as a byte comes now and then."""
    with serving(limits={"body_seconds": 0.3}) as served, socket.create_connection(("127.0.0.1", served.port)) as slow:
        slow.settimeout(20)
        slow.sendall(head + b"\r\n\r\n")
        answer = b"".join(iter(lambda: slow.recv(4096), b""))
    assert b" %s " % status in answer.partition(b"\r\n")[0]
    assert answer.lower().count(b"\r\nconnection: close\r\n") == 1


def test_who_still_sends_when_the_answer_is_known_hears_it(served: Any) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.settimeout(20)
        for path, size, status in (("/none", 3_000_000, b"404"), ("/v1/chat/completions", 3_000_000, b"413")):
            head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            client.sendall(f"{head}content-length: {size}\r\n\r\n".encode())
            for _ in range(30):  # fails if the connection is closed meanwhile
                client.sendall(b" " * (size // 30))
                time.sleep(0.001)
            answer = client.recv(65536)
            assert b" %s " % status in answer.partition(b"\r\n")[0]
            assert b"connection: close" not in answer.lower()


def test_what_the_seeker_said_in_several_messages_is_no_longer_than_one_may_be(served: Any) -> None:
    long = {"role": "user", "content": "a" * 20_000}
    body = {"model": "psychechat", "messages": [long, long]}
    assert_error(post(served, body), 400, param="messages", code="string_above_max_length")


def test_of_the_operators_notes_the_one_that_is_too_much_is_named(served: Any) -> None:
    notes = [{"role": "system", "content": "n" * 3_000}, HELLO, {"role": "developer", "content": "n" * 1_001}]
    message = assert_error(
        post(served, {"model": "psychechat", "messages": notes}),
        400,
        param="messages[2].content",
        code="string_above_max_length",
    )
    assert "4000" in message


URGENT = {"role": "user", "content": "I want to die"}


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{"role": "user", "content": "a" * 40_000}, {"role": "assistant", "content": "b"}, URGENT]},
        {"messages": [HELLO] * 600 + [URGENT]},
        {"messages": [HELLO] * 10_000 + [URGENT]},
        {"messages": [{"role": "tool"}] * 2_048 + [URGENT] + [HELLO] * 2_047},
        {"messages": [{"role": "user", "content": "a" * 30_000}, {"role": "user", "content": "b" * 30_000}, URGENT]},
        {"messages": [URGENT, {"role": "assistant", "content": None}, HELLO], "n": 2},
        {"messages": [URGENT], "model": "psychechat-llm", "n": 9},
        {"messages": [URGENT], "metadata": {"session_id": ""}},
        {"messages": [URGENT], "metadata": {"session_id": "x" * 257}},
        {"messages": [URGENT], "metadata": {"session_id": "a\nb"}},
        {"messages": [URGENT], "stop": "x" * 65},
        {"messages": [URGENT], "stop": [""]},
        {"messages": [URGENT], "stream_options": {"include_usage": True}},
        {"messages": [{"role": "system", "content": "n" * 5_000}, URGENT]},
        {"messages": [URGENT], "n": 2},
        {"messages": [URGENT], "logprobs": True, "top_logprobs": 5},
        {"messages": [URGENT], "max_tokens": 3},
        {"messages": [URGENT], "model": "gpt-4o"},
        {"messages": [URGENT, {"role": "system", "content": "Be kind."}]},
        {"messages": [{"role": "assistant", "content": None, "refusal": "no"}, URGENT]},
    ],
    ids=[
        *("long earlier", "many", "thousands", "wrong long before", "long together", "empty reply between", "nine"),
        *("no name", "long name", "line in a name", "long stop", "empty stop", "options", "notes", "choices"),
        *("logprobs", "bound", "model", "system last", "null content"),
    ],
)
def test_no_rule_that_is_broken_keeps_a_crisis_from_its_answer(served: Any, change: dict[str, Any]) -> None:
    response = post(served, {"model": "psychechat", **change})
    assert response.status_code == 200
    assert response.json()["psychechat"]["reason"] == "crisis"
    assert "findahelpline.com" in response.json()["choices"][0]["message"]["content"]


def test_paths_and_methods(served: Any) -> None:
    assert_error(served.http.get("/nowhere"), 404)
    assert_error(served.http.get("/v1/chat/completions"), 405)
    assert served.http.get("/v1/chat/completions").headers["allow"] == "POST, OPTIONS"
    assert_error(served.http.get("/v1/models/"), 404)
    assert_error(served.http.delete("/v1/models"), 405)


@pytest.mark.parametrize("timeout", ["soon", "0", "-1", "nan", "inf", ""])
def test_a_timeout_is_a_number_of_seconds(served: Any, timeout: str) -> None:
    body = {"model": "psychechat", "messages": [HELLO]}
    assert_error(post(served, body, headers={"x-request-timeout": timeout}), 400, param="x-request-timeout")


def test_a_session_header_must_be_short(served: Any) -> None:
    response = post(served, {"model": "psychechat", "messages": [HELLO]}, headers={"x-session-id": "s" * 257})
    assert_error(response, 400, param="x-session-id")


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2_3", True), ("a b", False), ("x" * 200, False)])
def test_the_request_id_is_the_clients_if_it_is_sane(served: Any, given: str, kept: bool) -> None:
    answer = served.http.get("/health", headers={"x-request-id": given}).headers["x-request-id"]
    assert (answer == given) is kept


def test_readiness_follows_the_engines(served: Any) -> None:
    assert served.http.get("/ready").status_code == 200
    served.engines["counselor"] = False
    try:
        response = served.http.get("/ready")
        assert (response.status_code, response.json()["engines"]) == (503, {"counselor": False})
        assert served.http.get("/health").status_code == 200
    finally:
        served.engines["counselor"] = True


def test_a_client_that_hangs_up_mid_body_harms_nobody(served: Any) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as half:
        half.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500\r\n\r\n{")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = ("model", "messages", "stream", "stop", "n", "tools", "metadata", "temperature", "stream_options", "seed")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=6))
def test_no_json_makes_the_server_fail(served: Any, body: dict[str, Any]) -> None:
    body = {"model": "psychechat", "messages": [HELLO]} | body
    response = post(served, body)
    assert response.status_code in (200, 400, 404)
    if response.status_code != 200:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("after", ["are you there?", "", "x" * 40_000])
def test_an_alarm_in_any_line_since_the_last_reply_is_answered_whatever_rule_is_broken(served: Any, after: str) -> None:
    messages = [
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "I want to kill myself"},
        {"role": "user", "content": after},
    ]
    body = {"model": "psychechat", "messages": messages, "max_tokens": 5, "metadata": {"session_id": "someone"}}
    response = served.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200
    assert response.json()["psychechat"]["reason"] == "crisis"
    assert response.json()["psychechat"]["session"] == "someone"


@pytest.mark.parametrize(("timeout", "status", "reply"), [("0.4", 200, True), ("soon", 200, False)])
def test_an_alarm_that_breaks_a_rule_still_has_the_time_that_its_client_gave(
    serving: Any, timeout: str, status: int, reply: bool
) -> None:
    with serving() as served:
        served.generator._seconds_per_word = 60 if reply else 0.005
        begun = time.monotonic()
        response = post(
            served,
            {"model": "psychechat", "messages": [URGENT], "n": 2},
            headers={"x-request-timeout": timeout},
        )
        assert response.status_code == status
        assert response.json()["psychechat"]["review"]["fallback"] is reply
        assert (time.monotonic() - begun < 20) or not reply


def test_a_session_in_a_header_is_ascii(served: Any) -> None:
    body = {"model": "psychechat", "messages": [{"role": "user", "content": "hello"}]}
    response = served.http.post("/v1/chat/completions", json=body, headers={"x-session-id": "会话".encode()})
    assert response.status_code == 400
    assert "metadata.session_id" in response.json()["error"]["message"]


def test_stream_may_be_null(served: Any) -> None:
    body = {"model": "psychechat", "messages": [{"role": "user", "content": "hello"}], "stream": None}
    assert served.http.post("/v1/chat/completions", json=body).status_code == 200
