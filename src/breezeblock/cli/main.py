"""The command `breezeblock`. Each command is a file of its own; this one only gathers them."""

from __future__ import annotations

import sys

import cyclopts

from breezeblock import __version__
from breezeblock.cli import config, demo, doctor, operations, password, run
from breezeblock.config import ConfigError

app = cyclopts.App(
    name="breezeblock",
    help="Block storage for clouds: speaks the OpenStack Block Storage API v3.",
    version=__version__,
)
app.command(run.run)
app.command(demo.demo)
app.command(config.config)
app.command(operations.trace)
app.command(doctor.doctor)
app.command(password.password)


def main() -> None:
    """The entry point; a configuration error is one line and exit code 2."""
    try:
        app()
    except ConfigError as error:
        print(f"breezeblock: {error}", file=sys.stderr)
        sys.exit(2)
