"""What each call may be answered, and what it makes of a way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from tests.crash.histories.ways import (
    ALONE,
    ANY,
    DELETABLE,
    FREE,
    GONE,
    OFFERED,
    Snapshot,
    Use,
    Volume,
    Way,
)

Answers = Iterator[tuple[int, Way]]
Step = Callable[[Way], Iterable[tuple[int, Way]]]


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
        cut_short = one.perhaps_filled()
        yield 202, cut_short._replace(status=status, uses=uses, work="", checked=True)


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
    elif one.status == "downloading":
        yield 200, one.with_uses(use)
    else:
        yield 400, one


def connect(one: Volume, ident: str, host: str) -> Answers[Volume]:
    """PUT /attachments/{id}."""
    use = one.use(ident)
    if one.status == ANY:
        yield from ((code, one) for code in (200, 404, 409))
    elif use is None or one.status == GONE:
        yield 404, one
    elif (
        "error" in one.status
        or one.status in ALONE
        or use.host not in ("", host)
        or _taken(one, use)
    ):
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
        stays = one.status in ("error_deleting", OFFERED)
        own_work = one.work not in ("", "hold") or stays
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
