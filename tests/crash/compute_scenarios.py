"""What is tried with every fault at every position of compute's workflows: see `scenarios.py`.

In the words of `compute_clients.told`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from breezeblock.compute.workflows import (
    attach_server_volume,
    check_server,
    create_server,
    delete_server,
    detach_server_volume,
    extend_server_volume,
    reboot_server,
    start_server,
    stop_server,
)
from tests.crash import compute_clients as do
from tests.crash.clients import nothing
from tests.crash.compute_world import Beyond, ComputeWorld
from tests.crash.scenarios import Scenario
from tests.crash.stage import Remains


@dataclass(frozen=True)
class ComputeScenario(Scenario):
    """One way of setting a workflow of compute going. `bad` are also the ends that a host or
    block storage which refuses leads to."""

    async def prepare(self) -> Remains[Beyond]:  # type: ignore[override]
        world = ComputeWorld()
        await self.setup(world, self.known)
        await world.settle()
        world.report()
        left = world.remains()
        await world.close()
        return left

    def open(self, remains: Remains[Any], *, workers: int) -> ComputeWorld:  # type: ignore[override]
        return ComputeWorld(remains, hire=workers)


WITH_DATA = "ACTIVE runs data=vdb | data in-use"
WITHOUT_DATA = "ACTIVE runs | data available"
STOPPED = "SHUTOFF data=vdb | data in-use"


def _scenario(
    name: str,
    workflow: Any,
    client: do.Act,
    *,
    good: str | Iterable[str],
    before: str,
    bad: Iterable[str] = (),
    cut: Iterable[str] = (),
    setup: do.Setup = nothing,  # type: ignore[assignment]
    back: do.Act | None = None,
    undone: Iterable[str] = (),
    end: Any = do.told,
) -> ComputeScenario:
    return ComputeScenario(
        name,
        workflow.WORKFLOW.name,
        client,  # type: ignore[arg-type]
        end,
        good={good} if isinstance(good, str) else set(good),
        bad={*bad},
        before=before,
        cut={*cut},
        setup=setup,  # type: ignore[arg-type]
        takes_back=back,  # type: ignore[arg-type]
        undone={*undone},
    )


SCENARIOS: tuple[ComputeScenario, ...] = (
    _scenario(
        "create a server",
        create_server,
        do.creating(),
        good="ACTIVE runs",
        bad={"ERROR"},
        before="gone",
        back=do.deleting,
        undone={"gone"},
    ),
    _scenario(
        "create a server that boots from a volume",
        create_server,
        do.creating("root"),
        setup=do.volume("root"),
        good="ACTIVE runs root=vda | root in-use",
        bad={"ERROR | root available"},
        before="gone | root available",
        back=do.deleting,
        undone={"gone | root available"},
    ),
    _scenario(
        "create a server with a blank volume",
        create_server,
        do.creating(do.BLANK),
        good="ACTIVE runs made=vdb | made in-use",
        bad={"ERROR", "gone"},  # block storage did not want to make it
        cut={"ERROR"},  # the API has died before it had the volume made
        before="gone",
        back=do.deleting,
        undone={"gone"},
    ),
    _scenario(
        "create a server that cannot boot",
        create_server,
        do.creating("root", do.BLANK),
        setup=do.prepared(do.volume("root"), do.host_fails("start", do.BROKEN)),
        good="ERROR | root available",
        bad={"gone | root available"},
        before="gone | root available",
        back=do.deleting,
        undone={"gone | root available"},
    ),
    _scenario(
        "delete a server with volumes",
        delete_server,
        do.deleting,
        setup=do.prepared(do.volume("root"), do.done(do.creating("root", do.BLANK))),
        good="gone | root available",
        bad={
            "ERROR root=vda made=vdb | made in-use | root in-use",
            "ERROR runs root=vda made=vdb | made in-use | root in-use",
        },
        before="ACTIVE runs root=vda made=vdb | made in-use | root in-use",
    ),
    _scenario(
        "delete a server that is being built",
        delete_server,
        do.then(do.creating(do.BLANK), do.deleting, seconds=0.5),
        good="gone",
        # It may have been built by then, and its host may refuse to end it.
        bad={
            "ERROR",
            "ERROR made=vdb | made in-use",
            "ERROR runs made=vdb | made in-use",
        },
        before="gone",
        cut={"ACTIVE runs made=vdb | made in-use", "ERROR"},
    ),
    _scenario(
        "delete a server while a volume comes",
        delete_server,
        do.then(do.attaching, do.deleting, seconds=1.0),
        setup=do.prepared(
            do.volume("data"), do.done(do.creating()), do.host_fails("attach", do.BUSY, times=1)
        ),
        good="gone | data available",
        bad={WITHOUT_DATA, "ERROR | data available", "ERROR runs | data available"},
        before=WITHOUT_DATA,
        cut={WITH_DATA},
    ),
    _scenario(
        "start a server",
        start_server,
        do.acting("os-start"),
        setup=do.prepared(do.with_data, do.done(do.acting("os-stop"))),
        good=WITH_DATA,
        bad={STOPPED},
        before=STOPPED,
        back=do.acting("os-stop"),
        undone={STOPPED},
    ),
    _scenario(
        "stop a server",
        stop_server,
        do.acting("os-stop"),
        setup=do.with_data,
        good=STOPPED,
        bad={WITH_DATA},
        before=WITH_DATA,
        back=do.acting("os-start"),
        undone={WITH_DATA},
    ),
    _scenario(
        "restart a server",
        reboot_server,
        do.acting("reboot", {"type": "SOFT"}),
        setup=do.with_data,
        good=WITH_DATA,
        bad={STOPPED},
        before=WITH_DATA,
        back=do.acting("os-stop"),
        undone={STOPPED},
    ),
    _scenario(
        "attach to a running server",
        attach_server_volume,
        do.attaching,
        setup=do.prepared(do.volume("data"), do.done(do.creating())),
        good=WITH_DATA,
        bad={WITHOUT_DATA},
        before=WITHOUT_DATA,
        back=do.detaching,
        undone={WITHOUT_DATA},
    ),
    _scenario(
        "attach to a stopped server",
        attach_server_volume,
        do.attaching,
        setup=do.prepared(do.volume("data"), do.done(do.creating()), do.done(do.acting("os-stop"))),
        good=STOPPED,
        bad={"SHUTOFF | data available"},
        before="SHUTOFF | data available",
        back=do.detaching,
        undone={"SHUTOFF | data available"},
    ),
    _scenario(
        "attach what the guest cannot take",
        attach_server_volume,
        do.attaching,
        setup=do.prepared(
            do.volume("data"), do.done(do.creating()), do.host_fails("attach", do.BROKEN)
        ),
        good=WITHOUT_DATA,
        before=WITHOUT_DATA,
    ),
    _scenario(
        "detach from a running server",
        detach_server_volume,
        do.detaching,
        setup=do.with_data,
        good=WITHOUT_DATA,
        bad={WITH_DATA},
        before=WITH_DATA,
        back=do.attaching,
        undone={WITH_DATA},
    ),
    _scenario(
        "detach what the guest does not let go of",
        detach_server_volume,
        do.detaching,
        setup=do.prepared(do.with_data, do.host_fails("detach", do.BUSY)),
        good=WITH_DATA,
        before=WITH_DATA,
    ),
    _scenario(
        "let a guest see that its volume has grown",
        extend_server_volume,
        do.telling_of_growth,
        setup=do.prepared(do.with_data, do.data_grows),
        end=do.grown,
        good=f"{WITH_DATA}, 2 GiB",
        bad={f"{WITH_DATA}, 1 GiB"},
        before=f"{WITH_DATA}, 1 GiB",
    ),
    _scenario(
        "look for what came too late",
        check_server,
        do.asking_for_a_check,
        setup=do.prepared(do.with_data, do.leftovers),
        good=WITH_DATA,
        before=f"{WITH_DATA} | made available",
    ),
)
