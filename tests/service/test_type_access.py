"""Which projects may use a private volume type."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from breezeblock.api import type_access, types
from tests.service.catalog_fixture import OTHER, PROJECT, Cloud, open_cloud


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, (*types.ROUTES, *type_access.ROUTES)) as opened:
        yield opened


async def act(cloud: Cloud, type_id: str, action: str, project: str = PROJECT) -> int:
    body = {action: {"project": project}}
    return (await cloud.admin.post(f"/types/{type_id}/action", body)).status_code


async def test_granted_projects_are_listed(cloud: Cloud) -> None:
    ident = (await cloud.new_type("private", is_public=False))["id"]
    assert await act(cloud, ident, "addProjectAccess", OTHER) == 202
    assert await act(cloud, ident, "addProjectAccess", PROJECT) == 202
    listed = (await cloud.admin.get(f"/types/{ident}/os-volume-type-access")).json()
    assert listed == {
        "volume_type_access": [
            {"volume_type_id": ident, "project_id": PROJECT},
            {"volume_type_id": ident, "project_id": OTHER},
        ]
    }


async def test_access_is_given_and_taken_once(cloud: Cloud) -> None:
    ident = (await cloud.new_type("private", is_public=False))["id"]
    assert await act(cloud, ident, "addProjectAccess") == 202
    assert await act(cloud, ident, "addProjectAccess") == 409
    assert await act(cloud, ident, "removeProjectAccess") == 202
    assert await act(cloud, ident, "removeProjectAccess") == 404
    assert (await cloud.member.get(f"/types/{ident}")).status_code == 404


async def test_a_public_type_has_no_access_list(cloud: Cloud) -> None:
    ident = (await cloud.new_type("public"))["id"]
    assert await act(cloud, ident, "addProjectAccess") == 400
    assert await act(cloud, ident, "removeProjectAccess") == 400
    assert (await cloud.admin.get(f"/types/{ident}/os-volume-type-access")).status_code == 404


async def test_an_unknown_type_is_not_found(cloud: Cloud) -> None:
    assert await act(cloud, "nope", "addProjectAccess") == 404
    assert await act(cloud, "nope", "removeProjectAccess") == 404
    assert (await cloud.admin.get("/types/nope/os-volume-type-access")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"addProjectAccess": {}},
        {"addProjectAccess": {"project": ""}},
        {"addProjectAccess": {"project": "p" * 256}},
        {"addProjectAccess": {"project": "p", "x": 1}},
        {"addProjectAccess": {"project": "p"}, "removeProjectAccess": {"project": "p"}},
        {"nosuch": {"project": "p"}},
    ],
)
async def test_a_wrong_body_is_refused(cloud: Cloud, body: object) -> None:
    ident = (await cloud.new_type("private", is_public=False))["id"]
    assert (await cloud.admin.post(f"/types/{ident}/action", body)).status_code == 400


async def test_access_is_for_administrators(cloud: Cloud) -> None:
    ident = (await cloud.new_type("private", is_public=False))["id"]
    body = {"addProjectAccess": {"project": PROJECT}}
    assert (await cloud.member.post(f"/types/{ident}/action", body)).status_code == 403
    listed = await cloud.member.get(f"/types/{ident}/os-volume-type-access")
    assert listed.status_code == 403
