"""What must be true of servers, their guests and their volumes: the compute service's part.

The rules look at the compute database (`ServerFacts`) and at what lies outside of it: the guests
that hosts run, the attachments that block storage has (`Surroundings`). As everywhere here, work
that is open excuses what it works on, so that a live deployment may be looked at:

    check_live           holds at any moment
    check_quiet          holds in addition once all work has come to its end
    disks_out_of_reach   are none at any moment, open work or not; for those who see hosts and
                         storage at one and the same moment
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from breezeblock.model.invariants import operations
from breezeblock.model.invariants.facts import Facts, Violation
from breezeblock.model.invariants.operations import CHECK
from breezeblock.model.inventory import Item
from breezeblock.model.operation import Operation
from breezeblock.model.servers import Server, ServerVolume

PASSING = frozenset({"attaching", "detaching"})
"""States of a server's volume that only work on it, or on its server, explains."""


@dataclass(frozen=True)
class ServerFacts:
    """The rows of the compute database, of one consistent view. `now` is its clock in seconds."""

    now: float
    servers: Mapping[str, Server]
    volumes: Sequence[ServerVolume]
    operations: Collection[Operation]

    @cached_property
    def open_on(self) -> frozenset[str]:
        """What work is open on: servers, and `<volume>@<server>`. Checks stand beside it."""
        return frozenset(
            one.resource_id for one in self.operations if one.is_open and one.resource_type != CHECK
        )

    @cached_property
    def checked(self) -> frozenset[str]:
        """Servers whose leftovers in block storage are being looked for."""
        return frozenset(
            one.resource_id for one in self.operations if one.is_open and one.resource_type == CHECK
        )

    @cached_property
    def volumes_of(self) -> Mapping[str, list[ServerVolume]]:
        """Server id → its volumes."""
        found: dict[str, list[ServerVolume]] = {}
        for row in self.volumes:
            found.setdefault(row.server_id, []).append(row)
        return found

    @cached_property
    def known(self) -> frozenset[str]:
        """Servers that are, or were, of this compute service."""
        worked_on = {one.resource_id for one in self.operations if one.resource_type == "server"}
        return frozenset(worked_on | self.servers.keys())

    def is_busy(self, server_id: str, volume_id: str | None = None) -> bool:
        """Whether work is open on the server, or on this volume of it."""
        return server_id in self.open_on or f"{volume_id}@{server_id}" in self.open_on

    def work(self) -> Facts:
        """The operations alone, as the rules for all operations want them."""
        return Facts(
            now=self.now,
            volumes={},
            snapshots={},
            attachments=(),
            operations=self.operations,
            usages={},
            messages=(),
            type_names={},
        )


@dataclass(frozen=True, slots=True)
class SeenGuest:
    """A guest as its host shows it. `disks` are volume ids; a guest that is stopped has none."""

    server_id: str
    host: str
    runs: bool
    disks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SeenAttachment:
    """An attachment that block storage has. `host` is let in by its export; None: nobody yet."""

    id: str
    volume_id: str
    server_id: str
    host: str | None = None


@dataclass(frozen=True)
class Surroundings:
    """What hosts and block storage say. `hosts` are those that were asked, and answered."""

    hosts: Collection[str]
    guests: Collection[SeenGuest]
    attachments: Collection[SeenAttachment]

    @cached_property
    def guest_of(self) -> Mapping[str, SeenGuest]:
        """Server id → its guest."""
        return {guest.server_id: guest for guest in self.guests}

    @cached_property
    def reach(self) -> frozenset[tuple[str, str, str]]:
        """(server, volume, host): which exports stand for whom."""
        return frozenset((one.server_id, one.volume_id, one.host or "") for one in self.attachments)


def passing_states_have_an_operation(facts: ServerFacts, _: Surroundings) -> Iterator[Violation]:
    """BUILD, a task state, `attaching` and `detaching` exist only while work is open."""
    for server in facts.servers.values():
        passing = server.task_state or ("BUILD" if server.status == "BUILD" else None)
        if passing and not facts.is_busy(server.id):
            yield Violation(
                "server-stuck",
                server.id,
                f"Server {server.id} is {passing}, and no operation is open that would end that.",
            )
    for row in facts.volumes:
        if row.state in PASSING and not facts.is_busy(row.server_id, row.volume_id):
            yield Violation(
                "server-volume-stuck",
                row.server_id,
                f"Volume {row.volume_id} of server {row.server_id} is {row.state}, and no "
                "operation is open that would end that.",
            )


def guests_have_servers(facts: ServerFacts, seen: Surroundings) -> Iterator[Violation]:
    """A guest belongs to a server of its host, one that has been built."""
    for guest in seen.guests:
        server = facts.servers.get(guest.server_id)
        if facts.is_busy(guest.server_id):
            continue
        if server is None or server.host != guest.host:
            text = f"Host {guest.host} has the guest {guest.server_id}, which is no server there."
            yield Violation("guest-without-server", guest.server_id, text)
        elif server.launched_at is None and not facts.volumes_of.get(server.id):
            text = f"Server {server.id} was never built, but host {guest.host} has its guest."
            yield Violation("guest-without-server", server.id, text)


