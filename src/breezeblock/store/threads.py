"""Threads on which transactions run, and how their outcomes come back to the event loop.

A hop from the event loop to a thread and back costs more than a statement: so a thread keeps its
link with the database, is woken by the queue alone, and outcomes that are ready at the same time
are brought to the loop by one call.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from breezeblock.store.links import Link


class Mailbox:
    """Brings outcomes from any thread to those who wait for them on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._outcomes: deque[tuple[Job, Any, BaseException | None]] = deque()
        self._on_its_way = False

    def put(self, job: Job, result: Any, error: BaseException | None) -> None:
        self._outcomes.append((job, result, error))
        if not self._on_its_way:
            self._on_its_way = True
            try:
                self.loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                """The loop has ended: nobody waits."""

    def _deliver(self) -> None:
        self._on_its_way = False  # whatever is put from here on is found below, or calls again
        while self._outcomes:
            job, result, error = self._outcomes.popleft()
            if job.future.done():
                continue  # whoever waited has gone
            if error is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(error)


class Job:
    """Something to be done with a link, as part of the request or operation that asks for it."""

    __slots__ = ("_context", "_fn", "_mailbox", "future")

    def __init__(self, fn: Callable[[Any], Any], mailbox: Mailbox) -> None:
        self._fn = fn
        self._context: Context = copy_context()
        self._mailbox = mailbox
        self.future: asyncio.Future[Any] = mailbox.loop.create_future()

    @property
    def unwanted(self) -> bool:
        """A caller who was cancelled while he waited wants nothing any more."""
        return self.future.cancelled()

    def run(self, tx: Any) -> Any:
        return self._context.run(self._fn, tx)

    def done(self, result: Any) -> None:
        self._mailbox.put(self, result, None)

    def failed(self, error: BaseException) -> None:
        self._mailbox.put(self, None, error)


class Keeper:
    """A thread's link: opened when it is needed, and anew when it was lost."""

    def __init__(self, open_link: Callable[[], Link]) -> None:
        self._open = open_link
        self._link: Link | None = None

    def link(self) -> tuple[Link, bool]:
        """The link, and whether it has just been opened. Raises DBAPIError."""
        if self._link is not None:
            if self._link.usable():
                return self._link, False
            self.close()
        self._link = self._open()
        return self._link, True

    def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


Turn = Callable[[Keeper, list[Job]], None]
"""Does jobs, and says of each how it went."""


class Workers:
    """Threads that do jobs, each a few at a time; there are as many as there is work for."""

    def __init__(
        self,
        name: str,
        threads: int,
        open_link: Callable[[], Link],
        turn: Turn,
        *,
        together: int = 1,
    ) -> None:
        self._name = name
        self._most = threads
        self._open = open_link
        self._turn = turn
        self._together = together
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._under_way = 0

    def submit(self, job: Job) -> None:
        with self._lock:
            self._under_way += 1
            more = len(self._threads) < min(self._under_way, self._most)
            if more:
                name = f"{self._name}-{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
        self._jobs.put(job)
        if more:
            thread.start()

    def close(self) -> None:
        """Do what was asked for, then end."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout=10)

    def _serve(self) -> None:
        keeper = Keeper(self._open)
        while (job := self._jobs.get()) is not None:
            jobs = [job, *self._more()]
            try:
                self._turn(keeper, [one for one in jobs if not one.unwanted])
            except BaseException as error:
                for one in jobs:
                    one.failed(error)
            with self._lock:
                self._under_way -= len(jobs)
            del job, jobs  # while it waits, a thread holds nothing of what is over
        keeper.close()

    def _more(self) -> list[Job]:
        """Those that wait already."""
        jobs: list[Job] = []
        while len(jobs) + 1 < self._together:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            jobs.append(job)
        return jobs
