"""A connection to a storage daemon's monitor: synchronous, one command at a time.

`storage_daemon` opens one for each piece of work and closes it after. (The compute service speaks
the same protocol to guests with `qemu.qmp`, which is asynchronous; drivers are not.)
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from breezeblock.exports.errors import ExportBusy

ANSWER_WITHIN = 20.0


class CommandRefused(Exception):
    """The daemon understood the command and said no."""


class Silent(ExportBusy):
    """The daemon has said nothing for as long as we had patience."""


class Monitor:
    """An open connection; events that arrive between answers are kept for `event`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unread = b""
        self._events: list[dict[str, Any]] = []
        self._next(time.monotonic() + ANSWER_WITHIN)  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command; underscores in the arguments' names become hyphens.

        Raises CommandRefused; ExportBusy when the daemon is gone or does not answer.
        """
        wire = {name.replace("_", "-"): value for name, value in arguments.items()}
        message = {"execute": command, "arguments": wire} if wire else {"execute": command}
        deadline = time.monotonic() + ANSWER_WITHIN
        try:
            self._connection.sendall(json.dumps(message).encode())
        except OSError as error:
            raise ExportBusy(f"The storage daemon went away: {error}.") from error
        while True:
            answer = self._next(deadline)
            if "event" in answer:
                self._events.append(answer)
            elif "error" in answer:
                raise CommandRefused(f"{command}: {answer['error']['desc']}")
            elif "return" in answer:
                return answer["return"]

    def event(self, name: str, patience: float, **data: Any) -> dict[str, Any] | None:
        """The data of the next event of that name with these values; None when it does not come
        within `patience` seconds. Raises ExportBusy when the daemon is gone."""
        deadline = time.monotonic() + patience
        while True:
            try:
                message = self._events.pop(0) if self._events else self._next(deadline)
            except Silent:
                return None
            shown: dict[str, Any] = message.get("data", {})
            if message.get("event") == name and data.items() <= shown.items():
                return shown

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._unread:
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                received = self._connection.recv(65536)
            except TimeoutError as error:
                raise Silent("The storage daemon does not answer in time.") from error
            except OSError as error:
                raise ExportBusy(f"The storage daemon does not answer: {error}.") from error
            if not received:
                raise ExportBusy("The storage daemon closed the connection.")
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


@contextmanager
def monitor(path: Path) -> Iterator[Monitor]:
    """Connect to the monitor at this socket. Raises ExportBusy when nobody is there."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_WITHIN)
        try:
            connection.connect(str(path))
        except OSError as error:
            raise ExportBusy(f"The storage daemon's monitor cannot be reached: {error}.") from error
        yield Monitor(connection)
