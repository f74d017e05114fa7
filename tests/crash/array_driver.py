"""The NetApp driver on a simulated array, as a backend of the world: it can be copied, and stopped
between any two requests.

`PaperArray` is the simulator without servers: its records are in memory, nobody is served, and all
copies share one folder of (sparse) files, from which nothing is removed: a UUID names one content
for ever. `ArrayDriver` is the real driver on it, with an HTTP transport that hands each request to
the simulator. Scenarios look at it as they look at `FakeDriver`: what is planted by hand there (a
stranger's volume, an export nobody asked for) is planted here on the array.

A call of the driver that is made through `stepped` runs on a thread of its own, which stops before
and after each request and goes on when it is told to: one of the two threads runs at a time.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
import tempfile
import threading
from collections.abc import Awaitable, Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, Literal, TypeVar
from unittest.mock import patch

import httpx2
import msgspec

from breezeblock.drivers.base import BackendConfig, BackendStats, Volume
from breezeblock.drivers.netapp import driver as netapp
from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.client import Ontap
from breezeblock.drivers.netapp.iscsi import IscsiDriver
from breezeblock.drivers.netapp.luns import LUNS, Lun
from breezeblock.ontapsim import model
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.dispatch import Asked, Dispatcher
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.faults import Fault
from breezeblock.ontapsim.rest import Reply, segments
from breezeblock.ontapsim.seed import Seed
from breezeblock.ontapsim.state import _SCHEMA, State
from tests.engines.ontap import PASSWORD, SEED, SVM, USER, VOLUME
from tests.ontapsim.house import FIRST, SECOND, Paper

T = TypeVar("T")
When = Literal["before", "after"]

FLEXVOLS = ("pool0", "pool1")
GIB = 1 << 30
TIER = "fake:tier"
"""The spec by which scenarios ask what a backend takes a volume's type for."""
GOLD = {"maxIOPS": "500"}
"""What the type `gold` asks of an array; that of other types is a policy group of their name."""
_OF_VOLUME = "openstack-"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


# -- the array ---------------------------------------------------------------------------------


class Records(State):
    """The array's records, in memory: new ones, or as they were."""

    def __init__(self, image: bytes | None) -> None:
        self._database = sqlite3.connect(
            ":memory:", check_same_thread=False, isolation_level=None, cached_statements=256
        )
        if image is None:
            self._database.executescript(_SCHEMA)
        else:
            self._database.deserialize(image)

    @property
    def image(self) -> bytes:
        return self._database.serialize()

    @property
    def changes(self) -> int:
        return self._database.total_changes


class PaperArray(Array):
    """An array that nobody is served by; see the module's text."""

    state: Records

    def __init__(self, image: bytes | None = None) -> None:
        super().__init__(_folder(), _seed(), Paper())
        self.state.close()
        self.state = Records(image)
        self.dispatcher = Dispatcher(self)
        if image is None:
            self.start()

    def publish(self) -> None:
        """Nobody looks."""

    def afterwards(self, work: Callable[[], None]) -> None:
        """Files that this array needs no more may be another copy's."""


