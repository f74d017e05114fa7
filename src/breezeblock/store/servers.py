"""Servers, their volumes and the compute hosts in the database of the compute service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.listing import ListQuery, Page
from breezeblock.model.servers import ComputeHost, Flavor, Server, ServerVolume, VolumeSource
from breezeblock.store import listing
from breezeblock.store.clock import db_now
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import compute_hosts, server_volumes, servers

_LISTED = listing.Listed(servers, "Instance", owner=servers.c.project_id)


def _server(row: sa.Row[Any]) -> Server:
    return Server(**{**row._mapping, "flavor": msgspec.convert(row.flavor, Flavor)})


def _volume(row: sa.Row[Any]) -> ServerVolume:
    source = msgspec.convert(row.source, VolumeSource | None)
    return ServerVolume(**{**row._mapping, "source": source})


def _values(struct: msgspec.Struct) -> dict[str, Any]:
    """A row: structs inside become plain data, times stay times."""
    return {
        name: msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value
        for name, value in msgspec.structs.asdict(struct).items()
    }


# -- servers -----------------------------------------------------------------------------------


def insert(tx: WriteTx, server: Server) -> None:
    tx.run(servers.insert().values(_values(server)))


def find(tx: ReadTx, server_id: str) -> Server | None:
    """The server whoever owns it, or None when there is none (any more)."""
    row = tx.first(sa.select(servers).where(servers.c.id == server_id))
    return _server(row) if row else None


def get(tx: ReadTx, server_id: str, project_id: str | None = None) -> Server:
    """The server, if it is the project's (None: anybody's). Raises NotFound."""
    server = find(tx, server_id)
    if server is None or (project_id is not None and server.project_id != project_id):
        raise NotFound("Instance", server_id)
    return server


def lock(tx: WriteTx, server_id: str) -> Server:
    """As `get`, and nobody else changes the server until this transaction ends."""
    row = tx.first(sa.select(servers).where(servers.c.id == server_id).with_for_update())
    if row is None:
        raise NotFound("Instance", server_id)
    return _server(row)


def page(tx: ReadTx, query: ListQuery, project_id: str | None) -> Page:
    """One page of the project's servers (None: of all projects'). Raises InvalidInput."""
    try:
        rows, total = _LISTED.page(tx, query, project_id)
    except NotFound:
        raise InvalidInput(f"marker [{query.marker}] not found") from None
    return Page([_server(row) for row in rows], total)


def used_by(tx: ReadTx, project_id: str) -> list[dict[str, Any]]:
    """The flavors of a project's servers: what it uses."""
    statement = sa.select(servers.c.flavor).where(servers.c.project_id == project_id)
    return [row.flavor for row in tx.rows(statement)]


def update(tx: WriteTx, server_id: str, **values: Any) -> bool:
    """Set columns; whether the server was there."""
    values.setdefault("updated_at", tx.now)
    return bool(tx.run(servers.update().where(servers.c.id == server_id).values(values)))


def delete(tx: WriteTx, server_id: str) -> None:
    """Remove the row and those of its volumes."""
    tx.run(server_volumes.delete().where(server_volumes.c.server_id == server_id))
    tx.run(servers.delete().where(servers.c.id == server_id))


def of_host(tx: ReadTx, host: str) -> list[Server]:
    """All servers that live on a host."""
    return [_server(row) for row in tx.rows(sa.select(servers).where(servers.c.host == host))]


# -- their volumes -----------------------------------------------------------------------------


def insert_volume(tx: WriteTx, volume: ServerVolume) -> bool:
    """False when the server has that volume, or a volume under that device name, already."""
    return tx.insert_unless_taken(server_volumes.insert().values(_values(volume)))


def volumes_of(tx: ReadTx, server_id: str) -> list[ServerVolume]:
    """A server's volumes, in the order of their device names."""
    return volumes_of_all(tx, [server_id]).get(server_id, [])


def volumes_of_all(tx: ReadTx, server_ids: Iterable[str]) -> Mapping[str, list[ServerVolume]]:
    """Server id → its volumes, for lists of servers."""
    wanted = list(server_ids)
    found: dict[str, list[ServerVolume]] = {}
    statement = sa.select(server_volumes).where(server_volumes.c.server_id.in_(wanted))
    order = (server_volumes.c.device, server_volumes.c.created_at)
    for row in tx.rows(statement.order_by(*order)) if wanted else ():
        found.setdefault(row.server_id, []).append(_volume(row))
    return found


def find_volume(tx: ReadTx, row_id: str) -> ServerVolume | None:
    row = tx.first(sa.select(server_volumes).where(server_volumes.c.id == row_id))
    return _volume(row) if row else None


def attachment(tx: ReadTx, server_id: str, volume_id: str) -> ServerVolume:
    """The server's use of a volume. Raises NotFound."""
    row = tx.first(
        sa.select(server_volumes).where(
            server_volumes.c.server_id == server_id, server_volumes.c.volume_id == volume_id
        )
    )
    if row is None:
        raise NotFound("Volume attachment", volume_id)
    return _volume(row)


def update_volume(tx: WriteTx, row_id: str, **values: Any) -> None:
    values.setdefault("updated_at", tx.now)
    tx.run(server_volumes.update().where(server_volumes.c.id == row_id).values(values))


def settle_volumes(tx: WriteTx, server_id: str, state: str) -> None:
    """Give all volumes of a server the same state."""
    mine = server_volumes.c.server_id == server_id
    tx.run(server_volumes.update().where(mine).values(state=state, updated_at=tx.now))


def delete_volume(tx: WriteTx, row_id: str) -> None:
    tx.run(server_volumes.delete().where(server_volumes.c.id == row_id))


def delete_volumes(tx: WriteTx, server_id: str) -> None:
    tx.run(server_volumes.delete().where(server_volumes.c.server_id == server_id))


# -- hosts -------------------------------------------------------------------------------------


def report_host(tx: WriteTx, name: str, zone: str, details: Mapping[str, Any]) -> None:
    """Say that a host's agent works."""
    values = {"availability_zone": zone, "details": dict(details), "reported_at": db_now()}
    mine = compute_hosts.update().where(compute_hosts.c.name == name).values(values)
    if not tx.run(mine) and not tx.insert_unless_taken(
        compute_hosts.insert().values(name=name, **values)
    ):
        tx.run(mine)


def withdraw_host(tx: WriteTx, name: str) -> None:
    """Say that a host's agent has stopped in an orderly way: it counts as down at once."""
    tx.run(compute_hosts.update().where(compute_hosts.c.name == name).values(reported_at=0.0))


def hosts(tx: ReadTx, down_time: float) -> list[ComputeHost]:
    """Every host, with whether it has reported within `down_time` seconds."""
    number = (
        sa.select(sa.func.count())
        .select_from(servers)
        .where(servers.c.host == compute_hosts.c.name)
        .scalar_subquery()
    )
    statement = sa.select(
        compute_hosts,
        (compute_hosts.c.reported_at >= db_now() - down_time).label("up"),
        number.label("servers"),
    ).order_by(compute_hosts.c.name)
    return [ComputeHost(**{**row._mapping, "up": bool(row.up)}) for row in tx.rows(statement)]
