"""Asks for one inventory sweep of the backend, as `breezeblock doctor` does, and waits for it."""

from __future__ import annotations

from tests.crash.chaos.stage import Stage
from tests.crash.chaos.tally import Tally


async def sweep_backends(stage: Stage, tally: Tally) -> None:
    """Not there yet."""