@cache
def _folder() -> Path:
    """Of this process, until its end; in memory where there is such a place."""
    memory = Path("/dev/shm")
    _KEPT.append(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None))
    return Path(_KEPT[-1].name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@cache
def _seed() -> Seed:
    text = SEED.format(
        iscsi_port=3260,
        first=FIRST,
        second=SECOND,
        volumes="".join(VOLUME.format(name=name) for name in FLEXVOLS),
    )
    return msgspec.toml.decode(text, type=Seed)


class Storage:
    """An array, or what it was: it is opened when it is needed."""

    def __init__(self, image: bytes | None = None) -> None:
        self._image = image
        self._array: PaperArray | None = None
        self._taken = 0

    @property
    def array(self) -> PaperArray:
        if self._array is None:
            self._array = PaperArray(self._image)
            self._taken = self._array.state.changes if self._image is not None else -1
        return self._array

    def copy(self) -> Storage:
        if self._array is not None and self._array.state.changes != self._taken:
            self._image = self._array.state.image
            self._taken = self._array.state.changes
        return Storage(self._image)

    def state(self) -> int:
        """How often it has been changed since it was opened."""
        return 0 if self._array is None else self._array.state.changes

    def handle(self, asked: Asked) -> Reply:
        return self.array.dispatcher.handle(asked)


# -- requests ----------------------------------------------------------------------------------


class Spoilt(Exception):
    """What a plan raises at a request's point: the simulator's word for what goes wrong."""

    def __init__(self, what: Literal["refuse", "drop", "late", "fail", "job_fails", "job_lost"]):
        super().__init__(what)
        self.what = what


class Died(BaseException):
    """The stage is closed: nothing goes on."""


class Wire(httpx2.BaseTransport):
    """From the driver's client to the simulator, without a socket."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        asked = _asked(request)
        call: _Call | None = getattr(_HERE, "call", None)
        if call is None:
            return self._served(asked)
        try:
            call.stop("before", asked)
        except Spoilt as order:
            if order.what == "refuse":
                raise httpx2.ConnectError("no connection", request=request) from order
            if order.what == "late":
                raise httpx2.ReadError("hung up", request=request) from order
            fault = Fault(what=order.what, status=503, code="65540", message="Not whole.")
            asked = replace(asked, faults=(fault,))
        answer = self._served(asked)
        try:
            call.stop("after", asked)
        except Spoilt as order:
            raise httpx2.ReadError("hung up", request=request) from order
        return answer

    def _served(self, asked: Asked) -> httpx2.Response:
        """The answer; that to a job comes when the job is done, which is at once."""
        reply = self._storage.handle(asked)
        if reply.status == HTTPStatus.ACCEPTED:
            job = self._storage.array.dispatcher.job(reply.body["job"]["uuid"])
            assert job is not None
            if job.state == "failure":
                error = ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, str(job.code), job.message)
                reply = Reply(error.status, error.body())
        return httpx2.Response(reply.status, content=msgspec.json.encode(reply.body))


def _asked(request: httpx2.Request) -> Asked:
    path, _, query = request.url.raw_path.decode("latin-1").partition("?")
    return Asked(
        method=request.method,
        parts=segments(path)[1:],
        query=query,
        raw=request.read(),
        authorization=request.headers.get("Authorization", ""),
        svm=request.headers.get("X-Dot-SVM-Name", ""),
        content_type=request.headers.get("Content-Type", ""),
        accept=request.headers.get("Accept", ""),
    )


def shown(asked: Asked) -> str:
    """A request as points are labelled: the same in each run."""
    return f"{asked.method} {_UUID.sub('*', asked.path)}"


# -- calls that stop at each request -----------------------------------------------------------

_HERE = threading.local()
Stop = Callable[[When, Asked], Awaitable[None]]


@dataclass(frozen=True)
class _Ended:
    done: Any = None
    error: BaseException | None = None


class _Call:
    """A call on its thread. `said` is what comes from there, `told` what it waits for."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.said: SimpleQueue[_Ended | tuple[When, Asked]] = SimpleQueue()
        self.told: SimpleQueue[BaseException | None] = SimpleQueue()
        self.died = False
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Callable[[], Any]) -> None:
        _HERE.call = self
        try:
            ended = _Ended(work())
        except BaseException as error:
            ended = _Ended(error=error)
        self.said.put(ended)

    def stop(self, when: When, asked: Asked) -> None:
        """On its own thread: wait until it may go on. Raises what it is told to."""
        if self.died:
            raise Died
        self.said.put((when, asked))
        error = self.told.get()
        if error is not None:
            raise error

    def die(self) -> None:
        """Let its thread end; no request of it is served any more."""
        self.died = True
        self.told.put(Died())
        while not isinstance(self.said.get(), _Ended):
            self.told.put(Died())


async def stepped(work: Callable[[], T], stop: Stop) -> T:
    """Do it on a thread; `stop` is awaited before and after each request, and what it raises is
    raised there."""
    call = _Call(work)
    ended = False
    try:
        while True:
            said = call.said.get()
            if isinstance(said, _Ended):
                ended = True
                if said.error is not None:
                    raise said.error
                done: T = said.done
                return done
            error: Exception | None = None
            try:
                await stop(*said)
            except Exception as raised:
                error = raised
            call.told.put(error)
    finally:
        if not ended:
            call.die()


# -- the backend -------------------------------------------------------------------------------


class _Plot(dict[str, Any]):
    """What there is on the array, by name; what is put in is planted there."""

    def __init__(self, found: Mapping[str, Any], plant: Callable[[str, Any], None]) -> None:
        super().__init__(found)
        self._plant = plant

    def __setitem__(self, name: str, value: Any) -> None:
        self._plant(name, value)


