"""The journal of one request: what its handler was told, so that it can be told the same again.

A handler is code around transactions: it asks the store (and now and then another service), and
what it does next follows from the answers. With a journal every answer is noted, and each write
puts the notes so far into the row of the request's key, in its own transaction. When the process
dies, another one runs the handler from the beginning: it is told what was noted, so it does nothing
twice, and comes to where the first one died; from there on it works.

A handler may do things at a time (`asyncio.gather`): each task has notes of its own, and tasks are
told apart by who asks first. Its writes are made one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from breezeblock.model.idempotency import Answer, Claim, Entry, Log
from breezeblock.store import idempotency_keys
from breezeblock.store.store import ReadTx, Store, WriteTx
from breezeblock.web import exact

T = TypeVar("T")
Kind = Literal["read", "write", "outside"]


class Diverged(Exception):
    """The handler asks for other things than the one that made the notes: an older version's."""


@dataclass(slots=True)
class _Notes:
    """What one task was told, and how much of it is to be told again."""

    entries: list[Entry] = field(default_factory=list)
    told: int = 0

    @property
    def all_told(self) -> bool:
        return self.told == len(self.entries)

    def next(self, kind: Kind) -> Any:
        """Raises what was raised then, or Diverged."""
        noted, document = self.entries[self.told]
        self.told += 1
        if noted != kind:
            raise Diverged(f"a {kind} where there was a {noted}")
        try:
            result = exact.decode(document)
        except (exact.Inexact, TypeError, KeyError, ValueError) as error:
            raise Diverged(str(error)) from error
        if isinstance(result, Exception):
            raise result
        return result

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.told += 1


class Journal:
    """Stands before the store for one attempt at a request.

    `begun`: something of the request is in the database. Raises exact.Inexact, before anything is
    written, when an answer cannot be noted: the handler was written without a thought of this.
    """

    def __init__(self, store: Store, claim: Claim, log: Log | None = None) -> None:
        self._store = store
        self._claim = claim
        self._notes = [_Notes(entries) for entries in log or ()]
        self._tasks: list[asyncio.Task[Any] | None] = []
        self._writing = asyncio.Lock()
        self._lost: Exception | None = None
        self.begun = log is not None

    async def read(self, fn: Callable[[ReadTx], T]) -> T:
        """As `Store.read`."""
        return await self._told("read", lambda: self._store.read(fn))

    async def outside(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What another service says."""
        return await self._told("outside", ask)

    async def _told(self, kind: Kind, ask: Callable[[], Awaitable[T]]) -> T:
        notes = self._of_this_task()
        if not notes.all_told:
            return notes.next(kind)  # type: ignore[no-any-return]
        try:
            result = await ask()
        except Exception as error:
            self._note_error(notes, kind, error)
            raise
        notes.add([kind, exact.encode(result)])
        return result

    def _note_error(self, notes: _Notes, kind: Kind, error: Exception) -> None:
        """An error that is none of ours ends the request: nothing may be written after it."""
        try:
            notes.add([kind, exact.encode(error)])
        except exact.Inexact:
            self._lost = error

    async def write(self, fn: Callable[[WriteTx], T]) -> T:
        """As `Store.write`. Raises idempotency_keys.Taken when another attempt has the key."""
        notes = self._of_this_task()
        if not notes.all_told:
            return notes.next("write")  # type: ignore[no-any-return]

        def write_and_note(tx: WriteTx) -> tuple[T, Entry]:
            if self._lost is not None:
                raise exact.Inexact("something before this could not be noted") from self._lost
            result = fn(tx)
            entry = ["write", exact.encode(result)]
            log = [
                [*one.entries, entry] if one is notes else list(one.entries) for one in self._notes
            ]
            idempotency_keys.write(tx, self._claim, first=not self.begun, log=log)
            return result, entry

        async with self._writing:
            try:
                result, entry = await self._store.write(write_and_note)
            except (idempotency_keys.Taken, exact.Inexact):
                raise
            except Exception as error:
                self._note_error(notes, "write", error)
                raise
            self.begun = True
            notes.add(entry)
        return result

    async def finish(self, answer: Answer) -> None:
        """Keep the answer. Raises Taken: then another attempt answers."""
        await self._store.write(
            lambda tx: idempotency_keys.write(tx, self._claim, first=not self.begun, answer=answer)
        )

    async def give_up(self) -> None:
        """Leave the rest to the next attempt."""
        if self.begun:
            await self._store.write(lambda tx: idempotency_keys.release(tx, self._claim))

    async def check_free(self) -> None:
        """Raises Taken when another attempt has begun: a refusal may be due to what it has done."""
        claim = self._claim
        if await self._store.read(lambda tx: idempotency_keys.find(tx, claim.scope, claim.seal)):
            raise idempotency_keys.Taken(self._claim.scope.key)

    async def renew(self) -> None:
        """Hold on to the key for another while."""
        if self.begun:
            await self._store.write(lambda tx: idempotency_keys.renew(tx, self._claim))

    def _of_this_task(self) -> _Notes:
        task = asyncio.current_task()
        if task not in self._tasks:
            self._tasks.append(task)
            if len(self._tasks) > len(self._notes):
                self._notes.append(_Notes())
        return self._notes[self._tasks.index(task)]
