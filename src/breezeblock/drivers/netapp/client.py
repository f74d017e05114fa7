"""A thin client of ONTAP's REST interface: requests, pages, jobs, and what went wrong.

It keeps connections and no other state: any number of threads share one, and what belongs to one
call (how long it may still take) travels in a context variable. What it raises:

* `OntapError`: the array refused; callers branch on its `code` and look again before they act.
* `TemporaryError`: no answer, a time-out, a busy array. **The request may have been served all the
  same**: whoever repeats it looks at the state first.
* `JobLost`: the array does not know its job any more; look at the state.
* `StillWorking`: a job goes on longer than a call may wait.
"""

from __future__ import annotations

import itertools
import logging
import ssl
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, Literal, TypeVar, overload
from urllib.parse import quote, urlsplit

import httpx2
import msgspec

from breezeblock.drivers.base import PermanentError, StillWorking, TemporaryError
from breezeblock.drivers.netapp.options import NetAppOptions

log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT = 5.0
ANSWER = 25.0
"""Seconds for one answer; the array itself turns what takes longer into jobs."""
HOLD = 15
"""Seconds for which the array may hold a request before it turns it into a job."""
POLL = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between looks at a job; the last one again and again."""
CALL = 45.0
"""Seconds that one call of the driver may take altogether: see `bounded`."""
PAGE = 1000
CONNECTIONS = 32
REQUEST_EVENT = "breezeblock.request"
"""Audit event before each request that may change something: a place for tests to die at."""

NOT_AUTHORISED = 6
NO_SUCH_API = 3
NO_SUCH_ENTRY = 4
LOST = "The storage array did not answer; it may have done what was asked."
BUSY = (HTTPStatus.TOO_MANY_REQUESTS,)

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class OntapError(Exception):
    """The array's refusal: `code` is its number, `target` the field it means, `request` what was
    asked."""

    request = ""

    def __init__(self, code: int, message: str, target: str = "", status: int = 0) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.target = target
        self.status = status

    @property
    def temporary(self) -> bool:
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status in BUSY


class JobLost(TemporaryError):
    """The array does not know the job any more: whether it was done, the state shows."""

    def __init__(self) -> None:
        super().__init__("The storage array has forgotten the job; its outcome is looked at again.")


class _Error(msgspec.Struct, frozen=True):
    code: str | int = 0
    message: str = ""
    target: str = ""


class _Link(msgspec.Struct, frozen=True):
    href: str


class _Links(msgspec.Struct, frozen=True):
    next: _Link | None = None


class _Named(msgspec.Struct, frozen=True):
    uuid: str


class _Reply(msgspec.Struct, frozen=True):
    """What any answer may hold."""

    records: list[dict[str, Any]] = []
    num_records: int | None = None
    links: _Links = msgspec.field(name="_links", default=_Links())
    error: _Error | None = None
    job: _Named | None = None


class _Job(msgspec.Struct, frozen=True):
    state: str
    code: int = 0
    message: str = ""
    error: _Error | None = None


@contextmanager
def bounded(seconds: float = CALL) -> Iterator[None]:
    """All requests of this thread's call together take no longer than that."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def time_left() -> float:
    """Seconds that the present call may still take."""
    deadline = _deadline.get()
    return CALL if deadline is None else max(0.0, deadline - time.monotonic())


@contextmanager
def in_our_words() -> Iterator[None]:
    """What the array refused and nobody expected, as the driver's two errors."""
    try:
        yield
    except OntapError as error:
        log.warning("%s was refused: %s, field %r", error.request, error, error.target)
        if error.code == NOT_AUTHORISED:
            raise PermanentError(
                "The storage array does not permit this to the driver's account.",
                remedy="Give the account the rights that docs/drivers/netapp.md lists.",
            ) from error
        said = f"The storage array refused: {error.message} (code {error.code})"
        raise (TemporaryError if error.temporary else PermanentError)(said) from error


def part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="").replace(".", "%2E")


