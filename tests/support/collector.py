"""A collector of traces: a real HTTP server that takes OTLP as protobuf and keeps it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.support.http_server import listening
from tests.support.servers import free_port


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: Mapping[str, str]


@dataclass
class Collector:
    url: str
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.bodies.append(await request.body())
        await Response(status_code=200 if request.url.path == "/v1/traces" else 404)(scope, receive, send)

    @property
    def spans(self) -> list[Span]:
        found = []
        for body in list(self.bodies):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                of = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        attributes = {
                            pair.key: pair.value.string_value or str(pair.value.int_value) for pair in span.attributes
                        }
                        ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                        found.append(Span(of["service.name"], span.name, *ids, attributes))
        return found

    def wait_for(self, enough: Callable[[list[Span]], bool], seconds: float = 20.0) -> list[Span]:
        deadline = time.monotonic() + seconds
        while not enough(spans := self.spans):
            assert time.monotonic() < deadline, sorted({(span.service, span.name) for span in spans})
            time.sleep(0.05)
        return spans


@contextmanager
def collecting() -> Iterator[Collector]:
    port = free_port()
    collector = Collector(f"http://127.0.0.1:{port}")
    with listening(collector, port, log_level="warning", lifespan="off"):
        yield collector


def exporting_to(collector: Collector) -> dict[str, str]:
    """The environment of a process whose spans go there, soon."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
