"""Rows as answers show them: times and JSON as the texts that go into the answer.

A `kind` is a Struct whose fields are named and ordered as the columns are read; `store/shown_*.py`
have one each.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from breezeblock.store.expressions import time_text


def columns(
    table: sa.Table, kind: type[msgspec.Struct], **others: sa.ColumnElement[Any]
) -> list[sa.ColumnElement[Any]]:
    """What is read for such a row; `others` are fields that are no column of the table."""
    return [
        others[name].label(name) if name in others else _as_text(table.c[name])
        for name in kind.__struct_fields__
    ]


def _as_text(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    if isinstance(column.type, sa.DateTime):
        return time_text(column).label(column.name)
    if isinstance(column.type, sa.JSON):
        return sa.cast(column, sa.Text).label(column.name)
    return column
