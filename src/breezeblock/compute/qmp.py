"""QEMU's monitor protocol, in the few words that we need; the only file that knows `qemu.qmp`.

`qemu` and `qemu_disks` open a connection for each piece of work and close it after. QEMU serves one
client at a time, so two processes (an agent and its successor) take turns instead of locking each
other out, and no connection has to be watched while nothing happens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError

from breezeblock.compute.hypervisor import HostError

# It reports each lost connection as an error, which it is not here: guests end. What matters is in
# the exceptions.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

CONNECT_TIMEOUT = 10.0
COMMAND_TIMEOUT = 30.0


class Refused(Exception):
    """QEMU understood the command and said no."""

    def __init__(self, command: str, error_class: str, text: str) -> None:
        super().__init__(f"{command}: {text}")
        self.error_class = error_class
        self.text = text


class Events:
    """The events of the listened-to kinds since listening began."""

    def __init__(self, listener: EventListener) -> None:
        self._listener = listener

    async def seen(self, patience: float, **data: object) -> bool:
        """Wait at most `patience` seconds for an event whose data has these values."""
        try:
            async with asyncio.timeout(patience):
                while True:
                    event = await self._listener.get()
                    shown = event.get("data") or {}
                    if isinstance(shown, dict) and data.items() <= shown.items():
                        return True
        except TimeoutError:
            return False


class Monitor:
    """An open connection to one QEMU."""

    def __init__(self, client: QMPClient) -> None:
        self._client = client

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command; underscores in the arguments' names become hyphens.

        Refused when QEMU says no; a temporary HostError when QEMU dies or does not answer (it may
        be waiting for storage that is away).
        """
        wire = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT):
                return await self._client.execute(command, wire)
        except ExecuteError as error:
            raise Refused(command, error.error_class, str(error)) from None
        except TimeoutError:
            raise HostError(
                f"The guest's QEMU did not answer {command} within {COMMAND_TIMEOUT:.0f} s.",
                remedy="Its storage may be away: see that the volume's export is up.",
                temporary=True,
            ) from None
        except QMPError as error:
            raise HostError(f"The guest's QEMU went away: {error}", temporary=True) from error

    @contextmanager
    def events(self, *names: str) -> Iterator[Events]:
        """Collect events from now on."""
        with self._client.listener(names) as listener:
            yield Events(listener)


@asynccontextmanager
async def monitor(socket: Path) -> AsyncIterator[Monitor]:
    """Connect to the QEMU behind a unix socket; a temporary HostError when none answers."""
    client = QMPClient()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await client.connect(str(socket))
    except (TimeoutError, OSError, QMPError) as error:
        raise HostError(
            f"The guest's QEMU does not answer on {socket}: {error or 'busy'}",
            remedy="Another program may hold its monitor.",
            temporary=True,
        ) from error
    try:
        yield Monitor(client)
    finally:
        await _leave(client)


async def answers(socket: Path) -> bool:
    """Whether a QEMU serves its monitor: its command line has been carried out to the end."""
    try:
        async with monitor(socket):
            return True
    except HostError:
        return False


async def _leave(client: QMPClient) -> None:
    """Disconnect. A QEMU that died meanwhile shows here again, and has been reported already."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await client.disconnect()
    except (TimeoutError, EOFError, OSError, QMPError):
        return
