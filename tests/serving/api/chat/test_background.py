"""Background tasks of chat pages over HTTP: what is one, and what stays a turn."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import openai
import pytest

from psychechat.api.http.auth import Keyring
from psychechat.engines.base import StageName
from psychechat.engines.scripted import ScriptedGenerator
from tests.serving.api.conftest import Served

Serving = Callable[..., AbstractContextManager[Served]]
TITLE = "Name this talk.\n<talk>\n{{history}}\n</talk>"
CALM = "USER: I planted tulips.\nASSISTANT: Where?"
TASKS = {"templates": [{"kind": "title", "text": TITLE, "returns": {"title": "text"}}], "model": "psychechat-tasks"}


def generator() -> ScriptedGenerator:
    return ScriptedGenerator({StageName.REPLY: ["Tulips"]})


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "psychechat", "messages": [{"role": "user", "content": text}], **more}


def title(history: str = CALM) -> str:
    return TITLE.replace("{{history}}", history)


@pytest.mark.parametrize("model", ["psychechat", "psychechat-agent", "psychechat-llm", "psychechat-tasks"])
def test_a_template_is_answered_plainly_whatever_model_it_names(serving: Serving, model: str) -> None:
    with serving(generator(), tasks=TASKS) as served:
        reply = served.client().chat.completions.create(
            model=model, messages=[{"role": "user", "content": title()}], max_completion_tokens=1000
        )
        assert reply.choices[0].message.content == "Tulips"
        found = reply.model_extra["psychechat"]  # type: ignore[index]
        assert (found["task"], found["reason"], found["review"]["rounds"]) == ("title", "task", 0)
        assert [stage for stage, *_ in served.generator.prompts] == ["reply"]
        assert (
            served.http.get("/metrics").text.count('psychechat_tasks_total{kind="title",outcome="answered"} 1.0') == 1
        )


def test_a_streamed_task(serving: Serving) -> None:
    with serving(generator(), tasks=TASKS) as served:
        chunks = list(
            served.client().chat.completions.create(
                model="psychechat", messages=[{"role": "user", "content": title()}], stream=True
            )
        )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Tulips"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].model_extra["psychechat"]["task"] == "title"  # type: ignore[index]


def test_words_outside_the_history_are_a_seekers(serving: Serving) -> None:
    with serving(generator(), tasks=TASKS) as served:
        reply = served.http.post("/v1/chat/completions", json=asked(title() + " I want to die.")).json()
        assert "task" not in reply["psychechat"]
        assert reply["psychechat"]["reason"] == "crisis"
        assert served.generator.prompts[0][0] == "emotion"


def test_a_turn_has_no_task(serving: Serving) -> None:
    with serving(generator(), tasks=TASKS) as served:
        assert "task" not in served.http.post("/v1/chat/completions", json=asked("hello there")).json()["psychechat"]


def test_the_reserved_model_takes_any_messages(serving: Serving) -> None:
    body = asked("I planted tulips.\n\nGive it a title", model="psychechat-tasks")
    body["messages"].insert(0, {"role": "developer", "content": "You name talks."})
    with serving(generator(), tasks=TASKS) as served:
        reply = served.http.post("/v1/chat/completions", json=body).json()
        assert (reply["psychechat"]["task"], reply["choices"][0]["message"]["content"]) == ("other", "Tulips")
        assert [message.role for message in served.generator.prompts[0][1]] == ["system", "user"]
        body["messages"] = body["messages"][:1]
        answer = served.http.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")


def test_the_reserved_model_is_only_where_the_policy_has_one(serving: Serving) -> None:
    with serving(tasks=TASKS) as served:
        assert "psychechat-tasks" in [model["id"] for model in served.http.get("/v1/models").json()["data"]]
        assert served.http.get("/v1/models/psychechat-tasks").status_code == 200
    with serving() as served:
        assert "psychechat-tasks" not in [model["id"] for model in served.http.get("/v1/models").json()["data"]]
        assert served.http.get("/v1/models/psychechat-tasks").status_code == 404
        with pytest.raises(openai.NotFoundError):
            served.client().chat.completions.create(
                model="psychechat-tasks", messages=[{"role": "user", "content": "hello there"}]
            )


def test_a_reserved_key_takes_any_messages_and_acts_for_the_key_of_the_page(serving: Serving) -> None:
    keys = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("page", "page-tasks")}
    with serving(generator()) as served:
        served.keyring = Keyring(keys, {"page-tasks": "page"})
        heard = {
            key: served.http.post(
                "/v1/chat/completions", json=asked("hello there"), headers={"authorization": f"Bearer {key}"}
            ).json()["psychechat"]
            for key in keys
        }
        assert heard["page-tasks"]["task"] == "other"
        assert "task" not in heard["page"]
        assert [call.tenant_salt for *_, call in served.generator.prompts] == ["page", "page"]


def test_too_long_for_a_message_is_no_task(serving: Serving) -> None:
    with serving(generator(), tasks=TASKS, limits={"message_characters": 150}) as served:
        for model in ("psychechat", "psychechat-tasks"):
            answer = served.http.post("/v1/chat/completions", json=asked(title("USER: " + "tulip " * 200), model=model))
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "string_above_max_length")


def test_a_task_is_refused_for_load(serving: Serving) -> None:
    with serving(generator(), tasks=TASKS, quota={"turns_per_minute": 1}) as served:
        assert served.http.post("/v1/chat/completions", json=asked(title())).status_code == 200
        answer = served.http.post("/v1/chat/completions", json=asked(title("USER: I want to die")))
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
