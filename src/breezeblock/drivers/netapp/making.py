"""Making LUNs in several steps, so that each is there whole or not at all.

A LUN is made under a name that nobody looks for (`making-…`), gets its content, size and settings,
and then the name that counts. Whoever finds that name taken removes his own LUN: somebody else was
quicker. What a process leaves when it dies goes with the volume, or when it is a day old.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from breezeblock.drivers.base import DriverError, Image, PermanentError, Readable, TemporaryError
from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.client import OntapError
from breezeblock.drivers.netapp.exports import Exports, service_access
from breezeblock.drivers.netapp.luns import Exists, Gone, Lun, Luns
from breezeblock.drivers.netapp.names import Name
from breezeblock.drivers.patience import Told
from breezeblock.drivers.qemu_convert import run_with_progress
from breezeblock.images import qemu_img

log = logging.getLogger(__name__)

THIN = "space.scsi_thin_provisioning_support_enabled"
"""Hosts may give back blocks; a clone does not have it from its source."""
RESERVED = "space.guarantee.requested"
OLD_AGE = timedelta(hours=24)
ATTEMPTS = 5


class Making:
    """Makes LUNs with contents."""

    def __init__(self, luns: Luns, exports: Exports, initiator: str, os_type: str) -> None:
        self._luns = luns
        self._exports = exports
        self._access = service_access(initiator)
        self._initiator = initiator
        self._os_type = os_type

    def empty(self, name: Name, size: int, settings: Mapping[str, Any]) -> None:
        """A LUN of so many bytes, all zeros; one request."""
        try:
            self._luns.make(name, size, {"os_type": self._os_type, THIN: True, **settings})
        except Exists:
            self.check_ours(name)

    def clone(self, name: Name, source: Lun, size: int, settings: Mapping[str, Any]) -> None:
        """A LUN with the source's content of now, and zeros beyond. Raises Gone (the source)."""
        with self._draft(name) as draft:
            made = self._luns.clone(draft, source.path, _reserved(settings))
            grown = {"space.size": size} if size > source.bytes else {}
            self._luns.change(made, {THIN: True, **grown, **settings})
            self._publish(made, name)

    def copy(self, name: Name, source: Lun, size: int, settings: Mapping[str, Any]) -> None:
        """As `clone`, into another FlexVol: the array copies the bytes, for as long as it takes."""
        with self._draft(name) as draft:
            made = self._luns.copy(draft, source)
            grown = {"space.size": size} if size > source.bytes else {}
            self._luns.change(made, {THIN: True, **grown, **settings})
            self._publish(made, name)

    def written(
        self, name: Name, image: Image, size: int, settings: Mapping[str, Any], told: Told
    ) -> None:
        """A LUN with the disk in an image file, and zeros beyond."""
        if image.virtual_bytes > size:
            raise PermanentError(
                f"The disk in the image has {image.virtual_bytes} bytes, the volume {size}."
            )
        with self._draft(name) as draft:
            made = self._luns.make(draft, size, {"os_type": self._os_type, THIN: True, **settings})
            with self._within_reach(made) as target:
                _write(image, target, size, told)
            self._publish(made, name)

    def remove(self, lun: Lun) -> None:
        """Remove a LUN and everybody's access to it."""
        for _ in range(ATTEMPTS):
            if lun.status.mapped:
                self._exports.revoke_all(lun)
            if self._luns.delete(lun):
                return
            self._exports.revoke_all(lun)
        raise TemporaryError("Others are exporting the same volume.")

    def sweep(self, luns: list[Lun]) -> None:
        """Remove drafts that nobody can be at work on any more."""
        for lun in luns:
            if lun.name is not None and lun.name.kind == "making" and _is_old(lun.create_time):
                log.warning("Nobody has finished %s: removing it", lun.path)
                self.remove(lun)

    @contextmanager
    def _draft(self, name: Name) -> Iterator[Name]:
        """A name for the time being; what has it is removed should the body fail."""
        draft = names.making(name.pool, name.id)
        try:
            yield draft
        except BaseException:
            with contextlib.suppress(DriverError, OntapError):  # a sweep comes by
                left = self._luns.get(draft)
                if left is not None:
                    self.remove(left)
            raise

    def _publish(self, made: Lun, name: Name) -> None:
        try:
            self._luns.rename(made, name)
        except Exists:
            self.remove(made)
            self.check_ours(name)
        except Gone as error:
            raise TemporaryError("The volume was deleted while it was being made.") from error

    def check_ours(self, name: Name) -> None:
        """Raises PermanentError: somebody else has taken the name."""
        there = self._luns.get(name)
        if there is not None and there.is_foreign:
            raise PermanentError(
                "The storage array has a LUN of that name which is not Breezeblock's.",
                remedy="Rename the LUN on the storage array, or adopt it.",
            )

    @contextmanager
    def _within_reach(self, lun: Lun) -> Iterator[Readable]:
        """The LUN, for QEMU on this host."""
        number = self._exports.grant(lun, self._access)
        try:
            yield self._exports.node(number, lun.uuid, self._initiator)
        finally:
            self._exports.revoke(lun, self._access.igroup)


def _reserved(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a clone is told when it is made; the rest comes after."""
    return {key: value for key, value in settings.items() if key == RESERVED}


def _write(image: Image, target: Readable, size: int, told: Told) -> None:
    """Copy the disk in the image to the target, which reads as zeros so far."""
    node = json.dumps({"driver": "raw", "file": dict(target.node)})
    with qemu_img.objects(target.secrets) as objects:
        converting = ("convert", *objects, "-p", "-n", "--target-is-zero")
        command = qemu_img.bounded(
            *converting, "-f", image.format, "-O", "raw", str(image.path), f"json:{node}"
        )
        try:
            run_with_progress(command, told)
        except TemporaryError as error:
            _blame(image, size, error)
            raise TemporaryError("The image could not be written to the storage array.") from error


def _blame(image: Image, size: int, cause: Exception) -> None:
    """Raises PermanentError if it is the image that cannot be copied."""
    try:
        told = json.loads(
            qemu_img.run("info", "--output=json", "-f", image.format, str(image.path))
        )
        sound = qemu_img.check(image.path, image.format).sound
    except qemu_img.Failed:
        sound, told = False, {"virtual-size": 0}
    if not sound or told["virtual-size"] > size:
        why = "does not fit" if sound else "is damaged"
        raise PermanentError(f"The disk in the image {why}.", remedy="Choose another image.") from (
            cause
        )


def _is_old(create_time: str) -> bool:
    try:
        made = datetime.fromisoformat(create_time)
    except ValueError:
        return False
    if made.tzinfo is None:
        made = made.replace(tzinfo=UTC)
    return datetime.now(UTC) - made > OLD_AGE
