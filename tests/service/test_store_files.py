"""The files of a SQLite database: nobody but the service's user reads them."""

from __future__ import annotations

from pathlib import Path

from breezeblock.store import operations, schema
from breezeblock.store.store import Store


async def test_they_are_for_the_service_alone(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/data/breezeblock.sqlite")
    schema.upgrade(store)
    await store.read(operations.everything)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    store.close()
    assert set(modes) >= {"breezeblock.sqlite", "breezeblock.sqlite-wal"}
    assert set(modes.values()) == {0o600}
