"""The backend's pools: the FlexVols of the SVM that the operator chose, and what is known of them.

A report is a handful of requests, however many FlexVols and LUNs there are. It is the self-test,
too: it fails when the array does not answer, the account may not look, or no FlexVol fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from breezeblock.drivers.base import PermanentError, PoolStats
from breezeblock.drivers.netapp.client import NO_SUCH_API, NOT_AUTHORISED, Ontap, OntapError
from breezeblock.drivers.netapp.facts import (
    AGGREGATE_FIELDS,
    DISK_FIELDS,
    FLEXVOL_FIELDS,
    GIB,
    NODE_FIELDS,
    Aggregate,
    Array,
    Disk,
    FlexVol,
    Mirror,
    Node,
    Release,
    Terms,
    disk_types,
    pool_stats,
)
from breezeblock.drivers.netapp.names import one_of
from breezeblock.drivers.netapp.options import NetAppOptions

T = TypeVar("T")

USABLE: Mapping[str, Any] = {
    "type": "rw",
    "state": "online",
    "is_svm_root": False,
    "error_state.is_inconsistent": False,
}
OLDEST = (9, 11, 1)
HIDDEN = (NO_SUCH_API, NOT_AUTHORISED)
"""What an account of the SVM is told of things of the cluster."""


class Pools:
    """The FlexVols that are pools."""

    def __init__(self, ontap: Ontap, options: NetAppOptions) -> None:
        self._ontap = ontap
        self._options = options

    def check_release(self) -> None:
        """Raises PermanentError when the array is too old, as far as the account may see that."""
        try:
            found = self._ontap.get("/cluster", fields=("version",))
        except OntapError as error:
            if error.code not in HIDDEN:
                raise
            return
        number = msgspec.convert(found, Release, strict=False).number
        if number < OLDEST:
            shown, oldest = (".".join(map(str, one)) for one in (number, OLDEST))
            raise PermanentError(
                f"The storage array runs ONTAP {shown}; the driver needs {oldest} or later.",
                remedy="Upgrade the array.",
            )

    def all(self) -> list[FlexVol]:
        """Those that can be used now. Raises PermanentError, which says what was looked for."""
        pattern = self._options.pool_name_search_pattern
        usable = self._ontap.records(
            "/storage/volumes",
            {**USABLE, "style": self._style},
            fields=FLEXVOL_FIELDS,
            kind=FlexVol,
        )
        found = [one for one in usable if pattern.fullmatch(one.name)]
        if not found:
            names = ", ".join(sorted(one.name for one in usable)) or "none"
            raise PermanentError(
                "No FlexVol is online, writable, no root volume, and matches"
                f" netapp_pool_name_search_pattern = {pattern.pattern!r}."
                f" Online and writable are: {names}.",
                remedy="Correct the pattern, or make such a FlexVol in this SVM.",
            )
        return found

    def get(self, name: str) -> FlexVol:
        """One pool. Raises PermanentError when there is none of that name."""
        for flexvol in self.all():
            if flexvol.name == name:
                return flexvol
        raise PermanentError(
            f"The backend has no pool {name!r}.", remedy="Name one that it reports."
        )

    def report(self, provisioned: Mapping[str, float]) -> tuple[PoolStats, ...]:
        """What the scheduler is told; `provisioned` is the promised bytes by pool."""
        flexvols = self.all()
        array = self._array(sorted({a.name for one in flexvols for a in one.aggregates}))
        terms = self._terms()
        return tuple(
            pool_stats(one, array, terms, provisioned.get(one.name, 0.0) / GIB) for one in flexvols
        )

    @property
    def _style(self) -> str:
        """LUNs lie in FlexVols only; files may lie in FlexGroups, too."""
        return "flexvol" if self._options.storage_protocol == "iscsi" else "flex*"

    def _terms(self) -> Terms:
        options = self._options
        functions = {
            "filter_function": options.filter_function,
            "goodness_function": options.goodness_function,
        }
        return Terms(
            thick=options.storage_protocol == "iscsi" and options.lun_space_reservation,
            max_over_subscription_ratio=options.max_over_subscription_ratio,
            reserved_percentage=options.reserved_percentage,
            functions={key: value for key, value in functions.items() if value is not None},
            together=options.storage_protocol == "iscsi",
        )

    def _array(self, aggregates: list[str]) -> Array:
        names = one_of(aggregates)
        under = self._cluster("/storage/aggregates", {"name": names}, AGGREGATE_FIELDS, Aggregate)
        disks = self._cluster("/storage/disks", {"aggregates.name": names}, DISK_FIELDS, Disk)
        nodes = self._cluster("/cluster/nodes", {}, NODE_FIELDS, Node)
        mirrors = self._cluster(
            "/snapmirror/relationships", {"state": "snapmirrored"}, ("source.path",), Mirror
        )
        return Array(
            aggregates={one.name: one for one in under or ()},
            disk_types=disk_types(disks or ()),
            flash_nodes=None if nodes is None else {one.name for one in nodes if one.is_flash},
            mirrored=None if mirrors is None else {one.source.path for one in mirrors},
            qos=self._may_limit(),
        )

    def _cluster(
        self, path: str, query: Mapping[str, Any], fields: Sequence[str], kind: type[T]
    ) -> list[T] | None:
        """Records of the cluster; None: the account is one of the SVM only."""
        try:
            return self._ontap.records(path, query, fields=fields, kind=kind, cluster=True)
        except OntapError as error:
            if error.code not in HIDDEN:
                raise
            return None

    def _may_limit(self) -> bool:
        try:
            self._ontap.count("/storage/qos/policies")
        except OntapError as error:
            if error.code not in HIDDEN:
                raise
            return False
        return True
