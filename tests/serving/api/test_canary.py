"""Words that nobody else writes, sent down every path of the API, are found in no log, metric or error body."""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from tenacity import wait_none

from psychechat.config import EscalationSettings
from psychechat.conversation import Assessment
from psychechat.engines.base import Call, Pair, StageName
from psychechat.engines.scripted import Answer, ScriptedClassifier, ScriptedGenerator
from psychechat.errors import EngineUnavailable
from psychechat.safety.webhook import WebhookEscalations
from tests.support.canary import Canary
from tests.support.receiver import SECRET, receiving

WORD, PHRASE = "zanzibarquux", "月亮骆驼穿雨衣"
CANARY = f"{WORD} {PHRASE}"
CANARIES = [Canary(WORD), Canary(PHRASE)]
WANTS_TO_DIE = "I want to die"
URGENT = f"{WANTS_TO_DIE} {CANARY}"
PLAIN = f"hello {CANARY} there"
URGENT_IN_CHINESE = f"我想自杀，{PHRASE}。"

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
    for text in (PLAIN, URGENT, URGENT_IN_CHINESE)
    for stream in (False, True)
]
BODIES += [
    {
        "model": "psychechat",
        "messages": [{"role": "system", "content": CANARY}, {"role": "user", "content": URGENT, "name": CANARY}],
        "metadata": {CANARY: CANARY, "locale": CANARY, "session_id": CANARY},
        "stop": [CANARY],
        "user": CANARY,
        "safety_identifier": CANARY,
        "prompt_cache_key": CANARY,
    }
]
RESPONSES: list[object] = [
    {"model": model, "input": text, "instructions": CANARY, "stream": stream}
    for model in ("psychechat-agent", "psychechat-llm")
    for text in (PLAIN, URGENT_IN_CHINESE)
    for stream in (False, True)
]
BAD_RESPONSES: list[object] = [
    {"model": CANARY, "input": PLAIN},
    {"model": "psychechat", "input": {CANARY: CANARY}},
    {"model": "psychechat", "input": [{"type": CANARY, "role": CANARY, "content": {CANARY: CANARY}}]},
    {"model": "psychechat", "input": [{"role": "user", "content": {CANARY: PLAIN}}]},
    {"model": "psychechat", "input": f"{CANARY} " * 10_000},
    {"model": "psychechat", "input": PLAIN, "instructions": f"{CANARY} " * 1_000},
    {"model": "psychechat", "input": PLAIN, "previous_response_id": CANARY},
    {"model": "psychechat", "input": PLAIN, "tool_choice": {"type": "function", "name": CANARY}},
    {"model": "psychechat", "input": PLAIN, "text": {"format": {"type": CANARY}}},
    {"model": "psychechat", "input": PLAIN, "reasoning": {"effort": CANARY}},
]
HEADERS: list[Any] = [
    {"x-session-id": WORD},
    {"x-session-id": f"{WORD}-" * 60},
    {"authorization": f"Bearer {WORD}"},
    {"x-request-id": f"{WORD}!"},
    {"x-request-timeout": WORD},
    {"cookie": WORD},
    {"content-type": f"text/{WORD}"},
    {f"x-{WORD}": WORD},
    {"x-session-id": PHRASE.encode()},
    {"user-agent": PHRASE.encode()},
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
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "tool_choice": {"type": CANARY}},
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "modreation": {CANARY: CANARY}},
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "stop": [f"{CANARY} " * 10]},
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "stop": {CANARY: CANARY}},
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "metadata": {"session_id": WORD * 30}},
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "response_format": {"type": CANARY}},
    {
        "model": "psychechat",
        "messages": [{"role": "user", "content": PLAIN}],
        "stream_options": {f"{CANARY} x": CANARY},
    },
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "metadata": {CANARY: 1}},
    {"model": "psychechat", "messages": [{"role": "user", "content": PLAIN}], "metadata": {CANARY: f"{CANARY} " * 99}},
    [PLAIN],
    PLAIN,
]


class CarelessClassifier(ScriptedClassifier):
    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        raise RuntimeError(f"unexpected {utterances}")

    async def judge(self, pairs: Sequence[Pair], call: Call) -> list[float] | None:
        raise RuntimeError(f"unexpected {pairs}")


