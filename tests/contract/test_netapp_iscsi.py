"""The NetApp driver over iSCSI, beyond the contract: logins, paths, other pools, and exchanges of
contents that were left half-way or came late."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from breezeblock.drivers.base import ConnectionInfo, Item, PermanentError, Volume
from breezeblock.drivers.netapp import IscsiDriver, names
from breezeblock.drivers.netapp.chap import CREDENTIALS
from breezeblock.drivers.netapp.igroups import IGROUPS
from breezeblock.drivers.netapp.luns import Lun
from breezeblock.drivers.netapp.names import Name
from tests.contract.drivers import CASES, Backend, a_volume, patiently
from tests.contract.netapp import OTHER_POOL, POOL

pytestmark = pytest.mark.parametrize(
    "backend",
    [case for case in CASES if case.name == "netapp-iscsi"],
    ids=lambda case: case.name,
    indirect=True,
)


def driver_of(backend: Backend) -> IscsiDriver:
    assert isinstance(backend.driver, IscsiDriver)
    return backend.driver


def lun_of(backend: Backend, volume: Volume) -> Lun:
    found = driver_of(backend).luns.get(names.volume(volume.pool, volume.id))
    assert found is not None
    return found


def with_data(info: ConnectionInfo, **changes: Any) -> ConnectionInfo:
    return replace(info, data={**info.data, **changes})


class TestLogin:
    def test_only_who_has_the_secret_is_let_in(self, backend: Backend) -> None:
        info = backend.driver.export(backend.create(), backend.host.connector)
        assert not backend.host.refused(info)
        assert backend.host.refused(with_data(info, auth_password="guessed-wrongly"))
        assert backend.host.refused(with_data(info, auth_method="none"))

    def test_another_host_is_not_let_in_with_it(self, backend: Backend) -> None:
        info = backend.driver.export(backend.create(), backend.host.connector)
        assert backend.other_host.refused(info)

    def test_who_comes_as_the_host_with_another_initiator_gets_nothing_of_it(
        self, backend: Backend
    ) -> None:
        theirs, own = backend.create(), backend.create()
        good = backend.driver.export(theirs, backend.host.connector)
        connector = {**backend.other_host.connector, "host": backend.host.name}
        his = backend.driver.export(own, connector)
        assert not backend.other_host.refused(his)
        number = good.data["target_lun"]
        assert number != his.data["target_lun"]
        assert backend.other_host.refused(with_data(his, target_lun=number))
        backend.driver.unexport(own, backend.host.name)
        assert backend.other_host.refused(with_data(his, target_lun=number))
        assert not backend.host.refused(good)
        (igroup,) = driver_of(backend).client.records(IGROUPS, fields=("initiators.name",))
        assert [one["name"] for one in igroup["initiators"]] == [backend.host.initiator]

    def test_a_new_key_counts_from_the_next_export(self, backend: Backend) -> None:
        volume, other = backend.create(), backend.create()
        old = backend.driver.export(volume, backend.host.connector)
        options = {**backend.driver.config.options, "chap_secret_key": "another key of ours"}
        changed = IscsiDriver(replace(backend.driver.config, options=options))
        new = changed.export(other, backend.host.connector)
        changed.close()
        assert backend.host.refused(old) and not backend.host.refused(new)

    def test_a_credential_of_somebody_else_is_left_alone(self, backend: Backend) -> None:
        client, initiator = driver_of(backend).client, backend.host.initiator
        theirs = {"user": "admin", "password": "only-they-know"}
        body = {"authentication_type": "chap", "chap": {"inbound": theirs}}
        client.post(CREDENTIALS, {"initiator": initiator, **body})
        volume = backend.create()
        with pytest.raises(PermanentError, match="credential"):
            backend.driver.export(volume, backend.host.connector)
        assert [item.kind for item in backend.driver.inventory()] == ["volume"]
        (found,) = client.records(CREDENTIALS, fields=("chap.inbound.user",))
        assert found["chap"]["inbound"]["user"] == "admin"

    def test_secrets_go_with_the_last_export_of_their_host(self, backend: Backend) -> None:
        client, volumes = driver_of(backend).client, [backend.create() for _ in range(2)]
        for volume in volumes:
            backend.driver.export(volume, backend.host.connector)
        counts = []
        for volume in volumes:
            backend.driver.unexport(volume, backend.host.name)
            counts.append(client.count(CREDENTIALS))
        assert counts == [1, 0]


class TestPaths:
    def test_the_volume_is_there_on_every_path(self, backend: Backend) -> None:
        connector = {**backend.host.connector, "multipath": True}
        info = backend.driver.export(backend.create(), connector)
        one, other = (with_data(info, target_portal=at) for at in info.data["target_portals"])
        with backend.host.open(one) as disk, backend.host.open(other) as same:
            assert disk.write(5)
            assert same.reads(5)


class TestOtherPools:
    @pytest.mark.parametrize("by_snapshot", [True, False], ids=["snapshot", "volume"])
    def test_a_copy_in_another_pool_holds_its_source(
        self, backend: Backend, by_snapshot: bool
    ) -> None:
        volume = backend.create()
        backend.write(volume, 3)
        source = backend.snapshot(volume) if by_snapshot else volume
        copy = a_volume(2, OTHER_POOL)
        patiently(backend.driver.create, copy, source)
        backend.driver.delete(volume)
        assert backend.reads(copy, 3)
        assert Item("volume", copy.id, 2, pool=OTHER_POOL) in backend.driver.inventory()

    def test_a_volume_is_found_though_its_pool_is_not_the_one_that_is_named(
        self, backend: Backend
    ) -> None:
        volume = backend.create()
        mistaken = replace(volume, pool=OTHER_POOL)
        backend.driver.extend(mistaken, 2)
        backend.driver.delete(mistaken)
        assert backend.driver.inventory() == [Item("volume", volume.id, 2, pool=POOL)]


class TestExchange:
    """What becomes of a volume whose content is being replaced."""

    @pytest.mark.parametrize("complete", [True, False], ids=["new is there", "new is gone"])
    def test_between_the_renamings_the_volume_is_listed_and_the_next_call_mends_it(
        self, backend: Backend, complete: bool
    ) -> None:
        volume = backend.create()
        backend.write(volume, 1)
        luns, turn = driver_of(backend).luns, names.short_turn("one")
        if complete:
            new = Name(POOL, "new", volume.id, turn)
            made = luns.clone(new, lun_of(backend, volume).path, {})
            luns.change(made, {"comment": lun_of(backend, volume).mark.serving(turn).comment})
        luns.rename(lun_of(backend, volume), Name(POOL, "old", volume.id, turn))
        assert backend.driver.inventory() == [Item("volume", volume.id, 1, pool=POOL)]
        assert backend.reads(volume, 1)
        assert [lun.path for lun in luns.of_resource(volume.id)] == [
            names.volume(POOL, volume.id).path
        ]

    def test_a_host_that_is_let_in_meanwhile_keeps_what_it_has(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 1)
        snapshot = backend.snapshot(volume)
        driver = driver_of(backend)
        make = driver.making.clone

        def overtaken(*arguments: Any) -> None:
            make(*arguments)
            driver.export(volume, backend.host.connector)

        driver.making.clone = overtaken  # type: ignore[method-assign]
        backend.write(volume, 2)
        with pytest.raises(PermanentError, match="exported"):
            driver.revert(volume, snapshot, turn="one")
        assert backend.reads(volume, 2)
        backend.driver.delete_snapshot(snapshot)
        backend.driver.delete(volume)
        assert backend.case.leftovers(backend.driver) == []


class TestOthers:
    def test_luns_that_only_have_such_names_are_not_ours(self, backend: Backend) -> None:
        volume = backend.create()
        driver = driver_of(backend)
        driver.luns.change(lun_of(backend, volume), {"comment": ""})
        assert backend.driver.inventory() == []
        backend.driver.delete(volume)
        backend.driver.release(volume)
        for call in (
            lambda: backend.driver.create(volume, None),
            lambda: backend.driver.create(volume, backend.create()),
            lambda: backend.driver.export(volume, backend.host.connector),
            lambda: backend.driver.extend(volume, 2),
        ):
            with pytest.raises(PermanentError):
                call()
        assert lun_of(backend, volume).gib == 1
