"""Extensions and resource filters over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from breezeblock.api import extensions, messages, resource_filters, types
from breezeblock.api.routes import ROUTES
from tests.service.catalog_fixture import Cloud, open_cloud


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, (*extensions.ROUTES, *resource_filters.ROUTES)) as opened:
        yield opened


async def test_extensions_have_these_keys(cloud: Cloud) -> None:
    listed = (await cloud.reader.get("/extensions", "3.0")).json()["extensions"]
    assert {tuple(one) for one in listed} == {("name", "alias", "description", "updated", "links")}
    shown = (await cloud.reader.get("/extensions/os-quota-sets")).json()
    assert shown["extension"] in listed


async def test_an_unknown_extension_is_not_found(cloud: Cloud) -> None:
    assert (await cloud.reader.get("/extensions/nope")).status_code == 404


async def test_resource_filters_begin_with_3_33(cloud: Cloud) -> None:
    assert (await cloud.member.get("/resource_filters", "3.32")).status_code == 404
    listed = (await cloud.member.get("/resource_filters", "3.33")).json()["resource_filters"]
    assert {one["resource"] for one in listed} >= {"volume", "snapshot", "message", "pool"}


async def test_the_filters_of_every_resource_are_listed(cloud: Cloud) -> None:
    for query in ("", "?resource="):
        listed = (await cloud.member.get(f"/resource_filters{query}")).json()["resource_filters"]
        assert {one["resource"]: tuple(one["filters"]) for one in listed} == {
            "volume": (
                *("name", "status", "metadata", "bootable", "migration_status"),
                *("availability_zone", "group_id", "size", "created_at", "updated_at"),
                "consumes_quota",
            ),
            "backup": ("name", "status", "volume_id"),
            "snapshot": (
                *("name", "status", "volume_id", "metadata", "availability_zone"),
                "consumes_quota",
            ),
            "group": ("name",),
            "group_snapshot": ("name", "status", "group_id"),
            "attachment": ("volume_id", "status", "instance_id", "attach_status"),
            "message": (
                *("resource_uuid", "resource_type", "event_id", "request_id", "message_level"),
            ),
            "pool": ("name", "volume_type"),
            "volume_type": ("is_public", "extra_specs"),
        }


@pytest.mark.parametrize(
    "alias",
    [
        *("backups", "capabilities", "cgsnapshots", "consistencygroups", "qos-specs"),
        *("os-availability-zone", "os-hosts", "os-quota-class-sets", "os-quota-sets"),
        *("os-services", "os-snapshot-manage", "os-volume-manage", "os-volume-transfer"),
        "scheduler-stats",
    ],
)
async def test_an_extension_is_listed_when_its_calls_are_served(cloud: Cloud, alias: str) -> None:
    served = any(route.path.split("/")[1] == alias for route in ROUTES)
    reply = await cloud.reader.get(f"/extensions/{alias}")
    assert reply.status_code == (200 if served else 404)


@pytest.mark.parametrize(
    ("alias", "action"),
    [
        ("os-snapshot-actions", "os-update_snapshot_status"),
        ("os-volume-type-access", "addProjectAccess"),
    ],
)
async def test_an_extension_is_listed_when_its_action_is_served(
    cloud: Cloud, alias: str, action: str
) -> None:
    assert any(route.action == action for route in ROUTES)
    assert (await cloud.reader.get(f"/extensions/{alias}")).status_code == 200


async def test_one_resource_may_be_asked_for(cloud: Cloud) -> None:
    reply = await cloud.member.get("/resource_filters?resource=pool")
    pool = {"resource": "pool", "filters": ["name", "volume_type"]}
    assert reply.json() == {"resource_filters": [pool]}
    assert (await cloud.member.get("/resource_filters?resource=x")).json() == {
        "resource_filters": []
    }


def test_lists_take_the_filters_that_the_table_names() -> None:
    assert tuple(types.TYPES.public) == resource_filters.FILTERS["volume_type"]
    assert tuple(messages.MESSAGES.public) == resource_filters.FILTERS["message"]
