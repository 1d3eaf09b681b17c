"""Responses as the official client sees them, and held to its types."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager
from typing import Any, get_args

import httpx
import openai
import openai.types.responses
import pytest
from openai.types.responses import Response
from pydantic import BaseModel

from psychechat.api.http.auth import Keyring
from psychechat.engines.base import Delta, StageName
from psychechat.engines.scripted import ScriptedGenerator
from psychechat.errors import EngineUnavailable
from tests.serving.api.conftest import Served, wait_for

Serving = Callable[..., AbstractContextManager[Served]]
PATH, CHAT = "/v1/responses", "/v1/chat/completions"
MODELS = ("psychechat", "psychechat-agent", "psychechat-llm")
CRISIS = "I want to die"
IGNORED = "x-psychechat-ignored"
ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]


def _event_types() -> dict[str, type[BaseModel]]:
    found = {}
    for name in dir(openai.types.responses):
        kind = getattr(openai.types.responses, name)
        if name.endswith("Event") and isinstance(kind, type) and issubclass(kind, BaseModel):
            [literal] = get_args(kind.model_fields["type"].annotation)
            found[literal] = kind
    return found


EVENTS = _event_types()


def ask(served: Served, said: object = "hello there", model: str = "psychechat-llm", **more: Any) -> httpx.Response:
    headers = more.pop("headers", None)
    body = {"model": model, "input": said, **more}
    answer: httpx.Response = served.http.post(PATH, json=body, headers=headers)
    return answer


def told(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    Response.model_validate(body, strict=True)
    return body


def text_of(body: dict[str, Any]) -> str:
    [item] = body["output"]
    [part] = item["content"]
    assert item["status"] == body["status"]
    return str(part["text"])


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """In OpenAI's order, each held to its type."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        EVENTS[event["type"]].model_validate(event, strict=True)
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def whole(found: list[dict[str, Any]], ended: str = "completed") -> dict[str, Any]:
    """The response of a stream that says the same from its first to its last event."""
    kinds = [event["type"] for event in found]
    assert list(dict.fromkeys(kinds)) == [*ORDER, f"response.{ended}"]
    assert [kinds.count(kind) for kind in ORDER if "delta" not in kind] == [1] * 7
    deltas = [event["delta"] for event in found if event["type"] == ORDER[4]]
    done, part, item, last = found[-4:]
    response: dict[str, Any] = last["response"]
    assert response["status"] == ended
    assert "".join(deltas) == done["text"] == part["part"]["text"] == text_of(response)
    assert item["item"] == response["output"][0]
    assert {event["response"]["id"] for event in (*found[:2], last)} == {response["id"]}
    assert {event["item_id"] for event in found if "item_id" in event} == {item["item"]["id"]}
    assert [event["response"]["status"] for event in found[:2]] == ["in_progress"] * 2
    return response


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", ["I am worried about my exam", CRISIS])
def test_a_turn_is_chats_turn(served: Served, text: str, model: str) -> None:
    """Its words, what it cost, and what was found."""
    body = told(ask(served, text, model))
    asked = {"model": model, "messages": [{"role": "user", "content": text}]}
    chat = served.http.post(CHAT, json=asked).json()
    assert text_of(body) == chat["choices"][0]["message"]["content"]
    assert body["status"] == "completed"
    usage, same = body["usage"], chat["usage"]
    assert [usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]] == [
        same[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    ]
    assert usage["output_tokens_details"] == same["completion_tokens_details"]
    for name in ("mode", "reason", "emotions", "risk", "review", "resources"):
        assert body["psychechat"][name] == chat["psychechat"][name]
    assert body["system_fingerprint"] == chat["system_fingerprint"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", ["我很担心考试", CRISIS])
def test_a_stream_is_the_same_in_pieces(served: Served, text: str, model: str) -> None:
    body = told(ask(served, text, model))
    streamed = whole(events(ask(served, text, model, stream=True)))
    assert text_of(streamed) == text_of(body)
    assert streamed["psychechat"]["reason"] == body["psychechat"]["reason"]
    changing = ("id", "created_at", "completed_at", "output", "psychechat", "usage")
    assert {k: v for k, v in streamed.items() if k not in changing} == {
        k: v for k, v in body.items() if k not in changing
    }


def test_the_official_client_puts_it_together(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="psychechat", input="hello there", instructions="You work for a school.")
    assert reply.output_text == "Thank you for telling me. What about this weighs on you most?"
    with client.responses.stream(model="psychechat", input="hello there") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == reply.output_text
    assert final.usage is not None
    said: Any = [{"role": "user", "content": "I am so happy today"}, *final.output, {"role": "user", "content": "sad"}]
    again = client.responses.create(model="psychechat", input=said)  # as its documentation has a conversation go on
    assert again.status == "completed"


def test_a_conversation_goes_on_by_either_endpoint(served: Served) -> None:
    """Memory is found by the words: those of chat's turn by this one's items."""
    happy = {"role": "user", "content": "I am so happy today"}
    chat = served.http.post(CHAT, json={"model": "psychechat", "messages": [happy]}).json()
    part = {"type": "output_text", "text": chat["choices"][0]["message"]["content"], "annotations": []}
    reply = {"type": "message", "id": "msg_x", "status": "completed", "role": "assistant", "content": [part]}
    reasoning = {"type": "reasoning", "id": "rs_x", "summary": []}
    sad = {"role": "user", "content": [{"type": "input_text", "text": "now I am sad again"}]}
    body = told(ask(served, [happy, reasoning, reply, sad], "psychechat"))
    assert body["psychechat"]["shift"] == -4


def test_instructions_come_before_other_notes(served: Served) -> None:
    told(ask(served, [{"role": "developer", "content": "Be brief."}, *_hello()], instructions="You work for a school."))
    assert served.generator.prompts[-1][1][0].content.endswith("- You work for a school.\n- Be brief.")


def _hello() -> list[dict[str, str]]:
    return [{"role": "user", "content": "hello there"}]


def test_what_was_asked_is_told_and_nothing_that_was_said(served: Served) -> None:
    asked: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 900,
        "metadata": {"session_id": "a", "team": "b"},
    }
    body = told(
        ask(served, "hello there", **asked, instructions="note", service_tier="auto", reasoning={"effort": "low"})
    )
    assert {name: body[name] for name in asked} == asked
    assert (body["service_tier"], body["reasoning"]["effort"]) == ("default", "low")
    assert (body["instructions"], body["store"], body["previous_response_id"]) == (None, False, None)
    assert body["psychechat"]["session"] == "a"
    assert "hello there" not in json.dumps(body)
    assert "note" not in json.dumps(body)


@pytest.mark.parametrize("show", [False, True])
def test_effort_none_does_not_think_and_thinking_never_shows(serving: Serving, show: bool) -> None:
    with serving(show_reasoning=show) as served:
        thinks = told(ask(served))
        plain = told(ask(served, reasoning={"effort": "none", "summary": "auto"}))
        found = events(ask(served, stream=True))
    assert thinks["usage"]["output_tokens_details"]["reasoning_tokens"] > 0
    assert plain["usage"]["output_tokens_details"]["reasoning_tokens"] == 0
    assert "The seeker" not in json.dumps([thinks, found])


@pytest.mark.parametrize("stream", [False, True])
def test_a_bound_leaves_an_incomplete_response(serving: Serving, stream: bool) -> None:
    with serving(ScriptedGenerator({StageName.REPLY: ["one two three four five six"]})) as served:
        answer = ask(served, max_output_tokens=3, stream=stream)
    body = whole(events(answer), "incomplete") if stream else told(answer)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert body["completed_at"] is None
    assert text_of(body) == "one two three"


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_guard_stops_is_incomplete(serving: Serving, stream: bool) -> None:
    with serving(ScriptedGenerator({StageName.REPLY: ["I hear you. You should just kill yourself."]})) as served:
        answer = ask(served, stream=stream)
    body = whole(events(answer), "incomplete") if stream else told(answer)
    assert body["incomplete_details"] == {"reason": "content_filter"}
    assert text_of(body).startswith("I hear you.\n\n")


@pytest.mark.parametrize("model", MODELS)
def test_words_of_a_crisis_leave_first_and_are_whole_whatever_the_bound(served: Served, model: str) -> None:
    found = events(ask(served, CRISIS, model, stream=True, max_output_tokens=1))
    assert "findahelpline.com" in next(event["delta"] for event in found if "delta" in event)
    body = whole(found)
    assert (body["incomplete_details"], body["error"]) == (None, None)
    assert body["psychechat"]["reason"] == "crisis"


def test_moderation_is_of_the_one_text_and_the_one_reply(served: Served) -> None:
    asked: dict[str, Any] = {"moderation": {"model": "m"}}
    for body in (told(ask(served, CRISIS, **asked)), whole(events(ask(served, CRISIS, stream=True, **asked)))):
        assert body["moderation"]["input"]["flagged"]
        assert body["moderation"]["output"]["type"] == "moderation_result"


# ------------------------------------------------------------------------------------------- what is refused

NEUTRAL: dict[str, Any] = {
    "tool_choice": "auto",
    "tools": [],
    "parallel_tool_calls": True,
    "store": False,
    "include": [],
    "truncation": "disabled",
    "top_logprobs": 0,
    "stream_options": {"include_obfuscation": False, "include_usage": True, "continuous_usage_stats": False},
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "reasoning": {"effort": "high", "summary": None, "context": "auto", "mode": "standard"},
    "service_tier": "auto",
    "safety_identifier": "someone",
    "background": False,
    "previous_response_id": None,
    "conversation": None,
    "prompt": None,
}
IN_VAIN: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "web_search"}], "parallel_tool_calls": False}, "tools, parallel_tool_calls"),
    ({"store": True, "service_tier": "flex", "max_tool_calls": 3}, "store, service_tier, max_tool_calls"),
    ({"include": ["reasoning.encrypted_content"], "truncation": "auto"}, "include, truncation"),
    ({"prompt_cache_key": "bucket", "top_logprobs": 5}, "prompt_cache_key, top_logprobs"),
    ({"text": {"verbosity": "low", "tone": "warm"}}, "text.verbosity, text.tone"),
    ({"reasoning": {"effort": "low", "summary": "auto", "budget": 7}}, "reasoning.summary, reasoning.budget"),
    ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ({"context_management": [{"type": "compaction"}], "image": {"x": 1}}, "context_management, image"),
    ({"access_programs": {"cyber": "standard"}, "a_field_of_next_year": {}}, "access_programs, a_field_of_next_year"),
]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "previous response": ({"previous_response_id": "resp_1"}, "previous_response_id"),
    "background as a number": ({"background": 0}, "background"),
    "conversation": ({"conversation": "conv_1"}, "conversation"),
    "background": ({"background": True}, "background"),
    "prompt": ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    "required tool": ({"tool_choice": "required"}, "tool_choice"),
    "named tool": ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
    "one of some tools": ({"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}}, "tool_choice"),
    "schema": ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}, "text.format"),
    "object": ({"text": {"format": {"type": "json_object"}}}, "text.format"),
    "model": ({"model": "gpt-4o"}, "model"),
    "temperature": ({"temperature": 9}, "temperature"),
    "bound": ({"max_output_tokens": 0}, "max_output_tokens"),
    "effort": ({"reasoning": {"effort": "vast"}}, "reasoning.effort"),
    "instructions": ({"instructions": "n" * 4_001}, "instructions"),
    "kind of instructions": ({"instructions": 7}, "instructions"),
    "session": ({"metadata": {"session_id": ""}}, "metadata.session_id"),
    "stream option": (
        {"stream_options": {"include_obfuscation": True, "includ_usage": True}},
        "stream_options.includ_usage",
    ),
    "kind of stream options": ({"stream_options": 7}, "stream_options"),
}
LISTS: dict[str, tuple[Callable[[str], object], str]] = {
    "no role": (lambda text: [{"type": "message", "content": text}], "input[0].role"),
    "no content": (lambda text: [{"role": "user", "content": text}, {"role": "user"}], "input[1].content"),
    "number": (lambda text: [7, {"role": "user", "content": text}], "input[0]"),
    "no list": (lambda text: {"role": "user", "content": text}, "input"),
    "too long": (lambda text: text + "." * 32_001, "input"),
    "note after": (
        lambda text: [{"role": "user", "content": text}, {"role": "developer", "content": "n" * 4_001}],
        "input[1].content",
    ),
    "image after": (
        lambda text: [{"role": "user", "content": text}, {"role": "user", "content": [{"type": "input_image"}]}],
        "input",
    ),
}


