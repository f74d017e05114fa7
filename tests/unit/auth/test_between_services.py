"""How block storage and compute of one process know each other under HTTP basic authentication."""

from __future__ import annotations

import httpx2
import pytest

from breezeblock.auth.between_services import OWN_USER, between_services, with_own_user
from breezeblock.config import Config, build
from breezeblock.services.api import authenticator
from breezeblock.services.process import ROLES

USER = {"name": "ada", "password": "$2b$04$" + "a" * 53, "project_id": "p"}
BASIC = {"strategy": "basic", "users": [USER]}


def test_a_process_with_both_makes_a_user_for_them() -> None:
    config = with_own_user(build({"auth": BASIC}), ROLES)
    assert [user.name for user in config.auth.users] == ["ada", OWN_USER]


async def test_that_user_is_let_in_as_a_service_and_an_administrator() -> None:
    config = with_own_user(build({"auth": BASIC}), ROLES)
    name, password = between_services(config).for_client["auth"]
    request = httpx2.Request("GET", "http://cloud/")
    request = next(httpx2.BasicAuth(name, password).auth_flow(request))
    found = await authenticator(config, frozenset()).identify(
        {"authorization": request.headers["authorization"]}, "GET", "/v3/volumes"
    )
    assert found.is_admin and "service" in found.roles


def test_each_process_has_a_password_of_its_own() -> None:
    made = {with_own_user(build({"auth": BASIC}), ROLES).compute.block_storage_password}
    made.add(with_own_user(build({"auth": BASIC}), ROLES).compute.block_storage_password)
    assert len(made) == 2


@pytest.mark.parametrize(
    ("config", "roles"),
    [
        (build({}), ROLES),
        (build({"auth": BASIC, "compute": {"block_storage_user": "ada"}}), ROLES),
        (build({"auth": BASIC}), ("api", "scheduler", "volume")),
    ],
    ids=["no authentication", "the operator names one", "compute runs elsewhere"],
)
def test_otherwise_the_configuration_is_left_as_it_is(
    config: Config, roles: tuple[str, ...]
) -> None:
    assert with_own_user(config, roles) == config
