"""Notes which test brings which route of the block storage API to a success: a plugin for pytest.

    .venv/bin/python -m pytest -p tests.routes_touched tests/service

The notes go to `.cache/coverage/routes_touched.json`, test by test; those of tests that were not
run this time stay. `tools/covering_tests.py` chooses from them the test that covers each route.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from breezeblock.api.routes import ROUTES
from breezeblock.model.idempotency import Answer
from breezeblock.web import app
from breezeblock.web.asgi import Request
from breezeblock.web.call import Call

NOTES = Path(__file__).parents[1] / ".cache" / "coverage" / "routes_touched.json"
DOCUMENTS = frozenset({"/", "/v3", "/v3/", "/healthcheck"})
"""What `web.app` answers beside the route table."""

_touched: dict[str, set[str]] = defaultdict(set)
_failed: set[str] = set()


def pytest_configure() -> None:
    app.answer_of = _noting_routes(app.answer_of)  # type: ignore[attr-defined]
    app.Api._page = _noting_documents(app.Api._page)  # type: ignore[method-assign]


def _noting_routes(answer_of: Any) -> Any:
    ours = frozenset(ROUTES)

    @wraps(answer_of)
    def noting(call: Call[Any], returned: Any) -> Answer:
        answer: Answer = answer_of(call, returned)
        if answer.status < 400 and call.route in ours:
            _note(f"{call.route.describe()} from {call.route.since or '3.0'}")
        return answer

    return noting


def _noting_documents(page: Any) -> Any:
    @wraps(page)
    async def noting(self: app.Api, asked: Request, path: str, *rest: Any) -> Answer:
        answer: Answer = await page(self, asked, path, *rest)
        if asked.path in DOCUMENTS and answer.status < 400 and self.service.name == "volume":
            _note(f"{asked.method} {asked.path} from none")
        return answer

    return noting


def _note(route: str) -> None:
    test = os.environ.get("PYTEST_CURRENT_TEST", "")
    if test:
        _touched[_function(test.rpartition(" ")[0])].add(route)


def _function(test: str) -> str:
    """The test without its parameters."""
    return test.partition("[")[0]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _touched[_function(report.nodeid)]  # one that touches nothing any more is noted, too
    if report.failed:
        _failed.add(_function(report.nodeid))


def pytest_sessionfinish() -> None:
    notes = json.loads(NOTES.read_text()) if NOTES.exists() else {}
    notes |= {test: sorted(routes) for test, routes in _touched.items()}
    kept = {test: notes[test] for test in sorted(notes) if notes[test] and test not in _failed}
    NOTES.parent.mkdir(parents=True, exist_ok=True)
    NOTES.write_text(json.dumps(kept, indent=1))
