"""Keeps storage daemons alive: one thread a process that serves the backend.

It watches every daemon through a pidfd, so a death is noticed at once; exports made by another
process are found by looking at the directory now and then. Several processes may supervise one
backend: the volume's lock decides who repairs, and the others find it done.
"""

from __future__ import annotations

import os
import select
import threading
import time

import structlog

from breezeblock.exports.nbd import NbdExports

log = structlog.get_logger()

LOOK_EVERY = 0.3
FIRST_PAUSE, LONGEST_PAUSE = 0.3, 10.0
"""Seconds until a daemon that could not be started is tried again; doubled each time."""


class Supervisor:
    """Runs from `start` to `stop`; the daemons run on."""

    def __init__(self, exports: NbdExports) -> None:
        self._exports = exports
        self._watched: dict[int, str] = {}
        self._pauses: dict[str, tuple[float, float]] = {}
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="exports", daemon=True)

    def start(self) -> None:
        """Adopt what runs, restart what does not, then go on watching in the background."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        os.write(self._waker, b"x")
        if self._thread.is_alive():
            self._thread.join()
        for descriptor in (*self._watched, self._wake, self._waker):
            os.close(descriptor)
        self._watched.clear()

    def _run(self) -> None:
        while True:
            poll = select.poll()
            for descriptor in (self._wake, *self._watched):
                poll.register(descriptor, select.POLLIN)
            fired = [descriptor for descriptor, _ in poll.poll(LOOK_EVERY * 1000)]
            if self._wake in fired:
                return
            for descriptor in fired:
                os.close(descriptor)
                del self._watched[descriptor]
            try:
                self._look()
            except OSError as error:
                log.error("exports cannot be watched", error=str(error))

    def _look(self) -> None:
        unwatched = set(self._exports.volumes()) - set(self._watched.values())
        now = time.monotonic()
        for volume_id in sorted(unwatched):
            if self._pauses.get(volume_id, (0.0, 0.0))[0] <= now:
                self._repair(volume_id)
        self._pauses = {one: pause for one, pause in self._pauses.items() if one in unwatched}

    def _repair(self, volume_id: str) -> None:
        """Make the export's intent true, and watch its daemon."""
        try:
            with self._exports.locks.hold(volume_id, patience=0):
                self._exports.follow(volume_id)
                descriptor = self._exports.pidfd(volume_id)
        except TimeoutError:
            return  # somebody works on the volume; whoever is last makes the intent true
        except Exception as error:
            pause = min(2 * self._pauses.get(volume_id, (0, FIRST_PAUSE / 2))[1], LONGEST_PAUSE)
            self._pauses[volume_id] = (time.monotonic() + pause, pause)
            log.error("export is down", volume_id=volume_id, error=str(error), again_in=pause)
            return
        self._pauses.pop(volume_id, None)
        if descriptor is not None:
            self._watched[descriptor] = volume_id
