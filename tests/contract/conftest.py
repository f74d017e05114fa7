"""The fixtures that contract suites share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.crashing import Crasher
from tests.contract.drivers import CASES, Backend, Case, storage


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """A storage backend under test, one for each driver and configuration; removed at the end."""
    case: Case = request.param
    with storage(case, tmp_path) as root:
        backend = Backend(case, root)
        try:
            yield backend
        finally:
            backend.close()


@pytest.fixture(scope="session")
def crasher() -> Iterator[Crasher]:
    """Runs a driver's method in a process that dies on the way."""
    crasher = Crasher()
    try:
        yield crasher
    finally:
        crasher.close()
