"""The engines keep what their users build on: data survive a kill, nothing survives the tests."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.engines import postgres as postgres_module
from tests.engines import rabbitmq as rabbitmq_module
from tests.engines.postgres import Postgres
from tests.engines.process import EngineMissing
from tests.engines.rabbitmq import RabbitMQ

STARTS_FROM_A_THREAD_THAT_ENDS = """
import sys, threading, time
from tests.engines.postgres import Postgres

server = Postgres()
thread = threading.Thread(target=server.start)
thread.start()
thread.join()
print(server.port, flush=True)
time.sleep(60)
"""


def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True, connect_timeout=2)


def test_a_database_keeps_what_was_committed_before_a_kill(postgres: Postgres) -> None:
    url = postgres.create_database("kept")
    with connect(url) as session:
        session.execute("CREATE TABLE facts (fact text)")
        session.execute("INSERT INTO facts VALUES ('kept')")

    postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        connect(url)
    postgres.start()

    with connect(url) as session:
        assert session.execute("SELECT fact FROM facts").fetchall() == [("kept",)]


def test_a_paused_server_does_not_answer_until_it_is_resumed(postgres: Postgres) -> None:
    postgres.pause()
    try:
        with pytest.raises(psycopg.OperationalError):
            connect(postgres.url)
    finally:
        postgres.resume()
    connect(postgres.url).close()


def test_a_server_dies_with_the_process_that_started_it_and_not_with_a_thread() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", STARTS_FROM_A_THREAD_THAT_ENDS]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        url = f"postgresql://postgres@127.0.0.1:{int(owner.stdout.readline())}/postgres"
        connect(url).close()
        owner.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 30
    with pytest.raises(psycopg.OperationalError):
        while time.monotonic() < deadline:
            connect(url).close()
            time.sleep(0.05)


def test_a_missing_server_is_named_by_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgres_module, "RELEASES", tmp_path)
    monkeypatch.setattr(rabbitmq_module, "RELEASES", tmp_path)
    with pytest.raises(EngineMissing, match="postgresql-15"):
        Postgres()
    with pytest.raises(EngineMissing, match="rabbitmq-server"):
        RabbitMQ()
