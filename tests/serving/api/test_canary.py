"""A word that nobody else writes, sent down every path of the API, is found in no log, metric or error body."""

import json
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from psychechat.engines.base import StageName
from psychechat.engines.scripted import Answer, ScriptedGenerator
from psychechat.errors import EngineUnavailable

CANARY = "zanzibarquux"
WANTS_TO_DIE = "I want to die"
URGENT = f"{WANTS_TO_DIE} {CANARY}"
PLAIN = f"hello {CANARY} there"

# What goes wrong in the engine; each error quotes the canary as a careless library might.
BREAKS: dict[str, dict[StageName, list[Answer]]] = {
    "nothing": {},
    "garbage": {name: [f"rubbish {CANARY}"] for name in (StageName.DRAFT, StageName.REVIEW, StageName.EMOTION)},
    "engine gone": {name: [EngineUnavailable("The engine is restarting.")] for name in StageName},
    "a bug": {name: [RuntimeError(f"unexpected {CANARY}")] for name in StageName},
    "a bug of validation": {name: [ValueError(f"unexpected {CANARY}")] for name in StageName},
}
BODIES: list[object] = [
    {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    for model in ("psychechat", "psychechat-agent", "psychechat-llm")
    for text in (PLAIN, URGENT)
    for stream in (False, True)
]
BAD_BODIES: list[object] = [
    {"model": CANARY, "messages": [{"role": "user", "content": PLAIN}]},
    {"model": "psychechat", "messages": [{"role": CANARY, "content": PLAIN}]},
    {"model": "psychechat", "messages": [{"role": "user", "content": {CANARY: CANARY}}]},
    {"model": "psychechat", "messages": [{"role": "user", "content": [{"type": CANARY, "text": CANARY}]}]},
    {"model": "psychechat", "messages": [{"role": "user", "content": [{"type": "text", "text": [CANARY]}]}]},
    {"model": "psychechat", "messages": [{"role": "assistant", "content": PLAIN}]},
    {"model": "psychechat", "messages": CANARY},
    {"model": "psychechat", "messages": [{"role": "user", "content": f"{CANARY} " * 10_000}]},
    {"model": "psychechat", "messages": [{"role": "user", "content": f"{CANARY} " * 2_300}] * 2},
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "temperature": CANARY},
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "service_tier": CANARY},
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "metadata": {f"{CANARY} x": 1}},
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], f"{CANARY} x": 1},
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "tools": [{"name": CANARY}]},
    [PLAIN],
    PLAIN,
]


@pytest.mark.parametrize("broken", BREAKS)
def test_no_word_of_the_seeker_is_logged_or_echoed(
    broken: str,
    serving: Callable[..., AbstractContextManager[Any]],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the test's own client
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    answers: list[str] = []
    errors: list[str] = []
    with serving(ScriptedGenerator(BREAKS[broken])) as served, httpx.Client(base_url=served.url, timeout=20) as client:
        for body in [*BODIES, *BAD_BODIES]:
            response = client.post("/v1/chat/completions", json=body, headers={"x-session-id": CANARY})
            (answers if response.status_code == 200 else errors).append(response.text)
        for path in ("/v1/classify", "/v1/moderations"):
            for text in (PLAIN, URGENT, [PLAIN, URGENT]):
                assert CANARY not in client.post(path, json={"input": text}).text
            for bad in ({"input": {CANARY: CANARY}}, {"input": [f"{CANARY} " * 4_000]}, {"input": [PLAIN, 1]}):
                errors.append(client.post(path, json=bad).text)
        raw = json.dumps(BODIES[0]).encode()
        for content in (raw[:-1], raw.replace(b"hello", b"\xff"), raw + b"}"):
            errors.append(client.post("/v1/chat/completions", content=content).text)
        errors.append(client.get(f"/{CANARY}").text)
        errors.append(client.get(f"/v1/models/{CANARY}").text)
        errors.append(client.get("/metrics").text)
    assert answers
    assert len(errors) > len(BAD_BODIES)
    for text in errors:
        assert CANARY not in text
    # The server's access log names paths, which no client has a reason to put a person's words in.
    logged = [record for record in caplog.records if record.name != "uvicorn.access"]
    assert logged
    for record in logged:
        assert CANARY not in record.getMessage()
        assert CANARY not in (record.exc_text or "")
        assert CANARY not in repr(record.exc_info)
    out, err = capfd.readouterr()
    assert CANARY not in "\n".join(line for line in (out + err).splitlines() if '"GET /' not in line)


def test_the_canary_would_be_found(caplog: pytest.LogCaptureFixture) -> None:
    """The test above can fail."""
    logging.getLogger("psychechat").warning("%s", CANARY)
    assert any(CANARY in record.getMessage() for record in caplog.records)
