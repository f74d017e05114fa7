"""The service that the storm is let loose on: a house in a thread of its own, and real things in it.

Requests go through the whole application, in process. Between two operations `restore` brings back
what the last one may have taken away (quota, enabled services, volumes to work on), so that each
operation finds real ids; those of other resources are the ones that earlier answers showed.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import threading
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from breezeblock.model.invariants import check_live
from breezeblock.store import facts
from tests.service.catalog_fixture import OTHER, PROJECT
from tests.service.fake_driver import FakeDriver
from tests.service.house import WAIT_FOR_A_CLIENT_OR_TIME, House, open_house

T = TypeVar("T")

PATIENCE = 60.0
NO_LIMIT = {"volumes": -1, "snapshots": -1, "gigabytes": -1, "per_volume_gigabytes": -1}
WORDS: Mapping[str, tuple[str, ...]] = {
    "{key}": ("k", "a key", "ключ"),
    "{project}": (PROJECT, OTHER),
    "{project_id}": (PROJECT, OTHER),
    "{quota_class}": ("default", "gold"),
    "{host}": ("node1@fast", "node1@fast#fast"),
    "{host_name}": ("node1@fast", "node1"),
    "{alias}": ("os-volume-type-access", "os-extended-services"),
}
"""What stands in a path and is no id."""
_LAST_FIELD = re.compile(r"^(.*)/(\{\w+\})")


class Ground:
    """The running service, and the ids of what is there, by the path of their collection."""

    def __init__(self, house: House, loop: asyncio.AbstractEventLoop) -> None:
        self.house = house
        self._loop = loop
        self._known: dict[str, list[str]] = defaultdict(list)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this in the house's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str | bytes],
        content: bytes | None = None,
    ) -> httpx2.Response:
        """One request; `url` is what follows the host."""
        named = [(name.encode(), _bytes(value)) for name, value in headers.items()]
        return self.do(self.house.client.request(method, url, headers=named, content=content))

    def id_of(self, path: str, field: str, number: int) -> str:
        """A real value for a field of a path: the number-th of what is known, counted in a circle."""
        before = path[: path.index(field)].rstrip("/")
        known = WORDS.get(field) or self._known.get(before) or [PROJECT]
        return known[number % len(known)]

    def restore(self) -> None:
        """Take up again what may be missing for the next operation."""
        self.do(self._restore())

    async def _restore(self) -> None:
        house = self.house
        await house.admin.put(f"/os-quota-sets/{PROJECT}", {"quota_set": NO_LIMIT})
        for path in ("enable", "thaw"):
            await house.admin.put(f"/os-services/{path}", {"host": "node1@fast", "binary": BINARY})
        available = await self._ids("/volumes?status=available&sort=created_at:asc")
        while len(available) < 3:
            available.append(await house.volume(metadata={"k": "v"}))
        attached = await self._ids("/attachments")
        if len(attached) < 2:
            attached.append(await house.in_use(await house.volume()))
            attached.append(await house.attachment(await house.volume(), "compute1"))
        snapshots = await self._ids("/snapshots?status=available")
        while len(snapshots) < 2:
            snapshots.append(await house.snapshot(available[0], metadata={"k": "v"}))
        used = [one["volume_id"] for one in await self._list("/attachments/detail")]
        self._known["/volumes"] = [available[-1], *used[-2:], *available[:3]]
        self._known["/attachments"], self._known["/snapshots"] = attached[-3:], snapshots[-3:]
        for path in COLLECTIONS:
            self._known[path] = (await self._ids(path))[-4:]

    async def _list(self, path: str) -> list[dict[str, Any]]:
        reply = await self.house.admin.get(path)
        if reply.status_code != 200:
            return []
        lists = [value for value in reply.json().values() if isinstance(value, list)]
        return lists[0] if lists else []

    async def _ids(self, path: str) -> list[str]:
        return [one["id"] for one in await self._list(path) if "id" in one]

    def violations(self) -> list[str]:
        """What is wrong among rows and backends once all work is done."""
        return self.do(self._violations())

    async def _violations(self) -> list[str]:
        house = self.house
        for workflow in WAIT_FOR_A_CLIENT_OR_TIME:
            await house.come_due(workflow)
        await house.quiet()
        rows = await house.app.store.read(facts.read)
        held = {f"node1@{one.config.name}": one.inventory() for one in house.drivers}
        return [str(one) for one in check_live(rows, held)]


BINARY = "cinder-volume"
COLLECTIONS = ("/types", "/messages", "/operations", "/qos-specs", "/volume-transfers")
"""Collections whose things are made by the storm itself, or by the service as it works."""


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


@contextmanager
def open_ground() -> Iterator[Ground]:
    """A house in a thread of its own, with something in it."""
    ready: list[Ground] = []
    opened, over = threading.Event(), asyncio.Event()
    failure: list[BaseException] = []

    async def live(directory: Path) -> None:
        driver = FakeDriver(capacity=1_000_000.0)
        async with open_house(directory, [driver]) as house:
            ready.append(Ground(house, asyncio.get_running_loop()))
            opened.set()
            await over.wait()

    def run() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="breezeblock-storm-") as directory:
                asyncio.run(live(Path(directory)))
        except BaseException as error:
            failure.append(error)
        finally:
            opened.set()

    thread = threading.Thread(target=run, name="house")
    thread.start()
    opened.wait()
    if failure:
        raise failure[0]
    ground = ready[0]
    try:
        ground.restore()
        yield ground
    finally:
        ground._loop.call_soon_threadsafe(over.set)
        thread.join()
