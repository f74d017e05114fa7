"""LUNs on the array: looking, making, changing, deleting. Each method is one request, or few.

A LUN is changed by its UUID, which is never used again: a call that comes late finds it gone
(`Gone`), and has changed nothing. Whoever makes a LUN in several steps does it under a name that
nobody looks for, and gives it the name that counts at the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from breezeblock.drivers.base import TemporaryError
from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.client import Ontap, OntapError, time_left
from breezeblock.drivers.netapp.names import Mark, Name

GIB = 1 << 30
LUNS = "/storage/luns"

NO_SUCH_LUN = frozenset({4, 5374875, 5374876, 917927})
EXISTS = frozenset({5374242, 1254196})
MAPPED = 1254197
SAME_SIZE = frozenset({1254226, 5374892})
CLONE_FAILED = 13565952
"""Above all for "Device busy": too many clones of one LUN at the same time."""
CLONE_PAUSES = (0.2, 0.5, 1.0, 2.0)
COPYING = "copy.source.progress"
COPY_FAILED = ("failed", "paused_error", "paused_admin", "paused")
COPY_POLL = 1.0
FIELDS = (
    *("uuid", "name", "serial_number", "comment", "space.size", "space.guarantee.requested"),
    *("qos_policy.name", "create_time", "status.mapped"),
)


class Gone(Exception):
    """There is no such LUN (any more)."""


class Exists(Exception):
    """There is a LUN of that name already."""


class _Guarantee(msgspec.Struct, frozen=True):
    requested: bool = False


class _Space(msgspec.Struct, frozen=True):
    size: int = 0
    guarantee: _Guarantee = _Guarantee()


class _Status(msgspec.Struct, frozen=True):
    mapped: bool = False


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class Lun(msgspec.Struct, frozen=True):
    """A LUN, as the array lists it."""

    uuid: str
    path: str = msgspec.field(name="name")
    serial: str = msgspec.field(name="serial_number", default="")
    comment: str = ""
    space: _Space = _Space()
    status: _Status = _Status()
    qos_policy: _Named | None = None
    create_time: str = ""

    @property
    def bytes(self) -> int:
        return self.space.size

    @property
    def gib(self) -> int:
        return self.space.size // GIB

    @property
    def name(self) -> Name | None:
        """The name of one of ours."""
        return names.parse(self.path)

    @property
    def pool(self) -> str:
        return names.pool_of(self.path)

    @property
    def is_ours(self) -> bool:
        """Whether it has a name of ours, and the comment that goes with it."""
        name = self.name
        return name is not None and self.comment.startswith(Mark(self.mark.kind, name.id).comment)

    @property
    def is_foreign(self) -> bool:
        """Whether it is called like a volume or snapshot of ours, and is none."""
        name = self.name
        return name is not None and name.kind in ("volume", "snapshot") and not self.is_ours

    @property
    def mark(self) -> Mark:
        """What the comment of one of ours says."""
        name = self.name
        assert name is not None
        return names.mark_of(self.comment, name)


class Luns:
    """The LUNs that the array has."""

    def __init__(self, client: Ontap) -> None:
        self._client = client

    def matching(self, query: Mapping[str, Any]) -> list[Lun]:
        """All that the array's query finds."""
        return self._client.records(LUNS, query, fields=FIELDS, kind=Lun)

    def get(self, name: object) -> Lun | None:
        """The LUN with this path."""
        found = self.matching({"name": name})
        return found[0] if found else None

    def of_resource(self, ident: str) -> list[Lun]:
        """All LUNs of ours that belong to a volume or snapshot, in any FlexVol, whatever state."""
        found = self.matching({"name": f"/vol/*/*{ident}*"})
        return [lun for lun in found if lun.name and lun.name.id == ident and not lun.is_foreign]

    def make(self, name: Name, size: int, settings: Mapping[str, Any]) -> Lun:
        """A new LUN of so many bytes, all zeros. Raises Exists."""
        with _as_said():
            return self._post({"name": name.path, "space.size": size, **settings})

    def clone(self, name: Name, source: str, settings: Mapping[str, Any]) -> Lun:
        """A LUN with the content that the source, a path, has now. Raises Exists, Gone."""
        body = {"name": name.path, "clone.source.name": source, **settings}
        for pause in (*CLONE_PAUSES, None):
            try:
                with _as_said():
                    return self._post(body)
            except OntapError as error:
                if error.code != CLONE_FAILED:
                    raise
                if pause is None or time_left() < pause:
                    raise TemporaryError(
                        "The storage array is busy with copies of the same volume.", retry_after=3.0
                    ) from error
                time.sleep(pause)
        raise AssertionError("not reached")

    def copy(self, name: Name, source: Lun) -> Lun:
        """A LUN in another FlexVol with the content that the source has now; takes long.

        Raises Exists, Gone (the source, or the copy).
        """
        with _as_said():
            made = self._post({"name": name.path, "copy.source.name": source.path})
            while True:
                found = self._client.get(f"{LUNS}/{made.uuid}", fields=(COPYING,))
                progress = _inside(found, "copy", "source", "progress")
                if progress.get("state", "complete") == "complete":
                    return made
                if progress["state"] in COPY_FAILED:
                    raise TemporaryError("The storage array could not copy the volume.")
                time.sleep(COPY_POLL)

    def _post(self, body: Mapping[str, Any]) -> Lun:
        made = self._client.post(LUNS, body, returning=True)
        return msgspec.convert(made, Lun, strict=False)

    def change(self, lun: Lun, settings: Mapping[str, Any]) -> None:
        """Raises Gone."""
        with _as_said():
            self._client.patch(f"{LUNS}/{lun.uuid}", settings)

    def grow(self, lun: Lun, size: int) -> None:
        """Make it at least so many bytes. Raises Gone."""
        if lun.bytes >= size:
            return
        try:
            self.change(lun, {"space.size": size})
        except OntapError as error:
            if error.code not in SAME_SIZE:  # somebody else has grown it meanwhile
                raise

    def rename(self, lun: Lun, name: Name) -> None:
        """Hosts that reach it do not notice. Raises Gone, Exists."""
        with _as_said():
            self._client.patch(f"{LUNS}/{lun.uuid}", {"name": name.path})

    def rename_unmapped(self, lun: Lun, name: Name) -> bool:
        """Rename it unless a host may reach it; the array decides. Returns whether it did.

        Raises Exists. An export that comes after it does not find the LUN: maps are made by path.
        """
        query = {"uuid": lun.uuid, "status.mapped": False}
        with _as_said():
            self._client.patch(LUNS, {"name": name.path}, query)
        return bool(self.matching({"uuid": lun.uuid, "name": name.path}))

    def delete(self, lun: Lun) -> bool:
        """Remove it, also if it is gone; False: hosts may reach it."""
        try:
            with _as_said():
                self._client.delete(f"{LUNS}/{lun.uuid}")
        except Gone:
            return True
        except OntapError as error:
            if error.code == MAPPED:
                return False
            raise
        return True


def _inside(found: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        found = found.get(key) or {}
    return found


@contextmanager
def _as_said() -> Iterator[None]:
    """The refusals that mean the same for every caller."""
    try:
        yield
    except OntapError as error:
        if error.code in NO_SUCH_LUN:
            raise Gone from error
        if error.code in EXISTS:
            raise Exists from error
        raise