@pytest.mark.parametrize("strict", [False, True])
def test_what_asks_for_nothing_is_accepted(serving: Serving, strict: bool) -> None:
    with serving(strict_parameters=strict) as served:
        for name, value in NEUTRAL.items():
            answer = ask(served, **{name: value})
            assert told(answer)["store"] is False, name
            assert IGNORED not in answer.headers


@pytest.mark.parametrize(("fields", "names"), IN_VAIN)
def test_what_changes_nothing_is_named(served: Served, fields: dict[str, Any], names: str) -> None:
    """Of a crisis, which is answered whatever else is wrong, too."""
    for said, more in (("hello there", {}), (CRISIS, {}), (CRISIS, {"temperature": 9}), ("hello", {"stream": True})):
        answer = ask(served, said, **fields, **more)
        assert (answer.status_code, answer.headers[IGNORED]) == (200, names)


def test_a_strict_policy_refuses_it_by_name(serving: Serving) -> None:
    with serving(strict_parameters=True) as served:
        for fields, names in IN_VAIN:
            answer = ask(served, **fields)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, names.split(", ")[0])
            assert IGNORED not in answer.headers
            assert told(ask(served, CRISIS, **fields))["psychechat"]["reason"] == "crisis"


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_by_name(served: Served, name: str) -> None:
    more, param = REFUSED[name]
    answer = ask(served, **more)
    assert (answer.status_code, answer.json()["error"]["param"]) == (404 if param == "model" else 400, param)
    assert "messages" not in answer.json()["error"]["message"] or name == "instructions"  # those of the operator