def guests_run_as_their_servers(facts: ServerFacts, seen: Surroundings) -> Iterator[Violation]:
    """ACTIVE means that the guest runs, SHUTOFF that it does not."""
    for server in facts.servers.values():
        if server.host not in seen.hosts or facts.is_busy(server.id):
            continue
        guest = seen.guest_of.get(server.id)
        runs = guest is not None and guest.runs
        if server.status in ("ACTIVE", "SHUTOFF") and runs != (server.status == "ACTIVE"):
            yield Violation(
                "server-status",
                server.id,
                f"Server {server.id} is {server.status}, but its guest "
                f"{'runs' if runs else 'does not run'} on host {server.host}.",
            )


def disks_equal_the_rows(facts: ServerFacts, seen: Surroundings) -> Iterator[Violation]:
    """A running guest has the disks of its server's attached volumes, and no others."""
    for guest in seen.guests:
        if not guest.runs or guest.server_id not in facts.servers:
            continue
        rows = facts.volumes_of.get(guest.server_id, [])
        # What ended badly in between may be plugged or not: its row says so.
        open_to_both = {row.volume_id for row in rows if row.state == "error"}
        wanted = {row.volume_id for row in rows if row.state == "attached" and row.volume_id}
        for volume_id in sorted(wanted ^ guest.disks - open_to_both):
            if facts.is_busy(guest.server_id, volume_id):
                continue
            has = "has" if volume_id in guest.disks else "lacks"
            yield Violation(
                "disks",
                guest.server_id,
                f"The guest {guest.server_id} {has} a disk for volume {volume_id}, "
                "but its server says otherwise.",
            )


def rows_have_attachments(facts: ServerFacts, seen: Surroundings) -> Iterator[Violation]:
    """What a server has attached, block storage knows as attached to it."""
    present = {(one.id, one.volume_id, one.server_id) for one in seen.attachments}
    for row in facts.volumes:
        if row.state != "attached" or facts.is_busy(row.server_id, row.volume_id):
            continue
        if (row.attachment_id, row.volume_id, row.server_id) not in present:
            yield Violation(
                "row-without-attachment",
                row.server_id,
                f"Server {row.server_id} has volume {row.volume_id} attached, but block storage "
                f"has no such attachment {row.attachment_id}.",
            )


def attachments_have_rows(facts: ServerFacts, seen: Surroundings) -> Iterator[Violation]:
    """Block storage keeps no attachment for a server of ours that knows nothing of it."""
    named = {(row.attachment_id, row.volume_id, row.server_id) for row in facts.volumes}
    in_error = {(row.volume_id, row.server_id) for row in facts.volumes if row.state == "error"}
    for one in seen.attachments:
        busy = facts.is_busy(one.server_id, one.volume_id) or one.server_id in facts.checked
        if one.server_id not in facts.known or busy:
            continue
        told = (one.volume_id, one.server_id) in in_error
        if not told and (one.id, one.volume_id, one.server_id) not in named:
            yield Violation(
                "attachment-without-row",
                one.server_id,
                f"Block storage keeps volume {one.volume_id} for server {one.server_id} "
                f"(attachment {one.id}), which does not have it.",
            )


def disks_have_exports(facts: ServerFacts, seen: Surroundings) -> Iterator[Violation]:
    """As `disks_out_of_reach`, but for what is being worked on."""
    for one in disks_out_of_reach(seen):
        if one.item is None or not facts.is_busy(one.subject, one.item.id):
            yield one


def disks_out_of_reach(seen: Surroundings) -> Iterator[Violation]:
    """A disk is plugged only while its export stands: the device goes before the export."""
    for guest in seen.guests:
        for volume_id in sorted(guest.disks if guest.runs else ()):
            if (guest.server_id, volume_id, guest.host) not in seen.reach:
                yield Violation(
                    "disk-without-export",
                    guest.server_id,
                    f"The guest {guest.server_id} has a disk for volume {volume_id}, but block "
                    f"storage does not let host {guest.host} reach that volume for it.",
                    Item("export", volume_id, host=guest.host),
                )


Rule = Callable[[ServerFacts, Surroundings], Iterator[Violation]]

LIVE: tuple[Rule, ...] = (
    passing_states_have_an_operation,
    guests_have_servers,
    guests_run_as_their_servers,
    disks_equal_the_rows,
    rows_have_attachments,
    attachments_have_rows,
    disks_have_exports,
)


def check_live(facts: ServerFacts, seen: Surroundings) -> list[Violation]:
    """What is wrong in a compute service that goes on working."""
    found = [violation for rule in LIVE for violation in rule(facts, seen)]
    work = facts.work()
    return [*found, *operations.failures_say_why(work), *operations.epochs_never_go_back(work)]


def check_quiet(facts: ServerFacts, seen: Surroundings) -> list[Violation]:
    """What is wrong in a compute service where all work should have come to its end."""
    return [*operations.nothing_is_open(facts.work()), *check_live(facts, seen)]
