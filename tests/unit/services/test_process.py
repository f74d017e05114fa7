"""Which roles run together, and who may listen where."""

from __future__ import annotations

import pytest

from breezeblock.config import ConfigError, build
from breezeblock.services.api import check_listen
from breezeblock.services.process import ROLES, Process, resolve_roles


def test_no_role_means_all() -> None:
    assert resolve_roles([]) == ROLES


def test_compute_means_its_api_and_its_agent() -> None:
    assert resolve_roles(["compute"]) == ("compute-api", "compute-agent")


def test_an_unknown_role_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'backup'.*scheduler"):
        resolve_roles(["api", "backup"])


@pytest.mark.parametrize("roles", [["api"], ["scheduler", "volume"], ["compute-agent"]])
def test_roles_apart_need_a_broker(roles: list[str]) -> None:
    with pytest.raises(ConfigError, match="amqp"):
        Process(build({}), roles)


@pytest.mark.parametrize("roles", [[], ["compute"], ["api", "scheduler", "volume"]])
def test_roles_that_belong_together_need_none(roles: list[str]) -> None:
    Process(build({}), roles)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_without_authentication_loopback_is_served(address: str) -> None:
    check_listen(build({}), address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_without_authentication_nothing_else_is(address: str) -> None:
    with pytest.raises(ConfigError, match="none_listens_beyond_loopback"):
        check_listen(build({}), address)


def test_unless_the_operator_says_it_in_so_many_words() -> None:
    check_listen(build({"auth": {"none_listens_beyond_loopback": True}}), "0.0.0.0")


def test_with_authentication_every_address_is_served() -> None:
    user = {"name": "ada", "password": "$2b$04$" + "a" * 53, "project_id": "p"}
    check_listen(build({"auth": {"strategy": "basic", "users": [user]}}), "0.0.0.0")
