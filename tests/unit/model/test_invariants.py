"""Each invariant sees what it is there for, and nothing in a healthy deployment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from breezeblock.model.attachments import Attachment
from breezeblock.model.invariants import Facts, check_live, check_quiet
from breezeblock.model.inventory import Item
from breezeblock.model.messages import Message
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.transfers import Transfer
from breezeblock.model.volumes import Volume

THEN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = 1000.0
BACKEND = "node1@fast"
OWNER = {"project_id": "p", "user_id": "u"}
VOLUME = Volume(
    id="v",
    size=2,
    status="in-use",
    volume_type_id="t",
    created_at=THEN,
    host=f"{BACKEND}#a",
    **OWNER,
)
SNAPSHOT = Snapshot(
    id="s", volume_id="v", size=2, status="available", volume_type_id="t", created_at=THEN, **OWNER
)
ATTACHMENT = Attachment(
    id="a",
    volume_id="v",
    attach_status="attached",
    created_at=THEN,
    instance_uuid="server",
    connector={"host": "c1"},
    connection_info={"driver_volume_type": "fake"},
    **OWNER,
)
ENDED = Operation(
    id="o",
    workflow="create_volume",
    resource_type="volume",
    resource_id="v",
    request_id="req",
    step="build",
    queue=f"volume.{BACKEND}",
    state="succeeded",
    epoch=2,
    trail=[{"event": "accepted"}, {"event": "done", "epoch": 1}, {"event": "done", "epoch": 2}],
    **OWNER,
)
FAILURE = {"code": "backend", "message": "It failed.", "cause": "It is full.", "remedy": "Buy."}
TRANSFER = Transfer(
    id="x",
    volume_id="v",
    salt="00",
    auth_key_hash="00",
    source_project_id="p",
    created_at=THEN,
)
MESSAGE = Message(
    id="m",
    project_id="p",
    request_id="req",
    event_id="1",
    user_message="It failed.",
    created_at=THEN,
    expires_at=THEN,
    resource_uuid="v",
)
HEALTHY = Facts(
    now=NOW,
    volumes={"v": VOLUME},
    snapshots={"s": SNAPSHOT},
    attachments=[ATTACHMENT],
    operations=[ENDED],
    usages={
        ("p", "volumes"): 1,
        ("p", "snapshots"): 1,
        ("p", "gigabytes"): 4,
        ("p", "volumes_std"): 1,
        ("p", "snapshots_std"): 1,
        ("p", "gigabytes_std"): 4,
        ("p", "volumes_gone"): 0,
    },
    messages=[],
    type_names={"t": "std"},
)
HELD = [
    Item("volume", "v", 2, pool="a"),
    Item("snapshot", "s", 2, volume_id="v"),
    Item("export", "v", host="c1"),
]


def but(row: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(row, **changes)


def broken(facts: Facts = HEALTHY, held: list[Item] = HELD) -> list[str]:
    """The names of the rules that are broken."""
    return [one.rule for one in check_quiet(facts, {BACKEND: held})]


def work(**changes: Any) -> Operation:
    """An operation that is open, and due."""
    return but(ENDED, id="w", state="open", **changes)


def test_a_healthy_deployment_breaks_no_rule() -> None:
    assert broken() == []


def test_an_open_operation_is_seen_when_all_is_quiet_but_not_on_a_live_deployment() -> None:
    facts = replace(HEALTHY, operations=[work()])
    assert broken(facts) == ["open-operation"]
    assert check_live(facts, {BACKEND: HELD}) == []


def test_an_operation_whose_time_has_not_come_may_be_open() -> None:
    assert broken(replace(HEALTHY, operations=[work(due_at=NOW + 3600)])) == []


@pytest.mark.parametrize("status", ["creating", "deleting", "extending"])
def test_a_passing_status_needs_an_operation_on_the_volume(status: str) -> None:
    stuck = replace(HEALTHY, volumes={"v": but(VOLUME, status=status)})
    assert broken(stuck) == ["transient-status"]
    on_an_export = replace(stuck, operations=[work(resource_id="v@c1", due_at=NOW + 99)])
    assert "transient-status" in broken(on_an_export)
    assert broken(replace(stuck, operations=[work(due_at=NOW + 99)])) == []


@pytest.mark.parametrize("status", ["reserved", "attaching", "detaching"])
def test_a_connecting_status_needs_an_attachment_or_an_operation(status: str) -> None:
    stuck = replace(HEALTHY, volumes={"v": but(VOLUME, status=status)})
    assert "transient-status" in broken(stuck)
    row = but(ATTACHMENT, attach_status=status)
    assert broken(replace(stuck, attachments=[row])) == []
    on_an_export = [work(resource_id="v@c1", due_at=NOW + 99)]
    assert broken(replace(stuck, operations=on_an_export)) == []


def test_a_passing_status_of_a_snapshot_needs_an_operation_on_it_or_its_volume() -> None:
    stuck = replace(HEALTHY, snapshots={"s": but(SNAPSHOT, status="deleting")})
    assert broken(stuck) == ["transient-status"]
    for resource in ("s", "v"):
        waits = work(resource_id=resource, due_at=NOW + 99)
        assert broken(replace(stuck, operations=[waits])) == []


def test_a_volume_that_awaits_a_transfer_needs_one_or_a_check() -> None:
    volumes = {"v": but(VOLUME, status="awaiting-transfer")}
    awaiting = replace(HEALTHY, volumes=volumes, attachments=[])
    assert broken(awaiting, HELD[:2]) == ["transient-status"]
    assert broken(replace(awaiting, transfers=[TRANSFER]), HELD[:2]) == []
    check = work(resource_type="check", workflow="check_volume", due_at=NOW + 60.0)
    assert broken(replace(awaiting, operations=[check]), HELD[:2]) == []


@pytest.mark.parametrize(
    "changes", [{"status": "available"}, {"status": "awaiting-transfer", "project_id": "q"}]
)
def test_a_transfer_is_of_a_volume_that_its_project_offers(changes: dict[str, str]) -> None:
    volumes = {"v": but(VOLUME, **changes)}
    dangling = replace(HEALTHY, volumes=volumes, attachments=[], transfers=[TRANSFER])
    assert "dangling-transfer" in broken(dangling, HELD[:2])


def test_a_transfer_of_a_volume_that_is_gone_is_seen() -> None:
    dangling = replace(HEALTHY, transfers=[but(TRANSFER, volume_id="gone")])
    assert broken(dangling) == ["dangling-transfer"]


def test_a_volume_that_somebody_has_is_in_use() -> None:
    free = replace(HEALTHY, volumes={"v": but(VOLUME, status="available")})
    assert broken(free) == ["status-follows-attachments"]


def test_a_volume_that_nobody_has_is_not_in_use() -> None:
    alone = replace(HEALTHY, attachments=[])
    assert broken(alone, HELD[:2]) == ["status-follows-attachments"]


def test_usage_that_differs_from_the_rows_is_seen_for_each_resource() -> None:
    assert broken(replace(HEALTHY, usages={})) == ["usage"] * 6
    stale = {**HEALTHY.usages, ("gone", "volumes"): 1}
    assert broken(replace(HEALTHY, usages=stale)) == ["usage"]


def test_a_growth_under_way_is_charged_already() -> None:
    grown = {
        key: used + (3 if "gigabytes" in key[1] else 0) for key, used in HEALTHY.usages.items()
    }
    extending = work(data={"old_size": 2, "new_size": 5}, due_at=NOW + 99)
    assert broken(replace(HEALTHY, usages=grown)) == ["usage"] * 2
    assert broken(replace(HEALTHY, usages=grown, operations=[extending])) == []


def test_two_servers_may_not_have_a_volume_that_is_not_shared() -> None:
    second = but(ATTACHMENT, id="b", instance_uuid="other")
    facts = replace(HEALTHY, attachments=[ATTACHMENT, second])
    assert broken(facts) == ["shared-without-leave"]
    shared = replace(facts, volumes={"v": but(VOLUME, multiattach=True)})
    assert broken(shared) == []


def test_one_server_may_have_it_twice_while_it_moves() -> None:
    second = but(ATTACHMENT, id="b")
    assert broken(replace(HEALTHY, attachments=[ATTACHMENT, second])) == []


def test_two_hosts_without_a_server_may_not_have_it_either() -> None:
    first = but(ATTACHMENT, instance_uuid=None)
    second = but(first, id="b")
    assert broken(replace(HEALTHY, attachments=[first, second])) == ["shared-without-leave"]


@pytest.mark.parametrize("missing", ["cause", "remedy", "message", "code"])
def test_a_failure_says_why(missing: str) -> None:
    failed = but(ENDED, state="failed", failure={**FAILURE, missing: ""})
    facts = replace(HEALTHY, operations=[failed], messages=[MESSAGE])
    assert broken(facts) == ["failure-says-why"]


@pytest.mark.parametrize("told", [0, 2])
def test_a_failure_is_told_exactly_once(told: int) -> None:
    failed = but(ENDED, state="failed", failure=FAILURE)
    facts = replace(HEALTHY, operations=[failed], messages=[MESSAGE] * told)
    assert broken(facts) == ["failure-told-once"]
    assert broken(replace(facts, messages=[MESSAGE])) == []


def test_what_the_service_does_of_its_own_accord_is_told_to_nobody() -> None:
    failed = but(ENDED, state="failed", failure=FAILURE, project_id="")
    assert broken(replace(HEALTHY, operations=[failed], messages=[])) == []


def test_two_operations_on_one_resource_are_seen() -> None:
    first = but(ENDED, state="open", due_at=NOW + 60)
    second = but(first, id="o2", workflow="extend_volume", resource_type="anything")
    looks = but(first, id="o3", resource_type="check")
    assert broken(replace(HEALTHY, operations=[first, second])) == ["one-at-a-time"]
    assert broken(replace(HEALTHY, operations=[first, looks])) == []


def test_an_epoch_that_goes_back_is_seen() -> None:
    back = but(ENDED, trail=[{"epoch": 2}, {"epoch": 1}])
    ahead = but(ENDED, trail=[{"epoch": 3}])
    assert broken(replace(HEALTHY, operations=[back])) == ["epoch"]
    assert broken(replace(HEALTHY, operations=[ahead])) == ["epoch"]


def test_what_the_database_does_not_know_is_an_orphan() -> None:
    strangers = [Item("volume", "x", 1), Item("snapshot", "y", 1, volume_id="v")]
    assert broken(held=[*HELD, *strangers]) == ["orphan", "orphan"]


def test_a_volume_on_another_pool_than_its_row_says_is_an_orphan() -> None:
    assert "orphan" in broken(held=[Item("volume", "v", 2, pool="b"), *HELD[1:]])
    moved = replace(HEALTHY, volumes={"v": but(VOLUME, host="node1@slow#a")})
    assert "orphan" in broken(moved)


def test_what_the_backend_lacks_is_missing() -> None:
    assert broken(held=HELD[2:]) == ["missing", "missing"]


def test_a_volume_in_error_need_not_be_there() -> None:
    facts = replace(HEALTHY, volumes={"v": but(VOLUME, status="error")}, snapshots={})
    assert "missing" not in broken(facts, HELD[2:])


def test_a_volume_has_the_size_that_the_database_says() -> None:
    assert broken(held=[Item("volume", "v", 3, pool="a"), *HELD[1:]]) == ["size"]


def test_an_export_without_an_attachment_is_seen() -> None:
    assert broken(held=[*HELD, Item("export", "v", host="c2")]) == ["export-without-attachment"]


def test_an_attachment_without_its_export_is_seen() -> None:
    assert broken(held=HELD[:2]) == ["attachment-without-export"]


def test_a_volume_that_is_not_there_is_told_once_and_not_for_each_of_its_exports() -> None:
    assert broken(held=[]) == ["missing", "missing"]
    half_deleted = replace(HEALTHY, volumes={"v": but(VOLUME, status="error_deleting")})
    assert broken(half_deleted, held=[]) == ["missing"]  # the snapshot


def test_work_on_an_export_excuses_that_export_only() -> None:
    elsewhere = work(resource_id="v@c2", due_at=NOW + 99)
    here = work(resource_id="v@c1", due_at=NOW + 99)
    stray = [*HELD[:2], Item("export", "v", host="c3")]
    assert broken(replace(HEALTHY, operations=[elsewhere]), HELD[:2])
    assert broken(replace(HEALTHY, operations=[here]), HELD[:2]) == []
    assert "export-without-attachment" in broken(replace(HEALTHY, operations=[here]), stray)
