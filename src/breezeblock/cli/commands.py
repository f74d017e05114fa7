"""The whole command line. Each command is a file of its own, read when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from breezeblock import __version__
from breezeblock.cli.run_options import FILE_VARIABLE, RunOptions

commands = cyclopts.App(
    name="breezeblock",
    help="Block storage for clouds: speaks the OpenStack Block Storage API v3.",
    version=__version__,
)


@commands.command
def run(
    *roles: str,
    data: Path | None = None,
    file: Annotated[Path | None, Parameter(name=["--config"], env_var=FILE_VARIABLE)] = None,
    listen: str | None = None,
    port: int | None = None,
    compute_port: int | None = None,
    log_level: str | None = None,
) -> None:
    """Run the service until SIGTERM or SIGINT; a second one ends it at once.

    Parameters
    ----------
    roles
        api, scheduler, volume, compute (compute-api and compute-agent); none means all.
    data
        Directory for databases, local volumes and guests.
    file
        Configuration file (TOML); `breezeblock config` prints all options.
    listen
        Address of both APIs.
    port
        Port of the block storage API.
    compute_port
        Port of the compute API.
    log_level
        debug, info, warning or error.
    """
    from breezeblock.cli.run import run as serve

    serve(RunOptions(roles, data, file, listen, port, compute_port, log_level))


for name, place in {
    "demo": "demo:demo",
    "config": "config:config",
    "trace": "operations:trace",
    "doctor": "doctor:doctor",
    "database": "database:app",
    "password": "password:password",
    "policy": "policy:policy",
    "ontapsim": "ontapsim:ontapsim",
}.items():
    commands.command(f"breezeblock.cli.{place}", name=name)
