"""What a transport makes of a connection_info's data, and what it may use of this host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breezeblock.compute.disk_names import DiskNames
from breezeblock.compute.hypervisor import HostError

Json = dict[str, Any]
Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Transport:
    """How QEMU reaches the storage: the protocol node's options and what they refer to.

    `secrets` are file names and contents, to be written to the folder that the objects name.
    """

    options: Json
    objects: tuple[Json, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Near:
    """This host's side of a disk: where its secret files will lie, and who the host is."""

    secrets_dir: Path
    initiator: str | None = None


Builder = Callable[[Data, DiskNames, Near], Transport]


def required(data: Data, kind: str, key: str) -> Any:
    """A value without which nothing goes; HostError, not temporary, when it is not there."""
    if data.get(key) in (None, ""):
        raise HostError(f"The connection_info of a volume over {kind} has no {key!r}.")
    return data[key]
