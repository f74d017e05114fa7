"""TLS to PostgreSQL and RabbitMQ, as their URLs say: who is trusted, who is not, and what is told.

Both servers have a certificate for `localhost`, so 127.0.0.1 is a wrong name for them, and ask for
one of ours.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from breezeblock.bus import open_bus
from breezeblock.store import schema
from breezeblock.store.store import Store, StoreUnavailable
from tests.e2e.deployment import BREEZEBLOCK
from tests.engines.certificates import Authority
from tests.engines.postgres import Postgres
from tests.engines.process import free_port, started
from tests.engines.rabbitmq import RabbitMQ

PATIENCE = 30.0
PASSWORD = "verysecret"  # of no real account


@dataclass(frozen=True)
class Papers:
    """Files of certificates: the authority's, the server's, ours; and those of a stranger."""

    trusted: Path
    strange: Path
    server: tuple[Path, Path]
    ours: tuple[Path, Path]
    of_stranger: tuple[Path, Path]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    authority = Authority(folder, "authority")
    stranger = Authority(tmp_path_factory.mktemp("strange"), "stranger")
    return Papers(
        authority.file,
        stranger.file,
        authority.sign("localhost"),
        authority.sign("breezeblock"),
        stranger.sign("breezeblock"),
    )


class TlsPostgres(Postgres):
    """PostgreSQL whose user `breezeblock` needs TLS, a password and a certificate."""

    def __init__(self, papers: Papers) -> None:
        super().__init__()
        for source, name in zip((*papers.server, papers.trusted), FILES, strict=True):
            shutil.copy(source, self._data / name)
            (self._data / name).chmod(0o600)
            if os.getuid() == 0:
                shutil.chown(self._data / name, "postgres", "postgres")
        rules = self._data / "pg_hba.conf"
        rules.write_text(
            "hostssl all breezeblock all scram-sha-256 clientcert=verify-ca\n"
            "host all breezeblock all reject\n" + rules.read_text()
        )
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write("ssl = on\nssl_ca_file = 'root.crt'\nlisten_addresses = '127.0.0.1'\n")

    def start(self) -> None:
        super().start()
        with psycopg.connect(self._conninfo(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE breezeblock LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE breezeblock OWNER breezeblock")


AWAY = ("waiting for the database", "message broker away")
FILES = ("server.crt", "server.key", "root.crt")


class TlsRabbitMQ(RabbitMQ):
    """RabbitMQ that asks for a certificate on a second port."""

    def __init__(self, papers: Papers) -> None:
        self.tls_port = free_port()
        super().__init__()
        settings = {
            "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
            "ssl_options.cacertfile": papers.trusted,
            "ssl_options.certfile": papers.server[0],
            "ssl_options.keyfile": papers.server[1],
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "true",
        }
        with (self.home / "rabbitmq.conf").open("a") as file:
            file.writelines(f"{key} = {value}\n" for key, value in settings.items())


@pytest.fixture(scope="module")
def database(papers: Papers) -> Iterator[TlsPostgres]:
    with started(TlsPostgres(papers)) as server:
        yield server


@pytest.fixture(scope="module")
def broker(papers: Papers) -> Iterator[TlsRabbitMQ]:
    with started(TlsRabbitMQ(papers)) as server:
        server.control("add_user", "breezeblock", PASSWORD)
        server.control("set_permissions", "breezeblock", ".*", ".*", ".*")
        yield server


def database_url(port: int, ca: Path, ours: tuple[Path, Path], host: str = "localhost") -> str:
    parameters = f"sslmode=verify-full&sslrootcert={ca}&sslcert={ours[0]}&sslkey={ours[1]}"
    return f"postgresql+psycopg://breezeblock:{PASSWORD}@{host}:{port}/breezeblock?{parameters}"


def bus_url(port: int, ca: Path, ours: tuple[Path, Path], host: str = "localhost") -> str:
    parameters = f"cafile={ca}&certfile={ours[0]}&keyfile={ours[1]}"
    return f"amqps://breezeblock:{PASSWORD}@{host}:{port}/?{parameters}"


def refused_by_database(url: str) -> str:
    store = Store(url)
    try:
        with pytest.raises(StoreUnavailable) as refused:
            schema.upgrade(store)
    finally:
        store.close()
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


async def told_by_bus(url: str) -> str:
    """What is logged first of a bus: that it is connected, or why not."""
    bus = open_bus(url)
    with capture_logs() as logs:
        await bus.start()
        async with asyncio.timeout(PATIENCE):
            while not logs:
                await asyncio.sleep(0.01)
        await bus.close()
    assert PASSWORD not in str(logs)
    return f"{logs[0]['event']}: {logs[0].get('reason', '')}"


def test_the_database_is_used_when_both_sides_show_good_papers(
    database: TlsPostgres, papers: Papers
) -> None:
    store = Store(database_url(database.port, papers.trusted, papers.ours))
    try:
        schema.upgrade(store)
        with store.engine.connect() as connection:
            asked = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert connection.exec_driver_sql(asked).scalar_one() == "TLSv1.3"
    finally:
        store.close()


def test_a_database_of_another_authority_is_refused(database: TlsPostgres, papers: Papers) -> None:
    told = refused_by_database(database_url(database.port, papers.strange, papers.ours))
    assert "certificate verify failed" in told


def test_a_database_of_another_name_is_refused(database: TlsPostgres, papers: Papers) -> None:
    url = database_url(database.port, papers.trusted, papers.ours, "127.0.0.1")
    assert 'server certificate for "localhost"' in refused_by_database(url)


def test_a_database_without_tls_is_refused(postgres: Postgres, papers: Papers) -> None:
    told = refused_by_database(database_url(postgres.port, papers.trusted, papers.ours))
    assert "server does not support SSL" in told


def test_a_database_lets_in_nobody_with_strange_papers(
    database: TlsPostgres, papers: Papers
) -> None:
    told = refused_by_database(database_url(database.port, papers.trusted, papers.of_stranger))
    assert "unknown ca" in told


async def test_the_broker_is_used_when_both_sides_show_good_papers(
    broker: TlsRabbitMQ, papers: Papers
) -> None:
    url = bus_url(broker.tls_port, papers.trusted, papers.ours)
    assert "connected" in await told_by_bus(url)


async def test_a_broker_of_another_authority_is_refused(
    broker: TlsRabbitMQ, papers: Papers
) -> None:
    told = await told_by_bus(bus_url(broker.tls_port, papers.strange, papers.ours))
    assert "certificate verify failed" in told


async def test_a_broker_of_another_name_is_refused(broker: TlsRabbitMQ, papers: Papers) -> None:
    url = bus_url(broker.tls_port, papers.trusted, papers.ours, "127.0.0.1")
    told = await told_by_bus(url)
    assert "certificate verify failed" in told
    assert "127.0.0.1" in told


async def test_a_broker_without_tls_is_refused(broker: TlsRabbitMQ, papers: Papers) -> None:
    told = await told_by_bus(bus_url(broker.port, papers.trusted, papers.ours))
    assert "SSL" in told


async def test_a_broker_lets_in_nobody_with_strange_papers(
    broker: TlsRabbitMQ, papers: Papers
) -> None:
    # Whether we hear the alert before the connection is reset is a matter of luck.
    told = await told_by_bus(bus_url(broker.tls_port, papers.trusted, papers.of_stranger))
    assert "message broker away" in told


def test_a_process_says_in_one_line_each_whom_it_does_not_trust(
    database: TlsPostgres, broker: TlsRabbitMQ, papers: Papers, tmp_path: Path
) -> None:
    environment = {
        "BREEZEBLOCK_DATABASE": database_url(database.port, papers.strange, papers.ours),
        "BREEZEBLOCK_BUS": bus_url(broker.tls_port, papers.strange, papers.ours),
    }
    with subprocess.Popen(
        [str(BREEZEBLOCK), "run", "scheduler", "--data", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        assert process.stderr is not None
        found: dict[str, str] = {}
        for line in process.stderr:
            assert PASSWORD not in line
            found |= {event: line for event in AWAY if event in line}
            if len(found) == len(AWAY):
                break
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert all("certificate verify failed" in line for line in found.values()), found
