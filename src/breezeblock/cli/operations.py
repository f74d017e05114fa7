"""`breezeblock trace`: the way that a request took, step by step, with times."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from breezeblock.config import Config, load
from breezeblock.model.operation import Operation
from breezeblock.store import operations
from breezeblock.store.store import ReadTx, Store


def trace(
    ident: str,
    *,
    data: Path | None = None,
    file: Annotated[Path | None, Parameter(name=["--config"], env_var="BREEZEBLOCK_CONFIG")] = None,
) -> None:
    """Show what happened for a request, a volume, an attachment, or one operation.

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
        config = load(file, {"BREEZEBLOCK_DATA": str(data)})
    found = asyncio.run(_find(config, ident))
    console = Console()
    if not found:
        console.print(f"No operation of {ident} is known.")
        raise SystemExit(1)
    for operation in found:
        show(console, operation)


async def _find(config: Config, ident: str) -> list[Operation]:
    store = Store(config.database_url, threads=1)
    try:
        return await store.read(lambda tx: _lookup(tx, ident))
    finally:
        store.close()


def _lookup(tx: ReadTx, ident: str) -> list[Operation]:
    one = operations.get(tx, ident)
    return [one] if one else operations.of_request(tx, ident) or operations.touching(tx, ident)


def show(console: Console, operation: Operation) -> None:
    """Print one operation as a table: each stop, how long the work took and what was before it."""
    table = Table(title=f"{operation.workflow} {operation.resource_id}: {operation.state}")
    for heading in ("at", "queue", "step", "work", "event", "note"):
        table.add_column(heading, justify="right" if heading in ("at", "work") else "left")
    for entry in operation.trail:
        table.add_row(*_row(entry, operation.opened_at))
    console.print(table)
    for refusal in operation.data.get("ranking", {}).get("refusals", []):
        console.print(f"  refused {refusal['pool']}: {refusal['filter']}: {refusal['reason']}")
    if operation.failure:
        console.print(f"  failed: {operation.failure}")


def _row(entry: dict[str, Any], opened_at: float) -> tuple[str, ...]:
    work = entry.get("seconds")
    return (
        f"+{1000 * (entry['at'] - opened_at):.1f} ms",
        str(entry.get("queue", "http")),
        str(entry["step"]),
        f"{1000 * work:.1f} ms" if work is not None else "",
        str(entry["event"]),
        str(entry.get("note", "")),
    )
