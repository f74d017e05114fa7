"""The end of a hold (`workflows/hold_volume.py`), for whoever settles the status himself."""

from __future__ import annotations

from breezeblock.store import operations
from breezeblock.store.store import WriteTx

HOLD = "hold_volume"


def release(tx: WriteTx, volume_id: str) -> None:
    """End the hold on the volume, if there is one."""
    operations.finish_of(tx, volume_id, HOLD, "released")
