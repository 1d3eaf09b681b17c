"""`psychechat chat` through the real openai client, against a server in this process that speaks the real format."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from typer.testing import CliRunner, Result

from psychechat.api.chat.rendering import Chunks, Heading
from psychechat.api.http.responses import DONE, KEEP_ALIVE, event
from psychechat.cli import commands
from psychechat.conversation import (
    AgentOutcome,
    Choice,
    Decision,
    Draft,
    EmotionAnalysis,
    EmotionMemory,
    Reply,
    ReplyDelta,
    Review,
    Round,
)
from psychechat.emotion import Emotion, Label
from psychechat.engines.base import Usage
from psychechat.engines.scripted import assessment, reading
from psychechat.pipeline.request import Outcome
from psychechat.risk import Severity
from tests.support.http_server import listening
from tests.support.servers import free_port

CHUNKS = Chunks(Heading("chatcmpl-1", 0, "psychechat", "fp_test"), include_usage=False)


REVIEWED = Round(Draft("exploration", "", ""), (), Review((), passed=True))
UNREAD = replace(reading(), assessment=None)


def reply(text: str, *, finish: Any = "stop", fallback: bool = False, **known: Any) -> bytes:
    """A whole streamed reply, in two pieces with a keep-alive between them."""
    ways: dict[str, Any] = {"reading": UNREAD, "decision": Decision("llm", "pinned", crisis=False)} | known
    whole = Reply((Choice(text, finish, fallback=fallback),), **ways)
    middle = len(text) // 2
    return b"".join(
        [
            CHUNKS.opening(1),
            KEEP_ALIVE,
            CHUNKS.delta(ReplyDelta(reasoning="a hidden thought")),
            CHUNKS.delta(ReplyDelta(content=text[:middle])),
            KEEP_ALIVE,
            CHUNKS.delta(ReplyDelta(content=text[middle:])),
            CHUNKS.finish(Outcome(whole, Usage(), {"total": 1.0}), None),
        ]
    )


@dataclass
class FakeServer:
    """Answers each turn with the next script: bytes to stream, or a status with an error object."""

    url: str
    scripts: list[bytes | int] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    async def models(self, request: Request) -> Response:
        self.keys.append(request.headers["authorization"])
        if request.headers["authorization"] == "Bearer wrong":
            return JSONResponse({"error": {"message": "No.", "type": "x", "param": None, "code": None}}, 401)
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "x"} for name in ("psychechat", "other")]
        return JSONResponse({"object": "list", "data": listed})

    async def chat(self, request: Request) -> Response:
        body = json.loads(await request.body())
        assert (body["model"], body["stream"]) == ("psychechat", True)
        self.asked.append([f"{message['role']}: {message['content']}" for message in body["messages"]])
        script = self.scripts.pop(0)
        if isinstance(script, int):
            error = {"message": "The server is at capacity.", "type": "rate_limit_error", "param": None, "code": None}
            return JSONResponse({"error": error}, script)
        return StreamingResponse(iter([script]), media_type="text/event-stream")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    port = free_port()
    fake = FakeServer(f"http://127.0.0.1:{port}/v1")
    routes = [Route("/v1/models", fake.models), Route("/v1/chat/completions", fake.chat, methods=["POST"])]
    with listening(Starlette(routes=routes), port, lifespan="off", ws="none", log_level="critical"):
        yield fake


def chat(url: str, *typed: str, args: tuple[str, ...] = (), key: str | None = None) -> Result:
    environment = {"PSYCHECHAT_API_KEY": key, "COLUMNS": "400"}
    return CliRunner().invoke(commands, ["chat", "--url", url, *args], "".join(f"{t}\n" for t in typed), environment)


def test_a_turn_shows_the_reply_and_what_was_found(server: FakeServer) -> None:
    server.scripts = [
        reply(
            "That sounds heavy. \x1b[2JTell me [bold]more[/].",
            decision=Decision("agent", "raised_risk", crisis=False),
            reading=replace(
                reading(memory=EmotionMemory("s", "en", (Label.parse("calm"),)), risk=Severity.INDICATOR),
                assessment=assessment(
                    Emotion(Label.parse("worried"), 0.8123),
                    Emotion(Label.parse("down"), 0.61),
                    risk=Severity.INDICATOR,
                ),
            ),
            agent=AgentOutcome(EmotionAnalysis((), ""), (REVIEWED, REVIEWED)),
        )
    ]
    result = chat(server.url, "I am tired", "/quit")
    assert result.exit_code == 0
    # Markup in a reply is text, and its control characters reach no terminal.
    assert "counselor › That sounds heavy. [2JTell me [bold]more[/]." in result.stdout
    found = "agent mode (raised risk) · worried 0.81, down 0.61 · valence -2, shift -3 · risk indicator"
    assert f"{found} · review passed after 2\n" in result.stdout
    assert "hidden thought" not in result.stdout
    assert "diagnoses and assesses nothing" in result.stdout


def test_the_conversation_is_sent_whole_until_new_starts_another(server: FakeServer) -> None:
    server.scripts = [reply("r1"), reply("r2"), reply("r3")]
    chat(server.url, "a", "", "  b ", "/new", "c")
    assert server.asked == [["user: a"], ["user: a", "assistant: r1", "user: b"], ["user: c"]]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "llm mode (pinned) · no clear emotion · valence +0 · risk unknown"),
        ({"finish": "length", "reading": reading()}, "risk none · cut at the length limit"),
        ({"finish": "content_filter", "fallback": True}, "answered with fixed words"),
    ],
)
def test_what_is_missing_or_unusual_is_said(server: FakeServer, found: dict[str, Any], said: str) -> None:
    server.scripts = [reply("r", **found)]
    assert said in chat(server.url, "a").stdout


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (429, "The server says: The server is at capacity."),
        (CHUNKS.opening(1) + event({"error": {"message": "The turn's time is up."}}), "time is up."),
        (CHUNKS.opening(1) + CHUNKS.delta(ReplyDelta(content="Half a")), "The reply broke off"),
        (CHUNKS.opening(1) + DONE, "The reply broke off"),
    ],
    ids=["refused", "error in the stream", "cut off", "done without a finish"],
)
def test_a_turn_that_fails_is_explained_and_forgotten(server: FakeServer, script: bytes | int, said: str) -> None:
    server.scripts = [reply("r1"), script, reply("r3")]
    result = chat(server.url, "a", "b", "c")
    assert result.exit_code == 0
    assert said in result.stdout
    assert "Your message was taken back." in result.stdout
    assert server.asked[-1] == ["user: a", "assistant: r1", "user: c"]


def test_a_server_that_is_no_psychechat_still_converses(server: FakeServer) -> None:
    server.scripts = [
        CHUNKS.delta(ReplyDelta(content="hello"))
        + event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    ]
    result = chat(server.url, "a")
    assert "counselor › hello\n" in result.stdout


def test_the_key_comes_from_the_environment_or_the_option(server: FakeServer) -> None:
    chat(server.url, key="from-environment")
    chat(server.url, args=("--api-key", "from-option"), key="from-environment")
    assert server.keys == ["Bearer from-environment", "Bearer from-option"]
    result = chat(server.url, key="wrong")
    assert result.exit_code == 1
    assert "pass another with --api-key or PSYCHECHAT_API_KEY" in result.stderr
    assert "wrong" not in result.output


def test_what_can_be_known_at_the_start_is_said_at_the_start(server: FakeServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    for result, said in (
        (chat(free), f"No server answers at {free}: start one with `psychechat serve`"),
        (chat(server.url, args=("--model", "nobody")), "no model nobody. Pass --model with one of: psychechat, other."),
        (chat(server.url.removesuffix("/v1")), "does the address end in /v1?"),
        (chat("127.0.0.1:8000"), "it starts with http:// or https://"),
    ):
        assert result.exit_code == 1
        assert said in result.stderr
        assert result.stderr.count("\n") == 1
