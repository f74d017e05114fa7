"""The contract of a filter, for ours and for those that others bring by entry point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from breezeblock.scheduler.pool_table import PoolTable
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.request import Request

Check = Callable[[Pool], str | None]
"""Looks at one pool: None passes it, a sentence with numbers refuses it."""


class Filter(ABC):
    """Decides whether a pool may take a request. Pure: no I/O, no clock, no state.

    A subclass is named in the configuration by its class name and made without arguments.
    """

    @property
    def name(self) -> str:
        return type(self).__name__

    @abstractmethod
    def check(self, request: Request) -> Check | None:
        """The test for this request's pools, or None when every pool passes.

        Called once a request; whatever does not depend on the pool belongs here and not into the
        test, which runs for thousands of pools. A bad request or report is a reason, not an
        exception. No reason names a host: users read them.
        """

    def passing(self, request: Request, pools: PoolTable, among: int) -> int:
        """Which of these pools pass, for large clouds (`pool_table.py`): the same as `check` says.

        This one asks about each pool. A filter that can look at columns instead overrides it, and
        may answer for pools beyond `among`.
        """
        check = self.check(request)
        if check is None:
            return among
        found = 0
        for bit, pool in pools.each(among):
            if check(pool) is None:
                found |= bit
        return found

    def refuse(self, pool: Pool, request: Request) -> str | None:
        """The reason why this pool cannot take the request, or None when it can."""
        check = self.check(request)
        return check(pool) if check else None
