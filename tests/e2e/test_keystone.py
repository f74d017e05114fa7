"""Callers with tokens of a real Keystone, through both APIs, and the command `openstack`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.e2e.deployment import REPOSITORY
from tests.engines.cloud import Cloud
from tests.engines.keystone import PASSWORD, REGION

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

NEW = {"OpenStack-API-Version": "volume 3.71"}
TOKENS = r"gAAAAA[\w-]{30,}"
"""What Fernet tokens look like."""

OPENSTACK = REPOSITORY / ".venv-clients" / "bin" / "openstack"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud() -> AsyncIterator[Cloud]:
    """Remembers no token, so that each test sees what Keystone says."""
    cloud = Cloud(keystone_options={"cache_seconds": 0}, log_level="debug")
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


async def ask_compute(
    cloud: Cloud, token: str, method: str, path: str, body: Any = None
) -> httpx2.Response:
    """A request to compute with a token."""
    url = f"{cloud.deployment.compute_url}{path}"
    sent = {"X-Auth-Token": token, "OpenStack-API-Version": "compute 2.90"}
    return await cloud.deployment.http.request(method, url, json=body, headers=sent)


async def boot(cloud: Cloud, token: str, **wishes: Any) -> str:
    """A server of the token's project that runs; its id."""
    [flavor, *_] = (await ask_compute(cloud, token, "GET", "/flavors")).json()["flavors"]
    wanted = {"name": "one", "flavorRef": flavor["id"], "networks": "none", **wishes}
    reply = await ask_compute(cloud, token, "POST", "/servers", {"server": wanted})
    assert reply.status_code == 202, reply.text
    ident = str(reply.json()["server"]["id"])
    while True:
        found = (await ask_compute(cloud, token, "GET", f"/servers/{ident}")).json()["server"]
        if found["status"] != "BUILD":
            break
        await asyncio.sleep(0.1)
    assert found["status"] == "ACTIVE", found
    return ident


