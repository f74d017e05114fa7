"""A database with as many volumes as wanted, put there in bulk: what benchmarks and explained
queries look at.

What stands beside volumes in a cloud that has been used for long is there, too: attachments,
snapshots, ended and open operations, messages, idempotency keys. The same number makes the same
rows on either kind of database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa

from breezeblock.store import tables
from breezeblock.store.store import Store

PROJECT = "0c1d2e3f405162738495a6b7c8d9eaf0"
"""Has four volumes of five; the rest belongs to a hundred others."""
USER = "5d2c5a5e5d7e4f0e8e0f4a3ef3c5a001"
HOSTS = tuple(f"node{number}@ssd#pool{number % 3}" for number in range(10))
TYPES = tuple(f"{number:08d}-0000-4000-8000-000000000000" for number in range(3))
BEGAN = datetime(2026, 1, 1)  # noqa: DTZ001 - as the database has it, UTC without zone
Rows = Iterator[tuple[Any, ...]]


@dataclass(frozen=True)
class One:
    """What the rows that hang on one volume are made of."""

    number: int
    id: str
    project: str
    created: datetime

    @property
    def attached(self) -> bool:
        return self.number % 5 == 1

    @property
    def status(self) -> str:
        if self.number % 1000 == 7:
            return "error"
        return "in-use" if self.attached else "available"

    @property
    def host(self) -> str:
        return HOSTS[self.number % len(HOSTS)]


def ident(kind: str, number: int) -> str:
    """The id of a row: no order in it, as in real ones."""
    bits = blake2b(f"{kind}{number}".encode(), digest_size=16).hexdigest()
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-8{bits[17:20]}-{bits[20:]}"


def fill(store: Store, volumes: int, *, history: bool = True) -> None:
    """Put so many volumes into an empty database; without `history` only what lists show."""
    types = (
        {"id": one, "name": f"type{number}", "is_public": True, "created_at": BEGAN}
        for number, one in enumerate(TYPES)
    )
    with store.engine.begin() as connection:
        connection.execute(tables.volume_types.insert(), list(types))
    kinds = _EVERYTHING if history else _SHOWN
    for table, columns, rows in kinds:
        _put(store, table, columns, (row for one in _each(volumes) for row in rows(one)))
    if not store.is_sqlite:  # SQLite is never told; PostgreSQL finds out by itself, after a while
        with store.engine.begin() as connection:
            connection.execute(sa.text("ANALYZE"))


def _each(volumes: int) -> Iterator[One]:
    for number in range(volumes):
        project = f"{number % 100:032x}" if number % 5 == 4 else PROJECT
        yield One(number, ident("volume", number), project, BEGAN + timedelta(seconds=number * 0.7))


def _put(store: Store, table: sa.Table, columns: str, rows: Rows) -> None:
    names = columns.split()
    raw: Any = store.engine.raw_connection()
    try:
        cursor = raw.cursor()
        if store.is_sqlite:
            marks = ", ".join("?" * len(names))
            cursor.execute("BEGIN")
            cursor.executemany(
                f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})",
                (tuple(map(_text, row)) for row in rows),
            )
        else:
            with cursor.copy(f"COPY {table.name} ({', '.join(names)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        raw.commit()
    finally:
        raw.close()


def _text(value: Any) -> Any:
    """As SQLite keeps it."""
    return value.isoformat(" ", "microseconds") if isinstance(value, datetime) else value


_VOLUME = (
    "id project_id user_id name description size status attach_status availability_zone host "
    "service_uuid volume_type_id bootable multiattach shared_targets consumes_quota metadata "
    "image_metadata created_at updated_at"
)


def _volume(one: One) -> Rows:
    number = one.number
    metadata = {"team": f"t{number % 50}", "purpose": "database"} if number % 4 == 0 else {}
    image = {"image_id": ident("image", number % 20), "os": "debian"} if number % 10 == 3 else {}
    yield (
        *(one.id, one.project, USER, f"pvc-{number}", None, 1 + number % 100, one.status),
        *("attached" if one.attached else "detached", "nova", one.host),
        *(ident("service", number % 10), TYPES[number % len(TYPES)], bool(image), False),
        *(False, True, json.dumps(metadata), json.dumps(image)),
        *(one.created, one.created + timedelta(seconds=2)),
    )


_ATTACHMENT = (
    "id project_id user_id volume_id instance_uuid attach_status attach_mode mountpoint host_name "
    "connector connection_info legacy attached_at created_at updated_at"
)


def _attachment(one: One) -> Rows:
    if one.attached:
        info = json.dumps({"driver_volume_type": "iscsi", "data": {"target_lun": 1}})
        yield (
            *(ident("attachment", one.number), one.project, USER, one.id),
            *(ident("server", one.number), "attached", "rw", "/dev/vdb"),
            *(f"compute{one.number % 100}", json.dumps({"host": "c"}), info, False),
            *(one.created, one.created, one.created),
        )


_SNAPSHOT = (
    "id project_id user_id name volume_id size status progress volume_type_id consumes_quota "
    "metadata created_at"
)


def _snapshot(one: One) -> Rows:
    if one.number % 4 == 2:
        status = "error" if one.status == "error" else "available"
        yield (
            *(ident("snapshot", one.number), one.project, USER, f"snap-{one.number}", one.id),
            *(1 + one.number % 100, status, "100%", TYPES[one.number % len(TYPES)], True),
            *(json.dumps({"kept": "yes"}), one.created),
        )


_OPERATION = (
    "id workflow resource_type resource_id project_id user_id request_id state step queue data "
    "trail epoch worker lease_until due_at attempts opened_at ended_at"
)


def _operation(one: One) -> Rows:
    open_ = one.number % 500 == 3
    opened = one.created.timestamp()
    yield (
        *(ident("operation", one.number), "create_volume", "volume", one.id, one.project, USER),
        *(f"req-{ident('request', one.number)}", "open" if open_ else "succeeded", "build"),
        *(f"volume.{one.host.partition('#')[0]}", json.dumps({"volume_id": one.id}), "[]"),
        *(1, f"node{one.number % 10}:1:1", None, 0.0, 1, opened, None if open_ else opened + 1),
    )


_MESSAGE = (
    "id project_id request_id resource_type resource_uuid event_id message_level user_message "
    "created_at expires_at"
)


def _message(one: One) -> Rows:
    if one.number % 4 == 3:
        yield (
            *(ident("message", one.number), one.project, f"req-{ident('request', one.number)}"),
            *("VOLUME", one.id, "VOLUME_VOLUME_001_002", "ERROR", "schedule: no pool has room"),
            *(one.created, one.created + timedelta(days=3000)),
        )


_KEY = "service project_id user_id key fingerprint epoch lease_until log status expires_at"


def _key(one: One) -> Rows:
    if one.number % 4 == 0:
        opened = one.created.timestamp()
        yield (
            *("volume", one.project, USER, ident("key", one.number), "0" * 64, 1, opened, "[]"),
            *(202, opened + 90_000_000),
        )


_SHOWN = (
    (tables.volumes, _VOLUME, _volume),
    (tables.attachments, _ATTACHMENT, _attachment),
)
_EVERYTHING = (
    *_SHOWN,
    (tables.snapshots, _SNAPSHOT, _snapshot),
    (tables.operations, _OPERATION, _operation),
    (tables.messages, _MESSAGE, _message),
    (tables.idempotency_keys, _KEY, _key),
)
