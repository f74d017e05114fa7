"""What a type asks of a LUN itself, where it is: reserved or thin space, and limits (`qos`).

All the rest of a type (`netapp_disk_type`, …) speaks of pools, and is the scheduler's.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from breezeblock.drivers.base import PermanentError, TemporaryError, Volume
from breezeblock.drivers.netapp.client import OntapError
from breezeblock.drivers.netapp.luns import Gone, Lun, Luns
from breezeblock.drivers.netapp.qos import NO_POLICY, NO_SUCH_POLICY, PolicyGroups, own_prefix
from breezeblock.drivers.netapp.qos_rules import GROUP, GROUP_IS_ADAPTIVE

PROVISIONING = "provisioning:type"
THIN = "netapp_thin_provisioned"
"""Asks for a thin FlexVol, so for a thin LUN in it as well."""
SCOPE = "netapp:"
LIMITS = "qos_policy.name"
RESERVED = "space.guarantee.requested"
KNOWN = (GROUP, GROUP_IS_ADAPTIVE)


def reserved(extra_specs: Mapping[str, str], default: bool) -> bool:
    """Whether the LUN's space is reserved. Raises PermanentError."""
    said = extra_specs.get(PROVISIONING)
    if said is None:
        thin = extra_specs.get(THIN, "").removeprefix("<is>").strip().lower()
        return {"true": False, "false": True}.get(thin, default)
    word = said.strip().lower()
    if word not in ("thin", "thick"):
        raise PermanentError(
            f"The volume type's {PROVISIONING} must be thin or thick, not {said[:40]!r}.",
            remedy="Correct the type's extra specs.",
        )
    return word == "thick"


def check(extra_specs: Mapping[str, str]) -> None:
    """Raises PermanentError for a spec of ours that no LUN can be made to follow."""
    for key in extra_specs:
        if key.startswith(SCOPE) and key not in KNOWN:
            raise PermanentError(
                f"The volume type's {key} cannot be changed on a volume that is there.",
                remedy="Migrate it to a pool of that kind, or correct the type's extra specs.",
            )


class Retyping:
    """Makes LUNs what their types ask now."""

    def __init__(self, luns: Luns, groups: PolicyGroups, reserve: bool) -> None:
        self._luns = luns
        self._groups = groups
        self._reserve = reserve

    def reserves(self, volume: Volume) -> bool:
        """Whether the type asks that the volume's space is reserved."""
        return reserved(volume.extra_specs, self._reserve)

    def check(self, volume: Volume) -> None:
        """Raises PermanentError for a type that no LUN can follow, before anything is changed."""
        check(volume.extra_specs)
        self.reserves(volume)
        self._groups.check(volume)

    def apply(self, lun: Lun, volume: Volume) -> None:
        """Safe to repeat: the group first, then the LUN, then the groups that nobody uses."""
        check(volume.extra_specs)
        self._apply(lun, volume)

    def welcome(self, lun: Lun, volume: Volume) -> None:
        """Of a LUN that has come to be ours, change only what its type speaks of."""
        if PROVISIONING in volume.extra_specs or THIN in volume.extra_specs:
            self._apply(lun, volume)
        else:
            self.limit(lun, volume, lun.gib)

    def _apply(self, lun: Lun, volume: Volume) -> None:
        settings: dict[str, object] = {}
        if self.reserves(volume) != lun.space.guarantee.requested:
            settings[RESERVED] = self.reserves(volume)
        self._limit(lun, volume, lun.gib, settings)

    def limit(self, lun: Lun, volume: Volume, size: int) -> None:
        """Only the limits, for a volume of so many GiB; a type without any leaves it as it is."""
        if volume.qos or GROUP in volume.extra_specs:
            self._limit(lun, volume, size, {})

    def unlimit(self, lun: Lun, volume: Volume) -> None:
        """No group of the volume's own any more."""
        if _limits(lun).startswith(own_prefix(volume.id)):
            with suppress(Gone):
                self._luns.change(lun, {LIMITS: NO_POLICY})
        self._groups.gone(volume.id)

    def _limit(self, lun: Lun, volume: Volume, size: int, settings: dict[str, object]) -> None:
        group = self._groups.ready(volume, size)
        if group != _limits(lun):
            settings[LIMITS] = group
        if settings:
            try:
                self._luns.change(lun, settings)
            except Gone:
                self._groups.gone(volume.id)
                raise PermanentError(f"There is no volume {volume.id}.") from None
            except OntapError as error:
                if error.code != NO_SUCH_POLICY:
                    raise
                raise TemporaryError("The volume's type is being changed.") from error
        self._groups.gone(volume.id, keep=group)


def _limits(lun: Lun) -> str:
    """The name of the policy group that it has."""
    return NO_POLICY if lun.qos_policy is None else lun.qos_policy.name
