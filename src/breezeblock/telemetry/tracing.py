"""Traces, through the OpenTelemetry API: one from a request over its operations to driver calls.

`set_up` turns them on, when an SDK is installed and the standard OTEL_… variables say where spans
go; until then everything here costs an `if`. The parent of an operation's spans is the request
that submitted it: its `traceparent` (W3C Trace Context) travels in the first entry of the
operation's trail, so the trace holds together over processes and hosts.

Spans hold names, ids and outcomes. Bodies, headers, arguments of drivers and texts of errors never:
they may hold secrets.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.metadata import version
from importlib.util import find_spec

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_NAME = "breezeblock"
_WHERE_TO = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_W3C = TraceContextTextMapPropagator()
_NOTHING: AbstractContextManager[Span | None] = nullcontext()
_NOWHERE = trace.set_span_in_context(trace.INVALID_SPAN)
_tracer: Tracer | None = None
_flush: Callable[[], bool] | None = None

FLUSH_SECONDS = 3.0
"""How long the end of a process waits for a receiver of spans."""

Values = Mapping[str, str | int]
Carrier = Mapping[str, str | list[str]]


def set_up() -> bool:
    """Export spans when the environment says where to; whether it does.

    The SDK reads its other variables itself (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER,
    OTEL_EXPORTER_OTLP_HEADERS, …). Raises ValueError when spans are wanted and the extra `traces`
    is not installed.
    """
    global _flush
    if not any(map(os.environ.get, _WHERE_TO)) or _disabled():
        return False
    if find_spec("opentelemetry.sdk") is None:
        raise ValueError(f"{_WHERE_TO[0]} is set: install breezeblock[traces] to export traces")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider as Exporting
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    told = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: _NAME}
    provider = Exporting(resource=Resource.create(told))
    exporting = BatchSpanProcessor(OTLPSpanExporter())
    provider.add_span_processor(exporting)
    use(provider)
    _flush = exporting.force_flush
    return True


async def flush() -> None:
    """Export what is left, if the receiver takes it soon."""
    if _flush is not None:
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(_flush), FLUSH_SECONDS)


def _disabled() -> bool:
    return (
        os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    )


def use(provider: TracerProvider | None) -> None:
    """Give spans to this provider from now on; None: to nobody."""
    global _tracer
    _tracer = provider.get_tracer(_NAME, version(_NAME)) if provider else None


def is_on() -> bool:
    """Whether spans go anywhere."""
    return _tracer is not None


def request(
    name: str, headers: Iterable[tuple[bytes, bytes]]
) -> AbstractContextManager[Span | None]:
    """A span around a request. A `traceparent` that is not well-formed is not there."""
    if _tracer is None:
        return _NOTHING
    told: dict[str, list[str]] = {}
    for key, value in headers:
        if key in (b"traceparent", b"tracestate"):
            told.setdefault(key.decode(), []).append(value.decode("latin-1"))
    if len(told.get("traceparent", ())) != 1:
        told = {}
    return _span(_tracer, name, SpanKind.SERVER, told, {})


def step(
    name: str, submitted_by: str | None, values: Values
) -> AbstractContextManager[Span | None]:
    """A span around a step, below that of the request which submitted its operation."""
    if _tracer is None:
        return _NOTHING
    told = {"traceparent": submitted_by} if submitted_by else {}
    return _span(_tracer, name, SpanKind.CONSUMER, told, values)


def call(name: str, values: Values) -> AbstractContextManager[Span | None]:
    """A span around a call of a driver; none where nobody is served, as in reports."""
    if _tracer is None or not trace.get_current_span().get_span_context().is_valid:
        return _NOTHING
    return _span(_tracer, name, SpanKind.CLIENT, None, values)


@contextmanager
def _span(
    tracer: Tracer, name: str, kind: SpanKind, parent: Carrier | None, values: Values
) -> Iterator[Span]:
    context = None if parent is None else _W3C.extract(parent, _NOWHERE)
    with tracer.start_as_current_span(
        name,
        context,
        kind,
        attributes=values,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            failed(span, type(error).__name__)
            raise


def failed(span: Span | None, kind: str) -> None:
    """Say that what the span is about failed, and by what kind of error or failure."""
    if span is not None:
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR))


def traceparent() -> str | None:
    """The present span, as it is handed on to others; None when there is none."""
    if _tracer is None:
        return None
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent")
