"""deploy/compose.yaml and the Containerfile: every command, option, path and port in them is real.

Compose itself needs an engine, which is not everywhere; what it would be told is checked here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml

from breezeblock.auth.between_services import between_services
from breezeblock.cli.run import STOP_SECONDS
from breezeblock.config import Config, load
from breezeblock.services.process import ROLES, Process, resolve_roles

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OURS = {name: told for name, told in COMPOSE["services"].items() if told["image"] == "breezeblock"}
FOREIGN = {name: told for name, told in COMPOSE["services"].items() if name not in OURS}


def interpolated(text: str) -> str:
    return re.sub(r"\$\{BB_PASSWORD:\?[^}]*\}", "secret1", text)


def config_of(service: dict[str, Any]) -> Config:
    """What a container's process would be configured with."""
    environment = {key: interpolated(value) for key, value in service["environment"].items()}
    mounts = dict(volume.split(":")[1::-1] for volume in service["volumes"])
    return load(DEPLOY / mounts[environment["BREEZEBLOCK_CONFIG"]], environment)


def test_every_role_has_a_container() -> None:
    roles = [role for told in OURS.values() for role in resolve_roles(told["command"][1:])]
    assert sorted(roles) == sorted(ROLES)
    assert {told["command"][0] for told in OURS.values()} == {"run"}


@pytest.mark.parametrize("name", OURS)
def test_a_container_is_configured_with_what_there_is(name: str) -> None:
    config = config_of(OURS[name])
    Process(config, OURS[name]["command"][1:])
    assert config.database.startswith("postgresql+psycopg://breezeblock:secret1@database/")
    assert config.bus == "amqp://breezeblock:secret1@broker/"
    assert {"database", "broker"} == set(FOREIGN)


@pytest.mark.parametrize("name", OURS)
def test_a_container_is_stopped_in_peace_and_known_by_a_name_of_its_own(name: str) -> None:
    assert int(OURS[name]["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
    assert OURS[name]["hostname"] not in {
        told["hostname"] for other, told in OURS.items() if other != name
    }


@pytest.mark.parametrize("name", OURS)
def test_it_is_healthy_when_it_is_ready(name: str) -> None:
    host, port = config_of(OURS[name]).monitoring.address
    assert f"http://{host}:{port}/ready" in OURS[name]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", OURS)
def test_it_starts_after_what_it_needs_is_healthy(name: str) -> None:
    for needed, how in OURS[name]["depends_on"].items():
        assert how == {"condition": "service_healthy"}
        assert "healthcheck" in COMPOSE["services"][needed]


def test_apis_find_each_other_and_are_published_on_their_ports() -> None:
    config = config_of(OURS["api"])
    assert config.block_storage_endpoint == f"http://api:{config.api.port}/v3"
    assert config.compute_endpoint == f"http://compute-api:{config.compute.port}/v2.1"
    published = [port for told in OURS.values() for port in told.get("ports", [])]
    assert published == [
        f"127.0.0.1:{port}:{port}" for port in (config.api.port, config.compute.port)
    ]
    assert between_services(config).for_client


def test_mounts_are_declared_or_made_as_the_page_says() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    for told in COMPOSE["services"].values():
        for source in (volume.split(":")[0] for volume in told.get("volumes", [])):
            if source.startswith("./"):
                assert (DEPLOY / source).exists() or f"deploy/{source[2:]}" in page, source
            else:
                assert source in COMPOSE["volumes"]


def test_the_file_of_users_that_the_page_describes_is_taken(tmp_path: Path) -> None:
    users = tmp_path / "users"
    hashed = bcrypt.hashpw(b"secret1", bcrypt.gensalt(4)).decode()
    users.write_text(f"breezeblock:{hashed}:service:admin,service\n")
    users.chmod(0o600)
    environment = {
        key: interpolated(value) for key, value in OURS["api"]["environment"].items()
    } | {"BREEZEBLOCK_AUTH__USERS_FILE": str(users)}
    config = load(DEPLOY / "compose.toml", environment)
    assert config.auth.users_file == str(users)


def test_the_containerfile_copies_what_there_is() -> None:
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    copied = [
        source
        for line in lines
        if line.startswith("COPY") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
    build = OURS["api"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).exists()
