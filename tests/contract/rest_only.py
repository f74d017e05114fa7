"""An ONTAP simulator in this process, of which only the REST half works: nobody reaches its LUNs.

For tests of what the NetApp driver asks of the array, where no data are read: it starts at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from breezeblock.drivers.base import BackendConfig, Snapshot, Volume
from breezeblock.drivers.netapp.iscsi import IscsiDriver
from breezeblock.ontapsim import data_plane
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.faults import Fault
from breezeblock.ontapsim.seed import (
    Account,
    Aggregate,
    FlexVol,
    Lif,
    Node,
    Seed,
    Svm,
)
from breezeblock.ontapsim.server import Simulator, serve
from breezeblock.ontapsim.sockets import bind

PASSWORD = "netapp1!"
SEED = Seed(
    nodes=[Node(name="sim-01"), Node(name="sim-02", all_flash=False)],
    aggregates=[
        Aggregate(name="fast", node="sim-01", size_gb=1000),
        Aggregate(
            name="slow",
            node="sim-02",
            size_gb=1000,
            raid_type="raid_tec",
            storage_type="hybrid",
            disk_type="sas",
        ),
    ],
    svms=[
        Svm(
            name="svm1",
            lifs=[Lif(name="lif1", address="127.8.1.1")],
            volumes=[
                FlexVol(name="pool", aggregate="fast", size_gb=50),
                FlexVol(name="other", aggregate="slow", size_gb=100, compression=False),
                FlexVol(name="bare", aggregate="slow", size_gb=5, snapshot_directory=False),
            ],
        ),
        Svm(name="svm2", volumes=[FlexVol(name="hidden", aggregate="fast", size_gb=50)]),
    ],
    accounts=[
        Account(name="admin", password=PASSWORD),
        Account(name="vsadmin", password=PASSWORD, svm="svm1"),
    ],
)
"""Two pools and one whose snapshots cannot be seen; an SVM of somebody else's."""


class NoPlane:
    """Serves nothing."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def publish(self, svms: tuple[data_plane.Svm, ...]) -> None: ...

    def still(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()


@dataclass
class Sim:
    """The running simulator, and drivers for it."""

    port: int
    simulator: Simulator
    directory: Path

    def driver(self, **options: Any) -> IscsiDriver:
        """One more driver: an administrator of the cluster's, unless said otherwise."""
        given = {
            "netapp_server_hostname": "127.0.0.1",
            "netapp_server_port": self.port,
            "netapp_transport_type": "http",
            "netapp_login": "admin",
            "netapp_password": PASSWORD,
            "netapp_vserver": "svm1",
            "netapp_pool_name_search_pattern": "pool|other",
            "netapp_lun_space_reservation": "disabled",
            **options,
        }
        settings = {key: value for key, value in given.items() if value is not None}
        return IscsiDriver(BackendConfig("gold", "host-a", self.directory, settings))

    def goes_wrong(self, what: Any, method: str, path: str, **more: Any) -> None:
        self.simulator.faults.add(Fault(what=what, method=method, path=path, **more))

    def asked(self, method: str, path: str = "") -> list[str]:
        """The paths of requests of that kind, so far."""
        log = self.simulator.log.entries()
        found = [one for one in log if one.method == method]
        return [one.path for one in found if path in one.path]

    def moves_take(self, seconds: float) -> None:
        self.simulator.controls.answer(
            "PATCH", ("settings",), f'{{"move_seconds": {seconds}}}'.encode()
        )

    def jobs_take(self, seconds: float) -> None:
        self.simulator.controls.answer(
            "PATCH", ("settings",), f'{{"job_seconds": {seconds}}}'.encode()
        )


def of_release(version: str) -> Seed:
    """The array with another release of ONTAP."""
    return msgspec.structs.replace(SEED, version=version)


@contextmanager
def rest_only(directory: Path, seed: Seed = SEED) -> Iterator[Sim]:
    """The simulator, listening on some port until the end."""
    array = Array(directory / "array", seed, NoPlane())
    array.start()
    simulator = Simulator(array)
    told: queue.Queue[Any] = queue.Queue()

    async def run() -> None:
        stop = asyncio.Event()
        told.put((asyncio.get_running_loop(), stop))
        await serve(simulator, bind("127.0.0.1", 0), None, told.put, stop)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    loop, stop = told.get(timeout=30)
    try:
        yield Sim(told.get(timeout=30), simulator, directory)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        array.stop()


def a_volume(size: int = 1, pool: str = "pool", **more: Mapping[str, str]) -> Volume:
    return Volume(str(uuid.uuid4()), size, pool, **more)


def a_snapshot(volume: Volume) -> Snapshot:
    return Snapshot(str(uuid.uuid4()), volume.id, volume.size, volume.pool)
