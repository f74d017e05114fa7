"""Snapshots of several volumes of one moment.

The array freezes whole FlexVols: one by a snapshot of it, several by a consistency group that lives
as long as that takes. Then each volume's LUN is cloned out of the frozen FlexVol to what any
snapshot of ours is, and the FlexVols' snapshots are removed.

The frozen FlexVols' snapshot (the *moment*) is named by the snapshots that are wanted, so a process
that goes on where another one died uses the same moment. Once some of the snapshots are there and
the moment is not, they were complete and some were deleted since: a call that comes late must not
bring these back. What nobody comes back for is removed by later calls, when it is an hour old.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from breezeblock.drivers.base import PermanentError, Snapshot, TemporaryError, Volume
from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.client import CALL, JobLost, Ontap, OntapError, time_left
from breezeblock.drivers.netapp.facts import FlexVol
from breezeblock.drivers.netapp.lookup import Lookup
from breezeblock.drivers.netapp.luns import Exists, Gone, Lun, Luns
from breezeblock.drivers.netapp.names import Mark
from breezeblock.drivers.netapp.pools import Pools

GROUPS = "/application/consistency-groups"
PREFIX = "breezeblock-moment-"
STALE = timedelta(hours=1)
ABANDONED = 2 * CALL
"""Seconds after which a consistency group that is still there is nobody's."""
SNAPSHOT_EXISTS = frozenset({1638461})
GONE = frozenset({4, 1638400, 1638595, 53411842})
BUSY_PAUSES = (0.1, 0.3, 1.0, 2.0, 3.0)
_MOMENTS = uuid.UUID("5a9c8d52-32a1-5d0e-8f5a-0c1b8f0b7f11")


class _Frozen(msgspec.Struct, frozen=True):
    """A snapshot of a FlexVol. `owners`: what it is busy with."""

    uuid: str
    name: str
    create_time: str = ""
    owners: list[str] = []


class _Group(msgspec.Struct, frozen=True):
    uuid: str
    name: str


def moment_of(snapshots: Iterable[Snapshot]) -> str:
    """The moment's name: the same for the same snapshots, in whatever order."""
    wanted = " ".join(sorted(snapshot.id for snapshot in snapshots))
    return f"{PREFIX}{uuid.uuid5(_MOMENTS, wanted)}"


