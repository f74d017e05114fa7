"""The command `breezeblock`: what a shell, a container or systemd starts.

`run` with plain options begins at once, because a cloud that restarts waits for it: it does without
the modules that print help and progress bars. Everything else goes by `commands.py`.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from breezeblock.cli.run_options import plainly
from breezeblock.config import ConfigError

COLLECT_AFTER = 20_000
"""So many more objects than before are made before the youngest are looked through for cycles; a
request leaves a handful of those behind."""


def app() -> None:
    """Do what the command line says."""
    arguments = sys.argv[1:]
    options = plainly(arguments[1:]) if arguments[:1] == ["run"] else None
    # Most of what a start makes stays: the collector would look at it again and again.
    gc.set_threshold(COLLECT_AFTER)
    if options is None:
        from breezeblock.cli.commands import commands

        if not arguments or arguments[0].startswith("-"):
            commands.resolved_commands()  # whoever asks what there is wants to read of each
        commands()
    else:
        with _doing_without("rich"):
            from breezeblock.cli.run import run
        run(options)


@contextmanager
def _doing_without(package: str) -> Iterator[None]:
    """What is imported here goes without a package that it would use for colours if it could.

    structlog would draw tracebacks with rich: 80 modules, in a process that never does.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


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
