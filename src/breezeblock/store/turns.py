"""How a thread runs transactions, one turn after the other, and what becomes of those that fail.

On SQLite the one thread that writes takes all that wait, runs each in a savepoint and commits them
together. On PostgreSQL each thread runs its own; one that did nothing yet, as its connection was
lost while nobody used it, or that clashed with another, runs again. A database that is away is told
in words of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from breezeblock.model.errors import Unavailable
from breezeblock.store.links import Link
from breezeblock.store.sqlite import BriefLink, SqliteLink
from breezeblock.store.threads import Job, Keeper
from breezeblock.store.transactions import ReadTx, WriteTx
from breezeblock.telemetry import metrics

T = TypeVar("T")


class StoreUnavailable(Unavailable):
    """The database is away. What was not answered did not happen, or is found by its state.

    Clients read the message. The driver's reason names users and hosts: that is for operators.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def in_full(self) -> str:
        """The message with the reason, in one line: for logs, machines, and the command line."""
        return f"{self} ({self.reason})" if self.reason else str(self)


def read(keeper: Keeper, jobs: list[Job]) -> None:
    """A turn of a thread that reads."""
    for job in jobs:
        try:
            job.done(_read_one(keeper, job))
        except BaseException as error:
            job.failed(translated(error))


def _read_one(keeper: Keeper, job: Job) -> Any:
    while True:
        link, fresh = keeper.link()
        try:
            link.begin_read()
            return job.run(ReadTx(link))
        except DBAPIError as error:
            if fresh or not _was_gone(link, error):
                raise
        finally:
            link.give_up()


class NotBriefError(Exception):
    """The read is one for a thread of its own."""


class BriefReads:
    """Reads on the event loop's thread: SQLite finds a row in less time than a hop takes."""

    def __init__(self, open_link: Callable[[type[SqliteLink]], Link]) -> None:
        self._keeper = Keeper(lambda: open_link(BriefLink))
        self._thread: int | None = None

    def read(self, fn: Callable[[ReadTx], T]) -> T:
        """Raises NotBriefError when a thread has to do it."""
        if self._thread is None:
            self._thread = get_ident()
        elif self._thread != get_ident():
            raise NotBriefError
        try:
            return self._read(fn)
        except DBAPIError as error:
            if BriefLink.was_refused(error):
                raise NotBriefError from None
            raise translated(error) from error

    def _read(self, fn: Callable[[ReadTx], T]) -> T:
        link, _ = self._keeper.link()
        try:
            link.begin_read()
            return fn(ReadTx(link))
        finally:
            link.give_up()

    def close(self) -> None:
        self._keeper.close()


_Result = tuple[Any, WriteTx]
"""What the function returned, and what it asked to be done after the commit."""

_TRIES = 4


def write_side_by_side(keeper: Keeper, jobs: list[Job]) -> None:
    """A turn of one of the threads that write to PostgreSQL."""
    for job in jobs:
        try:
            job.done(_write_one(keeper, job))
        except BaseException as error:
            job.failed(translated(error))


def _write_one(keeper: Keeper, job: Job) -> _Result:
    for left in reversed(range(_TRIES)):
        link, _ = keeper.link()
        try:
            link.begin_write()
            tx = WriteTx(link)
            result = job.run(tx)
            link.commit()
            return result, tx
        except DBAPIError as error:
            # A deadlock victim or a serialisation failure did nothing; the function reads all it
            # needs inside, so running it again is the whole cure.
            clashed = getattr(error.orig, "sqlstate", None) in ("40001", "40P01")
            if not left or not (clashed or _was_gone(link, error)):
                raise
            if clashed:
                metrics.transaction_retries.inc()
        finally:
            link.give_up()
    raise AssertionError("unreachable")


def _was_gone(link: Link, error: DBAPIError) -> bool:
    """Whether the connection was lost while nobody used it: nothing was done on it yet."""
    return bool(error.connection_invalidated) and not link.answered


TOGETHER = 64
"""How many transactions SQLite commits with one flush to the disk."""


def write_together(keeper: Keeper, jobs: list[Job]) -> None:
    """A turn of the one thread that writes to SQLite."""
    try:
        outcomes = _committed(keeper, jobs)
    except BaseException as error:
        for job in jobs:
            job.failed(translated(error))
        return
    # Refusals, too, are told only now: they may follow from what a neighbour in the batch has
    # written, and whoever hears of one will look for that.
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            job.failed(translated(outcome))
        else:
            job.done(outcome)


def _committed(keeper: Keeper, jobs: list[Job]) -> list[_Result | BaseException]:
    alone = len(jobs) == 1
    link, _ = keeper.link()
    try:
        link.begin_write()
        outcomes = [_run_one(link, job, alone=alone) for job in jobs]
        link.commit()
        return outcomes
    finally:
        link.give_up()


def _run_one(link: Link, job: Job, *, alone: bool) -> _Result | BaseException:
    """Run a function in a savepoint; one that is alone in its transaction needs none."""
    tx = WriteTx(link)
    if alone:
        return job.run(tx), tx
    link.savepoint()
    try:
        result = job.run(tx)
    except BaseException as error:
        link.roll_back()
        return error
    link.release()
    return result, tx


def translated(error: BaseException) -> BaseException:
    """A lost database becomes StoreUnavailable; everything else stays what it is."""
    if isinstance(error, DBAPIError) and (away := _away(error)) is not None:
        away.__cause__ = error
        return away
    return error


def _away(error: DBAPIError) -> StoreUnavailable | None:
    lost = error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    state = getattr(error.orig, "sqlstate", None)
    if lost and state not in ("40001", "40P01"):
        return StoreUnavailable("The database is not reachable at the moment.", _reason(error))
    if state is not None and state[:2] in ("57", "08", "53"):
        return StoreUnavailable("The database is not ready at the moment.", _reason(error))
    return None


def _reason(error: DBAPIError) -> str:
    """What the driver says, in one line; it never repeats a password."""
    return " ".join(str(error.orig).split())
