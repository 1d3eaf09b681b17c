"""`psychechat chat` through the real openai client, against a server in this process that speaks the real format."""

import fcntl
import json
import os
import pty
import socket
import stat
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from typer.testing import CliRunner, Result

from psychechat.api.chat.protocol import ChatRequest
from psychechat.api.chat.rendering import Completion, Heading
from psychechat.api.http.responses import DONE, KEEP_ALIVE, event
from psychechat.cli import commands
from psychechat.commands.chat import shown
from psychechat.commands.chat.talk import Turn
from psychechat.conversation import (
    AgentOutcome,
    Choice,
    Decision,
    Draft,
    EmotionAnalysis,
    EmotionMemory,
    Reaction,
    Reply,
    ReplyDelta,
    Review,
    Round,
    Verdict,
)
from psychechat.emotion import Emotion, Label
from psychechat.engines.base import Usage
from psychechat.engines.scripted import assessment, reading
from psychechat.pipeline.request import Outcome
from psychechat.risk import RiskState, Severity
from tests.support.http_server import listening
from tests.support.servers import free_port

ASKED = ChatRequest.model_validate({"model": "psychechat", "messages": [{"role": "user", "content": "hello"}]})
HEADING = Heading("chatcmpl-1", 0, "psychechat", "fp_test")
CHUNKS = Completion(HEADING, ASKED)
INSPECTED, MINIMAL = replace(HEADING, stages=True), replace(HEADING, minimal=True)

REVIEWED = Round(Draft("exploration", "", ""), (), Review((), passed=True))
REFUSED = Round(
    Draft("insight", "Compare.", "Others have [bold]less[/].\x1b[2J"),
    (Reaction("hostile", "You do not know me."), Reaction("silent", "...")),
    Review((Verdict("Feels small.", passed=False),), passed=False, emotional_suggestion="Stay with the sadness."),
)
ANALYSIS = EmotionAnalysis((Label.parse("sad"),), "A loss.", shift_analysis="Downwards.")
UNREAD = replace(reading(), assessment=None)


NAMES = (
    *("mode", "reason", "emotions", "valence", "shift", "risk", "level", "conversation", "held", "review", "rounds"),
    *("passed", "fallback", "session", "stages", "groups", "analysis", "labels", "label", "probability", "draft"),
    *("reactions", "verdict", "response", "joy", "absent"),
)
"""What `psychechat` of a reply has names for."""


def reply(
    text: str, *, finish: Any = "stop", fallback: bool = False, heading: Heading = HEADING, **known: Any
) -> bytes:
    """A whole streamed reply, in two pieces with a keep-alive between them."""
    chunks = Completion(heading, ASKED)
    ways: dict[str, Any] = {"reading": UNREAD, "decision": Decision("llm", "pinned", crisis=False)} | known
    whole = Reply((Choice(text, finish, fallback=fallback),), **ways)
    middle = len(text) // 2
    return b"".join(
        [
            chunks.opening(1),
            KEEP_ALIVE,
            chunks.delta(ReplyDelta(reasoning="a hidden thought")),
            chunks.delta(ReplyDelta(content=text[:middle])),
            KEEP_ALIVE,
            chunks.delta(ReplyDelta(content=text[middle:])),
            chunks.finish(Outcome(whole, Usage(), {"total": 1.0}), None),
        ]
    )


@dataclass
class FakeServer:
    """Answers each turn with the next script: bytes to stream, or a status with an error object."""

    url: str
    scripts: list[bytes | int] = field(default_factory=list)
    listing: bytes | None = None
    """In the place of its models."""
    forgets: object = None
    """In the place of its answer to who wants to be forgotten."""
    asked: list[list[str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    models_asked: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    forgetting: int = 200

    async def models(self, request: Request) -> Response:
        self.keys.append(request.headers["authorization"])
        if request.headers["authorization"] == "Bearer wrong":
            return JSONResponse({"error": {"message": "No.", "type": "x", "param": None, "code": None}}, 401)
        if self.listing is not None:
            return Response(self.listing, media_type="application/json")
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "x"} for name in ("psychechat", "other")]
        return JSONResponse({"object": "list", "data": listed})

    async def chat(self, request: Request) -> Response:
        body = json.loads(await request.body())
        assert body["stream"]
        self.models_asked.append(body["model"])
        self.asked.append([f"{message['role']}: {message['content']}" for message in body["messages"]])
        script = self.scripts.pop(0)
        if isinstance(script, int):
            error = {"message": "The server is at capacity.", "type": "rate_limit_error", "param": None, "code": None}
            return JSONResponse({"error": error}, script)
        return StreamingResponse(iter([script]), media_type="text/event-stream")

    async def forget(self, request: Request) -> Response:
        self.forgotten.append(request.path_params["id"])
        if self.forgetting != 200:
            error = {"message": "The memory cannot be reached.", "type": "x", "param": None, "code": None}
            return JSONResponse({"error": error}, self.forgetting)
        deleted = {"id": self.forgotten[-1], "object": "session.deleted", "deleted": True}
        return JSONResponse(self.forgets or deleted)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    port = free_port()
    fake = FakeServer(f"http://127.0.0.1:{port}/v1")
    routes = [
        Route("/v1/models", fake.models),
        Route("/v1/chat/completions", fake.chat, methods=["POST"]),
        Route("/v1/sessions/{id:path}", fake.forget, methods=["DELETE"]),
    ]
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


