"""The NetApp driver over NFS when the array misbehaves, and what only it has.

Each verb is called while one of its requests goes wrong, each request in turn: it is repeated as
the core does, and then all is as if nothing had been wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from breezeblock.drivers.base import Driver, TemporaryError
from breezeblock.drivers.netapp import NfsDriver
from tests.contract.drivers import CASES, HANG, Backend, a_snapshot, a_volume, wait_for
from tests.contract.netapp import OTHER_POOL, the_array
from tests.contract.scenes import remove_everything
from tests.contract.test_driver_images import an_image

pytestmark = pytest.mark.parametrize(
    "backend", [case for case in CASES if case.name == "netapp-nfs"], ids=["nfs"], indirect=True
)

MIB = 1 << 20
Call = Callable[[], object]
Verb = Callable[[Backend, Path], tuple[Call, Callable[[], bool]]]


def create(backend: Backend, _: Path) -> tuple[Call, Callable[[], bool]]:
    volume = a_volume(2)
    return lambda: backend.driver.create(volume, None), lambda: backend.reads(volume, 0)


def clone(backend: Backend, _: Path) -> tuple[Call, Callable[[], bool]]:
    source, volume = backend.create(), a_volume(2)
    backend.write(source, 1)
    return lambda: backend.driver.create(volume, source), lambda: backend.reads(volume, 1)


def clone_elsewhere(backend: Backend, _: Path) -> tuple[Call, Callable[[], bool]]:
    source, volume = backend.create(), a_volume(2, OTHER_POOL)
    backend.write(source, 1)
    return lambda: backend.driver.create(volume, source), lambda: backend.reads(volume, 1)


def from_image(backend: Backend, directory: Path) -> tuple[Call, Callable[[], bool]]:
    volume, image = a_volume(), an_image(directory, size=8 * MIB)
    return lambda: backend.driver.create(volume, image), lambda: backend.reads(volume, 1)


def extend(backend: Backend, _: Path) -> tuple[Call, Callable[[], bool]]:
    volume = backend.create()
    backend.write(volume, 1)

    def holds() -> bool:
        with backend.connected(volume) as disk:
            return bool(disk.gib == 3 and disk.reads(1))

    return lambda: backend.driver.extend(volume, 3), holds


def snapshot(backend: Backend, _: Path) -> tuple[Call, Callable[[], bool]]:
    volume = backend.create()
    backend.write(volume, 1)
    taken = a_snapshot(volume)
    return lambda: backend.driver.snapshot(taken), lambda: backend.reads(backend.create(taken), 1)


def revert(backend: Backend, _: Path) -> tuple[Call, Callable[[], bool]]:
    volume = backend.create()
    backend.write(volume, 1)
    taken = backend.snapshot(volume)
    backend.write(volume, 2)
    call = lambda: backend.driver.revert(volume, taken, turn="one")  # noqa: E731
    return call, lambda: backend.reads(volume, 1)


def overwrite(backend: Backend, directory: Path) -> tuple[Call, Callable[[], bool]]:
    volume, image = backend.create(), an_image(directory, size=8 * MIB)
    backend.write(volume, 2)
    call = lambda: backend.driver.overwrite(volume, image, turn="one")  # noqa: E731
    return call, lambda: backend.reads(volume, 1)


def delete(backend: Backend, _: Path) -> tuple[Call, Callable[[], bool]]:
    volume = backend.create()
    backend.driver.export(volume, backend.host.connector)
    return lambda: backend.driver.delete(volume), lambda: backend.driver.inventory() == []


VERBS: list[Verb] = [
    create,
    clone,
    clone_elsewhere,
    from_image,
    extend,
    snapshot,
    revert,
    overwrite,
    delete,
]


def repeated(call: Call) -> None:
    """As the core does it, but without waiting for long."""
    deadline = time.monotonic() + HANG
    while True:
        try:
            call()
            return
        except TemporaryError:
            assert time.monotonic() < deadline, "it does not end"


@pytest.fixture
def calm() -> Iterator[None]:
    """No fault is left for others."""
    yield
    the_array().control("DELETE", "faults")


def spoilt(what: str, place: int) -> None:
    """Let the request with that number go wrong of those that change something."""
    for method in ("POST", "PATCH", "DELETE"):
        the_array().fault(what, method=method, skip=place)


@pytest.mark.parametrize("what", ["drop", "refuse", "job_lost"])
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_whatever_request_is_lost_the_call_comes_to_its_end(
    backend: Backend, verb: Verb, what: str, tmp_path: Path, calm: None
) -> None:
    for place in range(3):
        call, holds = verb(backend, tmp_path)
        spoilt(what, place)
        repeated(call)
        the_array().control("DELETE", "faults")
        assert holds(), f"{what} of request {place}"
        remove_everything(backend.driver)
        assert backend.case.leftovers(backend.driver) == []


def test_a_slow_array_is_waited_for(backend: Backend, tmp_path: Path) -> None:
    the_array().settings(job_seconds=0.3)
    for verb in VERBS:
        call, holds = verb(backend, tmp_path)
        repeated(call)
        assert holds()
        remove_everything(backend.driver)


def test_a_revert_that_comes_late_changes_nothing(backend: Backend, calm: None) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    taken = backend.snapshot(volume)
    backend.write(volume, 2)
    clone = {"overwrite_destination": "True"}
    the_array().fault("late", method="POST", path="/storage/file/clone", body=clone)
    repeated(lambda: backend.driver.revert(volume, taken, turn="one"))
    backend.write(volume, 3)
    assert [one["status"] for one in replacing()] == [None, 201]
    the_array().control("POST", "late")
    wait_for(lambda: all(one["status"] is not None for one in replacing()))
    assert backend.reads(volume, 3)


def replacing() -> list[dict[str, object]]:
    """The requests, as the array has logged them, to put a file's content into another one."""
    bodies = [one for one in the_array().requests() if isinstance(one["body"], dict)]
    return [one for one in bodies if one["body"].get("overwrite_destination")]


