"""What errors look like to a client, and what the log keeps."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from breezeblock.auth.authenticators import Authenticator, Unauthenticated
from breezeblock.model.errors import (
    BreezeblockError,
    Conflict,
    Failure,
    Forbidden,
    InvalidInput,
    InvalidState,
    NotFound,
    OperationFailed,
    OverQuota,
    Unavailable,
)
from breezeblock.web.call import Call
from breezeblock.web.faults import Fault
from breezeblock.web.routes import Route
from tests.unit.web.toy import client

FAILURE = Failure("no_space", "No pool is large enough.", "All are full.", "Add a disk.")


async def answer(error: Exception) -> httpx2.Response:
    async def fail(_call: Call[Any]) -> None:
        raise error

    async with client([Route("GET", "/boxes", fail)]) as http:
        return await http.get("/v3/boxes")


@pytest.mark.parametrize(
    ("error", "status", "key"),
    [
        (InvalidInput("size is odd"), 400, "badRequest"),
        (InvalidState("size is odd"), 400, "badRequest"),
        (BreezeblockError("size is odd"), 400, "badRequest"),
        (Forbidden("size is odd"), 403, "forbidden"),
        (Conflict("size is odd"), 409, "conflictingRequest"),
        (OverQuota("size is odd"), 413, "overLimit"),
        (Unavailable("size is odd"), 503, "serviceUnavailable"),
        (Fault(405, "size is odd"), 405, "badMethod"),
        (Fault(501, "size is odd"), 501, "notImplemented"),
        (Fault(502, "size is odd"), 502, "computeFault"),
    ],
)
async def test_each_error_has_its_status_and_envelope(
    error: Exception, status: int, key: str
) -> None:
    reply = await answer(error)
    assert reply.status_code == status
    assert list(reply.json()) == [key]
    content = reply.json()[key]
    assert (content["code"], content["message"]) == (status, "size is odd")


async def test_a_missing_resource_is_named() -> None:
    reply = await answer(NotFound("Volume", "v1"))
    expected = {"code": 404, "message": "Volume v1 could not be found."}
    assert reply.json() == {"itemNotFound": expected}


async def test_over_quota_tells_when_to_retry_in_header_and_body() -> None:
    reply = await answer(OverQuota("VolumeLimitExceeded: no more"))
    assert reply.headers["retry-after"] == "0"
    assert reply.json()["overLimit"]["retryAfter"] == "0"


async def test_unavailable_tells_when_to_retry() -> None:
    reply = await answer(Unavailable("The database is away."))
    assert int(reply.headers["retry-after"]) > 0


async def test_a_failed_operation_says_why() -> None:
    reply = await answer(OperationFailed(FAILURE))
    assert reply.status_code == 500
    message = reply.json()["computeFault"]["message"]
    assert message == "No pool is large enough. All are full. Add a disk."


async def test_a_stale_precondition_has_no_body() -> None:
    reply = await answer(Fault(412, "stale"))
    assert (reply.status_code, reply.content) == (412, b"")
    assert "content-type" not in reply.headers


async def test_the_unexpected_is_hidden_from_the_client_and_kept_in_the_log() -> None:
    error = RuntimeError("secret /etc/passwd")
    with capture_logs() as logs:
        reply = await answer(error)
    assert (reply.status_code, list(reply.json())) == (500, ["computeFault"])
    assert "secret" not in reply.text
    assert [entry["exc_info"] for entry in logs if entry["log_level"] == "error"] == [error]


async def test_expected_errors_leave_no_trace_in_the_log() -> None:
    with capture_logs() as logs:
        await answer(InvalidInput("x"))
    assert [entry["log_level"] for entry in logs] == ["info"]


async def test_an_answer_that_cannot_be_encoded_is_unexpected() -> None:
    async def strange(_call: Call[Any]) -> object:
        return {"a": object()}

    async with client([Route("GET", "/boxes", strange)]) as http:
        reply = await http.get("/v3/boxes")
    assert (reply.status_code, list(reply.json())) == (500, ["computeFault"])


class Closed(Authenticator):
    async def identify(self, headers: Any, method: str = "", path: str = "") -> Any:
        if "x-down" in headers:
            raise Unavailable("The identity service is away.")
        if "x-document" in headers:
            raise Unauthenticated("Authentication required", "Basic", {"error": {"code": 401}})
        raise Unauthenticated("Authentication required", "Basic")


async def test_without_credentials_the_answer_is_plain_text_with_a_challenge() -> None:
    async with client(authenticator=Closed()) as http:
        reply = await http.get("/v3/boxes", headers={"OpenStack-API-Version": "volume 3.5"})
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Basic"
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.headers["x-openstack-request-id"].startswith("req-")
    assert "openstack-api-version" not in reply.headers
    assert "x-compute-request-id" not in reply.headers


async def test_an_authenticator_may_answer_in_an_envelope_of_its_own() -> None:
    async with client(authenticator=Closed()) as http:
        reply = await http.get("/v3/boxes", headers={"x-document": "1"})
    assert reply.status_code == 401
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == {"error": {"code": 401}}


async def test_when_credentials_cannot_be_checked_the_answer_is_503() -> None:
    async with client(authenticator=Closed()) as http:
        reply = await http.get("/v3/boxes", headers={"x-down": "1"})
    assert reply.status_code == 503
