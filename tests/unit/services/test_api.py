"""Who may be served where, and with which users and rules: what the options make of both APIs."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, cast

import pytest

from breezeblock.auth.identity import BLOCK_STORAGE, Identity
from breezeblock.compute.api import policy as compute
from breezeblock.config import Config, ConfigError, build
from breezeblock.services.api import authenticator, check_listen, policy
from breezeblock.services.monitoring import monitoring_server
from breezeblock.services.process import Process

HASH = "$2b$04$" + "a" * 53
BASIC = {
    "auth": {"strategy": "basic", "users": [{"name": "a", "password": HASH, "project_id": "p"}]}
}


def check(config: Config, address: str) -> None:
    check_listen(config, "api.listen", address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "127.1", "::1", "localhost"])
def test_without_authentication_loopback_is_served(address: str) -> None:
    check(build({}), address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "fe80::1", ""])
def test_without_authentication_nothing_else_is(address: str) -> None:
    with pytest.raises(ConfigError, match="none_listens_beyond_loopback"):
        check(build({}), address)


@pytest.mark.parametrize(
    ("addresses", "served"),
    [
        (["127.0.0.1"], True),
        (["::1", "127.0.0.1"], True),
        (["192.0.2.1"], False),
        (["127.0.0.1", "192.0.2.1"], False),
        (["fe80::1%eth0"], False),
    ],
)
@pytest.mark.parametrize("name", ["localhost", "storage.example"])
def test_a_name_is_what_it_resolves_to(
    monkeypatch: pytest.MonkeyPatch, name: str, addresses: list[str], served: bool
) -> None:
    def resolve(host: str, *_: object, **__: object) -> list[object]:
        assert host == name
        return [(0, 0, 0, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    if served:
        check(build({}), name)
    else:
        with pytest.raises(ConfigError, match=name):
            check(build({}), name)


def test_a_name_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ConfigError, match=r"api\.listen = 'nowhere\.example': Name or service"):
        check(build({}), "nowhere.example")


def test_unless_the_operator_says_it_in_so_many_words() -> None:
    check(build({"auth": {"none_listens_beyond_loopback": True}}), "0.0.0.0")


def test_with_authentication_every_address_is_served() -> None:
    check(build(BASIC), "0.0.0.0")


@pytest.mark.parametrize(
    ("part", "roles"), [("api", ["api", "scheduler", "volume"]), ("compute", ["compute"])]
)
async def test_neither_api_is_served_beyond_loopback(
    tmp_path: Path, part: str, roles: list[str]
) -> None:
    settings = {"data": str(tmp_path), part: {"listen": "0.0.0.0", "port": 0}}
    process = Process(build(settings), roles)
    try:
        with pytest.raises(ConfigError, match=rf"^{part}\.listen = '0\.0\.0\.0' with auth"):
            await process.start()
    finally:
        await process.close()


def test_machines_are_told_how_it_is_wherever_they_ask() -> None:
    config = build({"monitoring": {"listen": "0.0.0.0:9776"}})
    server = monitoring_server(config.monitoring, cast("Any", None), cast("Any", None))
    assert server.address == "0.0.0.0:9776"


@pytest.mark.parametrize(
    ("option", "text", "told"),
    [
        ("users_file", None, "No such file"),
        ("users_file", "ada:plain", "line 1"),
        ("policy_file", None, "No such file"),
        ("policy_file", "a: [", "line 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_configuration_error_in_a_line(
    tmp_path: Path, option: str, text: str | None, told: str
) -> None:
    path = tmp_path / "file"
    if text is not None:
        path.write_text(text)
    config = build({"auth": {**BASIC["auth"], option: str(path)}})
    with pytest.raises(ConfigError, match=told) as error:
        authenticator(config, BLOCK_STORAGE)
        policy(config)
    assert str(error.value).startswith(f"auth.{option}: ")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_one_policy_file_serves_both_apis(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text('"volume:get": "role:a"\n"os_compute_api:servers:show": "role:b"\n')
    config = build({"auth": {"policy_file": str(path)}})
    own = {"project_id": "p"}
    for rule, role, rules in (
        ("volume:get", "a", policy(config)),
        ("os_compute_api:servers:show", "b", policy(config, compute.DEFAULTS)),
    ):
        assert rules.allows(rule, Identity.with_roles("u", "p", {role}), own)
        assert not rules.allows(rule, Identity.with_roles("u", "p", {"admin"}), own)
