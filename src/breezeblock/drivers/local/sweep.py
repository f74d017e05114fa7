"""Remove what no volume needs any more: the driver sweeps at its start and after deletions.

Whatever dies half-way leaves only files that no manifest leads to, so that this is all the clearing
up there is. What is still being made is locked by its maker and stays, with all it stands on.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from breezeblock.drivers.local.layers import Layers
from breezeblock.drivers.local.manifests import COMMITS, Manifests
from breezeblock.exports.files import Locks, try_lock


def sweep(layers: Layers, manifests: Manifests, locks: Locks) -> None:
    """Remove unreachable layers, and leftovers of killed processes. Raises TimeoutError."""
    with locks.hold(COMMITS):
        volumes = manifests.all()
        named = {name for manifest in volumes.values() for name in manifest.layers}
        needed = _with_all_below(layers, named)
        unneeded = layers.names() - needed
        if unneeded:
            _remove(layers, unneeded)
    for scratch in manifests.directory.glob("*.tmp"):
        with contextlib.suppress(TimeoutError), locks.hold(_volume(scratch), patience=0):
            scratch.unlink(missing_ok=True)
    for lock in locks.directory.glob("*-*.lock"):  # a volume's: UUIDs have hyphens
        if lock.stem not in volumes:
            with contextlib.suppress(TimeoutError), locks.hold(lock.stem, patience=0):
                if manifests.get(lock.stem) is None:
                    locks.forget(lock.stem)


def _remove(layers: Layers, unneeded: set[str]) -> None:
    """Unlink these, but for drafts. No draft becomes a volume now: we hold the commits."""
    with contextlib.ExitStack() as held:
        free = set()
        for name in unneeded:
            try:
                descriptor = os.open(layers.directory / name, os.O_RDONLY)
            except FileNotFoundError:
                continue
            held.callback(os.close, descriptor)
            if try_lock(descriptor):
                free.add(name)
        for name in free - _with_all_below(layers, unneeded - free):
            layers.remove(name)


def _with_all_below(layers: Layers, names: set[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        below: str | None = name
        while below is not None and below not in found:
            found.add(below)
            with contextlib.suppress(FileNotFoundError):
                below = layers.below(below)
                continue
            below = None
    return found


def _volume(scratch: Path) -> str:
    return scratch.name.partition(".")[0]
