"""The doctor: what it finds on a live deployment, what it repairs, and that it only looks else."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from breezeblock.cli import logs
from breezeblock.cli.doctor import doctor
from breezeblock.config import Config, build
from breezeblock.doctor import visit as visits
from breezeblock.doctor.findings import Diagnosis
from breezeblock.doctor.visit import CannotLook, visit
from breezeblock.drivers.base import Item, Volume
from breezeblock.model.ids import new_id
from breezeblock.model.invariants import check_live
from breezeblock.model.servers import Flavor, Server, ServerVolume
from breezeblock.operations.submit import Caller, submit
from breezeblock.store import facts, operations, quotas, schema, servers, services
from breezeblock.store.store import Store, WriteTx
from breezeblock.store.tables import operations as operations_table
from breezeblock.store.tables import quota_usages
from breezeblock.workflows import delete_volume
from tests.engines.postgres import Postgres
from tests.service.house import PROJECT, House, open_house

BACKEND = "node1@fast"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
SERVER = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return build({"host": "node1", "data": str(tmp_path)})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "BETWEEN_LOOKS", 0.0)
    # What the command sets up for its process would outlive the test, and hold its standard error.
    monkeypatch.setattr(logs, "set_up", lambda _level: None)


async def examined(config: Config, *, repair: bool = False, patience: float = 30.0) -> Diagnosis:
    return await visit(config, repair=repair, patience=patience)


def rules(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    return sorted((one.rule, one.subject) for one in diagnosis.findings)


async def skew(house: House) -> None:
    """Have a project be counted wrongly, and one without volumes be counted at all."""

    def write(tx: WriteTx) -> None:
        tx.run(quota_usages.update().values(in_use=quota_usages.c.in_use + 7))
        tx.insert(quota_usages, {"project_id": "nobody", "resource": "volumes", "in_use": 3})

    await house.app.store.write(write)


# -- looking --------------------------------------------------------------------------------------


async def test_a_healthy_deployment_has_no_findings(house: House, config: Config) -> None:
    volume = await house.volume()
    await house.snapshot(volume)
    await house.in_use(volume)
    diagnosis = await examined(config)
    assert diagnosis.healthy
    assert diagnosis.held == {BACKEND: {"volume": 1, "snapshot": 1, "export": 1}}


async def test_work_under_way_is_no_finding(house: House, config: Config) -> None:
    gate = house.driver.gates["create"] = threading.Event()
    await house.member.post("/volumes", {"volume": {"size": 1}})
    while not house.driver.calls:
        await asyncio.sleep(0.01)
    assert (await examined(config)).healthy
    gate.set()


async def test_without_repair_it_changes_nothing(house: House, config: Config) -> None:
    volume = await house.volume()
    house.driver.extend(Volume(volume, 1, "pool0"), 3)
    house.driver.export(Volume(volume, 1, "pool0"), {"host": "stranger"})
    await house.put(volume, status="extending")
    await skew(house)
    rows, state = await house.app.store.read(facts.read), house.driver.state()
    assert not (await examined(config)).healthy
    after = await house.app.store.read(facts.read)
    assert house.driver.state() == state
    assert replace(after, now=0.0, operations=()) == replace(rows, now=0.0, operations=())
    assert {one.workflow for one in after.operations} - {
        one.workflow for one in rows.operations
    } == {"sweep_backend"}


async def test_each_finding_says_what_and_what_to_do(house: House, config: Config) -> None:
    house.driver.create(Volume("not-ours", 1, "pool0"), None)
    (finding,) = (await examined(config)).findings
    assert "not-ours" in finding.text and BACKEND in finding.text
    assert finding.remedy and not finding.repairable


async def test_a_backend_that_nobody_serves_is_named_and_not_waited_for(
    house: House, config: Config
) -> None:
    await house.volume()
    await house.app.store.write(lambda tx: services.withdraw(tx, services.VOLUME, BACKEND))
    diagnosis = await examined(config, patience=3600.0)
    assert rules(diagnosis) == [("unserved", BACKEND)]
    assert "Nobody serves" in diagnosis.findings[0].text
    assert await house.app.store.read(lambda tx: operations.of_resource(tx, BACKEND)) == []


async def test_a_retired_backend_without_volumes_is_no_finding(
    house: House, config: Config
) -> None:
    await house.app.store.write(lambda tx: services.withdraw(tx, services.VOLUME, BACKEND))
    assert (await examined(config)).healthy


async def test_a_service_that_does_not_answer_is_a_finding(house: House, config: Config) -> None:
    go_on = threading.Event()

    def silent() -> list[Item]:
        assert go_on.wait(30)
        return []

    house.driver.inventory = silent  # type: ignore[method-assign]
    assert rules(await examined(config, patience=0.5)) == [("unanswered", BACKEND)]
    go_on.set()


async def test_a_backend_that_cannot_say_what_it_holds_is_a_finding_with_its_words(
    house: House, config: Config
) -> None:
    def broken() -> list[Any]:
        raise OSError("the array is gone")

    house.driver.inventory = broken  # type: ignore[method-assign]
    (finding,) = (await examined(config)).findings
    assert (finding.rule, finding.subject) == ("backend-failed", BACKEND)
    assert finding.remedy


# -- repairing ------------------------------------------------------------------------------------


async def test_it_repairs_what_a_sweep_repairs_and_leaves_orphans(
    house: House, config: Config
) -> None:
    grown, attached, gone = [await house.volume() for _ in range(3)]
    await house.in_use(attached)
    await house.member.delete(f"/volumes/{gone}")
    await house.quiet()
    house.driver.create(Volume(gone, 1, "pool0"), None)
    house.driver.create(Volume("not-ours", 1, "pool0"), None)
    house.driver.extend(Volume(grown, 1, "pool0"), 3)
    house.driver.unexport(Volume(attached, 1, "pool0"), "compute1")
    house.driver.export(Volume(grown, 1, "pool0"), {"host": "stranger"})
    diagnosis = await examined(config, repair=True)
    assert rules(diagnosis) == [("orphan", "not-ours")]
    assert {one.rule for one in diagnosis.repaired} == {
        "leftover",
        "grown",
        "attachment-without-export",
        "export-without-attachment",
    }
    assert set(house.driver.sizes.items()) == {(grown, 3), (attached, 1), ("not-ours", 1)}
    assert house.driver.exports == {(attached, "compute1")}


async def test_usage_is_counted_anew_from_the_rows(house: House, config: Config) -> None:
    volume = await house.volume(size=3)
    await house.snapshot(volume)
    await skew(house)
    assert {one.rule for one in (await examined(config)).findings} == {"usage"}
    assert (await examined(config, repair=True)).healthy
    used = await house.app.store.read(lambda tx: quotas.usages(tx, PROJECT))
    assert (used["volumes"], used["gigabytes"], used["snapshots"]) == (1, 6, 1)


async def test_a_growth_under_way_stays_charged(house: House, config: Config) -> None:
    volume = await house.volume(size=1)
    gate = house.driver.gates["extend"] = threading.Event()
    await house.act(volume, "os-extend", {"new_size": 4})
    while ("extend", volume) not in house.driver.calls:
        await asyncio.sleep(0.01)
    await skew(house)
    await examined(config, repair=True)
    gate.set()
    await house.quiet()
    used = await house.app.store.read(lambda tx: quotas.usages(tx, PROJECT))
    assert used["gigabytes"] == 4


async def test_a_status_that_no_work_would_end_becomes_what_the_attachments_say(
    house: House, config: Config
) -> None:
    statuses = ["creating", "deleting", "extending", "reserved", "detaching"]
    free, used = [[await house.volume() for _ in statuses] for _ in range(2)]
    for ident in used:
        await house.in_use(ident)
    for ident, status in zip([*free, *used], statuses * 2, strict=True):
        await house.put(ident, status=status)
    stuck = [("transient-status", ident) for ident in [*free, *used]]
    assert rules(await examined(config)) == sorted(stuck)
    assert (await examined(config, repair=True)).healthy
    assert {await house.status(one) for one in free} == {"available"}
    assert {await house.status(one) for one in used} == {"in-use"}


async def test_an_offer_of_a_volume_that_awaits_nobody_is_withdrawn(
    house: House, config: Config
) -> None:
    waits, available = await house.volume(), await house.volume()
    for volume in (waits, available):
        reply = await house.member.post("/volume-transfers", {"transfer": {"volume_id": volume}})
        assert reply.status_code == 202
    await house.put(available, status="available")
    ((rule, subject),) = rules(await examined(config))
    assert rule == "dangling-transfer"
    assert (await examined(config, repair=True)).healthy
    assert (await house.member.get(f"/volume-transfers/{subject}")).status_code == 404
    assert await house.status(waits) == "awaiting-transfer"


async def test_a_volume_that_awaits_a_transfer_which_is_not_there_becomes_available(
    house: House, config: Config
) -> None:
    volume = await house.volume()
    await house.put(volume, status="awaiting-transfer")
    assert rules(await examined(config)) == [("transient-status", volume)]
    assert (await examined(config, repair=True)).healthy
    assert await house.status(volume) == "available"


async def test_without_the_volume_on_its_backend_it_becomes_an_error_and_its_owner_reads_why(
    house: House, config: Config
) -> None:
    volume = await house.volume()
    await house.put(volume, status="creating")
    house.driver.sizes.clear()
    await examined(config, repair=True)
    assert await house.status(volume) == "error"
    (message,) = (await house.member.get("/messages")).json()["messages"]
    assert message["resource_uuid"] == volume


@pytest.mark.parametrize(("held", "status"), [(True, "available"), (False, "error")])
async def test_a_snapshots_status_is_settled_likewise(
    house: House, config: Config, held: bool, status: str
) -> None:
    snapshot = await house.snapshot(await house.volume())
    await house.put_snapshot(snapshot, status="creating")
    if not held:
        house.driver.snapshots.clear()
    await examined(config, repair=True)
    shown = (await house.member.get(f"/snapshots/{snapshot}")).json()["snapshot"]
    assert shown["status"] == status


async def test_work_that_nobody_ended_in_time_is_ended_and_its_owner_reads_why(
    house: House, config: Config
) -> None:
    volume = await house.volume()

    def forgotten(tx: WriteTx) -> str:
        caller = Caller(PROJECT, "u", "req-1")
        ident = submit(
            tx, delete_volume.WORKFLOW, caller, volume, delete_volume.Data(), "volume.gone@away"
        )
        long_ago = tx.clock() - 2 * config.operations.deadline
        mine = operations_table.c.id == ident
        tx.run(operations_table.update().where(mine).values(opened_at=long_ago, due_at=long_ago))
        return ident

    await house.put(volume, status="deleting")
    ident = await house.app.store.write(forgotten)
    assert rules(await examined(config)) == [("overdue", volume)]
    assert (await examined(config, repair=True)).healthy
    ended = await house.app.store.read(lambda tx: operations.get(tx, ident))
    assert (ended.state, ended.failure["code"]) == ("failed", "overdue")
    assert await house.status(volume) == "error_deleting"
    assert len((await house.member.get("/messages")).json()["messages"]) == 1


async def test_on_postgresql_it_looks_and_repairs_as_well(
    postgres: Postgres, tmp_path: Path
) -> None:
    database = postgres.create_database(f"doctor_{new_id().replace('-', '')}")
    config = build({"host": "node1", "data": str(tmp_path), "database": database})
    async with open_house(tmp_path, database=database) as house:
        volume = await house.volume()
        await house.put(volume, status="extending")
        house.driver.extend(Volume(volume, 1, "pool0"), 3)
        house.driver.export(Volume(volume, 1, "pool0"), {"host": "stranger"})
        await skew(house)
        busy = asyncio.create_task(_create_and_delete(house))
        diagnosis = await examined(config, repair=True)
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        await house.quiet()
        assert diagnosis.findings == ()
        rows = await house.app.store.read(facts.read)
        assert check_live(rows, {BACKEND: house.driver.inventory()}) == []


async def _create_and_delete(house: House) -> None:
    while True:
        volume = await house.volume()
        await house.member.delete(f"/volumes/{volume}")
        await asyncio.sleep(0.01)


# -- the compute database -------------------------------------------------------------------------


@pytest.fixture
async def compute(config: Config) -> AsyncIterator[Store]:
    store = Store(config.compute_database_url)
    schema.upgrade(store)
    await store.write(lambda tx: servers.report_host(tx, "compute1", "nova", {}))
    yield store
    store.close()


def a_server(**values: Any) -> Server:
    told = {"id": SERVER, "status": "ACTIVE", "host": "compute1", **values}
    flavor = Flavor(id="1", name="tiny", ram=64)
    return Server(
        project_id=PROJECT,
        user_id="u",
        name="s",
        flavor=flavor,
        created_at=LONG_AGO,
        **told,
    )


def a_row(volume: str, attachment: str) -> ServerVolume:
    return ServerVolume(
        id=new_id(),
        server_id=SERVER,
        state="attached",
        created_at=LONG_AGO,
        volume_id=volume,
        attachment_id=attachment,
    )


async def test_a_server_that_no_work_would_finish_is_told(
    house: House, config: Config, compute: Store
) -> None:
    await compute.write(lambda tx: servers.insert(tx, a_server(status="BUILD")))
    assert rules(await examined(config, repair=True)) == [("server-stuck", SERVER)]


async def test_attachments_that_only_one_of_the_services_knows_are_told(
    house: House, config: Config, compute: Store
) -> None:
    both, only_ours = await house.volume(), await house.volume()
    agreed = await house.in_use(both, server=SERVER)
    await house.in_use(only_ours, server=SERVER)

    def write(tx: WriteTx) -> None:
        servers.insert(tx, a_server())
        servers.insert_volume(tx, a_row(both, agreed))
        servers.insert_volume(tx, a_row(new_id(), "unheard-of"))

    await compute.write(write)
    diagnosis = await examined(config, repair=True)
    assert [rule for rule, _ in rules(diagnosis)] == [
        "attachment-without-row",
        "row-without-attachment",
    ]
    texts = " ".join(one.text for one in diagnosis.findings)
    assert only_ours in texts and "unheard-of" in texts and both not in texts


async def test_somebody_elses_compute_service_is_not_judged(house: House, config: Config) -> None:
    store = Store(config.compute_database_url)
    schema.upgrade(store)
    store.close()
    await house.in_use(await house.volume(), server=SERVER)
    assert (await examined(config)).healthy


# -- the command ----------------------------------------------------------------------------------


async def command(tmp_path: Path, **options: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(doctor, data=tmp_path, **options)
    return int(ended.value.code or 0)


async def test_the_exit_code_says_whether_findings_remain(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command(tmp_path) == 0
    assert "All is well." in capsys.readouterr().out
    await house.volume()
    await skew(house)
    assert await command(tmp_path) == 1
    assert "breezeblock doctor --repair" in capsys.readouterr().out
    assert await command(tmp_path, repair=True) == 0
    assert "Repaired:" in capsys.readouterr().out


async def test_findings_can_be_had_as_json(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house.driver.create(Volume("not-ours", 1, "pool0"), None)
    assert await command(tmp_path, json=True) == 1
    told = json.loads(capsys.readouterr().out.splitlines()[-1])  # before it: the services' log
    assert [one["subject"] for one in told["findings"]] == ["not-ours"]
    assert told["held"] == {BACKEND: {"volume": 1}}


def test_without_a_database_it_cannot_look_and_makes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        doctor(data=tmp_path)
    assert ended.value.code == 2
    assert "--data" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


async def test_a_database_of_something_else_cannot_be_looked_at(
    config: Config, tmp_path: Path
) -> None:
    (tmp_path / "breezeblock.sqlite").touch()
    with pytest.raises(CannotLook, match=r"breezeblock\.sqlite"):
        await examined(config)