class Together:
    """Freezes volumes together.

    `_seen`: since when other calls' groups have been in our way.
    """

    def __init__(
        self, client: Ontap, svm: str | None, luns: Luns, lookup: Lookup, pools: Pools
    ) -> None:
        self._client = client
        self._svm = {} if svm is None else {"svm.name": svm}
        self._luns = luns
        self._lookup = lookup
        self._pools = pools
        self._seen: dict[str, float] = {}

    def snapshot(self, snapshots: Sequence[Snapshot]) -> None:
        """All of them or none; see the contract."""
        moment = moment_of(snapshots)
        flexvols = self._flexvols(snapshots)
        missing = self._missing(snapshots)
        if missing:
            self._sweep(flexvols, moment)
            if not self._frozen_in_all(flexvols, moment):
                if len(missing) < len(snapshots):
                    raise PermanentError("Some of these snapshots were made, and deleted since.")
                for one in snapshots:
                    self._check(one)
                self._freeze(flexvols, moment)
            try:
                self._thaw_out(missing, moment)
            except (OntapError, PermanentError):
                self._tidy(flexvols, moment)
                raise
            if self._missing(snapshots):
                raise TemporaryError("Another call has removed some of the snapshots.")
        self._tidy(flexvols, moment)

    def _flexvols(self, snapshots: Iterable[Snapshot]) -> list[FlexVol]:
        asked = {snapshot.pool for snapshot in snapshots}
        found = [flexvol for flexvol in self._pools.all() if flexvol.name in asked]
        if len(found) < len(asked):
            lacking = sorted(asked - {flexvol.name for flexvol in found})
            raise PermanentError(f"The backend has no pool {lacking[0]!r}.")
        for flexvol in found:
            if not flexvol.snapshot_directory_access_enabled:
                raise PermanentError(
                    f"The pool {flexvol.name} hides its snapshots.",
                    remedy="Enable snapshot directory access on the FlexVol.",
                )
        return found

    def _missing(self, snapshots: Iterable[Snapshot]) -> list[Snapshot]:
        return [one for one in snapshots if self._lookup.snapshot(one) is None]

    def _check(self, snapshot: Snapshot) -> None:
        lun = self._lookup.needed(Volume(snapshot.volume_id, snapshot.size, snapshot.pool))
        if lun.pool != snapshot.pool:
            raise PermanentError(f"Volume {snapshot.volume_id} is in another pool by now.")

    def _thaw_out(self, snapshots: Iterable[Snapshot], moment: str) -> None:
        """Make the snapshots of what is frozen. Where one cannot be made, none stays."""
        made: list[Lun] = []
        try:
            for one in snapshots:
                made += self._clone(one, moment)
        except (OntapError, PermanentError):
            for lun in made:
                self._luns.delete(lun)
            raise

    def _clone(self, snapshot: Snapshot, moment: str) -> list[Lun]:
        """What this call has made: a LUN, or nothing, because another call was quicker."""
        name = names.snapshot(snapshot.pool, snapshot.id)
        mark = Mark("snapshot", snapshot.id, snapshot.volume_id)
        there = names.volume(f"{snapshot.pool}/.snapshot/{moment}", snapshot.volume_id)
        settings = {"comment": mark.comment, "space.guarantee.requested": False}
        try:
            return [self._luns.clone(name, there.path, settings)]
        except Exists:
            return []
        except Gone:
            if self._luns.get(name) is None:
                raise PermanentError("The moment of these snapshots is gone.") from None
            return []

    # Freezing

    def _freeze(self, flexvols: Sequence[FlexVol], moment: str) -> None:
        if len(flexvols) == 1:
            self._freeze_one(flexvols[0], moment)
        else:
            self._freeze_many(flexvols, moment)

    def _freeze_one(self, flexvol: FlexVol, moment: str) -> None:
        try:
            self._client.post(_snapshots(flexvol), {"name": moment}, job=True)
        except OntapError as error:
            if error.code not in SNAPSHOT_EXISTS:
                raise
        except JobLost:
            if not self._frozen_in_all([flexvol], moment):
                raise

    def _freeze_many(self, flexvols: Sequence[FlexVol], moment: str) -> None:
        group = self._group(moment) or self._form(flexvols, moment)
        body = {"name": moment, "consistency_type": "crash"}
        try:
            self._client.post(f"{GROUPS}/{group.uuid}/snapshots", body, job=True)
        except (OntapError, JobLost) as error:
            if self._frozen_in_all(flexvols, moment):
                return
            self._disband(moment)
            if any(self._frozen(flexvol, moment) for flexvol in flexvols):
                self._remove(flexvols, moment)  # an earlier one, half removed
                raise TemporaryError("An earlier moment was still there.") from error
            raise

    def _form(self, flexvols: Sequence[FlexVol], moment: str) -> _Group:
        """A consistency group of these FlexVols; a FlexVol can be in one only."""
        action = {"action": "add"}
        volumes = [{"name": one.name, "provisioning_options": action} for one in flexvols]
        body: dict[str, Any] = {"name": moment, **self._svm, "volumes": volumes}
        refused: OntapError | None = None
        try:
            self._client.post(GROUPS, body, job=True)
        except OntapError as error:
            refused = error
        group = self._group(moment)
        if group is not None:
            return group
        if refused is None:
            raise TemporaryError("The consistency group did not come to be.", retry_after=2.0)
        groups = self._groups_with(flexvols)
        ours = [one for one in groups if one.name.startswith(PREFIX)]
        if len(ours) < len(groups):
            raise PermanentError(
                "A FlexVol of these volumes is in a consistency group of the administrator.",
                remedy="Take it out of that group, or freeze the volumes of one FlexVol only.",
            ) from refused
        if ours:
            self._disband_abandoned(ours)
            raise TemporaryError(
                "Other volumes of these pools are being frozen now.", retry_after=2.0
            ) from refused
        raise refused

    def _disband_abandoned(self, groups: Iterable[_Group]) -> None:
        """A group lives for one call. Whoever still used one would form another."""
        now = time.monotonic()
        for group in groups:
            if now - self._seen.setdefault(group.uuid, now) > ABANDONED:
                self._disband(group.name)
                del self._seen[group.uuid]

    def _group(self, name: str) -> _Group | None:
        found = self._client.records(GROUPS, {"name": name}, fields=("uuid", "name"), kind=_Group)
        return found[0] if found else None

    def _groups_with(self, flexvols: Iterable[FlexVol]) -> list[_Group]:
        query = {"volumes.name": names.one_of(one.name for one in flexvols)}
        return self._client.records(GROUPS, query, fields=("uuid", "name"), kind=_Group)

    # Tidying up

    def _frozen(self, flexvol: FlexVol, name: str) -> list[_Frozen]:
        fields = ("uuid", "name", "create_time", "owners")
        return self._client.records(
            _snapshots(flexvol), {"name": name}, fields=fields, kind=_Frozen
        )

    def _frozen_in_all(self, flexvols: Iterable[FlexVol], moment: str) -> bool:
        return all(self._frozen(flexvol, moment) for flexvol in flexvols)

    def _tidy(self, flexvols: Sequence[FlexVol], moment: str) -> None:
        if len(flexvols) > 1:
            self._disband(moment)
        self._remove(flexvols, moment)

    def _disband(self, name: str) -> None:
        group = self._group(name)
        if group is not None:
            self._forgiving_delete(f"{GROUPS}/{group.uuid}")

    def _remove(self, flexvols: Iterable[FlexVol], moment: str) -> None:
        for flexvol in flexvols:
            for pause in (*BUSY_PAUSES, None):
                found = self._frozen(flexvol, moment)
                if not any(one.owners for one in found):
                    break
                if pause is None or time_left() < pause:
                    raise TemporaryError("The storage array is still copying.", retry_after=2.0)
                time.sleep(pause)
            for one in found:
                self._forgiving_delete(f"{_snapshots(flexvol)}/{one.uuid}")

    def _sweep(self, flexvols: Sequence[FlexVol], moment: str) -> None:
        """Remove what processes have left that died long ago, and were not followed by others."""
        before = datetime.now(UTC) - STALE
        stale = set()
        for flexvol in flexvols:
            for one in self._frozen(flexvol, f"{PREFIX}*"):
                if one.name != moment and _time(one.create_time) < before:
                    stale.add(one.name)
        for name in sorted(stale):
            self._tidy(self._pools.all(), name)

    def _forgiving_delete(self, path: str) -> None:
        """What is gone already is fine."""
        try:
            self._client.delete(path, job=True)
        except JobLost:
            return
        except OntapError as error:
            if error.code not in GONE:
                raise


def _snapshots(flexvol: FlexVol) -> str:
    return f"/storage/volumes/{flexvol.uuid}/snapshots"


def _time(text: str) -> datetime:
    """A time that cannot be read counts as now: what may be young is left alone."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC)
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)
