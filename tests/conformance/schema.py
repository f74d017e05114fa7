"""Our own OpenAPI document, held against the service that serves it: `schema`.

    .venv/bin/python -m tests.conformance.schema [--seed N] [--version 3.27 …] [--only TEXT]

For each route of several versions, schemathesis makes requests from the served document, true ones
and ones that break it; then come lies that no schema inspires (`storm/lies.py`). A case is one
request. It passes when the answer is one that the document names, in status, headers, content type
and body; when it is no 500; when what the document refuses is not done, and what it allows is not
refused as malformed. In the end rows and backends must agree (`model/invariants`).
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode

import httpx2
import hypothesis
import schemathesis
import structlog
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core import NotSet
from schemathesis.core.failures import FailureGroup

from tests.conformance.storm import lies
from tests.conformance.storm.ground import Ground, open_ground
from tests.conformance.storm.hints import IDS, KNOWN, KNOWN_QUERY, told
from tests.conformance.storm.lies import Lie
from tests.conformance.storm.narrowed import Json, narrowed
from tests.conformance.storm.verdicts import Judge, is_refusal, parsed
from tests.conformance.suite import Difference, Result, tell
from tests.service.catalog_fixture import PROJECT
from tests.service.posts import POSTS, Prepared

NAME = "schema"
VERSIONS = ("3.0", "3.27", "3.44", "3.60", "3.71")
ROLES = ("admin",) * 6 + ("member", "reader")
SHOWN = 60
"""So many failures are told one by one."""

CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
REJECTIONS = [400, 401, 403, 404, 406, 409, 412, 413, 415, 422]
CONFIG = {"checks": {"negative_data_rejection": {"expected-statuses": REJECTIONS}}}


@dataclass(frozen=True)
class Plan:
    """How much is asked: per route and version, requests of each kind."""

    versions: tuple[str, ...] = VERSIONS
    true: int = 16
    negative: int = 10
    lies: int = 20
    seed: int = 1
    only: str = ""


class Asked(NamedTuple):
    """One request, and what was said of its answer."""

    method: str
    url: str
    headers: Mapping[str, str | bytes]
    content: bytes | None
    body: Any
    """The document that `content` is; a NotSet when it is none."""


@dataclass
class Tally:
    """What was found. Failures that look alike are counted and told once."""

    cases: int = 0
    failed: int = 0
    told: dict[tuple[str, str], Difference] = field(default_factory=dict)
    successes: dict[str, int] = field(default_factory=dict)

    def note(self, route: str, asked: Asked, reply: httpx2.Response, faults: list[str]) -> None:
        self.cases += 1
        done = reply.status_code < 400
        self.successes[route] = self.successes.get(route, 0) + done
        if faults:
            self.failed += 1
            body = (asked.content or b"")[:300].decode(errors="replace")
            special = {name: value for name, value in asked.headers.items() if name != _TOKEN}
            case = f"{asked.method} {asked.url[:300]} {special} {body}"
            came = f"{reply.status_code} {reply.text[:300]}"
            for fault in faults:
                key = route.partition(" from ")[0], fault[:60]
                self.told.setdefault(key, Difference(case, fault, came))


_TOKEN = "X-Auth-Token"


def run(plan: Plan | None = None) -> Result:
    """The whole storm, or what the plan says of it."""
    plan = plan or Plan()
    tally = Tally()
    with silence(), open_ground() as ground:
        for version in plan.versions:
            Storm(ground, plan, version, tally).rage()
        violations = ground.violations()
    wrong = [Difference("rows and backends", "agree", one) for one in violations]
    untouched = sorted(route for route, done in tally.successes.items() if not done)
    details: list[Difference | str] = [*list(tally.told.values())[:SHOWN], *wrong]
    details += [f"never brought to a success: {', '.join(untouched)}"] if untouched else []
    failed = tally.failed + len(wrong)
    return Result(NAME, tally.cases + 1 - failed, failed, 0, details)


@contextmanager
def silence() -> Iterator[None]:
    """Without the log of each request: there are thousands."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with warnings.catch_warnings():
            # schemathesis draws from `random` in its strategies; hypothesis warns of it each time.
            warnings.simplefilter("ignore", hypothesis.errors.HypothesisDeprecationWarning)
            yield
    finally:
        structlog.configure(**before)


