"""The units of deploy/systemd under a real systemd, with RabbitMQ and PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.deployment import PATIENCE
from tests.e2e.machine import DEPLOY, Machine
from tests.engines.postgres import Postgres
from tests.engines.process import free_port
from tests.engines.rabbitmq import RabbitMQ

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

UNITS = tuple(sorted(path.name for path in DEPLOY.glob("*.service")))


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def machine(postgres: Postgres, rabbitmq: RabbitMQ, ports: tuple[int, int]) -> Iterator[Machine]:
    made = Machine()
    made.file(
        "breezeblock.toml",
        f'data = "/var/lib/breezeblock"\nhost = "machine"\nreport_interval = 1.0\n'
        f"[api]\nport = {ports[0]}\n[compute]\nport = {ports[1]}\n",
    )
    made.file("credentials/database", postgres.create_database("systemd") + "\n")
    made.file("credentials/bus", rabbitmq.url + "\n")
    for unit in UNITS:
        made.enable(unit, "breezeblock.target")
    made.enable("breezeblock.target", "multi-user.target")
    # A loop that stands still is found sooner than an operator wants it.
    made.configure("breezeblock-scheduler.service.d", "WatchdogSec=5", "TimeoutAbortSec=1")
    try:
        made.boot()
        yield made
    finally:
        made.remove()


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for path in (*DEPLOY.glob("*.service"), *DEPLOY.glob("*.target")):
        text = path.read_text()
        assert "/opt/breezeblock/bin/breezeblock" in text or path.suffix == ".target"
        (tmp_path / path.name).write_text(
            text.replace("/opt/breezeblock/bin/breezeblock", "/bin/true")
        )
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_booted_the_whole_cloud_serves(machine: Machine, ports: tuple[int, int]) -> None:
    for unit in UNITS:
        assert machine.show(unit, "ActiveState") == "active", f"{unit}\n{machine.log()}"
        assert machine.show(unit, "StatusText").startswith("Serves: ")
    url = f"http://127.0.0.1:{ports[0]}/v3"
    with httpx2.Client(headers={"X-Auth-Token": "admin:admin"}, timeout=PATIENCE) as client:
        made = client.post(f"{url}/volumes", json={"volume": {"size": 1}}).json()["volume"]
        deadline = time.monotonic() + PATIENCE
        while (volume := client.get(f"{url}/volumes/{made['id']}").json()["volume"])[
            "status"
        ] == "creating":
            assert time.monotonic() < deadline, machine.log()
            time.sleep(0.1)
        assert volume["status"] == "available"
    process = Path("/proc", str(machine.pid("breezeblock-api.service")))
    assert process.stat().st_uid != 0
    assert "postgresql" not in (process / "environ").read_text()


def test_a_process_that_stands_still_is_started_again(machine: Machine) -> None:
    unit = "breezeblock-scheduler.service"
    before = machine.pid(unit)
    os.kill(before, signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE
    while machine.show(unit, "NRestarts") != "1" or machine.show(unit, "ActiveState") != "active":
        assert time.monotonic() < deadline, machine.log()
        time.sleep(0.2)
    assert machine.pid(unit) != before


def test_stopped_by_the_target_all_end_well(machine: Machine) -> None:
    assert machine.systemctl("stop", "breezeblock.target", *UNITS).returncode == 0
    for unit in UNITS:
        states = (machine.show(unit, "ActiveState"), machine.show(unit, "Result"))
        assert states == ("inactive", "success"), f"{unit}\n{machine.log()}"
