"""What a request leaves behind, in a form that two runs of the same request can be compared by."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import httpx2
import sqlalchemy as sa

from breezeblock.store.store import ReadTx, Store
from breezeblock.store.tables import idempotency_keys, metadata, pools, quota_usages, services

_OWN = {idempotency_keys.name, services.name, pools.name, quota_usages.name}
_TELLING = ("status", "attach_status", "workflow", "state", "bootable", "readonly")
_IDENT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SECRET = re.compile(r'"(adminPass|auth_key)":"[^"]*"')
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?")


async def contents(store: Store) -> Counter[Any]:
    """All rows, by table and by what is telling of them, and the usage that is charged."""
    return await store.read(_contents)


def _contents(tx: ReadTx) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for table in metadata.sorted_tables:
        if table.name not in _OWN:
            telling = [table.c[name] for name in _TELLING if name in table.c]
            for row in tx.rows(sa.select(sa.literal(table.name), *telling)):
                found[tuple(row)] += 1
    for row in tx.rows(sa.select(quota_usages)):
        found["usage", row.resource] += row.in_use
    return found


def footprint(before: Counter[Any], after: Counter[Any]) -> dict[Any, int]:
    """What has come (positive) and gone (negative); a changed row has done both."""
    changes = Counter(after)
    changes.subtract(before)
    return {row: number for row, number in changes.items() if number}


def told(reply: httpx2.Response) -> tuple[int, str]:
    """Status and body of a reply, with ids numbered in their order and times left out."""
    names: dict[str, str] = {}
    text = _TIME.sub("TIME", reply.text)
    text = _IDENT.sub(lambda match: names.setdefault(match[0], f"id{len(names)}"), text)
    return reply.status_code, _SECRET.sub("SECRET", text)
