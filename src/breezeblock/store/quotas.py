"""Quotas: limits, and usage that moves in the transaction of the rows it counts (design, law 7)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa

from breezeblock.model.errors import OverQuota
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.store.tables import quota_limits, quota_usages

DEFAULT_CLASS = ":default"
"""Stands in the project column for the default quota class."""

PER_VOLUME = "per_volume_gigabytes"
"""The resource whose limit is that of a single volume's size; nothing is counted for it."""

LIMIT_ERRORS = {
    "volumes": "VolumeLimitExceeded",
    "gigabytes": "VolumeSizeExceedsAvailableQuota",
    "snapshots": "SnapshotLimitExceeded",
}


def charge(
    tx: WriteTx,
    project_id: str,
    changes: Mapping[str, int],
    defaults: Mapping[str, int],
    *,
    volume_size: int = 0,
) -> None:
    """Move the project's usage; raises OverQuota when a growth passes its limit.

    `changes` is resource → difference, `defaults` the configured limits of resources without a row
    (a resource that is not in it is unlimited). `volume_size`: of one volume, which has a limit of
    its own. One statement moves all rows, in a fixed order, so that two transactions cannot wait
    for each other.
    """
    moved = {name: change for name, change in sorted(changes.items()) if change}
    then = record(tx, project_id, moved)
    _compare(tx, project_id, moved, then, defaults, volume_size=volume_size)


def check_volume(tx: ReadTx, project_id: str, size: int, defaults: Mapping[str, int]) -> None:
    """The limit on the size of one volume. Raises OverQuota."""
    _compare(tx, project_id, {}, {}, defaults, volume_size=size)


def check(
    tx: ReadTx, project_id: str, changes: Mapping[str, int], defaults: Mapping[str, int]
) -> None:
    """Whether `charge` would do it now; raises OverQuota when it would not."""
    present = usages(tx, project_id)
    moved = {name: change for name, change in sorted(changes.items()) if change}
    then = {name: present.get(name, 0) + change for name, change in moved.items()}
    _compare(tx, project_id, moved, then, defaults)


def _compare(
    tx: ReadTx,
    project_id: str,
    moved: Mapping[str, int],
    then: Mapping[str, int],
    defaults: Mapping[str, int],
    *,
    volume_size: int = 0,
) -> None:
    """Raises OverQuota when something that grows is then above its limit."""
    grown = [name for name, change in moved.items() if change > 0]
    asked = [*grown, PER_VOLUME] if volume_size else grown
    allowed = limits(tx, project_id, asked, defaults) if asked else {}
    if 0 <= allowed.get(PER_VOLUME, -1) < volume_size:
        raise OverQuota(
            f"{volume_size} GiB were asked; the limit of {allowed[PER_VOLUME]} GiB for one volume "
            "would be exceeded.",
            "VolumeSizeExceedsLimit",
        )
    for name in grown:
        limit = allowed.get(name, -1)
        if 0 <= limit < then[name]:
            raise _over(name, moved[name], then[name] - moved[name], limit)


def record(tx: WriteTx, project_id: str, changes: Mapping[str, int]) -> dict[str, int]:
    """Move the project's usage whatever its limits say: for what is there already.

    Resource → what is used now.
    """
    moved = {name: change for name, change in sorted(changes.items()) if change}
    if not moved:
        return {}
    usages = _moved(tx, project_id, moved)
    if len(usages) < len(moved):  # the project's first of its kind
        for name in moved.keys() - usages.keys():
            row = {"project_id": project_id, "resource": name, "in_use": 0}
            tx.insert_once(quota_usages, row)
        usages |= _moved(
            tx, project_id, {name: moved[name] for name in moved.keys() - usages.keys()}
        )
    return usages


def _moved(tx: WriteTx, project_id: str, changes: Mapping[str, int]) -> dict[str, int]:
    """Move the rows that are there, in one statement; resource → what is used now."""
    given: dict[str, Any] = {"the_project": project_id}
    for number, (name, change) in enumerate(changes.items()):
        given |= {f"name_{number}": name, f"change_{number}": change}
    rows = tx.rows(_moving(len(changes), tx.dialect), **given)
    return {row.resource: row.in_use for row in rows}


