"""What a process that was really started writes, exports and tells while a volume is made.

Its log as JSON lines, its spans by the real exporter to a receiver of ours, its metrics.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.deployment import BREEZEBLOCK, PATIENCE
from tests.engines.process import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

TRACE = "0af7651916cd43dd8448eb211c80319c"
GLOBAL_ID = "req-00000000-0000-4000-8000-00000000beef"


class Receiver:
    """An OTLP receiver: keeps the spans that are posted to it, and the services they are of."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.path == "/v1/traces"
                kept.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        for told in request.resource_spans:
            named = (one for one in told.resource.attributes if one.key == "service.name")
            self.services |= {one.value.string_value for one in named}
            self.spans += [span for scope in told.scope_spans for span in scope.spans]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


def start(directory: Path, **options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(BREEZEBLOCK), "run", "api", "scheduler", "volume", "--data", str(directory)],
        env={**os.environ, **options},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_what_a_started_process_tells(tmp_path: Path, receiver: Receiver) -> None:
    port, monitoring = free_port(), free_port()
    process = start(
        tmp_path,
        BREEZEBLOCK_API__PORT=str(port),
        BREEZEBLOCK_MONITORING__LISTEN=f"127.0.0.1:{monitoring}",
        BREEZEBLOCK_LOG_FORMAT="json",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
    )
    try:
        async with httpx2.AsyncClient() as http:
            await until_ready(http, monitoring, process)
            made = await make(http, port)
            told = (await http.get(f"http://127.0.0.1:{monitoring}/metrics")).text
    finally:
        process.terminate()
        written = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert 'breezeblock_requests_total{action="",api="volume",method="POST"' in told
    lines = [json.loads(line) for line in written.splitlines()]
    ours = [line for line in lines if line.get("request_id") == made["request_id"]]
    (asked,) = (line for line in ours if line["event"] == "request")
    assert asked["global_request_id"] == GLOBAL_ID
    assert (asked["user"], asked["project"]) == ("ada", "p1")
    steps = [line for line in ours if line["event"] == "step"]
    assert {line["step"] for line in steps} >= {"schedule", "build"}
    assert all(line["operation"] and line["epoch"] for line in steps)
    assert "global_request_id" not in steps[0], "that is the request's, not the operation's"
    spans = {one.name: one for one in receiver.spans if one.trace_id == bytes.fromhex(TRACE)}
    asked_for, build = spans["POST /v3/volumes"], spans["create_volume build"]
    assert build.parent_span_id == asked_for.span_id
    assert spans["driver create"].parent_span_id == build.span_id
    assert receiver.services == {"breezeblock"}


async def until_ready(http: httpx2.AsyncClient, port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        try:
            if (await http.get(f"http://127.0.0.1:{port}/ready")).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        await asyncio.sleep(0.1)


async def make(http: httpx2.AsyncClient, port: int) -> dict[str, str]:
    """A volume, made to the end, as part of somebody's trace and chain of requests."""
    url = f"http://127.0.0.1:{port}/v3/volumes"
    headers = {
        "X-Auth-Token": "ada:p1",
        "X-OpenStack-Request-ID": GLOBAL_ID,
        "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
    }
    reply = await http.post(url, json={"volume": {"size": 1}}, headers=headers)
    assert reply.status_code == 202, reply.text
    ident = reply.json()["volume"]["id"]
    async with asyncio.timeout(PATIENCE):
        while True:
            shown = await http.get(f"{url}/{ident}", headers={"X-Auth-Token": "ada:p1"})
            if shown.json()["volume"]["status"] == "available":
                return {"request_id": reply.headers["x-openstack-request-id"]}
            await asyncio.sleep(0.1)
