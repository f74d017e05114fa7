"""What is tried with every fault at every position: for each workflow of block storage, the ways in
which clients set it going.

A scenario prepares a world, acts as a client does, through HTTP, and knows in which words its end
may be told (`clients.py`): the volume's status, its attachments, the hosts that are let in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from breezeblock.workflows import (
    adopt_snapshot,
    adopt_volume,
    apply_type,
    attach_volume,
    check_snapshot,
    check_volume,
    create_snapshot,
    create_volume,
    delete_snapshot,
    delete_volume,
    detach_volume,
    discard_image,
    extend_volume,
    hold_volume,
    list_manageable,
    migrate_volume,
    reimage_volume,
    retype_volume,
    revert_volume,
    sweep_backend,
    unmanage_snapshot,
    unmanage_volume,
    upload_volume,
)
from breezeblock.workflows.checks import PATIENCE as CHECK_PATIENCE
from tests.crash import clients as do
from tests.crash.clients import HOST, Act, Known
from tests.crash.enumeration import Strike
from tests.crash.shelf import IMAGE
from tests.crash.stage import Remains
from tests.crash.world import WAITS, Backends, World


@dataclass(frozen=True)
class Scenario:
    """One way of setting a workflow going.

    `end` tells the end in a word or two. `good` are the ends of work that succeeded, `bad` those of
    work that failed and said why, `before` is the end when the request never arrived, `cut` are
    those of several requests, or transactions, that were cut short, `undone` those after the client
    has taken it back. `patience`: for how many seconds the end is waited for. `loses`: somebody may
    have kept what is deleted all the same, when its deletion was under way at the backend and the
    worker was frozen in it, or the backend could not be asked: that it is missing is reported. So
    it is when he says that something is there which was being made.
    """

    name: str
    workflow: str
    client: Act
    end: Callable[[World, Known], str]
    good: set[str]
    bad: set[str] = field(default_factory=set)
    before: str = ""
    cut: set[str] = field(default_factory=set)
    setup: Callable[[World, Known], Awaitable[None]] = do.nothing
    takes_back: Act | None = None
    undone: set[str] = field(default_factory=set)
    patience: float = WAITS
    loses: bool = False
    known: Known = field(default_factory=Known)

    async def prepare(self) -> Remains[Backends]:
        world = World()
        await self.setup(world, self.known)
        await world.settle()
        left = world.remains()
        await world.close()
        return left

    def open(self, remains: Remains[Backends], *, workers: int) -> World:
        return World(remains, hire=workers, patience=self.patience)

    async def act(self, world: World) -> Any:
        return await self.client(world, self.known)

    @property
    def can_be_undone(self) -> bool:
        return self.takes_back is not None

    async def undo(self, world: World) -> None:
        assert self.takes_back is not None
        task = world.spawn(self.takes_back(world, self.known))
        await world.settle(task)

    def excuses(self, strike: Strike) -> set[str]:
        """A backend may refuse to close a volume that was read: then it stays open."""
        missing = {"missing"} if self.loses and (strike.late or strike.may_fail) else set()
        return missing | ({"still-read"} if strike.may_fail else set())

    def problem(self, world: World, strike: Strike) -> str | None:
        allowed = self.good
        if strike.may_fail:
            allowed = allowed | self.bad
        if not strike.begun:
            allowed = allowed | {self.before}
        if strike.cut:
            allowed = allowed | self.cut
        if strike.undone:
            allowed = self.undone
        end = self.end(world, self.known)
        return (
            None if end in allowed else f"it ended as {end!r}, not {' or '.join(sorted(allowed))}"
        )


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "create a volume",
        create_volume.WORKFLOW.name,
        do.creating(),
        do.volume_named("subject"),
        good={"available"},
        bad={"error"},
        before="none",
        takes_back=do.deleted,
        undone={"none"},
    ),
    Scenario(
        "create on the second backend",
        create_volume.WORKFLOW.name,
        do.creating(),
        do.volume_named("subject"),
        setup=do.first_refuses,
        good={"available"},
        bad={"error"},
        before="none",
        takes_back=do.deleted,
        undone={"none"},
    ),
    Scenario(
        "create where the first backend is not ready",
        create_volume.WORKFLOW.name,
        do.creating(),
        do.volume_named("subject"),
        setup=do.first_not_ready,
        good={"available"},
        bad={"error"},
        before="none",
    ),
    Scenario(
        "clone a volume",
        create_volume.WORKFLOW.name,
        do.creating(source_volid="$volume"),
        do.volume_named("subject"),
        setup=do.made,
        good={"available"},
        bad={"error"},
        before="none",
    ),
    Scenario(
        "create from a snapshot",
        create_volume.WORKFLOW.name,
        do.creating(snapshot_id="$snapshot"),
        do.volume_named("subject"),
        setup=do.frozen,
        good={"available"},
        bad={"error"},
        before="none",
    ),
    Scenario(
        "create from an image",
        create_volume.WORKFLOW.name,
        do.creating(imageRef=IMAGE),
        do.filled("subject"),
        good={"available done"},
        bad={"error", "none"},
        before="none",
        takes_back=do.deleted,
        undone={"none"},
    ),
    Scenario(
        "create from an image on the second backend",
        create_volume.WORKFLOW.name,
        do.creating(imageRef=IMAGE),
        do.filled("subject"),
        setup=do.first_refuses,
        good={"available done"},
        bad={"error", "none"},
        before="none",
    ),
    Scenario(
        "create from an image, and reserve it",
        create_volume.WORKFLOW.name,
        do.creating_reserved,
        do.filled("subject"),
        good={"reserved done", "available done"},
        bad={"error", "none", "reserved"},
        before="none",
        cut={"available done"},
    ),
    Scenario(
        "create where no backend fits",
        create_volume.WORKFLOW.name,
        do.creating(size=999_000),
        do.volume_named("subject"),
        setup=do.unlimited,
        good={"error"},
        before="none",
    ),
    Scenario(
        "delete a volume",
        delete_volume.WORKFLOW.name,
        do.deleting("/volumes/{volume}"),
        do.volume,
        setup=do.made,
        good={"gone"},
        bad={"error_deleting"},
        before="available",
    ),
    Scenario(
        "delete with snapshots",
        delete_volume.WORKFLOW.name,
        do.deleting("/volumes/{volume}?cascade=true"),
        do.volume,
        setup=do.frozen,
        good={"gone"},
        bad={"error_deleting"},
        before="available",
    ),
    Scenario(
        "force-delete what is being created",
        delete_volume.WORKFLOW.name,
        partial(do.creating_and, action={"os-force_delete": None}),
        do.volume_named("subject"),
        good={"none"},
        bad={"error_deleting", "available", "error"},
        before="none",
        cut={"available"},
    ),
    Scenario(
        "force-delete what is being attached",
        delete_volume.WORKFLOW.name,
        do.acting("os-force_delete", role="admin"),
        do.volume,
        setup=do.half_connected,
        good={"gone"},
        bad={"error_deleting"},
        before="attaching",
    ),
    Scenario(
        "extend a volume",
        extend_volume.WORKFLOW.name,
        do.acting("os-extend", {"new_size": 2}),
        do.sized,
        setup=do.made,
        good={"available 2"},
        bad={"error_extending 1", "error_extending 2"},
        before="available 1",
    ),
    Scenario(
        "extend without room",
        extend_volume.WORKFLOW.name,
        do.acting("os-extend", {"new_size": 99_999}),
        do.sized,
        setup=do.made_without_limits,
        good={"available 1"},
    ),
    Scenario(
        "extend a volume in use",
        extend_volume.WORKFLOW.name,
        do.acting("os-extend", {"new_size": 2}),
        do.sized,
        setup=do.connected,
        good={"in-use 2"},
        bad={"error_extending 1", "error_extending 2"},
        before="in-use 1",
    ),
    Scenario(
        "copy a volume into an image",
        upload_volume.WORKFLOW.name,
        do.uploading,
        do.uploaded,
        setup=do.made,
        good={"available active"},
        bad={"available"},
        before="available",
        cut={"available"},
        patience=2 * upload_volume.ANNOUNCED_WITHIN,
    ),
    Scenario(
        "reset what is being copied into an image",
        discard_image.WORKFLOW.name,
        partial(do.uploading_and, action={"os-reset_status": {"status": "error"}}),
        do.uploaded,
        setup=do.made,
        good={"error", "error active"},
        bad={"available", "available active"},
        before="available",
        cut={"available", "available active"},
        patience=2 * upload_volume.ANNOUNCED_WITHIN,
    ),
    Scenario(
        "adopt a volume",
        adopt_volume.WORKFLOW.name,
        do.adopting,
        do.taken_over,
        setup=do.stranger,
        good={"available 2 ours"},
        bad={"error_managing 0 free"},
        before="none free",
        takes_back=do.deleted,
        undone={"none free", "none"},
    ),
    Scenario(
        "adopt a volume that is not there",
        adopt_volume.WORKFLOW.name,
        do.adopting,
        do.taken_over,
        good={"error_managing 0"},
        before="none",
        takes_back=do.deleted,
        undone={"none"},
    ),
    Scenario(
        "adopt a volume that is too large for the quota",
        adopt_volume.WORKFLOW.name,
        do.adopting,
        do.taken_over,
        setup=do.stranger_too_large,
        good={"error_managing 0 free"},
        before="none free",
        takes_back=do.deleted,
        undone={"none free"},
    ),
    Scenario(
        "force-delete what is being adopted",
        adopt_volume.WORKFLOW.name,
        partial(do.adopting_and, action={"os-force_delete": None}),
        do.taken_over,
        setup=do.stranger,
        good={"none free"},
        bad={"error_deleting 0 free", "error_managing 0 free"},
        before="none free",
        cut={"available 2 ours", "none"},
    ),
    Scenario(
        "adopt a snapshot",
        adopt_snapshot.WORKFLOW.name,
        do.adopting_snapshot,
        do.snapshot_taken_over,
        setup=do.strange_snapshot,
        good={"available ours"},
        bad={"error free"},
        before="none free",
    ),
    Scenario(
        "list what could be adopted",
        list_manageable.WORKFLOW.name,
        do.listing_manageable,
        do.taken_over,
        setup=do.stranger,
        good={"none free"},
    ),
    Scenario(
        "unmanage a volume",
        unmanage_volume.WORKFLOW.name,
        do.acting("os-unmanage", role="admin"),
        do.let_go,
        setup=do.made,
        good={"gone none kept volume"},
        bad={"error_unmanaging none", "error_unmanaging none kept volume"},
        before="available none",
    ),
    Scenario(
        "unmanage a volume that a host is let in to",
        unmanage_volume.WORKFLOW.name,
        do.acting("os-unmanage", role="admin"),
        do.let_go,
        setup=do.legacy_let_in,
        good={"gone none kept volume"},
        bad={"error_unmanaging none", "error_unmanaging none kept volume"},
        before="available none",
    ),
    Scenario(
        "reset what is being unmanaged",
        unmanage_volume.WORKFLOW.name,
        partial(do.letting_go_and, action={"os-reset_status": {"status": "available"}}),
        do.let_go,
        setup=do.made,
        good={"available none", "error none kept volume", "gone none kept volume"},
        patience=CHECK_PATIENCE,
        loses=True,
    ),
    Scenario(
        "unmanage a snapshot",
        unmanage_snapshot.WORKFLOW.name,
        do.letting_go_of_snapshot,
        do.let_go,
        setup=do.frozen,
        good={"available none kept snapshot"},
        bad={"available error", "available error kept snapshot"},
        before="available available",
    ),
    Scenario(
        "retype a volume",
        retype_volume.WORKFLOW.name,
        do.retyping("gold"),
        do.of_type,
        setup=do.to_retype,
        good={"available gold"},
        bad={"available __DEFAULT__"},
        before="available __DEFAULT__",
        takes_back=do.kept_as_it_was,
        undone={"available __DEFAULT__"},
    ),
    Scenario(
        "retype a volume in use, which moves it",
        retype_volume.WORKFLOW.name,
        do.retyping("there", "on-demand"),
        do.of_type,
        setup=partial(do.to_retype, used=True),
        good={"in-use there pool1 success"},
        bad={
            *("in-use __DEFAULT__", "in-use __DEFAULT__ error"),
            *("in-use __DEFAULT__ pool1 error", "in-use __DEFAULT__ pool1 success"),
        },
        before="in-use __DEFAULT__",
    ),
    Scenario(
        "reset what is being retyped",
        retype_volume.WORKFLOW.name,
        do.and_then(
            do.retyping("there", "on-demand"), {"os-reset_status": {"status": "available"}}
        ),
        do.of_type,
        setup=do.to_retype,
        good={
            *("available __DEFAULT__", "available __DEFAULT__ error", "available there"),
            *("available __DEFAULT__ pool1 error", "available __DEFAULT__ pool1 success"),
            *("available there pool1 success", "available __DEFAULT__ pool1 none"),
        },
        before="available __DEFAULT__",
        patience=CHECK_PATIENCE,
    ),
    Scenario(
        "tell a backend of a type once more",
        apply_type.WORKFLOW.name,
        do.applying,
        do.of_type,
        setup=do.to_apply,
        good={"available __DEFAULT__"},
        bad={"available __DEFAULT__ told gold"},
        before="available __DEFAULT__ told gold",
    ),
    Scenario(
        "migrate a volume",
        migrate_volume.WORKFLOW.name,
        do.migrating(lock_volume=True),
        do.moved,
        setup=do.to_migrate,
        good={"available pool1 success"},
        bad={"available error", "available pool1 error"},
        before="available",
        takes_back=do.brought_back,
        undone={"available success", "available pool1 success"},
    ),
    Scenario(
        "migrate a volume in use",
        migrate_volume.WORKFLOW.name,
        do.migrating(),
        do.moved,
        setup=partial(do.to_migrate, used=True),
        good={"in-use pool1 success"},
        bad={"in-use error", "in-use pool1 error"},
        before="in-use",
    ),
    Scenario(
        "migrate to another backend",
        migrate_volume.WORKFLOW.name,
        do.acting("os-migrate_volume", {"host": "node1@slow#pool0"}, role="admin"),
        do.moved,
        setup=do.to_migrate,
        good={"available error"},
        before="available",
    ),
    Scenario(
        "reset what is being migrated",
        migrate_volume.WORKFLOW.name,
        do.and_then(
            do.migrating(lock_volume=True), {"os-reset_status": {"migration_status": "none"}}
        ),
        do.moved,
        setup=do.to_migrate,
        good={"available", "available pool1 none"},
        bad={"available error", "available pool1 error"},
        before="available",
        cut={"available pool1 success"},
        patience=CHECK_PATIENCE,
    ),
    Scenario(
        "put a volume back to its snapshot",
        revert_volume.WORKFLOW.name,
        do.reverting,
        do.put_back,
        setup=do.frozen,
        good={"available available done"},
        bad={"error available", "error available done"},
        before="available available",
    ),
    Scenario(
        "reset the snapshot that a volume is put back to",
        revert_volume.WORKFLOW.name,
        partial(do.reverting_and, action={"os-reset_status": {"status": "available"}}),
        do.put_back,
        setup=do.frozen,
        good={"error available", "error available done", "available available done"},
        before="available available",
        patience=CHECK_PATIENCE,
    ),
    Scenario(
        "force-delete the snapshot that a volume is put back to",
        revert_volume.WORKFLOW.name,
        partial(do.reverting_and, action={"os-force_delete": None}),
        do.put_back,
        setup=do.frozen,
        good={"error none", "error none done", "available none done"},
        bad={
            *("error error_deleting", "error error_deleting done"),
            *("available error_deleting done", "error available", "error available done"),
        },
        before="available available",
        cut={"available available done"},
    ),
    Scenario(
        "reimage a volume",
        reimage_volume.WORKFLOW.name,
        do.acting("os-reimage", {"image_id": IMAGE}),
        do.filled("first"),
        setup=do.made,
        good={"available done"},
        bad={"error", "error done", "available"},
        before="available",
    ),
    Scenario(
        "reimage a volume that is reserved",
        reimage_volume.WORKFLOW.name,
        do.acting("os-reimage", {"image_id": IMAGE, "reimage_reserved": True}),
        do.filled("first"),
        setup=partial(do.reserved, instance_uuid="5e4de4a0-0000-4000-8000-000000000001"),
        good={"reserved done"},
        bad={"error", "error done", "reserved"},
        before="reserved",
    ),
    Scenario(
        "reset what is being reimaged",
        reimage_volume.WORKFLOW.name,
        partial(do.reimaging_and, action={"os-reset_status": {"status": "available"}}),
        do.filled("first"),
        setup=do.made,
        good={"available", "available done"},
        bad={"error", "error done"},
        before="available",
        patience=CHECK_PATIENCE,
    ),
    Scenario(
        "create a snapshot",
        create_snapshot.WORKFLOW.name,
        do.posting("/snapshots", "snapshot", volume_id="$volume"),
        do.snapshot,
        setup=do.made,
        good={"available"},
        bad={"error"},
        before="none",
        takes_back=do.deleted,
        undone={"none"},
    ),
    Scenario(
        "delete a snapshot",
        delete_snapshot.WORKFLOW.name,
        do.deleting("/snapshots/{snapshot}"),
        do.snapshot,
        setup=do.frozen,
        good={"none"},
        bad={"error_deleting"},
        before="available",
    ),
    Scenario(
        "attach",
        attach_volume.WORKFLOW.name,
        do.posting("/attachments", "attachment", volume_uuid="$volume", connector=HOST),
        do.attached,
        setup=do.made,
        good={"attaching attaching compute1"},
        bad={"reserved reserved", "reserved reserved compute1"},
        before="available",
        takes_back=do.detached,
        undone={"available"},
    ),
    Scenario(
        "attach what was reserved",
        attach_volume.WORKFLOW.name,
        do.connecting,
        do.attached,
        setup=do.reserved,
        good={"attaching attaching compute1"},
        bad={"reserved reserved", "reserved reserved compute1"},
        before="reserved reserved",
        takes_back=do.detached,
        undone={"available"},
    ),
    Scenario(
        "attach by action",
        attach_volume.WORKFLOW.name,
        do.acting("os-initialize_connection", {"connector": HOST}),
        do.attached,
        setup=do.made,
        good={"available attaching compute1"},
        bad={"available error_attaching", "available error_attaching compute1"},
        before="available",
        takes_back=do.acting("os-terminate_connection", {"connector": HOST}),
        undone={"available"},
    ),
    Scenario(
        "detach the last",
        detach_volume.WORKFLOW.name,
        do.deleting("/attachments/{attachment}"),
        do.attached,
        setup=do.connected,
        good={"available"},
        bad={"in-use error_detaching compute1", "in-use error_detaching"},
        before="in-use attached compute1",
    ),
    Scenario(
        "detach one of two on a host",
        detach_volume.WORKFLOW.name,
        do.deleting("/attachments/{attachment}"),
        do.attached,
        setup=do.connected_twice,
        good={"in-use attached compute1"},
        bad={"in-use attached error_detaching compute1"},
        before="in-use attached attached compute1",
    ),
    Scenario(
        "detach by action",
        detach_volume.WORKFLOW.name,
        do.acting("os-terminate_connection", {"connector": HOST}),
        do.attached,
        setup=do.legacy_connected,
        good={"in-use attached"},
        bad={"in-use error_detaching compute1", "in-use error_detaching"},
        before="in-use attached compute1",
    ),
    Scenario(
        "give a reservation back",
        detach_volume.WORKFLOW.name,
        do.acting("os-unreserve"),
        do.attached,
        setup=do.legacy_reserved,
        good={"available"},
        bad={"in-use error_detaching compute1", "in-use error_detaching"},
        before="attaching attaching compute1",
    ),
    Scenario(
        "begin to detach, and never come back",
        hold_volume.WORKFLOW.name,
        do.acting("os-begin_detaching"),
        do.attached,
        setup=do.connected,
        good={"in-use attached compute1"},
        patience=hold_volume.PATIENCE + 60,
    ),
    Scenario(
        "begin to detach, and roll back",
        hold_volume.WORKFLOW.name,
        partial(do.in_turn, actions=("os-begin_detaching", "os-roll_detaching")),
        do.attached,
        setup=do.connected,
        good={"in-use attached compute1"},
        patience=hold_volume.PATIENCE + 60,
    ),
    Scenario(
        "reserve, connect, and never come back",
        hold_volume.WORKFLOW.name,
        partial(do.in_turn, actions=("os-reserve", "os-initialize_connection")),
        do.attached,
        setup=do.made,
        good={"available"},
        bad={"in-use error_detaching compute1", "in-use error_detaching"},
        cut={"available attaching compute1"},  # the hold expired before he connected
        patience=hold_volume.PATIENCE + 60,
    ),
    Scenario(
        "reset what is being created",
        check_volume.WORKFLOW.name,
        partial(do.creating_and, action={"os-reset_status": {"status": "available"}}),
        do.volume_named("subject"),
        good={"available", "error"},
        before="none",
        patience=CHECK_PATIENCE,
        loses=True,  # cut short before the backend had made it
    ),
    Scenario(
        "reset what is being deleted",
        check_volume.WORKFLOW.name,
        partial(do.deleting_and, action={"os-reset_status": {"status": "available"}}),
        do.volume,
        setup=do.made,
        good={"available", "error", "gone"},
        patience=CHECK_PATIENCE,
        loses=True,
    ),
    Scenario(
        "reset to detached",
        check_volume.WORKFLOW.name,
        do.acting("os-reset_status", {"status": "available", "attach_status": "detached"}, "admin"),
        do.attached,
        setup=do.connected,
        good={"available"},
        before="in-use attached compute1",
        patience=CHECK_PATIENCE,
    ),
    Scenario(
        "reset to a status that passes",
        check_volume.WORKFLOW.name,
        do.acting("os-reset_status", {"status": "creating"}, role="admin"),
        do.volume,
        setup=do.made,
        good={"available"},
        bad={"error"},
        patience=2 * CHECK_PATIENCE,
    ),
    Scenario(
        "reset a snapshot",
        check_snapshot.WORKFLOW.name,
        do.resetting_snapshot("creating"),
        do.snapshot,
        setup=do.frozen,
        good={"available"},
        bad={"error"},
        patience=2 * CHECK_PATIENCE,
    ),
    Scenario(
        "sweep a healthy backend",
        sweep_backend.WORKFLOW.name,
        do.sweeping,
        do.stored,
        setup=do.connected,
        good={"in-use 1 compute1"},
    ),
    Scenario(
        "sweep a backend",
        sweep_backend.WORKFLOW.name,
        do.sweeping,
        do.stored,
        setup=do.stray,
        good={"in-use 3 compute1"},
    ),
)