def test_a_file_that_only_has_our_names_is_a_stranger(backend: Backend) -> None:
    theirs, volume = a_volume(), a_volume()
    assert backend.case.stranger is not None
    name = f"volume-{theirs.id}"
    reference = backend.case.stranger(backend.driver, "pool", name, 1 << 30)
    assert backend.driver.inventory() == []
    (shown,) = backend.driver.manageable()
    assert (shown.reference, shown.managed, shown.reason) == (reference, None, "")
    assert backend.driver.adopt(volume, reference) == 1
    assert [item.id for item in backend.driver.inventory()] == [volume.id]


def test_clones_between_pools_leave_nothing_between(backend: Backend) -> None:
    source = backend.create()
    backend.write(source, 1)
    taken = backend.snapshot(source)
    for origin in (source, taken):
        volume = a_volume(pool=OTHER_POOL)
        backend.driver.create(volume, origin)
        assert backend.reads(volume, 1)
        backend.driver.delete(volume)
    backend.driver.delete_snapshot(taken)
    backend.driver.delete(source)
    assert backend.case.leftovers(backend.driver) == []


def test_what_hosts_are_told_is_how_nfs_clients_mount(backend: Backend) -> None:
    volume = backend.create()
    info = backend.driver.export(volume, backend.host.connector, mode="ro")
    address, _, junction = info.data["export"].partition(":")
    assert info.driver_volume_type == "nfs"
    assert address in {portal[0] for portal in the_array().portals} and junction == "/pool"
    assert info.data["name"] == f"volume-{volume.id}"
    assert (info.data["format"], info.data["access_mode"]) == ("raw", "ro")


def test_limits_hold_for_the_file_and_follow_its_size(backend: Backend) -> None:
    volume = replace(a_volume(), qos={"maxIOPSperGiB": "100"})
    backend.driver.create(volume, None)
    assert policy_of(backend.driver, volume.id)["fixed"]["max_throughput_iops"] == 100
    backend.driver.extend(volume, 4)
    assert policy_of(backend.driver, volume.id)["fixed"]["max_throughput_iops"] == 400


def policy_of(driver: Driver, volume_id: str) -> dict[str, dict[str, int]]:
    """The policy group that holds for the volume's file."""
    assert isinstance(driver, NfsDriver)
    files = f"/storage/volumes/{driver.pools.get('pool').uuid}/files"
    query = {"name": f"volume-{volume_id}"}
    (file,) = driver.client.records(files, query, fields=("qos_policy.name",))
    (policy,) = driver.client.records(
        "/storage/qos/policies", {"name": file["qos_policy"]["name"]}, fields=("fixed",)
    )
    return policy
