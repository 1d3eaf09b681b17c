"""`/v1/classify` and `/v1/moderations` over scripted engines: shapes, batches, and what happens when things fail."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import httpx
import openai
import pytest

from psychechat.conversation import Assessment
from psychechat.emotion import Group
from psychechat.engines.base import Call
from psychechat.engines.scripted import ScriptedClassifier, assessment
from psychechat.errors import EngineUnavailable
from psychechat.pipeline.bulk_classify import BATCH
from psychechat.risk import Severity
from tests.serving.api.conftest import Served, wait_for

Serving = Callable[..., AbstractContextManager[Served]]
CANARY = "zanzibarquux"


class Watched(ScriptedClassifier):
    """Keeps the calls it gets; may fail from one on, answer slowly, or with what is no probability."""

    def __init__(self, *, fails_at: int | None = None, seconds: float = 0.0, answer: Assessment | None = None) -> None:
        super().__init__()
        self.calls: list[tuple[Sequence[str], Call]] = []
        self.cancelled = threading.Event()
        self._fails_at, self._seconds, self._answer = fails_at, seconds, answer

    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        self.calls.append((utterances, call))
        if len(self.calls) == self._fails_at:
            raise EngineUnavailable("The classifier is not available.")
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return [self._answer] * len(utterances) if self._answer else await super().classify(utterances, call)


def test_classify_one_text(served: Any) -> None:
    body = served.http.post("/v1/classify", json={"input": "I am worried"}).json()
    assert body["object"] == "list"
    assert body["model"] == "psychechat"
    [found] = body["data"]
    assert found["emotions"] == [{"label": "worried", "group": "fear", "intensity": 1, "probability": 0.8}]
    assert found["valence"] == -1
    assert found["groups"]["fear"] == {"absent": 0.2, "low": 0.8, "mid": 0.0, "high": 0.0}
    assert set(found["groups"]) == {str(group) for group in Group}
    assert found["risk"]["level"] == "none"


def test_classify_keeps_the_order_and_shares_out_batches(serving: Serving) -> None:
    texts = ["I am happy" if i % 3 == 0 else "so sad" if i % 3 == 1 else "a table" for i in range(2 * BATCH + 5)]
    with serving() as served:
        served.pipeline.classifier = watched = Watched()
        data = served.http.post("/v1/classify", json={"input": texts}).json()["data"]
    assert [len(utterances) for utterances, _ in watched.calls] == [BATCH, BATCH, 5]
    assert len({call.deadline for _, call in watched.calls}) == 1
    assert all(call.priority > 0 for _, call in watched.calls), "turns go first"
    assert [found["index"] for found in data] == list(range(len(texts)))
    labels = [[emotion["label"] for emotion in found["emotions"]] for found in data]
    assert labels == [["happy"] if i % 3 == 0 else ["sad"] if i % 3 == 1 else [] for i in range(len(texts))]


def events(response: httpx.Response) -> Iterator[str]:
    return (line.removeprefix("data: ") for line in response.iter_lines() if line)


def test_classify_streams_batch_by_batch(serving: Serving) -> None:
    with serving() as served:
        served.pipeline.classifier = watched = Watched(seconds=0.05)
        body = {"input": ["hopeless"] * (2 * BATCH), "stream": True}
        with served.http.stream("POST", "/v1/classify", json=body) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = events(response)
            first = json.loads(next(lines))
            assert len(watched.calls) <= 2, "the first event came before the rest was asked for"
            *rest, last = lines
    assert first["risk"]["level"] == "indicator"
    assert [json.loads(line)["index"] for line in rest] == list(range(1, 2 * BATCH))
    assert last == "[DONE]"
    assert len({call.deadline for _, call in watched.calls}) == 2


def test_a_stream_that_breaks_says_so_and_is_not_done(serving: Serving) -> None:
    with serving() as served:
        served.pipeline.classifier = Watched(fails_at=2)
        body = {"input": ["hello"] * (BATCH + 1), "stream": True}
        with served.http.stream("POST", "/v1/classify", json=body) as response:
            *_, last = events(response)
    assert json.loads(last)["error"]["code"] == "engine_unavailable"


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/moderations"])
def test_a_dead_classifier_is_an_error_and_never_a_clean_bill(serving: Serving, path: str) -> None:
    nothing = assessment()
    broken = Assessment(nothing.groups, {severity: float("nan") for severity in Severity})
    with serving() as served:
        for classifier in (Watched(fails_at=1), Watched(answer=broken)):
            served.pipeline.classifier = classifier
            response = served.http.post(path, json={"input": "hello"})
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "engine_unavailable"
        served.pipeline.classifier = Watched(fails_at=1)
        response = served.http.post("/v1/classify", json={"input": "hello", "stream": True})
        assert response.status_code == 503


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/moderations"])
def test_a_client_that_leaves_stops_the_work(serving: Serving, path: str) -> None:
    with serving() as served:
        served.pipeline.classifier = watched = Watched(seconds=30)
        with served.left(path, {"input": ["hello"] * 500}):
            wait_for(lambda: watched.calls)
        assert watched.cancelled.wait(5)
        wait_for(lambda: served.held("classification") == 0)
    assert len(watched.calls) == 1


def test_a_reader_of_a_stream_who_leaves_stops_the_work(serving: Serving) -> None:
    with serving() as served:
        served.pipeline.classifier = watched = Watched(seconds=0.1)
        body = {"input": ["hello"] * (20 * BATCH), "stream": True}
        with served.http.stream("POST", "/v1/classify", json=body) as response:
            arriving = events(response)
            for _ in range(BATCH):
                next(arriving)
        assert watched.cancelled.wait(5)
        assert len(watched.calls) < 20


def test_moderation_as_the_official_client_reads_it(client: openai.OpenAI) -> None:
    answer = client.moderations.create(input=["I want to die", "a fine day"], model="omni-moderation-latest")
    assert answer.id.startswith("modr-")
    assert answer.model == "psychechat"
    grave, fine = answer.results
    assert grave.flagged
    assert grave.categories.self_harm
    assert not grave.categories.self_harm_intent
    assert not fine.flagged
    for result in answer.results:
        assert result.category_applied_input_types.self_harm == ["text"]
        assert result.category_applied_input_types.violence == []
        assert result.category_scores.violence == 0.0
    found = grave.model_extra["psychechat"]  # type: ignore[index]
    assert found["backstop"] is True
    assert found["risk"]["level"] == "none", "the scripted head saw nothing; the backstop did"


def test_moderation_has_every_category_of_openais(served: Any) -> None:
    names = {field.alias or name for name, field in openai.types.moderation.Categories.model_fields.items()}
    [result] = served.http.post("/v1/moderations", json={"input": "a fine day"}).json()["results"]
    for key in ("categories", "category_scores", "category_applied_input_types"):
        assert set(result[key]) == names


@pytest.mark.parametrize(
    ("risk", "self_harm", "intent"),
    [
        (Severity.NONE, False, False),
        (Severity.INDICATOR, False, False),
        (Severity.IDEATION, True, False),
        (Severity.BEHAVIOR, True, True),
        (Severity.ATTEMPT, True, True),
    ],
)
def test_severities_become_categories(serving: Serving, risk: Severity, self_harm: bool, intent: bool) -> None:
    with serving() as served:
        served.pipeline.classifier = Watched(answer=assessment(risk=risk))
        [result] = served.http.post("/v1/moderations", json={"input": "some text"}).json()["results"]
    assert result["categories"]["self-harm"] is self_harm
    assert result["categories"]["self-harm/intent"] is intent
    assert result["flagged"] is self_harm
    assert result["category_scores"]["self-harm"] == float(self_harm)
    assert result["category_scores"]["self-harm/intent"] == float(intent)
    assert result["psychechat"]["risk"]["level"] == risk.label


def test_parts_are_one_text(client: openai.OpenAI) -> None:
    parts: Any = [{"type": "text", "text": "I want"}, {"type": "text", "text": "to die"}]
    [result] = client.moderations.create(input=parts).results
    assert result.flagged


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/classify", {}, "input"),
        ("/v1/classify", {"input": []}, "input"),
        ("/v1/classify", {"input": [CANARY, 3]}, "input"),
        ("/v1/classify", {"input": {CANARY: CANARY}}, "input"),
        ("/v1/classify", {"input": "x", "straem": True, CANARY: 1}, "straem"),
        ("/v1/classify", {"input": ["x"] * 4097}, "input"),
        ("/v1/classify", {"input": ["x", f"{CANARY} " * 4000]}, "input[1]"),
        ("/v1/moderations", {"input": []}, "input"),
        ("/v1/moderations", {"input": [[CANARY]]}, "input"),
        ("/v1/moderations", {"input": [{"type": "image_url", "image_url": {"url": CANARY}}]}, "input"),
        ("/v1/moderations", {"input": [{"type": "text"}]}, "input"),
        ("/v1/moderations", {"input": [{"type": "text", "text": "x"}, CANARY]}, "input"),
    ],
)
def test_bad_requests_name_the_field_and_repeat_nothing(
    served: Any, path: str, body: dict[str, object], param: str
) -> None:
    response = served.http.post(path, json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert CANARY not in error["message"] or param == CANARY


def test_another_model_is_not_found_and_not_repeated(served: Any) -> None:
    response = served.http.post("/v1/classify", json={"input": "x", "model": CANARY})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
    assert CANARY not in response.text


def test_every_route_is_in_the_openapi_document(served: Any) -> None:
    paths = served.http.get("/openapi.json").json()["paths"]
    for path in ("/v1/classify", "/v1/moderations"):
        assert "requestBody" in paths[path]["post"]


def test_moderation_says_what_a_turn_would(serving: Serving) -> None:
    """A phrase that the classifier overrules flags nothing; one that decides has a score of the threshold at least."""
    with serving() as served:
        risk = served.pipeline.policy.risk.model_copy(update={"veto_below": 0.05})
        served.pipeline.policy = served.pipeline.policy.model_copy(update={"risk": risk})
        served.pipeline.classifier = watched = Watched()
        queue = "It rained. This queue makes me want to die."
        body = {"input": [queue, "I took an overdose an hour ago", "a fine day"]}
        overruled, grave, fine = served.http.post("/v1/moderations", json=body).json()["results"]
    assert [len(utterances) for utterances, _ in watched.calls] == [4], "each text, and the sentence with the phrase"
    assert [result["flagged"] for result in (overruled, grave, fine)] == [False, True, False]
    assert [result["psychechat"]["backstop"] for result in (overruled, grave, fine)] == [False, True, False]
    assert overruled["category_scores"]["self-harm"] == fine["category_scores"]["self-harm"] == 0.0
    assert grave["category_scores"]["self-harm"] == risk.ideation
    assert grave["category_scores"]["self-harm/intent"] == risk.behavior


def test_a_reply_is_judged_behind_what_it_answers(serving: Serving) -> None:
    with serving() as served:
        served.pipeline.classifier = ScriptedClassifier(hurting={"get over it": 0.87654})
        asked = {"input": ["Get over it.", "Tell me more."], "answering": ["I am sad", "I am happy"]}
        rows = served.http.post("/v1/classify", json=asked).json()["data"]
        assert [row["hurting"] for row in rows] == [0.8765, 0.0]
        streamed = served.http.post("/v1/classify", json=asked | {"stream": True}).text
        events = [
            json.loads(line.removeprefix("data: ")) for line in streamed.split("\n\n") if line.startswith("data: {")
        ]
        assert [row["hurting"] for row in events] == [0.8765, 0.0]
        assert "hurting" not in served.http.post("/v1/classify", json={"input": "Get over it."}).json()["data"][0]
        served.pipeline.classifier = ScriptedClassifier()
        assert served.http.post("/v1/classify", json=asked).json()["data"][0]["hurting"] is None, "no third head"


@pytest.mark.parametrize("answering", ["one", ["one"], ["one", "two", "three"]])
def test_each_reply_answers_something(served: Any, answering: object) -> None:
    response = served.http.post("/v1/classify", json={"input": ["a", "b"], "answering": answering})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "answering"


def test_what_is_answered_may_be_as_long_as_a_message(served: Any) -> None:
    response = served.http.post("/v1/classify", json={"input": "a", "answering": "x" * 32_001})
    assert response.json()["error"]["code"] == "string_above_max_length"
