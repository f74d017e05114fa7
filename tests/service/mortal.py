"""An api process that dies at a given instant, for tests of what its successor makes of it.

It dies as by `kill -9`: the request that it was answering gets no further, no `finally` runs, and
nothing it had begun reaches the database any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2

from breezeblock.store.store import Store
from breezeblock.store.tables import idempotency_keys


class MortalStore:
    """The way to the database of a process that dies at its n-th instant, counted from 0.

    There is an instant before each call and one after it.
    """

    def __init__(self, store: Store, dies_at: int) -> None:
        self._store = store
        self._left = dies_at
        self.died = asyncio.Event()

    async def read(self, fn: Callable[[Any], Any]) -> Any:
        return await self._call(self._store.read, fn)

    async def write(self, fn: Callable[[Any], Any]) -> Any:
        return await self._call(self._store.write, fn)

    async def _call(self, call: Callable[..., Any], fn: Callable[[Any], Any]) -> Any:
        await self._instant()
        try:
            return await call(fn)
        finally:
            await self._instant()

    async def _instant(self) -> None:
        if self._left == 0:
            self.died.set()
            await asyncio.Event().wait()
        self._left -= 1


async def sent_to(
    store: MortalStore, asgi: Any, method: str, url: str, **request: Any
) -> tuple[httpx2.Response | None, asyncio.Task[httpx2.Response]]:
    """The answer of the process with this store, None when it died first; and the request, which
    then hangs for ever (cancel it when all is over)."""
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=asgi), base_url="http://cloud")
    sending = asyncio.create_task(client.request(method, url, **request))
    dying = asyncio.create_task(store.died.wait())
    await asyncio.wait({sending, dying}, return_when=asyncio.FIRST_COMPLETED)
    dying.cancel()
    return (sending.result() if sending.done() else None), sending


async def lapse(store: Store) -> None:
    """Let the time pass after which requests of dead processes are taken over."""
    await store.write(lambda tx: tx.run(idempotency_keys.update().values(lease_until=0.0)))
