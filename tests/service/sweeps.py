"""Inventory sweeps as their tests ask for them and look at them."""

from __future__ import annotations

import msgspec

from breezeblock.model.invariants import check_quiet
from breezeblock.model.operation import Operation
from breezeblock.store import facts, operations, quotas
from breezeblock.workflows import sweep_backend
from breezeblock.workflows.sweep_backend import Report
from tests.service.house import PROJECT, House

BACKEND = "node1@fast"


async def sweep(house: House, backend: str = BACKEND, *, dry_run: bool = False) -> Report:
    """One sweep, and what it has opened, to the end; its report."""
    ident = await house.app.store.write(
        lambda tx: sweep_backend.examine(tx, backend, dry_run=dry_run)
    )
    assert ident is not None
    await house.quiet()
    ended = await house.app.store.read(lambda tx: operations.get(tx, ident))
    assert ended.state == "succeeded", ended.failure
    return msgspec.convert(ended.result, Report)


def rules(report: Report) -> list[tuple[str, str]]:
    return [(one.rule, one.subject) for one in report.found]


async def violations(house: House) -> list[str]:
    rows = await house.app.store.read(facts.read)
    held = {f"node1@{one.config.name}": one.inventory() for one in house.drivers}
    return [str(one) for one in check_quiet(rows, held)]


async def sweeps(house: House, backend: str = BACKEND) -> list[Operation]:
    return await house.app.store.read(lambda tx: operations.of_resource(tx, backend))


async def used(house: House) -> dict[str, int]:
    return await house.app.store.read(lambda tx: quotas.usages(tx, PROJECT))
