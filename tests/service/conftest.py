"""What the service tests may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.house import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """The block storage service in one process, over one fake backend."""
    async with open_house(tmp_path) as opened:
        yield opened