class Storm:
    """The requests of one version."""

    def __init__(self, ground: Ground, plan: Plan, version: str, tally: Tally) -> None:
        self._ground = ground
        self._plan = plan
        self._version = version
        self._tally = tally
        self._dice = random.Random(f"{plan.seed} {version}")
        headers = {"OpenStack-API-Version": f"volume {version}"}
        self._document = narrowed(ground.ask("GET", "/openapi.json", headers).json())
        self._judge = Judge(self._document)
        config = schemathesis.Config.from_dict(CONFIG)
        self._schema = schemathesis.openapi.from_dict(self._document, config=config)
        load_all_checks()
        self._checks = CHECKS.get_by_names(list(CHECKED))

    def rage(self) -> None:
        for found in self._schema.get_all_operations():
            operation = found.ok()
            if self._plan.only in f"{operation.method.upper()} {operation.path}":
                self._ground.restore(operation.path)
                self._one(operation)

    def _one(self, operation: Any) -> None:
        raw = self._document["paths"][operation.path][operation.method]
        positive = self._cases(operation, GenerationMode.POSITIVE, self._plan.true)
        for case in positive:
            self._try(operation, raw, self._of_case(case, raw), case)
        for case in self._cases(operation, GenerationMode.NEGATIVE, self._plan.negative):
            self._try(operation, raw, self._of_case(case, raw), case)
        for asked in self._lies(raw, positive):
            self._try(operation, raw, asked)
        if operation.method == "post":
            self._posts(operation, raw)

    def _posts(self, operation: Any, raw: Json) -> None:
        """True requests of a POST that is made for what there is, and lies about them."""
        for prepared in posts_of(operation.path):
            true = self._prepared(prepared)
            self._try(operation, raw, true, must_be_done=self._version == VERSIONS[-1])
            for _ in range(max(1, self._plan.lies // 8)):
                true = self._prepared(prepared)
                for lie in lies.bodies(true.body, self._dice, 4):
                    content = lie.body or b""
                    spoiled = true._replace(content=content, body=_parsed(content))
                    self._try(operation, raw, spoiled)
                self._try(operation, raw, true)  # which may settle what was prepared for it

    def _prepared(self, prepared: Prepared) -> Asked:
        post = self._ground.do(prepared(self._ground.house))
        headers = {**self._headers(post.role), "Content-Type": "application/json"}
        return Asked("POST", f"/v3{post.path}", headers, json.dumps(post.body).encode(), post.body)

    def _cases(self, operation: Any, mode: GenerationMode, number: int) -> list[Case]:
        """Requests as schemathesis makes them. They are made first and tried later."""
        found: list[Case] = []

        @hypothesis.seed(self._plan.seed)
        @hypothesis.settings(
            max_examples=number,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(operation.as_strategy(generation_mode=mode))
        def collect(case: Case) -> None:
            found.append(case)

        try:
            collect()
        except hypothesis.errors.Unsatisfiable:
            return []  # nothing of this operation can be wrong by its schema
        return found

    def _of_case(self, case: Case, raw: Json) -> Asked:
        """The request of a case; a true one is told about what there is."""
        is_true = case.meta is not None and case.meta.generation.mode.is_positive
        url = self._url(case.path, case.path_parameters)
        query = case.as_transport_kwargs(base_url="http://cloud").get("params")
        if query and is_true:
            query = told(dict(query), KNOWN_QUERY, self._dice)
        url += f"?{urlencode(query, doseq=True, errors='replace')}" if query else ""
        headers = self._headers()
        if isinstance(case.body, NotSet):
            return Asked(case.method, url, headers, None, case.body)
        headers["Content-Type"] = "application/json"
        content = case.body
        if not isinstance(content, bytes):
            hinted = told(content, KNOWN, self._dice) if is_true else content
            body = hinted if self._judge.allows(raw, hinted) else content
            content = self._with_ids(json.dumps(body).encode())
        return Asked(case.method, url, headers, content, _parsed(content))

    def _lies(self, operation: Json, true: list[Case]) -> Iterator[Asked]:
        dice, number = self._dice, self._plan.lies
        if not true:
            return
        names = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
        is_get = true[0].method == "GET"
        for lie in lies.queries(names, dice, number if names else 2):
            yield self._spoiled(dice.choice(true), operation, lie)
        for lie in lies.headers(dice, number // 3):
            yield self._spoiled(dice.choice(true), operation, lie)
        if not is_get:
            for _ in range(number):
                case = dice.choice(true)
                body = {} if isinstance(case.body, NotSet) else case.body
                for lie in lies.bodies(body, dice, 1):
                    yield self._spoiled(case, operation, lie)

    def _spoiled(self, case: Case, raw: Json, lie: Lie) -> Asked:
        asked = self._of_case(case, raw)
        url = asked.url.partition("?")[0] + f"?{lie.query}" if lie.query else asked.url
        headers = {"Content-Type": "application/json", **asked.headers, **lie.headers}
        content = asked.content if lie.body is None else self._with_ids(lie.body)
        return Asked(asked.method, url, headers, content, _parsed(content))

    def _url(self, path: str, parameters: Mapping[str, Any]) -> str:
        path = path.partition("#")[0]
        url = path
        for name, value in parameters.items():
            said = unquote(str(value))  # schemathesis has quoted it
            text = self._ground.field(path, f"{{{name}}}", said, self._dice)
            url = url.replace(f"{{{name}}}", quote(text, safe="", errors="replace"))
        return f"/v3{url}"

    def _headers(self, role: str = "") -> dict[str, str | bytes]:
        role = role or self._dice.choice(ROLES)
        return {
            _TOKEN: f"{role}-user:{PROJECT}:{role}",
            "OpenStack-API-Version": f"volume {self._version}",
        }

    def _with_ids(self, content: bytes) -> bytes:
        for collection, idents in IDS.items():
            for number, ident in enumerate(idents):
                if ident.encode() in content:
                    real = self._ground.ident(collection, number)
                    content = content.replace(ident.encode(), real.encode())
        return content

    def _try(
        self,
        operation: Any,
        raw: Json,
        asked: Asked,
        case: Case | None = None,
        must_be_done: bool = False,
    ) -> None:
        route = f"{operation.method.upper()} {operation.path}"
        reply = self._ground.ask(asked.method, asked.url, asked.headers, asked.content)
        faults = list(self._judge.faults_of(raw, reply))
        faults += self._of_body(raw, asked, reply)
        if must_be_done and reply.status_code >= 400:
            faults.append("what is asked rightly is done")
        if case is not None and not faults:
            faults += self._of_schemathesis(case, reply)
        self._tally.note(route, asked, reply, faults)

    def _of_body(self, raw: Json, asked: Asked, reply: httpx2.Response) -> Iterator[str]:
        if isinstance(asked.body, NotSet):
            return
        allowed = self._judge.allows(raw, asked.body)
        if allowed is False and reply.status_code < 400:
            yield "a body that the document refuses is refused"
        plain = asked.headers.get("Content-Type") == "application/json"
        if allowed is True and plain and is_refusal(reply):
            yield "a body that the document allows is not refused as malformed"

    def _of_schemathesis(self, case: Case, reply: httpx2.Response) -> Iterator[str]:
        try:
            case.validate_response(reply, checks=self._checks)
        except FailureGroup as group:
            yield from (f"{one.title}: {one.message}" for one in group.exceptions)


def posts_of(path: str) -> list[Prepared]:
    """The true requests that there are for the POST of this path."""
    path, _, action = path.partition("#")
    route = f"POST {path}" + (f" ({action})" if action else "")
    return [
        prepared
        for name, prepared in POSTS.items()
        if name == route or (name.startswith(f"{route} ") and (action or "(" not in name))
    ]


def _parsed(content: bytes | None) -> Any:
    """The document that the bytes are, if they are one."""
    try:
        return parsed(content) if content else NotSet()
    except (ValueError, RecursionError):
        return NotSet()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.schema", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--version", nargs="*", default=VERSIONS, help="versions, as in 3.27")
    parser.add_argument("--only", default="", help="operations with this in their method and path")
    given = parser.parse_args()
    plan = Plan(tuple(given.version), seed=given.seed, only=given.only)
    return 1 if tell(NAME, lambda: run(plan)).failed else 0


if __name__ == "__main__":
    sys.exit(main())
