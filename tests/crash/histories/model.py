"""What a client of block storage knows for certain, and what may be either way.

A resource is a set of *ways* that it may be. A call maps each way to the status codes that it may
be answered with, and to what it is then; the answer strikes out the ways that it contradicts. An
answer that is lost strikes out nothing and adds what the call may have done. Work goes on by
itself: `goes_on` says what may become of a way without any call. A look (GET) must show one of the
ways that are left; an answer that no way explains is a fault of the service.

Written after the wire's rules (shared facts, state_machines.md), not after the code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

GONE = "gone"
"""The status of what is not there (any more)."""
ANY = "any"
"""The status of what is there, but about which a client knows nothing else."""
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
    the backend will correct. `placed`: a backend has it for certain.
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


class Snapshot(NamedTuple):
    """One way that a snapshot may be; `size` is the volume's when it was taken."""

    status: str
    size: int
    work: str = ""
    checked: bool = False


Way = TypeVar("Way", Volume, Snapshot)
Answers = Iterator[tuple[int, Way]]
Step = Callable[[Way], Iterable[tuple[int, Way]]]


class Disagreement(AssertionError):
    """The service has answered or shown what the model does not allow."""


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


def snapshot_goes_on(one: Snapshot, _now: float, calm: bool) -> Iterator[Snapshot]:
    """`cascade`: it goes with its volume, whatever becomes of its own status meanwhile."""
    if one.work == "create":
        yield one._replace(status="available", work="")
        if not calm:
            yield one._replace(status="error", work="")
    elif one.work:
        yield one._replace(status=GONE)
        if not calm and one.work == "cascade":
            yield one._replace(work="")
        if not calm and one.status != ANY:
            yield one._replace(status="error_deleting", work="")
    if one.checked and one.status not in (ANY, GONE) and one.work in ("", "cascade"):
        yield one._replace(status="available")
        yield one._replace(status="error")


# -- calls on volumes ----------------------------------------------------------------------------


def delete(one: Volume, children: Collection[bool], *, force: bool = False) -> Answers[Volume]:
    """`children`: whether snapshots are in the way; both when that is not known."""
    begun = one._replace(status="deleting", work="delete")
    if one.status == ANY:
        yield 202, one._replace(work="delete")
        yield 400, one
        return
    if one.status == GONE:
        yield 404, one
        return
    for blocked in children:
        if blocked or one.attached:
            yield 400, one
        elif force or one.status in DELETABLE:
            yield 202, begun
        else:
            yield 400, one
            if not one.placed:  # no backend was chosen yet: there is nothing to wait for
                yield 202, begun


def extend(one: Volume, goal: int) -> Answers[Volume]:
    grown = one.grown | {goal}
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY:
        yield 202, one._replace(grown=grown)
        yield 400, one
    elif one.status in FREE and goal > one.size:
        yield 202, one._replace(status="extending", work="extend", goal=goal, grown=grown)
    else:
        yield 400, one


def source(one: Volume, size: int | None = None) -> Answers[Volume]:
    """Being what a clone or a snapshot is taken from."""
    if one.status == GONE:
        yield 404, one
    elif size is not None and size < one.size:
        yield 400, one
        if size >= one.most:
            yield 202, one
    elif one.status in FREE:
        yield 202, one
        if not one.placed:
            yield 400, one
    else:
        yield 400, one
        if one.status == ANY:
            yield 202, one


def reset(one: Volume, status: str, *, detached: bool) -> Answers[Volume]:
    uses = frozenset() if detached else one.uses
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY:
        yield 202, one._replace(checked=True, work="")
        yield 400, one
    elif status == "in-use" and not one.uses:
        yield 400, one
    else:
        yield 202, one._replace(status=status, uses=uses, work="", checked=True)


def reserve(one: Volume, use: Use, *codes: int) -> Answers[Volume]:
    """POST /attachments without a connector; `codes` are further ones when little is known."""
    mine = any(other.server == use.server for other in one.uses)
    busy = ("in-use", "reserved", "attaching") if one.shared else ("in-use", "reserved")
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY:
        yield from ((code, one) for code in (200, 400, *codes))
    elif one.status == "available" or (one.status in busy and (one.shared or mine)):
        yield 200, one.with_uses(use)._replace(status="reserved")
        if not one.placed:
            yield 400, one
    else:
        yield 400, one


def connect(one: Volume, ident: str, host: str) -> Answers[Volume]:
    """PUT /attachments/{id}."""
    use = one.use(ident)
    if one.status == ANY:
        yield from ((code, one) for code in (200, 404, 409))
    elif use is None or one.status == GONE:
        yield 404, one
    elif "error" in one.status or use.host not in ("", host) or _taken(one, use):
        yield 409, one
    else:
        complete = use.status == "attached"  # then the guest has it, whoever connects again
        status = "attached" if complete else "attaching"
        let_in = use._replace(status=status, host=host, connected=True)
        there = one.with_uses(let_in, without=use)
        yield 200, there if one.work or complete else there._replace(status="attaching")
        if not one.placed:
            yield 409, one
        if one.work == "delete":
            yield 404, one


def _taken(one: Volume, use: Use) -> bool:
    return not one.shared and any(
        other.connected and other.server != use.server for other in one.uses - {use}
    )


def attach(one: Volume, use: Use, host: str) -> Answers[Volume]:
    """POST /attachments with a connector: both in one, or nothing."""
    for code, then in reserve(one, use, 409):
        if code != 200 or one.status == ANY:
            yield code, then
        else:
            for connected, there in connect(then, use.id, host):
                yield connected, there if connected == 200 else one


