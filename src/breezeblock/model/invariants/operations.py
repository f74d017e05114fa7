"""Operations come to an end, say why they failed, and are never held by an older worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from breezeblock.model.invariants.facts import Facts, Violation
from breezeblock.model.operation import Operation

WAITS = 30.0
"""Work that is due only after so many seconds waits for a client, or for the next sweep."""

COMPUTE = frozenset({"server", "server-volume"})
"""Resource types of the work on servers, when their service shares the database."""

CHECK = "check"
"""Resource type of work that only looks, beside other work (`store.operations.CHECK`)."""


def nothing_is_open(facts: Facts) -> Iterator[Violation]:
    """Every operation has ended, but those whose time has not come."""
    for one in facts.operations:
        if one.is_open and one.due_at <= facts.now + WAITS:
            yield Violation(
                "open-operation",
                one.resource_id,
                f"The operation {one.id} ({one.workflow} on {one.resource_id}) is still open, "
                f"at step {one.step} on {one.queue}, after {facts.now - one.opened_at:.0f} s.",
            )


def failures_say_why(facts: Facts) -> Iterator[Violation]:
    """An operation that failed says what happened, why, and what would help (design, law 8)."""
    for one in facts.operations:
        if one.state != "failed":
            continue
        told = one.failure or {}
        missing = [key for key in ("code", "message", "cause", "remedy") if not told.get(key)]
        if missing:
            yield Violation(
                "failure-says-why",
                one.resource_id,
                f"The failed operation {one.id} ({one.workflow}) says no {' and no '.join(missing)}"
                f": {told}.",
            )


def failures_are_told_once(facts: Facts) -> Iterator[Violation]:
    """Every failure has left exactly one message for its owner.

    Not for live deployments: owners delete messages. What the service does of its own accord (the
    inventory sweep) has no owner: operators find its failures in the log and by the doctor. A
    server shows itself what has failed on it.
    """
    failed = Counter(
        (one.request_id, _resource(one))
        for one in facts.operations
        if one.state == "failed" and one.has_owner and one.resource_type not in COMPUTE
    )
    told = Counter((one.request_id, one.resource_uuid or "") for one in facts.messages)
    for key, number in failed.items():
        if told[key] != number:
            request, resource = key
            yield Violation(
                "failure-told-once",
                resource,
                f"{number} failed operation(s) of request {request} on {resource} left "
                f"{told[key]} message(s).",
            )


def one_at_a_time(facts: Facts) -> Iterator[Violation]:
    """At most one operation is open on a resource (design, law 4)."""
    under_way = Counter(
        one.resource_id for one in facts.operations if one.is_open and one.resource_type != CHECK
    )
    for resource, number in under_way.items():
        if number > 1:
            yield Violation(
                "one-at-a-time", resource, f"{number} operations are open on {resource} at once."
            )


def epochs_never_go_back(facts: Facts) -> Iterator[Violation]:
    """Each entry of the trail was written with an epoch at least that of the one before."""
    for one in facts.operations:
        seen = [entry["epoch"] for entry in one.trail if "epoch" in entry]
        if seen != sorted(seen) or (seen and seen[-1] > one.epoch):
            yield Violation(
                "epoch",
                one.resource_id,
                f"The epochs of operation {one.id} went back: {seen}, now {one.epoch}.",
            )


def _resource(operation: Operation) -> str:
    return operation.resource_id.partition("@")[0]
