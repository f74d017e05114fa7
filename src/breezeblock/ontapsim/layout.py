"""Where things lie in the data folder.

    state.sqlite                          every record
    certificate.pem, key.pem              of the HTTPS server
    flexvols/FLEXVOL/                     the FlexVol's files, as NFS clients see them
    flexvols/FLEXVOL/.luns/lun-UUID       a LUN; `.N` follows when it was overwritten N times
    snapshots/SNAPSHOT/luns/UUID          a LUN as it was
    snapshots/SNAPSHOT/files/             the files as they were
    iscsi/, nfs/                          of what serves them

A file's name follows from its record, so a transaction that is not committed leaves a file without
a record, and `sweep` removes it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from breezeblock.ontapsim import files
from breezeblock.ontapsim.model import FlexVol, Lun

LUNS = ".luns"


class Layout:
    """Paths under the data folder, and what may be done with whole folders there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state.sqlite"
        self.flexvols = folder / "flexvols"
        self.snapshots = folder / "snapshots"

    def flexvol(self, uuid: str) -> Path:
        return self.flexvols / uuid

    def lun(self, lun: Lun) -> Path:
        generation = f".{lun.generation}" if lun.generation else ""
        return self.flexvol(lun.folder) / LUNS / f"lun-{lun.uuid}{generation}"

    def snapshot(self, uuid: str) -> Path:
        return self.snapshots / uuid

    def snapshot_lun(self, snapshot: str, lun: str) -> Path:
        return self.snapshot(snapshot) / "luns" / lun

    def snapshot_files(self, snapshot: str) -> Path:
        return self.snapshot(snapshot) / "files"

    def make(self, volume: FlexVol) -> None:
        (self.flexvol(volume.uuid) / LUNS).mkdir(parents=True, exist_ok=True)

    def sweep(self, volumes: set[str], luns: set[Path], snapshots: set[str]) -> None:
        """Remove what no record names."""
        for folder in _children(self.flexvols):
            if folder.name not in volumes:
                shutil.rmtree(folder)
                continue
            for path in _children(folder / LUNS):
                if path not in luns:
                    files.remove(path)
        for folder in _children(self.snapshots):
            if folder.name not in snapshots:
                shutil.rmtree(folder)


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def tree(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below a FlexVol's folder that hosts have put there: its LUNs are not in it."""
    waiting = [str(folder)]
    while waiting:
        path = waiting.pop()
        if not Path(path).is_dir():
            continue
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name == LUNS and path == str(folder):
                    continue
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def used(folder: Path) -> int:
    """The bytes allocated to the files in a folder."""
    return sum(
        entry.stat(follow_symlinks=False).st_blocks * 512
        for entry in tree(folder)
        if entry.is_file(follow_symlinks=False)
    )


def copy_files(source: Path, destination: Path) -> None:
    """Copy what hosts have put into a FlexVol: folders, files, links; with owners and times."""
    destination.mkdir(parents=True)
    for entry in tree(source):
        target = destination / Path(entry.path).relative_to(source)
        if entry.is_dir(follow_symlinks=False):
            target.mkdir(parents=True, exist_ok=True)
        elif entry.is_symlink():
            target.symlink_to(Path(entry.path).readlink())
        elif entry.is_file(follow_symlinks=False):
            files.copy(Path(entry.path), target)
        else:
            continue
        status = entry.stat(follow_symlinks=False)
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
        if not entry.is_symlink():
            target.chmod(status.st_mode & 0o7777)
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