# --------------------------------------------------------------------------------------- servers that are not ours


def streamed(*chunks: object) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks) + DONE


def said(content: object, finish: object = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}], **more}


NO_OBJECT = "sends no psychechat object"
OTHER_VERSION = "is it of another version?"
FOREIGN: list[tuple[object, str, str]] = [
    (None, "", NO_OBJECT),
    ("words", "", NO_OBJECT),
    ([1], "", NO_OBJECT),
    ({}, "", NO_OBJECT),
    ({"mode": 7, "risk": "none", "emotions": "sad", "valence": True}, "", "shows no stages"),
    ({"mode": "agent"}, "agent mode", "shows no stages"),
    ({"mode": "llm", "reason": "other"}, "llm mode (other)", "shows no stages"),
    ({"emotions": [{}, 7, {"label": "sad"}, {"label": "calm", "probability": "x"}]}, "sad, calm", "shows no stages"),
    ({"valence": 2.5, "shift": 10**400, "risk": {"level": None}}, "valence +2.5 · risk unknown", "shows no stages"),
    ({"review": {"rounds": 2}}, "review not passed after 2", "shows no stages"),
    ({"stages": "all of them"}, "", OTHER_VERSION),
    ({"stages": {}}, "", "does not tell groups, analysis, rounds"),
    ({"stages": {"groups": {"joy": 0.5}, "analysis": {"labels": 7}, "rounds": [{}]}}, "", "round 1, refused"),
    (
        {"stages": {"groups": None, "rounds": [{"draft": 7, "reactions": [{"verdict": {}}]}]}},
        "",
        "does not tell analysis",
    ),
]


@pytest.mark.parametrize(("found", "line", "stages"), FOREIGN)
def test_whatever_a_server_sends_beside_its_words_it_converses(
    server: FakeServer, found: object, line: str, stages: str
) -> None:
    server.scripts = [streamed(said("hello"), said(None, "stop", psychechat=found)), streamed(said("bye", "stop"))]
    result = chat(server.url, "a", "/stages", "/save /dev/null/x", "b", "/forget")
    assert result.exit_code == 0
    assert f"counselor › hello\n{line}" in result.stdout
    assert stages in result.stdout
    assert "counselor › bye\n" in result.stdout
    assert "The server named no session" in result.stdout


@pytest.mark.parametrize(
    "chunks",
    [
        [said("hello", "stop"), {"usage": {}}, {"choices": None}, {"choices": [], "psychechat": None}],
        [{}, 7, ["x"], None, {"choices": [7, {}, {"delta": None}]}, said(["x"]), said("hello"), said(None, "stop")],
    ],
)
def test_chunks_of_another_shape_are_passed_over(server: FakeServer, chunks: list[object]) -> None:
    server.scripts = [streamed(*chunks)]
    assert "counselor › hello\n" in chat(server.url, "a").stdout


@pytest.mark.parametrize("script", [b"data: {no JSON\n\n", b'{"choices": [{"message": {"content": "hello"}}]}', b""])
def test_what_is_no_stream_of_openais_is_said_and_the_next_turn_goes_on(server: FakeServer, script: bytes) -> None:
    server.scripts = [script, streamed(said("hello", "stop"))]
    told = chat(server.url, "a", "b").stdout
    assert "answered in a way that no server of OpenAI's API does: is the address right? Your message was taken" in told
    assert "counselor › hello\n" in told