@pytest.mark.parametrize("name", LISTS)
def test_items_are_refused_by_their_place(served: Served, name: str) -> None:
    said, param = LISTS[name]
    answer = ask(served, said("hello there"))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert "hello there" not in answer.text


@pytest.mark.parametrize("said", [[], None, "", " ", [{"role": "assistant", "content": "x"}], [{"type": "reasoning"}]])
def test_without_a_line_of_the_seekers_there_is_no_turn(served: Served, said: object) -> None:
    answer = ask(served, said)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("input")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", [*REFUSED, *LISTS])
def test_a_crisis_is_answered_whatever_is_wrong(served: Served, name: str, stream: bool) -> None:
    said: object = CRISIS
    more: dict[str, Any] = {}
    if name in LISTS:
        said = LISTS[name][0](CRISIS)
    else:
        more = REFUSED[name][0]
    answer = ask(served, said, stream=stream, **more)
    body = whole(events(answer)) if stream else told(answer)
    assert body["psychechat"]["reason"] == "crisis"
    assert "findahelpline.com" in text_of(body)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"model": "psychechat", "input": CRISIS})[:-2],
        json.dumps([{"role": "user", "content": CRISIS}]),
        json.dumps({"model": "psychechat", "messages": [{"role": "user", "content": CRISIS}]}),
        json.dumps({"model": "psychechat", "input": [{"role": "user", "content": CRISIS}], "metadata": 7, "n": 0}),
    ],
)
def test_a_crisis_is_answered_however_broken_the_body(served: Served, content: str) -> None:
    body = told(served.http.post(PATH, content=content, headers={"content-type": "application/json"}))
    assert body["psychechat"]["reason"] == "crisis"


