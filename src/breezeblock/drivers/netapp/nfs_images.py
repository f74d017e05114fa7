"""Writing a disk image to a file on the array, by QEMU's own NFS client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from breezeblock.drivers.base import Image, PermanentError, TemporaryError
from breezeblock.drivers.patience import Told
from breezeblock.drivers.qemu_convert import run_with_progress
from breezeblock.images.qemu_img import bounded


def fill(node: Mapping[str, Any], image: Image, told: Told) -> None:
    """Write the image's disk to a file of zeros that is there and long enough."""
    target = ",".join(_options({"driver": "raw", "file": node}))
    command = ("convert", "-p", "-n", "--target-is-zero", "--target-image-opts")
    places = (str(image.path), target)
    try:
        run_with_progress(bounded(*command, "-f", image.format, *places), told)
    except TemporaryError as error:
        if _is_of_the_target(str(error), node):
            raise
        # It was inspected, and is damaged further in.
        raise PermanentError(str(error), remedy="Choose another image.") from error


def _is_of_the_target(said: str, node: Mapping[str, Any]) -> bool:
    """Whether it is the file on the array that something is wrong with."""
    return "while writing" in said or str(node["path"]) in said


def _options(node: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """A node in the form that has no braces; a comma in a value is doubled."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _options(value, f"{where}{key}.")
        else:
            yield f"{where}{key}={str(value).replace(',', ',,')}"
