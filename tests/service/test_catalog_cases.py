"""Measured requests and their statuses (shared facts, verified_cases.tsv) around volumes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from breezeblock.api import messages, quota_sets, services, type_extra_specs, types
from tests.service.catalog_fixture import PROJECT, Cloud, open_cloud

ROUTES = (
    *messages.ROUTES,
    *quota_sets.ROUTES,
    *services.ROUTES,
    *type_extra_specs.ROUTES,
    *types.ROUTES,
)
QUOTA = f"/os-quota-sets/{PROJECT}"
NO_BODY = None
CASES: list[tuple[str, str, str, str, Any, int, str]] = [
    ("member", "GET", "/types/default", "3.0", NO_BODY, 200, "volume_type"),
    ("member", "POST", "/types", "3.0", {"volume_type": {"name": "x1"}}, 403, "forbidden"),
    ("admin", "POST", "/types", "3.0", {"volume_type": {"name": "t1"}}, 409, "conflictingRequest"),
    ("admin", "DELETE", "/types/{default}", "3.0", NO_BODY, 400, "badRequest"),
    ("admin", "PUT", "/types/{default}", "3.0", {"volume_type": {}}, 400, "badRequest"),
    (
        "admin",
        "POST",
        "/types/{default}/extra_specs",
        "3.0",
        {"extra_specs": {"a": "b"}},
        400,
        "badRequest",
    ),
    ("member", "GET", "/os-quota-sets/ffff", "3.0", NO_BODY, 403, "forbidden"),
    ("member", "PUT", QUOTA, "3.0", {"quota_set": {"volumes": 5}}, 403, "forbidden"),
    ("admin", "PUT", QUOTA, "3.0", {"quota_set": {"x": 5}}, 400, "badRequest"),
    ("admin", "PUT", QUOTA, "3.0", {"quota_set": {}}, 400, "badRequest"),
    ("admin", "PUT", QUOTA, "3.0", {"quota_set": {"volumes": -2}}, 400, "badRequest"),
    ("member", "GET", "/os-services", "3.0", NO_BODY, 403, "forbidden"),
    ("admin", "GET", "/os-services", "3.0", NO_BODY, 200, "services"),
    ("admin", "PUT", "/os-services/disable", "3.0", {"binary": "cinder-volume"}, 400, "badRequest"),
    ("admin", "PUT", "/os-services/freeze", "3.0", {"host": "x"}, 400, "badRequest"),
    ("member", "GET", "/messages", "3.2", NO_BODY, 404, "itemNotFound"),
    ("member", "GET", "/messages/x", "3.3", NO_BODY, 404, "itemNotFound"),
]


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(tmp_path, ROUTES) as opened:
        await opened.new_type("t1")
        await opened.new_volume("__DEFAULT__")
        yield opened


@pytest.mark.parametrize("prefix", ["", f"/{PROJECT}"], ids=["short", "with project"])
async def test_the_measured_status_and_key(cloud: Cloud, prefix: str) -> None:
    default = (await cloud.admin.get("/types/default")).json()["volume_type"]["id"]
    wrong = []
    for role, method, path, version, body, status, key in CASES:
        url = prefix + path.replace("{default}", default)
        reply = await cloud.caller(role).call(method, url, body, version)
        if (reply.status_code, list(reply.json())) != (status, [key]):
            wrong.append(f"{role} {method} {path} {version}: {reply.status_code} {reply.text}")
    assert not wrong
