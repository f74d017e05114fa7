"""An api process that dies at a given instant, for tests of what its successor makes of it.

It dies as by `kill -9`: the request that it was answering gets no further, no `finally` runs, and
nothing it had begun reaches the database any more.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2

from breezeblock.model.ids import new_id
from breezeblock.store.store import Store
from breezeblock.store.tables import idempotency_keys
from tests.service.footprint import footprint, told

LEAST_INSTANTS = 3
"""Even a request that only reads has more: the key is looked up, the answer is kept."""


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


@dataclass(frozen=True)
class Post:
    """A POST by one of the personas of a service."""

    path: str
    body: Any
    role: str = "member"


class Service(Protocol):
    """A service whose processes may die."""

    @property
    def client(self) -> httpx2.AsyncClient:
        """Leads to a process that lives."""

    @property
    def store(self) -> Store: ...

    def dying(self, store: MortalStore) -> Any:
        """The application of a process with this store."""

    def request(self, post: Post, key: str | None) -> dict[str, Any]:
        """What the client is told."""

    async def contents(self) -> Counter[Any]: ...

    async def quiet(self) -> None: ...


async def check_done_once(
    service: Service, prepared: Callable[[], Awaitable[Post]], deaths: int = 1
) -> None:
    """The process dies at each instant of the request, and so do its successors, one after the
    other, until `deaths` have died; each time in vain."""
    expected = await _undisturbed(service, await prepared())

    async def explore(before: tuple[int, ...]) -> int:
        for instant in range(100):
            instants = (*before, instant)
            deeper = len(instants) < deaths
            died = await (
                explore(instants) if deeper else _check(service, instants, expected, prepared)
            )
            if died <= len(before):  # the one whose instants these are has come to its end
                assert before or instant > LEAST_INSTANTS
                return died
        raise AssertionError("the request never came to its end")

    await explore(())


_Expected = tuple[tuple[int, str], dict[Any, int]]


async def _check(
    service: Service,
    instants: tuple[int, ...],
    expected: _Expected,
    prepared: Callable[[], Awaitable[Post]],
) -> int:
    """Send a new request to processes that die at these instants, then twice to one that lives;
    how many have died before one answered."""
    post = await prepared()
    request = service.request(post, new_id())
    before = await service.contents()
    hanging = []
    for instant in instants:
        sending = await _sent_to_one_that_dies(service, instant, request)
        await service.quiet()
        await lapse(service.store)
        if sending.done():
            break
        hanging.append(sending)
    second = await service.client.post(**request)
    await service.quiet()
    third = await service.client.post(**request)
    await service.quiet()
    left = footprint(before, await service.contents())
    assert (told(second), left) == expected, f"died at {instants}"
    assert (third.status_code, third.content) == (second.status_code, second.content)
    assert third.headers["idempotency-replayed"] == "true"
    for sending in hanging:
        sending.cancel()
    return len(hanging)


async def _undisturbed(service: Service, post: Post) -> _Expected:
    """What the request is answered, and leaves behind, without key and without death."""
    before = await service.contents()
    answer = told(await service.client.post(**service.request(post, None)))
    assert answer[0] < 300, answer
    await service.quiet()
    return answer, footprint(before, await service.contents())


async def _sent_to_one_that_dies(
    service: Service, instant: int, request: dict[str, Any]
) -> asyncio.Task[httpx2.Response]:
    """The request, when it is done or its process has died: it then hangs for ever."""
    store = MortalStore(service.store, instant)
    transport = httpx2.ASGITransport(app=service.dying(store))
    client = httpx2.AsyncClient(transport=transport, base_url=service.client.base_url)
    sending = asyncio.create_task(client.post(**request))
    dying = asyncio.create_task(store.died.wait())
    await asyncio.wait({sending, dying}, return_when=asyncio.FIRST_COMPLETED)
    dying.cancel()
    return sending


async def lapse(store: Store) -> None:
    """Let the time pass after which requests of dead processes are taken over."""
    await store.write(lambda tx: tx.run(idempotency_keys.update().values(lease_until=0.0)))
