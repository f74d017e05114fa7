"""Whose resources a caller may see: his project's, or with administrator's rights everybody's.

And whose those become that he makes.
"""

from __future__ import annotations

from breezeblock.api.application import ApiCall
from breezeblock.model.errors import InvalidInput


def seen_by(call: ApiCall) -> str | None:
    """The project that limits what the caller finds, for the store's queries; None: no limit."""
    return None if call.identity.is_admin else call.identity.project_id


def own_project(call: ApiCall) -> str:
    """The project that owns what the caller makes.

    Raises InvalidInput when he speaks for none: Keystone has tokens for the whole system.
    """
    if not call.identity.project_id:
        raise InvalidInput("The token is for no project; this needs one that is for a project.")
    return call.identity.project_id
