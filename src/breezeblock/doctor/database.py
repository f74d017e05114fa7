"""The rows of block storage: what is wrong with them, and the repairs that need no backend's sweep.

Each repair is one transaction that looks again at what it changes, because work goes on meanwhile;
statuses are settled by the same operations that settle them after an administrator's reset.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from breezeblock.bus.memory import MemoryBus
from breezeblock.config import Config
from breezeblock.doctor.backends import wait_for
from breezeblock.doctor.findings import REPAIRS, Finding, of_violation
from breezeblock.model.ids import new_id
from breezeblock.model.invariants import check_live
from breezeblock.model.invariants.statuses import transient_status_has_an_operation
from breezeblock.model.invariants.transfers import offers_are_of_volumes_that_wait
from breezeblock.model.invariants.usage import counted
from breezeblock.operations.engine import Engine
from breezeblock.operations.explain import explain
from breezeblock.operations.submit import Caller
from breezeblock.operations.sweep import end_overdue
from breezeblock.store import facts, operations, quotas, snapshots, transfers, volumes
from breezeblock.store.store import ReadTx, Store, WriteTx
from breezeblock.workflows import check_snapshot, check_volume
from breezeblock.workflows.doors import Doors
from breezeblock.workflows.registry import REGISTRY


async def examine(store: Store, config: Config) -> list[Finding]:
    """What is wrong with the rows."""
    return await store.read(lambda tx: _examine(tx, config.operations.deadline))


def _examine(tx: ReadTx, deadline: float) -> list[Finding]:
    tx.stand_still()
    broken = [of_violation(one) for one in check_live(facts.read(tx), {})]
    return [*broken, *overdue(tx, deadline)]


def overdue(tx: ReadTx, deadline: float) -> Iterable[Finding]:
    """Work that nobody does and that nobody has ended, though its time is over."""
    for one in operations.waiting_longer_than(tx, deadline):
        yield Finding(
            "overdue",
            one.resource_id,
            f"The operation {one.id} ({one.workflow} on {one.resource_id}) has waited for "
            f"{one.queue} for more than {deadline:.0f} s.",
            f"`breezeblock doctor --repair` {REPAIRS['overdue']}; a scheduler that runs does, too.",
            repairable=True,
        )


async def repair(store: Store, config: Config, found: Iterable[Finding], patience: float) -> None:
    """Put right what is safe among the findings."""
    rules = {one.rule for one in found}
    if "overdue" in rules:
        await end_overdue(_sweeper(store, config), config.operations.deadline)
    if "transient-status" in rules:
        opened = await store.write(_settle_statuses)
        await wait_for(store, opened, time.monotonic() + patience)
    if "dangling-transfer" in rules:
        await store.write(_withdraw_dangling)
    if "usage" in rules:
        await store.write(recount)


def _sweeper(store: Store, config: Config) -> Engine:
    """An engine that serves no queue: it only ends what others have left."""
    doors = Doors(store)
    return Engine(store, MemoryBus(), REGISTRY, doors, explain, host=config.hostname)


def recount(tx: WriteTx) -> None:
    """Have the usage be what the rows use."""
    quotas.hold_usages(tx)
    present = facts.read(tx)
    used = counted(present)
    for key in used.keys() | present.usages.keys():
        if used[key] != present.usages.get(key, 0):
            project_id, resource = key
            quotas.set_usage(tx, project_id, resource, used[key])


def _withdraw_dangling(tx: WriteTx) -> None:
    """Take back the offers of volumes that do not wait for anybody."""
    tx.stand_still()
    present = facts.read(tx)
    dangling = {one.subject for one in offers_are_of_volumes_that_wait(present)}
    for one in present.transfers:
        if one.id in dangling:
            transfers.withdraw(tx, one.volume_id)


def _settle_statuses(tx: WriteTx) -> list[str]:
    """Open the operations that find out which status is true, to be done at once."""
    tx.stand_still()
    request_id = f"req-{new_id()}"
    stuck = [one.subject for one in transient_status_has_an_operation(facts.read(tx))]
    for ident in stuck:
        if volume := volumes.find(tx, ident):
            caller = Caller(volume.project_id, volume.user_id, request_id)
            check_volume.submit(tx, caller, volume, cut_short=True)
        elif snapshot := snapshots.find(tx, ident):
            caller = Caller(snapshot.project_id, snapshot.user_id, request_id)
            check_snapshot.submit(tx, caller, snapshot, cut_short=True)
    opened = [one.id for one in operations.of_request(tx, request_id)]
    for ident in opened:
        operations.amend(tx, ident, due_at=tx.clock())
    return opened
