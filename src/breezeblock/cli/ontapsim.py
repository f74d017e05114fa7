"""`breezeblock ontapsim`: a simulated NetApp ONTAP array."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from breezeblock.ontapsim import seed as seeds
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.iscsi import IscsiDataPlane
from breezeblock.ontapsim.nfs import NfsDataPlane
from breezeblock.ontapsim.server import Simulator, serve
from breezeblock.ontapsim.tls import certificate


def ontapsim(
    *,
    data: Path,
    seed: Path = seeds.EXAMPLE,
    listen: str = "127.8.0.1:443",
    tls: bool = True,
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
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        print(f"breezeblock: {listen!r} is not an address such as 127.8.0.1:443", file=sys.stderr)
        raise SystemExit(2)
    try:
        asyncio.run(_run(data.absolute(), seeds.load(seed), host.strip("[]"), int(port), tls))
    except (seeds.SeedError, OSError) as error:
        print(f"breezeblock: {error}", file=sys.stderr)
        raise SystemExit(2) from None


async def _run(data: Path, seed: seeds.Seed, host: str, port: int, tls: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    array = Array(data, seed, IscsiDataPlane(data / "iscsi"), NfsDataPlane(data / "nfs"))
    await asyncio.to_thread(array.start)
    try:
        files = certificate(data, host) if tls else None

        def ready(bound: int) -> None:
            trust = f", certificate {files[0]}" if files else ""
            url = f"http{'s' if tls else ''}://{host}:{bound}"
            print(f"ontapsim: {url}/api, data {data}{trust}", flush=True)

        paths = (str(files[0]), str(files[1])) if files else None
        await serve(Simulator(array), host, port, paths, ready, stop)
    finally:
        await asyncio.to_thread(array.stop)
