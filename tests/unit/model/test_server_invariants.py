"""Each rule for servers sees what it is there for, and nothing in a healthy compute service."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from breezeblock.model.invariants.servers import (
    SeenAttachment,
    SeenGuest,
    ServerFacts,
    Surroundings,
    check_live,
    check_quiet,
    disks_out_of_reach,
)
from breezeblock.model.operation import Operation
from breezeblock.model.servers import Flavor, Server, ServerVolume

THEN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = 1000.0
LATER = NOW + 3600
OWNER = {"project_id": "p", "user_id": "u"}
SERVER = Server(
    id="s",
    name="one",
    status="ACTIVE",
    flavor=Flavor(id="tiny", name="tiny", ram=128),
    host="h",
    created_at=THEN,
    launched_at=THEN,
    **OWNER,
)
ROW = ServerVolume(
    id="r", server_id="s", volume_id="v", attachment_id="a", state="attached", created_at=THEN
)
ENDED = Operation(
    id="o",
    workflow="create_server",
    resource_type="server",
    resource_id="s",
    request_id="req",
    step="complete",
    queue="compute.h",
    state="succeeded",
    **OWNER,
)
FACTS = ServerFacts(now=NOW, servers={"s": SERVER}, volumes=[ROW], operations=[ENDED])
GUEST = SeenGuest("s", "h", runs=True, disks=frozenset({"v"}))
ATTACHMENT = SeenAttachment("a", "v", "s", host="h")
SEEN = Surroundings(hosts={"h"}, guests=[GUEST], attachments=[ATTACHMENT])


def broken(facts: ServerFacts = FACTS, seen: Surroundings = SEEN) -> list[str]:
    """The names of the rules that are broken."""
    return [one.rule for one in check_quiet(facts, seen)]


def but(row: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(row, **changes)


def server(**changes: Any) -> ServerFacts:
    return replace(FACTS, servers={"s": but(SERVER, **changes)})


def row(**changes: Any) -> ServerFacts:
    return replace(FACTS, volumes=[but(ROW, **changes)])


def guests(*present: SeenGuest) -> Surroundings:
    return replace(SEEN, guests=present)


def attachments(*present: SeenAttachment) -> Surroundings:
    return replace(SEEN, attachments=present)


def working(facts: ServerFacts, resource: str = "s", **changes: Any) -> ServerFacts:
    """The same while an operation is open whose time has not come."""
    opened = but(ENDED, id="w", state="open", resource_id=resource, due_at=LATER, **changes)
    return replace(facts, operations=[ENDED, opened])


def test_a_healthy_compute_service_breaks_no_rule() -> None:
    assert broken() == []


def test_an_open_operation_is_seen_when_all_is_quiet_but_not_on_a_live_deployment() -> None:
    facts = replace(FACTS, operations=[but(ENDED, state="open")])
    assert broken(facts) == ["open-operation"]
    assert check_live(facts, SEEN) == []


@pytest.mark.parametrize(
    "passing",
    [{"status": "BUILD"}, {"task_state": "deleting"}, {"task_state": "rebooting"}],
)
def test_a_passing_state_of_a_server_needs_an_operation(passing: dict[str, str]) -> None:
    assert broken(server(**passing)) == ["server-stuck"]
    assert broken(working(server(**passing), "v@s")) == ["server-stuck"]
    assert broken(working(server(**passing))) == []


@pytest.mark.parametrize("state", ["attaching", "detaching"])
def test_a_passing_state_of_a_servers_volume_needs_an_operation(state: str) -> None:
    assert "server-volume-stuck" in broken(row(state=state))
    assert "server-volume-stuck" in broken(working(row(state=state), "other@s"))
    assert broken(working(row(state=state), "v@s")) == []


def test_a_guest_needs_a_server_on_its_host() -> None:
    stray = SeenGuest("x", "h", runs=True)
    assert broken(seen=guests(GUEST, stray)) == ["guest-without-server"]
    assert broken(working(FACTS, "x"), guests(GUEST, stray)) == []
    moved = server(host="elsewhere")
    assert "guest-without-server" in broken(moved)


def test_a_server_that_could_not_be_built_has_no_guest() -> None:
    failed = replace(server(status="ERROR", launched_at=None), volumes=[])
    assert broken(failed, replace(guests(but_guest(disks=())), attachments=())) == [
        "guest-without-server"
    ]
    assert broken(failed, Surroundings({"h"}, (), ())) == []


def but_guest(**changes: Any) -> SeenGuest:
    changes = {key: frozenset(v) if key == "disks" else v for key, v in changes.items()}
    return replace(GUEST, **changes)


def test_a_server_that_is_active_runs_and_one_that_is_off_does_not() -> None:
    off = but_guest(runs=False, disks=())
    assert broken(seen=guests()) == ["server-status"]
    assert broken(seen=guests(off)) == ["server-status"]
    assert broken(server(status="SHUTOFF")) == ["server-status"]
    assert broken(server(status="SHUTOFF"), guests(off)) == []
    assert broken(working(FACTS), guests(off)) == []


def test_nothing_is_said_of_hosts_that_could_not_be_asked() -> None:
    assert broken(seen=Surroundings((), (), [ATTACHMENT])) == []


def test_a_guest_has_the_disks_of_its_server() -> None:
    assert broken(seen=guests(but_guest(disks=()))) == ["disks"]
    assert broken(working(FACTS, "v@s"), guests(but_guest(disks=()))) == []
    foreign = but_guest(disks={"v", "w"})
    two = attachments(ATTACHMENT, SeenAttachment("b", "w", "s", host="h"))
    assert broken(seen=replace(two, guests=[foreign])) == ["disks", "attachment-without-row"]


def test_of_a_disk_whose_work_ended_badly_nobody_knows() -> None:
    assert broken(row(state="error")) == []
    assert broken(row(state="error"), guests(but_guest(disks=()))) == []


def test_what_a_server_has_block_storage_knows() -> None:
    gone = replace(attachments(), guests=[but_guest(runs=False, disks=())])
    off = server(status="SHUTOFF")
    assert broken(off, gone) == ["row-without-attachment"]
    assert broken(row(attachment_id="other")) == [
        "row-without-attachment",
        "attachment-without-row",
    ]
    assert broken(working(off, "v@s"), gone) == []


def test_what_block_storage_keeps_for_a_server_the_server_has() -> None:
    second = SeenAttachment("b", "v", "s")
    assert broken(seen=attachments(ATTACHMENT, second)) == ["attachment-without-row"]
    assert broken(working(FACTS, "v@s"), attachments(ATTACHMENT, second)) == []


def test_a_check_excuses_what_it_is_there_to_remove_and_nothing_else() -> None:
    left = attachments(ATTACHMENT, SeenAttachment("b", "v", "s"))
    assert broken(working(FACTS, resource_type="check"), left) == []
    stuck = working(server(task_state="rebooting"), resource_type="check")
    assert broken(stuck) == ["server-stuck"]


def test_attachments_of_deleted_servers_are_seen_and_those_of_other_services_are_not() -> None:
    gone = replace(FACTS, servers={}, volumes=[])
    assert broken(gone, guests()) == ["attachment-without-row"]
    foreign = SeenAttachment("b", "w", "somebody-else")
    assert broken(seen=attachments(ATTACHMENT, foreign)) == []


def test_a_disk_without_its_export_is_seen() -> None:
    reserved = attachments(replace(ATTACHMENT, host=None))
    assert broken(seen=reserved) == ["disk-without-export"]
    assert broken(seen=attachments(replace(ATTACHMENT, host="elsewhere"))) == [
        "disk-without-export"
    ]


def test_open_work_excuses_a_disk_without_export_but_not_for_those_who_see_all_at_once() -> None:
    reserved = attachments(replace(ATTACHMENT, host=None))
    assert broken(working(FACTS, "v@s"), reserved) == []
    assert [one.rule for one in disks_out_of_reach(reserved)] == ["disk-without-export"]


def test_a_failure_says_why() -> None:
    failed = but(ENDED, state="failed", failure={"code": "x", "message": "It failed."})
    assert broken(replace(FACTS, operations=[failed])) == ["failure-says-why"]


def test_an_epoch_that_goes_back_is_seen() -> None:
    back = but(ENDED, epoch=2, trail=[{"epoch": 2}, {"epoch": 1}])
    assert broken(replace(FACTS, operations=[back])) == ["epoch"]
