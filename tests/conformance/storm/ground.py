"""The service that the storm is let loose on: a house in a thread of its own, with things in it.

Requests go through the whole application, in process. Between two operations `restore` brings back
what the last one may have taken away (quota, enabled services, volumes to work on), so that each
operation finds real ids; those of other resources are the ones that earlier answers showed.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from breezeblock.drivers.base import PermanentError
from breezeblock.model.ids import new_id
from breezeblock.model.invariants import check_live
from breezeblock.store import facts
from tests.conformance.storm.hints import CHOICES, WORDS
from tests.service.catalog_fixture import PROJECT
from tests.service.fake_driver import FakeDriver
from tests.service.house import WAIT_FOR_A_CLIENT_OR_TIME, House, open_house

T = TypeVar("T")

PATIENCE = 60.0
NO_LIMIT = {"volumes": -1, "snapshots": -1, "gigabytes": -1, "per_volume_gigabytes": -1}

A_DAY = 86_400
"""The backend reports once, and counts as up all the same."""
BACKEND, BINARY = "node1@fast", "cinder-volume"
COLLECTIONS = ("/messages", "/qos-specs", "/volume-transfers")
"""Collections whose things are made by the storm itself, or by the service as it works."""


class Ground:
    """The running service, and the ids of what is there, by the path of their collection."""

    def __init__(self, house: House, loop: asyncio.AbstractEventLoop) -> None:
        self.house = house
        self._loop = loop
        self._known: dict[str, list[str]] = defaultdict(list)
        self._used: list[str] = []

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

    def field(self, path: str, field: str, text: str, dice: random.Random) -> str:
        """What stands in a field of a path: what the storm says, or what is known to be there."""
        if text in CHOICES:
            return self.ident(path.partition("/{")[0], max(0, CHOICES.index(text) - 2))
        return dice.choice(WORDS[field]) if field in WORDS and dice.random() < 0.6 else text

    def ident(self, collection: str, number: int) -> str:
        """The id of a real thing; the first is the one that `restore` has just made."""
        known = self._known.get(collection) or [PROJECT]
        return known[number % len(known)]

    def restore(self, path: str) -> None:
        """Take up again what an operation of this path may need, and the last ones took away."""
        self.do(self._restore(path))

    async def _restore(self, path: str) -> None:
        house, known = self.house, self._known
        await house.pass_time(
            "sweep_backend"
        )  # which looks, some time later, at what was cut short
        await house.admin.put(f"/os-quota-sets/{PROJECT}", {"quota_set": NO_LIMIT})
        for call in ("enable", "thaw"):
            await house.admin.put(f"/os-services/{call}", {"host": BACKEND, "binary": BINARY})
        fresh = await house.volume(metadata={"k": "v"})
        if not known["/attachments"] or "attachment" in path:
            known["/attachments"] = [
                await house.in_use(await house.volume()),
                await house.attachment(await house.volume(), "compute1"),
                await house.attachment(await house.volume()),
            ]
            used = await self._list("/attachments/detail")
            self._used = [one["volume_id"] for one in used][-3:]
        if not known["/snapshots"] or "snapshot" in path:
            known["/snapshots"].insert(0, await house.snapshot(fresh, metadata={"k": "v"}))
        if not known["/types"] or "type" in path:
            specs = {"k": "v"}
            made = await house.new_type(new_id(), is_public=False, extra_specs=specs)
            known["/types"].insert(0, made["id"])
        known["/volumes"] = [fresh, *known["/volumes"][:2], *self._used]
        for collection in COLLECTIONS:
            known[collection] = (await self._ids(collection))[:4]
        known["/operations"] = await self._ids(f"/operations?resource_id={fresh}")

    async def prepare(self) -> None:
        """A failure that was told, so that there are messages."""
        driver = self.house.driver
        driver.failures["create"] = PermanentError("There is no room.")
        await self.house.volume()
        del driver.failures["create"]

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
        for workflow in (*WAIT_FOR_A_CLIENT_OR_TIME, "sweep_backend"):
            await house.come_due(workflow)
        await house.quiet()
        rows = await house.app.store.read(facts.read)
        held = {f"node1@{one.config.name}": one.inventory() for one in house.drivers}
        return [str(one) for one in check_live(rows, held)]


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
        async with open_house(directory, [driver], service_down_time=A_DAY) as house:
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
        ground.do(ground.prepare())
        yield ground
    finally:
        ground._loop.call_soon_threadsafe(over.set)
        thread.join()
