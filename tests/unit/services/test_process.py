"""Which roles run together, and who may listen where."""

from __future__ import annotations

import pytest

from breezeblock.config import ConfigError, build
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


def test_a_bus_url_without_a_good_host_is_a_mistake_in_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"bus: .*mq:x"):
        Process(build({"bus": "amqp://user:secret@mq,mq:x/"}), ["api"])


@pytest.mark.parametrize("database", ["", "sqlite:////srv/shared.sqlite"])
@pytest.mark.parametrize(
    ("roles", "option"),
    [
        (["api"], "database"),
        (["scheduler", "volume", "compute"], "database"),
        (["compute-agent"], "compute.database"),
        (["api", "scheduler", "volume", "compute-api"], "compute.database"),
    ],
)
def test_roles_apart_need_a_database_that_all_of_them_reach(
    roles: list[str], option: str, database: str
) -> None:
    config = build({"bus": "amqp://mq/", "database": database})
    with pytest.raises(ConfigError, match=rf"^configuration: {option}: ") as refused:
        Process(config, roles)
    assert f"breezeblock_{option}" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("roles", [["api"], ["compute-agent"], ["api", "compute-agent"]])
def test_roles_apart_meet_on_postgresql(roles: list[str]) -> None:
    Process(build({"bus": "amqp://mq/", "database": "postgresql+psycopg://db/breezeblock"}), roles)


@pytest.mark.parametrize("roles", [["api", "scheduler", "volume"], ["compute"], []])
def test_roles_that_share_a_process_may_share_a_file(roles: list[str]) -> None:
    Process(build({"bus": "amqp://mq/"}), roles)


@pytest.mark.parametrize("roles", [[], ["compute"], ["api", "scheduler", "volume"]])
def test_roles_that_belong_together_need_none(roles: list[str]) -> None:
    Process(build({}), roles)
