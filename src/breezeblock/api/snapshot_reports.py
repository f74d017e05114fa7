"""os-update_snapshot_status: who freezes a volume's content says how far a snapshot is.

An action of old, for hosts that take snapshots themselves. Where our own work on the snapshot is
open its end says which status is true, and only the progress is taken over.
"""

from __future__ import annotations

import re
from typing import Any

from breezeblock.api.access import locked_snapshot
from breezeblock.api.application import ApiCall
from breezeblock.model import snapshots as rules
from breezeblock.model.errors import InvalidInput
from breezeblock.store import snapshots
from breezeblock.store.store import WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import Body
from breezeblock.workflows import check_snapshot

RULE = "snapshot_extension:snapshot_actions:update_snapshot_status"
_PERCENT = re.compile(r"(100|[0-9]{1,2})%", re.ASCII)


class Report(Body, frozen=True):
    status: str
    progress: str | None = None


async def update_status(call: ApiCall) -> None:
    report: Report = call.body
    if report.progress and not _PERCENT.fullmatch(report.progress):
        raise InvalidInput("os-update_snapshot_status.progress: it must be 0% to 100%.")
    await call.app.store.write(lambda tx: _update(tx, call, report))


def _update(tx: WriteTx, call: ApiCall, report: Report) -> None:
    snapshot = locked_snapshot(tx, call, RULE)
    rules.check_report(snapshot, report.status)
    said: dict[str, Any] = {"progress": report.progress} if report.progress else {}
    if check_snapshot.is_busy(tx, snapshot):
        snapshots.update(tx, snapshot.id, **said)
        return
    snapshots.update(tx, snapshot.id, status=report.status, **said)
    now = snapshots.get(tx, snapshot.id)
    check_snapshot.submit(tx, call.app.caller(call), now, cut_short=False)


ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/snapshots/{snapshot_id}/action",
        update_status,
        action="os-update_snapshot_status",
        body=Report,
        success=202,
        summary="Say how far a snapshot is",
        tags=("snapshots",),
    ),
)
