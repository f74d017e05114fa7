"""Whatever a client sends, it gets an answer below 500 and nothing of the inside."""

from __future__ import annotations

import json
import string
from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from breezeblock.auth.authenticators import NoAuth
from breezeblock.auth.policy import Policy
from breezeblock.web.app import make_app
from breezeblock.web.call import Call
from breezeblock.web.query import page, parse_list
from breezeblock.web.routes import Route
from breezeblock.web.service import block_storage, compute
from tests.unit.web.toy import BOXES, ROUTES

HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(["size", "name", "metadata", "bogus"])
NAMES = st.sampled_from(
    [
        *("limit", "offset", "marker", "sort", "sort_key", "sort_dir", "all_tenants", "with_count"),
        *("name", "status", "size", "bootable", "metadata", "created_at", "name~", "other"),
    ]
)
VALUES = st.text(max_size=20) | st.text(string.digits + "'\"[]{}:,.-\\x0ugtTZ+", max_size=25)
CALM = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


async def list_boxes(call: Call[Any]) -> dict[str, Any]:
    query = parse_list(call, BOXES)
    return page(call, BOXES, query, ["view"], "last", total=5)


POLICY = Policy()
LISTS = [Route("GET", "/boxes", list_boxes)]


async def send(
    app: Any, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes, query: bytes
) -> int:
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def reply(message: dict[str, Any]) -> None:
        if "status" in message:
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": b"",
        "query_string": query,
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"cloud"), *headers],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 1),
    }
    await app(scope, receive, reply)
    return statuses[0]


def application(routes: Any = ROUTES, service: Any = None) -> Any:
    return make_app(
        service or block_storage(), routes, app=None, authenticator=NoAuth(), policy=POLICY
    )


JSON = (b"content-type", b"application/json")


@CALM
@given(st.binary(max_size=60) | st.dictionaries(FIELDS, ANY_JSON).map(lambda box: encode(box)))
async def test_bodies(body: bytes) -> None:
    app = application()
    length = (b"content-length", str(len(body)).encode())
    for path in ("/v3/boxes", "/v3/boxes/b/action", "/v3/locks/enable"):
        method = "PUT" if path.endswith("enable") else "POST"
        version = (b"openstack-api-version", b"volume 3.71")
        assert await send(app, method, path, [JSON, length, version], body, b"") < 500


def encode(box: Any) -> bytes:
    return json.dumps({"box": box}).encode("utf-8", "surrogatepass")


@CALM
@given(st.dictionaries(NAMES, VALUES, max_size=4), st.sampled_from(["3.0", "3.31", "3.71"]))
async def test_queries(query: dict[str, str], version: str) -> None:
    app = application(LISTS)
    headers = [(b"openstack-api-version", f"volume {version}".encode())]
    encoded = urlencode(query, errors="surrogatepass").encode()
    assert await send(app, "GET", "/v3/boxes", headers, b"", encoded) < 500


@CALM
@given(HEADER_TEXT, HEADER_TEXT, HEADER_TEXT, st.booleans())
async def test_headers(version: str, token: str, other: str, prefix: bool) -> None:
    text = f"volume {version}" if prefix else version
    headers = [
        (b"openstack-api-version", text.encode("latin-1")),
        (b"x-openstack-nova-api-version", version.encode("latin-1")),
        (b"x-auth-token", token.encode("latin-1")),
        (b"x-openstack-request-id", other.encode("latin-1")),
        (b"x-forwarded-host", other.encode("latin-1")),
        (b"content-type", other.encode("latin-1")),
        (b"content-length", other.encode("latin-1")),
        (b"accept", other.encode("latin-1")),
    ]
    for service in (block_storage(), compute()):
        app = application(service=service)
        for path in ("/", "/boxes", "/boxes/b1"):
            path = f"{service.prefix}{path}" if path != "/" else path
            assert await send(app, "GET", path, headers, b"", b"") < 500


@CALM
@given(st.text(max_size=30), st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "FOO"]))
async def test_paths(path: str, method: str) -> None:
    app = application()
    for prefix in ("/", "/v3/", "/v3/boxes/"):
        assert await send(app, method, prefix + path, [], b"", b"") < 500
