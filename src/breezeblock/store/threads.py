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
        if isinstance(error, StopIteration):  # no future takes it
            told, error = error, RuntimeError("it ended with StopIteration")
            error.__cause__ = told
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
    """Threads that do jobs. There are as many as have ever been needed at once, up to a bound.

    Who has become idle last is given work first: at quiet times it is always the same thread, and
    the same session of the database, which then has at hand what the next job needs, too.
    """

    def __init__(
        self,
        name: str,
        most: int,
        open_link: Callable[[], Link],
        turn: Turn,
        *,
        together: int = 1,
    ) -> None:
        self._name = name
        self._most = most
        self._open = open_link
        self._turn = turn
        self._together = together
        self._lock = threading.Lock()
        self._idle: list[_Inbox] = []
        self._backlog: deque[Job] = deque()
        self._threads: list[tuple[threading.Thread, _Inbox]] = []

    def submit(self, job: Job) -> None:
        with self._lock:
            if self._idle:
                inbox = self._idle.pop()
            elif len(self._threads) < self._most:
                inbox = self._hire()
            else:
                self._backlog.append(job)
                return
        inbox.put(job)

    def close(self) -> None:
        """Do what was asked for, then end."""
        for _, inbox in self._threads:
            inbox.put(None)
        for thread, _ in self._threads:
            thread.join(timeout=10)

    def _hire(self) -> _Inbox:
        inbox: _Inbox = queue.SimpleQueue()
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._serve, args=(inbox,), name=name, daemon=True)
        self._threads.append((thread, inbox))
        thread.start()
        return inbox

    def _serve(self, inbox: _Inbox) -> None:
        keeper = Keeper(self._open)
        while (job := inbox.get()) is not None:
            jobs = [job]
            while jobs:
                self._do(keeper, jobs)
                jobs = self._next(inbox)
            del job  # while it waits, a thread holds nothing of what is over
        keeper.close()

    def _do(self, keeper: Keeper, jobs: list[Job]) -> None:
        try:
            if wanted := [job for job in jobs if not job.unwanted]:
                self._turn(keeper, wanted)
        except BaseException as error:
            for job in jobs:
                job.failed(error)

    def _next(self, inbox: _Inbox) -> list[Job]:
        """What has come meanwhile; when nothing has, this thread is idle."""
        with self._lock:
            count = min(len(self._backlog), self._together)
            if not count:
                self._idle.append(inbox)
            return [self._backlog.popleft() for _ in range(count)]


_Inbox = queue.SimpleQueue[Job | None]
