"""What a type asks of a LUN itself, where it is: reserved or thin space, and limits (`qos`).

All the rest of a type (`netapp_disk_type`, …) speaks of pools, and is the scheduler's.
"""

from __future__ import annotations

from collections.abc import Mapping

from breezeblock.drivers.base import PermanentError, TemporaryError, Volume
from breezeblock.drivers.netapp.client import OntapError
from breezeblock.drivers.netapp.luns import Gone, Lun, Luns
from breezeblock.drivers.netapp.qos import NO_SUCH_POLICY, PolicyGroups
from breezeblock.drivers.netapp.qos_rules import GROUP, GROUP_IS_ADAPTIVE

PROVISIONING = "provisioning:type"
SCOPE = "netapp:"
KNOWN = (GROUP, GROUP_IS_ADAPTIVE)


def reserved(extra_specs: Mapping[str, str], default: bool) -> bool:
    """Whether the LUN's space is reserved. Raises PermanentError."""
    said = extra_specs.get(PROVISIONING)
    if said is None:
        return default
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

    def apply(self, lun: Lun, volume: Volume) -> None:
        """Safe to repeat: the group first, then the LUN, then the groups that nobody uses."""
        check(volume.extra_specs)
        reserve = reserved(volume.extra_specs, self._reserve)
        group = self._groups.ready(volume, lun.gib)
        now = lun.qos_policy.name if lun.qos_policy is not None else ""
        settings: dict[str, object] = {}
        if group != now:
            settings["qos_policy.name"] = group
        if reserve != lun.space.guarantee.requested:
            settings["space.guarantee.requested"] = reserve
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
