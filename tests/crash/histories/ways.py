"""What a client of block storage knows for certain, and what may be either way.

A resource is a set of *ways* that it may be. A call maps each way to the status codes that it may
be answered with, and to what it is then; the answer strikes out the ways that it contradicts. An
answer that is lost strikes out nothing and adds what the call may have done. Work goes on by
itself: `goes_on` says what may become of a way without any call. A look (GET) must show one of the
ways that are left; an answer that no way explains is a fault of the service.

Written after the wire's rules (shared facts, state_machines.md), not after the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

GONE = "gone"
"""The status of what is not there (any more)."""
ANY = "any"
"""The status of what is there, but about which a client knows nothing else."""
UNKNOWN = "?"
"""The content of a volume about which a client knows nothing."""
ALONE = ("downloading", "reverting", "unmanaging", "uploading")
"""Statuses in which no host is let in."""
OFFERED = "awaiting-transfer"
HOLD = 3600.0
"""Seconds that a client has between os-reserve or os-begin_detaching and its next call."""
DELETABLE = ("available", "error", "error_extending", "error_managing", "error_restoring")
FREE = ("available", "in-use")


class Use(NamedTuple):
    """An attachment. `host` once it is known, `connected` once the host was let in."""

    id: str
    server: str
    status: str = "reserved"
    host: str = ""
    connected: bool = False


class Volume(NamedTuple):
    """One way that a volume may be.

    `grown` are sizes that its backend may have given it already, `goal` the one that is asked for.
    `work` is under way on it; with `checked` an administrator has reset its status, which a look at
    the backend will correct. `placed`: a backend has it for certain. `contents`: what it may hold
    ("" for what it was made with), `target`: what the work will put there. `offer` is the transfer
    that it awaits.
    """

    status: str
    size: int
    grown: frozenset[int] = frozenset()
    goal: int = 0
    uses: frozenset[Use] = frozenset()
    shared: bool = False
    work: str = ""
    checked: bool = False
    placed: bool = False
    since: float = 0.0
    contents: frozenset[str] = frozenset({""})
    target: str = ""
    offer: str = ""

    @property
    def attached(self) -> bool:
        return any(one.status in ("attached", "error_detaching") for one in self.uses)

    @property
    def most(self) -> int:
        return max(self.grown | {self.size})

    def use(self, ident: str) -> Use | None:
        return next((one for one in self.uses if one.id == ident), None)

    def with_uses(self, *uses: Use, without: Use | None = None) -> Volume:
        return self._replace(uses=(self.uses - {without}) | set(uses))

    def followed(self) -> Volume:
        """With the status that its attachments say."""
        return self._replace(status=follow(self.uses), work="")

    def filled(self) -> Volume:
        """With what the work was to put there."""
        there = frozenset({self.target}) if self.target else self.contents
        return self._replace(contents=there, target="")

    def perhaps_filled(self) -> Volume:
        """With that or not: the work has failed, or was cut short."""
        more = {self.target} if self.target else set()
        return self._replace(contents=self.contents | more, target="")


class Snapshot(NamedTuple):
    """One way that a snapshot may be; `size` is the volume's when it was taken."""

    status: str
    size: int
    work: str = ""
    checked: bool = False


Way = TypeVar("Way", Volume, Snapshot)


def follow(uses: Iterable[Use]) -> str:
    """The status of a volume with these attachments and no work of its own."""
    seen = {"attached" if one.status == "error_detaching" else one.status for one in uses}
    for status, shown in (
        ("attached", "in-use"),
        ("attaching", "attaching"),
        ("reserved", "reserved"),
    ):
        if status in seen:
            return shown
    return "available"


# -- what happens by itself ----------------------------------------------------------------------


def volume_goes_on(one: Volume, now: float, calm: bool) -> Iterator[Volume]:
    """What may become of it next. `calm`: nothing has ever gone wrong, so no work fails."""
    if one.work in ("create", "copy"):
        yield one._replace(status="available", work="", placed=True)
        if not calm or one.work == "copy":
            yield one._replace(status="error", work="")
    elif one.work == "delete":
        yield one._replace(status=GONE)
        if not calm and one.status != ANY:
            yield one._replace(status="error_deleting", work="")
    elif one.work in LEADS_ON:
        yield from LEADS_ON[one.work](one, calm)
    elif one.work == "extend":
        grown = one.followed()._replace(size=one.goal)
        yield grown
        if not calm:
            yield one.followed()
            yield one._replace(status="error_extending", work="")
            yield grown._replace(status="error_extending")
    elif one.work == "hold" and now >= one.since + HOLD:
        yield one.followed()
    elif one.checked and one.status != ANY:
        yield one.followed()
        yield one._replace(status="error")
    if not calm and one.work != "extend":
        yield from (one._replace(size=size) for size in one.grown if size > one.size)


def _download(one: Volume, calm: bool) -> Iterator[Volume]:
    """A volume is made from an image; somebody may reserve it meanwhile."""
    if one.status == "creating":
        yield one._replace(status="downloading")
    else:
        yield one.filled().followed()._replace(placed=True)
    if not calm:
        yield one.perhaps_filled()._replace(status="error", work="")


def _reimage(one: Volume, calm: bool) -> Iterator[Volume]:
    yield one.filled().followed()
    if not calm:
        yield one.perhaps_filled()._replace(status="error", work="")


def _revert(one: Volume, calm: bool) -> Iterator[Volume]:
    yield one.filled()._replace(status="available", work="")
    if not calm:
        yield one.perhaps_filled()._replace(status="error", work="")


def _upload(one: Volume, _calm: bool) -> Iterator[Volume]:
    yield one._replace(status="available", work="")


def _unmanage(one: Volume, calm: bool) -> Iterator[Volume]:
    yield one._replace(status=GONE)
    if not calm and one.status != ANY:
        yield one._replace(status="error_unmanaging", work="")


def _give(one: Volume, _calm: bool) -> Iterator[Volume]:
    """Another project may have taken it over."""
    yield one._replace(status=GONE, work="")


LEADS_ON: dict[str, Callable[[Volume, bool], Iterator[Volume]]] = {
    "image": _download,
    "reimage": _reimage,
    "reimage error": lambda one, _calm: iter(
        (one.perhaps_filled()._replace(status="error", work=""),)
    ),
    "revert": _revert,
    "upload": _upload,
    "unmanage": _unmanage,
    "give": _give,
}
"""What work brings about that changes what a volume holds, or whose it is."""


def snapshot_goes_on(one: Snapshot, _now: float, calm: bool) -> Iterator[Snapshot]:
    """`cascade`: it goes with its volume, whatever becomes of its own status meanwhile."""
    if one.work == "create":
        yield one._replace(status="available", work="")
        if not calm:
            yield one._replace(status="error", work="")
    elif one.status == "restoring":
        yield one._replace(status="available")
    elif one.status == "unmanaging":
        yield one._replace(status=GONE)
        if not calm:
            yield one._replace(status="error", work="")
    if one.work not in ("", "create"):
        yield one._replace(status=GONE)
        if not calm and one.work == "cascade":
            yield one._replace(work="")
        if not calm and one.status != ANY:
            yield one._replace(status="error_deleting", work="")
    if one.checked and one.status not in (ANY, GONE) and one.work in ("", "cascade"):
        yield one._replace(status="available")
        yield one._replace(status="error")