class ArrayDriver:
    """The NetApp driver where the world expects a `FakeDriver`.

    Its verbs are the driver's. `failures` and `pools` are as there: an operator gives it a second
    FlexVol by adding a pool.
    """

    def __init__(self, name: str, storage: Storage, shared: SimpleNamespace | None = None) -> None:
        self.config = BackendConfig(name, "node1", Path("unused"), {})
        self.storage = storage
        self._shared = shared or SimpleNamespace(
            failures={}, pools={FLEXVOLS[0]: {}}, planted={}, frozen={}
        )
        self._driver: tuple[tuple[str, ...], IscsiDriver] | None = None

    @property
    def failures(self) -> dict[str, Exception]:
        failures: dict[str, Exception] = self._shared.failures
        return failures

    @property
    def pools(self) -> dict[str, dict[str, Any]]:
        pools: dict[str, dict[str, Any]] = self._shared.pools
        return pools

    def copy(self) -> ArrayDriver:
        shared = {key: dict(value) for key, value in vars(self._shared).items()}
        return ArrayDriver(self.config.name, self.storage.copy(), SimpleNamespace(**shared))

    def colleague(self) -> ArrayDriver:
        """The same backend as another process serves it."""
        return ArrayDriver(self.config.name, self.storage, self._shared)

    def state(self) -> Any:
        return self.storage.state(), frozenset(self.failures), tuple(self.pools)

    @property
    def driver(self) -> IscsiDriver:
        """The real one. It is another one when its configuration has changed."""
        pools = tuple(self.pools)
        if self._driver is None or self._driver[0] != pools:
            self._driver = pools, _open(self.config, pools, Wire(self.storage))
        return self._driver[1]

    # What the world and its scenarios call

    def __getattr__(self, verb: str) -> Any:
        if verb.startswith("_"):
            raise AttributeError(verb)
        method = getattr(IscsiDriver, verb)

        def call(*args: Any, **kwargs: Any) -> Any:
            if verb in self.failures:
                raise self.failures[verb]
            return method(self.driver, *args, **kwargs)

        call.__name__ = verb
        return call

    def export(self, volume: Volume, connector: Mapping[str, Any], **how: Any) -> Any:
        """Hosts say by which name they log in; those of scenarios do not."""
        if "export" in self.failures:
            raise self.failures["export"]
        return self.driver.export(volume, _connector(**connector), **how)

    def stats(self) -> BackendStats:
        found = self.driver.stats()
        pools = [replace(one, extra={**one.extra, **self.pools[one.name]}) for one in found.pools]
        return replace(found, pools=tuple(pools))

    # What there is, and planting it by hand

    @property
    def sizes(self) -> dict[str, int]:
        return _Plot(
            {ident: lun.gib for ident, lun in self._luns("volume").items()},
            lambda ident, size: self.driver.extend(Volume(ident, size, FLEXVOLS[0]), size),
        )

    @property
    def exports(self) -> set[tuple[str, str]]:
        return {(one.id, str(one.host)) for one in self.driver.inventory() if one.kind == "export"}

    @exports.setter
    def exports(self, wanted: set[tuple[str, str]]) -> None:
        for ident, host in self.exports - wanted:
            self.driver.unexport(Volume(ident, 1, FLEXVOLS[0]), host)
        for ident, host in wanted - self.exports:
            self.driver.export(Volume(ident, 1, FLEXVOLS[0]), _connector(host))

    @property
    def types(self) -> dict[str, dict[str, str]]:
        """What the array limits volumes to, as the name of the type that asks for it."""
        found = {}
        for ident, lun in self._luns("volume").items():
            policy = lun.qos_policy.name if lun.qos_policy else ""
            tier = "gold" if policy.startswith(_OF_VOLUME) else policy
            found[ident] = {TIER: tier} if tier else {}
        return _Plot(found, self._limit)

    def _limit(self, ident: str, _gold: Mapping[str, str]) -> None:
        self.driver.retype(Volume(ident, 1, FLEXVOLS[0], qos=GOLD))

    @property
    def contents(self) -> dict[str, str]:
        """The snapshot whose content a volume has, be it that it is deleted by now."""
        frozen = self._shared.frozen
        held = {ident: self.read(lun) for ident, lun in self._luns("volume").items()}
        return {ident: frozen[content] for ident, content in held.items() if content in frozen}

    @property
    def released(self) -> list[str]:
        return [*self._luns("unmanaged-volume"), *self._luns("unmanaged-snapshot")]

    @property
    def strangers(self) -> dict[str, Any]:
        """The LUNs of operators that are theirs."""
        return _Plot(self._planted(ours=False), self._plant)

    strange_snapshots = strangers

    @property
    def adopted(self) -> dict[str, Any]:
        return self._planted(ours=True)

    def _plant(self, name: str, what: Any) -> None:
        """A LUN of so many GiB, or of the size of a snapshot that says (volume, size)."""
        size = what[1] if isinstance(what, tuple) else what
        body = {"name": f"/vol/{FLEXVOLS[0]}/{name}", "os_type": "linux", "space.size": size * GIB}
        made = self.driver.client.post(LUNS, body, returning=True)
        self._shared.planted[made["uuid"]] = size

    def _planted(self, *, ours: bool) -> dict[str, Any]:
        found = self.driver.luns.matching({"name": "/vol/*"})
        planted = self._shared.planted
        return {one.path: one.gib for one in found if one.uuid in planted and _is_ours(one) is ours}

    def _luns(self, kind: names.Kind) -> dict[str, Lun]:
        found = self.driver.luns.matching({"name": f"/vol/*/{kind}-*"})
        return {
            name.id: lun
            for lun, name in ((one, one.name) for one in found)
            if name is not None and name.kind == kind
        }

    def leftovers(self, volumes: Container[str]) -> list[str]:
        """What would be on the array after the next start of a service though nobody needs it, if
        these are the volumes. Inventories do not tell of it."""
        after = self.copy()
        after.setup()
        state = after.storage.array.state
        groups = {one.uuid: one for one in state.all(model.Igroup)}
        maps = [groups[one.igroup] for one in state.all(model.LunMap)]
        luns = state.all(model.Lun)
        secrets = [one.initiator for one in state.all(model.Secret) if one.kind == "chap"]
        passing = [one.name for one in luns if one.name.startswith(("old-", "new-"))]
        limits = {one.qos_policy for one in luns}
        policies = [one for one in state.all(model.Policy) if one.name.startswith(_OF_VOLUME)]
        used = {one.name for group in maps for one in group.initiators}
        return [
            *(f"igroup {one.name}" for one in groups.values() if one not in maps),
            *(f"a map of {one.name}" for one in maps if one.name.startswith("breezeblock-")),
            *(f"secret of {one}" for one in secrets if one not in used),
            *(f"LUN {one}" for one in passing if _owner(one) not in volumes),
            *(f"policy {one.name}" for one in policies if one.uuid not in limits),
        ]

    # What hosts do

    def file(self, lun: Lun) -> Path:
        array = self.storage.array
        return array.layout.lun(array.state.get(model.Lun, lun.uuid))

    def read(self, lun: Lun) -> bytes:
        with self.file(lun).open("rb") as file:
            return file.read(16)

    def write(self) -> None:
        """Hosts write to all volumes: none holds what its snapshots hold."""
        for ident, lun in self._luns("snapshot").items():
            self._shared.frozen[self.read(lun)] = ident
        for lun in self._luns("volume").values():
            with self.file(lun).open("r+b") as file:
                file.write(f"{next(_WORDS):016}".encode())


