"""Whose resources a caller may see: his project's, or with administrator's rights everybody's."""

from __future__ import annotations

from breezeblock.api.application import ApiCall


def seen_by(call: ApiCall) -> str | None:
    """The project that limits what the caller finds, for the store's queries; None: no limit."""
    return None if call.identity.is_admin else call.identity.project_id
