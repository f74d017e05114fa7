"""The local driver: how long its calls take, and what NBD costs against the file itself.

    .venv/bin/python bench/exports.py [--directory DIR] [--rounds N] [--requests N]

Prints the median of each call, and requests a second over a unix socket and over TCP with TLS as
ratios to the same work on the local file (4 KiB, 16 in flight). Needs QEMU's tools.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from breezeblock.drivers.base import BackendConfig, Snapshot, Volume
from breezeblock.drivers.local import LocalDriver

CONNECTOR = {"host": "bench", "ip": "127.0.0.1"}
FILLED = 256 << 20
IN_FLIGHT = 16
LISTEN = {"unix": "unix", "tcp": "tcp://127.0.0.1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, help="where to work; default: a temporary one")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=8000)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=told.directory) as root:
        for transport, listen in LISTEN.items():
            config = BackendConfig("bench", "here", Path(root, transport), {"nbd_listen": listen})
            driver = LocalDriver(config)
            driver.setup()
            try:
                calls(driver, transport, told.rounds)
                throughput(driver, transport, Path(root), told.requests)
            finally:
                driver.stop_all()


def calls(driver: LocalDriver, transport: str, rounds: int) -> None:
    """The life of a volume, so many times: milliseconds of each call."""
    taken: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[..., Any], *arguments: Any) -> None:
        begin = time.perf_counter()
        call(*arguments)
        taken.setdefault(name, []).append((time.perf_counter() - begin) * 1000)

    for _ in range(rounds):
        volume, copy, clone = a_volume(), a_volume(), a_volume()
        snapshot = Snapshot(str(uuid.uuid4()), volume.id, 1, "bench")
        timed("create", driver.create, volume, None)
        timed("export", driver.export, volume, CONNECTOR)
        timed("export, second host", driver.export, volume, {**CONNECTOR, "host": "other"})
        timed("snapshot, exported", driver.snapshot, snapshot)
        timed("create from snapshot", driver.create, copy, snapshot)
        timed("clone, exported", driver.create, clone, volume)
        timed("extend, exported", driver.extend, volume, 2)
        timed("unexport, one of two", driver.unexport, volume, "other")
        timed("unexport, the last", driver.unexport, volume, "bench")
        timed("delete snapshot", driver.delete_snapshot, snapshot)
        for one in (volume, copy, clone):
            timed("delete", driver.delete, one)
    for name, values in taken.items():
        print(
            f"{transport:5} {name:22} {statistics.median(values):7.1f} ms (max {max(values):.1f})"
        )


def throughput(driver: LocalDriver, transport: str, root: Path, requests: int) -> None:
    """Requests a second against the file: a volume of its own, and one that shares content."""
    plain = root / "plain.raw"
    subprocess.run(["qemu-img", "create", "-q", plain, "1G"], check=True)
    with_io(["-f", "raw", str(plain)], [f"write -q 0 {FILLED}"])
    own, source, copy = a_volume(), a_volume(), a_volume()
    for volume in (own, source):
        driver.create(volume, None)
        with_io(reach(driver, root, volume), [f"write -q 0 {FILLED}"])
    driver.create(copy, source)
    for name, volume in (("own file", own), ("copy", copy)):
        arguments = reach(driver, root, volume)
        for kind in ("read", "write"):
            remote = per_second(arguments, kind, requests)
            local = per_second(["-f", "raw", str(plain)], kind, requests)
            print(
                f"{transport:5} {name + ', ' + kind:22} {remote:7.0f} a second,"
                f" {remote / local:.2f} of a file's {local:.0f}"
            )


def per_second(arguments: list[str], kind: str, requests: int) -> float:
    """4 KiB requests, 16 in flight, spread over the filled part; connecting is not counted."""
    commands = []
    for number in range(requests):
        commands.append(f"aio_{kind} -q {number * 7919 * 4096 % FILLED} 4096")
        if number % IN_FLIGHT == IN_FLIGHT - 1:
            commands.append("aio_flush")
    return requests / (with_io(arguments, commands) - with_io(arguments, ["aio_flush"]))


def with_io(arguments: list[str], commands: list[str]) -> float:
    """Run qemu-io; returns the seconds it took."""
    told = [word for command in commands for word in ("-c", command)]
    begin = time.perf_counter()
    subprocess.run(["qemu-io", "-t", "writeback", *arguments, *told], check=True)
    return time.perf_counter() - begin


def reach(driver: LocalDriver, root: Path, volume: Volume) -> list[str]:
    """Export the volume; returns qemu-io's arguments for it."""
    data = driver.export(volume, CONNECTOR).data
    node: dict[str, Any] = {"driver": "nbd", "export": data["export"]}
    if data["transport"] == "unix":
        node["server"] = {"type": "unix", "path": data["path"]}
        return [f"json:{json.dumps(node)}"]
    node["server"] = {"type": "inet", "host": data["host"], "port": str(data["port"])}
    node["tls-creds"] = "keys"
    keys = root / volume.id
    keys.mkdir(exist_ok=True)
    (keys / "keys.psk").write_text(f"{data['tls_psk_username']}:{data['tls_psk_key']}\n")
    told = f"tls-creds-psk,id=keys,dir={keys},endpoint=client,username=bench"
    return ["--object", told, f"json:{json.dumps(node)}"]


def a_volume() -> Volume:
    return Volume(str(uuid.uuid4()), 1, "bench")


if __name__ == "__main__":
    main()
