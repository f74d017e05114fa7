"""A visit: look at everything, repair what is safe if asked to, and look again.

Work goes on meanwhile, so a finding counts only when two looks have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from breezeblock.config import Config
from breezeblock.doctor import backends, compute, database, processes
from breezeblock.doctor.backends import Answer
from breezeblock.doctor.findings import Diagnosis, Finding
from breezeblock.store.store import Store, StoreUnavailable

BETWEEN_LOOKS = 1.0


class CannotLook(Exception):
    """The database cannot be read; the text says which, and why."""


@dataclass(frozen=True)
class Visit:
    """One deployment, with its databases at hand. `patience`: seconds that a backend may take."""

    config: Config
    store: Store
    compute: Store | None
    patience: float

    async def look(self) -> tuple[list[Finding], Sequence[Answer]]:
        """All findings, and what the backends said. Changes nothing."""
        first = await self._rows()
        answers = await self._ask(dry_run=True)
        await asyncio.sleep(BETWEEN_LOOKS)
        again = await self._rows()
        found = [one for answer in answers for one in answer.findings]
        return [*found, *(one for one in again if one in first)], answers

    async def repair(self, found: Sequence[Finding]) -> None:
        """Put right what is safe: first what is stuck, then the backends, usage last."""
        stuck = [one for one in found if one.rule != "usage"]
        await database.repair(self.store, self.config, stuck, self.patience)
        await self._ask(dry_run=False)
        usage = [one for one in found if one.rule == "usage"]
        await database.repair(self.store, self.config, usage, self.patience)

    async def _rows(self) -> list[Finding]:
        down_time = self.config.service_down_time
        found = await database.examine(self.store, self.config)
        found += await processes.examine(self.store, down_time)
        if self.compute is not None:
            found += await compute.examine(self.compute, self.store, down_time)
        return found

    async def _ask(self, *, dry_run: bool) -> Sequence[Answer]:
        down_time = self.config.service_down_time
        return await backends.ask(self.store, down_time, dry_run=dry_run, patience=self.patience)


async def visit(config: Config, *, repair: bool, patience: float) -> Diagnosis:
    """What is wrong, after the repairs if they are wanted. Raises CannotLook."""
    try:
        async with _opened(config, patience) as one:
            found, answers = await one.look()
            before = found
            if repair and any(finding.repairable for finding in found):
                await one.repair(found)
                found, answers = await one.look()
    except (StoreUnavailable, DBAPIError) as error:
        raise CannotLook(unreadable(config.database_url, error)) from error
    return Diagnosis(
        findings=tuple(found),
        repaired=tuple(one for one in before if one not in found),
        held={answer.backend: answer.held for answer in answers if answer.held},
    )


@asynccontextmanager
async def _opened(config: Config, patience: float) -> AsyncIterator[Visit]:
    async with AsyncExitStack() as stack:
        store = _open(config.database_url, stack)
        if store is None:
            raise CannotLook(no_database(config.database_url))
        yield Visit(config, store, _open(config.compute_database_url, stack), patience)


def no_database(url: str) -> str:
    """What is said where the service's file is not there."""
    return (
        f"There is no service's database at {_shown(url)}. "
        "Name the service's directory with --data, or its file with --config."
    )


def unreadable(url: str, error: StoreUnavailable | DBAPIError) -> str:
    """What is said of a database that does not answer, or refuses."""
    why = error.in_full if isinstance(error, StoreUnavailable) else str(error)
    return f"The database {_shown(url)} cannot be read: {why}"


def _shown(url: str) -> str:
    """Which database, without its password."""
    return str(make_url(url))


def is_there(url: str) -> bool:
    """Whether to look for it at all: a file must not come to be by looking."""
    path = url.removeprefix("sqlite:///")
    return path == url or Path(path).exists()


def _open(url: str, stack: AsyncExitStack) -> Store | None:
    """The database, if there is one."""
    if not is_there(url):
        return None
    store = Store(url, threads=2)
    stack.callback(store.close)
    return store
