"""`breezeblock trace`: the way that a request took, step by step, with times."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from sqlalchemy.exc import DBAPIError

from breezeblock.config import Config, load
from breezeblock.doctor.visit import CannotLook, is_there, no_database, unreadable
from breezeblock.model.operation import Operation
from breezeblock.store import operations
from breezeblock.store.store import ReadTx, Store, StoreUnavailable

NOT_KNOWN, CANNOT_LOOK = 1, 2
"""Exit codes."""


def trace(
    ident: str,
    *,
    data: Path | None = None,
    file: Annotated[Path | None, Parameter(name=["--config"], env_var="BREEZEBLOCK_CONFIG")] = None,
) -> None:
    """Show what happened for a request, a volume, an attachment, or one operation.

    Exit code 1: nothing of the kind is known. 2: a database could not be looked at.

    Parameters
    ----------
    ident
        A request id (req-…), or the UUID of a resource or of an operation.
    data
        The service's data directory.
    file
        The service's configuration file.
    """
    config = load(file)
    if data is not None:
        config = load(file, os.environ | {"BREEZEBLOCK_DATA": str(data)})
    console = Console()
    try:
        found = asyncio.run(_find(config, ident))
    except CannotLook as error:
        console.print(str(error), soft_wrap=True, highlight=False, markup=False)
        raise SystemExit(CANNOT_LOOK) from None
    if not found:
        console.print(f"No operation of {ident} is known.")
        raise SystemExit(NOT_KNOWN)
    for operation in found:
        show(console, operation)


async def _find(config: Config, ident: str) -> list[Operation]:
    """From both services' databases (they may be one), in the order of time. Raises CannotLook."""
    found: dict[str, Operation] = {}
    urls = [url for url in (config.database_url, config.compute_database_url) if is_there(url)]
    if not urls:
        raise CannotLook(no_database(config.database_url))
    for url in dict.fromkeys(urls):
        store = Store(url, threads=1)
        try:
            known = await store.read(lambda tx: _lookup(tx, ident))
        except (StoreUnavailable, DBAPIError) as error:
            raise CannotLook(unreadable(url, error)) from error
        finally:
            store.close()
        found |= {operation.id: operation for operation in known}
    return sorted(found.values(), key=lambda one: one.opened_at)


def _lookup(tx: ReadTx, ident: str) -> list[Operation]:
    one = operations.get(tx, ident)
    return [one] if one else operations.of_request(tx, ident) or operations.touching(tx, ident)


def show(console: Console, operation: Operation) -> None:
    """Print the way of one operation: each stop, the time on the way to it and the work there."""
    trail = operation.trail
    whole = 1000 * (trail[-1]["at"] - trail[0]["at"]) if trail else 0.0
    head = f"{operation.workflow} {operation.resource_id}: {operation.state} after {whole:.0f} ms"
    console.print(f"  [bold]{head}[/bold]", soft_wrap=True, highlight=False)
    before = trail[0]["at"] if trail else 0.0
    for entry in trail:
        console.print(_stop(entry, before), soft_wrap=True, highlight=False, markup=False)
        before = entry["at"]
    for refusal in operation.data.get("ranking", {}).get("refusals", []):
        text = f"      refused {refusal['pool']}: {refusal['filter']}: {refusal['reason']}"
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    if operation.failure:
        for key in ("code", "message", "cause", "remedy"):
            if operation.failure.get(key):
                text = f"      {key}: {operation.failure[key]}"
                console.print(text, soft_wrap=True, highlight=False, markup=False)


def _stop(entry: dict[str, Any], before: float) -> str:
    """One line: where, what was done there, what came of it, and the two times."""
    if "queue" not in entry:
        return f"    {'http -> api':<44} {entry['event']}"
    work = 1000 * entry.get("seconds", 0.0)
    travel = max(0.0, 1000 * (entry["at"] - before) - work)
    where = f"queue {entry['queue']} -> {entry['step']}"
    note = f"  ({entry['note']})" if entry.get("note") else ""
    return f"    {where:<44} {entry['event']:<10} way {travel:6.1f} ms  work {work:6.1f} ms{note}"
