"""What the service tests may ask for."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.service.house import House, open_house

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: what a disk does with a database is not asked here."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="breezeblock-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """The block storage service in one process, over one fake backend."""
    async with open_house(tmp_path) as opened:
        yield opened
