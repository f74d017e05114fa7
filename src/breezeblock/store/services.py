"""Services and the pools of volume services, as they report themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from breezeblock.model.errors import InvalidInput
from breezeblock.model.ids import new_id
from breezeblock.model.services import PoolReport, Service, ServiceProcess
from breezeblock.store.clock import db_now
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import pools, service_processes, services

VOLUME = "cinder-volume"
"""The binary under which backends report themselves."""


IN_A_STATEMENT = 500
"""For how many backends their pools are asked for at once."""

FORGOTTEN_AFTER = 86400.0
"""Seconds that a process which has fallen silent stays listed."""


def report(
    tx: WriteTx,
    binary: str,
    host: str,
    zone: str,
    *,
    backend_state: str | None = None,
    process: str = "",
    remark: str = "",
) -> str:
    """Say that a service works; returns its id. What the operator set (disabled, frozen) stays.

    `process` is who says so, one of perhaps several behind the service.
    """
    values = {
        "availability_zone": zone,
        "backend_state": backend_state,
        "reported_at": db_now(),
        "updated_at": tx.now,
    }
    ident = _write(tx, binary, host, values)
    if process:
        _say(tx, binary, host, process, works=True, remark=remark)
    return ident


def report_trouble(
    tx: WriteTx,
    binary: str,
    host: str,
    zone: str,
    *,
    process: str,
    remark: str,
    down_time: float,
) -> None:
    """Say that a process cannot do a service's work now. The service is down until a test passes,
    unless another process of it works: one that has said so within `down_time` seconds."""
    if not _exists(tx, binary, host):
        _write(tx, binary, host, {"availability_zone": zone, "reported_at": 0.0})
    _say(tx, binary, host, process, works=False, remark=remark)
    _settle(tx, binary, host, since=tx.clock() - down_time)


def withdraw(tx: WriteTx, binary: str, host: str, process: str = "") -> None:
    """Say that a process has stopped in an orderly way: the service is down at once, unless another
    process of it works."""
    gone = _of(binary, host) & (service_processes.c.process == process)
    tx.run(service_processes.delete().where(gone))
    _settle(tx, binary, host)


def forget_processes(tx: WriteTx, is_dead: Callable[[str], bool]) -> None:
    """Remove the processes that are known to be dead: others have taken their places."""
    every = tx.rows(sa.select(service_processes.c.process).distinct())
    dead = [row.process for row in every if is_dead(row.process)]
    tx.run(service_processes.delete().where(service_processes.c.process.in_(dead)))


def processes(tx: ReadTx, down_time: float) -> list[ServiceProcess]:
    """The processes behind all services; silent are those that have not reported for so long."""
    silent = service_processes.c.reported_at < db_now() - down_time
    order = (service_processes.c.binary, service_processes.c.host, service_processes.c.process)
    statement = sa.select(service_processes, silent.label("silent")).order_by(*order)
    return [
        ServiceProcess(**{**row._mapping, "silent": bool(row.silent)}) for row in tx.rows(statement)
    ]


def silent(tx: ReadTx, binary: str, host: str, down_time: float) -> frozenset[str]:
    """Which processes of a service have said nothing for so long."""
    statement = sa.select(service_processes.c.process).where(
        _of(binary, host), service_processes.c.reported_at < db_now() - down_time
    )
    return frozenset(row.process for row in tx.rows(statement))


def _exists(tx: ReadTx, binary: str, host: str) -> bool:
    known = sa.and_(services.c.binary == binary, services.c.host == host)
    return tx.first(sa.select(services.c.id).where(known)) is not None


def _write(tx: WriteTx, binary: str, host: str, values: Mapping[str, Any]) -> str:
    known = sa.and_(services.c.binary == binary, services.c.host == host)
    if not tx.run(services.update().where(known).values(values)):
        row = {"id": new_id(), "binary": binary, "host": host, "created_at": tx.now, **values}
        if not tx.insert_unless_taken(services.insert().values(row)):
            tx.run(services.update().where(known).values(values))
    return str(tx.scalar(sa.select(services.c.id).where(known)))


def _say(tx: WriteTx, binary: str, host: str, process: str, *, works: bool, remark: str) -> None:
    values = {"works": works, "remark": remark or None, "reported_at": db_now()}
    ours = _of(binary, host) & (service_processes.c.process == process)
    if not tx.run(service_processes.update().where(ours).values(values)):
        key = {"binary": binary, "host": host, "process": process}
        tx.insert_unless_taken(service_processes.insert().values({**key, **values}))
    lost = service_processes.c.reported_at < db_now() - FORGOTTEN_AFTER
    tx.run(service_processes.delete().where(lost))


def _settle(tx: WriteTx, binary: str, host: str, since: float = 0.0) -> None:
    """The service was last at work when one of the processes said so that are no worse now."""
    working = sa.select(sa.func.max(service_processes.c.reported_at)).where(
        _of(binary, host),
        service_processes.c.works.is_(True),
        service_processes.c.reported_at >= since,
    )
    last = tx.scalar(working)
    values: dict[str, Any] = {"reported_at": last or 0.0}
    if binary == VOLUME and last is None:
        values["backend_state"] = "down"
    known = sa.and_(services.c.binary == binary, services.c.host == host)
    tx.run(services.update().where(known).values(values))


def _of(binary: str, host: str) -> sa.ColumnElement[bool]:
    return sa.and_(service_processes.c.binary == binary, service_processes.c.host == host)


def all_services(tx: ReadTx, down_time: float) -> list[Service]:
    """Every service, with whether it is up: reported within `down_time` seconds."""
    statement = sa.select(services, (services.c.reported_at >= db_now() - down_time).label("up"))
    return [
        Service(**{**row._mapping, "up": bool(row.up)})
        for row in tx.rows(statement.order_by(services.c.binary, services.c.host))
    ]


class Told(NamedTuple):
    """What a backend said of itself with its last report."""

    reported_at: float
    availability_zone: str
    backend_state: str | None


_TOLD = sa.select(
    services.c.host,
    services.c.reported_at,
    services.c.availability_zone,
    services.c.backend_state,
).where(services.c.binary == VOLUME)


def told_by_backends(tx: ReadTx) -> dict[str, Told]:
    """By host@backend. Any report changes it."""
    return {row[0]: Told(row[1], row[2], row[3]) for row in map(tuple, tx.rows(_TOLD))}


class OutOfUse(NamedTuple):
    """Why a backend gets no work, or not all."""

    disabled: bool
    frozen: bool
    down: bool


_DOWN = services.c.reported_at < db_now() - sa.bindparam("down_time", type_=sa.Float)
_OUT_OF_USE = sa.select(
    services.c.host, services.c.disabled, services.c.frozen, _DOWN.label("down")
).where(
    services.c.binary == VOLUME,
    sa.or_(services.c.disabled.is_(True), services.c.frozen.is_(True), _DOWN),
)


def out_of_use(tx: ReadTx, down_time: float) -> dict[str, OutOfUse]:
    """Backends that an operator keeps work from, or that are down; by host@backend."""
    return {
        row.host: OutOfUse(row.disabled, row.frozen, bool(row.down))
        for row in tx.rows(_OUT_OF_USE, down_time=down_time)
    }


_FROZEN = sa.select(services.c.id).where(
    services.c.binary == VOLUME,
    services.c.host == sa.bindparam("the_backend"),
    services.c.frozen.is_(True),
)


def require_thawed(tx: ReadTx, host: str | None) -> None:
    """That what is on this pool or backend may be changed. Raises InvalidInput."""
    if tx.first(_FROZEN, the_backend=(host or "").partition("#")[0]) is not None:
        raise InvalidInput("Modification operations are not allowed on frozen storage backends.")


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


def pools_of(tx: ReadTx, backends: Sequence[str]) -> list[PoolReport]:
    """The pools that these backends have reported."""
    some = (backends[at : at + IN_A_STATEMENT] for at in range(0, len(backends), IN_A_STATEMENT))
    return [
        PoolReport(**row._mapping)
        for these in some
        for row in tx.rows(sa.select(pools).where(pools.c.backend.in_(these)))
    ]
