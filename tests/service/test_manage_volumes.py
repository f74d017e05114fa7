"""Adopting volumes: what a backend holds already becomes ours, or else stays an operator's."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx2
import pytest

from breezeblock.drivers.base import PermanentError, StillWorking, TemporaryError, Volume
from breezeblock.model.operation import Operation
from breezeblock.store import operations, services
from breezeblock.store.store import WriteTx
from breezeblock.store.tables import operations as rows
from breezeblock.workflows import list_manageable
from tests.service.catalog_fixture import PROJECT
from tests.service.house import House
from tests.service.sweeps import rules, sweep, used, violations

HOST = "node1@fast#pool0"
QUOTED = HOST.replace("#", "%23")
MISSING = "11111111-1111-1111-1111-111111111111"


async def ask(
    house: House, held: str = "old", caller: Any = None, version: str = "3.71", **wishes: Any
) -> httpx2.Response:
    wanted = {"host": HOST, "ref": {"source-name": held}, **wishes}
    return await (caller or house.admin).post("/manageable_volumes", {"volume": wanted}, version)


async def adopt(house: House, held: str = "old", **wishes: Any) -> str:
    """A volume that was asked for and is settled; its id."""
    reply = await ask(house, held, **wishes)
    assert reply.status_code == 202, reply.text
    await house.quiet()
    return str(reply.json()["volume"]["id"])


async def told(house: House) -> list[str]:
    reply = await house.admin.get("/messages?all_tenants=1")
    return [one["user_message"] for one in reply.json()["messages"]]


async def limit(house: House, **limits: int) -> None:
    body = {"quota_set": limits}
    assert (await house.admin.put(f"/os-quota-sets/{PROJECT}", body)).status_code == 200


async def questions(house: House) -> list[Operation]:
    """The operations that were nothing but a question."""
    found = await house.app.store.read(operations.everything)
    return [one for one in found if one.resource_type == "question"]


def _long_ago(tx: WriteTx) -> None:
    tx.run(rows.update().values(ended_at=tx.clock() - 2 * list_manageable.KEPT))


async def test_an_adopted_volume_has_the_size_that_the_backend_finds(house: House) -> None:
    house.driver.strangers["old"] = 7
    gate = house.driver.gates["adopt"] = threading.Event()
    reply = await ask(house, name=" one ", description=" from before ", metadata={"k": "v"})
    assert reply.status_code == 202, reply.text
    shown = reply.json()["volume"]
    assert (shown["status"], shown["size"], shown["bootable"]) == ("creating", 0, "false")
    assert (shown["name"], shown["description"]) == ("one", "from before")
    assert shown["metadata"] == {"k": "v"}
    assert (await house.row(shown["id"])).status == "managing"
    gate.set()
    await house.quiet()
    shown = await house.show(shown["id"], house.admin)
    assert (shown["status"], shown["size"]) == ("available", 7)
    assert (shown["os-vol-host-attr:host"], shown["availability_zone"]) == (HOST, "nova")
    count = await used(house)
    assert (count["volumes"], count["gigabytes"], count["gigabytes___DEFAULT__"]) == (1, 7, 7)
    assert await violations(house) == []
    assert rules(await sweep(house)) == []


async def test_the_answer_is_that_of_the_first_version(house: House) -> None:
    house.driver.strangers["old"] = 1
    shown = (await ask(house)).json()["volume"]
    newer = {"group_id", "provider_id", "shared_targets", "volume_type_id", "consumes_quota"}
    assert not newer & set(shown)
    assert "os-vol-host-attr:host" not in shown


async def test_the_older_path_knows_no_version(house: House) -> None:
    house.driver.strangers["old"] = 1
    body = {"volume": {"host": HOST, "ref": {"source-name": "old"}, "bootable": "True"}}
    assert (await house.admin.post("/manageable_volumes", body, "3.7")).status_code == 404
    reply = await house.admin.post("/os-volume-manage", body, "3.0")
    assert (reply.status_code, reply.json()["volume"]["bootable"]) == (202, "true")


async def test_it_lives_as_any_other_and_is_deleted_with_its_bytes(house: House) -> None:
    house.driver.strangers["old"] = 2
    volume = await adopt(house)
    await house.snapshot(volume)
    assert (await house.act(volume, "os-extend", {"new_size": 5})).status_code == 202
    await house.quiet()
    assert (await used(house))["gigabytes"] == 7
    assert (await house.member.delete(f"/volumes/{volume}?cascade=true")).status_code == 202
    await house.quiet()
    assert house.driver.sizes == {} and house.driver.strangers == {}
    assert (await used(house))["gigabytes"] == 0


async def test_a_mere_text_is_a_name(house: House) -> None:
    house.driver.strangers["old"] = 1
    assert (await ask(house, ref="old")).status_code == 202
    await house.quiet()
    assert list(house.driver.adopted.values()) == ["old"]


async def test_one_pool_need_not_be_named_several_must(house: House) -> None:
    house.driver.strangers |= {"old": 1, "older": 1}
    volume = await adopt(house, host="node1@fast")
    assert (await house.row(volume)).host == HOST
    await house.add_pool()
    reply = await ask(house, "older", host="node1@fast")
    assert reply.status_code == 400
    assert "node1@fast#pool1" in reply.json()["badRequest"]["message"]


async def test_a_slow_backend_is_waited_for(house: House) -> None:
    house.driver.strangers["old"] = 1
    house.driver.failures["adopt"] = StillWorking("renaming", retry_after=0.05)
    reply = await ask(house)
    await asyncio.sleep(0.2)
    house.driver.failures.clear()
    await house.quiet()
    assert await house.status(reply.json()["volume"]["id"]) == "available"


class TestWhatFails:
    async def test_what_is_not_there_leaves_an_error_and_one_message(self, house: House) -> None:
        volume = await adopt(house, "nothing")
        assert (await house.row(volume)).status == "error_managing"
        assert (await house.show(volume))["status"] == "error"
        (message,) = await told(house)
        assert "There is no nothing." in message
        count = await used(house)
        assert (count["volumes"], count.get("gigabytes", 0)) == (1, 0)
        assert await violations(house) == []

    async def test_two_that_want_the_same_do_not_both_get_it(self, house: House) -> None:
        house.driver.strangers["old"] = 1
        replies = await asyncio.gather(ask(house), ask(house))
        await house.quiet()
        found = [await house.status(one.json()["volume"]["id"]) for one in replies]
        assert sorted(found) == ["available", "error_managing"]
        (message,) = await told(house)
        assert "ours already" in message
        assert await violations(house) == []

    @pytest.mark.parametrize("limits", [{"gigabytes": 6}, {"per_volume_gigabytes": 6}])
    async def test_too_large_for_the_quota_it_is_let_go_of(
        self, house: House, limits: dict[str, int]
    ) -> None:
        house.driver.strangers["old"] = 7
        await limit(house, **limits)
        volume = await adopt(house)
        assert await house.status(volume) == "error_managing"
        (message,) = await told(house)
        assert "7 GiB" in message and "quota" in message
        assert (house.driver.strangers, house.driver.inventory()) == ({"old": 7}, [])
        assert (await used(house)).get("gigabytes", 0) == 0
        await limit(house, gigabytes=-1, per_volume_gigabytes=-1)
        assert await house.status(await adopt(house)) == "available"

    async def test_no_volume_more_is_refused_at_once(self, house: House) -> None:
        house.driver.strangers["old"] = 1
        await limit(house, volumes=0)
        reply = await ask(house)
        assert (reply.status_code, list(reply.json())) == (413, ["overLimit"])
        assert house.driver.calls == []

    async def test_a_backend_that_says_not_now_is_asked_again_and_swept(self, house: House) -> None:
        """It gives up; what it took all the same is let go of by the sweep."""
        house.driver.strangers["old"] = 1
        house.driver.failures["adopt"] = TemporaryError("Not now.", retry_after=0.01)
        volume = await adopt(house)
        assert await house.status(volume) == "error_managing"
        house.driver.failures.clear()
        house.driver.adopt(Volume(volume, 0, "pool0"), {"source-name": "old"})
        assert rules(await sweep(house)) == [("released", volume)]
        assert (house.driver.inventory(), house.driver.strangers) == ([], {"old": 1})
        assert ("delete", volume) not in house.driver.calls

    async def test_one_that_will_not_let_go_is_asked_later(self, house: House) -> None:
        house.driver.strangers["old"] = 7
        house.driver.failures["release"] = PermanentError("It will not.")
        await limit(house, gigabytes=6)
        volume = await adopt(house)
        assert await house.status(volume) == "error_managing"
        assert len(await told(house)) == 1
        assert house.driver.sizes == {volume: 7}
        house.driver.failures.clear()
        await house.come_due("sweep_backend")
        assert (house.driver.inventory(), house.driver.strangers) == ([], {"old": 7})

    @pytest.mark.parametrize(
        "wishes",
        [
            {"host": "node1@fast#nowhere"},
            {"availability_zone": "mars"},
        ],
    )
    async def test_what_its_pool_does_not_take(self, house: House, wishes: dict[str, Any]) -> None:
        house.driver.strangers["old"] = 1
        volume = await adopt(house, **wishes)
        assert await house.status(volume) == "error_managing"
        (message,) = await told(house)
        assert "does not take it" in message
        assert house.driver.calls == []

    async def test_a_type_that_asks_for_another_backend(self, house: House) -> None:
        house.driver.strangers["old"] = 1
        await house.new_type("gold", extra_specs={"volume_backend_name": "golden"})
        volume = await adopt(house, volume_type="gold")
        assert await house.status(volume) == "error_managing"


class TestDeletionOfWhatFailed:
    """The row goes; the operator's bytes stay."""

    async def test_it_lets_go_of_what_was_adopted_half(self, house: House) -> None:
        house.driver.strangers["old"] = 7
        house.driver.failures["release"] = PermanentError("It will not.")
        await limit(house, gigabytes=6)
        volume = await adopt(house)
        house.driver.failures.clear()
        gate = house.driver.gates["release"] = threading.Event()
        assert (await house.member.delete(f"/volumes/{volume}")).status_code == 202
        assert (await house.row(volume)).status == "error_managing_deleting"
        assert (await house.show(volume))["status"] == "deleting"
        gate.set()
        await house.quiet()
        assert await house.status(volume) == "gone"
        assert (house.driver.inventory(), house.driver.strangers) == ([], {"old": 7})
        assert ("delete", volume) not in house.driver.calls
        assert (await used(house))["volumes"] == 0

    async def test_it_is_unmanaged_as_well(self, house: House) -> None:
        volume = await adopt(house, "nothing")
        assert (await house.act(volume, "os-unmanage", None, house.admin)).status_code == 202
        await house.quiet()
        assert await house.status(volume) == "gone"

    async def test_a_late_adoption_after_it_is_let_go_of(self, house: House) -> None:
        volume = await adopt(house, "old")
        await house.member.delete(f"/volumes/{volume}")
        await house.quiet()
        house.driver.strangers["old"] = 3
        house.driver.adopt(Volume(volume, 0, "pool0"), {"source-name": "old"})
        assert rules(await sweep(house)) == [("released", volume)]
        assert (house.driver.inventory(), house.driver.strangers) == ([], {"old": 3})

    async def test_a_late_adoption_after_a_good_end_is_let_go_of_as_well(
        self, house: House
    ) -> None:
        """The operator has put something new where the old one was."""
        house.driver.strangers["old"] = 3
        volume = await adopt(house)
        await house.member.delete(f"/volumes/{volume}")
        await house.quiet()
        house.driver.strangers["old"] = 4
        house.driver.adopt(Volume(volume, 0, "pool0"), {"source-name": "old"})
        assert rules(await sweep(house)) == [("released", volume)]
        assert house.driver.strangers == {"old": 4}
        assert ("delete", volume) in house.driver.calls  # the first one only
        assert house.driver.calls.count(("delete", volume)) == 1

    async def test_force_delete_of_what_is_being_adopted(self, house: House) -> None:
        house.driver.strangers["old"] = 3
        gate = house.driver.gates["adopt"] = threading.Event()
        volume = (await ask(house)).json()["volume"]["id"]
        while ("adopt", volume) not in house.driver.calls:
            await asyncio.sleep(0.01)
        assert (await house.act(volume, "os-force_delete", None, house.admin)).status_code == 202
        gate.set()
        await house.quiet()
        await sweep(house)
        assert await house.status(volume) == "gone"
        assert (house.driver.inventory(), house.driver.strangers) == ([], {"old": 3})
        assert ("delete", volume) not in house.driver.calls
        assert (await used(house))["volumes"] == 0


