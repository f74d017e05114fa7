"""One trace from the request to the driver's call, with the real SDK; well-formed parents only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from breezeblock.compute.block_storage import BlockStorage
from breezeblock.drivers.base import PermanentError
from breezeblock.telemetry import tracing
from tests.service.watched import Watched, watch

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SECRET = "hunter2"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    try:
        yield exporter
    finally:
        tracing.use(None)


def of_trace(spans: InMemorySpanExporter, trace: str = TRACE) -> dict[str, ReadableSpan]:
    """The finished spans of a trace, by name."""
    wanted = int(trace, 16)
    return {one.name: one for one in spans.get_finished_spans() if one.context.trace_id == wanted}


def parent(span: ReadableSpan) -> int:
    return span.parent.span_id if span.parent else 0


async def attach(watched: Watched, volume_id: str, **headers: str) -> None:
    connector = {"host": "c1", "initiator": "iqn.c1", "auth_password": SECRET}
    wish = {"attachment": {"volume_uuid": volume_id, "connector": connector}}
    reply = await watched.call("POST", "/v3/attachments", wish, **headers)
    assert reply.status_code == 200, reply.text


async def test_a_create_and_an_attach_are_one_connected_trace(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    told = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    async with watch(tmp_path) as watched:
        reply = await watched.call("POST", "/v3/volumes", {"volume": {"size": 1}}, **told)
        ident = reply.json()["volume"]["id"]
        await watched.until_status(ident, "available")
        await attach(watched, ident, **told)
    found = of_trace(spans)
    asked, attached = found["POST /v3/volumes"], found["POST /v3/attachments"]
    assert parent(asked) == parent(attached) == int(CALLER, 16)
    for above, step, call in (
        (asked, "create_volume build", "driver create"),
        (attached, "attach_volume export", "driver export"),
    ):
        assert parent(found[step]) == above.context.span_id
        assert parent(found[call]) == found[step].context.span_id
    assert parent(found["create_volume schedule"]) == asked.context.span_id
    assert asked.kind is SpanKind.SERVER
    assert (
        dict(asked.attributes or {}).items()
        >= {
            "http.request.method": "POST",
            "http.route": "/v3/volumes",
            "http.response.status_code": 202,
            "breezeblock.request_id": reply.headers["x-openstack-request-id"],
        }.items()
    )
    step = dict(found["create_volume build"].attributes or {})
    assert step["breezeblock.request_id"] == reply.headers["x-openstack-request-id"]
    assert not [one for one in found.values() if SECRET in one.to_json()]


async def test_what_fails_is_marked_without_its_text(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    told = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    async with watch(tmp_path) as watched:
        watched.driver.failures["create"] = PermanentError(f"password {SECRET} is wrong")
        reply = await watched.call("POST", "/v3/volumes", {"volume": {"size": 1}}, **told)
        await watched.until_status(reply.json()["volume"]["id"], "error")
    found = of_trace(spans)
    for name, kind in (("driver create", "PermanentError"), ("create_volume build", "backend")):
        assert found[name].status.status_code is StatusCode.ERROR
        assert dict(found[name].attributes or {})["error.type"] == kind
    assert not [one for one in found.values() if SECRET in one.to_json()]


MALFORMED = (
    f"00-{TRACE}-{CALLER}",
    f"00-{'0' * 32}-{CALLER}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"ff-{TRACE}-{CALLER}-01",
    f"00-{TRACE.upper()}-{CALLER}-01",
    f"00-{TRACE}-{CALLER}-01-more",
    f"00-{TRACE}-{CALLER}-01, 00-{TRACE}-{CALLER}-01",
    "x" * 10_000,
)


async def test_a_malformed_parent_begins_a_trace_of_its_own(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    async with watch(tmp_path, until_up=False) as watched:
        for header in MALFORMED:
            reply = await watched.call("GET", "/v3/volumes", traceparent=header)
            assert reply.status_code == 200
    asked = [one for one in spans.get_finished_spans() if one.name == "GET /v3/volumes"]
    assert len(asked) == len(MALFORMED)
    assert not any(one.parent for one in asked)


async def test_what_nobody_asked_for_has_no_spans(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    async with watch(tmp_path):
        pass
    assert not [one for one in spans.get_finished_spans() if one.name == "driver stats"]


async def test_paths_and_queries_of_clients_are_in_no_span(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    async with watch(tmp_path, until_up=False) as watched:
        await watched.call("GET", f"/v3/volumes/{SECRET}?token={SECRET}")
        await watched.call("GET", f"/{SECRET}")
    texts = [one.to_json() for one in spans.get_finished_spans()]
    assert len(texts) >= 2
    assert not [text for text in texts if SECRET in text]


async def test_block_storage_is_asked_as_part_of_the_trace(
    tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    """What compute asks of block storage, and what is done for it there."""
    async with watch(tmp_path) as watched:
        ident = await watched.create()
        port = watched.process.servers["api"].port
        storage = BlockStorage(watched.http, f"http://127.0.0.1:{port}/v3")
        with tracing.step("create_server attach", f"00-{TRACE}-{CALLER}-01", {}):
            await storage.volume(ident)
    found = of_trace(spans)
    step = found["create_server attach"]
    assert parent(found["GET /v3/volumes/{volume_id}"]) == step.context.span_id
