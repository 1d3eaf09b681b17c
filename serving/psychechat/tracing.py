"""OpenTelemetry traces: a request's span, one a stage below it, one an engine's work below that.

They are on where the standard variables name a collector (OTEL_EXPORTER_OTLP_ENDPOINT, or ..._TRACES_ENDPOINT), and
follow the other OTEL_* variables. Else nothing is made or sent. Attributes are ids, names of ours and numbers: never a
word anyone wrote, nor an exception's message, which may quote.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracer, Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

__all__ = [
    "OFF",
    "Span",
    "SpanKind",
    "Tracer",
    "continued",
    "current",
    "describe",
    "endpoint",
    "headers",
    "span",
    "tracer",
]

OFF: Tracer = NoOpTracer()
PROTOCOL = "http/protobuf"
_W3C = TraceContextTextMapPropagator()


def endpoint() -> str | None:
    """Where spans go; None: nowhere."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    return os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (base and f"{base.rstrip('/')}/v1/traces") or None


def tracer(service: str) -> Tracer:
    """This process's. `service` is its name, unless OTEL_SERVICE_NAME is set.

    Raises ValueError if another protocol than OTLP over HTTP is asked for.
    """
    if endpoint() is None:
        return OFF
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        if os.environ.setdefault(name, PROTOCOL) != PROTOCOL:  # vLLM, which reads them as well, has another default
            raise ValueError(f"{name} is {os.environ[name]!r}: traces leave by {PROTOCOL} alone")
    os.environ.setdefault("OTEL_SERVICE_NAME", service)
    # Slow to import, and not needed where tracing is off.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("psychechat")


@contextmanager
def span(
    tracer: Tracer,
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Mapping[str, str] | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[Span]:
    """What happens inside belongs to it. `parent`: W3C headers; without it the span that this is called in."""
    if tracer is OFF:
        yield trace.INVALID_SPAN
        return
    with tracer.start_as_current_span(
        name,
        None if parent is None else _context(parent),
        kind,
        attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        try:
            yield opened
        except BaseException as error:
            _failed(opened, error)
            raise


@contextmanager
def continued(
    tracer: Tracer, name: str, parent: Mapping[str, str], attributes: Mapping[str, AttributeValue]
) -> Iterator[Mapping[str, str]]:
    """A span below one of another process, and the W3C headers for what is below it.

    Unlike `span` it may be held open over the yields of an async generator, which run in whatever context.
    """
    opened = tracer.start_span(name, _context(parent), SpanKind.SERVER, attributes)
    try:
        yield headers(opened)
    except BaseException as error:
        _failed(opened, error)
        raise
    finally:
        opened.end()


def headers(opened: Span | None = None) -> dict[str, str]:
    """W3C trace context of this span, or of the one that this is called in; nothing if there is none."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, None if opened is None else trace.set_span_in_context(opened, Context()))
    return carrier


def current() -> tuple[str, str] | None:
    """Ids of the trace and of the span that this is called in, as hexadecimal; None outside of any."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def describe(**attributes: AttributeValue) -> None:
    """The request that this is called in."""
    trace.get_current_span().set_attributes({f"psychechat.{name}": value for name, value in attributes.items()})


def _context(parent: Mapping[str, str]) -> Context:
    """Of `traceparent` alone: `tracestate` is free text."""
    return _W3C.extract({name: value for name, value in parent.items() if name == "traceparent"}, Context())


def _failed(opened: Span, error: BaseException) -> None:
    kind = type(error).__name__
    opened.set_attribute("error.type", kind)
    opened.set_status(StatusCode.ERROR, kind)
