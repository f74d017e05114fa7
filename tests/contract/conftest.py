"""The fixtures that contract suites share."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.local import LocalDriver
from breezeblock.model.ids import new_id
from breezeblock.store import schema
from breezeblock.store.store import Store
from tests.contract.crashing import Crasher
from tests.contract.drivers import CASES, Backend, Case, Local, storage
from tests.contract.hosts import Host
from tests.contract.local_volumes import Start


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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process of one backend; each may have other options."""
    started: list[tuple[Local, LocalDriver]] = []

    def start(**options: Any) -> LocalDriver:
        local = Local(options)
        driver = local.new(tmp_path)
        started.append((local, driver))
        driver.setup()
        return driver

    try:
        yield start
    finally:
        for _, driver in started:
            driver.close()
        for local, driver in started[:1]:
            local.remove(driver)
            shutil.rmtree(driver.options.path)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host("host-a", tmp_path / "host-a")


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store on either database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/test.sqlite"
    else:
        postgres = request.getfixturevalue("postgres")
        url = postgres.create_database(f"store_{new_id().replace('-', '')[:12]}")
    store = Store(url)
    schema.upgrade(store)
    yield store
    store.close()