class Ontap:
    """The array, as one account sees it."""

    def __init__(
        self, options: NetAppOptions, transport: httpx2.BaseTransport | None = None
    ) -> None:
        """Connects to nothing yet. Raises ValueError for certificates that cannot be read."""
        self._svm = {} if options.vserver is None else {"X-Dot-SVM-Name": options.vserver}
        self._http = httpx2.Client(
            base_url=options.url,
            auth=httpx2.BasicAuth(options.login, options.password),
            verify=_trusted(options),
            timeout=httpx2.Timeout(ANSWER, connect=CONNECT),
            limits=httpx2.Limits(max_connections=CONNECTIONS),
            headers={"Accept": "application/json"},
            transport=transport,
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    @overload
    def records(
        self,
        path: str,
        query: Mapping[str, Any] = ...,
        *,
        fields: Sequence[str] = ...,
        cluster: bool = ...,
    ) -> list[dict[str, Any]]: ...

    @overload
    def records(
        self,
        path: str,
        query: Mapping[str, Any] = ...,
        *,
        fields: Sequence[str] = ...,
        cluster: bool = ...,
        kind: type[T],
    ) -> list[T]: ...

    def records(
        self,
        path: str,
        query: Mapping[str, Any] = {},
        *,
        fields: Sequence[str] = (),
        cluster: bool = False,
        kind: type[Any] = dict,
    ) -> list[Any]:
        """All records of a collection that match, with these fields, as dicts or structs `kind`.

        `cluster`: asked of the cluster, not of the SVM.
        """
        asked = _query(query, {"max_records": PAGE, **_fields(fields)})
        found: list[dict[str, Any]] = []
        reply = self._ask("GET", path, query=asked, cluster=cluster)
        found += reply.records
        while reply.links.next is not None:
            following = urlsplit(reply.links.next.href)
            inside = following.path.removeprefix("/api")
            reply = self._ask("GET", inside, raw_query=following.query, cluster=cluster)
            found += reply.records
        return msgspec.convert(found, list[kind], strict=False)  # type: ignore[valid-type]

    def count(self, path: str, query: Mapping[str, Any] = {}, *, cluster: bool = False) -> int:
        """How many records match."""
        asked = _query(query, {"return_records": "false"})
        return self._ask("GET", path, query=asked, cluster=cluster).num_records or 0

    def get(
        self, path: str, *, fields: Sequence[str] = (), cluster: bool = False
    ) -> dict[str, Any]:
        """One object by its path. Raises OntapError (code 4: no such entry)."""
        content = self._send("GET", path, _query({}, _fields(fields)), None, cluster)
        return msgspec.json.decode(content, type=dict[str, Any])

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        returning: bool = False,
        job: bool = False,
        cluster: bool = False,
    ) -> dict[str, Any]:
        """Make something. `returning`: the record made, else an empty dict; `job`: where the array
        works in jobs, so that it may hold the answer for a while."""
        query = _query({"return_records": "true"} if returning else {}, _held(job))
        reply = self._ask("POST", path, query=query, body=body, cluster=cluster)
        return reply.records[0] if reply.records else {}

    def patch(
        self,
        path: str,
        body: Mapping[str, Any],
        query: Mapping[str, Any] = {},
        *,
        job: bool = False,
        cluster: bool = False,
    ) -> None:
        asked = _query(query, _held(job))
        self._ask("PATCH", path, query=asked, body=body, cluster=cluster)

    def write(
        self,
        method: Literal["POST", "PATCH"],
        path: str,
        content: bytes,
        query: Mapping[str, Any] = {},
    ) -> None:
        """Write bytes to a file, a new one (POST) or one that is there (PATCH, `byte_offset`)."""
        self._send(method, path, _query(query, {}), content, cluster=False)

    def delete(
        self,
        path: str,
        query: Mapping[str, Any] = {},
        *,
        job: bool = False,
        cluster: bool = False,
    ) -> None:
        self._ask("DELETE", path, query=_query(query, _held(job)), cluster=cluster)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        raw_query: str = "",
        body: Mapping[str, Any] | None = None,
        cluster: bool = False,
    ) -> _Reply:
        """The answer, of a finished job if it became one."""
        asked = raw_query if query is None else query
        content = self._send(method, path, asked, body, cluster)
        reply = _decoded(content, _Reply)
        if reply.job is not None and method != "GET":
            self._await(reply.job.uuid)
        return reply

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | str,
        body: Mapping[str, Any] | bytes | None,
        cluster: bool,
    ) -> bytes:
        patience = time_left()
        if patience <= 0:
            raise TemporaryError("The storage array takes too long to answer.", retry_after=2.0)
        if method != "GET":
            sys.audit(REQUEST_EVENT, method, path)
        request = self._http.build_request(
            method,
            f"/api{path}",
            params=httpx2.QueryParams(query),
            **_content(body),
            headers={} if cluster else self._svm,
            timeout=httpx2.Timeout(min(ANSWER, patience), connect=min(CONNECT, patience)),
        )
        try:
            reply = self._sent(request)
        except httpx2.HTTPError as error:
            log.warning("%s %s: %s: %s", method, path, type(error).__name__, error)
            raise _unanswered(error) from error
        try:
            _refuse_unless_fine(reply)
        except OntapError as error:
            error.request = f"{method} {path}"
            raise
        return reply.content or b"{}"

    def _sent(self, request: httpx2.Request) -> httpx2.Response:
        """Reading is tried twice: a connection kept for long may have been closed meanwhile."""
        try:
            return self._http.send(request)
        except (httpx2.NetworkError, httpx2.RemoteProtocolError):
            if request.method != "GET":
                raise
            return self._http.send(request)

    def _await(self, job: str) -> None:
        """Wait for the job's end. Raises OntapError for its failure, JobLost, StillWorking."""
        for look in itertools.count():
            try:
                content = self._send("GET", f"/cluster/jobs/{job}", _fields(_JOB), None, True)
            except OntapError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    raise JobLost from error
                raise
            found = _decoded(content, _Job)
            if found.state == "success":
                return
            if found.state == "failure":
                why = found.error or _Error(found.code, found.message)
                raise OntapError(_number(why.code), why.message or "a job failed")
            pause = POLL[min(look, len(POLL) - 1)]
            if time_left() <= pause:
                raise StillWorking("The storage array is still working on it.", retry_after=2.0)
            time.sleep(pause)


