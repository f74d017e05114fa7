"""`breezeblock ontapsim`: a simulated NetApp ONTAP array."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from pathlib import Path

from breezeblock.ontapsim import seed as seeds
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.iscsi import IscsiDataPlane
from breezeblock.ontapsim.iscsi.tgt import TgtError
from breezeblock.ontapsim.nfs import NfsDataPlane
from breezeblock.ontapsim.server import Simulator, serve
from breezeblock.ontapsim.sockets import bind
from breezeblock.ontapsim.ssh_console import NoConsoleError, serve_console
from breezeblock.ontapsim.tls import certificate


def ontapsim(
    *,
    data: Path,
    seed: Path = seeds.EXAMPLE,
    listen: str = "127.8.0.1:443",
    tls: bool = True,
    ssh: str | None = None,
) -> None:
    """Be a NetApp ONTAP array: its REST API here, its LUNs and files at the seed's addresses.

    Parameters
    ----------
    data
        Directory for the array's state and LUNs; kept from one start to the next.
    seed
        What the array has when it is new: nodes, aggregates, SVMs, accounts (TOML or JSON).
    listen
        Address and port of the REST API.
    tls
        HTTPS, with a certificate that is made here; or plain HTTP.
    ssh
        Address and port of a console that sets CHAP secrets. Needs paramiko.
    """
    rest = _address(listen)
    console = _address(ssh) if ssh is not None else None
    try:
        asyncio.run(_run(data.absolute(), seeds.load(seed), rest, tls, console))
    except (seeds.SeedError, OSError, NoConsoleError, TgtError, sqlite3.Error) as error:
        raise _end(" ".join(str(error).split())) from None


def _end(text: str) -> SystemExit:
    """One line, and the status to end with."""
    print(f"breezeblock: {text}", file=sys.stderr)
    return SystemExit(2)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port[:6]) > 65535:
        raise _end(f"{text!r} is not an address such as 127.8.0.1:443")
    return host.strip("[]"), int(port)


async def _run(
    data: Path,
    seed: seeds.Seed,
    rest: tuple[str, int],
    tls: bool,
    console: tuple[str, int] | None,
) -> None:
    host, port = rest
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    seeds.check_addresses(seed)
    bound = bind(host, port)
    array = Array(data, seed, IscsiDataPlane(data / "iscsi"), NfsDataPlane(data / "nfs"))
    try:
        await asyncio.to_thread(array.start)
        files = certificate(data, host) if tls else None

        def ready(port: int) -> None:
            trust = f", certificate {files[0]}" if files else ""
            url = f"http{'s' if tls else ''}://{host}:{port}"
            print(f"ontapsim: {url}/api, data {data}{trust}", flush=True)

        paths = (str(files[0]), str(files[1])) if files else None
        simulator = Simulator(array)
        with serve_console(simulator.dispatcher, data, console):
            await serve(simulator, bound, paths, ready, stop)
    finally:
        await asyncio.to_thread(array.stop)
