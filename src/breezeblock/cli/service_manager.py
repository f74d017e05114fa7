"""What systemd is told of a process: that it serves, that it lives, that it stops (sd_notify(3)).

Without a service manager nothing is told to anybody. Signs of life come from the event loop, so
that a process whose loop stands still is ended and started again by systemd (`WatchdogSec=`).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

import structlog

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """Where to tell it, if anywhere, and how often it wants a sign of life, if at all."""

    address: str = ""
    seconds: float | None = None

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Take what systemd says out of the environment: it is for us, not for our children."""
        address = environment.pop("NOTIFY_SOCKET", "")
        wanted = _watchdog_seconds(environment)
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            environment.pop(name, None)
        return cls(address, wanted)

    def tell(self, *lines: str) -> None:
        """One that cannot be told acts as if we were silent, which is all that can be done."""
        if not self.address:
            return
        # A leading @ stands for the zero byte of an abstract socket.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.connect(address)
                manager.sendall("\n".join(lines).encode())
        except OSError as error:
            log.warning("service manager not told", lines=lines, error=str(error))

    async def give_signs_of_life(self) -> None:
        """For ever, twice as often as it wants them; not at all when it wants none."""
        while self.seconds is not None:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self.seconds / 2)


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # another process is watched
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() else None
