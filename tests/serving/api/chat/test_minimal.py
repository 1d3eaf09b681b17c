"""A key with `fields: minimal`: a page's backend hands answers on to the browser, as they are."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from psychechat.api.http.auth import Keyring
from psychechat.config import Auth
from tests.serving.api.http.test_auth import bearer, hashes

Serving = Callable[..., AbstractContextManager[Any]]

KEYS = {"page": "psy-page", "desk": "psy-desk"}
SAID = {
    "calm": "I went for a walk",
    "sad": "I am so sad",
    "crisis": "I want to kill myself tonight",
}
FOUND = ("emotions", "valence", "shift", "risk", "mode", "reason", "review", "guard", "timings", "session", "kind")
"""Of what is found out about a seeker, or says how an answer came about."""


@pytest.fixture(scope="module")
def paged(serving_module: Serving) -> Iterator[Any]:
    with serving_module(show_reasoning=True) as served:
        keys = {name: {"sha256": digest} for name, digest in hashes(KEYS).items()}
        keys["page"]["fields"] = "minimal"
        served.keyring = Keyring.of(Auth.model_validate({"keys": keys}).read())
        yield served


def ask(paged: Any, key: str, text: str, model: str, **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    answer = paged.http.post("/v1/chat/completions", json=body, headers=bearer(key) | {"x-request-id": "req-7"})
    assert answer.status_code == 200
    return answer


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["psychechat-llm", "psychechat-agent"])
@pytest.mark.parametrize("text", SAID.values(), ids=SAID)
def test_a_browser_sees_nothing_that_was_found_out(paged: Any, text: str, model: str, stream: bool) -> None:
    """Nor the thinking, which speaks about the seeker, even where the policy shows it."""
    answer = ask(paged, "psy-page", text, model, stream=stream)
    whole = answer.text if stream else json.dumps(answer.json())
    assert "reasoning_content" not in whole
    told = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")] or [answer.json()]
    [minimal] = [part["psychechat"] for part in told if "psychechat" in part]
    assert minimal["request_id"] == "req-7"
    assert minimal["finish_reasons"] == ["stop"]
    assert bool(minimal["resources"]) is (text == SAID["crisis"])
    assert set(minimal) == {"request_id", "resources", "finish_reasons"}
    assert not any(f'"{word}"' in whole for word in FOUND)


def test_each_choice_says_how_it_ended(paged: Any) -> None:
    answer = ask(paged, "psy-page", SAID["calm"], "psychechat-llm", n=3)
    assert answer.json()["psychechat"]["finish_reasons"] == ["stop"] * 3


def test_moderation_gives_its_verdict_alone(paged: Any) -> None:
    results = {
        name: paged.http.post("/v1/moderations", json={"input": SAID["crisis"]}, headers=bearer(key)).json()["results"]
        for name, key in KEYS.items()
    }
    assert results["page"][0]["flagged"]
    assert "psychechat" not in results["page"][0]
    assert "psychechat" in results["desk"][0]


def test_another_key_still_hears_all(paged: Any) -> None:
    told = ask(paged, "psy-desk", SAID["sad"], "psychechat-llm").json()
    assert {"emotions", "risk", "session"} <= set(told["psychechat"])
    assert told["choices"][0]["message"]["reasoning_content"]


def test_a_pages_tasks_are_as_the_page() -> None:
    keys = {
        "page": {"sha256": "a" * 64, "fields": "minimal"},
        "tasks": {"sha256": "b" * 64, "tasks": True, "of": "page"},
        "other": {"sha256": "c" * 64, "tasks": True},
    }
    assert Keyring.of(Auth.model_validate({"keys": keys}).read()).minimal == {"page", "tasks"}
