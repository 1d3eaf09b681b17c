"""A crisis on the real server is told to a real receiver."""

import time
from typing import Any

import httpx
import pytest

from tests.support.receiver import Receiver
from tests.support.servers import Server


def _ask(server: Server, text: str, request_id: str, *, timeout: float = 120, **more: Any) -> httpx.Response:
    return httpx.post(
        f"{server.url}/v1/chat/completions",
        json={"model": "psychechat", "messages": [{"role": "user", "content": text}], **more},
        headers={"x-request-id": request_id},
        timeout=timeout,
    )


def _events(receiver: Receiver, request_ids: str, least: int = 1) -> list[dict[str, Any]]:
    """Those of the requests whose ids begin so; waits for so many."""
    deadline = time.monotonic() + 10
    while True:
        events = [delivery.event for delivery in receiver.deliveries]
        told = [event for event in events if event["request_id"].startswith(request_ids)]
        if len(told) >= least or time.monotonic() > deadline:
            return told
        time.sleep(0.05)


def test_a_crisis_is_told_once_a_request_and_signed(server: Server, receiver: Receiver) -> None:
    """The receiver verifies: what is signed otherwise gets a 401 and is not delivered."""
    for request_id in ("told-0", "told-0", "told-1"):
        more: dict[str, Any] = {"metadata": {"locale": "en_US", "session_id": "told"}}
        reply = _ask(server, "I want to kill myself tonight", request_id, **more).json()
        assert "988" in reply["choices"][0]["message"]["content"]
    _ask(server, "I passed my exam, I'm so happy", "told-happy")
    event, again = _events(receiver, "told-", 2)
    assert (event["event"], event["type"], event["kind"]) == ("started", "crisis.detected", "plan_or_means")
    assert (again["id"], again["request_id"]) == (event["id"], "told-1")
    assert event["source"] == "backstop"
    assert event["severity"] in ("ideation", "behavior", "attempt")
    assert event["answered"] in ("reply", "safe_template")
    assert (event["session_id"], event["locale"], event["language"]) == ("told", "en-US", "en")
    assert "myself" not in str(receiver.deliveries)
    metrics = httpx.get(f"{server.url}/metrics", timeout=60).text
    assert 'psychechat_escalations_total{result="delivered"}' in metrics
    assert 'psychechat_escalations_total{result="repeated"}' in metrics
    assert "psychechat_escalations_pending 0.0" in metrics


def test_a_crisis_whose_client_leaves_is_told(server: Server, receiver: Receiver) -> None:
    with pytest.raises(httpx.ReadTimeout):
        _ask(server, "I want to die, it is all too much", "left-1", timeout=0.15, stream=True)
    [event] = _events(receiver, "left-")  # whether the turn was over by then or not
    assert event["source"] == "backstop"
