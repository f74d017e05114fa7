"""What must be true of every deployment, at any time or once it is quiet.

The one place that says so. The tests that crash, delay and double things check it after each case,
`breezeblock doctor` checks it on a live deployment. Rules look at plain data (`Facts`, and what the
backends say they hold) and yield a `Violation` for each thing that is wrong, in plain words.

    LIVE    hold at any moment, whatever is under way: work that is open excuses what it works on
    QUIET   hold in addition once all work has come to its end
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from breezeblock.model.invariants import (
    attachments,
    backends,
    operations,
    statuses,
    transfers,
    usage,
)
from breezeblock.model.invariants.facts import Facts, Violation
from breezeblock.model.inventory import Item

Inventories = Mapping[str, Iterable[Item]]
"""Backend (host@name) → what it holds; backends that could not be asked are left out."""

Rule = Callable[[Facts], Iterator[Violation]]

LIVE: tuple[Rule, ...] = (
    statuses.transient_status_has_an_operation,
    statuses.status_follows_from_the_attachments,
    usage.usage_equals_the_rows,
    attachments.one_server_unless_shared,
    transfers.offers_are_of_volumes_that_wait,
    operations.one_at_a_time,
    operations.failures_say_why,
    operations.epochs_never_go_back,
)
QUIET: tuple[Rule, ...] = (
    operations.nothing_is_open,
    operations.failures_are_told_once,
)


def check_live(facts: Facts, inventories: Inventories) -> list[Violation]:
    """What is wrong in a deployment that goes on working."""
    return [*_of(LIVE, facts), *_of_backends(facts, inventories)]


def check_quiet(facts: Facts, inventories: Inventories) -> list[Violation]:
    """What is wrong in a deployment where all work should have come to its end."""
    return [*_of(QUIET, facts), *check_live(facts, inventories)]


def _of(rules: Iterable[Rule], facts: Facts) -> Iterator[Violation]:
    for rule in rules:
        yield from rule(facts)


def _of_backends(facts: Facts, inventories: Inventories) -> Iterator[Violation]:
    for backend, items in inventories.items():
        yield from backends.violations(facts, backend, list(items))


__all__ = ["Facts", "Inventories", "Violation", "check_live", "check_quiet"]
