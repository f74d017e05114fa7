"""Finding what a call is about inside a transaction, and asking the policy whether it may.

The handlers of volumes, snapshots and attachments call these first: a resource of another project
is not found, one of the caller's own that he may not touch is refused.
"""

from __future__ import annotations

from typing import Protocol

from breezeblock.api.application import ApiCall
from breezeblock.api.scope import seen_by
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.volumes import Volume
from breezeblock.store import snapshots, volumes
from breezeblock.store.store import ReadTx, WriteTx


class Owned(Protocol):
    """A resource that belongs to somebody."""

    @property
    def project_id(self) -> str: ...
    @property
    def user_id(self) -> str: ...


def owner_of(resource: Owned) -> dict[str, str]:
    """What the policy is told of a resource."""
    return {"project_id": resource.project_id, "user_id": resource.user_id}


def allowed_volume(tx: ReadTx, call: ApiCall, rule: str, volume_id: str | None = None) -> Volume:
    """As `locked_volume`, for what is to be found out before anything changes.

    Who asks other services or tells of other resources first asks this: else a stranger would learn
    from the answer what is there.
    """
    volume = volumes.get(tx, volume_id or call.params["volume_id"], seen_by(call))
    call.require(rule, owner_of(volume))
    return volume


def locked_volume(tx: WriteTx, call: ApiCall, rule: str, volume_id: str | None = None) -> Volume:
    """The volume (by default the path's), which nobody else changes until the transaction ends.

    Raises NotFound, Forbidden.
    """
    volume = volumes.lock(tx, volume_id or call.params["volume_id"], seen_by(call))
    call.require(rule, owner_of(volume))
    return volume


def locked_snapshot(tx: WriteTx, call: ApiCall, rule: str) -> Snapshot:
    """The path's snapshot, as `locked_volume`. Raises NotFound, Forbidden."""
    snapshot = snapshots.lock(tx, call.params["snapshot_id"], seen_by(call))
    call.require(rule, owner_of(snapshot))
    return snapshot
