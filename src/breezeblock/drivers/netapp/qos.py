"""Policy groups of the array: one for each volume whose type asks for limits.

Named by the volume (`openstack-UUID`, and `…-adaptive`), so whoever comes again or late finds what
is there: `ready` makes it or brings it up to date, `gone` removes it. What the limits are, and how
they follow the volume's size, is `qos_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breezeblock.drivers.base import PermanentError, TemporaryError, Volume
from breezeblock.drivers.netapp.client import NO_SUCH_ENTRY, JobLost, Ontap, OntapError
from breezeblock.drivers.netapp.qos_rules import GROUP, GROUP_IS_ADAPTIVE, Limits, Shared, wanted

PATH = "/storage/qos/policies"
NAME_TAKEN = 8454154
NO_SUCH_POLICY = 8454243
IN_USE = 8454158
FIELDS = ("name", "fixed", "adaptive")
NO_POLICY = ""
"""What a LUN's `qos_policy.name` is set to so that it has none."""


def own_prefix(volume_id: str) -> str:
    return f"openstack-{volume_id}"


def own_name(volume_id: str, limits: Limits) -> str:
    """A group's kind cannot be changed, so each kind has a name of its own."""
    return own_prefix(volume_id) + ("-adaptive" if limits.kind == "adaptive" else "")


class PolicyGroups:
    """The policy groups of one SVM."""

    def __init__(self, ontap: Ontap, svm: str | None) -> None:
        """`svm`: None for an account of the SVM itself."""
        self._ontap = ontap
        self._svm = {} if svm is None else {"svm.name": svm}

    def ready(self, volume: Volume, size: int | None = None) -> str:
        """The group that the volume's type asks for, with limits for `size` GiB (the volume's own
        if not given); NO_POLICY if it asks none. Raises PermanentError that names a wrong key."""
        asked = wanted(volume.extra_specs, volume.qos, size or volume.size)
        if asked is None:
            return NO_POLICY
        if isinstance(asked, Shared):
            self._check(asked)
            return asked.name
        name = own_name(volume.id, asked)
        self._make(name, asked)
        return name

    def check(self, volume: Volume) -> None:
        """Raises PermanentError when there can be no such group; makes none."""
        asked = wanted(volume.extra_specs, volume.qos, volume.size)
        if isinstance(asked, Shared):
            self._check(asked)

    def gone(self, volume_id: str, keep: str = NO_POLICY) -> None:
        """Remove the volume's own groups, but not the one that is called so. Nothing may use them
        any more."""
        for group in self._named(f"{own_prefix(volume_id)}*"):
            if group["name"] != keep:
                self._remove(group)

    def _check(self, asked: Shared) -> None:
        found = self._named(asked.name)
        if not found:
            raise PermanentError(
                f"The volume type's {GROUP} names a policy group that is not there.",
                remedy="Make it on the storage array, or correct the type's extra specs.",
            )
        if asked.kind not in found[0]:
            raise PermanentError(
                f"The volume type's {GROUP_IS_ADAPTIVE} does not fit the policy group it names.",
                remedy="Correct the type's extra specs.",
            )

    def _make(self, name: str, limits: Limits) -> None:
        found = self._named(name)
        if not found:
            try:
                body: Mapping[str, Any] = {"name": name, **self._svm, **limits.body}
                self._ontap.post(PATH, body, job=True)
                return
            except (OntapError, JobLost) as error:
                if isinstance(error, OntapError) and error.code != NAME_TAKEN:
                    raise
                found = self._named(name)
                if not found:
                    raise
        if not limits.held_by(found[0]):
            try:
                self._ontap.patch(f"{PATH}/{found[0]['uuid']}", limits.body, job=True)
            except OntapError as error:
                if error.code in (NO_SUCH_POLICY, NO_SUCH_ENTRY):
                    raise TemporaryError("The volume's type is being changed.") from error
                raise

    def _remove(self, group: Mapping[str, Any]) -> None:
        try:
            self._ontap.delete(f"{PATH}/{group['uuid']}", job=True)
        except OntapError as error:
            if error.code == IN_USE:
                raise TemporaryError("A policy group of the volume is still in use.") from error
            if error.code not in (NO_SUCH_POLICY, NO_SUCH_ENTRY):
                raise
        except JobLost:
            return  # the next one who looks for it sees whether it is gone

    def _named(self, pattern: str) -> list[dict[str, Any]]:
        query = {"name": pattern, **self._svm}
        return self._ontap.records(PATH, query, fields=FIELDS)
