"""What calls may be answered that change or copy what a volume holds, or let go of it."""

from __future__ import annotations

from collections.abc import Collection

from tests.crash.histories.answers import Answers
from tests.crash.histories.ways import ANY, DELETABLE, GONE, Snapshot, Volume

Candidates = Collection[tuple[str, Snapshot | None]]
"""What the latest snapshot of a volume may be: its id, and how it may be; None for none."""


def revert(one: Volume, latest: Candidates, asked: str) -> Answers[Volume]:
    """Only the latest snapshot will do, of the volume's present size."""
    if one.status == GONE:
        yield 404, one
        return
    if one.status == ANY:
        known = one._replace(contents=one.contents | {asked})
        yield from ((202, known), (400, one), (409, one))
        return
    begun = one._replace(status="reverting", work="revert", target=asked)
    for ident, snapshot in latest:
        if snapshot is None or ident != asked or snapshot.size != one.size:
            yield 400, one
        elif one.status != "available" or one.uses:
            yield 409, one
        else:
            if snapshot.status in ("available", ANY):
                yield 202, begun
            if snapshot.status != "available":
                yield 409, one


def upload(one: Volume) -> Answers[Volume]:
    """Nobody may write to it meanwhile."""
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY:
        yield from ((code, one) for code in (202, 400, 409))
    elif one.status != "available" or one.uses:
        yield 400, one
    else:
        yield 202, one._replace(status="uploading", work="upload")
        if not one.placed:
            yield 400, one


def reimage(one: Volume, content: str, *, reserved: bool) -> Answers[Volume]:
    """`reserved`: one that is kept for a server will do, too."""
    allowed = ("available", "error", "reserved") if reserved else ("available", "error")
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY:
        known = one._replace(contents=one.contents | {content})
        yield from ((202, known), (400, one), (409, one))
    elif len(one.uses) > 1:
        yield 409, one
    elif one.status not in allowed or any(use.host for use in one.uses):
        yield 400, one
    else:
        work = "reimage error" if one.status == "error" else "reimage"
        yield 202, one._replace(status="downloading", work=work, target=content)
        if not one.placed:
            yield 400, one


def unmanage(one: Volume, children: Collection[bool]) -> Answers[Volume]:
    """`children`: whether snapshots are in the way; both when that is not known."""
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY:
        yield 202, one._replace(work="unmanage")
        yield 400, one
    else:
        for blocked in children:
            if blocked or one.attached or one.status not in DELETABLE:
                yield 400, one
            else:
                yield 202, one._replace(status="unmanaging", work="unmanage")


def unmanage_snapshot(one: Snapshot) -> Answers[Snapshot]:
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY:
        work = one.work if one.work == "cascade" else "delete"
        yield 202, one._replace(work=work)
        yield 400, one
    elif one.status in ("available", "error"):
        yield 202, one._replace(status="unmanaging")
    else:
        yield 400, one
