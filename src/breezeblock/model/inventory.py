"""What a backend holds, as it says itself: compared with the database by the inventory sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Item:
    """One object that a backend holds.

    `id` is the UUID of our resource, `size` GiB. For an export `id` is the volume's and `host` the
    host that may reach it. `pool` is the pool's own name (the part behind #); empty when the
    backend has only one.
    """

    kind: Literal["volume", "snapshot", "export"]
    id: str
    size: int | None = None
    volume_id: str | None = None
    host: str | None = None
    pool: str = ""

    @property
    def volume(self) -> str:
        """The volume that it is, or belongs to."""
        return (self.volume_id or "") if self.kind == "snapshot" else self.id
