"""Secrets are nowhere but where they must be: all that a full run has written is searched for them.

Two processes and a guest with everything that has a secret: users, database, broker, images, and an
ONTAP array with CHAP. They do what works and what fails, at the level debug; then logs, tables,
command lines, files, metrics, and what other callers are told are searched.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
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
from tests.engines.process import free_port
from tests.engines.rabbitmq import RabbitMQ

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
    "a token that nobody asked for": "TOKEN-MARKER",
    "the array's password": PASSWORD,
    "the SVM's password": SVM_PASSWORD,
}
"""What the test gives in; what the service makes up is added as it is told."""

MAY_STAND = {
    ("attachments", "connection_info"): "the CHAP secret of a host, as long as it is "
    "connected: the API shows it to the owner again, who logs in anew with it after a restart",
}
"""Columns (table, column) that hold a secret in clear, and why."""

REFUSALS = (
    "attachments ADD CONSTRAINT without_info "
    "CHECK (connection_info::text NOT LIKE '%auth_password%') NOT VALID",
    f"volumes ADD CONSTRAINT none_for_root CHECK (project_id <> '{'0' * 32}') NOT VALID",
)
"""What the database is told to refuse: it answers with the row, all its values included."""

USERS = {
    "root": ("0" * 32, "admin"),
    "ada": ("a" * 32, "member"),
    "rita": ("a" * 32, "reader"),
    "bob": ("b" * 32, "member"),
    "compute": ("c" * 32, "admin", "service"),
}
"""Name → project and roles."""

LISTS = (
    *("volumes/detail", "attachments/detail", "volume-transfers/detail", "messages"),
    *("os-services", "scheduler-stats/get_pools?detail=1"),
)


def user(name: str) -> dict[str, Any]:
    project, *roles = USERS[name]
    password = KNOWN["the services' password" if name == "compute" else "a user's password"]
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    return {"name": name, "password": hashed, "project_id": project, "roles": roles}


class Cloud(Deployment):
    """A deployment whose callers have names; `secrets` are all that must not be found."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.secrets = dict(KNOWN)
        self.volumes: list[str] = []
        self.monitors: dict[str, str] = {}
        self.http = self.caller("root")

    def launch(self, name: str, roles: tuple[str, ...], **environment: str) -> None:
        self.monitors[name] = f"127.0.0.1:{free_port()}"
        watched = {"BREEZEBLOCK_MONITORING__LISTEN": self.monitors[name]}
        super().launch(name, roles, **watched, **environment)

    def caller(self, name: str, password: str = KNOWN["a user's password"]) -> httpx2.AsyncClient:
        versions = {"OpenStack-API-Version": "volume 3.71"}
        return httpx2.AsyncClient(auth=(name, password), timeout=60, headers=versions)

    async def ask(
        self, who: httpx2.AsyncClient, method: str, path: str, body: Any = None, **headers: str
    ) -> httpx2.Response:
        return await who.request(method, f"{self.volume_url}{path}", json=body, headers=headers)

    def connected(self) -> Store:
        return Store(str(self.settings["database"]), threads=1)

    def logged(self) -> str:
        return "".join(log.read_text() for log in self.home.glob("*.log"))

    async def command(self, *words: str, **environment: str) -> str:
        """What a command of ours prints, whatever comes of it."""
        process = await asyncio.create_subprocess_exec(
            *(str(BREEZEBLOCK), *words, "--config", str(self._config())),
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return said.decode()

    def found_in(self, text: str) -> set[str]:
        return {name for name, secret in self.secrets.items() if secret in text}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(postgres: Any, rabbitmq: RabbitMQ, ontap_server: Ontap) -> AsyncIterator[Cloud]:
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
            "bus": rabbitmq.url_of("secrets", KNOWN["the broker's password"]),
            "log_level": "debug",
            "auth": {"strategy": "basic", "users": [user(name) for name in USERS]},
            "images": {"token": KNOWN["the image service's token"]},
            "compute": {
                "block_storage_user": "compute",
                "block_storage_password": KNOWN["the services' password"],
            },
            "backends": [
                {"name": "array", "driver": "netapp", "options": array},
                {"name": "locked", "driver": "netapp", "options": wrong},
            ],
        },
        roles=(("api", "scheduler", "volume"), ("compute",)),
    )
    try:
        await made.start()
        await asyncio.gather(full_run(made), with_a_guest(made))
        await while_the_database_refuses(made)
        yield made
    finally:
        await made.stop()


async def full_run(cloud: Cloud) -> None:
    """What users do, well and badly; each secret that an answer tells is noted."""
    root, ada, bob = (cloud.caller(name) for name in ("root", "ada", "bob"))
    key = {"Idempotency-Key": KNOWN["an Idempotency-Key"]}
    other_key = {"Idempotency-Key": f"{KNOWN['an Idempotency-Key']}-2"}
    volumes = cloud.volumes
    for _ in range(3):
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


