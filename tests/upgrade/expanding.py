"""Whether a migration only expands: what of a schema before it is missing or narrower after it.

Code of the release before must find all that it reads, and all that it writes must be taken.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy import MetaData, Table


def narrower(before: MetaData, after: MetaData) -> list[str]:
    """What old code would stumble over, in words; nothing when the schema was only expanded."""
    found: list[str] = []
    for name, table in before.tables.items():
        if name not in after.tables:
            found.append(f"table {name} is gone")
            continue
        found += _columns(table, after.tables[name])
        found += _rules(table, after.tables[name])
    return found


def _columns(before: Table, after: Table) -> Iterator[str]:
    for old in before.columns:
        if old.name not in after.columns:
            yield f"column {old} is gone"
            continue
        new = after.columns[old.name]
        if str(old.type) != str(new.type):
            yield f"column {old} was {old.type}, is {new.type}"
        if old.nullable != new.nullable:
            yield f"column {old} {'may' if new.nullable else 'must not'} be null now"
        if old.server_default is not None and new.server_default is None:
            yield f"column {old} has lost its default"
    for new in after.columns:
        if new.name not in before.columns and not new.nullable and new.server_default is None:
            yield f"column {new} is new, and old code leaves it out"


def _rules(before: Table, after: Table) -> Iterator[str]:
    """Rules that rows must keep: a new one refuses what old code writes, a lost one is missed."""
    old, new = set(_described(before)), set(_described(after))
    yield from (f"{before.name}: new rule: {rule}" for rule in sorted(new - old))
    yield from (f"{before.name}: lost rule: {rule}" for rule in sorted(old - new))


def _described(table: Table) -> Iterator[str]:
    for index in table.indexes:
        if index.unique:
            where = {
                str(text) for key in ("sqlite", "postgresql")
                if (text := index.dialect_options[key].get("where")) is not None
            }  # fmt: skip
            yield f"unique index on {[one.name for one in index.columns]} {sorted(where)}"
    for constraint in table.constraints:
        match constraint:
            case sa.PrimaryKeyConstraint():
                yield f"primary key {[one.name for one in constraint.columns]}"
            case sa.UniqueConstraint():
                yield f"unique {[one.name for one in constraint.columns]}"
            case sa.ForeignKeyConstraint():
                targets = [one.target_fullname for one in constraint.elements]
                yield f"foreign key {constraint.column_keys} to {targets} {constraint.ondelete}"
            case sa.CheckConstraint():
                yield f"check {constraint.sqltext}"
