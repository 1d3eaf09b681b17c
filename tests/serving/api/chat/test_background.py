"""Background tasks of chat pages over HTTP: what is one, and what stays a turn."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import openai
import pytest

from psychechat.api.http.auth import Keyring
from psychechat.conversation import CrisisTurn
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


class Told:
    """The events that were raised."""

    def __init__(self) -> None:
        self.turns: list[CrisisTurn] = []

    def escalate(self, turn: CrisisTurn) -> None:
        self.turns.append(turn)


DIE = "USER: I want to die\nASSISTANT: Stay."
ASKS: dict[str, dict[str, Any]] = {
    "template": asked(title(DIE)),
    "model": asked(DIE, model="psychechat-tasks"),
    "key": asked(DIE),
}


@pytest.fixture
def tasks_only(serving: Serving) -> Iterator[tuple[Served, Told]]:
    """Served to the keys `page` and `page-tasks`."""
    keys = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("page", "page-tasks")}
    with serving(generator(), tasks=TASKS) as served:
        served.keyring = Keyring(keys, {"page-tasks": "page"})
        served.pipeline.escalations = told = Told()
        yield served, told


def post(served: Served, way: str, body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {'page-tasks' if way == 'key' else 'page'}"}
    return served.http.post("/v1/chat/completions", json=body, headers=headers)


@pytest.mark.parametrize("way", ASKS)
@pytest.mark.parametrize(
    "more",
    [{"response_format": {"type": "json_object"}}, {"tools": [{"type": "function"}], "verbosity": "low"}],
    ids=["response_format", "tools"],
)
def test_what_nothing_here_supports_is_left_out_of_a_task(
    tasks_only: tuple[Served, Told], way: str, more: dict[str, Any]
) -> None:
    served, told = tasks_only
    reply = post(served, way, {**ASKS[way], **more}).json()
    assert "task" in reply["psychechat"]
    assert reply["choices"][0]["message"]["content"] == "Tulips"
    assert [(turn.tenant, turn.answered) for turn in told.turns] == [("page", "unanswered")]


@pytest.mark.parametrize("way", ASKS)
@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"temperature": 9}, "temperature"),
        ({"max_tokens": -1, "response_format": {"type": "json_object"}}, "response_format"),
        ({"temperatur": 1}, "temperatur"),
    ],
    ids=lambda case: next(iter(case)) if isinstance(case, dict) else "",
)
def test_a_task_that_breaks_a_rule_is_refused_and_never_a_turn(
    tasks_only: tuple[Served, Told], way: str, more: dict[str, Any], param: str
) -> None:
    served, told = tasks_only
    for _ in range(2):
        answer = post(served, way, {**ASKS[way], **more})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
    (event,) = told.turns
    assert (event.tenant, event.answered, event.conversation.newest) == ("page", "unanswered", "I want to die")
    assert served.generator.prompts == []


def test_a_task_of_a_crisis_that_a_turn_had_raises_nothing_when_it_is_refused(
    tasks_only: tuple[Served, Told],
) -> None:
    served, told = tasks_only
    assert post(served, "page", asked("I want to die")).json()["psychechat"]["reason"] == "crisis"
    assert post(served, "template", {**ASKS["template"], "temperature": 9}).status_code == 400
    assert [turn.answered for turn in told.turns] == ["reply"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({**ASKS["key"], "model": "no-such-model"}, 404, id="an unknown model"),
        pytest.param({"model": "psychechat", "messages": "I want to die"}, 400, id="no list"),
        pytest.param(["I want to die"], 400, id="no object"),
        pytest.param({"model": "psychechat", "messages": [{"role": "user", "content": {}}]}, 400, id="no words"),
    ],
)
def test_whatever_comes_with_a_key_for_tasks_is_no_turn(
    tasks_only: tuple[Served, Told], body: Any, status: int
) -> None:
    served, told = tasks_only
    answer = post(served, "key", body)
    assert answer.status_code == status
    assert [turn.answered for turn in told.turns] == ["unanswered"] * ("die" in str(body))


def test_a_template_beside_an_image_is_a_turn_where_it_breaks_a_rule_too(tasks_only: tuple[Served, Told]) -> None:
    served, _ = tasks_only
    image = {"type": "image_url", "image_url": {"url": "data:,x"}}
    body = asked("", temperature=9)
    body["messages"][0]["content"] = [{"type": "text", "text": title(DIE)}, image]
    assert post(served, "page", body).json()["psychechat"]["reason"] == "crisis"


def test_a_task_is_refused_for_load(serving: Serving) -> None:
    with serving(generator(), tasks=TASKS, quota={"turns_per_minute": 1}) as served:
        assert served.http.post("/v1/chat/completions", json=asked(title())).status_code == 200
        answer = served.http.post("/v1/chat/completions", json=asked(title("USER: I want to die")))
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
