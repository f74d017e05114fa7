"""Processes that a service has lost, or that cannot do its work, though others of it may go on."""

from __future__ import annotations

from datetime import UTC, datetime

from breezeblock.doctor.findings import Finding
from breezeblock.model.services import ServiceProcess
from breezeblock.store import services
from breezeblock.store.store import Store


async def examine(store: Store, down_time: float) -> list[Finding]:
    """Of each process that is not well, what it said last, or since when it says nothing."""
    known = await store.read(lambda tx: services.processes(tx, down_time))
    return [_finding(one) for one in known if one.silent or one.remark]


def _finding(one: ServiceProcess) -> Finding:
    process = f"Process {one.process} of {one.binary} {one.host}"
    if one.silent:
        since = datetime.fromtimestamp(one.reported_at, UTC)
        return Finding(
            "silent-process",
            one.host,
            f"{process} has said nothing since {since:%Y-%m-%d %H:%M:%S} UTC.",
            "See on its machine whether it was killed, stands still or is cut off. It is forgotten "
            "when another one starts there, or after a day.",
        )
    if one.works:
        return Finding("deaf-process", one.host, f"{process}: {one.remark}", "See to the broker.")
    return Finding(
        "process-in-trouble",
        one.host,
        f"{process} cannot do its work: {one.remark}",
        "See in its log what it waits for; it goes on by itself once that is there.",
    )
