"""What calls may be answered by which a volume goes from one project to another.

To the project that gave it, what was taken over is gone.
"""

from __future__ import annotations

from collections.abc import Collection

from tests.crash.histories.answers import Answers
from tests.crash.histories.ways import ANY, GONE, OFFERED, Volume


def offer(one: Volume, free: Collection[bool]) -> Answers[Volume]:
    """`free`: whether all snapshots that go with it may go; both when that is not known."""
    offered = one._replace(status=OFFERED, offer="new")
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY:
        yield 202, one._replace(offer="new")
        yield 400, one
    elif one.status != "available":
        yield 400, one
    else:
        for may in free:
            if may and not any(use.host or use.status != "reserved" for use in one.uses):
                yield 202, offered
            if not may or one.uses:
                yield 400, one


def accept(one: Volume, ident: str, free: Collection[bool], *, calm: bool) -> Answers[Volume]:
    """By somebody who has the key of this offer. After troubles work may be under way on it."""
    given = one._replace(work="give", offer="", uses=frozenset())
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY or (one.checked and one.status == OFFERED):
        yield 202, given
        yield 400, one
        yield 404, one
    elif one.status != OFFERED or one.offer != ident:
        yield 404, one
    else:
        for may in free:
            if may:
                yield 202, given
            if not may or one.uses or not calm:
                yield 400, one


def withdraw(one: Volume, ident: str) -> Answers[Volume]:
    if one.status == GONE:
        yield 404, one
    elif one.status == ANY or (one.checked and one.status == OFFERED):
        yield 202, one
        yield 202, one.followed()
        yield 404, one
    elif one.status == OFFERED and one.offer == ident:
        yield 202, one.followed()._replace(offer="")
    else:
        yield 404, one
