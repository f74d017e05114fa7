"""An operation: one run of a workflow, as it stands in the database."""

from __future__ import annotations

from typing import Any

import msgspec


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a workflow on one resource.

    `step` names what comes next and `queue` the service that does it; `data` is what the steps so
    far have found out; `trail` tells what happened, for humans: a list of
    {at, step, worker, event, seconds, …}. `epoch` counts the workers that have held it: a write
    with an old one is refused. `progress` is percent of the present step, where that
    is known. Times are seconds by the database's clock.
    """

    id: str
    workflow: str
    resource_type: str
    resource_id: str
    project_id: str
    user_id: str
    request_id: str
    step: str
    queue: str
    state: str = "open"
    data: dict[str, Any] = {}
    result: Any = None
    failure: dict[str, Any] | None = None
    trail: list[dict[str, Any]] = []
    epoch: int = 0
    worker: str | None = None
    lease_until: float | None = None
    due_at: float = 0.0
    attempts: int = 0
    progress: int | None = None
    reply_to: str | None = None
    opened_at: float = 0.0
    ended_at: float | None = None

    @property
    def is_open(self) -> bool:
        return self.state == "open"

    @property
    def has_owner(self) -> bool:
        """Whether somebody asked for it; not when the service does it of its own accord."""
        return bool(self.project_id)