async def test_a_reset_to_available_makes_it_ours_with_its_size(house: House) -> None:
    house.driver.strangers["old"] = 7
    house.driver.failures["release"] = PermanentError("It will not.")
    await limit(house, gigabytes=6)
    volume = await adopt(house)
    house.driver.failures.clear()
    for status, size in (("error", 0), ("available", 7)):
        await house.act(volume, "os-reset_status", {"status": status}, house.admin)
        await house.come_due("check_volume")
        found = await house.row(volume)
        assert (found.status, found.size) == (status, size)
    await house.member.delete(f"/volumes/{volume}")
    await house.quiet()
    assert ("delete", volume) in house.driver.calls


class TestRefusals:
    @pytest.mark.parametrize(
        ("wishes", "named"),
        [
            ({"ref": {}}, "ref"),
            ({"ref": ""}, "ref"),
            ({"ref": None}, "ref"),
            ({"ref": 5}, "ref"),
            ({"ref": ["old"]}, "ref"),
            ({"ref": {"source-name": 5}}, "source-name"),
            ({"ref": {"source-name": ""}}, "source-name"),
            ({"ref": {"source-name": "x" * 1001}}, "source-name"),
            ({"host": None}, "host"),
            ({"host": ""}, "host"),
            ({"host": "no spaces"}, "host"),
            ({"host": "node9@fast#pool0"}, "node9@fast"),
            ({"host": "node1"}, "node1"),
            ({"cluster": "c"}, "cluster"),
            ({"host": None, "cluster": "c"}, "c"),
            ({"volume_type": MISSING}, "volume_type"),
            ({"name": "x" * 256}, "name"),
            ({"description": "a\nb"}, "description"),
            ({"bootable": "perhaps"}, "bootable"),
            ({"metadata": {"k": 1}}, "metadata"),
            ({"colour": "blue"}, "colour"),
        ],
    )
    async def test_bad_input_names_the_field(
        self, house: House, wishes: dict[str, Any], named: str
    ) -> None:
        reply = await ask(house, **wishes)
        assert (reply.status_code, list(reply.json())) == (400, ["badRequest"]), reply.text
        assert named in reply.json()["badRequest"]["message"]
        assert (await used(house)).get("volumes", 0) == 0

    async def test_clusters_are_unknown_before_3_16(self, house: House) -> None:
        reply = await ask(house, version="3.15", cluster="c")
        assert "cluster" in reply.json()["badRequest"]["message"]
        assert reply.status_code == 400

    async def test_administrators_only(self, house: House) -> None:
        for caller in (house.member, house.other):
            assert (await ask(house, caller=caller)).status_code == 403

    @pytest.mark.parametrize("state", ["down", "disabled"])
    async def test_a_service_that_does_not_work(self, house: House, state: str) -> None:
        backend = HOST.partition("#")[0]
        if state == "disabled":
            body = {"binary": "cinder-volume", "host": backend}
            await house.admin.put("/os-services/disable", body)
        else:
            await house.app.store.write(lambda tx: services.withdraw(tx, services.VOLUME, backend))
        reply = await ask(house)
        assert reply.status_code == 400 and state in reply.json()["badRequest"]["message"]

    async def test_what_is_ours_by_its_name(self, house: House) -> None:
        volume = await house.volume()
        reply = await ask(house, f"volume-{volume.upper()}")
        assert reply.status_code == 400
        assert "managed already" in reply.json()["badRequest"]["message"]

    async def test_encrypted_types(self, house: House) -> None:
        made = await house.new_type("secret")
        encryption = {"provider": "luks", "control_location": "front-end"}
        await house.admin.post(f"/types/{made['id']}/encryption", {"encryption": encryption})
        assert (await ask(house, volume_type="secret")).status_code == 400


