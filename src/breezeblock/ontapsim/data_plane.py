"""What the simulator's REST half tells its data half: which hosts see which LUNs, and how.

The REST half computes the whole view from its state after each change and publishes it; the data
half finds out what is new. So a restart publishes once and all is as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Unit:
    """A LUN as an initiator sees it.

    `generation` grows when the file at `path` was replaced by another one (a LUN that was
    overwritten from a snapshot keeps its identity and its maps). `serial` has 12 characters.
    """

    path: Path
    size: int
    serial: str
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Credential:
    """How an initiator proves who it is; the secrets never leave the simulator."""

    kind: Literal["chap", "none", "deny"]
    user: str = ""
    password: str = field(default="", repr=False)
    outbound_user: str = ""
    outbound_password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Svm:
    """The iSCSI service of one SVM.

    `portals` are the addresses of its LIFs that are up (port 3260 each unless the seed says
    otherwise). `access` has an entry for every initiator that is in some igroup, by logical unit
    number; `credentials` by initiator, "default" for all others.
    """

    name: str
    target: str
    portals: tuple[tuple[str, int], ...]
    enabled: bool = True
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    access: Mapping[str, Mapping[int, Unit]] = field(default_factory=dict)


class DataPlane(Protocol):
    """Serves LUNs to hosts."""

    def start(self) -> None:
        """Start what serves; nothing is published yet."""

    def stop(self) -> None:
        """End it, and every connection."""

    def publish(self, svms: tuple[Svm, ...]) -> None:
        """Serve exactly this from now on, also to sessions that are open.

        Returns when it holds: a LUN that is not published any more is not written to by anyone, and
        its file may go; one that grew shows its new size.
        """

    def still(self) -> AbstractContextManager[None]:
        """Nothing is written to any LUN meanwhile; for copies of one moment, of some LUNs at once.

        Hosts wait. Writes that were acknowledged before are in the files.
        """
