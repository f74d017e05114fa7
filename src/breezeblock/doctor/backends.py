"""Asking the backends: each one's volume service sweeps it, for the doctor to read the report.

The doctor opens the operation in the database and waits; services find it by polling, so no broker
is needed. A backend whose service is down is not asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from breezeblock.doctor.findings import Finding, of_violation
from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.store import operations, services, volumes
from breezeblock.store.store import ReadTx, Store
from breezeblock.workflows import sweep_backend
from breezeblock.workflows.sweep_backend import Report

LOOK = 0.25
"""Seconds between looks at an operation that is waited for."""


@dataclass(frozen=True)
class Answer:
    """What came of asking one backend."""

    backend: str
    findings: Sequence[Finding]
    held: dict[str, int] = field(default_factory=dict)


async def ask(store: Store, down_time: float, *, dry_run: bool, patience: float) -> list[Answer]:
    """Have every backend swept that is served; those that are not but should be are findings."""
    served, unserved = await store.read(lambda tx: _backends(tx, down_time))
    asked = [_ask_one(store, one, dry_run=dry_run, patience=patience) for one in served]
    return [*await asyncio.gather(*asked), *(Answer(one, [_unserved(one)]) for one in unserved)]


def _backends(tx: ReadTx, down_time: float) -> tuple[list[str], list[str]]:
    """Backends with a service that is up; others that hold volumes."""
    known = [one for one in services.all_services(tx, down_time) if one.binary == services.VOLUME]
    up = {one.host for one in known if one.up}
    used = {pool.partition("#")[0] for pool in volumes.placed(tx)}
    return sorted(up), sorted(used - up)


async def _ask_one(store: Store, backend: str, *, dry_run: bool, patience: float) -> Answer:
    until = time.monotonic() + patience
    swept = await _swept(store, backend, dry_run=dry_run, until=until)
    if swept is None:
        return Answer(backend, [_unanswered(backend, patience)])
    if swept.state != "succeeded":
        return Answer(backend, [_failed(backend, swept)])
    report = msgspec.convert(swept.result, Report)
    if not dry_run:
        await wait_for(store, await _set_going(store, swept), until)
    return Answer(backend, list(_findings(backend, report)), report.held)


async def _swept(store: Store, backend: str, *, dry_run: bool, until: float) -> Operation | None:
    """The ended sweep; one that is being made already is waited for first. None: no answer."""
    ident = None
    while time.monotonic() < until:
        if ident is None:
            ident = await store.write(
                lambda tx: sweep_backend.examine(tx, backend, dry_run=dry_run)
            )
        elif ended := await _ended(store, ident):
            return ended
        await asyncio.sleep(LOOK)
    return None


async def wait_for(store: Store, idents: Iterable[str], until: float) -> None:
    """Wait for the ends of operations, in all until then."""
    for ident in idents:
        while not await _ended(store, ident) and time.monotonic() < until:
            await asyncio.sleep(LOOK)


async def _ended(store: Store, ident: str) -> Operation | None:
    found = await store.read(lambda tx: operations.get(tx, ident))
    return found if found is not None and not found.is_open else None


async def _set_going(store: Store, swept: Operation) -> list[str]:
    """What the sweep has opened: exports that are closed, or opened again."""
    request = swept.request_id
    found = await store.read(lambda tx: operations.of_request(tx, request))
    return [one.id for one in found if one.id != swept.id]


def _findings(backend: str, report: Report) -> Iterable[Finding]:
    for one in report.found:
        finding = of_violation(one)
        if one.subject in report.refused:
            remedy = f"The backend will not remove it: {report.refused[one.subject]}"
            finding = msgspec.structs.replace(finding, remedy=remedy)
        yield finding
    if report.total > len(report.found):
        text = f"Backend {backend} has {report.total - len(report.found)} more differences."
        yield Finding("more", backend, text, "Look again once these are settled.")


def _unserved(backend: str) -> Finding:
    return Finding(
        "unserved",
        backend,
        f"Nobody serves backend {backend}, which holds volumes: it cannot be looked at.",
        "Start its volume service, or see in that service's log why the backend does not answer.",
    )


def _unanswered(backend: str, patience: float) -> Finding:
    return Finding(
        "unanswered",
        backend,
        f"The service of backend {backend} did not answer within {patience:.0f} s.",
        "See in its log what it is at; `--wait` gives it longer.",
    )


def _failed(backend: str, swept: Operation) -> Finding:
    failure = Failure(**(swept.failure or {"code": "", "message": "It was cut short."}))
    text = f"Backend {backend} could not be compared: {failure.message} {failure.cause}".strip()
    return Finding("backend-failed", backend, text, failure.remedy or "See its service's log.")