@pytest.mark.parametrize(
    ("listing", "why"),
    [
        (b"<html>", "answered in a way that no server of OpenAI's API does"),
        (b'["psychechat"]', "answered in a way that no server of OpenAI's API does"),
        (b'{"data": null}', "answered in a way that no server of OpenAI's API does"),
        (b'{"data": [{"name": "psychechat"}, 7]}', "lists no models"),
        (b'{"data": [{"id": "llama\\u001b[2J"}]}', "Pass --model with one of: llama[2J."),
    ],
)
def test_models_of_another_shape_are_a_plain_message(server: FakeServer, listing: bytes, why: str) -> None:
    server.listing = listing
    result = chat(server.url)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert why in result.stderr


@pytest.mark.parametrize("answer", ["ok", {"deleted": False}, {"id": "one"}])
def test_who_does_not_say_that_it_forgot_has_not(server: FakeServer, answer: object) -> None:
    server.scripts, server.forgets = [reply("r1", session="one")], answer
    told = chat(server.url, "a", "/forget").stdout
    assert "It may not be forgotten yet: the conversation goes on." in told
    assert "Deleted on the server" not in told


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=25,
)


@given(found=st.dictionaries(st.sampled_from(NAMES), _JSON, max_size=8))
def test_no_object_of_a_servers_breaks_the_command(found: dict[str, Any]) -> None:
    shown.summary(found, "stop")
    shown.stages(found)
    turn = Turn("a", "r", found)
    assert isinstance(turn.session, str)
    assert turn.held in (True, False)


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


def held() -> Any:
    """A reading in a conversation that a crisis holds."""
    return replace(UNREAD, conversation=RiskState(peak=Severity.IDEATION, held=True, since_turns=1))


def test_stages_are_shown_by_round_from_when_they_are_asked_for(server: FakeServer) -> None:
    made: dict[str, Any] = {"agent": AgentOutcome(ANALYSIS, (REFUSED, REVIEWED)), "heading": INSPECTED}
    known = replace(reading(), assessment=assessment(Emotion(Label.parse("sad"), 0.7)))
    server.scripts = [reply("r1", reading=known, **made), reply("r2", reading=known, **made), reply("r3", **made)]
    told = chat(server.url, "a", "/stages", "b", "/stages", "c").stdout
    assert told.count("round 1, refused") == told.count("round 2, passed") == 2  # the last turn's at once, then b's
    for line in (
        "groups: sadness 0.70",
        "analysis: sad. A loss.",
        "  shift analysis: Downwards.",
        "  draft (insight, Compare.): Others have [bold]less[/].[2J",
        "  hostile seeker: You do not know me.\n    failed: Feels small.\n  silent seeker: ...\n",
        "  emotional suggestion: Stay with the sadness.",
        "Stages are no longer shown.",
    ):
        assert line in told


def test_llm_mode_and_an_unread_message_have_stages_too(server: FakeServer) -> None:
    server.scripts = [reply("r1", heading=INSPECTED)]
    assert "no draft was reviewed" in chat(server.url, "/stages", "a").stdout


@pytest.mark.parametrize("heading", [HEADING, MINIMAL])
def test_a_server_that_shows_no_stages_is_told_apart(server: FakeServer, heading: Heading) -> None:
    """With `fields: minimal` there is nothing else either, which is no error."""
    server.scripts = [reply("r1", heading=heading)]
    result = chat(server.url, "/stages", "a")
    assert result.exit_code == 0
    assert "policy.show_stages: true" in result.stdout
    assert "--inspect" in result.stdout


def test_forgetting_deletes_each_session_that_was_named_and_starts_over(server: FakeServer) -> None:
    """A memory that was lost in between gets another name."""
    server.scripts = [reply("r1", session="one/1"), reply("r2", session="two", reading=held()), reply("r3")]
    told = chat(server.url, "/forget", "a", "b", "/forget", "c", "/forget").stdout
    assert server.forgotten == ["one/1", "two"]
    assert server.asked[-1] == ["user: c"]
    assert "There is nothing to forget yet." in told
    assert "what was remembered as one/1, two. A new conversation." in told
    assert "That a crisis held it stays there for a time" in told
    assert "The server named no session" in told


@pytest.mark.parametrize(
    ("status", "why"), [(503, "The memory cannot be reached. It may not be forgotten yet"), (404, "has no sessions")]
)
def test_what_could_not_be_forgotten_goes_on(server: FakeServer, status: int, why: str) -> None:
    server.scripts, server.forgetting = [reply("r1", session="one"), reply("r2")], status
    assert why in chat(server.url, "a", "/forget", "b").stdout
    assert server.asked[-1] == ["user: a", "assistant: r1", "user: b"]


