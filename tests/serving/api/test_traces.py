"""What a collector is told of a turn, and what it is not."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx
import pytest
from opentelemetry.trace import Tracer
from tenacity import wait_none

from psychechat import tracing
from psychechat.config import EscalationSettings
from psychechat.engines.base import StageName
from psychechat.engines.scripted import ScriptedGenerator
from psychechat.safety.webhook import WebhookEscalations
from tests.serving.api.conftest import Served
from tests.support.collector import Collector, collecting, exporting_to
from tests.support.receiver import SECRET, Delivery, receiving

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CANARY = "zanzibarquux"
AGENT = ["emotion", "draft", "simulation", "review"]

Serving = Callable[..., AbstractContextManager[Served]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture
def tracer(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Tracer:
    for name, value in exporting_to(collector).items():
        monkeypatch.setenv(name, value)
    for name in ("OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        monkeypatch.setenv(name, "")  # put back as it was, whatever `tracer` sets
        monkeypatch.delenv(name)
    return tracing.tracer("tested")


def _turn(served: Served, **headers: str) -> httpx.Response:
    body = {"model": "psychechat-agent", "messages": [{"role": "user", "content": f"I am worried, {CANARY}."}]}
    return served.http.post("/v1/chat/completions", json=body, headers=headers)


def test_a_turn_is_one_trace_below_its_callers_with_a_span_a_stage(
    serving: Serving, tracer: Tracer, collector: Collector
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": f"vendor={CANARY}", "x-request-id": "req-7"}
    with serving(tracer=tracer) as served:
        assert served.http.get("/health").status_code == 200
        assert _turn(served, **headers).status_code == 200
        spans = collector.wait_for(lambda spans: any(not span.parent or span.parent == CALLER for span in spans))
    [root] = [span for span in spans if span.parent == CALLER]
    assert {span.trace for span in spans} == {TRACE}  # the probe has none
    assert (root.name, root.service) == ("/v1/chat/completions", "tested")
    assert root.attributes["psychechat.request_id"] == "req-7"
    assert root.attributes["psychechat.mode"] == "agent"
    assert root.attributes["psychechat.answered"] == "reply"
    assert root.attributes["http.response.status_code"] == "200"
    stages = {span.name: span for span in spans if span is not root}
    assert set(stages) == {"queue", "classify", *AGENT}
    assert {span.parent for span in stages.values()} == {root.id}
    for name, _, _, call in served.generator.prompts:
        assert call.trace == {"traceparent": f"00-{TRACE}-{stages[name].id}-01"}
    assert not any(CANARY.encode() in body for body in collector.bodies)


def test_what_fails_is_told_by_its_kind(serving: Serving, tracer: Tracer, collector: Collector) -> None:
    generator = ScriptedGenerator({StageName.DRAFT: [ValueError(CANARY)]})
    with serving(generator, tracer=tracer) as served:
        assert _turn(served, traceparent=CANARY).status_code == 500
        spans = collector.wait_for(lambda spans: any(span.name == "/v1/chat/completions" for span in spans))
    failed = {span.name for span in spans if span.attributes.get("error.type") == "ValueError"}
    assert failed == {"draft"}
    [root] = [span for span in spans if not span.parent]
    assert root.attributes["http.response.status_code"] == "500"
    assert root.attributes["psychechat.answered"] == "unanswered"
    assert not any(CANARY.encode() in body for body in collector.bodies)


class TestACrisisEvent:
    """It leaves beside the turn and is tried again: the trace is the one that the turn had."""

    def deliveries(self, served: Served) -> list[Delivery]:
        caller = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": f"vendor={CANARY}"}
        body = {"model": "psychechat", "messages": [{"role": "user", "content": f"I want to die, {CANARY}."}]}
        with receiving(500, 200) as receiver:
            told = EscalationSettings.model_validate({"url": receiver.url})
            served.pipeline.escalations = WebhookEscalations(told, served.pipeline.metrics, backoff=wait_none())
            assert served.http.post("/v1/chat/completions", json=body, headers=caller).status_code == 200
            receiver.wait_for(2)
        return receiver.deliveries

    def test_names_the_turns_trace_and_holds_no_word_of_it(
        self, serving: Serving, tracer: Tracer, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PSYCHECHAT_ESCALATION_SECRET", SECRET)
        with serving(tracer=tracer) as served:
            deliveries = self.deliveries(served)
            spans = collector.wait_for(lambda spans: any(span.parent == CALLER for span in spans))
        [root] = [span for span in spans if span.parent == CALLER]
        assert [d.headers["traceparent"] for d in deliveries] == [f"00-{TRACE}-{root.id}-01"] * 2
        assert CANARY not in str(deliveries)

    def test_names_none_where_none_is_made(self, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PSYCHECHAT_ESCALATION_SECRET", SECRET)
        with serving() as served:
            assert not any({"traceparent", "tracestate"} & set(d.headers) for d in self.deliveries(served))


def test_without_a_collector_nothing_is_made(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert tracing.tracer("tested") is tracing.OFF
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing.tracer("tested") is tracing.OFF
    with serving() as served:
        assert _turn(served).status_code == 200
        assert [call.trace for *_, call in served.generator.prompts] == [{}] * 6


def test_another_protocol_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(ValueError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'.*http/protobuf"):
        tracing.tracer("tested")