async def store_image(cloud: Cloud, token: str, name: str) -> str:
    """An image of the token's project in Glance, of one byte; its id."""
    http, images = cloud.deployment.http, f"{cloud.glance.endpoint}/v2/images"
    sent = {"X-Auth-Token": token}
    told = {"name": name, "disk_format": "raw", "container_format": "bare"}
    image = str((await http.post(images, json=told, headers=sent)).json()["id"])
    kind = {"Content-Type": "application/octet-stream"}
    stored = await http.put(f"{images}/{image}/file", content=b"x", headers=sent | kind)
    assert stored.status_code == 204, stored.text
    return image


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

    async def openstack(*command: str, who: str = "ada") -> Any:
        process = await asyncio.create_subprocess_exec(
            *(str(OPENSTACK), "--os-cloud", who, *command),
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, error = await process.communicate()
        assert process.returncode == 0, f"{command}\n{out.decode()}\n{error.decode()}"
        return json.loads(out) if "json" in command else None

    image = await store_image(cloud, cloud.keystone.token("ada"), "disk")
    root = ("--image", image, "--boot-from-volume", "1")
    server = (*root, "--flavor", "tiny", "--nic", "none", "--wait", "one")
    made, catalog, services, running = await asyncio.gather(
        openstack("volume", "create", "--size", "1", "first", "-f", "json"),
        openstack("catalog", "list", "-f", "json"),
        openstack("volume", "service", "list", "-f", "json", who="admin"),
        openstack("server", "create", *server, "-f", "json"),
    )
    assert {"block-storage", "volumev3", "compute"} <= {one["Type"] for one in catalog}
    assert {one["State"] for one in services} == {"up"}
    assert running["status"] == "ACTIVE"
    first = made["id"]
    await cloud.deployment.settled("volumes", "volume", first)
    inside = ("--os-interface", "internal", "--os-region-name", REGION)
    await openstack(*inside, "server", "add", "volume", "one", "first")
    shown, listed = await asyncio.gather(
        openstack("volume", "show", "first", "-f", "json"),
        openstack(*inside, "volume", "list", "-f", "json"),
    )
    assert (shown["id"], shown["status"]) == (first, "in-use")
    assert {volume["Status"] for volume in listed} == {"in-use"}
    await openstack("server", "delete", "--wait", "one")
    volumes = [volume["ID"] for volume in listed]
    assert (first in volumes, len(volumes)) == (True, 2)
    for volume in volumes:
        await cloud.deployment.until_volume_is("available", volume)
    await openstack("volume", "delete", *volumes)
    for volume in volumes:
        await cloud.deployment.until_gone(f"/volumes/{volume}")


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
    image = await store_image(cloud, ada, "hers")
    for named in (image, "hers"):
        body = {"volume": {"size": 1, "imageRef": named}}
        refused = await ask(cloud, carl, "POST", "/volumes", body)
        assert refused.status_code == 400, refused.text
        assert "could not be found" in refused.text
        made = await ask(cloud, ada, "POST", "/volumes", body)
        assert made.status_code == 202, made.text
        ident = made.json()["volume"]["id"]
        shown = await cloud.deployment.settled("volumes", "volume", ident)
        assert (shown["status"], shown["bootable"]) == ("available", "true")
        assert shown["volume_image_metadata"]["image_id"] == image
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


async def test_nobody_takes_a_volume_from_under_a_server(cloud: Cloud) -> None:
    """Not its owner, by any of the requests that take connections away (CVE-2023-2088)."""
    deployment, ada = cloud.deployment, cloud.keystone.token("ada")
    volume = await make_volume(cloud, ada)
    await deployment.settled("volumes", "volume", volume)
    server = await boot(cloud, ada)
    body = {"volumeAttachment": {"volumeId": volume}}
    path = f"/servers/{server}/os-volume_attachments"
    reply = await ask_compute(cloud, ada, "POST", path, body)
    assert reply.status_code == 200, reply.text
    await deployment.until_volume_is("in-use", volume)
    its = f"/attachments?instance_id={server}"
    [attachment] = (await ask(cloud, ada, "GET", its, **NEW)).json()["attachments"]

    here, there = f"/attachments/{attachment['id']}", {"connector": {"host": "elsewhere"}}
    action = f"/volumes/{volume}/action"
    tries = [
        ("DELETE", here, None, 409),
        ("PUT", here, {"attachment": there}, 409),
        ("POST", action, {"os-detach": {}}, 409),
        ("POST", action, {"os-detach": {"attachment_id": attachment["id"]}}, 409),
        ("POST", action, {"os-terminate_connection": {"connector": None}}, 409),
        ("POST", action, {"os-terminate_connection": there}, 409),
        ("POST", action, {"os-force_detach": {"attachment_id": attachment["id"]}}, 403),
        ("POST", action, {"os-reset_status": {"attach_status": "detached"}}, 403),
        ("POST", action, {"os-force_delete": {}}, 403),
        ("DELETE", f"/volumes/{volume}", None, 400),
    ]
    for method, where, told, status in tries:
        reply = await ask(cloud, ada, method, where, told, **NEW)
        assert reply.status_code == status, (method, where, told, reply.text)
        assert status != 409 or method == "PUT" or "ConflictNovaUsingAttachment" in reply.text
    carl = {"X-Service-Token": cloud.keystone.token("carl"), **NEW}
    assert refused(cloud, await ask(cloud, ada, "DELETE", here, **carl))
    left = (await ask(cloud, ada, "GET", here, **NEW)).json()["attachment"]
    assert (left["status"], bool(left["connection_info"])) == ("attached", True)

    service = {"X-Service-Token": cloud.keystone.token("glance"), **NEW}
    assert (await ask(cloud, ada, "DELETE", here, **service)).status_code == 200
    await ask_compute(cloud, ada, "DELETE", f"/servers/{server}")
    await deployment.until_volume_is("available", volume)
    assert (await ask(cloud, ada, "DELETE", f"/volumes/{volume}")).status_code == 202
    await deployment.until_gone(f"/volumes/{volume}")


async def test_volumes_that_a_server_is_made_with_are_its_owners(cloud: Cloud) -> None:
    ada, carl = cloud.keystone.token("ada"), cloud.keystone.token("carl")
    blank = {"source_type": "blank", "destination_type": "volume", "volume_size": 1}
    device = {**blank, "delete_on_termination": True}
    server = await boot(cloud, ada, block_device_mapping_v2=[device])
    its = f"/volumes/detail?name={server}-vdb"
    [volume] = (await ask(cloud, ada, "GET", its)).json()["volumes"]
    about = cloud.keystone.about(ada)
    assert volume["os-vol-tenant-attr:tenant_id"] == about["project"]["id"]
    assert volume["user_id"] == about["user"]["id"]
    assert volume["attachments"][0]["server_id"] == server
    assert (await ask(cloud, carl, "GET", f"/volumes/{volume['id']}")).status_code == 404

    wanted = {
        "name": "big",
        "flavorRef": "tiny",
        "block_device_mapping_v2": [{**blank, "volume_size": 200_000}],
    }
    reply = await ask_compute(cloud, ada, "POST", "/servers", {"server": wanted})
    assert (reply.status_code, "Quota" in reply.text) == (403, True), reply.text
    await ask_compute(cloud, ada, "DELETE", f"/servers/{server}")
    await cloud.deployment.until_gone(f"/volumes/{volume['id']}")


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


async def test_no_token_and_no_password_is_left_of_all_that(cloud: Cloud) -> None:
    """Nobody's token, our own included, and no credential's secret: not in logs, nor in tables."""
    assert re.match(TOKENS, cloud.keystone.token("ada"))
    secret = re.compile(f"{TOKENS}|{re.escape(PASSWORD)}")
    written = [*cloud.deployment.home.glob("*.log"), *cloud.deployment.data.glob("*.sqlite*")]
    assert len(written) > 2 and all(path.stat().st_size for path in written)
    for path in written:
        found = set(secret.findall(path.read_bytes().decode("latin-1")))
        assert not found, path
