"""Callers with tokens of a real Keystone, through both APIs, and the command `openstack`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.e2e.deployment import REPOSITORY
from tests.engines.cloud import Cloud

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

OPENSTACK = REPOSITORY / ".venv-clients" / "bin" / "openstack"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud() -> AsyncIterator[Cloud]:
    """Remembers no token, so that each test sees what Keystone says."""
    cloud = Cloud(keystone_options={"cache_seconds": 0})
    try:
        await cloud.start()
        yield cloud
    finally:
        await cloud.stop()


async def ask(
    cloud: Cloud, token: str, method: str, path: str, body: Any = None, **headers: str
) -> httpx2.Response:
    """A request to block storage with a token."""
    url = f"{cloud.deployment.volume_url}{path}"
    sent = {"X-Auth-Token": token, **headers}
    return await cloud.deployment.http.request(method, url, json=body, headers=sent)


async def make_volume(cloud: Cloud, token: str) -> str:
    """A volume of the token's project, not waited for."""
    reply = await ask(cloud, token, "POST", "/volumes", {"volume": {"size": 1}})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["volume"]["id"])


def refused(cloud: Cloud, reply: httpx2.Response) -> bool:
    """Whether the caller is sent to Keystone."""
    challenge = f'Keystone uri="{cloud.keystone.url}"'
    return (
        reply.status_code == 401
        and reply.headers["www-authenticate"] == challenge
        and reply.json()["error"]["title"] == "Unauthorized"
    )


