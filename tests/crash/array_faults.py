"""Every request that a driver makes of its array goes wrong, in every way, at every position.

As `enumeration` does it for workflows: a rehearsal counts the requests of a verb; then the verb is
called once for each request and fault that can hit it, and repeated as the core repeats it. What
the backend holds afterwards must be what it held in the rehearsal, also when a request that was
given up is served late, and in the end everything can be removed.

    python -m tests.crash.array_faults [SCENE]      all of it, with a table
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breezeblock.drivers.base import (
    BackendConfig,
    Driver,
    DriverError,
    Item,
    Snapshot,
    TemporaryError,
    Volume,
)
from breezeblock.drivers.netapp import open_driver
from tests.crash.array_scenes import SCENES, Scene
from tests.engines.ontap import PASSWORD, SVM, USER
from tests.ontapsim.house import House

TRIES = 8
"""How often a call is repeated. The core is more patient."""
UNANSWERED = ("refuse", "drop", "late")
REMOVABLE = ("export", "snapshot", "volume")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the request of that number (from 0)."""

    what: str
    at: int
    request: str

    def __str__(self) -> str:
        return f"{self.what} at request {self.at}, {self.request}"


class Wrong(AssertionError):
    """The text says after which fault what is not as it should be."""


class ArrayStage:
    """An array, empty again for each play, and the driver that works on it."""

    def __init__(self, house: House, directory: Path) -> None:
        self.house = house
        options = {
            "netapp_server_hostname": house.host,
            "netapp_server_port": house.port,
            "netapp_transport_type": "http",
            "netapp_login": USER,
            "netapp_password": PASSWORD,
            "netapp_vserver": SVM,
            "use_chap_auth": True,
            "chap_secret_key": "known to volume services only",
        }
        self.driver = open_driver(BackendConfig("array", "here", directory, options))

    def rehearse(self, scene: Scene) -> tuple[list[Fault], object]:
        """All faults that may hit the scene's call, and what it shows without any."""
        self._prepare(scene)
        self.house.control("DELETE", "log")
        scene.call(self.driver)
        requests = self.house.requests()
        shown = self._look(scene)
        self._clear()
        return [fault for number, one in enumerate(requests) for fault in _ways(number, one)], shown

    def play(self, scene: Scene, fault: Fault, shown: object) -> None:
        """Let it go wrong there. Raises Wrong."""
        self._prepare(scene)
        order: dict[str, Any] = {"skip": fault.at}
        if fault.what == "fail":
            order |= {"status": 503, "code": "13565952"}
        self.house.fault(fault.what, **order)
        try:
            self._repeat(scene)
            self.house.control("DELETE", "faults")
            first = self._look(scene)
            if bool(first) != bool(shown):
                raise Wrong(f"{first} instead of {shown}")
            self._let_late_ones_go()
            self._same(scene, first, "after the late request")
            scene.call(self.driver)
            self._same(scene, first, "after one call more")
            self._clear()
        except (AssertionError, DriverError) as error:
            raise Wrong(f"{scene}, {fault}: {error}") from error

    def _prepare(self, scene: Scene) -> None:
        self.house.control("POST", "reset")
        self.driver.setup()
        for path in scene.strangers:
            self.house.lun(path, "1G")
        scene.before(self.driver)

    def _repeat(self, scene: Scene) -> None:
        for _ in range(TRIES):
            try:
                scene.call(self.driver)
            except TemporaryError:
                continue
            return
        raise Wrong("it is never done")

    def _look(self, scene: Scene) -> object:
        held = sorted(self.driver.inventory(), key=_order)
        wanted = sorted(scene.after(), key=_order)
        if held != wanted:
            raise Wrong(f"the backend holds {held}, not {wanted}")
        return scene.shown(self.driver)

    def _same(self, scene: Scene, before: object, when: str) -> None:
        found = self._look(scene)
        if found != before:
            raise Wrong(f"{found} {when}, {before} before")

    def _let_late_ones_go(self) -> None:
        self.house.control("POST", "late")
        deadline = time.monotonic() + 20
        while any(one["status"] is None for one in self.house.requests()):
            if time.monotonic() > deadline:
                raise Wrong("the late request is never served")
            time.sleep(0.005)

    def _clear(self) -> None:
        """Remove all that is ours; what is left is nobody's."""
        held = self.driver.inventory()
        for kind in REMOVABLE:
            for item in held:
                if item.kind == kind:
                    _remove(self.driver, item, held)
        self.driver.setup()  # sweeps
        left = [
            *(one["name"] for one in self.house.records("/storage/luns")),
            *(one["name"] for one in self.house.records("/protocols/san/igroups")),
            *(one["name"] for one in self.house.records("/storage/qos/policies")),
            *(one["name"] for one in self.house.records("/application/consistency-groups")),
            *(one["initiator"] for one in self.house.records("/protocols/san/iscsi/credentials")),
        ]
        ours = [one for one in left if "unmanaged" not in one]
        if ours:
            raise Wrong(f"{ours} are left")


def _ways(number: int, request: dict[str, Any]) -> Iterator[Fault]:
    """What can go wrong with a request: a question that is answered late harms nobody."""
    shown = f"{request['method']} {request['path']}"
    yield Fault("fail", number, shown)
    yield Fault("refuse", number, shown)
    if request["method"] == "GET":
        return
    yield Fault("drop", number, shown)
    yield Fault("late", number, shown)
    if request["path"].startswith(JOBS):
        yield Fault("job_fails", number, shown)
        yield Fault("job_lost", number, shown)


JOBS = (
    "/api/storage/volumes",
    "/api/storage/qos/policies",
    "/api/storage/file",
    "/api/application/consistency-groups",
)


def _remove(driver: Driver, item: Item, held: list[Item]) -> None:
    if item.kind == "export":
        (pool,) = {one.pool for one in held if one.kind == "volume" and one.id == item.id}
        driver.unexport(Volume(item.id, 1, pool), str(item.host))
    elif item.kind == "snapshot":
        driver.delete_snapshot(Snapshot(item.id, str(item.volume_id), 1, item.pool))
    else:
        driver.delete(Volume(item.id, item.size or 0, item.pool))


def _order(item: Item) -> tuple[str, str, str]:
    return item.kind, item.id, item.host or ""


def main(wanted: str = "") -> int:
    """Play everything; the table says how much it was."""
    logging.disable()  # the driver says of each fault what it saw
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        house = House(Path(scratch, "array"))
        try:
            stage = ArrayStage(house, Path(scratch, "state"))
            for scene in SCENES:
                if wanted in scene.name:
                    wrong += _tell(stage, scene)
        finally:
            house.close()
    print("nothing went wrong" if not wrong else f"{wrong} cases went wrong")
    return 1 if wrong else 0


def _tell(stage: ArrayStage, scene: Scene) -> int:
    began = time.monotonic()
    faults, shown = stage.rehearse(scene)
    wrong = []
    for fault in faults:
        try:
            stage.play(scene, fault, shown)
        except Wrong as error:
            wrong.append(str(error))
    kinds = ", ".join(f"{count} {what}" for what, count in Counter(f.what for f in faults).items())
    print(f"{scene}: {len(faults)} cases ({kinds}), {time.monotonic() - began:.0f} s")
    for text in wrong:
        print(f"    {text}")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
