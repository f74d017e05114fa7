"""List what a backend holds and could be adopted: a question that an administrator waits for.

    api      submit  which page is wanted, in which order
    backend  look    the driver's whole list; the page of it is the operation's result

It changes nothing. Asked operations are forgotten a while after their end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from breezeblock.drivers.base import Manageable
from breezeblock.model.errors import Failure
from breezeblock.model.ids import new_id
from breezeblock.model.operation import Operation
from breezeblock.operations.submit import Caller
from breezeblock.operations.submit import submit as submit_operation
from breezeblock.operations.workflow import Done, Failed, Outcome, Run, Workflow
from breezeblock.store import operations
from breezeblock.store.store import WriteTx
from breezeblock.workflows.doors import queue_of

KEPT = 600.0
"""Seconds that an answer stays, for the API process that comes for it."""

Kind = Literal["volume", "snapshot"]


class Wanted(msgspec.Struct, frozen=True):
    """A page: of what is in the pool (empty: in any), behind the marker's reference."""

    kind: Kind
    backend: str
    pool: str
    limit: int
    sort: tuple[tuple[str, str], ...] = (("reference", "desc"),)
    marker: dict[str, str] | None = None
    offset: int = 0


class Entry(msgspec.Struct, frozen=True):
    """An element of the list. `reason`: why it cannot be adopted; `managed`: by which id it is
    ours already."""

    reference: dict[str, str]
    size: int
    managed: str | None
    reason: str
    volume_reference: dict[str, str] | None
    extra: dict[str, Any]


def submit(tx: WriteTx, caller: Caller, wanted: Wanted) -> str:
    """Have the backend asked; the operation's id. Its result are the page's entries.

    Questions do not take turns: each is a resource of its own.
    """
    operations.forget_answers(tx, WORKFLOW.name, older_than=KEPT)
    return submit_operation(tx, WORKFLOW, caller, new_id(), wanted, queue_of(wanted.backend))


def entries(answered: Operation) -> list[Entry]:
    """The page that came."""
    return msgspec.convert(answered.result, list[Entry])


async def look(run: Run[Wanted]) -> Outcome:
    """Ask the driver, and cut out the page."""
    wanted = run.data
    held: list[Manageable] = await run.doors.call(
        wanted.backend,
        lambda driver: (
            driver.manageable if wanted.kind == "volume" else driver.manageable_snapshots
        ),
    )
    found = page(held, wanted)
    if found is None:
        return Failed(
            Failure(
                code="no-marker",
                message="marker: there is no such reference on this backend.",
                cause="It may have been removed, or renamed, since the page before was listed.",
                remedy="List from the beginning.",
            )
        )
    return Done(
        result=msgspec.to_builtins([_entry(one) for one in found]),
        note=f"{len(found)} of {len(held)}",
    )


def page(held: list[Manageable], wanted: Wanted) -> list[Manageable] | None:
    """The page of what is held; None when the marker is not among it."""
    listed = [one for one in held if wanted.pool in ("", one.pool)]
    # What is equal comes by its reference, so that pages of one order fit together.
    for key, direction in reversed((*wanted.sort, ("reference", wanted.sort[0][1]))):
        listed.sort(key=_KEYS[key], reverse=direction == "desc")
    begin = 0
    if wanted.marker is not None:
        places = [at for at, one in enumerate(listed) if dict(one.reference) == wanted.marker]
        if not places:
            return None
        begin = places[0] + 1
    begin += wanted.offset
    return listed[begin : begin + wanted.limit]


def _by_reference(one: Manageable) -> list[str]:
    return sorted(one.reference.values())


def _by_size(one: Manageable) -> int:
    return one.size


_KEYS: Mapping[str, Any] = {"reference": _by_reference, "size": _by_size}


def _entry(one: Manageable) -> Entry:
    return Entry(
        reference=dict(one.reference),
        size=one.size,
        managed=one.managed,
        reason=one.reason,
        volume_reference=None if one.volume_reference is None else dict(one.volume_reference),
        extra=dict(one.extra),
    )


def _settle_failure(
    _tx: WriteTx, _operation: Operation, _wanted: Wanted, _failure: Failure
) -> None:
    """Nothing has changed; whoever waits is told."""


WORKFLOW = Workflow("list_manageable", "question", Wanted, (look,), _settle_failure, tries=2)