@pytest.mark.parametrize("broken", BREAKS)
def test_no_word_of_the_seeker_is_logged_or_echoed(
    broken: str,
    serving: Callable[..., AbstractContextManager[Any]],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the test's own client
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")  # so that it, too, says what it calls with what
    monkeypatch.setenv("PSYCHECHAT_ESCALATION_SECRET", SECRET)
    answers: list[str] = []
    errors: list[str] = []
    generator = ScriptedGenerator(BREAKS[broken], seconds_per_word=0.002)
    with (
        receiving(500, 200) as receiver,
        serving(generator, review={"hurting_at": 0.5}) as served,
        httpx.Client(base_url=served.url, timeout=90) as client,
    ):
        told = EscalationSettings.model_validate({"url": receiver.url})
        served.pipeline.escalations = WebhookEscalations(told, served.pipeline.metrics, backoff=wait_none())
        if broken == "a bug":
            served.pipeline.classifier = CarelessClassifier()
        for body in [*BODIES, *BAD_BODIES]:
            response = client.post("/v1/chat/completions", json=body, headers={"x-session-id": WORD})
            (answers if response.status_code == 200 else errors).append(response.text)
            errors.append(str(response.headers))
        for body in [*RESPONSES, *BAD_RESPONSES]:
            response = client.post("/v1/responses", json=body, headers={"x-session-id": WORD})
            (answers if response.status_code == 200 else errors).append(response.text)
        for headers in HEADERS:
            response = client.post("/v1/chat/completions", json=BODIES[0], headers=headers)
            (answers if response.status_code == 200 else errors).append(response.text)
            errors.append(str(response.headers))
        with client.stream("POST", "/v1/chat/completions", json=BODIES[1]) as half:
            next(half.iter_bytes(), None)  # and away
        for path in ("/v1/classify", "/v1/moderations"):
            for text in (PLAIN, URGENT, [PLAIN, URGENT]):
                errors.append(client.post(path, json={"input": text}).text)
            for bad in ({"input": {CANARY: CANARY}}, {"input": [f"{CANARY} " * 4_000]}, {"input": [PLAIN, 1]}):
                errors.append(client.post(path, json=bad).text)
            errors.append(client.post(path, json={"input": PLAIN, "model": CANARY, f"{CANARY} x": CANARY}).text)
        errors.append(client.post("/v1/classify", json={"input": [PLAIN], "stream": True}).text)
        raw = json.dumps(BODIES[0]).encode()
        for content in (raw[:-1], raw.replace(b"hello", b"\xff"), raw + b"}", raw.decode().encode("utf-16")):
            errors.append(client.post("/v1/chat/completions", content=content).text)
        errors.append(client.get(f"/{CANARY}").text)
        errors.append(client.get(f"/v1/models/{CANARY}").text)
        errors.append(client.get(f"/health?x={CANARY}").text)
        errors.append(client.get("/metrics").text)
        receiver.wait_for(2)
    errors.append(receiver.told)
    assert answers
    assert len(errors) > len(BAD_BODIES) + len(BAD_RESPONSES)
    for text in errors:
        assert not _found_in(text)
    # The server's access log names paths, which no client has a reason to put a person's words in.
    logged = [record for record in caplog.records if record.name != "uvicorn.access"]
    assert logged
    for record in logged:
        assert not _found_in(f"{record.getMessage()} {record.exc_text} {record.exc_info!r}")
    out, err = capfd.readouterr()
    assert not _found_in("\n".join(line for line in (out + err).splitlines() if '"GET /' not in line))


def _found_in(text: str) -> list[str]:
    return [way for canary in CANARIES for way in canary.found_in(text.encode("utf-8", "surrogatepass"))]


@pytest.mark.parametrize("text", [WORD, ascii(PHRASE), str(PHRASE.encode())])
def test_the_canary_would_be_found(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """The test above can fail."""
    logging.getLogger("psychechat").warning("%s", text)
    assert any(_found_in(record.getMessage()) for record in caplog.records)