@cache
def _moving(number: int, dialect: str) -> sa.Executable:
    """The statement that moves so many of a project's resources.

    An UPDATE takes rows as they lie in the table, which changes: on PostgreSQL two of them could
    wait for each other. So all rows are locked before, in the order of their names.
    """
    names = [sa.bindparam(f"name_{one}", type_=sa.String) for one in range(number)]
    changes = [sa.bindparam(f"change_{one}", type_=sa.Integer) for one in range(number)]
    whens = [
        (quota_usages.c.resource == name, change)
        for name, change in zip(names, changes, strict=True)
    ]
    ours = sa.and_(
        quota_usages.c.project_id == sa.bindparam("the_project"),
        quota_usages.c.resource.in_(names),
    )
    if dialect == "postgresql":
        rows = sa.select(quota_usages.c.resource).where(ours)
        in_order = rows.order_by(quota_usages.c.resource).with_for_update()
        held = in_order.cte("held").prefix_with("MATERIALIZED")
        ours = sa.and_(ours, quota_usages.c.resource == held.c.resource)
    return (
        quota_usages.update()
        .where(ours)
        .values(in_use=quota_usages.c.in_use + sa.case(*whens))
        .returning(quota_usages.c.resource, quota_usages.c.in_use)
    )


def _over(name: str, asked: int, used: int, limit: int) -> OverQuota:
    # "exceeded" is a word of the interface: clients that see Retry-After and do not find it take
    # the limit for one of requests a second, and ask again.
    base = name.partition("_")[0]
    unit = "GiB" if base == "gigabytes" else base
    return OverQuota(
        f"quota '{name}' of {limit} {unit} would be exceeded: {used} in use, {asked} more asked.",
        LIMIT_ERRORS.get(base, "OverQuota"),
    )


_LIMITS = sa.select(quota_limits).where(
    quota_limits.c.project_id.in_(sa.bindparam("the_projects", expanding=True))
)
_SOME_LIMITS = _LIMITS.where(quota_limits.c.resource.in_(sa.bindparam("the_names", expanding=True)))


def limits(
    tx: ReadTx, project_id: str, names: list[str] | None, defaults: Mapping[str, int]
) -> dict[str, int]:
    """Resource → limit of a project: its own, else the default class's, else the configured."""
    found = dict(defaults)
    if names is None:
        rows = tx.rows(_LIMITS, the_projects=[project_id, DEFAULT_CLASS])
    else:
        rows = tx.rows(_SOME_LIMITS, the_projects=[project_id, DEFAULT_CLASS], the_names=names)
    for row in sorted(rows, key=lambda row: row.project_id != DEFAULT_CLASS):
        found[row.resource] = row.hard_limit
    return found


def usages(tx: ReadTx, project_id: str) -> dict[str, int]:
    """Resource → what the project uses."""
    statement = sa.select(quota_usages).where(quota_usages.c.project_id == project_id)
    return {row.resource: row.in_use for row in tx.rows(statement)}


def hold_usages(tx: WriteTx) -> None:
    """Nobody's usage moves until this transaction ends. What moves it changes the rows that it
    counts in the same transaction: those stand still, too. (SQLite has one writer anyway.)"""
    if tx.dialect == "postgresql":
        tx.run(sa.text(f"LOCK TABLE {quota_usages.name} IN SHARE ROW EXCLUSIVE MODE"))


def set_usage(tx: WriteTx, project_id: str, resource: str, used: int) -> None:
    """Correct what a project is counted to use; the caller holds the usages."""
    key = (quota_usages.c.project_id == project_id, quota_usages.c.resource == resource)
    if not tx.run(quota_usages.update().where(*key).values(in_use=used)):
        row = {"project_id": project_id, "resource": resource, "in_use": used}
        tx.insert_once(quota_usages, row)


def set_limit(tx: WriteTx, project_id: str, resource: str, limit: int) -> None:
    """Give a project (or DEFAULT_CLASS) a limit of its own; -1: none."""
    key = (quota_limits.c.project_id == project_id, quota_limits.c.resource == resource)
    change = quota_limits.update().where(*key).values(hard_limit=limit)
    if not tx.run(change):
        row = {"project_id": project_id, "resource": resource, "hard_limit": limit}
        if not tx.insert_unless_taken(quota_limits.insert().values(row)):
            tx.run(change)


def reset_limits(tx: WriteTx, project_id: str) -> None:
    """Take a project's own limits away: the defaults hold again."""
    tx.run(quota_limits.delete().where(quota_limits.c.project_id == project_id))


def keys_of_type(type_name: str) -> tuple[str, ...]:
    """The resources that are counted for one volume type."""
    return tuple(f"{kind}_{type_name}" for kind in ("volumes", "gigabytes", "snapshots"))


def rename_type(tx: WriteTx, old: str, new: str) -> None:
    """Move every project's limits and usage of a volume type to its new name.

    The caller holds the type, so that nobody charges for it under the old name meanwhile.
    """
    forget_type(tx, new)
    for table in (quota_limits, quota_usages):
        for before, after in zip(keys_of_type(old), keys_of_type(new), strict=True):
            tx.run(table.update().where(table.c.resource == before).values(resource=after))


def forget_type(tx: WriteTx, type_name: str) -> None:
    """Remove limits and usage of a type that is no more: another may take its name."""
    for table in (quota_limits, quota_usages):
        tx.run(table.delete().where(table.c.resource.in_(keys_of_type(type_name))))
