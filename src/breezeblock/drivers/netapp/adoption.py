"""LUNs that the array holds already, and how they become volumes and snapshots of ours.

A reference is `{"source-name": "/vol/POOL/LUN"}` (or the LUN's name alone, in the volume's pool),
or `{"source-id": UUID}`. What is taken gets its name and its comment, and keeps UUID, serial number
and bytes. A LUN whose size is no whole GiB grows to the next one, so that what hosts see is what
users were told. Only LUNs that no host can reach are taken: the array checks that in the same
request that renames.

Ours is what has the name **and** the comment (`names`). A LUN that is called `volume-<id>` without
it belongs to another service that uses such names, as Cinder does, perhaps one that still runs: it
may be taken, and the list says whose name it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from breezeblock.drivers.base import Manageable, PermanentError, Snapshot, TemporaryError, Volume
from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.lookup import Lookup
from breezeblock.drivers.netapp.luns import GIB, Exists, Gone, Lun, Luns
from breezeblock.drivers.netapp.names import Mark, Name

SOURCE_NAME, SOURCE_ID = "source-name", "source-id"
SNAPSHOTS = ("snapshot", "unmanaged-snapshot")
PASSING = ("making", "new", "old")
"""Kinds of names that somebody of us is working on."""

MANAGED = "It is managed already."
MAPPED = "A host can reach it: it is mapped to an initiator group."


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a LUN is to become."""

    name: Name
    mark: Mark


def is_ours(lun: Lun) -> bool:
    """Whether it is a volume or a snapshot of ours."""
    return _kind(lun) in ("volume", "snapshot") and lun.is_ours


