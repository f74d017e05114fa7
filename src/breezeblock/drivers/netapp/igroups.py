"""Who may reach which LUN: one igroup for each host and initiator, and the maps to it.

An igroup comes with the first map of its host and goes with the last one. The array does the last
part by itself (`delete_on_unmap`), and an igroup that has maps is never deleted: so one that a
parallel export is about to use is either kept, or found missing, and made again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from breezeblock.drivers.base import PermanentError, TemporaryError
from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.client import Ontap, OntapError
from breezeblock.drivers.netapp.luns import NO_SUCH_LUN, Gone, Lun

IGROUPS = "/protocols/san/igroups"
MAPS = "/protocols/san/lun-maps"

EXISTS = 5374023
MEMBER_ALREADY = 5374035
MISSING = frozenset({4, 5374852, 5374878})
STILL_MAPPED = 1254213
MAP_EXISTS = 1254207
MAP_MISSING = frozenset({4, 5374922})
NUMBER_TAKEN = 1254324
SEEN_TWICE = 1254193
LUN_MISSING = NO_SUCH_LUN | {1254201}

HIGHEST_NUMBER = 255
"""Of the numbers that every initiator can address in the plain way."""
STRIDE = 37
"""How far on the next number is that is tried."""
TURNS = 8
"""How often an export looks again because somebody else was quicker."""
IGROUP_FIELDS = ("uuid", "name", "comment", "initiators.name")
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Identified(msgspec.Struct, frozen=True):
    uuid: str


class Igroup(msgspec.Struct, frozen=True):
    uuid: str
    name: str
    comment: str = ""
    initiators: list[_Named] = []

    @property
    def members(self) -> list[str]:
        return [one.name for one in self.initiators]

    @property
    def host(self) -> str | None:
        """The host that it is for; None: it is none of ours."""
        return names.host_of(self.name, self.comment, self.members)

    @property
    def ours(self) -> bool:
        """Of a host, or of a volume service itself."""
        services = {names.igroup_of_service(one) for one in self.members}
        return self.host is not None or self.name in services


class LunMap(msgspec.Struct, frozen=True):
    """An igroup's access to a LUN, under a number."""

    igroup: Igroup
    lun: _Identified
    number: int = msgspec.field(name="logical_unit_number", default=0)


@dataclass(frozen=True, slots=True)
class Access:
    """Those who are let in together: an igroup, as it should be."""

    igroup: str
    comment: str
    initiators: tuple[str, ...]


