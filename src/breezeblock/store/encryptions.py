"""How volume types are encrypted, in the database; fixed while volumes have the type."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.model.encryptions import Encryption
from breezeblock.model.errors import InvalidState, NotFound
from breezeblock.store import volume_types
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import encryptions

KIND = "Encryption of volume type"


_FIND = sa.select(encryptions).where(encryptions.c.volume_type_id == sa.bindparam("the_type"))


def find(tx: ReadTx, type_id: str) -> Encryption | None:
    """The encryption of a volume type, if it has one."""
    row = tx.first(_FIND, the_type=type_id)
    return None if row is None else Encryption(**row._mapping)


def insert(tx: WriteTx, encryption: Encryption) -> None:
    """Raises NotFound, InvalidState when volumes have the type or it is encrypted already."""
    _lock_unused(tx, encryption.volume_type_id)
    if not tx.insert_once(encryptions, msgspec.structs.asdict(encryption)):
        raise InvalidState(f"Volume type {encryption.volume_type_id} is encrypted already.")


def update(tx: WriteTx, type_id: str, **values: Any) -> None:
    """Raises NotFound, also when the type is not encrypted; InvalidState when volumes have it."""
    _lock_unused(tx, type_id)
    values["updated_at"] = tx.now
    mine = encryptions.c.volume_type_id == type_id
    if not tx.run(encryptions.update().where(mine).values(values)):
        raise NotFound(KIND, type_id)


def delete(tx: WriteTx, type_id: str) -> None:
    """As `update`."""
    _lock_unused(tx, type_id)
    if not tx.run(encryptions.delete().where(encryptions.c.volume_type_id == type_id)):
        raise NotFound(KIND, type_id)


def _lock_unused(tx: WriteTx, type_id: str) -> None:
    """Nobody makes a volume of the type until this transaction ends."""
    volume_types.lock(tx, type_id)
    if volume_types.in_use(tx, type_id):
        raise InvalidState(f"Volume type {type_id} is in use; its encryption cannot be changed.")
