"""A server at capacity, as clients meet it: what is refused and how, and what never is."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import openai
import pytest

from psychechat.engines.base import Message, StageName
from psychechat.engines.scripted import ScriptedGenerator
from tests.serving.api.conftest import Served

Serving = Callable[..., AbstractContextManager[Served]]
URL = "/v1/chat/completions"


def body(text: str = "I went for a walk", **more: Any) -> dict[str, Any]:
    return {"model": "psychechat-llm", "messages": [{"role": "user", "content": text}], **more}


HOLD = "tell me a long story"


def reply(messages: Sequence[Message]) -> str:
    words = "and then " * 500 if HOLD in messages[-2].content else "What was it like?"
    return f"<think>brief</think>\n\n{words}"


@pytest.fixture(scope="module")
def full(serving_module: Serving) -> Iterator[Served]:
    """Three turns run, for as long as the tests do. The fourth place is kept for a crisis."""
    generator = ScriptedGenerator({StageName.REPLY: [reply]}, seconds_per_word=0.1)
    policy = {"admission": {"generation_seconds": 0.1}, "limits": {"keep_alive_seconds": 0.02}}
    with serving_module(generator, max_sequences=4, **policy) as served, ExitStack() as open_streams:
        for _ in range(3):
            stream = open_streams.enter_context(served.http.stream("POST", URL, json=body(HOLD, stream=True)))
            assert stream.status_code == 200
        yield served


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_turn_is_a_429_that_says_when_to_come_back(full: Served, stream: bool) -> None:
    """Also for a stream that waited longer than a keep-alive: no event leaves before the turn is let in."""
    response = full.http.post(URL, json=body(stream=stream))
    assert response.status_code == 429
    assert response.json()["error"]["code"] == "rate_limit_exceeded"
    assert response.json()["error"]["type"] == "rate_limit_error"
    assert int(response.headers["retry-after"]) >= 1
    assert int(response.headers["retry-after-ms"]) >= 1000
    assert "x-should-retry" not in response.headers


def test_the_official_client_raises_its_own_error_for_it(full: Served) -> None:
    with full.client() as client, pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**body())


@pytest.mark.parametrize("stream", [False, True])
def test_a_crisis_is_answered_at_once_by_what_is_kept_for_it(full: Served, stream: bool) -> None:
    response = full.http.post(URL, json=body("I want to die", stream=stream))
    assert response.status_code == 200
    assert "findahelpline.com" in response.text
    assert "content_filter" not in response.text  # a reply of the model's, not the safe template


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/v1/models"])
def test_probes_and_metrics_wait_for_nobody(full: Served, path: str) -> None:
    def waits() -> list[float | None]:
        value = full.pipeline.metrics.registry.get_sample_value
        lanes = (("classification", "classifier"), ("generation", "counselor"))
        return [value("psychechat_wait_seconds_count", {"lane": lane, "engine": engine}) for lane, engine in lanes]

    before = waits()
    assert full.http.get(path).status_code == 200
    assert waits() == before


def test_metrics_show_who_holds_and_who_was_refused(full: Served) -> None:
    full.http.post(URL, json=body())
    text = full.http.get("/metrics").text
    assert 'psychechat_permits{engine="counselor",lane="generation",state="held"} 3.0' in text
    assert 'psychechat_refusals_total{cause="late",engine="counselor",lane="generation"}' in text


def test_a_key_beyond_its_quota_hears_which(serving: Serving) -> None:
    with serving(quota={"turns_per_minute": 2}) as served:
        statuses = [served.http.post(URL, json=body()).status_code for _ in range(3)]
        refused = served.http.post(URL, json=body())
        crisis = served.http.post(URL, json=body("I want to die"))
    assert statuses == [200, 200, 429]
    assert refused.json()["error"]["message"] == "This key's limit of 2 turns a minute is reached."
    assert int(refused.headers["retry-after"]) <= 60
    assert crisis.status_code == 200


def test_texts_to_classify_wait_at_the_same_door(serving: Serving) -> None:
    with serving(admission={"tokens": 8, "door_seconds": 0.1}) as served:
        texts = {"input": ["a lovely day"] * 300}
        answered = served.http.post("/v1/classify", json=texts)
    assert answered.status_code == 200
    assert len(answered.json()["data"]) == 300


def test_a_keys_tokens_are_used_up_by_texts_too(serving: Serving) -> None:
    with serving(quota={"tokens_per_minute": 50}) as served:
        statuses = [served.http.post("/v1/classify", json={"input": ["word " * 60]}).status_code for _ in range(2)]
    assert statuses == [200, 429]


def test_a_bulk_request_of_long_texts_does_not_keep_a_turn_out(serving: Serving) -> None:
    """Each text is more than the classifier's lane; turns find room beside them."""
    with serving(admission={"tokens": 64, "door_seconds": 0.2}) as served:
        answered = served.http.post("/v1/classify", json={"input": ["a lovely day " * 100] * 8})
        assert answered.status_code == 200
        assert served.http.post(URL, json=body()).status_code == 200
