"""Secrets are nowhere but where they must be: all that a full run has written is searched for them.

One process with everything that has a secret: users, database, broker, images, and an ONTAP array
with CHAP. It does what works and what fails, at the level debug; then logs, tables, command lines,
files that others may read, and what other callers are told are searched.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bcrypt
import httpx2
import pytest
import pytest_asyncio
import sqlalchemy as sa

from breezeblock.store.store import Store
from tests.e2e.deployment import BREEZEBLOCK, Deployment
from tests.engines.ontap import PASSWORD, SVM_PASSWORD, Ontap

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

KNOWN = {
    "the database's password": "DATABASE-MARKER",
    "the broker's password": "BROKER-MARKER",
    "the image service's token": "IMAGES-MARKER",
    "the services' password": "BETWEEN-SERVICES-MARKER",
    "the key of CHAP secrets": "CHAP-KEY-MARKER-0123456789",
    "a wrong password of the array": "WRONG-ARRAY-MARKER",
    "a user's password": "USER-MARKER",
    "a wrong password of a user": "WRONG-USER-MARKER",
    "an Idempotency-Key": "IDEMPOTENCY-MARKER",
    "a wrong key of a transfer": "WRONG-TRANSFER-MARKER",
    "the array's password": PASSWORD,
    "the SVM's password": SVM_PASSWORD,
}
"""What the test gives in; what the service makes up is added as it is told."""

MAY_STAND = {
    ("attachments", "connection_info"): "the CHAP secret of a host, as long as it is "
    "connected: the API shows it to the owner again, who logs in anew with it after a restart",
}
"""Columns (table, column) that hold a secret in clear, and why."""

USERS = {
    "root": ("0" * 32, "admin"),
    "ada": ("a" * 32, "member"),
    "rita": ("a" * 32, "reader"),
    "bob": ("b" * 32, "member"),
}
"""Name → project and role."""


LISTS = (
    *("volumes/detail", "attachments/detail", "volume-transfers/detail", "messages"),
    *("os-services", "scheduler-stats/get_pools?detail=1"),
)


def user(name: str) -> dict[str, Any]:
    project, role = USERS[name]
    hashed = bcrypt.hashpw(KNOWN["a user's password"].encode(), bcrypt.gensalt(4)).decode()
    return {"name": name, "password": hashed, "project_id": project, "roles": [role]}


class Cloud(Deployment):
    """A deployment whose callers have names; `secrets` are all that must not be found."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.secrets = dict(KNOWN)
        self.volumes: list[str] = []
        self.http = self.caller("root")

    def caller(self, name: str, password: str = KNOWN["a user's password"]) -> httpx2.AsyncClient:
        versions = {"OpenStack-API-Version": "volume 3.71"}
        return httpx2.AsyncClient(auth=(name, password), timeout=60, headers=versions)

    async def ask(
        self, who: httpx2.AsyncClient, method: str, path: str, body: Any = None, **headers: str
    ) -> httpx2.Response:
        return await who.request(method, f"{self.volume_url}{path}", json=body, headers=headers)

    def command(self, *words: str, **environment: str) -> str:
        """What a command of ours prints, whatever comes of it."""
        done = subprocess.run(
            [str(BREEZEBLOCK), *words, "--config", str(self._config())],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return f"{done.stdout}\n{done.stderr}"

    def found_in(self, text: str) -> set[str]:
        return {name for name, secret in self.secrets.items() if secret in text}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(postgres: Any, ontap_server: Ontap) -> AsyncIterator[Cloud]:
    database = sa.make_url(postgres.create_database("secrets"))
    array = {
        **ontap_server.options,
        "netapp_lun_space_reservation": "disabled",
        "use_chap_auth": True,
        "chap_secret_key": KNOWN["the key of CHAP secrets"],
    }
    wrong = array | {"netapp_password": KNOWN["a wrong password of the array"]}
    made = Cloud(
        {
            "database": database.set(password=KNOWN["the database's password"]).render_as_string(
                hide_password=False
            ),
            "log_level": "debug",
            "auth": {"strategy": "basic", "users": [user(name) for name in USERS]},
            "images": {"token": KNOWN["the image service's token"]},
            "compute": {"block_storage_password": KNOWN["the services' password"]},
            "backends": [
                {"name": "array", "driver": "netapp", "options": array},
                {"name": "locked", "driver": "netapp", "options": wrong},
            ],
        },
        roles=(("api", "scheduler", "volume"),),
    )
    try:
        await made.start()
        await full_run(made)
        yield made
    finally:
        await made.stop()


async def full_run(cloud: Cloud) -> None:
    """What users do, well and badly; each secret that an answer tells is noted."""
    root, ada, bob = (cloud.caller(name) for name in ("root", "ada", "bob"))
    key = {"Idempotency-Key": KNOWN["an Idempotency-Key"]}
    other_key = {"Idempotency-Key": f"{KNOWN['an Idempotency-Key']}-2"}
    volumes = cloud.volumes
    for _ in range(2):
        reply = await cloud.ask(ada, "POST", "/volumes", {"volume": {"size": 1}})
        assert reply.status_code == 202, reply.text
        ident = reply.json()["volume"]["id"]
        assert (await cloud.settled("volumes", "volume", ident))["status"] == "available"
        volumes.append(ident)

    connector = {"host": "a-host", "ip": "127.0.0.1", "initiator": "iqn.2026-11.test:a-host"}
    wanted = {"attachment": {"volume_uuid": volumes[0], "connector": connector}}
    reply = await cloud.ask(ada, "POST", "/attachments", wanted, **key)
    told = reply.json()["attachment"]["connection_info"]
    cloud.secrets["a CHAP secret"] = told["auth_password"]
    again = await cloud.ask(ada, "POST", "/attachments", wanted, **key)
    assert again.json() == reply.json()

    offer = {"transfer": {"volume_id": volumes[1]}}
    reply = await cloud.ask(ada, "POST", "/volume-transfers", offer, **other_key)
    transfer = reply.json()["transfer"]
    cloud.secrets["a transfer's key"] = transfer["auth_key"]
    accept = f"/volume-transfers/{transfer['id']}/accept"
    for wrong in (KNOWN["a wrong key of a transfer"], "", 7):
        refused = await cloud.ask(bob, "POST", accept, {"accept": {"auth_key": wrong}})
        assert refused.status_code == 400
    right = {"accept": {"auth_key": transfer["auth_key"]}}
    assert (await cloud.ask(bob, "POST", accept, right)).status_code == 202

    stranger = cloud.caller("ada", KNOWN["a wrong password of a user"])
    assert (await cloud.ask(stranger, "GET", "/volumes")).status_code == 401
    nonsense = b"{" + KNOWN["a user's password"].encode()
    broken = await root.post(f"{cloud.volume_url}/volumes", content=nonsense)
    assert broken.status_code == 400
    for client in (root, ada, bob, stranger):
        await client.aclose()


def test_no_log_has_one(cloud: Cloud) -> None:
    logs = "".join(log.read_text() for log in cloud.home.glob("*.log"))
    assert "locked" in logs  # the backend whose password is wrong has been tried
    assert cloud.found_in(logs) == set()


def test_no_table_has_one_but_where_it_must_be(cloud: Cloud) -> None:
    store = Store(str(cloud.settings["database"]), threads=1)
    found: dict[tuple[str, str], set[str]] = {}
    try:
        with store.engine.connect() as connection:
            tables = sa.MetaData()
            tables.reflect(connection)
            for table in tables.sorted_tables:
                for row in connection.execute(sa.select(table)):
                    for column, value in row._mapping.items():
                        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
                        if names := cloud.found_in(text):
                            found.setdefault((table.name, column), set()).update(names)
    finally:
        store.close()
    assert found == {("attachments", "connection_info"): {"a CHAP secret"}}
    assert set(found) == set(MAY_STAND)


def test_no_command_line_has_one(cloud: Cloud) -> None:
    for name, process in cloud.processes.items():
        line = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert cloud.found_in(line) == set(), name


def test_no_file_that_others_may_read_has_one(cloud: Cloud) -> None:
    for path in cloud.data.rglob("*"):
        if path.is_file() and path.stat().st_mode & (stat.S_IROTH | stat.S_IRGRP):
            assert cloud.found_in(path.read_bytes().decode("latin-1")) == set(), path


@pytest.mark.parametrize("name", ["bob", "rita"])
async def test_nobody_else_is_told_one(cloud: Cloud, name: str) -> None:
    async with cloud.caller(name) as who:
        for path in (*LISTS, *(f"operations?resource_id={one}" for one in cloud.volumes)):
            reply = await cloud.ask(who, "GET", f"/{path}")
            may = {"a CHAP secret"} if (name, path) == ("rita", "attachments/detail") else set()
            assert cloud.found_in(reply.text) <= may, path


async def test_operators_commands_print_none(cloud: Cloud) -> None:
    async with cloud.caller("root") as root:
        for volume in cloud.volumes:
            listed = await cloud.ask(root, "GET", f"/operations?resource_id={volume}")
            assert listed.json()["operations"] and cloud.found_in(listed.text) == set()
    shown = [cloud.command("trace", volume) for volume in cloud.volumes]
    shown += [cloud.command(*words) for words in (("config",), ("doctor", "--json"))]
    shown.append(cloud.command("database", "status", "--json"))
    for text in shown:
        assert text.strip() and cloud.found_in(text) == set()
    everything = cloud.found_in(cloud.command("config", "--secrets"))
    assert {"the database's password", "the key of CHAP secrets"} <= everything


async def test_what_is_away_is_named_without_its_password(cloud: Cloud) -> None:
    """A database and a broker that cannot be reached, by commands and a process that waits."""
    password, own = KNOWN["the database's password"], KNOWN["the broker's password"]
    database = f"postgresql+psycopg://breezeblock:{password}@127.0.0.1:1/none"
    broker = f"amqp://breezeblock:{own}@127.0.0.1:1/"
    away = {"BREEZEBLOCK_DATABASE": database, "BREEZEBLOCK_COMPUTE__DATABASE": database}
    for words in (("trace", "req-1"), ("doctor", "--json"), ("database", "upgrade"), ("config",)):
        said = cloud.command(*words, **away)
        assert said.strip() and cloud.found_in(said) == set(), words
    cloud.launch("waiting", ("scheduler",), **away, BREEZEBLOCK_BUS=broker)
    log = cloud.home / "waiting.log"
    async with asyncio.timeout(60):
        while not re.search("waiting|away|refused", log.read_text()):
            await asyncio.sleep(0.1)
    cloud.kill("waiting")
    assert cloud.found_in(log.read_text()) == set()
