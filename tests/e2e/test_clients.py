"""The real clients, unchanged: python-cinderclient, openstacksdk, openstackclient."""

from __future__ import annotations

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
    """With HTTP basic authentication."""
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    user = {"name": "ada", "password": hashed, "project_id": "abba", "roles": ["admin"]}
    deployment = one_process(
        auth={"strategy": "basic", "users": [user]},
        compute={"block_storage_user": "ada", "block_storage_password": PASSWORD},
    )
    deployment.http.auth = ("ada", PASSWORD)
    try:
        await deployment.start()
        yield deployment
    finally:
        await deployment.stop()


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