async def test_the_client_needs_nothing_but_a_clouds_yaml(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text(cloud.clouds_yaml())

    async def openstack(*command: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            *(str(OPENSTACK), "--os-cloud", "ada", *command),
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, error = await process.communicate()
        assert process.returncode == 0, f"{command}\n{out.decode()}\n{error.decode()}"
        return json.loads(out) if out.strip() else None

    made = await openstack("volume", "create", "--size", "1", "first", "-f", "json")
    await cloud.deployment.settled("volumes", "volume", made["id"])
    shown, listed = await asyncio.gather(
        openstack("volume", "show", "first", "-f", "json"),
        openstack("volume", "list", "-f", "json"),
    )
    assert (shown["id"], shown["status"]) == (made["id"], "available")
    assert [volume["ID"] for volume in listed] == [made["id"]]
    await openstack("volume", "delete", "first")
    await cloud.deployment.until_gone(f"/volumes/{made['id']}")


async def test_a_role_and_a_project_say_who_may_do_what(cloud: Cloud) -> None:
    ada, ben, carl, admin = (cloud.keystone.token(name) for name in ("ada", "ben", "carl", "admin"))
    ident = await make_volume(cloud, ada)

    assert (await ask(cloud, ben, "GET", f"/volumes/{ident}")).status_code == 200
    assert (await ask(cloud, ben, "POST", "/volumes", {"volume": {"size": 1}})).status_code == 403
    assert (await ask(cloud, ben, "DELETE", f"/volumes/{ident}")).status_code == 403
    assert (await ask(cloud, carl, "GET", f"/volumes/{ident}")).status_code == 404
    assert (await ask(cloud, carl, "DELETE", f"/volumes/{ident}")).status_code == 404
    assert (await ask(cloud, carl, "GET", "/volumes")).json()["volumes"] == []
    found = await ask(cloud, admin, "GET", "/volumes?all_tenants=1")
    assert [volume["id"] for volume in found.json()["volumes"]] == [ident]

    await cloud.deployment.settled("volumes", "volume", ident)
    assert (await ask(cloud, ada, "DELETE", f"/volumes/{ident}")).status_code == 202
    await cloud.deployment.until_gone(f"/volumes/{ident}")


async def test_an_image_is_whose_glance_says(cloud: Cloud) -> None:
    """Glance is asked with the caller's token; its bytes are fetched by our own user."""
    ada, carl = cloud.keystone.token("ada"), cloud.keystone.token("carl")
    http, images = cloud.deployment.http, f"{cloud.glance.endpoint}/v2/images"
    sent = {"X-Auth-Token": ada}
    told = {"name": "hers", "disk_format": "raw", "container_format": "bare"}
    image = (await http.post(images, json=told, headers=sent)).json()
    kind = {"Content-Type": "application/octet-stream"}
    stored = await http.put(f"{images}/{image['id']}/file", content=b"x", headers=sent | kind)
    assert stored.status_code == 204, stored.text

    for named in (image["id"], "hers"):
        body = {"volume": {"size": 1, "imageRef": named}}
        refused = await ask(cloud, carl, "POST", "/volumes", body)
        assert refused.status_code == 400, refused.text
        assert "could not be found" in refused.text
        made = await ask(cloud, ada, "POST", "/volumes", body)
        assert made.status_code == 202, made.text
        ident = made.json()["volume"]["id"]
        shown = await cloud.deployment.settled("volumes", "volume", ident)
        assert (shown["status"], shown["bootable"]) == ("available", "true")
        assert shown["volume_image_metadata"]["image_id"] == image["id"]
        assert (await ask(cloud, ada, "DELETE", f"/volumes/{ident}")).status_code == 202
        await cloud.deployment.until_gone(f"/volumes/{ident}")


async def test_the_projects_id_may_stand_in_the_url(cloud: Cloud) -> None:
    token = cloud.keystone.token("ada")
    projects = cloud.keystone.call("GET", "/projects")["projects"]
    ids = {project["name"]: project["id"] for project in projects}
    assert (await ask(cloud, token, "GET", f"/{ids['demo']}/volumes")).status_code == 200
    assert (await ask(cloud, token, "GET", f"/{ids['other']}/volumes")).status_code == 400


@pytest.mark.parametrize("token", ["", "rubbish", "x" * 5000, "gAAAAA" * 30, "../../users"])
async def test_whatever_is_no_token_is_refused(cloud: Cloud, token: str) -> None:
    assert refused(cloud, await ask(cloud, token, "GET", "/volumes"))


async def test_a_revoked_token_is_refused(cloud: Cloud) -> None:
    token = cloud.keystone.token("ada")
    assert (await ask(cloud, token, "GET", "/volumes")).status_code == 200
    cloud.keystone.revoke(token)
    assert refused(cloud, await ask(cloud, token, "GET", "/volumes"))


async def test_an_administrator_of_the_system_sees_all_and_owns_nothing(cloud: Cloud) -> None:
    token = cloud.keystone.issue("admin", {"system": {"all": True}})
    assert (await ask(cloud, token, "GET", "/volumes?all_tenants=1")).status_code == 200
    assert (await ask(cloud, token, "GET", "/os-services")).status_code == 200
    reply = await ask(cloud, token, "POST", "/volumes", {"volume": {"size": 1}})
    assert reply.status_code == 400
    assert "for no project" in reply.json()["badRequest"]["message"]


async def test_an_application_credential_is_good_for_what_it_names(cloud: Cloud) -> None:
    rule = {"service": "block-storage", "method": "GET", "path": "/v3/volumes/**"}
    token = cloud.keystone.limited_token("ada", access_rules=[rule])
    assert (await ask(cloud, token, "GET", "/volumes/detail")).status_code == 200
    assert refused(cloud, await ask(cloud, token, "GET", "/snapshots"))
    assert refused(cloud, await ask(cloud, token, "POST", "/volumes", {"volume": {"size": 1}}))


async def test_servers_get_volumes_while_both_apis_ask_keystone(cloud: Cloud) -> None:
    deployment = cloud.deployment
    volume = (await deployment.create_volume())["id"]
    server = await deployment.create_server("one")
    body = {"volumeAttachment": {"volumeId": volume}}
    reply = await deployment.compute("POST", f"/servers/{server}/os-volume_attachments", body)
    assert reply.status_code == 200, reply.text
    await deployment.until_volume_is("in-use", volume)
    # Block storage asks compute before it takes a volume away.
    [attachment] = (await deployment.volume("GET", "/attachments")).json()["attachments"]
    taken = await deployment.volume("DELETE", f"/attachments/{attachment['id']}")
    assert taken.status_code == 409
    assert "ConflictNovaUsingAttachment" in taken.text
    assert (await deployment.compute("DELETE", f"/servers/{server}")).status_code == 204
    await deployment.until_volume_is("available", volume)


async def test_an_expired_token_is_refused_unless_a_service_passes_it_on(cloud: Cloud) -> None:
    service = cloud.keystone.token("breezeblock")
    token = cloud.keystone.short_token("ada")
    while (reply := await ask(cloud, token, "GET", "/volumes")).status_code == 200:
        await asyncio.sleep(0.1)
    assert refused(cloud, reply)
    passed_on = await ask(cloud, token, "GET", "/volumes", **{"X-Service-Token": service})
    assert passed_on.status_code == 200


async def test_while_keystone_is_away_callers_are_told_to_come_again(cloud: Cloud) -> None:
    token = cloud.keystone.token("ada")
    cloud.keystone.kill()
    reply = await ask(cloud, token, "GET", "/volumes")
    assert reply.status_code == 503
    assert reply.headers["retry-after"]
    assert list(reply.json()) == ["serviceUnavailable"]
    await asyncio.to_thread(cloud.keystone.start)
    assert (await ask(cloud, token, "GET", "/volumes")).status_code == 200