async def with_a_guest(cloud: Cloud) -> None:
    """A server of root's whose QEMU logs in to the array."""
    server, volume = await asyncio.gather(cloud.create_server("one"), cloud.create_volume())
    await cloud.attach(server, volume["id"])
    await cloud.until_volume_is("in-use", volume["id"])
    [listed] = (await cloud.volume("GET", f"/attachments?instance_id={server}")).json()[
        "attachments"
    ]
    shown = await cloud.volume("GET", f"/attachments/{listed['id']}")
    info = shown.json()["attachment"]["connection_info"]
    cloud.secrets["the guest's CHAP secret"] = info["auth_password"]
    cloud.volumes.append(volume["id"])


async def while_the_database_refuses(cloud: Cloud) -> None:
    """Rows with secrets are refused, to a step and to handlers, whose requests have some, too."""
    root, ada, bob = (cloud.caller(name) for name in ("root", "ada", "bob"))
    offer = {"transfer": {"volume_id": cloud.volumes[1]}}
    reply = await cloud.ask(bob, "POST", "/volume-transfers", offer)
    transfer = reply.json()["transfer"]
    cloud.secrets["another transfer's key"] = transfer["auth_key"]
    taken = {"accept": {"auth_key": transfer["auth_key"]}}
    connector = {"host": "b-host", "ip": "127.0.0.1", "initiator": "iqn.2026-11.test:b-host"}
    wanted = {"attachment": {"volume_uuid": cloud.volumes[2], "connector": connector}}
    header = {"X-Auth-Token": KNOWN["a token that nobody asked for"]}
    store = cloud.connected()
    try:
        await store.write(lambda tx: [tx.run(sa.text(f"ALTER TABLE {one}")) for one in REFUSALS])
        for who, path, body in (
            (root, f"/volume-transfers/{transfer['id']}/accept", taken),
            (ada, "/attachments", wanted),
        ):
            reply = await cloud.ask(who, "POST", path, body, **header)
            assert reply.status_code == 500, reply.text
            assert cloud.found_in(reply.text) == set()
    finally:
        store.close()
    for client in (root, ada, bob):
        await client.aclose()


async def test_no_log_has_one(cloud: Cloud) -> None:
    logs = cloud.logged()
    # What is to be looked for has been logged: a backend's wrong password, and refused rows.
    assert all(word in logs for word in ("locked", "without_info", "none_for_root"))
    assert cloud.found_in(logs) == set() and "Failing row" not in logs


async def test_no_table_has_one_but_where_it_must_be(cloud: Cloud) -> None:
    store = cloud.connected()
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
    assert set(found) == set(MAY_STAND)
    assert found["attachments", "connection_info"] == {"a CHAP secret", "the guest's CHAP secret"}


async def test_no_command_line_has_one(cloud: Cloud) -> None:
    """Neither one of ours nor the guest's QEMU's."""
    ours = command_lines(str(cloud.home))
    assert len(ours) > len(cloud.processes) and any("qemu" in line for line in ours)
    assert cloud.found_in("".join(ours)) == set()


def command_lines(part: str) -> list[str]:
    """Of all processes in whose line the part occurs."""
    lines = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            lines.append(line.read_bytes().decode("latin-1"))
    return [line for line in lines if part in line]


async def test_no_file_has_one(cloud: Cloud) -> None:
    """Not even one that nobody else may read; QEMU's secrets lie in files for a moment only."""
    for path in cloud.data.rglob("*"):
        if path.is_file():
            assert cloud.found_in(path.read_bytes().decode("latin-1")) == set(), path


async def test_no_monitor_tells_one(cloud: Cloud) -> None:
    async with httpx2.AsyncClient() as http:
        for name, address in cloud.monitors.items():
            for path in ("metrics", "ready", "live"):
                said = (await http.get(f"http://{address}/{path}")).text
                assert said and cloud.found_in(said) == set(), (name, path)


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
    asked = [("trace", cloud.volumes[0]), ("trace", cloud.volumes[-1]), ("config",)]
    asked += [("doctor", "--json"), ("database", "status", "--json")]
    *shown, everything = await asyncio.gather(
        *(cloud.command(*words) for words in (*asked, ("config", "--secrets")))
    )
    for text in shown:
        assert text.strip() and cloud.found_in(text) == set()
    assert {"the database's password", "the key of CHAP secrets"} <= cloud.found_in(everything)


async def test_what_is_away_is_named_without_its_password(cloud: Cloud) -> None:
    """A database and a broker that cannot be reached, by commands and a process that waits."""
    password, own = KNOWN["the database's password"], KNOWN["the broker's password"]
    database = f"postgresql+psycopg://breezeblock:{password}@127.0.0.1:1/none"
    broker = f"amqp://breezeblock:{own}@127.0.0.1:1/"
    away = {"BREEZEBLOCK_DATABASE": database, "BREEZEBLOCK_COMPUTE__DATABASE": database}
    cloud.launch("waiting", ("scheduler",), **away, BREEZEBLOCK_BUS=broker)
    asked = (("trace", "req-1"), ("doctor", "--json"), ("database", "upgrade"), ("config",))
    for said in await asyncio.gather(*(cloud.command(*words, **away) for words in asked)):
        assert said.strip() and cloud.found_in(said) == set()
    log = cloud.home / "waiting.log"
    async with asyncio.timeout(60):
        while not re.search("waiting|away|refused", log.read_text()):
            await asyncio.sleep(0.1)
    cloud.kill("waiting")
    assert cloud.found_in(log.read_text()) == set()
