"""Services and pools, as they stand in the database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A scheduler, or one backend of a volume service (host is then host@backend).

    `up`: one of its processes has reported lately, and a report is only made after work or a
    self-test succeeded. `disabled` and `frozen` are the operator's: nothing new is placed on
    either, and what is on a frozen backend is neither deleted nor taken snapshots of. `log_level`
    is what it said at its last report, `log_level_wanted` what it takes over at its next one.
    """

    id: str
    binary: str
    host: str
    availability_zone: str
    created_at: datetime
    up: bool
    reported_at: float
    disabled: bool = False
    disabled_reason: str | None = None
    frozen: bool = False
    backend_state: str | None = None
    log_level: str | None = None
    log_level_wanted: str | None = None
    updated_at: datetime | None = None

    @property
    def out_of_scheduling(self) -> bool:
        """What is shown as disabled: whatever an operator has kept new work from."""
        return self.disabled or self.frozen

    @property
    def out_because(self) -> str | None:
        """The operator's reason for disabling it; without one, that it is frozen."""
        return self.disabled_reason or ("frozen" if self.frozen else None)


class ServiceProcess(msgspec.Struct, frozen=True, kw_only=True):
    """One of the processes behind a service. `works`: whether its last test or work succeeded.

    `remark` says why it does not, or what else an operator should know. `silent`: it has said
    nothing lately, as a process does that was killed, frozen or cut off; one that stops in an
    orderly way is not listed any more.
    """

    binary: str
    host: str
    process: str
    works: bool
    reported_at: float
    silent: bool
    remark: str | None = None


def is_on(service_host: str, host: str) -> bool:
    """Whether a service is on a host; a machine's name stands for all backends that it serves."""
    return service_host == host or service_host.startswith(f"{host}@")


class PoolReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend last said of one of its pools; `name` is host@backend#pool."""

    name: str
    backend: str
    capabilities: dict[str, Any]
    reported_at: float