class TestLists:
    """What could be adopted, and what is ours already."""

    async def test_in_short_and_in_full(self, house: House) -> None:
        house.driver.strangers |= {"b": 2, "c": 1}
        ours = await adopt(house, "b")
        reply = await house.admin.get(f"/manageable_volumes?host={QUOTED}", "3.8")
        assert reply.status_code == 200, reply.text
        assert reply.json() == {
            "manageable-volumes": [
                {"reference": {"source-name": "c"}, "size": 1, "safe_to_manage": True},
                {"reference": {"source-name": "b"}, "size": 2, "safe_to_manage": False},
            ]
        }
        reply = await house.admin.get("/os-volume-manage/detail?host=node1@fast", "3.0")
        free, taken = reply.json()["manageable-volumes"]
        assert (free["reason_not_safe"], free["cinder_id"]) == (None, None)
        assert free["extra_info"] == {"colour": "blue"}
        assert (taken["reason_not_safe"], taken["cinder_id"]) == ("It is ours.", ours)

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", "dcba"),
            ("&sort=reference:asc", "abcd"),
            ("&sort=size:asc,reference:desc", "dcab"),
            ("&sort_key=size&sort_dir=desc", "badc"),
            ("&limit=2", "dc"),
            ("&limit=0", ""),
            ("&offset=1&limit=2", "cb"),
            ("&offset=9", ""),
            ('&marker={"source-name":"c"}', "ba"),
            ('&marker={"source-name":"c"}&offset=1', "a"),
            ('&marker={"source-name":"a"}', ""),
            ("&colour=blue", "dcba"),
        ],
    )
    async def test_pages_and_orders(self, house: House, query: str, names: str) -> None:
        house.driver.strangers |= {"a": 2, "b": 3, "c": 1, "d": 1}
        reply = await house.admin.get(f"/manageable_volumes?host={QUOTED}{query}")
        assert reply.status_code == 200, reply.text
        found = [one["reference"]["source-name"] for one in reply.json()["manageable-volumes"]]
        assert "".join(found) == names

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("", 400),
            ("host=", 400),
            ("host=node9@fast", 404),
            ("cluster=c", 404),
            ("host=node1@fast&cluster=c", 400),
            ("host=node1@fast&sort=name", 400),
            ("host=node1@fast&sort=size:up", 400),
            ("host=node1@fast&limit=-1", 400),
            ("host=node1@fast&offset=x", 400),
            ("host=node1@fast&marker=c", 400),
            ('host=node1@fast&marker={"source-name":"nothing"}', 400),
            ('host=node1@fast&marker=["c"]', 400),
        ],
    )
    async def test_what_is_refused(self, house: House, query: str, status: int) -> None:
        reply = await house.admin.get(f"/manageable_volumes?{query}")
        assert reply.status_code == status, reply.text

    async def test_clusters_are_ignored_before_3_17(self, house: House) -> None:
        path = "/manageable_volumes?host=node1@fast&cluster=c"
        assert (await house.admin.get(path, "3.16")).status_code == 200

    async def test_a_backend_that_cannot_is_told_of(self, house: House) -> None:
        house.driver.failures["manageable"] = PermanentError("It keeps no lists.")
        reply = await house.admin.get(f"/manageable_volumes?host={QUOTED}")
        assert reply.status_code == 400
        assert "It keeps no lists." in reply.json()["badRequest"]["message"]
        assert await told(house) == []

    async def test_a_pool_shows_what_is_in_it(self, house: House) -> None:
        house.driver.strangers["a"] = 1
        reply = await house.admin.get("/manageable_volumes?host=node1@fast%23other")
        assert reply.json() == {"manageable-volumes": []}

    async def test_the_same_on_both_paths(self, house: House) -> None:
        house.driver.strangers["a"] = 1
        for tail in ("", "/detail"):
            newer = await house.admin.get(f"/manageable_volumes{tail}?host={QUOTED}", "3.8")
            older = await house.admin.get(f"/os-volume-manage{tail}?host={QUOTED}", "3.0")
            assert newer.json()["manageable-volumes"]
            assert newer.json() == older.json()

    async def test_answers_are_forgotten_after_a_while(self, house: House) -> None:
        path = f"/manageable_volumes?host={QUOTED}"
        await house.admin.get(path)
        assert [one.workflow for one in await questions(house)] == ["list_manageable"]
        await house.app.store.write(_long_ago)
        await house.admin.get(path)
        assert len(await questions(house)) == 1

    async def test_administrators_only(self, house: House) -> None:
        for path in ("/manageable_volumes", "/os-volume-manage/detail"):
            assert (await house.member.get(f"{path}?host={QUOTED}")).status_code == 403
