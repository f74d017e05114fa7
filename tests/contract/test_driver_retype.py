"""The driver contract, `retype`: what a type asks now holds for a volume that is there."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from breezeblock.drivers.base import PermanentError, TemporaryError, Volume
from tests.contract.crashing import Crasher
from tests.contract.drivers import (
    Backend,
    Kind,
    a_volume,
    assert_all_there,
    having,
    writing,
)
from tests.contract.scenes import Scene, finishes_what_a_killed_one_began

pytestmark = pytest.mark.parametrize(
    "backend", having("retype"), ids=lambda case: case.name, indirect=True
)


def as_kind(volume: Volume, kind: Kind) -> Volume:
    return replace(volume, extra_specs=kind.extra_specs, qos=kind.qos)


def possible(backend: Backend) -> list[Kind]:
    return [kind for kind in backend.case.kinds if not kind.impossible]


def test_a_volume_goes_through_all_its_kinds_and_keeps_its_content(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    for kind in [*possible(backend), *reversed(possible(backend)), Kind()]:
        backend.driver.retype(as_kind(volume, kind))
        assert backend.reads(volume, 1)


def test_hosts_write_on_meanwhile(backend: Backend) -> None:
    volume = backend.create()
    with backend.connected(volume, reconnect=30) as disk, writing(disk) as written:
        info = backend.driver.export(volume, backend.host.connector)
        for kind in possible(backend):
            changed = as_kind(volume, kind)
            backend.driver.retype(changed)
            assert backend.driver.export(changed, backend.host.connector) == info
    assert_all_there(backend, volume, written)


def test_retyping_again_changes_nothing(backend: Backend) -> None:
    volume = backend.create()
    for kind in possible(backend):
        for driver in (backend.driver, backend.another_process(), backend.driver):
            driver.retype(as_kind(volume, kind))
    assert len(backend.driver.inventory()) == 1


def test_nothing_of_any_kind_is_left_when_it_is_gone(backend: Backend) -> None:
    volume = backend.create()
    for kind in possible(backend):
        changed = as_kind(volume, kind)
        backend.driver.retype(changed)
        made = replace(a_volume(), extra_specs=kind.extra_specs, qos=kind.qos)
        backend.driver.create(made, None)
        backend.driver.extend(made, 2)
        backend.driver.retype(replace(volume, size=1))
        backend.driver.delete(made)
    backend.driver.delete(volume)
    assert backend.driver.inventory() == []
    assert backend.case.leftovers(backend.driver) == []


def test_what_cannot_be_is_refused_and_changes_nothing(backend: Backend) -> None:
    volume = backend.create()
    backend.write(volume, 1)
    refused = [kind for kind in backend.case.kinds if kind.impossible]
    assert refused
    for kind in refused:
        with pytest.raises(PermanentError):
            backend.driver.retype(as_kind(volume, kind))
    assert backend.reads(volume, 1)


def test_what_is_gone_has_no_type(backend: Backend) -> None:
    for kind in possible(backend):
        with pytest.raises(PermanentError):
            backend.driver.retype(as_kind(a_volume(), kind))
    assert backend.driver.inventory() == []
    assert backend.case.leftovers(backend.driver) == []


def test_volumes_change_at_the_same_time(backend: Backend) -> None:
    volumes = [backend.create() for _ in range(3)]
    processes = [backend.driver, backend.another_process()]
    with ThreadPoolExecutor(6) as threads:
        calls = [
            threads.submit(driver.retype, as_kind(volume, kind))
            for kind in possible(backend)
            for volume, driver in zip(volumes, processes * 2, strict=False)
        ]
    raised = {type(call.exception()) for call in calls}
    assert raised <= {type(None), TemporaryError}, "a volume's calls do not come at once, usually"
    for volume in volumes:
        backend.driver.retype(as_kind(volume, possible(backend)[0]))
        backend.driver.delete(volume)
    assert backend.case.leftovers(backend.driver) == []


def retype(backend: Backend, stack: ExitStack) -> Scene:
    volume = as_kind(backend.create(), possible(backend)[0])
    disk = stack.enter_context(backend.connected(volume, reconnect=30))
    assert disk.write(1)
    return Scene("retype", (volume,), lambda: disk.reads(1) and disk.write(1))


def untype(backend: Backend, stack: ExitStack) -> Scene:
    volume = backend.create()
    backend.driver.retype(as_kind(volume, possible(backend)[0]))
    return Scene("retype", (volume,), lambda: backend.reads(volume, 0))


@pytest.mark.parametrize("scene", [retype, untype], ids=lambda scene: scene.__name__)
def test_the_next_process_finishes_what_a_killed_one_began(
    backend: Backend, crasher: Crasher, scene: Callable[..., Scene]
) -> None:
    finishes_what_a_killed_one_began(backend, crasher, scene)