class Igroups:
    """The igroups of an SVM, and the maps."""

    def __init__(self, client: Ontap, host_type: str) -> None:
        self._client = client
        self._host_type = host_type

    def maps_of(self, lun: Lun) -> list[LunMap]:
        """All maps of a LUN, whoever made them."""
        return self._maps({"lun.uuid": lun.uuid})

    def all_maps(self, paths: str) -> list[LunMap]:
        """All maps of LUNs whose paths match."""
        return self._maps({"lun.name": paths})

    def hosts(self) -> dict[str, str]:
        """igroup's UUID → host, of all igroups of ours."""
        return {one.uuid: one.host for one in self._of_hosts({}) if one.host is not None}

    def of_host(self, host: str) -> list[Igroup]:
        """The igroups of a host: one, unless it has changed its initiator, or says it has two."""
        # Other names might be taken for a pattern.
        asked = {"comment": host} if _PLAIN.fullmatch(host) else {}
        return [one for one in self._of_hosts(asked) if one.host == host]

    def _of_hosts(self, asked: dict[str, str]) -> list[Igroup]:
        query = {"name": "openstack-*", **asked}
        return self._client.records(IGROUPS, query, fields=IGROUP_FIELDS, kind=Igroup)

    def find(self, name: str) -> Igroup | None:
        found = self._client.records(IGROUPS, {"name": name}, fields=IGROUP_FIELDS, kind=Igroup)
        return found[0] if found else None

    def map(self, lun: Lun, access: Access) -> int:
        """Let them reach the LUN; the number under which they find it, the same each time.

        Raises Gone: the LUN has another name by now, or none.
        """
        for turn in range(TURNS):
            igroup = self._ensure(access)
            there = [one for one in self.maps_of(lun) if one.igroup.uuid == igroup.uuid]
            number = there[0].number if there else self._map(lun, igroup, turn)
            if number is not None:
                return number
        raise TemporaryError("Others are changing the exports of the same host.")

    def unmap(self, lun: Lun, igroup: Igroup) -> None:
        """Take the igroup's access away, at once."""
        try:
            self._client.delete(f"{MAPS}/{lun.uuid}/{igroup.uuid}")
        except OntapError as error:
            if error.code not in MAP_MISSING:
                raise

    def remove_if_idle(self, igroup: Igroup) -> bool:
        """Remove the igroup unless it has maps; returns whether it is gone."""
        try:
            self._client.delete(f"{IGROUPS}/{igroup.uuid}")
        except OntapError as error:
            if error.code == STILL_MAPPED:
                return False
            if error.code not in MISSING:
                raise
        return True

    def remove_all_idle(self) -> list[str]:
        """Remove all igroups of ours that have no maps; the initiators that were in them."""
        removed: list[str] = []
        ours = names.one_of(("openstack-*", "breezeblock-*"))
        found = self._client.records(IGROUPS, {"name": ours}, fields=IGROUP_FIELDS, kind=Igroup)
        used = {one.igroup.uuid for one in self._maps({"igroup.name": ours})}
        for one in found:
            if one.uuid not in used and one.ours and self.remove_if_idle(one):
                removed += one.members
        return removed

    def _maps(self, query: dict[str, str]) -> list[LunMap]:
        asked = ("igroup.uuid", "igroup.name", "lun.uuid", "logical_unit_number")
        return self._client.records(MAPS, query, fields=asked, kind=LunMap)

    def _ensure(self, access: Access) -> Igroup:
        """The igroup, with all these initiators in it."""
        for _ in range(TURNS):
            found = self.find(access.igroup)
            if found is None:
                self._make(access)
            elif lacking := [one for one in access.initiators if one not in found.members]:
                self._add(found, lacking)
            else:
                return found
        raise TemporaryError("Others are changing the exports of the same host.")

    def _make(self, access: Access) -> None:
        try:
            self._client.post(
                IGROUPS,
                {
                    "name": access.igroup,
                    "comment": access.comment,
                    "protocol": "iscsi",
                    "os_type": self._host_type,
                    "delete_on_unmap": True,
                    "initiators": [{"name": one} for one in access.initiators],
                },
            )
        except OntapError as error:
            if error.code != EXISTS:
                raise

    def _add(self, igroup: Igroup, initiators: Sequence[str]) -> None:
        try:
            self._client.post(
                f"{IGROUPS}/{igroup.uuid}/initiators",
                {"records": [{"name": one} for one in initiators]},
            )
        except OntapError as error:
            if error.code != MEMBER_ALREADY and error.code not in MISSING:
                raise

    def _map(self, lun: Lun, igroup: Igroup, turn: int) -> int | None:
        """Map it, by its path; None: look again, something has changed meanwhile."""
        wanted: dict[str, Any] = {"lun.name": lun.path, "igroup.name": igroup.name}
        if turn < TURNS - 1:  # in the end the array chooses: nearly all may be taken
            wanted["logical_unit_number"] = _next_number(turn)
        try:
            made = self._client.post(MAPS, wanted, returning=True)
        except OntapError as error:
            if error.code in LUN_MISSING:
                raise Gone from error
            if error.code == SEEN_TWICE:
                raise PermanentError(
                    "The host reaches the volume by another initiator group already.",
                    remedy="Remove the other LUN map on the storage array.",
                ) from error
            if error.code in (MAP_EXISTS, NUMBER_TAKEN) or error.code in MISSING:
                return None
            raise
        return int(made["logical_unit_number"]) if "logical_unit_number" in made else None


def initiators_in_use(client: Ontap, initiators: Iterable[str]) -> set[str]:
    """Those of the initiators that are in some igroup, also of other owners."""
    asked = set(initiators)
    if not asked:
        return set()
    query = {"initiators.name": names.one_of(sorted(asked))}
    found = client.records(IGROUPS, query, fields=("initiators.name",))
    members = {one["name"] for group in found for one in group.get("initiators", ())}
    return asked & members


def _next_number(turn: int) -> int:
    """A LUN number that a host has not seen lately: they go round with the clock; another one at
    each turn.

    A host that failed to remove a volume's device must not find another volume behind it, and an
    answer from before an unexport must not fit the next export.
    """
    return 1 + (int(time.time() * 20) + turn * STRIDE) % HIGHEST_NUMBER
