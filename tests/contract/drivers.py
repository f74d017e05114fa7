"""How each driver is set up for its contract suite, and a backend as the tests see it.

To put another driver under the contract, add a `Case` to `CASES` (and, if hosts reach its volumes
in a new way, an entry to `hosts.REACH`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breezeblock.drivers.base import (
    BackendConfig,
    Driver,
    Snapshot,
    Source,
    StillWorking,
    Volume,
)
from breezeblock.drivers.local import LocalDriver
from tests.contract.hosts import Disk, Host
from tests.contract.netapp import OTHER_POOL, NetApp
from tests.contract.netapp_nfs import NetAppNfs

GIB = 1 << 30
XFS_BYTES = GIB
HANG = 30
"""Seconds after which something that should happen is taken for something that does not."""


@dataclass(frozen=True)
class Kind:
    """What a volume type asks of a driver. `impossible`: no volume that is there becomes so."""

    extra_specs: Mapping[str, str] = field(default_factory=dict)
    qos: Mapping[str, str] = field(default_factory=dict)
    impossible: bool = False


@dataclass(frozen=True)
class Case:
    """One driver in one configuration.

    `prepare` is called once for a backend, with its directory; `new` makes an instance over the
    backend in a directory: each call stands for a process.
    `leftovers` names what is there although no volume is; `remove` ends everything.

    `fences`: a host whose access is taken away is cut off at once and cannot come back. Where it is
    not so (NFS: the operator's export policy says who may mount), hosts are known to go on, and the
    suites hold the driver to that, too.

    `verbs` are those of the contract's optional methods that the driver has and a suite of its own
    holds: `adopt`, `move`, `retype`, `snapshot_together`. For them: `other_pool` is a second pool
    beside "pool"; `stranger` makes a volume of so many bytes in a pool, as an administrator of the
    storage would, and returns how `adopt` refers to it; `kinds` are what volumes are retyped to.
    """

    name: str
    new: Callable[[Path], Driver]
    leftovers: Callable[[Driver], list[str]]
    remove: Callable[[Driver], None]
    file_system: str | None = None
    fences: bool = True
    verbs: frozenset[str] = frozenset()
    other_pool: str = ""
    stranger: Callable[[Driver, str, str, int], Mapping[str, str]] | None = None
    kinds: tuple[Kind, ...] = ()
    prepare: Callable[[Path], None] = lambda root: None


class Backend:
    """A backend under test: the first process that serves it, and shorthands for the tests."""

    def __init__(self, case: Case, root: Path) -> None:
        self.case = case
        self.root = root
        self.host = Host("host-a", root / "host-a")
        self.other_host = Host("host-b", root / "host-b")
        self.processes: list[Driver] = []
        self.driver = self.another_process()

    def another_process(self) -> Driver:
        """One more driver, set up, over the same storage."""
        driver = self.case.new(self.root)
        driver.setup()
        self.processes.append(driver)
        return driver

    def create(self, source: Source = None, size: int = 1, pool: str = "pool") -> Volume:
        volume = a_volume(size, pool)
        self.driver.create(volume, source)
        return volume

    def snapshot(self, volume: Volume) -> Snapshot:
        snapshot = a_snapshot(volume)
        self.driver.snapshot(snapshot)
        return snapshot

    @contextmanager
    def connected(self, volume: Volume, **options: Any) -> Iterator[Any]:
        """The volume exported to the host and opened there; unexported at the end."""
        info = self.driver.export(volume, self.host.connector)
        try:
            with self.host.open(info, **options) as disk:
                yield disk
        finally:
            self.driver.unexport(volume, self.host.name)

    def write(self, volume: Volume, byte: int, **place: int) -> None:
        with self.connected(volume) as disk:
            assert disk.write(byte, **place)
            assert disk.flush()

    def reads(self, volume: Volume, byte: int, **place: int) -> bool:
        with self.connected(volume) as disk:
            return bool(disk.reads(byte, **place))

    def close(self) -> None:
        """End all processes, and the storage."""
        try:
            for driver in self.processes:
                driver.close()
        finally:
            self.case.remove(self.processes[0])


def a_volume(size: int = 1, pool: str = "pool") -> Volume:
    return Volume(str(uuid.uuid4()), size, pool)


def a_snapshot(volume: Volume) -> Snapshot:
    return Snapshot(str(uuid.uuid4()), volume.id, volume.size, volume.pool)


@contextmanager
def writing(disk: Disk) -> Iterator[list[int]]:
    """A host that writes all the while, one place after the other: those that were acknowledged."""
    written: list[int] = []
    stop = threading.Event()

    def write() -> None:
        for number in range(1, GIB // 65536):
            if stop.is_set() or not disk.write(number % 255 + 1, offset=number * 65536):
                return
            written.append(number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_for(lambda: len(written) > 3)
        yield written
        seen = len(written)
        wait_for(lambda: len(written) > seen + 3)
    finally:
        stop.set()
        thread.join()


Place = tuple[Disk, int]
"""A disk and an offset on it."""


@contextmanager
def alternating(one: Place, other: Place) -> Iterator[None]:
    """A host that counts in two places in turn, so that the first is one ahead at most."""
    stop, begun = threading.Event(), threading.Event()

    def write() -> None:
        for number in range(1, 200):
            if not all(disk.write(number, offset=at) and disk.flush() for disk, at in (one, other)):
                return
            begun.set()
            if stop.is_set():
                return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert begun.wait(HANG)
        yield
    finally:
        stop.set()
        thread.join()


def patiently(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call it, and again as long as it says that the work goes on, as the core does."""
    deadline = time.monotonic() + HANG
    while True:
        try:
            return call(*arguments, **options)
        except StillWorking as working:
            assert time.monotonic() < deadline, "it does not end"
            time.sleep(min(working.retry_after, 0.1))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


def assert_all_there(backend: Backend, volume: Volume, written: list[int]) -> None:
    with backend.connected(volume) as disk:
        missing = [n for n in written if not disk.reads(n % 255 + 1, offset=n * 65536)]
    assert written and missing == []


@contextmanager
def storage(case: Case, directory: Path) -> Iterator[Path]:
    """A directory for a backend, on the file system that the case asks for; emptied at the end."""
    if case.file_system is None:
        case.prepare(directory)
        yield directory
        shutil.rmtree(directory)
        return
    image, mounted = directory / "image", directory / "mounted"
    mounted.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(XFS_BYTES)
    subprocess.run([f"mkfs.{case.file_system}", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)
        image.unlink()


@dataclass(frozen=True)
class Local:
    """The local driver: `new`, `leftovers` and `remove` of a case."""

    options: Mapping[str, Any] = field(default_factory=dict)

    def new(self, root: Path) -> LocalDriver:
        return LocalDriver(BackendConfig("local", "here", root / "state", self.options))

    def leftovers(self, driver: Driver) -> list[str]:
        assert isinstance(driver, LocalDriver)
        state, volumes = driver.config.state_dir, driver.options.path
        places = (
            *(volumes / "layers").iterdir(),
            *(volumes / "disposable").iterdir(),
            *(volumes / "lost+found").glob("*"),
            *(volumes / "released").iterdir(),
            *(volumes / "manifests").iterdir(),
            *(volumes / "locks").glob("*-*"),
            *(state / "exports").glob("*"),
            *driver.options.socket_dir.glob("*"),
        )
        return [str(place) for place in places] + daemons(state)

    def stranger(self, driver: Driver, _pool: str, name: str, size: int) -> Mapping[str, str]:
        """A file that an operator has put where it can be adopted."""
        assert isinstance(driver, LocalDriver)
        path = driver.options.path / "adoptable" / name
        path.touch()
        os.truncate(path, size)
        return {"source-name": name}

    def remove(self, driver: Driver) -> None:
        assert isinstance(driver, LocalDriver)
        driver.stop_all()
        assert daemons(driver.config.state_dir) == []


def daemons(state_dir: Path) -> list[str]:
    """The command lines of the storage daemons that serve from this directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if line.startswith(str(shutil.which("qemu-storage-daemon"))) and str(state_dir) in line:
            found.append(line)
    return found


def _local(name: str, file_system: str | None = None, **options: Any) -> Case:
    local = Local({"pool": "pool", **options})
    return Case(
        f"local-{name}",
        local.new,
        local.leftovers,
        local.remove,
        file_system,
        verbs=frozenset({"adopt"}),
        stranger=local.stranger,
    )


def _netapp(name: str, **options: Any) -> Case:
    netapp = NetApp(tuple(options.items()))
    return Case(
        f"netapp-{name}",
        netapp.new,
        netapp.leftovers,
        netapp.remove,
        verbs=frozenset({"adopt", "move", "retype", "snapshot_together"}),
        other_pool=OTHER_POOL,
        stranger=netapp.stranger,
        kinds=(
            Kind(qos={"maxIOPSperGiB": "500"}, extra_specs={"provisioning:type": "thick"}),
            Kind(qos={"expectedIOPSperGiB": "100", "peakIOPSperGiB": "200"}),
            Kind(extra_specs={"provisioning:type": "thin"}),
            Kind(extra_specs={"provisioning:type": "sideways"}, impossible=True),
            Kind(qos={"maxIOPS": "many"}, impossible=True),
            Kind(extra_specs={"netapp:qos_policy_group": "no-such-group"}, impossible=True),
        ),
        prepare=netapp.prepare,
    )


def having(verb: str) -> list[Case]:
    """The cases whose driver has this optional method."""
    return [case for case in CASES if verb in case.verbs]


def _can_mount() -> bool:
    return os.geteuid() == 0 and Path("/dev/loop-control").exists()


def _netapp_nfs() -> Case:
    netapp = NetAppNfs()
    return Case(
        "netapp-nfs",
        netapp.new,
        netapp.leftovers,
        netapp.remove,
        fences=False,
        verbs=frozenset({"adopt", "retype"}),
        other_pool=OTHER_POOL,
        stranger=netapp.stranger,
        kinds=(
            Kind(qos={"maxIOPS": "500"}),
            Kind(qos={"expectedIOPSperGiB": "100", "peakIOPSperGiB": "200"}),
            Kind(extra_specs={"netapp:qos_policy_group": "no-such-group"}, impossible=True),
        ),
        prepare=netapp.prepare,
    )


CASES = [
    _local("qcow2-unix", format="qcow2"),
    _local("qcow2-tcp", format="qcow2", nbd_listen="tcp://127.0.0.1:21000-21999"),
    _local("raw-unix", format="raw"),
    # Reflinks for real need a file system that has them, and mounting one needs root.
    *([_local("reflink-unix", "xfs")] if _can_mount() else []),
    _netapp("iscsi", use_chap_auth=True, chap_secret_key="only the tests know this"),
    _netapp_nfs(),
]
"""Every driver and configuration that the contract is held to."""
