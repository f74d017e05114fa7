"""Which differences between guests and servers there are, case by case."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from breezeblock.compute.hypervisor import AttachedDisk, Guest, GuestState
from breezeblock.compute.reconcile import (
    Ended,
    HoldsVolume,
    LacksVolume,
    RunsUnasked,
    Stray,
    differences,
)
from breezeblock.model.servers import Flavor, Server, ServerVolume

NOW = datetime(2026, 1, 1)  # noqa: DTZ001
ROW = ServerVolume(id="r", server_id="s", volume_id="v", state="attached", created_at=NOW)


def server(status: str) -> Server:
    flavor = Flavor(id="f", name="f", ram=1)
    return Server(
        id="s", project_id="p", user_id="u", name="s", status=status, flavor=flavor, created_at=NOW
    )


def guest(state: GuestState, *volumes: str) -> Guest:
    disks = tuple(AttachedDisk(one, "/dev/vdb", 1, False) for one in volumes)
    return Guest("s", "s", state, "why", disks)


RUNS, PAUSED, STOPPED = GuestState.RUNNING, GuestState.PAUSED, GuestState.STOPPED


@pytest.mark.parametrize(
    ("status", "rows", "found", "expected"),
    [
        ("ACTIVE", [], guest(RUNS), []),
        ("ACTIVE", [], guest(PAUSED), []),
        ("ACTIVE", [], guest(STOPPED), [(Ended, "why")]),
        ("ACTIVE", [], None, [(Ended, "The host has no guest for it.")]),
        ("SHUTOFF", [], guest(RUNS), [(RunsUnasked,)]),
        ("SHUTOFF", [], guest(STOPPED), []),
        ("SHUTOFF", [ROW], None, []),
        ("ERROR", [], guest(RUNS), []),
        ("BUILD", [], None, []),
        ("ACTIVE", [ROW], guest(RUNS, "v"), []),
        ("ACTIVE", [ROW], guest(RUNS), [(LacksVolume, ROW)]),
        ("ACTIVE", [ROW], guest(RUNS, "v", "w"), [(HoldsVolume, "w")]),
        ("ACTIVE", [ROW], guest(STOPPED), [(Ended, "why")]),
    ],
)
def test_differences_of_one_server(
    status: str, rows: list[ServerVolume], found: Guest | None, expected: list[tuple[Any, ...]]
) -> None:
    here = server(status)
    wanted = [kind(here, *rest) for kind, *rest in expected]
    guests = [found] if found else []
    assert list(differences([here], {"s": rows}, guests, busy=())) == wanted


def test_busy_servers_are_left_out_and_are_no_strays() -> None:
    found = guest(STOPPED)
    assert list(differences([server("ACTIVE")], {}, [found], busy={"s"})) == []


def test_a_guest_without_a_server_is_a_stray() -> None:
    found = guest(RUNS)
    assert list(differences([], {}, [found], busy=())) == [Stray(found)]


@pytest.mark.parametrize("state", ["attaching", "detaching", "error"])
def test_a_volume_on_its_way_is_neither_lacking_nor_foreign(state: str) -> None:
    row = ServerVolume(id="r", server_id="s", volume_id="v", state=state, created_at=NOW)
    for found in (guest(RUNS), guest(RUNS, "v")):
        assert list(differences([server("ACTIVE")], {"s": [row]}, [found], busy=())) == []
