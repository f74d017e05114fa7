"""One inventory sweep of the backend, as `breezeblock doctor` asks for it, and what it found.

A worker that was frozen in the middle of a call may wake up when the world has gone on without it;
what its call then leaves on the backend is found and put right by a sweep. That is no violation: it
is one when the sweep does not put it right.
"""

from __future__ import annotations

import os

from breezeblock.store import operations
from breezeblock.store.store import Store
from breezeblock.workflows import sweep_backend
from tests.crash.chaos.checks import wait_for_quiet
from tests.crash.chaos.stage import BACKEND, Stage
from tests.crash.chaos.tally import Tally


async def sweep(stage: Stage, tally: Tally) -> None:
    """Have the backend swept, and wait until that and its repairs have ended."""
    name = f"{os.uname().nodename}@{BACKEND}"
    store = Store(stage.urls["block storage"], threads=1)
    try:
        await store.write(lambda tx: sweep_backend.request(tx, name))
        await wait_for_quiet(stage.urls, tally)
        sweeps = await store.read(lambda tx: operations.of_resource(tx, name))
    finally:
        store.close()
    for one in sweeps:
        if one.state == "succeeded" and one.result:
            tally.wishes["put right by sweeps"] += int(one.result["total"])
            for found in one.result["found"]:
                tally.note(f"a sweep found: {found['text']}")
