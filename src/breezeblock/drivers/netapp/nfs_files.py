"""Work on the files of a FlexVol, over REST: the volume host mounts nothing.

No call here makes a file shorter, however late it comes: to grow is to write the last byte of the
new size, which holds a zero. Making what is there and removing what is gone succeed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from breezeblock.drivers.base import TemporaryError
from breezeblock.drivers.netapp.client import JobLost, Ontap, OntapError, part
from breezeblock.drivers.netapp.facts import FlexVol
from breezeblock.drivers.netapp.luns import CLONE_FAILED
from breezeblock.drivers.netapp.nfs_names import File
from breezeblock.drivers.netapp.qos import NO_SUCH_POLICY

NO_SUCH_FILE = 6684674
NO_POLICY = "none"
BUSY = "The storage array is busy with copies of the same volume."
ZERO = b"\0"


class _Listed(msgspec.Struct, frozen=True):
    name: str
    size: int = 0
    type: str = "file"


class Files:
    """The files in the top folder of FlexVols. What goes wrong is the client's to say."""

    def __init__(self, ontap: Ontap) -> None:
        self._ontap = ontap

    def named(self, flexvol: FlexVol, pattern: str) -> list[File]:
        """Those whose names match; `*` stands for anything."""
        query = {"name": pattern, "type": "file"}
        fields = ("name", "size", "type")
        found = self._ontap.records(_folder(flexvol), query, fields=fields, kind=_Listed)
        return [File(one.name, one.size) for one in found if one.type == "file"]

    def find(self, flexvol: FlexVol, name: str) -> File | None:
        return next((file for file in self.named(flexvol, name) if file.name == name), None)

    def make(self, flexvol: FlexVol, name: str) -> None:
        """A file of one byte, a zero."""
        self._unless_there(flexvol, name, lambda: self._write("POST", flexvol, name))

    def grow(self, flexvol: FlexVol, name: str, size: int) -> None:
        """Make it at least that long; it was shorter a moment ago."""
        self._write("PATCH", flexvol, name, byte_offset=size - len(ZERO))

    def rename(self, flexvol: FlexVol, name: str, new: str) -> bool:
        """False: it is not there. Another file of the new name must not be."""
        try:
            self._ontap.patch(_path(flexvol, name), {"path": new}, job=True)
        except OntapError as error:
            if error.code == NO_SUCH_FILE:
                return False
            raise
        return True

    def remove(self, flexvol: FlexVol, name: str) -> None:
        try:
            self._ontap.delete(_path(flexvol, name), job=True)
        except JobLost:
            if self.find(flexvol, name) is not None:
                raise
        except OntapError as error:
            if error.code != NO_SUCH_FILE:
                raise

    def clone(self, flexvol: FlexVol, source: str, name: str) -> None:
        """A file that shares the blocks of another one, as it is at one moment."""
        self._unless_there(flexvol, name, lambda: self._clone(flexvol, source, name))

    def replace(self, flexvol: FlexVol, source: str, name: str) -> None:
        """Give a file the content of another one, at once."""
        self._clone(flexvol, source, name, overwrite_destination=True)

    def limit(self, flexvol: FlexVol, name: str, policy: str) -> None:
        """Let a policy group hold for it; none if the name is empty."""
        body = {"qos_policy": {"name": policy or NO_POLICY}}
        try:
            self._ontap.patch(_path(flexvol, name), body, job=True)
        except OntapError as error:
            if error.code == NO_SUCH_POLICY:
                raise TemporaryError("The volume's type is being changed.") from error
            raise

    def copy(self, source: tuple[FlexVol, str], destination: tuple[FlexVol, str]) -> None:
        """Copy a file to another FlexVol; nobody writes to it meanwhile."""
        one = dict(zip(("source", "destination"), map(_place, (source, destination)), strict=True))
        self._ontap.post("/storage/file/copy", {"files_to_copy": [one]}, job=True)

    def _clone(self, flexvol: FlexVol, source: str, name: str, **options: bool) -> None:
        body = {
            "volume": {"name": flexvol.name, "uuid": flexvol.uuid},
            "source_path": source,
            "destination_path": name,
            **options,
        }
        try:
            self._ontap.post("/storage/file/clone", body, job=True)
        except OntapError as error:
            if error.code == CLONE_FAILED:
                raise TemporaryError(BUSY, retry_after=3.0) from error
            raise

    def _write(
        self, method: Literal["POST", "PATCH"], flexvol: FlexVol, name: str, **query: int
    ) -> None:
        self._ontap.write(method, _path(flexvol, name), ZERO, query)

    def _unless_there(self, flexvol: FlexVol, name: str, make: Callable[[], None]) -> None:
        """Make a file. If that fails, look whether it is there: an answer or a job may have been
        lost, or a doubled call was faster."""
        try:
            make()
        except (OntapError, TemporaryError):
            if self.find(flexvol, name) is None:
                raise


def _place(place: tuple[FlexVol, str]) -> dict[str, Any]:
    flexvol, name = place
    return {"svm": {"name": flexvol.svm.name}, "volume": {"name": flexvol.name}, "path": name}


def _folder(flexvol: FlexVol) -> str:
    return f"/storage/volumes/{flexvol.uuid}/files"


def _path(flexvol: FlexVol, name: str) -> str:
    return f"{_folder(flexvol)}/{part(name)}"
