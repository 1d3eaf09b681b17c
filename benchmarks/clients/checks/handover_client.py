"""examples/handover beside a help desk that is played here: a crisis opens the conversation for a person, once."""

import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

CONVERSATION = "/api/v1/accounts/1/conversations"
EVENT = {
    "type": "crisis.detected",
    "session_id": "chatwoot/1/50",
    "request_id": "r",
    "severity": "ideation",
    "kind": None,
}


class Desk(ThreadingHTTPServer):
    """Chatwoot's API, as far as it is asked. Keeps what it was asked, with the token."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", int(os.environ["DESK_PORT"])), Handler)
        self.asked: list[tuple[str, dict[str, Any], str | None]] = []
        self.status = 200

    def of(self, conversation: int) -> list[tuple[str, dict[str, Any]]]:
        path = f"{CONVERSATION}/{conversation}/"
        return [(asked.removeprefix(path), body) for asked, body, _ in self.asked if asked.startswith(path)]


class Handler(BaseHTTPRequestHandler):
    server: Desk

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.server.status == 200:
            self.server.asked.append((self.path, body, self.headers["api_access_token"]))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    played = Desk()
    threading.Thread(target=played.serve_forever, daemon=True).start()
    yield played
    played.shutdown()
    played.server_close()


def ask(words: str, conversation: int) -> str:
    body = {
        "model": "psychechat",
        "messages": [{"role": "user", "content": words}],
        "metadata": {"session_id": f"chatwoot/1/{conversation}"},
    }
    answer = httpx.post(f"{os.environ['PSYCHECHAT_URL']}/v1/chat/completions", json=body, timeout=120)
    content: str = answer.raise_for_status().json()["choices"][0]["message"]["content"]
    return content


def tell(event: dict[str, Any], message: str, secret: str = os.environ["SECRET"]) -> int:
    """As the server does."""
    body, now = json.dumps(event), datetime.now(UTC)
    headers = {
        "webhook-id": message,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, now, body),
    }
    return httpx.post(os.environ["RECEIVER_URL"], content=body, headers=headers, timeout=30).status_code


def test_a_crisis_is_handed_over(desk: Desk) -> None:
    assert "local emergency number" in ask("I want to kill myself tonight.", 42)
    deadline = time.monotonic() + 120  # the receiver may still be starting, and then the server tries again
    while len(desk.of(42)) < 3:
        assert time.monotonic() < deadline, desk.asked
        time.sleep(0.1)
    opened, assigned, noted = desk.of(42)
    assert opened == ("toggle_status", {"status": "open"})
    assert assigned == ("assignments", {"team_id": 7})
    assert noted[1]["private"] is True
    assert "myself" not in str(desk.asked)
    assert {token for _, _, token in desk.asked} == {"of-the-desk"}


def test_what_is_no_crisis_stays_with_the_counselor(desk: Desk) -> None:
    ask("I passed my exam, I am so happy.", 43)
    assert tell({**EVENT, "session_id": "chatwoot/1/43", "type": "drill"}, "msg_drill") == 204
    assert tell({**EVENT, "session_id": "chatwoot/1/43", "type": "crisis.over"}, "msg_over") == 204
    assert desk.of(43) == []


def test_a_message_that_comes_twice_is_handed_over_once(desk: Desk) -> None:
    assert [tell({**EVENT, "session_id": "chatwoot/1/44"}, "msg_twice") for _ in range(2)] == [204, 204]
    assert len(desk.of(44)) == 3


def test_who_has_not_the_secret_hands_nothing_over(desk: Desk) -> None:
    assert (
        tell({**EVENT, "session_id": "chatwoot/1/45"}, "msg_forged", "whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM=")
        == 401
    )
    assert desk.of(45) == []


def test_a_desk_that_is_away_is_asked_again(desk: Desk) -> None:
    desk.status = 502
    assert tell({**EVENT, "session_id": "chatwoot/1/46"}, "msg_away") == 503
    desk.status = 200
    assert tell({**EVENT, "session_id": "chatwoot/1/46"}, "msg_away") == 204
    assert len(desk.of(46)) == 3
