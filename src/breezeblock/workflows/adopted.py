"""What the record of work says of adoptions: deletions and sweeps ask it.

What is adopted was an operator's data before. Until its adoption has succeeded it is none of ours:
whatever the backend takes for ours of it is let go of, and never removed.
"""

from __future__ import annotations

from collections.abc import Iterable

from breezeblock.model.operation import Operation

ADOPTIONS = frozenset({"adopt_volume", "adopt_snapshot"})


def was_begun(known: Iterable[Operation]) -> bool:
    """Whether something was adopted, or was to be, by all work that there was on it."""
    return any(one.workflow in ADOPTIONS for one in known)


def was_finished(known: Iterable[Operation]) -> bool:
    """Whether it has become ours."""
    return any(one.workflow in ADOPTIONS and one.state == "succeeded" for one in known)
