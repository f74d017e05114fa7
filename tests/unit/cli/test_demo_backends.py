"""The demo's simulated array: what is told of its log, and what is said where it cannot be."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from breezeblock.cli import demo_backends
from breezeblock.cli.demo_backends import BackendUnusableError, NetAppBackend, free_addresses
from breezeblock.cli.demo_story import Request, story

IQN = "iqn.2026-11.cloud.breezeblock:one"


def request(method: str, path: str, status: int, body: Any = None) -> Request:
    return Request(method, f"/api/{path}", body, status)


def test_only_what_changed_the_array_is_told() -> None:
    inbound = {"user": "u", "password": "********"}
    head, *lines = story(
        [
            request("GET", "storage/luns", 200),
            request("POST", "storage/luns", 201, {"name": "/vol/vol1/v", "space.size": 2 << 30}),
            request("POST", "storage/luns", 409, {"name": "/vol/vol1/v", "space.size": 2 << 30}),
            request(
                "POST",
                "protocols/san/iscsi/credentials",
                201,
                {"initiator": IQN, "chap": {"inbound": inbound}},
            ),
            request("DELETE", "protocols/san/iscsi/credentials/uuid/iqn%2E2026", 200),
            request("DELETE", "protocols/san/lun-maps/one/two", 200),
            request("DELETE", "protocols/san/igroups/one", 404),
            request("PATCH", "storage/volumes/one", 202),
            Request("DELETE", "/api/storage/luns/one"),
        ]
    )
    assert "5 of 9 requests" in head
    assert [re.sub(" +", " ", line).strip() for line in lines] == [
        "201 POST /storage/luns LUN made: /vol/vol1/v, 2 GiB",
        f"201 POST /protocols/san/iscsi/credentials CHAP secret of {IQN} set, user u",
        "200 DELETE /protocols/san/iscsi/credentials CHAP secret of iqn.2026 removed",
        "200 DELETE /protocols/san/lun-maps LUN unmapped; with its last map the igroup goes, too",
        "202 PATCH /storage/volumes/one",
    ]


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The array's two ports are others, and somebody listens at the second, everywhere."""
    with socket.create_server(("", 0)) as everywhere, socket.create_server(("", 0)) as other:
        monkeypatch.setattr(demo_backends, "HTTPS", other.getsockname()[1])
        monkeypatch.setattr(demo_backends, "ISCSI", everywhere.getsockname()[1])
        other.close()
        yield everywhere


def test_a_server_on_every_address_is_named(ports: socket.socket) -> None:
    port = ports.getsockname()[1]
    with pytest.raises(BackendUnusableError, match=rf"port {port} is taken .*sport = :{port}"):
        free_addresses()
    ports.close()
    one, other = free_addresses()
    assert one != other
    assert {one.rpartition(".")[0], other.rpartition(".")[0]} == {one.rpartition(".")[0]}


def test_a_port_that_is_not_for_everyone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refused)
    with pytest.raises(BackendUnusableError, match=r"port 443 .*: Permission denied"):
        free_addresses()


@pytest.mark.parametrize(
    ("tgtd", "user", "help"),
    [(None, 0, "tools/packages guest array"), ("/usr/sbin/tgtd", 1000, "need root: sudo ")],
)
def test_what_is_missing_is_said_with_what_helps(
    tgtd: str | None, user: int, help: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: tgtd)
    monkeypatch.setattr("os.geteuid", lambda: user)

    async def enter() -> None:
        async with NetAppBackend(tmp_path / "array"):
            pytest.fail("it is there")

    with pytest.raises(BackendUnusableError, match=help):
        asyncio.run(enter())
    assert list(tmp_path.iterdir()) == []
