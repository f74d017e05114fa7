"""What a client asks of a list: page, order, filters. Made by the web layer, used by the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Direction = Literal["asc", "desc"]
Comparison = tuple[str, datetime]
"""An operator (gt, gte, eq, neq, lt, lte) and a time in UTC without zone."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A parsed list query. `empty` says that nothing can match, so there is no need to ask.

    `sort` always ends with created_at and id. A filter's value is a str, int, bool or None, a
    tuple (any of them), or for metadata a dict. `like` holds substring tests. `times` holds
    comparisons by column; all hold.
    """

    limit: int
    marker: str | None = None
    offset: int = 0
    sort: tuple[tuple[str, Direction], ...] = (("created_at", "desc"), ("id", "desc"))
    filters: Mapping[str, Any] = field(default_factory=dict)
    like: Mapping[str, str] = field(default_factory=dict)
    times: Mapping[str, tuple[Comparison, ...]] = field(default_factory=dict)
    all_tenants: bool = False
    with_count: bool = False
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page, and the total when it was asked for."""

    items: list[Any]
    total: int | None = None