# ------------------------------------------------------------------------------------------- what goes wrong


def test_a_long_conversation_is_named_as_the_input(serving: Serving) -> None:
    with serving(ScriptedGenerator(context_length=50)) as served:
        answer = ask(served, "a word " * 40)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "input")


def test_an_error_before_the_first_words_keeps_its_status_in_a_stream(serving: Serving) -> None:
    with serving(ScriptedGenerator({StageName.REPLY: [EngineUnavailable("The engine is restarting.")]})) as served:
        answer = ask(served, stream=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")


class _Stands(ScriptedGenerator):
    async def generate(self, *_: object) -> AsyncGenerator[Delta, None]:
        await asyncio.Event().wait()
        yield Delta("")


def test_a_stream_that_breaks_ends_with_the_failure_and_nothing_else(serving: Serving) -> None:
    limits = {"keep_alive_seconds": 0.02, "turn_seconds": 0.5}
    with serving(_Stands(), limits=limits) as served, served.client() as client:
        answer = ask(served, stream=True)
        found = events(answer)
        with client.responses.stream(model="psychechat", input="hello there") as stream:
            kinds = [event.type for event in stream]
            with pytest.raises(RuntimeError, match="completed"):
                stream.get_final_response()
    assert [event["type"] for event in found] == [*ORDER[:4], "response.failed"] == kinds
    failed = found[-1]["response"]
    assert (failed["status"], failed["error"]["code"], failed["output"]) == ("failed", "server_error", [])
    assert "time is up" in failed["error"]["message"]
    assert answer.text.count(": keep-alive") > 1
    assert "[DONE]" not in answer.text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["psychechat-llm", "psychechat-agent"])
