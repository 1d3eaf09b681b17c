"""Fields that nothing here reads: ignored and named, refused where they are misspelt or the policy is strict."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from psychechat.api.chat.protocol import ChatRequest
from psychechat.api.http.body import unread
from psychechat.api.texts.protocol import ClassifyRequest, ModerationRequest
from psychechat.engines.base import StageName
from psychechat.errors import InvalidRequest

Serving = Callable[..., AbstractContextManager[Any]]
CHAT = "/v1/chat/completions"
HEADER = "x-psychechat-ignored"
OF_OTHERS = {"ignore_eos": True, "keep_alive": "5m", "best_of": 2}
STREAM = {"stream": True, "stream_options": {"continuous_usage_stats": True}}
VAIN: list[tuple[dict[str, Any], str]] = [
    (OF_OTHERS, "ignore_eos, keep_alive, best_of"),
    ({"tools": [{"type": "function"}, 7], "tool_choice": "auto", "parallel_tool_calls": True}, "tools"),
    ({"tools": 7, "parallel_tool_calls": False}, "tools, parallel_tool_calls"),
    ({"functions": [None], "function_call": "none"}, "functions"),
    ({"store": True, "logit_bias": {"1": 2}, "verbosity": "low"}, "store, logit_bias, verbosity"),
    ({"prediction": {"type": "content"}, "web_search_options": {}}, "prediction, web_search_options"),
    ({"prompt_cache_retention": "24h", "prompt_cache_options": {}}, "prompt_cache_retention, prompt_cache_options"),
    ({"prompt_cache_key": 7, "audio": {}}, "prompt_cache_key, audio"),
    ({"service_tier": "fast", "thinking": {"type": "enabled"}}, "service_tier, thinking"),
    (STREAM | {"include_obfuscation": 1}, "stream_options.continuous_usage_stats, include_obfuscation"),
    ({"to0ls": [], "metadata": {"mood": "x"}}, "to0ls"),
    ({"mode": "instruct", "models": ["a"], "top_a": 0.2, "k": 1}, "mode, models, top_a, k"),
]


@pytest.fixture(scope="module")
def strict(serving_module: Serving) -> Iterator[Any]:
    with serving_module(strict_parameters=True) as served:
        yield served


def said(text: str = "hello there", more: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"model": "psychechat", "messages": [{"role": "user", "content": text}], **(more or {})}


def post(served: Any, body: dict[str, Any], path: str = CHAT) -> httpx.Response:
    answer: httpx.Response = served.http.post(path, json=body)
    return answer


@pytest.mark.parametrize(("fields", "names"), VAIN)
def test_what_is_not_read_is_named_in_a_header(served: Any, fields: dict[str, Any], names: str) -> None:
    for text in ("hello there", "I want to die"):
        answer = post(served, said(text, fields))
        assert (answer.status_code, answer.headers[HEADER]) == (200, names)
        assert answer.text.endswith("[DONE]\n\n") or answer.json()["choices"][0]["message"]["content"]


def test_streams_tasks_and_answers_of_a_refused_crisis_have_the_header(served: Any) -> None:
    streamed = post(served, said() | STREAM | OF_OTHERS)
    rescued = post(served, said("I want to die", {"temperature": 9, "moderaton": {}, **OF_OTHERS}))
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert rescued.json()["psychechat"]["reason"] == "crisis"
    assert streamed.headers[HEADER] == "stream_options.continuous_usage_stats, ignore_eos, keep_alive, best_of"
    assert rescued.headers[HEADER] == "moderaton, ignore_eos, keep_alive, best_of"


def test_what_asks_for_nothing_is_not_named(served: Any) -> None:
    neutral: dict[str, Any] = {
        "tools": [],
        "functions": None,
        "logit_bias": {},
        "store": False,
        "verbosity": "medium",
        "service_tier": "default",
        "parallel_tool_calls": True,
        "prompt_cache_key": None,
        "top_k": -1,
    }
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{}]}}
    answer = post(
        served, said() | {"tool_choice": allowed, "modalities": ["text"], "chat_template_kwargs": {"a": 1}} | neutral
    )
    assert answer.status_code == 200
    assert HEADER not in answer.headers


def test_no_words_come_back_in_the_header(served: Any) -> None:
    strange = {"I told nobody": 1, "\r\nx-evil: 1": 1, "a" * 65: 1, "é": 1, "": 1, "fine.name-1": 1}
    assert post(served, said() | strange).headers[HEADER] == "fine.name-1, +5"


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/moderations"])
def test_texts_are_as_lenient(served: Any, strict: Any, path: str) -> None:
    body = {"input": "hello", "user": "u", "encoding_format": "float"}
    answer = post(served, body, path)
    assert (answer.status_code, answer.headers[HEADER]) == (200, "user, encoding_format")
    refused = post(strict, body, path)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "user")
    assert HEADER not in refused.headers
    assert post(strict, {"input": "hello"}, path).status_code == 200


def test_a_stream_of_classifications_has_the_header(served: Any) -> None:
    assert post(served, {"input": ["a", "b"], "stream": True, "user": "u"}, "/v1/classify").headers[HEADER] == "user"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("moderaton", "moderation"),
        ("moderations", "moderation"),
        ("Moderation", "moderation"),
        ("modreation", "moderation"),
        ("noderation", "moderation"),
        ("meta-data", "metadata"),
        ("safety-identifier", "safety_identifier"),
        ("maxTokens", "max_tokens"),
    ],
)
def test_a_slip_in_one_of_our_names_is_refused(served: Any, name: str, meant: str) -> None:
    answer = post(served, said() | {name: {"model": "m"}})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name
    assert answer.json()["error"]["message"] == f"Unknown parameter: '{name}'. Did you mean '{meant}'?"
    assert HEADER not in answer.headers
    assert post(served, said("I want to die", {name: 1})).json()["psychechat"]["reason"] == "crisis"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("local", "locale"),
        ("locales", "locale"),
        ("Locale", "locale"),
        ("lcoale", "locale"),
        ("sesion_id", "session_id"),
        ("session-id", "session_id"),
        ("sessionId", "session_id"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/responses"])
def test_a_slip_in_a_name_of_ours_in_the_metadata_is_refused(served: Any, path: str, name: str, meant: str) -> None:
    """Else the seeker reads another country's hotlines, or nothing is remembered. In a crisis it is named instead."""
    more = {"metadata": {"team": "b", name: "en-US"}}
    answer, crisis = (
        post(served, said(text, more) if path == CHAT else {"model": "psychechat", "input": text, **more}, path)
        for text in ("hello there", "I want to die")
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, f"metadata.{name}")
    expected = f"Unknown parameter: 'metadata.{name}'. Did you mean 'metadata.{meant}'?"
    assert answer.json()["error"]["message"] == expected
    assert crisis.json()["psychechat"]["reason"] == "crisis"
    assert crisis.headers[HEADER] == f"metadata.{name}"