_WORDS = itertools.count(1)


def _owner(name: str) -> str:
    """The volume whose UUID is in a name."""
    found = _UUID.search(name)
    return found.group() if found else ""


def _is_ours(lun: Lun) -> bool:
    """What was released keeps its comment, so that whoever looks at it knows what it was."""
    return lun.is_ours and lun.name is not None and not lun.name.kind.startswith("unmanaged")


def _connector(host: str, **more: Any) -> dict[str, Any]:
    return {"host": host, "initiator": f"iqn.2026-11.test:{host}", **more}


def _open(config: BackendConfig, pools: tuple[str, ...], wire: Wire) -> IscsiDriver:
    options = {
        "netapp_server_hostname": "127.0.0.1",
        "netapp_transport_type": "http",
        "netapp_login": USER,
        "netapp_password": PASSWORD,
        "netapp_vserver": SVM,
        "netapp_pool_name_search_pattern": "|".join(pools),
        "netapp_lun_space_reservation": "disabled",
        "use_chap_auth": True,
        "chap_secret_key": "known to volume services only",
    }
    with _carried(wire):
        return IscsiDriver(replace(config, options=options))


@contextmanager
def _carried(wire: Wire) -> Iterator[None]:
    """Drivers that are opened meanwhile use it."""
    with patch.object(netapp, "Ontap", partial(Ontap, transport=wire)):
        yield