_JOB = ("state", "code", "message", "error")


def _trusted(options: NetAppOptions) -> ssl.SSLContext | bool:
    if options.transport_type == "http":
        return False  # no certificates are looked at, so none need be read
    if options.ssl_cert_path is None:
        return True
    try:
        return ssl.create_default_context(cafile=options.ssl_cert_path)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"netapp_ssl_cert_path: {options.ssl_cert_path}: {error}") from error


def _query(query: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, str]:
    return {key: _text(value) for key, value in {**query, **more}.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fields(fields: Sequence[str]) -> dict[str, str]:
    return {"fields": ",".join(fields)} if fields else {}


def _held(job: bool) -> dict[str, Any]:
    return {"return_timeout": HOLD} if job else {}


def _content(body: Mapping[str, Any] | bytes | None) -> dict[str, Any]:
    """A request's body: JSON, or what is to be in a file."""
    if body is None:
        return {}
    if isinstance(body, bytes):
        return {"files": {"file": ("file", body)}}
    return {"json": body}


def _decoded(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise TemporaryError(
            "The storage array's answer makes no sense.", retry_after=5.0
        ) from error


def _unanswered(error: httpx2.HTTPError) -> TemporaryError:
    """What a request without an answer means. A connection that never was has done nothing."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return TemporaryError(
            "The storage array's certificate is not trusted.",
            retry_after=5.0,
            remedy="Set netapp_ssl_cert_path to a file with the CA certificate of the array.",
        )
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return TemporaryError(
            "The storage array cannot be reached.",
            retry_after=2.0,
            remedy="Check netapp_server_hostname, netapp_server_port, netapp_transport_type and "
            "the network; the service's log has what the connection came to.",
        )
    return TemporaryError(LOST, retry_after=2.0)


def _refuse_unless_fine(reply: httpx2.Response) -> None:
    """Raises what the answer's status and body say, if it is no success."""
    if reply.status_code == HTTPStatus.UNAUTHORIZED:
        raise PermanentError(
            "The storage array does not accept the driver's account.",
            remedy="Check netapp_login and netapp_password.",
        )
    if reply.is_success:
        return
    try:
        said = msgspec.json.decode(reply.content, type=_Reply).error
    except msgspec.DecodeError:
        said = None
    if said is not None and _number(said.code):
        raise OntapError(_number(said.code), said.message, said.target, reply.status_code)
    if reply.is_server_error or reply.status_code in BUSY:
        raise TemporaryError("The storage array is busy or not whole.", retry_after=2.0)
    raise OntapError(0, f"HTTP status {reply.status_code}", status=reply.status_code)


def _number(code: str | int) -> int:
    return int(code) if str(code).isdigit() else 0
