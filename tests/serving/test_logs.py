"""Log lines that machines read, of the real app."""

import json
import logging
from collections.abc import Iterator

import pytest

from psychechat import logs
from psychechat.engines.base import StageName
from psychechat.engines.scripted import ScriptedGenerator
from tests.serving.api.conftest import serve

CANARY = "zanzibarquux"


@pytest.fixture
def loggers() -> Iterator[None]:
    """As they were, afterwards."""
    ours = [logging.getLogger(name) for name in ("psychechat", "psychechat_ray")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in ours]
    yield
    for logger, (handlers, level, propagate) in zip(ours, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.mark.usefixtures("loggers")
def test_a_line_is_json_with_the_request_it_is_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PSYCHECHAT_LOG_FORMAT", "json")
    logs.configure("tested")
    generator = ScriptedGenerator({StageName.DRAFT: [ValueError(CANARY)]})
    with serve(generator) as served:
        body = {"model": "psychechat-agent", "messages": [{"role": "user", "content": CANARY}]}
        served.http.post("/v1/chat/completions", json=body, headers={"x-request-id": "req-7"})
        served.http.get("/health")
    written = capsys.readouterr().err
    assert CANARY not in written
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    ours = [line for line in lines if line["logger"].startswith("psychechat")]
    assert {line["request_id"] for line in ours} == {"req-7"}  # the probe leaves none
    assert {line["service"] for line in ours} == {"tested"}
    assert [line["level"] for line in ours] == ["ERROR", "INFO"]
    assert ours[-1]["route"] == "/v1/chat/completions"
    assert ours[-1]["status"] == 500
    assert ours[-1]["seconds"] >= 0


def test_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSYCHECHAT_LOG_FORMAT", "xml")
    with pytest.raises(ValueError, match="it may be text or json"):
        logs.configure("tested")