def test_a_client_that_leaves_stops_the_engine(serving: Serving, model: str, stream: bool) -> None:
    slow = ScriptedGenerator(seconds_per_word=60)
    with serving(slow) as served:
        with served.left(PATH, {"model": model, "input": "hello there", "stream": stream}):
            wait_for(lambda: slow.running == 1)
        wait_for(lambda: slow.running == 0)
        wait_for(lambda: served.held("generation") == 0)


# ------------------------------------------------------------------------------------------- headers, keys, tasks


def test_headers_are_as_for_chat(serving: Serving) -> None:
    with serving(ScriptedGenerator(seconds_per_word=60)) as served:
        late = ask(served, headers={"x-request-timeout": "0.1"})
        wrong = ask(served, headers={"x-session-id": ""})
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "x-session-id")
    with serving() as served:
        assert told(ask(served, headers={"x-session-id": "one"}))["psychechat"]["session"] == "one"
        metrics = served.http.get("/metrics").text
    assert f'psychechat_http_requests_total{{route="{PATH}",status="200"}} 1.0' in metrics


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "x-request-id": "req-7"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", ["I am so sad", CRISIS])
def test_a_browser_sees_nothing_that_was_found_out(serving: Serving, text: str, stream: bool) -> None:
    """Nor what the page's backend put into `metadata`."""
    with serving(show_reasoning=True) as served:
        served.keyring = Keyring({"page": hashlib.sha256(b"page").hexdigest()}, minimal={"page"})
        answer = ask(served, text, stream=stream, metadata={"ward": "north"}, headers=_bearer("page"))
    body = whole(events(answer)) if stream else told(answer)
    assert set(body["psychechat"]) == {"request_id", "resources", "finish_reasons"}
    assert body["psychechat"]["request_id"] == "req-7"
    assert body["metadata"] == {}
    assert not any(f'"{word}"' in answer.text for word in ("emotions", "valence", "risk", "mode", "session", "north"))