def test_another_model_goes_on_with_the_conversation(server: FakeServer) -> None:
    server.scripts = [reply("r1"), reply("r2")]
    told = chat(server.url, "a", "/model", "/model nobody", "/model other", "b").stdout
    assert "* psychechat\n  other\n" in told
    assert "no model nobody" in told
    assert server.models_asked == ["psychechat", "other"]
    assert server.asked[-1] == ["user: a", "assistant: r1", "user: b"]


def test_a_conversation_is_saved_for_its_owner_alone(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.scripts = [reply("r1", session="one"), reply("r2", heading=MINIMAL)]
    told = chat(server.url, "/save", "a", "b", "/save talk.json", "/save").stdout
    assert "There is nothing to save yet." in told
    assert f"Saved to {tmp_path / 'talk.json'}, readable by you only. It now lies on disk" in told
    saved = json.loads((tmp_path / "talk.json").read_text())
    assert (saved["psychechat_conversation"], saved["model"]) == (1, "psychechat")
    assert [(turn["user"], turn["assistant"]) for turn in saved["turns"]] == [("a", "r1"), ("b", "r2")]
    assert saved["turns"][0]["psychechat"]["session"] == "one"
    files = sorted(tmp_path.iterdir())
    assert [file.name.startswith("psychechat-2") for file in files] == [True, False]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize(("answer", "kept"), [("n", True), ("", True), ("y", False)])
def test_a_file_is_overwritten_if_that_is_wanted(server: FakeServer, tmp_path: Path, answer: str, kept: bool) -> None:
    file = tmp_path / "talk.json"
    file.write_text("mine")
    server.scripts = [reply("r1")]
    told = chat(server.url, "a", f"/save {file}", answer).stdout
    assert "Overwrite it? [y/N]" in told
    assert (file.read_text() == "mine") is kept
    assert ("Not saved." in told) is kept


def test_what_cannot_be_saved_is_said(server: FakeServer, tmp_path: Path) -> None:
    server.scripts = [reply("r1"), reply("r2")]
    wrong = [f"{tmp_path}", f"{tmp_path}/none/talk.json", "~nobody-of-that-name/x", "x" * 300]
    result = chat(server.url, "a", *(f"/save {name}" for name in wrong), "b")
    assert result.stdout.count("name a file in an existing folder") == len(wrong)
    assert len(server.asked) == 2


def test_what_begins_with_a_slash_is_a_message_only_with_two(server: FakeServer) -> None:
    server.scripts = [reply("r1")]
    told = chat(server.url, "/stop it", "/new job", "//new job", "/help").stdout
    assert server.asked == [["user: /new job"]]
    assert "/stop is no command. For a message that begins with a slash, write two: //stop it" in told
    assert "/new stands alone." in told
    assert told.count("have the server forget this conversation") == 2  # the list, unasked and asked for


def test_the_arrows_bring_back_what_was_typed_and_the_tabulator_completes(server: FakeServer, tmp_path: Path) -> None:
    """On a real terminal of 20 columns: readline knows that its prompt is six wide, and leaves nothing on disk."""
    server.scripts = [reply("r1"), reply("r2")]
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 20, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "HOME": str(tmp_path), "INPUTRC": "/dev/null"}
    script = "from psychechat.cli import commands; commands()"
    command = [sys.executable, "-c", script, "chat", "--url", server.url]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < deadline, seen
            seen += os.read(terminal, 4096)
        seen = seen.partition(text)[2]

    prompt = "\x1b[1myou\x1b[0m › ".encode()
    until(prompt)
    os.write(terminal, b"thirteen wide")
    until(b"thirteen wide")
    os.write(terminal, b"\x01")
    until(b"\b" * 13)  # to the message's beginning, behind the prompt and in its line
    os.write(terminal, b"\r")
    until(prompt)
    os.write(terminal, b"\x1b[A")
    until(b"thirteen wide")
    os.write(terminal, b"\r")
    until(prompt)
    os.write(terminal, b"/st\t\r")
    until(b"Stages are shown")
    os.write(terminal, b"/quit\r")
    assert process.wait(20) == 0
    os.close(terminal)
    assert server.asked[-1] == ["user: thirteen wide", "assistant: r1", "user: thirteen wide"]
    assert not list(tmp_path.iterdir())
