"""The real clients, unchanged: python-cinderclient, openstacksdk, openstackclient."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import bcrypt
import pytest
import pytest_asyncio

from tests.e2e.deployment import REPOSITORY, Deployment, one_process

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

CLIENTS = REPOSITORY / ".venv-clients" / "bin"
FLOWS = Path(__file__).parent / "clients"
PASSWORD = "correct horse"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_cloud() -> AsyncIterator[Deployment]:
    """Without authentication, as a newcomer starts it."""
    deployment = one_process()
    try:
        await deployment.start()
        yield deployment
    finally:
        await deployment.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def basic_cloud() -> AsyncIterator[Deployment]:
    """With HTTP basic authentication, by a file of users."""
    deployment = one_process(
        auth={"strategy": "basic", "users_file": "users"},
        compute={"block_storage_user": "ada", "block_storage_password": PASSWORD},
    )
    users(deployment).write_text(ADA)
    deployment.http.auth = ("ada", PASSWORD)
    try:
        await deployment.start()
        yield deployment
    finally:
        await deployment.stop()


ADA = f"ada:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}:abba:admin,service\n"
GRACE = "grace:$2y$05$SXYA/2F4NXQtu876fKMljePcBWhJl3e1A8pYet2A.r.dKDtoQtGOm\n"
"""A line of `htpasswd -nbB grace s3cret`."""


def users(deployment: Deployment) -> Path:
    """The file of users, which the processes know by its name."""
    return deployment.home / "users"


def run(*command: str, **environment: str) -> str:
    """Run a client; its output. A failure shows all that it said."""
    result = subprocess.run(
        [str(CLIENTS / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        timeout=180,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        check=False,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.mark.parametrize("auth", ["noauth", "none"])
async def test_cinderclient_without_authentication(open_cloud: Deployment, auth: str) -> None:
    flow = str(FLOWS / "cinderclient_flow.py")
    assert run("python", flow, open_cloud.volume_url, auth).strip() == "ok"


async def test_cinderclient_with_basic_authentication(basic_cloud: Deployment) -> None:
    flow = str(FLOWS / "cinderclient_flow.py")
    out = run("python", flow, basic_cloud.volume_url, "http_basic", "ada", PASSWORD)
    assert out.strip() == "ok"


async def test_users_of_an_htpasswd_file_come_and_go_without_a_restart(
    basic_cloud: Deployment,
) -> None:
    def curl(password: str = "s3cret", url: str = basic_cloud.volume_url) -> str:
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", f"grace:{password}"]
        return subprocess.check_output([*command, f"{url}/limits"], text=True, timeout=60)

    async def until(status: str) -> None:
        while curl() != status:
            await asyncio.sleep(0.1)

    assert curl() == "401"
    users(basic_cloud).write_text(ADA + GRACE)
    await until("200")
    assert (curl("s3cre"), curl(url=basic_cloud.compute_url)) == ("401", "200")
    cinder = ("cinder", "--os-auth-type", "http_basic", "--os-endpoint", basic_cloud.volume_url)
    who = ("--os-username", "grace", "--os-password", "s3cret", "--os-project-id", "unused")
    assert "Name" in run(*cinder, *who, "list")

    users(basic_cloud).write_text(ADA + GRACE.replace("$2y$", "$apr1$"))
    while "users: line 2: " not in basic_cloud.logs():
        assert curl() == "200"
    assert curl() == "200"
    assert GRACE[10:40] not in basic_cloud.logs()
    users(basic_cloud).write_text(ADA)
    await until("401")


@pytest.mark.parametrize("auth", ["none", "admin_token"])
async def test_openstacksdk_without_authentication(open_cloud: Deployment, auth: str) -> None:
    flow = str(FLOWS / "openstacksdk_flow.py")
    out = run("python", flow, open_cloud.volume_url, open_cloud.compute_url, auth)
    assert out.strip() == "ok"


async def test_openstacksdk_with_basic_authentication(basic_cloud: Deployment) -> None:
    flow = str(FLOWS / "openstacksdk_flow.py")
    out = run(
        "python",
        flow,
        basic_cloud.volume_url,
        basic_cloud.compute_url,
        "http_basic",
        "ada",
        PASSWORD,
    )
    assert out.strip() == "ok"


@pytest.fixture
def openstack(open_cloud: Deployment, tmp_path: Path) -> Iterator[object]:
    """The command `openstack` with the clouds.yaml that `breezeblock run` prints."""
    clouds = {
        "clouds": {
            "breezeblock": {
                "auth_type": "admin_token",
                "auth": {"endpoint": open_cloud.volume_url, "token": "admin:admin"},
                "block_storage_endpoint_override": open_cloud.volume_url,
                "compute_endpoint_override": open_cloud.compute_url,
                "volume_api_version": "3",
            }
        }
    }
    path = tmp_path / "clouds.yaml"
    path.write_text(json.dumps(clouds))

    def command(*words: str) -> object:
        out = run("openstack", "--os-cloud", "breezeblock", *words, OS_CLIENT_CONFIG_FILE=str(path))
        return json.loads(out) if "-f" in words else out

    yield command


async def test_openstackclient_volumes(openstack) -> None:
    made = openstack("volume", "create", "--size", "1", "-f", "json", "osc")
    openstack("volume", "set", "--property", "a=b", "osc")
    shown = openstack("volume", "show", "-f", "json", "osc")
    assert shown["id"] == made["id"]
    assert shown["properties"] == {"a": "b"}
    listed = openstack("volume", "list", "-f", "json")
    assert "osc" in [row["Name"] for row in listed]
    openstack("volume", "delete", "osc")


async def test_openstackclient_types_and_services(openstack) -> None:
    openstack("volume", "type", "create", "--property", "x=y", "osc-type")
    listed = openstack("volume", "type", "list", "--long", "-f", "json")
    assert {"x": "y"} in [row["Properties"] for row in listed]
    openstack("volume", "type", "delete", "osc-type")
    services = openstack("volume", "service", "list", "-f", "json")
    assert {row["State"] for row in services} == {"up"}


async def test_the_cinder_command_without_authentication(open_cloud: Deployment) -> None:
    listed = run(
        "cinder",
        "--os-auth-type",
        "noauth",
        "--os-endpoint",
        open_cloud.volume_url,
        "--os-user-id",
        "admin",
        "--os-project-id",
        "0123456789abcdef0123456789abcdef",
        "list",
    )
    assert "ID" in listed


async def test_openstackclient_boots_a_server_from_a_volume(
    open_cloud: Deployment, openstack
) -> None:
    flavor = openstack("flavor", "list", "-f", "json")[0]["Name"]
    openstack("volume", "create", "--size", "1", "--bootable", "root")
    server = openstack(
        *("server", "create", "--flavor", flavor, "--volume", "root", "--nic", "none"),
        *("--wait", "-f", "json", "booted"),
    )
    assert server["status"] == "ACTIVE"
    root = openstack("volume", "show", "-f", "json", "root")
    assert root["attachments"][0]["device"] == "/dev/vda"
    assert [row["Name"] for row in openstack("server", "list", "-f", "json")] == ["booted"]
    openstack("server", "delete", "--wait", "booted")
    openstack("volume", "delete", "root")


async def test_openstackclient_adds_and_removes_a_volume(open_cloud: Deployment, openstack) -> None:
    server = await open_cloud.create_server("guest")
    async with open_cloud.inside(server) as guest:  # a guest that boots ignores the removal
        await guest.run("true")
    data = openstack("volume", "create", "--size", "1", "-f", "json", "data")["id"]
    openstack("server", "add", "volume", "guest", "data")
    shown = openstack("volume", "show", "-f", "json", "data")
    assert shown["status"] == "in-use"
    assert shown["attachments"][0]["server_id"] == server
    openstack("server", "remove", "volume", "guest", "data")
    await open_cloud.until_volume_is("available", data)
    openstack("server", "delete", "--wait", "guest")
    openstack("volume", "delete", "data")
