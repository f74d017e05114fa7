"""What tests of the compute service may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from breezeblock.compute import explain, pauses
from breezeblock.compute.workflows import create_server, delete_server
from tests.service.compute.cloud import ComputeCloud, Tokens, open_compute
from tests.service.house import House, open_house


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that is tried again is tried again at once."""
    monkeypatch.setattr(explain, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(pauses, "LONGEST", 0.01)
    for workflow in (create_server, delete_server):
        monkeypatch.setattr(workflow, "LOOK_AGAIN", 0.01)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Block storage, for callers with the compute service's kind of tokens."""
    async with open_house(tmp_path, authenticator=Tokens()) as opened:
        yield opened


@pytest.fixture
async def cloud(tmp_path: Path, house: House) -> AsyncIterator[ComputeCloud]:
    """Both services; the agent works by itself."""
    async with open_compute(tmp_path, house) as opened:
        yield opened


@pytest.fixture
async def still(tmp_path: Path, house: House) -> AsyncIterator[ComputeCloud]:
    """Both services; the agent works when the test says `drive`."""
    async with open_compute(tmp_path, house, serves=False) as opened:
        yield opened