class Adoption:
    """Takes LUNs over."""

    def __init__(self, luns: Luns, lookup: Lookup) -> None:
        self._luns = luns
        self._lookup = lookup

    def volumes(self) -> list[Manageable]:
        """All LUNs in the pools that are volumes of ours, or could become such."""
        return [_listed(lun, None) for lun in self._all() if _kind(lun) not in SNAPSHOTS]

    def snapshots(self) -> list[Manageable]:
        """All LUNs that are snapshots of ours, or could become such: they are called so."""
        found = list(self._all())
        paths = {lun.name.id: lun.path for lun in found if lun.name and lun.name.kind == "volume"}
        return [
            _listed(lun, paths.get(lun.mark.volume_id or ""))
            for lun in found
            if _kind(lun) in SNAPSHOTS
        ]

    def adopt(self, volume: Volume, reference: Mapping[str, str]) -> int:
        """Make it this volume; its GiB. Safe to repeat: the second time it is found as such."""
        wish = _Wish(names.volume(volume.pool, volume.id), Mark("volume", volume.id))
        return self._become(wish, reference)

    def adopt_snapshot(self, snapshot: Snapshot, reference: Mapping[str, str]) -> int:
        """Make it a snapshot of a volume of ours; its GiB."""
        owner = Volume(snapshot.volume_id, snapshot.size, snapshot.pool)
        self._lookup.needed(owner)
        wish = _Wish(
            names.snapshot(snapshot.pool, snapshot.id),
            Mark("snapshot", snapshot.id, snapshot.volume_id),
        )
        return self._become(wish, reference)

    def _all(self) -> Iterator[Lun]:
        for lun in self._luns.matching({"name": "/vol/*"}):
            if self._lookup.in_pools(lun) and _kind(lun) not in PASSING:
                yield lun

    def _become(self, wish: _Wish, reference: Mapping[str, str]) -> int:
        there = self._luns.get(wish.name)
        if there is None:
            there = self._take(wish, self._free(wish, reference))
        try:
            self._luns.grow(there, _whole(there) * GIB)
            if not there.comment.startswith(wish.mark.comment):
                self._luns.change(there, {"comment": wish.mark.comment})
        except Gone:
            raise _nothing() from None
        return _whole(there)

    def _free(self, wish: _Wish, reference: Mapping[str, str]) -> Lun:
        """What the reference names, if it may be taken. Raises PermanentError that says why not."""
        lun = self._named(wish.name.pool, reference)
        if lun.pool != wish.name.pool:
            raise PermanentError(
                f"It lies in the pool {lun.pool}, not in {wish.name.pool}.",
                remedy="Name the host@backend#pool that has it.",
            )
        reason = _why_not(lun) or self._why_not_so(wish, lun)
        if reason:
            raise PermanentError(reason, remedy="Unmap or unmanage it first, or name another one.")
        return lun

    def _why_not_so(self, wish: _Wish, lun: Lun) -> str:
        """Snapshots are taken as snapshots, and not from a volume that they belong to."""
        if _kind(lun) not in SNAPSHOTS:
            return ""
        if wish.mark.kind == "volume":
            return "It is a snapshot."
        owner = lun.mark.volume_id
        if owner in (None, wish.mark.volume_id):
            return ""
        there = self._luns.get(names.volume(lun.pool, str(owner)))
        return "It is a snapshot of another volume." if there is not None else ""

    def _named(self, pool: str, reference: Mapping[str, str]) -> Lun:
        name, ident = reference.get(SOURCE_NAME), reference.get(SOURCE_ID)
        if isinstance(ident, str) and ident:
            query = {"uuid": ident}
        elif isinstance(name, str) and name.strip("/"):
            query = {"name": name if name.startswith("/vol/") else f"/vol/{pool}/{name}"}
        else:
            raise PermanentError(f"The reference has no {SOURCE_NAME} and no {SOURCE_ID}.")
        # The array takes values for patterns: only what is called exactly so is meant.
        meant = set(query.values())
        for lun in self._luns.matching(query):
            if meant & {lun.path, lun.uuid} and self._lookup.in_pools(lun):
                return lun
        raise _nothing()

    def _take(self, wish: _Wish, lun: Lun) -> Lun:
        """Give it the name. The array decides who is first, and whether hosts reach it by now."""
        try:
            taken = self._luns.rename_unmapped(lun, wish.name)
        except Exists:
            taken = True  # by a call like this one
        found = self._luns.get(wish.name) if taken else None
        if found is not None:
            return found
        still = self._luns.get(lun.path)
        if still is not None and still.uuid == lun.uuid and not still.status.mapped:
            raise TemporaryError("The LUN is being changed.")
        raise PermanentError("Somebody else has taken it meanwhile, or a host can reach it now.")


def _listed(lun: Lun, volume: str | None) -> Manageable:
    return Manageable(
        reference={SOURCE_NAME: lun.path},
        size=_whole(lun),
        pool=lun.pool,
        managed=lun.name.id if lun.name is not None and is_ours(lun) else None,
        reason=_why_not(lun),
        volume_reference=None if volume is None else {SOURCE_NAME: volume},
        extra=_extra(lun),
    )


def _why_not(lun: Lun) -> str:
    if is_ours(lun):
        return MANAGED
    if _kind(lun) in PASSING:
        return "It is being made or replaced."
    return MAPPED if lun.status.mapped else ""


def _extra(lun: Lun) -> dict[str, str]:
    """What helps to tell LUNs apart."""
    told = {SOURCE_ID: lun.uuid, "serial_number": lun.serial}
    name = lun.name
    if name is not None and name.kind in ("volume", "snapshot") and not is_ours(lun):
        told["named_for"] = f"{name.kind} {name.id} of another service (Cinder)"
    return told


def _kind(lun: Lun) -> str:
    return "" if lun.name is None else lun.name.kind


def _whole(lun: Lun) -> int:
    """GiB, rounded up."""
    return -(-lun.bytes // GIB)


def _nothing() -> PermanentError:
    return PermanentError(
        "There is no such LUN in the backend's pools.",
        remedy="Look at the list of manageable ones.",
    )
