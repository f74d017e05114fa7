"""What LUNs and igroups of ours are called, and what their comments say. No I/O.

A LUN's name says what it is, by the UUID of our resource:

    /vol/<pool>/volume-<id>               a volume
    /vol/<pool>/snapshot-<id>             a snapshot: a LUN clone; its comment names the volume
    /vol/<pool>/unmanaged-volume-<id>, …  what was released: somebody else's from then on
    /vol/<pool>/making-<id>-<random>      what one process is making; nobody else touches it
    /vol/<pool>/new-<id>-<turn>           a complete content that is about to become the volume's
    /vol/<pool>/old-<id>-<turn>           the content that it replaces (`exchange.py`)

Comments are for people as well, and begin with our name. A clone may have its source's comment:
only the one that names the same id as the LUN's own name counts.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, cast

Kind = Literal[
    "volume", "snapshot", "unmanaged-volume", "unmanaged-snapshot", "making", "new", "old"
]

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PATH = re.compile(
    r"/vol/(?P<pool>[^/]+)/(?P<kind>(unmanaged-)?(volume|snapshot)|making|new|old)"
    rf"-(?P<id>{_UUID})(-(?P<rest>[0-9a-f]+))?"
)
LONGEST_COMMENT = 254
TURN_DIGITS = 12
_COMMENT = re.compile(
    rf"Breezeblock (?P<kind>volume|snapshot) (?P<id>{_UUID})"
    rf"( of (?P<volume>{_UUID}))?(; turns (?P<turns>[0-9a-f ]+))?"
)
SERVICES = "breezeblock-"
"""How the igroups of volume services themselves begin."""
_HOSTS = uuid.UUID("6a1f4f0e-8a5c-5f0e-9a54-7f3f6f2f1f60")
"""The name space of the igroups of hosts."""


@dataclass(frozen=True, slots=True)
class Name:
    """A LUN of ours, as its path says it. `rest`: the turn, or what chance has said."""

    pool: str
    kind: Kind
    id: str
    rest: str = ""

    @property
    def path(self) -> str:
        return f"/vol/{self.pool}/{self.kind}-{self.id}" + (f"-{self.rest}" if self.rest else "")

    def __str__(self) -> str:
        return self.path


def volume(pool: str, ident: str) -> Name:
    return Name(pool, "volume", ident)


def snapshot(pool: str, ident: str) -> Name:
    return Name(pool, "snapshot", ident)


def making(pool: str, ident: str) -> Name:
    return Name(pool, "making", ident, uuid.uuid4().hex[:TURN_DIGITS])


def parse(path: str) -> Name | None:
    """The name behind a path; None: it is none of ours."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    kind = cast(Kind, found["kind"])
    if (found["rest"] is not None) != (kind in ("making", "new", "old")):
        return None
    return Name(found["pool"], kind, found["id"], found["rest"] or "")


def pool_of(path: str) -> str:
    """The FlexVol that a LUN's path begins with."""
    return path.split("/")[2]


def short_turn(turn: str) -> str:
    """A turn as names and comments hold it."""
    return hashlib.sha256(turn.encode()).hexdigest()[:TURN_DIGITS]


@dataclass(frozen=True, slots=True)
class Mark:
    """What a LUN's comment says. `turns`: those that were served, the latest first."""

    kind: Literal["volume", "snapshot"]
    id: str
    volume_id: str | None = None
    turns: tuple[str, ...] = ()

    def serving(self, turn: str) -> Mark:
        """With one turn more. A comment is short: it has room for the latest 13 or so."""
        return replace(self, turns=(turn, *(one for one in self.turns if one != turn)))

    @property
    def comment(self) -> str:
        text = f"Breezeblock {self.kind} {self.id}"
        if self.volume_id is not None:
            text += f" of {self.volume_id}"
        if self.turns:
            text += "; turns"
        for turn in self.turns:
            if len(text) + 1 + len(turn) > LONGEST_COMMENT:
                break
            text += f" {turn}"
        return text


def mark_of(comment: str, name: Name) -> Mark:
    """What the comment of the LUN with this name says; little, if it is not about that one."""
    kind: Literal["volume", "snapshot"] = "snapshot" if "snapshot" in name.kind else "volume"
    found = _COMMENT.fullmatch(comment)
    if found is None or (found["kind"], found["id"]) != (kind, name.id):
        return Mark(kind, name.id)
    return Mark(kind, name.id, found["volume"], tuple((found["turns"] or "").split()))


def igroup_of_host(host: str, initiator: str) -> str:
    """The igroup of a host's initiator; its comment is the host's name.

    Named after both: whoever says that he is the host, and comes with another initiator, must not
    be let in to what the host has.
    """
    return f"openstack-{uuid.uuid5(_HOSTS, f'{host} {initiator}')}"


def igroup_of_service(initiator: str) -> str:
    """The igroup under which a volume service reads and writes volumes itself."""
    return f"{SERVICES}{uuid.uuid5(_HOSTS, initiator)}"


def host_of(igroup: str, comment: str, members: Iterable[str]) -> str | None:
    """The host that an igroup with these members is for; None: it is none of ours."""
    ours = comment and any(igroup_of_host(comment, one) == igroup for one in members)
    return comment if ours else None


def one_of(values: Iterable[object]) -> str:
    """A query's value that any of these matches."""
    return "|".join(str(value) for value in values)
