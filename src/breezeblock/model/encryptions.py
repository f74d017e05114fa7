"""How volumes of a type are to be encrypted.

An operator may describe it; keys to do it with come from a key manager, which this deployment has
none of. So nobody gets a volume of such a type: one in clear text would be worse than none.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from breezeblock.model.errors import InvalidInput


class Encryption(msgspec.Struct, frozen=True, kw_only=True):
    """The encryption of a volume type as it stands in the database."""

    encryption_id: str
    volume_type_id: str
    provider: str
    control_location: str
    created_at: datetime
    cipher: str | None = None
    key_size: int | None = None
    updated_at: datetime | None = None


def refuse_volumes(type_name: str, *, encrypted: bool) -> None:
    """Raises InvalidInput when volumes of the type would have to be encrypted."""
    if encrypted:
        raise InvalidInput(
            f"volume_type: volumes of {type_name} are to be encrypted, and this deployment has no "
            "key manager to do it with. Take another type."
        )