def test_other_names_in_the_metadata_are_free(served: Any, strict: Any) -> None:
    more = {"metadata": {"locale": "en-GB", "session_id": "s", "team": "b", "location": "x", "id": "7"}}
    for server in (served, strict):
        answer = post(server, said(more=more))
        assert answer.status_code == 200
        assert HEADER not in answer.headers


@pytest.mark.parametrize("name", ["mooderatiion", "modrtion", "nm", "min_tokens", "prompt_cache", "mоderation"])
def test_two_slips_are_another_name(name: str) -> None:
    """The last one has a letter that only looks like ours."""
    unread.check(ChatRequest.model_validate(said() | {name: 1}), strict=False)


@pytest.mark.parametrize("kind", [ChatRequest, ClassifyRequest, ModerationRequest])
def test_every_name_of_ours_is_guarded(kind: Any) -> None:
    body = said() if kind is ChatRequest else {"input": "x"}
    for name in kind.model_fields:
        if name != "n":
            with pytest.raises(InvalidRequest, match=f"'{name}'"):
                unread.check(kind.model_validate(body | {name.upper(): 1}), strict=False)


@pytest.mark.parametrize(("fields", "names"), VAIN)
def test_a_strict_policy_refuses_what_is_not_read(strict: Any, fields: dict[str, Any], names: str) -> None:
    answer = post(strict, said() | fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == names.split(", ")[0]
    assert HEADER not in answer.headers
    crisis = said("I want to die", fields | {"stream": False, "stream_options": None})
    assert post(strict, crisis).json()["psychechat"]["reason"] == "crisis"


def test_a_strict_policy_lets_what_asks_for_nothing_pass(strict: Any) -> None:
    neutral: dict[str, Any] = {
        "tools": [],
        "functions": [],
        "logit_bias": {},
        "store": False,
        "tool_choice": "auto",
        "audio": None,
    }
    assert post(strict, said() | neutral).status_code == 200
    unsafe = post(strict, said() | {"no name": 1})
    assert (unsafe.status_code, unsafe.json()["error"]["param"]) == (400, None)
    assert "no name" not in unsafe.text


@pytest.mark.parametrize(
    ("model", "stage"), [("psychechat-llm", StageName.REPLY), ("psychechat-agent", StageName.DRAFT)]
)
def test_the_sampling_of_other_servers_reaches_what_the_seeker_reads(
    serving: Serving, model: str, stage: StageName
) -> None:
    with serving() as served:
        asked = {"top_k": 7, "min_p": 0.1, "repetition_penalty": 1.1}
        assert HEADER not in post(served, said() | asked | {"model": model}).headers
        assert post(served, said() | {"model": model, "top_k": -1}).status_code == 200
        sampled: dict[StageName, list[tuple[int | None, float | None, float | None]]] = {name: [] for name in StageName}
        for name, _, sampling, _ in served.generator.prompts:
            sampled[name].append((sampling.top_k, sampling.min_p, sampling.repetition_penalty))
    assert sampled.pop(stage) == [(7, 0.1, 1.1), (0, None, None)]
    assert {told for others in sampled.values() for told in others} <= {(None, None, None)}
