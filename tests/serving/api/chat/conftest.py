"""What the tests of refused requests share: a classifier that hears, and requests by what is said in them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from psychechat.conversation import Assessment
from psychechat.engines.base import Call
from psychechat.engines.scripted import ScriptedClassifier, assessment
from psychechat.risk import Severity
from tests.serving.api.conftest import Served

PHRASE, SEEN, CALM = "I want to die", "the box from the chemist is empty now", "my exam is tomorrow"
"""A phrase of the backstop, a crisis that the classifier alone sees, and neither."""
CHAT = "/v1/chat/completions"
ASKED = {"role": "assistant", "content": "How was your day?"}
HISTORY = [{"role": "user", "content": "hello"}, ASKED]


class Ears(ScriptedClassifier):
    """Hears SEEN as a crisis, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__({SEEN: assessment(risk=Severity.BEHAVIOR)})
        self.asked: list[tuple[Sequence[str], Call]] = []
        self.failure: Exception | None = None

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        self.asked.append((utterances, call))
        if self.failure is not None:
            raise self.failure
        return await super().classify(utterances, call)


@pytest.fixture
def ears(served: Served) -> Iterator[Ears]:
    before, served.pipeline.classifier = served.pipeline.classifier, Ears()
    yield served.pipeline.classifier
    served.pipeline.classifier = before


def said(text: str, **more: Any) -> bytes:
    return json.dumps({"model": "psychechat", "messages": [{"role": "user", "content": text}], **more}).encode()


def after(text: str, *history: Any, **more: Any) -> bytes:
    return said(text, **{"messages": [*history, {"role": "user", "content": text}], **more})


def post(served: Served, content: bytes, **headers: str) -> httpx.Response:
    return served.http.post(CHAT, content=content, headers={"content-type": "application/json", **headers})


def assert_crisis(answer: httpx.Response, contact: str = "findahelpline.com") -> dict[str, Any]:
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    assert body["psychechat"]["reason"] == "crisis"
    assert contact in body["choices"][0]["message"]["content"]
    return body


def looks(served: Served) -> dict[str, float]:
    family = next(f for f in served.pipeline.metrics.registry.collect() if f.name == "psychechat_second_looks")
    return {s.labels["result"]: s.value for s in family.samples if s.name.endswith("_total") and s.value}


def refused_crises(served: Served) -> float | None:
    return served.pipeline.metrics.registry.get_sample_value("psychechat_crisis_turns_refused_total")
