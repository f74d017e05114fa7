"""Whether a process can do its work now, and if not, which part is missing and why.

Behind `/ready` of the monitoring listener and the API's health check. Without its database a
process can do nothing, and a volume service nothing before it has set up one of its backends.
Without the broker work is found by polling, and a backend that goes away takes nothing with it but
its own work: that is told, and no reason to send requests elsewhere.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from breezeblock.store.store import Store, StoreUnavailable

PATIENCE = 2.0
"""Seconds that a database is given to answer."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Parts, each with the reason why it is away: `missing` ones stop the work, `impaired` ones
    make it slower or less."""

    missing: dict[str, str] = field(default_factory=dict)
    impaired: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return not self.missing


class DatabaseProbe:
    """Asks a database whether it is there, one question at a time.

    One that does not answer keeps a thread waiting; asking again meanwhile would keep them all.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asking: asyncio.Task[float] | None = None

    async def trouble(self) -> str | None:
        """Why the database cannot be used; None when it can."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._store.read(lambda tx: tx.clock()))
        asked = self._asking
        await asyncio.wait({asked}, timeout=PATIENCE)
        if not asked.done():
            return f"It has not answered within {PATIENCE:g} seconds."
        self._asking = None
        error = asked.exception()
        if isinstance(error, StoreUnavailable):
            return error.in_full
        return None if error is None else str(error) or type(error).__name__
