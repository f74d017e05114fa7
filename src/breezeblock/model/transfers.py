"""Transfers: a volume offered to another project, and the rules of who may take it over.

Who knows the key of an offer may take the volume. The key is told once, to who made the offer; what
is kept is a salted hash of it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec

from breezeblock.model.attachments import Attachment, status_without_reservation
from breezeblock.model.errors import InvalidState
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.volumes import AWAITING_TRANSFER, FREE_TO_MIGRATE, Volume

KEY_BYTES = 8
"""A key is written as 16 hexadecimal characters, which a person can type."""
SALT_BYTES = 16
# 4 MiB and some 10 ms a try. The key is random, so nobody gets far by guessing anyway.
_COST, _BLOCK, _LANES = 2**12, 8, 1


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """An offer as it stands in the database. It is gone once it is accepted or withdrawn."""

    id: str
    volume_id: str
    salt: str
    auth_key_hash: str
    source_project_id: str
    created_at: datetime
    name: str | None = None
    no_snapshots: bool = False
    destination_project_id: str | None = None
    accepted: bool = False
    updated_at: datetime | None = None

    def opens_with(self, auth_key: str) -> bool:
        """Whether this is the offer's key. Takes its time: to be called on a thread."""
        return hmac.compare_digest(hash_of(auth_key, self.salt), self.auth_key_hash)


def new_auth_key() -> str:
    """A key for a new offer."""
    return secrets.token_hex(KEY_BYTES)


def new_salt() -> str:
    return secrets.token_hex(SALT_BYTES)


def hash_of(auth_key: str, salt: str) -> str:
    """What is kept of a key. Takes its time, as `Transfer.opens_with`."""
    text, given = auth_key.encode(), bytes.fromhex(salt)
    digest = hashlib.scrypt(text, salt=given, n=_COST, r=_BLOCK, p=_LANES, dklen=32)
    return digest.hex()


def check_offer(
    volume: Volume,
    snapshots: Iterable[Snapshot],
    attachments: Collection[Attachment],
    *,
    no_snapshots: bool,
    encrypted_allowed: bool,
) -> None:
    """Whether the volume may be offered, together with these snapshots. Raises InvalidState."""
    if volume.status != "available":
        raise _refuse(volume, f"its status is {volume.shown_status}, it must be available")
    if volume.encryption_key_id is not None and not encrypted_allowed:
        raise _refuse(volume, "it is encrypted; that takes /volume-transfers from version 3.70")
    if volume.encryption_key_id is not None and no_snapshots:
        raise _refuse(volume, "it is encrypted, so its snapshots have to go with it")
    _check_free(volume, snapshots, attachments)


def check_accept(
    volume: Volume, snapshots: Iterable[Snapshot], attachments: Collection[Attachment]
) -> None:
    """Whether an offered volume may change hands, together with these snapshots.

    Raises InvalidState.
    """
    if volume.status != AWAITING_TRANSFER:
        raise _refuse(
            volume, f"its status is {volume.shown_status}, it must be {AWAITING_TRANSFER}"
        )
    _check_free(volume, snapshots, attachments)


def _check_free(
    volume: Volume, snapshots: Iterable[Snapshot], attachments: Collection[Attachment]
) -> None:
    if volume.group_id:
        raise _refuse(volume, f"it belongs to group {volume.group_id}")
    if volume.migration_status not in FREE_TO_MIGRATE:
        raise _refuse(volume, "it is being migrated")
    for snapshot in snapshots:
        if snapshot.status != "available":
            raise InvalidState(
                f"Snapshot {snapshot.id} cannot be transferred with its volume: its status is "
                f"{snapshot.status}, it must be available."
            )
    # A host that was let in for the old owner must not see what the new one writes.
    let_in = any(one.host is not None for one in attachments)
    if let_in or status_without_reservation(attachments)[0] != "available":
        raise _refuse(volume, "a host is connected with it")


def _refuse(volume: Volume, why: str) -> InvalidState:
    return InvalidState(f"Volume {volume.id} cannot be transferred: {why}.")