TITLE = "Name this talk.\n<talk>\n{{history}}\n</talk>"
TASKS = {"templates": [{"kind": "title", "text": TITLE, "returns": {"title": "text"}}], "model": "psychechat-tasks"}


@pytest.mark.parametrize("more", [{}, {"text": {"format": {"type": "json_object"}}}, {"stream": True}])
def test_a_template_is_a_task(serving: Serving, more: dict[str, Any]) -> None:
    """Also where the page wants an object, which a turn does not give."""
    title = TITLE.replace("{{history}}", "USER: I planted tulips.\nASSISTANT: Where?")
    with serving(ScriptedGenerator({StageName.REPLY: ["Tulips"]}), tasks=TASKS) as served:
        answer = ask(served, title, **more)
    body = whole(events(answer)) if "stream" in more else told(answer)
    assert (text_of(body), body["psychechat"]["task"]) == ("Tulips", "title")


def test_a_key_for_tasks_asks_for_tasks_here_too(serving: Serving) -> None:
    keys = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("page", "page-tasks")}
    with serving(ScriptedGenerator({StageName.REPLY: ["Tulips"]}), tasks=TASKS) as served:
        served.keyring = Keyring(keys, {"page-tasks": "page"})
        assert told(ask(served, headers=_bearer("page-tasks")))["psychechat"]["task"] == "other"
        assert "task" not in told(ask(served, headers=_bearer("page")))["psychechat"]
        quoted = ask(served, f"Sum up: {CRISIS}", headers=_bearer("page-tasks"), temperature=9)
    assert quoted.status_code == 400  # read, and never a turn


def test_a_hold_is_known_again_though_replies_come_as_their_ids_alone(served: Served) -> None:
    crisis = told(ask(served, stream=False, input="I want to die."))
    said = [
        {"role": "user", "content": "I want to die."},
        {"type": "item_reference", "id": crisis["output"][0]["id"]},
        {"role": "user", "content": "hello there"},
    ]
    assert told(ask(served, stream=False, input=said))["psychechat"]["risk"]["conversation"]["held"]


ODD: dict[str, dict[str, Any]] = {
    "an endless bound": {"input": CRISIS, "max_output_tokens": 10**400},
    "a bound of more than 64 bits": {"input": CRISIS, "max_output_tokens": 2**64},
    "a seeker's item of another type": {"input": [{"type": "reasoning", "role": "user", "content": CRISIS}]},
    "a seeker's call": {"input": [{"type": "x_call", "role": "user", "content": CRISIS}]},
    "text beside nothing": {"input": [{"type": "input_text", "text": CRISIS, "content": None}]},
    "text alone": {"input": [{"text": CRISIS}]},
    "text with an id": {"input": [{"id": "x", "text": CRISIS}]},
    "text for content": {"input": [{"type": "message", "role": "user", "text": CRISIS}]},
    "chat's field": {"input": " ", "messages": [{"role": "user", "content": CRISIS}]},
    "a prompt": {"prompt": CRISIS},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_a_crisis_is_answered_wherever_it_stands(served: Served, name: str, stream: bool) -> None:
    answer = served.http.post("/v1/responses", json={"model": "psychechat", "stream": stream, **ODD[name]})
    body = whole(events(answer)) if stream else told(answer)
    assert "findahelpline.com" in text_of(body)


def test_an_id_may_be_anything(served: Served) -> None:
    nested: Any = "x"
    for _ in range(900):
        nested = [nested]
    said = [{"type": "item_reference", "id": nested}, {"role": "user", "content": CRISIS}]
    assert "findahelpline.com" in text_of(told(ask(served, said, stream=False)))
