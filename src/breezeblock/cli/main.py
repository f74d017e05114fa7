"""The command `breezeblock`. Each command is a file of its own; this one only gathers them."""

from __future__ import annotations

import os
import select
import signal
import sys

import cyclopts

from breezeblock import __version__
from breezeblock.cli import (
    config,
    database,
    demo,
    doctor,
    ontapsim,
    operations,
    password,
    policy,
    run,
)
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
app.command(database.app)
app.command(password.password)
app.command(policy.policy)
app.command(ontapsim.ontapsim)


def main() -> None:
    """The entry point; a configuration error is one line and exit code 2.

    Who reads our output may stop (`breezeblock config | head -1`): then we end without a word.
    """
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except ConfigError as error:
        print(f"breezeblock: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        if not _nobody_reads():
            raise  # another connection broke: that is no reader who has seen enough
        # What is still buffered is written at the interpreter's end, and must not fail then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _nobody_reads() -> bool:
    """Whether our output is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
