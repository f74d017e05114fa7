"""From a request to a reply: who asks, for what, as a job or at once."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from msgspec import structs

from breezeblock.ontapsim import errors, forms, jobs, transfers
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import Body, parse
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.faults import Fault
from breezeblock.ontapsim.model import Account, Job, Lun, Request, Svm
from breezeblock.ontapsim.query import Query
from breezeblock.ontapsim.rest import Call, Form, Reply, Route, Scope, match, segments
from breezeblock.ontapsim.routes import ROUTES


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in. `path` is without /api and cut into its segments, still escaped."""

    method: str
    parts: tuple[str, ...]
    query: str = ""
    raw: bytes = b""
    authorization: str = ""
    svm: str = ""
    content_type: str = ""
    accept: str = ""
    faults: Sequence[Fault] = field(default=())

    @property
    def path(self) -> str:
        return "/" + "/".join(self.parts)

    @property
    def has_form(self) -> bool:
        return self.content_type.startswith(forms.CONTENT_TYPE)

    @property
    def wants_form(self) -> bool:
        return self.method == "GET" and forms.CONTENT_TYPE in self.accept


class Dispatcher:
    """Answers requests, and does what has become due."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def handle(self, asked: Asked) -> Reply:
        with self._array.lock:
            self.advance()
            try:
                return self._answer(asked)
            except ApiError as error:
                return Reply(error.status, error.body())

    def _answer(self, asked: Asked) -> Reply:
        scope = self._scope(asked)
        form = Form(wanted=asked.wants_form)
        document: dict[str, Any] = {}
        if asked.has_form:
            form = Form(data=forms.read(asked.content_type, asked.raw))
        else:
            document = parse(asked.raw)
        route, params = find(asked.method, asked.parts, asked.has_form or asked.wants_form)
        if route.cluster and scope.svm is not None:
            raise errors.not_authorized()
        for fault in asked.faults:
            if fault.what == "fail":
                raise ApiError(fault.status, fault.code, fault.message)
        call = Call(
            array=self._array,
            path=asked.path,
            query=Query.parse(asked.query),
            body=Body(document),
            scope=scope,
            params=params,
            form=form,
        )
        if asked.method == "GET":
            return route.handler(call)
        if route.job:
            return self._job(asked, route, call)
        with self._array.changing():
            reply = route.handler(call)
            self._spoil_transfers(asked)
        return reply

    # Who asks

    def _scope(self, asked: Asked) -> Scope:
        account = self._account(asked.authorization)
        own = self._array.state.get(Svm, account.svm) if account.svm else None
        if not asked.svm:
            return Scope(own)
        svm = self._array.svm(asked.svm, target="X-Dot-SVM-Name")
        if own is not None and own.uuid != svm.uuid:
            raise errors.not_authorized()
        return Scope(svm)

    def _account(self, authorization: str) -> Account:
        name, password = basic(authorization)
        account = self._array.state.find(Account, name)
        right = account.password if account else ""
        if account is None or not hmac.compare_digest(right.encode(), password.encode()):
            raise errors.wrong_password()
        return account

    # Jobs

    def _job(self, asked: Asked, route: Route, call: Call) -> Reply:
        """Accept it. Faults may let it fail later, or be forgotten."""
        array = self._array
        request = Request(
            method=asked.method,
            path=asked.path,
            query=asked.query,
            body=call.body.document,
            svm=call.svm_uuid,
        )
        spoilt = {f.what: f for f in asked.faults}
        delay = array.cluster.job_seconds
        failure = spoilt.get("job_fails")
        with array.changing():
            if failure:
                error = ApiError(500, failure.code, failure.message)
                job = jobs.new(array, request, due=array.now() + delay, failure=error)
            elif delay:
                job = jobs.new(array, request, due=array.now() + delay)
            else:
                reply = route.handler(call)
                job = jobs.new(array, request, location=reply.location)
            if "job_lost" in spoilt:
                array.state.put(structs.replace(job, lost=True))
        return Reply(202, jobs.accepted(job.uuid), job.location)

    def advance(self) -> None:
        """Do the jobs that are due, and end the transfers whose time is over."""
        array = self._array
        now = array.now()
        for job in jobs.due(array, now):
            self._run(job)
        if any(moment <= now for moment in transfers.pending(array)):
            with array.changing():
                transfers.finish(array, now)
        with array.state.transaction():
            jobs.forget(array, now)

    def _run(self, job: Job) -> None:
        array, request = self._array, job.request
        assert request is not None
        parts = segments(request.path)
        try:
            if job.failure:
                raise ApiError(500, *job.failure)
            route, params = find(request.method, parts, False)
            svm = array.state.get(Svm, request.svm) if request.svm else None
            call = Call(
                array=array,
                path=request.path,
                query=Query.parse(request.query),
                body=Body(request.body),
                scope=Scope(svm),
                params=params,
            )
            with array.changing():
                reply = route.handler(call)
                jobs.end(array, job, None, reply.location)
        except ApiError as error:
            with array.state.transaction():
                jobs.end(array, job, error)

    def next_due(self) -> float | None:
        """When there is something to do without being asked."""
        with self._array.lock:
            moments = [*jobs.pending(self._array), *transfers.pending(self._array)]
        return min(moments, default=None)

    def job(self, uuid: str) -> Job | None:
        with self._array.lock:
            self.advance()
            return self._array.state.find(Job, uuid)

    def _spoil_transfers(self, asked: Asked) -> None:
        """Let the moves and copies that this request has begun end badly."""
        for fault in asked.faults:
            if fault.what == "transfer_fails":
                for lun in self._array.state.all(Lun):
                    transfer = lun.move or lun.copy
                    if transfer and transfer.state == "replicating":
                        transfers.fail(self._array, lun.uuid, fault.message)


def find(method: str, parts: tuple[str, ...], form: bool) -> tuple[Route, dict[str, Any]]:
    """The route of a request; paths with a form have routes of their own."""
    known = False
    for route in ROUTES:
        params = match(route.path, parts)
        if params is None or (route.form and not form):
            continue
        known = True
        if route.method == method:
            return route, {name: unquote(value) for name, value in params.items()}
    raise errors.no_such_method() if known else errors.no_such_api()


def basic(authorization: str) -> tuple[str, str]:
    """Name and password of HTTP's basic authentication."""
    kind, _, text = authorization.partition(" ")
    if kind.lower() != "basic":
        raise errors.wrong_password()
    try:
        name, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise errors.wrong_password() from None
    if not colon:
        raise errors.wrong_password()
    return name, password
