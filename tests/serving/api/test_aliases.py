"""More names of the models: listed, taken wherever a name is, and said in the answer."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from pydantic import ValidationError

from psychechat.api.http.auth import Keyring
from psychechat.policy import Policy
from tests.serving.api.http.test_auth import bearer, hashes

Serving = Callable[..., AbstractContextManager[Any]]
CHAT = "/v1/chat/completions"
ALIASES = {
    "gpt-4o": "psychechat",
    "openai/gpt-4.1": "psychechat-llm",
    "qwen3:8b": "psychechat-agent",
    "gpt-4o-mini": "psychechat-tasks",
}


@pytest.fixture(scope="module")
def named(serving_module: Serving) -> Iterator[Any]:
    with serving_module(aliases=ALIASES, tasks={"model": "psychechat-tasks"}) as served:
        yield served


def ask(served: Any, model: object, text: str = "I am happy", key: str | None = None, **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return served.http.post(CHAT, json=body, headers=bearer(key) if key else {})


def test_they_are_listed_beside_the_others(named: Any) -> None:
    listed = [model["id"] for model in named.http.get("/v1/models").json()["data"]]
    assert listed == ["psychechat", "psychechat-agent", "psychechat-llm", "psychechat-tasks", *ALIASES]
    for name in listed:
        assert named.http.get(f"/v1/models/{name}").json()["id"] == name
    assert named.http.get("/v1/models/openai%2Fgpt-4.1").json()["id"] == "openai/gpt-4.1"
    assert named.http.get("/v1/models/openai").status_code == 404


@pytest.mark.parametrize(("name", "mode"), [("gpt-4o", "llm"), ("openai/gpt-4.1", "llm"), ("qwen3:8b", "agent")])
def test_an_answer_says_the_name_it_was_asked_by(named: Any, name: str, mode: str) -> None:
    answer = ask(named, name).json()
    assert (answer["model"], answer["psychechat"]["mode"]) == (name, mode)
    events = [line.removeprefix("data: ") for line in ask(named, name, stream=True).text.splitlines() if line]
    assert {json.loads(event)["model"] for event in events[:-1]} == {name}


def test_an_alias_may_what_its_model_may(named: Any) -> None:
    """Several choices are LLM Mode's alone."""
    assert len(ask(named, "openai/gpt-4.1", n=2).json()["choices"]) == 2
    assert ask(named, "qwen3:8b", n=2).status_code == 400


def test_of_background_tasks_too(named: Any) -> None:
    answer = ask(named, "gpt-4o-mini", "Name this conversation.").json()
    assert answer["model"] == "gpt-4o-mini"
    assert answer["psychechat"].keys() == ask(named, "psychechat-tasks", "Name it.").json()["psychechat"].keys()
    assert "task" in answer["psychechat"]


def test_and_under_a_key_for_them(named: Any) -> None:
    named.keyring = Keyring(hashes({"tasks": "psy-tasks"}), {"tasks": "tasks"})
    try:
        assert "task" in ask(named, "gpt-4o", "Name it.", "psy-tasks").json()["psychechat"]
    finally:
        named.keyring = Keyring({})


@pytest.mark.parametrize("name", ["gpt-4o", "openai/gpt-4.1", "qwen3:8b"])
@pytest.mark.parametrize("rule", [{}, {"temperature": 9}, {"n": 99}])
def test_a_crisis_under_an_alias_is_answered(named: Any, name: str, rule: dict[str, Any]) -> None:
    answer = ask(named, name, "I want to die", **rule)
    assert answer.status_code == 200
    assert (answer.json()["model"], answer.json()["psychechat"]["reason"]) == (name, "crisis")


def test_a_crisis_that_a_tasks_alias_quotes_is_no_turn(named: Any) -> None:
    """A rule is broken, so it is refused; and it is read, as under the model's own name."""
    answers = [ask(named, name, "I want to die", temperature=9) for name in ("gpt-4o-mini", "psychechat-tasks")]
    assert [answer.status_code for answer in answers] == [400, 400]


def test_what_is_unknown_is_told_every_name(named: Any) -> None:
    for answer in (ask(named, "gpt-5"), named.http.get("/v1/models/gpt-5")):
        assert answer.status_code == 404
        assert all(name in answer.json()["error"]["message"] for name in ALIASES)
        assert "gpt-5" not in answer.text
    assert ask(named, ["gpt-4o"]).status_code == 400


def test_classify_takes_the_classifiers(named: Any) -> None:
    answer = named.http.post("/v1/classify", json={"input": "a", "model": "gpt-4o"})
    assert (answer.status_code, answer.json()["model"]) == (200, "gpt-4o")
    refused = named.http.post("/v1/classify", json={"input": "a", "model": "qwen3:8b"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


def test_they_may_change_while_turns_run(serving: Serving) -> None:
    with serving() as served:
        assert ask(served, "gpt-4o").status_code == 404
        served.pipeline.policy = Policy.model_validate({"aliases": {"gpt-4o": "psychechat"}})
        assert ask(served, "gpt-4o").status_code == 200


@pytest.mark.parametrize(
    ("aliases", "why"),
    [
        ({"psychechat": "psychechat-llm"}, "own name"),
        ({"tasks": "psychechat"}, "own name"),
        ({"gpt-4o": "psychechat-8b"}, "none of psychechat, psychechat-agent, psychechat-llm, tasks"),
        ({"gpt-4o": "psychechat", "gpt-4": "gpt-4o"}, "none of"),
        ({"gpt 4": "psychechat"}, "pattern"),
        ({"": "psychechat"}, "pattern"),
        ({"a" * 129: "psychechat"}, "pattern"),
    ],
)
def test_an_alias_is_another_name_of_a_model_of_ours(aliases: dict[str, str], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Policy.model_validate({"aliases": aliases, "tasks": {"model": "tasks"}})
