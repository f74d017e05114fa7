"""What a step reads before it acts, in one statement: the rows that belong together.

Called by workflows, in the transaction that takes their work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from breezeblock.model.errors import NotFound
from breezeblock.model.qos_specs import QosSpecs
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.volumes import Volume
from breezeblock.store.services import VOLUME
from breezeblock.store.store import ReadTx
from breezeblock.store.tables import (
    attachments,
    qos_specs,
    services,
    snapshots,
    volume_types,
    volumes,
)

_VOLUME = tuple(column.name for column in volumes.c)
_SNAPSHOT = tuple(column.name for column in snapshots.c)
_QOS = tuple(column.name for column in qos_specs.c)


def _parts(row: sa.Row[Any], *tables: Sequence[str]) -> list[dict[str, Any]]:
    """The row's values as one mapping for each table, in the order in which they were selected."""
    values = iter(row)
    return [{name: next(values) for name in names} for names in tables]


def _qos(part: dict[str, Any]) -> QosSpecs | None:
    return QosSpecs(**part) if part["id"] is not None else None


class ToBuild(NamedTuple):
    """A volume, the QoS specs of its type, and the service that is to hold it."""

    volume: Volume
    qos: QosSpecs | None
    service_id: str | None


_WITH_QOS = volumes.outerjoin(
    volume_types, volume_types.c.id == volumes.c.volume_type_id
).outerjoin(qos_specs, qos_specs.c.id == volume_types.c.qos_specs_id)
_TO_BUILD = (
    sa.select(volumes, qos_specs, services.c.id)
    .select_from(
        _WITH_QOS.outerjoin(
            services,
            sa.and_(services.c.binary == VOLUME, services.c.host == sa.bindparam("the_backend")),
        )
    )
    .where(volumes.c.id == sa.bindparam("the_id"))
)


def to_build(tx: ReadTx, volume_id: str, backend: str) -> ToBuild | None:
    """What making the volume on a backend needs to know; None when there is no such volume."""
    row = tx.first(_TO_BUILD, the_id=volume_id, the_backend=backend)
    if row is None:
        return None
    volume, qos, service = _parts(row, _VOLUME, _QOS, ("id",))
    return ToBuild(Volume(**volume), _qos(qos), service["id"])


class ToExport(NamedTuple):
    """A volume, and what its type asks of those that serve it."""

    volume: Volume
    extra_specs: dict[str, str]
    qos: QosSpecs | None


_TO_EXPORT = (
    sa.select(volumes, qos_specs, volume_types.c.extra_specs)
    .select_from(_WITH_QOS.join(attachments, attachments.c.volume_id == volumes.c.id))
    .where(attachments.c.id == sa.bindparam("the_id"))
)


def to_export(tx: ReadTx, attachment_id: str) -> ToExport | None:
    """What exporting an attachment's volume needs to know; None when there is no attachment."""
    row = tx.first(_TO_EXPORT, the_id=attachment_id)
    if row is None:
        return None
    volume, qos, of_type = _parts(row, _VOLUME, _QOS, ("extra_specs",))
    return ToExport(Volume(**volume), of_type["extra_specs"] or {}, _qos(qos))


_SNAPSHOT_AND_VOLUME = (
    sa.select(snapshots, volumes)
    .join_from(snapshots, volumes, volumes.c.id == snapshots.c.volume_id)
    .where(snapshots.c.id == sa.bindparam("the_id"))
)


def snapshot_and_volume(tx: ReadTx, snapshot_id: str) -> tuple[Snapshot, Volume]:
    """A snapshot with the volume that it is of. Raises NotFound."""
    row = tx.first(_SNAPSHOT_AND_VOLUME, the_id=snapshot_id)
    if row is None:
        raise NotFound("Snapshot", snapshot_id)
    snapshot, volume = _parts(row, _SNAPSHOT, _VOLUME)
    return Snapshot(**snapshot), Volume(**volume)
