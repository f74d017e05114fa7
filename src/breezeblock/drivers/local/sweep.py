"""Remove what no volume needs any more: the driver sweeps at its start and after deletions.

Whatever dies half-way leaves only files that no manifest leads to, so that this is all the clearing
up there is. Only what is marked as disposable is removed (`layers`); other files that no manifest
leads to are set aside, as a manifest may be lost, and what they stand on stays. What is still being
made is locked by its maker and stays, with all it stands on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from breezeblock.drivers.local.layers import Layers
from breezeblock.drivers.local.manifests import COMMITS, Manifest, Manifests
from breezeblock.exports.files import Locks, try_lock


def dereference(
    layers: Layers, manifests: Manifests, locks: Locks, volume_id: str, left: Manifest | None
) -> None:
    """Commit `left` (None: the volume is gone), whose volume is locked by the caller.

    Layers that nothing leads to from then on are marked before, so that a sweep removes them.
    """
    with locks.hold(COMMITS):
        volumes = manifests.all()
        before = leads_to(layers, volumes.pop(volume_id).layers)
        present = layers.names()
        unaccounted = (present | layers.lost()) - before - layers.marked()
        named = _named(volumes) | _released(manifests) | (left.layers if left else set())
        layers.mark((before & present) - leads_to(layers, named | unaccounted))
        manifests.commit(volume_id, left)


def sweep(layers: Layers, manifests: Manifests, locks: Locks) -> None:
    """Remove unreachable layers, and leftovers of killed processes. Raises TimeoutError."""
    with locks.hold(COMMITS):
        volumes = manifests.all()
        named = _named(volumes) | _released(manifests)
        needed = leads_to(layers, named | layers.lost())
        marked = layers.marked()
        unneeded = layers.names() - needed
        for name in marked - unneeded:  # who marked it died before, or after, it meant anything
            layers.unmark(name)
        if unneeded:
            _clear(layers, unneeded, marked)
        for scratch in manifests.released_directory.glob("*.tmp"):
            scratch.unlink()
    for scratch in manifests.directory.glob("*.tmp"):
        with contextlib.suppress(TimeoutError), locks.hold(_volume(scratch), patience=0):
            scratch.unlink(missing_ok=True)
    for lock in locks.directory.glob("*-*.lock"):  # a volume's: UUIDs have hyphens
        if lock.stem not in volumes:
            with contextlib.suppress(TimeoutError), locks.hold(lock.stem, patience=0):
                if manifests.get(lock.stem) is None:
                    locks.forget(lock.stem)


def _clear(layers: Layers, unneeded: set[str], marked: set[str]) -> None:
    """Remove these or set them aside, but for drafts that are being made.

    No draft becomes a volume now: we hold the commits.
    """
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
        lost = {name for name in free - marked if not layers.empty(name)}
        removable = free - lost
        for name in lost - leads_to(layers, unneeded - free):
            layers.set_aside(name)
        for name in removable - leads_to(layers, unneeded - removable):
            layers.remove(name)


def _named(volumes: Mapping[str, Manifest]) -> set[str]:
    return {name for manifest in volumes.values() for name in manifest.layers}


def _released(manifests: Manifests) -> set[str]:
    return {name for manifest in manifests.released() for name in manifest.layers}


def leads_to(layers: Layers, names: set[str]) -> set[str]:
    """These layers, and all that they stand on."""
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
