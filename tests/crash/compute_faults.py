"""What can go wrong at a point of compute: the flavours of `faults.py`, but that its own doors are
the hypervisor and the block storage API in place of a driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2

from breezeblock.compute.hypervisor import HostError
from tests.crash.faults import FLAVOURS as COMMON
from tests.crash.faults import Flavour
from tests.crash.stage import Order


class Refused(Exception):
    """Block storage answers with this status, whatever it is asked."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def _raising(error: Callable[[], Exception]) -> Callable[[], Order]:
    def strike() -> Order:
        raise error()

    return strike


def _host(name: str, says: str, error: Callable[[], Exception], **how: Any) -> Flavour:
    return Flavour(f"host: {name}", says, kinds=("host",), strike=_raising(error), **how)


def _storage(name: str, says: str, error: Callable[[], Exception], **how: Any) -> Flavour:
    return Flavour(f"block storage: {name}", says, kinds=("http",), strike=_raising(error), **how)


FLAVOURS: tuple[Flavour, ...] = (
    *(one for one in COMMON if not one.name.startswith("driver")),
    _host(
        "not now",
        "the hypervisor raises a HostError that is temporary",
        lambda: HostError("Not now.", temporary=True),
        when="before",
    ),
    _host(
        "refuses",
        "the hypervisor raises a HostError",
        lambda: HostError("No.", remedy="Ask for something else."),
        when="before",
        may_fail=True,
    ),
    _host(
        "bug",
        "the hypervisor raises what it should not",
        lambda: RuntimeError("a bug"),
        when="before",
        may_fail=True,
    ),
    _host(
        "answer lost",
        "the hypervisor acts, then raises a HostError that is temporary",
        lambda: HostError("No answer in time.", temporary=True),
        when="after",
    ),
    _host(
        "acts and breaks",
        "the hypervisor acts, then raises what it should not",
        lambda: RuntimeError("a bug"),
        when="after",
        may_fail=True,
    ),
    Flavour(
        "host: twice",
        "the hypervisor is called twice",
        kinds=("host",),
        when="before",
        strike=lambda: Order.TWICE,
    ),
    _storage(
        "away",
        "nobody answers",
        lambda: httpx2.ConnectError("connection refused"),
        when="before",
    ),
    _storage(
        "answer lost",
        "block storage does it, but its answer does not arrive",
        lambda: httpx2.ReadTimeout("no answer in time"),
        when="after",
    ),
    _storage("503", "block storage says: not now", lambda: Refused(503), when="before"),
    _storage(
        "500",
        "block storage breaks",
        lambda: Refused(500),
        when="before",
        may_fail=True,
    ),
    _storage(
        "breaks late",
        "block storage does it, and breaks before it says so",
        lambda: Refused(500),
        when="after",
        may_fail=True,
    ),
    _storage(
        "409",
        "block storage refuses: somebody else was first",
        lambda: Refused(409),
        when="before",
        may_fail=True,
    ),
    Flavour(
        "block storage: twice",
        "the call arrives twice",
        kinds=("http",),
        when="before",
        strike=lambda: Order.TWICE,
    ),
)
