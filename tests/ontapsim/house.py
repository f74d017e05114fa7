"""The simulator in the tests' own process, over real HTTP; hosts are imagined.

Its data plane only remembers what it was told to serve.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.data_plane import Svm
from breezeblock.ontapsim.seed import Seed
from breezeblock.ontapsim.server import Simulator, serve
from breezeblock.ontapsim.sockets import bind
from tests.engines.ontap import SEED, VOLUME, VOLUMES, OntapClient

FIRST, SECOND = "127.0.0.2", "127.0.0.3"


class Paper:
    """A data plane on paper."""

    def __init__(self) -> None:
        self.svms: tuple[Svm, ...] = ()
        self.stillness = 0
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def publish(self, svms: tuple[Svm, ...]) -> None:
        self.svms = svms

    @contextmanager
    def still(self) -> Iterator[None]:
        self.stillness += 1
        yield


class House(OntapClient):
    """One array and its server; `open()` again is a start after a death."""

    host = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plane = Paper()
        self.seed = msgspec.toml.decode(
            SEED.format(
                iscsi_port=3260,
                first=FIRST,
                second=SECOND,
                volumes="".join(VOLUME.format(name=name) for name in VOLUMES),
            ),
            type=Seed,
        )
        self._ready = threading.Event()
        self.open()

    def open(self) -> None:
        self.array = Array(self.folder, self.seed, self.plane)
        self.array.start()
        self._ready.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(20)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()

        def ready(port: int) -> None:
            self.port = port
            self._ready.set()

        await serve(Simulator(self.array), bind(self.host, 0), None, ready, self._stop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self.array.stop()

    def svm(self) -> Svm:
        """What hosts see."""
        return self.plane.svms[0]

    # Things that many tests need

    def lun(self, name: str = "/vol/vol1/lun1", size: str = "1M", **more: object) -> str:
        """The UUID of a new LUN."""
        body = {"svm.name": "svm1", "name": name, "os_type": "linux", "space.size": size, **more}
        return self._made("/storage/luns", body)

    def clone(self, source: str, name: str, **more: object) -> str:
        body = {"svm.name": "svm1", "name": name, "clone.source.name": source, **more}
        return self._made("/storage/luns", body)

    def igroup(self, name: str, *initiators: str, **more: object) -> str:
        members = [{"name": initiator} for initiator in initiators]
        body = {"svm.name": "svm1", "name": name, "os_type": "linux", "protocol": "iscsi", **more}
        return self._made("/protocols/san/igroups", body | {"initiators": members})

    def map(self, lun: str, igroup: str, **more: object) -> int:
        """The logical unit number."""
        body = {"svm.name": "svm1", "lun.name": lun, "igroup.name": igroup, **more}
        answer = self.api("POST", "/protocols/san/lun-maps?return_records=true", body)
        number: int = answer["records"][0]["logical_unit_number"]
        return number

    def _made(self, path: str, body: object) -> str:
        answer = self.api("POST", f"{path}?return_records=true", body)
        uuid: str = answer["records"][0]["uuid"]
        return uuid

    def show(self, path: str, fields: str = "**") -> dict[str, object]:
        shown: dict[str, object] = self.api("GET", f"{path}?fields={fields}")
        return shown

    def volume(self, name: str = "vol1") -> str:
        uuid: str = self.records(f"/storage/volumes?name={name}")[0]["uuid"]
        return uuid

    def file(self, lun: str) -> Path:
        """Where a LUN's bytes are."""
        (found,) = self.folder.glob(f"flexvols/*/.luns/lun-{lun}*")
        return found

    def refused(self, method: str, path: str, body: object = None) -> str | None:
        """The code with which the array refuses."""
        answer = self.call(method, f"/api{path}", body)
        assert answer.status >= 400, answer.raw
        return answer.code
