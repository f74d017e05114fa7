"""Services and availability zones over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from breezeblock.api import availability_zones, services
from breezeblock.store import services as rows
from tests.service.catalog_fixture import Cloud, open_cloud

BACKEND = "storage-1@fast"
DISABLE = {"binary": "cinder-volume", "host": BACKEND}


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, (*services.ROUTES, *availability_zones.ROUTES)) as opened:
        await opened.report_backend(BACKEND, "zone-a")
        await opened.report_scheduler("control-1")
        yield opened


async def listed(cloud: Cloud, query: str = "", version: str = "3.71") -> list[dict[str, Any]]:
    reply = await cloud.admin.get(f"/os-services{query}", version)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["services"]
    return found


async def backend(cloud: Cloud) -> dict[str, Any]:
    (found,) = await listed(cloud, "?binary=cinder-volume")
    return found


async def test_a_volume_service_has_these_keys(cloud: Cloud) -> None:
    found = await backend(cloud)
    assert found == {
        "binary": "cinder-volume",
        "host": BACKEND,
        "zone": "zone-a",
        "status": "enabled",
        "state": "up",
        "updated_at": found["updated_at"],
        "disabled_reason": None,
        "cluster": None,
        "replication_status": "disabled",
        "active_backend_id": None,
        "frozen": False,
        "backend_state": "up",
    }
    assert len(found["updated_at"]) == len("2026-01-31T10:20:30.000000")


async def test_a_scheduler_has_no_keys_of_backends(cloud: Cloud) -> None:
    (found,) = await listed(cloud, "?binary=cinder-scheduler")
    assert sorted(found) == [
        "binary",
        "cluster",
        "disabled_reason",
        "host",
        "state",
        "status",
        "updated_at",
        "zone",
    ]


async def test_keys_follow_the_version(cloud: Cloud) -> None:
    (oldest,) = await listed(cloud, "?binary=cinder-volume", "3.6")
    (older,) = await listed(cloud, "?binary=cinder-volume", "3.48")
    assert "cluster" not in oldest
    assert "cluster" in older
    assert "backend_state" not in older


async def test_a_silent_service_is_down(cloud: Cloud) -> None:
    await cloud.app.store.write(lambda tx: rows.withdraw(tx, "cinder-volume", BACKEND))
    assert (await backend(cloud))["state"] == "down"


async def test_a_host_stands_for_its_backends(cloud: Cloud) -> None:
    await cloud.report_backend("storage-1@slow")
    await cloud.report_backend("storage-11@slow")
    hosts = [one["host"] for one in await listed(cloud, "?host=storage-1")]
    assert hosts == [BACKEND, "storage-1@slow"]
    assert [one["host"] for one in await listed(cloud, f"?host={BACKEND}")] == [BACKEND]
    assert len(await listed(cloud, "?host=&binary=")) == 4


async def test_disable_really_disables_and_enable_clears_the_reason(cloud: Cloud) -> None:
    reply = await cloud.admin.put("/os-services/disable", DISABLE)
    assert reply.status_code == 200
    assert reply.json() == {
        "host": BACKEND,
        "service": "",
        "binary": "cinder-volume",
        "status": "disabled",
        "disabled": True,
    }
    assert (await backend(cloud))["status"] == "disabled"
    reason = {**DISABLE, "disabled_reason": " moving house "}
    reply = await cloud.admin.put("/os-services/disable-log-reason", reason)
    assert reply.json()["disabled_reason"] == "moving house"
    assert (await backend(cloud))["disabled_reason"] == "moving house"
    reply = await cloud.admin.put("/os-services/enable", DISABLE)
    assert (reply.json()["status"], reply.json()["disabled"]) == ("enabled", False)
    found = await backend(cloud)
    assert (found["status"], found["disabled_reason"]) == ("enabled", None)


async def test_a_disabled_service_stays_disabled_when_it_reports(cloud: Cloud) -> None:
    await cloud.admin.put("/os-services/disable", DISABLE)
    await cloud.report_backend(BACKEND)
    assert (await backend(cloud))["status"] == "disabled"


async def test_service_is_an_older_word_for_binary(cloud: Cloud) -> None:
    body = {"service": "cinder-scheduler", "host": "control-1"}
    reply = await cloud.admin.put("/os-services/disable", body)
    assert (reply.json()["service"], reply.json()["binary"]) == ("cinder-scheduler", "")
    (found,) = await listed(cloud, "?binary=cinder-scheduler")
    assert found["status"] == "disabled"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"binary": "cinder-volume"}, 400),
        ({"binary": "cinder-volume", "host": None}, 400),
        ({"host": BACKEND}, 400),
        ({"binary": "cinder-volume", "host": "a b"}, 400),
        ({**DISABLE, "x": 1}, 400),
        ({**DISABLE, "disabled_reason": "r"}, 400),
        ({"binary": "cinder-volume", "host": "nope"}, 404),
        ({"binary": "cinder-backup", "host": BACKEND}, 404),
    ],
)
async def test_a_wrong_disable_changes_nothing(
    cloud: Cloud, body: dict[str, object], status: int
) -> None:
    assert (await cloud.admin.put("/os-services/disable", body)).status_code == status
    assert {one["status"] for one in await listed(cloud)} == {"enabled"}


@pytest.mark.parametrize("reason", ["", "  ", "r" * 256, None])
async def test_a_reason_says_something(cloud: Cloud, reason: object) -> None:
    body = {**DISABLE, "disabled_reason": reason}
    reply = await cloud.admin.put("/os-services/disable-log-reason", body)
    assert reply.status_code == 400


async def test_freeze_and_thaw(cloud: Cloud) -> None:
    reply = await cloud.admin.put("/os-services/freeze", {"host": BACKEND})
    assert (reply.status_code, reply.content) == (200, b"")
    assert (await backend(cloud))["frozen"] is True
    assert (await cloud.admin.put("/os-services/thaw", {"host": BACKEND})).status_code == 200
    assert (await backend(cloud))["frozen"] is False


async def test_a_backend_is_frozen_once_and_thawed_once(cloud: Cloud) -> None:
    path, body = "/os-services/", {"host": BACKEND}
    names = ("thaw", "freeze", "freeze", "thaw", "thaw")
    replies = [await cloud.admin.put(f"{path}{name}", body) for name in names]
    assert [one.status_code for one in replies] == [400, 200, 400, 200, 400]


async def test_a_host_stands_for_its_backends_in_a_freeze(cloud: Cloud) -> None:
    await cloud.report_backend("storage-1@slow")
    await cloud.report_backend("storage-11@slow")
    assert (await cloud.admin.put("/os-services/freeze", {"host": BACKEND})).status_code == 200
    reply = await cloud.admin.put("/os-services/freeze", {"host": "storage-1"})
    assert reply.status_code == 200
    found = await listed(cloud, "?binary=cinder-volume")
    assert {one["host"]: one["frozen"] for one in found} == {
        BACKEND: True,
        "storage-1@slow": True,
        "storage-11@slow": False,
    }


@pytest.mark.parametrize("name", ["freeze", "failover_host", "failover"])
@pytest.mark.parametrize(
    "body", [{"host": BACKEND, "cluster": "c"}, {"cluster": "c"}, {}, {"host": None}]
)
async def test_from_3_26_one_of_host_and_cluster_is_named(
    cloud: Cloud, name: str, body: object
) -> None:
    assert (await cloud.admin.put(f"/os-services/{name}", body, "3.26")).status_code == 400
    assert (await backend(cloud))["frozen"] is False


async def test_before_3_26_clusters_are_not_looked_at(cloud: Cloud) -> None:
    body = {"host": BACKEND, "cluster": "c"}
    assert (await cloud.admin.put("/os-services/freeze", body, "3.25")).status_code == 200


@pytest.mark.parametrize("version", ["3.0", "3.25", "3.26", "3.71"])
@pytest.mark.parametrize("body", [{"host": BACKEND}, {"host": "storage-1", "backend_id": "b"}])
async def test_a_backend_without_replication_cannot_fail_over(
    cloud: Cloud, version: str, body: object
) -> None:
    reply = await cloud.admin.put("/os-services/failover_host", body, version)
    assert reply.status_code == 400
    assert f"replication of {BACKEND} is disabled" in reply.json()["badRequest"]["message"]
    assert (await backend(cloud))["replication_status"] == "disabled"


async def test_failover_is_a_newer_name_of_failover_host(cloud: Cloud) -> None:
    body = {"host": BACKEND}
    replies = [
        await cloud.admin.put("/os-services/failover", body, one) for one in ("3.25", "3.26")
    ]
    assert [one.status_code for one in replies] == [404, 400]


@pytest.mark.parametrize(
    "body", [{"host": "nope"}, {"host": "control-1"}, {}, {"x": 1}, {"backend_id": "b"}]
)
async def test_a_wrong_failover_is_refused(cloud: Cloud, body: object) -> None:
    assert (await cloud.admin.put("/os-services/failover_host", body)).status_code == 400


@pytest.mark.parametrize(
    "body", [{"host": "x"}, {"host": "control-1"}, {}, {"cluster": "c"}, {"host": 1}]
)
async def test_freezing_what_is_no_backend_is_refused(cloud: Cloud, body: object) -> None:
    assert (await cloud.admin.put("/os-services/freeze", body)).status_code == 400


async def test_services_are_for_administrators(cloud: Cloud) -> None:
    replies = [
        await cloud.member.get("/os-services"),
        await cloud.member.put("/os-services/disable", DISABLE),
        await cloud.member.put("/os-services/freeze", {"host": BACKEND}),
        await cloud.member.put("/os-services/failover_host", {"host": BACKEND}),
        await cloud.member.put("/os-services/get-log", {}),
        await cloud.member.put("/os-services/set-log", {"level": "debug"}),
    ]
    assert [reply.status_code for reply in replies] == [403] * 6


# -- zones ------------------------------------------------------------------------------------


async def test_zones_are_those_of_volume_services(cloud: Cloud) -> None:
    await cloud.report_backend("storage-2@b", "zone-b")
    await cloud.admin.put("/os-services/disable", DISABLE)
    assert (await cloud.reader.get("/os-availability-zone", "3.0")).json() == {
        "availabilityZoneInfo": [
            {"zoneName": "zone-a", "zoneState": {"available": False}},
            {"zoneName": "zone-b", "zoneState": {"available": True}},
        ]
    }


async def test_one_enabled_service_makes_a_zone_available(cloud: Cloud) -> None:
    await cloud.report_backend("storage-2@b", "zone-a")
    await cloud.admin.put("/os-services/disable", DISABLE)
    zones = (await cloud.member.get("/os-availability-zone")).json()["availabilityZoneInfo"]
    assert zones == [{"zoneName": "zone-a", "zoneState": {"available": True}}]
