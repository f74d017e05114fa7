"""os-hosts: the older list of services, and what each project has on a host."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service.catalog_fixture import OTHER, PROJECT
from tests.service.house import House

BACKEND = "node1@fast"


def sums(
    host: str, project: str, volumes: int, gigabytes: int, snapshots: int, frozen: int
) -> dict[str, Any]:
    return {
        "resource": {
            "host": host,
            "project": project,
            "volume_count": str(volumes),
            "total_volume_gb": str(gigabytes),
            "snapshot_count": str(snapshots),
            "total_snapshot_gb": str(frozen),
        }
    }


async def test_a_host_has_these_keys(house: House) -> None:
    (found,) = (await house.admin.get("/os-hosts", "3.0")).json()["hosts"]
    assert found == {
        "host_name": BACKEND,
        "service": "cinder-volume",
        "zone": "nova",
        "service-status": "available",
        "service-state": "enabled",
        "last-update": found["last-update"],
    }
    assert len(found["last-update"]) == len("2026-01-31T10:20:30.000000")


async def test_hosts_of_a_zone(house: House) -> None:
    for query, number in (("?zone=nova", 1), ("?zone=mars", 0), ("?zone=", 1)):
        assert len((await house.admin.get(f"/os-hosts{query}")).json()["hosts"]) == number


async def test_a_disabled_host_says_so(house: House) -> None:
    body = {"binary": "cinder-volume", "host": BACKEND}
    assert (await house.admin.put("/os-services/disable", body)).status_code == 200
    (found,) = (await house.admin.get("/os-hosts")).json()["hosts"]
    assert found["service-state"] == "disabled"


@pytest.mark.parametrize("host", [BACKEND, "node1"])
async def test_a_host_shows_what_projects_have_there(house: House, host: str) -> None:
    first, _ = await house.volume(2), await house.volume(3)
    await house.volume(1, house.other)
    await house.snapshot(first)
    reply = await house.admin.get(f"/os-hosts/{host}")
    assert reply.json() == {
        "host": [
            sums(host, "(total)", 3, 6, 1, 2),
            sums(host, PROJECT, 2, 5, 1, 2),
            sums(host, OTHER, 1, 1, 0, 0),
        ]
    }


async def test_a_project_may_have_snapshots_alone(house: House) -> None:
    volume = await house.volume(2)
    await house.snapshot(volume)
    wish = {"volume_id": volume, "no_snapshots": True}
    made = (await house.member.post("/volume-transfers", {"transfer": wish})).json()["transfer"]
    body = {"accept": {"auth_key": made["auth_key"]}}
    await house.other.post(f"/volume-transfers/{made['id']}/accept", body)
    shown = (await house.admin.get(f"/os-hosts/{BACKEND}")).json()["host"]
    assert shown[1:] == [sums(BACKEND, PROJECT, 0, 0, 1, 2), sums(BACKEND, OTHER, 1, 2, 0, 0)]


async def test_an_empty_host_shows_zeros(house: House) -> None:
    shown = (await house.admin.get(f"/os-hosts/{BACKEND}")).json()
    assert shown == {"host": [sums(BACKEND, "(total)", 0, 0, 0, 0)]}


@pytest.mark.parametrize("host", ["nope", "node1@fast%23pool0", "node", "node1@"])
async def test_an_unknown_host_is_not_found(house: House, host: str) -> None:
    assert (await house.admin.get(f"/os-hosts/{host}")).status_code == 404
    reply = await house.admin.put(f"/os-hosts/{host}", {"status": "disable"})
    assert reply.status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"status": "disable"},
        {"STATUS ": " Enable"},
        {"status": "x"},
        {"status": 1},
        {"foo": "disable"},
        {"foo": 1},
        [],
        None,
    ],
    ids=str,
)
async def test_nothing_of_a_host_can_be_changed(house: House, body: Any) -> None:
    assert (await house.admin.put(f"/os-hosts/{BACKEND}", body)).status_code == 400
    (found,) = (await house.admin.get("/os-hosts")).json()["hosts"]
    assert found["service-state"] == "enabled"


async def test_an_update_of_a_host_names_the_call_that_does_it(house: House) -> None:
    reply = await house.admin.put(f"/os-hosts/{BACKEND}", {"status": "disable"})
    assert "PUT /os-services/disable" in reply.json()["badRequest"]["message"]
    reply = await house.admin.put(f"/os-hosts/{BACKEND}", {})
    assert (reply.status_code, reply.json()) == (200, {})


async def test_hosts_are_for_administrators(house: House) -> None:
    for caller in (house.member, house.reader):
        replies = [
            await caller.get("/os-hosts"),
            await caller.get(f"/os-hosts/{BACKEND}"),
            await caller.put(f"/os-hosts/{BACKEND}", {"status": "disable"}),
        ]
        assert [one.status_code for one in replies] == [403, 403, 403]
