"""What answers are made of where rows are shown as the database gives them (`store/shown.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from breezeblock.api.access import Owned
from breezeblock.api.application import ApiCall
from breezeblock.web.types import timestamp

Shown = TypeVar("Shown", bound=msgspec.Struct)


def raw(text: str) -> Any:
    """JSON that goes into the answer as it is."""
    return msgspec.Raw(text)


def as_shown(kind: type[Shown], made: msgspec.Struct, **others: Any) -> Shown:
    """What has just been made, as it would be read; `others` are fields that it does not have."""
    return kind(
        **{
            name: others[name] if name in others else _as_text(getattr(made, name))
            for name in kind.__struct_fields__
        }
    )


def _as_text(value: Any) -> Any:
    if isinstance(value, datetime):
        return timestamp(value)
    return msgspec.json.encode(value).decode() if isinstance(value, Mapping) else value


class Opened:
    """Which fields policy rules open to the caller: asked once for each owner, not for each row."""

    def __init__(self, call: ApiCall) -> None:
        self._call = call
        self._known: dict[tuple[str, str, str], bool] = {}

    def __call__(self, rule: str, row: Owned) -> bool:
        asked = rule, row.project_id, row.user_id
        answer = self._known.get(asked)
        if answer is None:
            owner = {"project_id": row.project_id, "user_id": row.user_id}
            answer = self._known[asked] = self._call.allowed(rule, owner)
        return answer
