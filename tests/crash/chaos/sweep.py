"""One inventory sweep of the backend, as `breezeblock doctor` asks for it, and what it found.

A worker that was frozen in the middle of a call may wake up when the world has gone on without it.
The service notices that and has the backend swept soon, to put right what the call has left there.
So what a sweep finds is no violation, unless no such sweep was under way or planned.
"""

from __future__ import annotations

import os

from breezeblock.store import operations
from breezeblock.store.store import ReadTx, Store
from breezeblock.workflows import sweep_backend
from tests.crash.chaos.checks import wait_for_quiet
from tests.crash.chaos.stage import BACKEND, Stage
from tests.crash.chaos.tally import Tally

SOON = sweep_backend.SETTLED + 15.0


async def sweep(stage: Stage, tally: Tally) -> None:
    """Have the backend swept, and wait until that and its repairs have ended."""
    name = f"{os.uname().nodename}@{BACKEND}"
    store = Store(stage.urls["block storage"], threads=1)
    try:
        planned = await store.read(lambda tx: _planned_soon(tx, name))
        await store.write(lambda tx: sweep_backend.request(tx, name))
        await wait_for_quiet(stage.urls, tally)
        sweeps = await store.read(lambda tx: operations.of_resource(tx, name))
    finally:
        store.close()
    ended = [one for one in sweeps if one.state == "succeeded" and one.result]
    for one in ended:
        tally.wishes["found by sweeps"] += int(one.result["total"])
        for found in one.result["found"]:
            tally.note(f"a sweep found: {found['text']}")
    if not planned and ended:
        for found in ended[-1].result["found"]:
            text = f"Without our asking nobody would have found out soon: {found['text']}"
            tally.wrong("unnoticed", found["subject"], text)


def _planned_soon(tx: ReadTx, backend: str) -> bool:
    """Whether the service itself means to look at the backend before long."""
    found = operations.open_on(tx, backend)
    return found is not None and found.due_at < tx.clock() + SOON
