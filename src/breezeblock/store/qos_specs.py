"""QoS specs in the database, and which volume types have them.

Transactions that change both take the QoS specs first, then the type, so that none waits for
another that waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.errors import Conflict, InvalidState, NotFound
from breezeblock.model.listing import ListQuery, Page
from breezeblock.model.qos_specs import QosSpecs
from breezeblock.store import listing, volume_types
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import qos_specs
from breezeblock.store.tables import volume_types as types_table

KIND = "QoS specs"


_LISTED = listing.Listed(qos_specs, KIND)


def _qos(row: sa.Row[Any]) -> QosSpecs:
    return QosSpecs(**row._mapping)


def insert(tx: WriteTx, qos: QosSpecs) -> None:
    """Raises Conflict when the name is taken."""
    if not tx.insert_unless_taken(qos_specs.insert().values(msgspec.structs.asdict(qos))):
        raise Conflict(f"QoS specs named {qos.name} exist already.")


def get(tx: ReadTx, qos_id: str) -> QosSpecs:
    """Raises NotFound."""
    return _found(tx, qos_id, sa.select(qos_specs).where(qos_specs.c.id == qos_id))


def lock(tx: WriteTx, qos_id: str) -> QosSpecs:
    """As `get`; nobody else changes them, or ties types to them, until this transaction ends."""
    return _found(
        tx, qos_id, sa.select(qos_specs).where(qos_specs.c.id == qos_id).with_for_update()
    )


def _found(tx: ReadTx, qos_id: str, statement: sa.Select[Any]) -> QosSpecs:
    row = tx.first(statement)
    if row is None:
        raise NotFound(KIND, qos_id)
    return _qos(row)


_OF_TYPE = (
    sa.select(qos_specs)
    .join(types_table, types_table.c.qos_specs_id == qos_specs.c.id)
    .where(types_table.c.id == sa.bindparam("the_type"))
)


def of_type(tx: ReadTx, type_id: str) -> QosSpecs | None:
    """The QoS specs that a volume type has, if any."""
    row = tx.first(_OF_TYPE, the_type=type_id)
    return None if row is None else _qos(row)


def page(tx: ReadTx, query: ListQuery) -> Page:
    """One page of all QoS specs."""
    rows, total = _LISTED.page(tx, query)
    return Page([_qos(row) for row in rows], total)


def change(
    tx: WriteTx, qos_id: str, changes: Mapping[str, str | None], consumer: str | None = None
) -> None:
    """Set keys, or take those away whose value is None; and the consumer if given.

    Raises NotFound.
    """
    before = lock(tx, qos_id)
    merged = {**before.specs, **changes}
    specs = {key: value for key, value in merged.items() if value is not None}
    _save(tx, qos_id, specs=specs, consumer=consumer or before.consumer)


def remove_keys(tx: WriteTx, qos_id: str, keys: Sequence[str]) -> str | None:
    """Take keys away, up to the first that is not there, which is returned. Raises NotFound."""
    specs = dict(lock(tx, qos_id).specs)
    missing = None
    for key in keys:
        if specs.pop(key, None) is None:
            missing = key
            break
    _save(tx, qos_id, specs=specs)
    return missing


def _save(tx: WriteTx, qos_id: str, **values: Any) -> None:
    values["updated_at"] = tx.now
    tx.run(qos_specs.update().where(qos_specs.c.id == qos_id).values(values))


def types(tx: ReadTx, qos_id: str) -> dict[str, str]:
    """Id → name of the volume types that have these QoS specs, by name."""
    statement = sa.select(types_table.c.id, types_table.c.name).where(
        types_table.c.qos_specs_id == qos_id
    )
    return {row.id: row.name for row in tx.rows(statement.order_by(types_table.c.name))}


def associate(tx: WriteTx, qos_id: str, type_id: str) -> None:
    """Give the type these QoS specs. Raises NotFound, InvalidState when it has others."""
    lock(tx, qos_id)
    present = volume_types.lock(tx, type_id).qos_specs_id
    if present not in (None, qos_id):
        raise InvalidState(f"Volume type {type_id} has other QoS specs already: {present}.")
    if present is None:
        volume_types.update(tx, type_id, qos_specs_id=qos_id)


def disassociate(tx: WriteTx, qos_id: str, type_id: str) -> None:
    """Take these QoS specs from the type; others it keeps. Raises NotFound."""
    lock(tx, qos_id)
    volume_types.get(tx, type_id)
    _untie(tx, qos_id, types_table.c.id == type_id)


def disassociate_all(tx: WriteTx, qos_id: str) -> None:
    """Take these QoS specs from all types. Raises NotFound."""
    lock(tx, qos_id)
    _untie(tx, qos_id, sa.true())


def _untie(tx: WriteTx, qos_id: str, which: sa.ColumnElement[bool]) -> None:
    tied = types_table.c.qos_specs_id == qos_id
    values = {"qos_specs_id": None, "updated_at": tx.now}
    tx.run(types_table.update().where(tied, which).values(values))


def delete(tx: WriteTx, qos_id: str, *, force: bool = False) -> None:
    """Remove the QoS specs; with `force` also from the types that have them.

    Raises NotFound, InvalidState when types have them.
    """
    lock(tx, qos_id)
    if force:
        disassociate_all(tx, qos_id)
    elif used := types(tx, qos_id):
        named = ", ".join(used.values())
        raise InvalidState(f"QoS specs {qos_id} are in use by volume types: {named[:1000]}.")
    tx.run(qos_specs.delete().where(qos_specs.c.id == qos_id))
