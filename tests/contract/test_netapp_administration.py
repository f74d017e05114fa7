"""What the NetApp driver asks of the array beyond the contract: pools, limits, moves, moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import (
    DriverError,
    PermanentError,
    StillWorking,
    TemporaryError,
    Volume,
)
from breezeblock.drivers.netapp import moving, together
from breezeblock.drivers.netapp.iscsi import IscsiDriver
from breezeblock.drivers.netapp.luns import GIB
from breezeblock.scheduler.extra_specs import demands
from tests.contract.drivers import patiently
from tests.contract.rest_only import Sim, a_snapshot, a_volume, of_release, rest_only

POLICIES = "/storage/qos/policies"
GROUPS = "/application/consistency-groups"


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Sim]:
    with rest_only(tmp_path) as sim:
        yield sim


@pytest.fixture
def driver(sim: Sim) -> IscsiDriver:
    return sim.driver()


def made(driver: IscsiDriver, volume: Volume) -> Volume:
    driver.create(volume, None)
    return volume


def policies(driver: IscsiDriver) -> dict[str, dict[str, Any]]:
    """The policy groups on the array, by name."""
    found = driver.client.records(POLICIES, fields=("name", "fixed", "adaptive"))
    return {one["name"]: one for one in found}


def moments(driver: IscsiDriver) -> list[str]:
    """What is left of freezing: consistency groups, and snapshots of FlexVols."""
    left = [one["name"] for one in driver.client.records(GROUPS, fields=("name",))]
    for flexvol in driver.pools.all():
        path = f"/storage/volumes/{flexvol.uuid}/snapshots"
        left += [one["name"] for one in driver.client.records(path, fields=("name",))]
    return left


class TestPools:
    def test_an_array_that_is_too_old_is_refused(self, tmp_path: Path) -> None:
        refused = pytest.raises(PermanentError, match=r"9\.10\.1.*9\.11\.1")
        with rest_only(tmp_path, of_release("9.10.1")) as sim, refused:
            sim.driver().setup()
        with rest_only(tmp_path / "newer", of_release("9.11.1")) as sim:
            sim.driver().setup()

    def test_each_flexvol_that_was_chosen_is_a_pool(self, driver: IscsiDriver) -> None:
        stats = driver.stats()
        pools = {pool.name: pool for pool in stats.pools}
        assert (stats.storage_protocol, set(pools)) == ("iSCSI", {"pool", "other"})
        assert pools["pool"].total_capacity_gb == 50
        assert pools["pool"].extra["netapp_aggregate"] == "fast"
        assert pools["other"].extra["netapp_raid_type"] == "raid_tec"
        assert pools["other"].extra["netapp_disk_type"] == ["SAS"]
        assert pools["other"].extra["netapp_hybrid_aggregate"] == "true"

    def test_space_is_counted_by_pool(self, driver: IscsiDriver) -> None:
        made(driver, a_volume(3))
        made(driver, a_volume(4, "other"))
        pools = {pool.name: pool for pool in driver.stats().pools}
        assert pools["pool"].provisioned_capacity_gb == 3
        assert pools["other"].provisioned_capacity_gb == 4
        thick = made(driver, a_volume(5, extra_specs={"provisioning:type": "thick"}))
        free = {pool.name: pool.free_capacity_gb for pool in driver.stats().pools}
        assert free == {"pool": 45, "other": 100}
        driver.delete(thick)
        assert driver.stats().pools[0].free_capacity_gb in (50, 100)

    def test_an_account_of_the_svm_knows_less_and_reports_all_the_same(self, sim: Sim) -> None:
        driver = sim.driver(netapp_login="vsadmin", netapp_vserver=None)
        pool = next(pool for pool in driver.stats().pools if pool.name == "pool")
        assert pool.total_capacity_gb == 50
        assert pool.extra["netapp_dedup"] == "true"
        assert "netapp_aggregate" not in pool.extra and "netapp_disk_type" not in pool.extra
        driver.create(a_volume(qos={"maxIOPS": "100"}), None)

    def test_the_number_of_requests_does_not_grow_with_what_there_is(self, sim: Sim) -> None:
        driver = sim.driver()

        def asked() -> int:
            before = len(sim.asked("GET"))
            driver.stats()
            return len(sim.asked("GET")) - before

        few = asked()
        for _ in range(5):
            made(driver, a_volume())
            made(driver, a_volume(pool="other"))
        assert asked() == few <= 7

    def test_where_nothing_fits_it_says_what_was_looked_for(self, sim: Sim) -> None:
        with pytest.raises(PermanentError, match=r"nope.*bare, other, pool"):
            sim.driver(netapp_pool_name_search_pattern="nope.*").stats()

    def test_the_schedulers_filter_finds_the_pool_that_a_type_asks_for(
        self, driver: IscsiDriver
    ) -> None:
        specs = {"netapp_compression": "<is> True", "netapp_disk_type": "SSD"}
        assert fitting(driver, specs) == ["pool"]
        assert fitting(driver, {"netapp_qos_min_support": "false"}) == ["other"]
        assert fitting(driver, {"netapp_unmirrored": "true"}) == ["other", "pool"]
        assert fitting(driver, {"netapp_mirrored": "true"}) == []


def fitting(driver: IscsiDriver, specs: dict[str, str]) -> list[str]:
    asked = list(demands(specs))
    found = {pool.name: pool.extra for pool in driver.stats().pools}
    return sorted(
        name for name, extra in found.items() if not any(one.refusal(extra) for one in asked)
    )


class TestLimits:
    def test_a_volume_has_its_own_group_for_as_long_as_it_lives(self, driver: IscsiDriver) -> None:
        volume = made(driver, a_volume(2, qos={"maxIOPSperGiB": "50"}))
        name = f"openstack-{volume.id}"
        assert policies(driver)[name]["fixed"]["max_throughput_iops"] == 100
        lun = driver.lookup.needed(volume)
        assert lun.qos_policy is not None and lun.qos_policy.name == name
        for _ in range(2):
            driver.extend(volume, 5)
            assert policies(driver)[name]["fixed"]["max_throughput_iops"] == 250
        for _ in range(2):
            driver.delete(volume)
            assert policies(driver) == {}

    def test_what_was_not_told_changes_nothing(self, driver: IscsiDriver) -> None:
        volume = made(driver, a_volume(2, qos={"maxIOPSperGiB": "50"}))
        driver.extend(replace(volume, qos={}), 5)
        (group,) = policies(driver).values()
        assert group["fixed"]["max_throughput_iops"] == 100
        driver.export(volume, {"host": "host-a", "initiator": "iqn.2026-01.example:a"})
        (group,) = policies(driver).values()
        assert group["fixed"]["max_throughput_iops"] == 250, "an export brings it up to date"

    def test_a_volume_in_another_pool_keeps_its_group(self, driver: IscsiDriver) -> None:
        volume = made(driver, a_volume(qos={"maxIOPS": "50"}))
        driver.delete(replace(volume, pool="other"))
        assert list(policies(driver)) == [f"openstack-{volume.id}"]

    def test_retyping_changes_kind_and_takes_limits_away(self, driver: IscsiDriver) -> None:
        volume = made(driver, a_volume(2, qos={"maxIOPS": "50", "minIOPS": "10"}))
        driver.retype(replace(volume, qos={"maxBPS": str(7 << 20)}))
        (group,) = policies(driver).values()
        assert group["fixed"]["max_throughput_mbps"] == 7
        assert not group["fixed"].get("max_throughput_iops")
        adaptive = {"expectedIOPSperGiB": "1", "peakIOPSperGiB": "2"}
        driver.retype(replace(volume, qos=adaptive))
        (group,) = policies(driver).values()
        assert group["adaptive"]["peak_iops"] == 2048
        driver.retype(replace(volume, qos={}))
        assert policies(driver) == {}
        assert not driver.lookup.needed(volume).qos_policy

    def test_a_type_may_name_a_group(self, driver: IscsiDriver) -> None:
        body = {"name": "gold", "svm.name": "svm1", "fixed.max_throughput_iops": 7}
        driver.client.post(POLICIES, body, job=True)
        gold = {"netapp:qos_policy_group": "gold"}
        volume = made(driver, a_volume(extra_specs=gold))
        lun = driver.lookup.needed(volume)
        assert lun.qos_policy is not None and lun.qos_policy.name == "gold"
        driver.delete(volume)
        assert list(policies(driver)) == ["gold"]
        for wrong in (
            {"netapp:qos_policy_group": "silver"},
            {**gold, "netapp:qos_policy_group_is_adaptive": "<is> True"},
        ):
            with pytest.raises(PermanentError, match="netapp:qos_policy_group"):
                driver.create(a_volume(extra_specs=wrong), None)
        assert driver.inventory() == []

    def test_wrong_limits_make_no_volume(self, driver: IscsiDriver) -> None:
        with pytest.raises(PermanentError, match="maxIOPS"):
            driver.create(a_volume(qos={"maxIOPS": "many"}), None)
        assert driver.inventory() == [] and policies(driver) == {}

    @pytest.mark.parametrize("what", ["drop", "job_fails", "job_lost"])
    def test_what_went_wrong_is_made_good_by_the_next_call(
        self, sim: Sim, driver: IscsiDriver, what: str
    ) -> None:
        volume = a_volume(qos={"maxIOPS": "50"})
        sim.jobs_take(0.2)
        sim.goes_wrong(what, "POST", POLICIES)
        with suppress(DriverError):
            driver.create(volume, None)
        driver.create(volume, None)
        (group,) = policies(driver).values()
        assert group["fixed"]["max_throughput_iops"] == 50
        driver.delete(volume)
        assert policies(driver) == {}

    def test_released_volumes_have_no_group_of_ours(self, driver: IscsiDriver) -> None:
        volume = made(driver, a_volume(qos={"maxIOPS": "50"}))
        driver.release(volume)
        assert policies(driver) == {}
        (found,) = driver.manageable()
        taken = a_volume(qos={"maxIOPS": "60"})
        driver.adopt(taken, found.reference)
        assert list(policies(driver)) == [f"openstack-{taken.id}"]


class TestTypes:
    def test_space_is_reserved_as_the_type_asks(self, driver: IscsiDriver) -> None:
        volume = made(driver, a_volume())
        for kind, reserved in (("thick", True), ("thin", False)):
            driver.retype(replace(volume, extra_specs={"provisioning:type": kind}))
            assert driver.lookup.needed(volume).space.guarantee.requested is reserved

    @pytest.mark.parametrize(
        "specs", [{"provisioning:type": "sideways"}, {"netapp:raid_type": "raid4"}]
    )
    def test_what_cannot_be_is_named(self, driver: IscsiDriver, specs: dict[str, str]) -> None:
        volume = made(driver, a_volume())
        with pytest.raises(PermanentError, match=next(iter(specs))):
            driver.retype(replace(volume, extra_specs=specs))


class TestAdopting:
    def stranger(self, driver: IscsiDriver, name: str, size: int = GIB) -> None:
        driver.client.post(
            "/storage/luns",
            {"name": f"/vol/pool/{name}", "os_type": "linux", "space.size": size},
        )

    def test_volumes_of_a_cinder_that_still_runs_are_not_ours(self, driver: IscsiDriver) -> None:
        theirs = a_volume()
        self.stranger(driver, f"volume-{theirs.id}")
        self.stranger(driver, f"snapshot-{theirs.id}")
        assert driver.inventory() == []
        (shown,) = driver.manageable()
        assert shown.managed is None and not shown.reason
        assert theirs.id in shown.extra["named_for"]
        volume = a_volume()
        assert driver.adopt(volume, shown.reference) == 1
        assert [item.id for item in driver.inventory()] == [volume.id]

    def test_by_name_path_and_uuid(self, driver: IscsiDriver) -> None:
        for number, how in enumerate(("name", "path", "uuid")):
            self.stranger(driver, f"lun{number}")
            path = f"/vol/pool/lun{number}"
            lun = driver.luns.get(path)
            assert lun is not None
            reference = {
                "name": {"source-name": f"lun{number}"},
                "path": {"source-name": path},
                "uuid": {"source-id": lun.uuid},
            }[how]
            assert driver.adopt(a_volume(), reference) == 1
        assert len(driver.inventory()) == 3

    def test_a_pattern_names_nothing(self, driver: IscsiDriver) -> None:
        self.stranger(driver, "lun")
        for name in ("*", "l*n", "lun|x", "!x", "a..z", "null", "/vol/pool/*", "/vol/*/lun"):
            with pytest.raises(PermanentError):
                driver.adopt(a_volume(), {"source-name": name})

    def test_its_type_is_followed_where_it_speaks_of_it(self, sim: Sim) -> None:
        driver = sim.driver(netapp_lun_space_reservation="enabled")
        for name, specs, reserved in (
            ("lun1", {}, False),
            ("lun2", {"provisioning:type": "thick"}, True),
        ):
            self.stranger(driver, name)
            volume = a_volume(extra_specs=specs, qos={"maxIOPSperGiB": "10"})
            driver.adopt(volume, {"source-name": name})
            lun = driver.lookup.needed(volume)
            assert lun.space.guarantee.requested is reserved
            assert lun.qos_policy is not None
            assert lun.qos_policy.name == f"openstack-{volume.id}"

    def test_a_type_that_cannot_be_followed_takes_nothing(self, driver: IscsiDriver) -> None:
        self.stranger(driver, "lun")
        for wrong in (
            {"extra_specs": {"provisioning:type": "sideways"}},
            {"extra_specs": {"netapp:qos_policy_group": "no-such"}},
            {"qos": {"maxIOPS": "many"}},
        ):
            with pytest.raises(PermanentError):
                driver.adopt(a_volume(**wrong), {"source-name": "lun"})
        assert driver.luns.get("/vol/pool/lun") is not None and driver.inventory() == []

    @pytest.mark.parametrize("what", ["drop", "refuse"])
    def test_an_answer_that_is_lost_does_no_harm(
        self, sim: Sim, driver: IscsiDriver, what: str
    ) -> None:
        for skip in range(3):
            self.stranger(driver, f"lun{skip}", GIB + 65536)
            volume, reference = a_volume(), {"source-name": f"lun{skip}"}
            sim.goes_wrong(what, "PATCH", "/storage/luns*", skip=skip)
            with pytest.raises(TemporaryError):
                driver.adopt(volume, reference)
            assert driver.adopt(volume, reference) == 2
            assert driver.lookup.needed(volume).is_ours
        assert len(driver.inventory()) == 3

    def test_what_is_mapped_is_not_taken(self, driver: IscsiDriver) -> None:
        self.stranger(driver, "lun")
        body = {"name": "theirs", "protocol": "iscsi", "os_type": "linux"}
        driver.client.post("/protocols/san/igroups", body)
        maps = {"lun.name": "/vol/pool/lun", "igroup.name": "theirs"}
        driver.client.post("/protocols/san/lun-maps", maps)
        (shown,) = driver.manageable()
        assert "mapped" in shown.reason
        with pytest.raises(PermanentError, match="mapped"):
            driver.adopt(a_volume(), shown.reference)
        assert driver.luns.get("/vol/pool/lun") is not None


class TestMoving:
    def test_it_says_how_far_it_is(
        self, sim: Sim, driver: IscsiDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(moving, "PATIENCE", 0.0)
        volume = made(driver, a_volume())
        sim.moves_take(0.5)
        with pytest.raises(StillWorking) as told:
            driver.move(volume, "other")
        assert told.value.progress is not None and 0 <= told.value.progress < 100
        patiently(driver.move, volume, "other")
        assert [item.pool for item in driver.inventory()] == ["other"]

    def test_one_that_fails_is_told_once_and_can_be_tried_again(
        self, sim: Sim, driver: IscsiDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(moving, "PATIENCE", 0.0)
        volume = made(driver, a_volume())
        sim.moves_take(0.3)
        sim.goes_wrong("transfer_fails", "PATCH", "/storage/luns/*", message="no room")
        with pytest.raises(PermanentError, match="no room"):
            patiently(driver.move, volume, "other")
        assert [item.pool for item in driver.inventory()] == ["pool"]
        patiently(driver.move, volume, "other")
        assert [item.pool for item in driver.inventory()] == ["other"]

    def test_an_answer_that_is_lost_does_no_harm(self, sim: Sim, driver: IscsiDriver) -> None:
        volume = made(driver, a_volume())
        sim.goes_wrong("drop", "PATCH", "/storage/luns/*")
        with pytest.raises(TemporaryError):
            driver.move(volume, "other")
        driver.move(volume, "other")
        assert len(sim.asked("PATCH", "/storage/luns/")) == 1
        assert [item.pool for item in driver.inventory()] == ["other"]


class TestMoments:
    def test_one_flexvol_needs_no_consistency_group(self, sim: Sim, driver: IscsiDriver) -> None:
        volumes = [made(driver, a_volume()) for _ in range(2)]
        driver.snapshot_together([a_snapshot(volume) for volume in volumes])
        assert sim.asked("POST", GROUPS) == []
        assert moments(driver) == []

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", GROUPS),
            ("POST", f"{GROUPS}/*/snapshots"),
            ("POST", "/storage/luns"),
            ("DELETE", f"{GROUPS}/*"),
            ("DELETE", "/storage/volumes/*/snapshots/*"),
        ],
    )
    @pytest.mark.parametrize("what", ["drop", "refuse"])
    def test_the_next_call_finishes_what_was_cut_short(
        self, sim: Sim, driver: IscsiDriver, method: str, path: str, what: str
    ) -> None:
        volumes = [made(driver, a_volume(pool=pool)) for pool in ("pool", "other")]
        snapshots = [a_snapshot(volume) for volume in volumes]
        sim.goes_wrong(what, method, path)
        with pytest.raises(TemporaryError):
            driver.snapshot_together(snapshots)
        sim.driver().snapshot_together(snapshots)
        assert moments(driver) == []
        found = {item.id for item in driver.inventory() if item.kind == "snapshot"}
        assert found == {snapshot.id for snapshot in snapshots}

    def test_where_one_cannot_be_made_none_stays(self, sim: Sim, driver: IscsiDriver) -> None:
        volumes = [made(driver, a_volume()) for _ in range(3)]
        sim.goes_wrong("fail", "POST", "/storage/luns", skip=2, status=400, code="5374121")
        with pytest.raises(PermanentError):
            driver.snapshot_together([a_snapshot(volume) for volume in volumes])
        assert {item.kind for item in driver.inventory()} == {"volume"}
        assert moments(driver) == []

    def test_an_administrators_group_is_left_alone(self, driver: IscsiDriver) -> None:
        volumes = [made(driver, a_volume(pool=pool)) for pool in ("pool", "other")]
        added = [{"name": "pool", "provisioning_options": {"action": "add"}}]
        body = {"name": "theirs", "svm.name": "svm1", "volumes": added}
        driver.client.post(GROUPS, body, job=True)
        with pytest.raises(PermanentError):
            driver.snapshot_together([a_snapshot(volume) for volume in volumes])
        assert moments(driver) == ["theirs"]

    def test_what_nobody_came_back_for_is_removed_when_it_is_old(
        self, sim: Sim, driver: IscsiDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volumes = [made(driver, a_volume(pool=pool)) for pool in ("pool", "other")]
        sim.goes_wrong("refuse", "POST", "/storage/luns", body={"name": "*/snapshot-*"})
        with pytest.raises(TemporaryError):
            driver.snapshot_together([a_snapshot(volume) for volume in volumes])
        left = moments(driver)
        assert left
        more = [a_snapshot(volume) for volume in volumes]
        with pytest.raises(TemporaryError):
            driver.snapshot_together(more)
        assert moments(driver) == left, "it may still be at work"
        monkeypatch.setattr(together, "STALE", -together.STALE)
        driver.snapshot_together(more)
        assert moments(driver) == []

    def test_a_group_that_is_in_the_way_for_long_is_nobodys(
        self, driver: IscsiDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volumes = [made(driver, a_volume(pool=pool)) for pool in ("pool", "other")]
        added = [{"name": "pool", "provisioning_options": {"action": "add"}}]
        name = f"{together.PREFIX}of-somebody"
        driver.client.post(GROUPS, {"name": name, "svm.name": "svm1", "volumes": added}, job=True)
        snapshots = [a_snapshot(volume) for volume in volumes]
        for _ in range(2):
            with pytest.raises(TemporaryError):
                driver.snapshot_together(snapshots)
            assert moments(driver) == [name]
        monkeypatch.setattr(together, "ABANDONED", -1.0)
        with pytest.raises(TemporaryError):
            driver.snapshot_together(snapshots)
        driver.snapshot_together(snapshots)
        assert moments(driver) == []

    def test_a_pool_that_hides_its_snapshots_says_so(self, sim: Sim) -> None:
        driver = sim.driver(netapp_pool_name_search_pattern="bare")
        volume = made(driver, a_volume(pool="bare"))
        (pool,) = driver.stats().pools
        assert pool.extra["consistent_group_snapshot_enabled"] is False
        with pytest.raises(PermanentError, match="hides"):
            driver.snapshot_together([a_snapshot(volume)])
