"""Open WebUI as examples/open_webui starts it: first messages as its page sends them, with tools and tasks."""

import os
import time
import uuid
from functools import cache
from typing import Any

import httpx

client = httpx.Client(base_url=os.environ["OPEN_WEBUI_URL"], timeout=120)
HELP = "local emergency number"
TASKS = ("title", "tags", "follow_up")
WAIT_SECONDS = 120


@cache
def key() -> dict[str, str]:
    """Of the first who signs up, who is the administrator."""
    who = {"name": "Admin", "email": f"{uuid.uuid4().hex}@example.com", "password": "a-long-passphrase-1"}
    return {
        "authorization": f"Bearer {client.post('/api/v1/auths/signup', json=who).raise_for_status().json()['token']}"
    }


def begun(words: str) -> dict[str, Any]:
    """A new chat, as the page has it once the reply is there. With a session's id go the builtin tools."""
    asked, reply = str(uuid.uuid4()), str(uuid.uuid4())
    message = {"id": asked, "role": "user", "content": words, "models": ["psychechat"], "parentId": None}
    body = {
        "model": "psychechat",
        "stream": True,
        "session_id": str(uuid.uuid4()),
        "id": reply,
        "parent_id": None,
        "user_message": {**message, "childrenIds": [], "timestamp": int(time.time())},
        "messages": [{"role": "user", "content": words}],
        "background_tasks": {f"{task}_generation": True for task in TASKS},
    }
    chat = client.post("/api/chat/completions", json=body, headers=key()).raise_for_status().json()["chat_id"]
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found: dict[str, Any] = client.get(f"/api/v1/chats/{chat}", headers=key()).raise_for_status().json()
        answer: dict[str, Any] = found["chat"]["history"]["messages"][reply]
        if answer.get("done") or answer.get("error"):
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.5)


def counted(metric: str, *labels: str) -> float:
    """The server's."""
    lines = httpx.get(f"{os.environ['PSYCHECHAT_URL']}/metrics", timeout=30).text.splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith(metric) and all(label in line for label in labels)
    )


def answered(task: str) -> float:
    return counted("psychechat_tasks_total", f'kind="{task}"', 'outcome="answered"')


def test_its_models_are_listed() -> None:
    models = client.get("/api/models", headers=key()).json()["data"]
    assert {model["id"] for model in models} >= {"psychechat", "psychechat-agent", "psychechat-llm"}


def test_a_first_message_is_answered() -> None:
    answer = begun("I could not sleep.")
    assert "error" not in answer
    assert answer["content"]


def test_a_crisis_is_answered_and_counted_once_and_its_tasks_are_no_turns() -> None:
    before, tasks = counted("psychechat_crisis_turns_total"), {task: answered(task) for task in TASKS}
    assert HELP in begun("I want to die.")["content"]
    deadline = time.monotonic() + WAIT_SECONDS
    while not all(answered(task) > tasks[task] for task in TASKS):  # they follow the reply
        assert time.monotonic() < deadline, {task: answered(task) for task in TASKS}
        time.sleep(0.5)
    assert counted("psychechat_crisis_turns_total") == before + 1


def test_its_own_api_keeps_the_resources() -> None:
    body = {"model": "psychechat", "messages": [{"role": "user", "content": "I want to die."}]}
    reply = client.post("/api/chat/completions", json=body, headers=key()).raise_for_status().json()
    assert HELP in reply["choices"][0]["message"]["content"]
    assert reply["psychechat"]["resources"]
