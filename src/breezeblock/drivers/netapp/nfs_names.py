"""What the files of ours on a FlexVol are called, and what that says. No I/O.

The names are all that the array keeps for us, so what must be known of a volume is in them:

    volume-<id>                          a volume: a raw disk
    snapshot-<id>-of-<volume>            a snapshot: a clone of that file
    unmanaged-volume-<id>, unmanaged-snapshot-<id>-of-<volume>   what was released
    .breezeblock-new-<id>                the volume is being made
    .breezeblock-volume-<id>             it is made, and ours: other services use such names, too
    .breezeblock-making-<id>-<chance>    a content that one process is making
    .breezeblock-export-<id>@<address>@<host>   the host was told to reach the volume there
    .breezeblock-turn-<id>@<turn>        an overwrite or revert that was served

A volume's files are found by one look at all names that contain its id.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from breezeblock.drivers.base import PermanentError, Snapshot

_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_OURS = ".breezeblock-"
_VOLUME = re.compile(rf"(?P<unmanaged>unmanaged-)?volume-(?P<id>{_ID})")
_SNAPSHOT = re.compile(rf"(?P<unmanaged>unmanaged-)?snapshot-(?P<id>{_ID})-of-(?P<volume>{_ID})")
_NEW = re.compile(rf"{re.escape(_OURS)}new-(?P<id>{_ID})")
_OWN = re.compile(rf"{re.escape(_OURS)}volume-(?P<id>{_ID})")
_MAKING = re.compile(rf"{re.escape(_OURS)}making-(?P<id>{_ID})-[0-9a-f]+")
_EXPORT = re.compile(rf"{re.escape(_OURS)}export-(?P<id>{_ID})@(?P<address>[^@]+)@(?P<host>[^@]+)")
_TURN = re.compile(rf"{re.escape(_OURS)}turn-(?P<id>{_ID})@(?P<turn>[0-9a-f]+)")
LONGEST = 255
"""Bytes in a name."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as the array lists it; `size` is in bytes."""

    name: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class Export:
    volume_id: str
    address: str
    host: str

    @property
    def name(self) -> str:
        """Raises PermanentError when the host's name is too long to be in it."""
        name = f"{_OURS}export-{self.volume_id}@{_word(self.address)}@{_word(self.host)}"
        if len(name) > LONGEST:
            raise PermanentError("The host's name is too long.")
        return name


@dataclass(frozen=True, slots=True)
class Frozen:
    """A snapshot that is there, and of which volume it is."""

    id: str
    volume_id: str
    size: int


@dataclass(frozen=True, slots=True)
class Held:
    """What a list of files says; sizes in bytes.

    `ours` are the volumes that are made and ours, `new` those that are being made; `making` and
    `turns` names of files; `unmanaged` the ids of what was released.
    """

    volumes: Mapping[str, int] = field(default_factory=dict)
    snapshots: Mapping[str, Frozen] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()
    new: frozenset[str] = frozenset()
    exports: tuple[Export, ...] = ()
    making: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    unmanaged: frozenset[str] = frozenset()


def volume(ident: str) -> str:
    return f"volume-{ident}"


def snapshot_file(snapshot: Snapshot) -> str:
    return f"snapshot-{snapshot.id}-of-{snapshot.volume_id}"


def unmanaged(name: str) -> str:
    return f"unmanaged-{name}"


def new(volume_id: str) -> str:
    return f"{_OURS}new-{volume_id}"


def own(volume_id: str) -> str:
    return f"{_OURS}volume-{volume_id}"


def making(ident: str) -> str:
    return f"{_OURS}making-{ident}-{uuid.uuid4().hex[:12]}"


def turn(volume_id: str, name: str) -> str:
    return f"{_OURS}turn-{volume_id}@{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def is_hidden(name: str) -> bool:
    """Whether it is one of the files that only this driver looks at."""
    return name.startswith(_OURS)


def held(files: Iterable[File]) -> Held:
    """Sort the files that are ours."""
    sizes = {file.name: file.size for file in files}
    volumes = [found for found in map(_VOLUME.fullmatch, sizes) if found]
    snapshots = [found for found in map(_SNAPSHOT.fullmatch, sizes) if found]
    exports = [
        Export(found["id"], unquote(found["address"]), unquote(found["host"]))
        for found in map(_EXPORT.fullmatch, sorted(sizes))
        if found
    ]
    return Held(
        volumes={one["id"]: sizes[one[0]] for one in volumes if not one["unmanaged"]},
        snapshots={
            one["id"]: Frozen(one["id"], one["volume"], sizes[one[0]])
            for one in snapshots
            if not one["unmanaged"]
        },
        unmanaged=frozenset(one["id"] for one in (*volumes, *snapshots) if one["unmanaged"]),
        ours=frozenset(found["id"] for found in map(_OWN.fullmatch, sizes) if found),
        new=frozenset(found["id"] for found in map(_NEW.fullmatch, sizes) if found),
        exports=tuple(exports),
        making=tuple(filter(_MAKING.fullmatch, sizes)),
        turns=tuple(filter(_TURN.fullmatch, sizes)),
    )


def snapshot_in(name: str) -> tuple[str, str] | None:
    """The snapshot that the file is and its volume, be it ours or released."""
    found = _SNAPSHOT.fullmatch(name)
    return (found["id"], found["volume"]) if found else None


def volume_in(name: str) -> str | None:
    """The id of the volume that the file is; None: it is none of ours."""
    found = _VOLUME.fullmatch(name)
    return found["id"] if found and not found["unmanaged"] else None


def _word(text: str) -> str:
    """Text as a part of a file's name."""
    return quote(text, safe="")
