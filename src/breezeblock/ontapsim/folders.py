"""Files in FlexVols, by the paths that clients give: what may be named, and where it lies.

A path is relative to the FlexVol. `.snapshot/NAME/...` are files as they were. The LUNs' folder is
no part of it, and neither is anything that a link points to outside.
"""

from __future__ import annotations

from pathlib import Path

from breezeblock.ontapsim import errors
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.layout import LUNS
from breezeblock.ontapsim.model import FlexVol, Snapshot

SNAPSHOT = ".snapshot"


def locate(array: Array, volume: FlexVol, path: str, *, change: bool = False) -> Path:
    """Where the file of that path is, or would be."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or parts[:1] == [LUNS] or "\0" in path:
        raise errors.invalid("path", path)
    root = array.layout.flexvol(volume.uuid)
    if parts[:1] == [SNAPSHOT]:
        if change or not volume.snapshot_directory or len(parts) < 2:
            raise errors.no_such_file(path)
        return in_snapshot(array, volume, parts[1], "/".join(parts[2:]))
    return _inside(root, parts, path)


def in_snapshot(array: Array, volume: FlexVol, name: str, path: str) -> Path:
    """Where the file of that path is in a snapshot of the FlexVol."""
    for snapshot in array.state.named(Snapshot, name):
        if snapshot.volume == volume.uuid:
            root = array.layout.snapshot_files(snapshot.uuid)
            return _inside(root, [part for part in path.split("/") if part], path)
    raise errors.no_such_file(f"{SNAPSHOT}/{name}/{path}")


def _inside(root: Path, parts: list[str], path: str) -> Path:
    found = root.joinpath(*parts)
    if parts and not found.parent.resolve().is_relative_to(root.resolve()):
        raise errors.no_such_file(path)
    return found


def existing(array: Array, volume: FlexVol, path: str, *, change: bool = False) -> Path:
    found = locate(array, volume, path, change=change)
    if not found.exists() and not found.is_symlink():
        raise errors.no_such_file(path)
    return found


def regular(found: Path, path: str) -> Path:
    """One whose contents may be looked at: no folder, no link."""
    if found.is_symlink() or not found.is_file():
        raise errors.no_such_file(path)
    return found
