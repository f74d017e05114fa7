"""Services and the pools of volume services, as they report themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from breezeblock.model.ids import new_id
from breezeblock.model.services import PoolReport, Service
from breezeblock.store.clock import db_now
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import pools, services

VOLUME = "cinder-volume"
"""The binary under which backends report themselves."""


def report(
    tx: WriteTx, binary: str, host: str, zone: str, *, backend_state: str | None = None
) -> str:
    """Say that a service works; returns its id. What the operator set (disabled, frozen) stays."""
    values = {
        "availability_zone": zone,
        "backend_state": backend_state,
        "reported_at": db_now(),
        "updated_at": tx.now,
    }
    known = sa.and_(services.c.binary == binary, services.c.host == host)
    if not tx.run(services.update().where(known).values(values)):
        row = {"id": new_id(), "binary": binary, "host": host, "created_at": tx.now, **values}
        if not tx.insert_unless_taken(services.insert().values(row)):
            tx.run(services.update().where(known).values(values))
    return str(tx.scalar(sa.select(services.c.id).where(known)))


def withdraw(tx: WriteTx, binary: str, host: str) -> None:
    """Say that a service has stopped in an orderly way: it counts as down at once."""
    known = sa.and_(services.c.binary == binary, services.c.host == host)
    tx.run(services.update().where(known).values(reported_at=0.0))


def mark_down(tx: WriteTx, binary: str, host: str) -> None:
    """Say that a backend does not answer: it counts as down until it has passed a test again."""
    known = sa.and_(services.c.binary == binary, services.c.host == host)
    tx.run(services.update().where(known).values(backend_state="down", reported_at=0.0))


def all_services(tx: ReadTx, down_time: float) -> list[Service]:
    """Every service, with whether it is up: reported within `down_time` seconds."""
    statement = sa.select(services, (services.c.reported_at >= db_now() - down_time).label("up"))
    return [
        Service(**{**row._mapping, "up": bool(row.up)})
        for row in tx.rows(statement.order_by(services.c.binary, services.c.host))
    ]


_TAKEN_OUT = sa.select(services.c.host, services.c.disabled, services.c.frozen).where(
    services.c.binary == VOLUME,
    sa.or_(services.c.disabled.is_(True), services.c.frozen.is_(True)),
)


def taken_out(tx: ReadTx) -> dict[str, tuple[bool, bool]]:
    """Backends that an operator keeps work from: (disabled, frozen), by host@backend."""
    return {row.host: (row.disabled, row.frozen) for row in tx.rows(_TAKEN_OUT)}


def set_disabled(
    tx: WriteTx, binary: str, host: str, *, disabled: bool, reason: str | None
) -> bool:
    """Take a service out of, or back into, scheduling; whether there is such a service."""
    known = sa.and_(services.c.binary == binary, services.c.host == host)
    values = {"disabled": disabled, "disabled_reason": reason, "updated_at": tx.now}
    return bool(tx.run(services.update().where(known).values(values)))


def set_frozen(tx: WriteTx, backends: Collection[str], *, frozen: bool) -> int:
    """Forbid, or allow again, new work on backends; how many of them were not so before."""
    changed = sa.and_(
        services.c.binary == VOLUME,
        services.c.host.in_(backends),
        services.c.frozen.is_(not frozen),
    )
    return tx.run(services.update().where(changed).values(frozen=frozen, updated_at=tx.now))


def want_log_level(tx: WriteTx, ids: Collection[str], level: str) -> None:
    """Have services log so much from their next report on."""
    tx.run(services.update().where(services.c.id.in_(ids)).values(log_level_wanted=level))


def report_log_level(tx: WriteTx, binary: str, host: str, present: str) -> str | None:
    """Say how much a service logs; returns what it shall log from now on, if somebody said so."""
    known = sa.and_(services.c.binary == binary, services.c.host == host)
    wanted = tx.scalar(sa.select(services.c.log_level_wanted).where(known).with_for_update())
    values = {"log_level": wanted or present, "log_level_wanted": None}
    tx.run(services.update().where(known).values(values))
    return str(wanted) if wanted else None


def report_pools(tx: WriteTx, backend: str, capabilities: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace what a backend said of its pools (full pool name → capabilities)."""
    tx.run(
        pools.delete().where(pools.c.backend == backend, pools.c.name.not_in(list(capabilities)))
    )
    for name, told in sorted(capabilities.items()):
        values = {"backend": backend, "capabilities": dict(told), "reported_at": db_now()}
        if not tx.run(pools.update().where(pools.c.name == name).values(values)):
            tx.insert_unless_taken(pools.insert().values(name=name, **values))


def all_pools(tx: ReadTx) -> list[PoolReport]:
    """Every pool that was ever reported."""
    return [PoolReport(**row._mapping) for row in tx.rows(sa.select(pools).order_by(pools.c.name))]