def complete(one: Volume, ident: str) -> Answers[Volume]:
    use = one.use(ident)
    if one.status == ANY:
        yield 204, one
        yield 404, one
    elif use is None or one.status == GONE:
        yield 404, one
    else:
        there = one.with_uses(use._replace(status="attached"), without=use)
        yield 204, there if one.work else there._replace(status="in-use")


def leave(one: Volume, ident: str) -> Answers[Volume]:
    """DELETE /attachments/{id}."""
    use = one.use(ident)
    if one.status == ANY:
        yield 200, one
        yield 404, one
    elif use is None or one.status == GONE:
        yield 404, one
    else:
        there = one.with_uses(without=use)
        own_work = one.work not in ("", "hold") or one.status == "error_deleting"
        yield 200, there if own_work else there.followed()


def hold(one: Volume, status: str, now: float) -> Answers[Volume]:
    """os-reserve (`attaching`) and os-begin_detaching (`detaching`)."""
    if status == "detaching":
        may = one.status == "in-use" and one.attached
    else:
        may = one.status == "available" or (one.status == "in-use" and one.shared)
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY:
        yield 202, one
        yield 400, one
    elif may:
        yield 202, one._replace(status=status, work="hold", since=now)
    else:
        yield 400, one


def let_go(one: Volume, status: str) -> Answers[Volume]:
    """os-unreserve and os-roll_detaching: nothing happens in another status."""
    if one.status == GONE:
        yield 404, one
    elif one.status == "detaching" == status:
        yield 202, one._replace(status="in-use", work="")
    else:
        yield 202, one.followed() if one.status == status else one


def vaguely(one: Volume, codes: Iterable[int]) -> Answers[Volume]:
    """Calls of the older way to attach, whose attachments have no names: look again later."""
    if one.status == GONE:
        yield 404, one
    else:
        yield from ((code, one._replace(status=ANY)) for code in codes)


# -- calls on snapshots --------------------------------------------------------------------------


def drop(one: Snapshot, *, force: bool = False) -> Answers[Snapshot]:
    """DELETE, or os-force_delete."""
    work = one.work if one.work == "cascade" else "delete"
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY:
        yield 202, one._replace(work=work)
        yield 400, one
    elif force or one.status in ("available", "error"):
        yield 202, one._replace(status="deleting", work=work)
    else:
        yield 400, one


def reset_snapshot(one: Snapshot, status: str) -> Answers[Snapshot]:
    if one.status == GONE:
        yield 404, one
    else:
        known = ANY if one.status == ANY else status
        work = one.work if one.work == "cascade" else ""
        yield 202, one._replace(status=known, work=work, checked=True)


def restored(one: Snapshot) -> Answers[Snapshot]:
    """Being what a volume is made from."""
    if one.status == GONE:
        yield 404, one
    if one.status in ("available", ANY):
        yield 202, one
    if one.status not in ("available", GONE):
        yield 400, one


# -- what is known -------------------------------------------------------------------------------


@dataclass
class Belief(Generic[Way]):
    """All ways that one resource may be. `blurred`: calls about it may yet be carried out, or it
    has attachments without names, so a look settles nothing."""

    ident: str
    name: str
    ways: frozenset[Way]
    goes_on: Callable[[Way, float, bool], Iterator[Way]]
    blurred: set[object] = field(default_factory=set)

    def present(self, now: float, calm: bool) -> frozenset[Way]:
        """All ways, with what may have happened meanwhile."""
        fresh = set(self.ways)
        known = set(fresh)
        while fresh:
            fresh = {then for one in fresh for then in self.goes_on(one, now, calm)} - known
            known |= fresh
        self.ways = frozenset(known)
        return self.ways

    def answered(self, code: int, options: Collection[tuple[int, Way]]) -> None:
        """Keep what the answer allows. Raises Disagreement."""
        left = frozenset(then for allowed, then in options if allowed == code)
        if not left:
            allowed_codes = sorted({allowed for allowed, _ in options})
            raise Disagreement(f"{code} where only {allowed_codes} are allowed, for {self}")
        self.ways = left

    def unanswered(self, options: Collection[tuple[int, Way]]) -> None:
        """Whether it was done is not known."""
        self.ways |= frozenset(then for _, then in options)

    def shown(self, matching: Iterable[Way], what: object) -> None:
        """Keep what a look allows. Raises Disagreement."""
        left = frozenset(matching)
        if not left:
            raise Disagreement(f"{what} is shown, which is not among what may be: {self}")
        self.ways = left

    @property
    def may_be_gone(self) -> bool:
        return any(one.status == GONE for one in self.ways)

    @property
    def may_be_there(self) -> bool:
        return any(one.status != GONE for one in self.ways)


def used(beliefs: Iterable[Belief[Way]]) -> tuple[int, int]:
    """The fewest and the most GiB that these volumes or snapshots may count for."""
    fewest = most = 0
    for belief in beliefs:
        there = [one for one in belief.ways if one.status != GONE]
        fewest += 0 if belief.may_be_gone else min(one.size for one in there)
        most += max((max(one.size, getattr(one, "most", 0)) for one in there), default=0)
    return fewest, most


def counted(beliefs: Iterable[Belief[Way]]) -> tuple[int, int]:
    """The fewest and the most of these resources that there may be."""
    known = list(beliefs)
    return sum(not one.may_be_gone for one in known), sum(one.may_be_there for one in known)
