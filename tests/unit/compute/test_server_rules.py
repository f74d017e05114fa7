"""Rules of servers: when they may be worked on, where they go, which disks they get."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from breezeblock.compute.api.block_devices import BlockDevice, next_device, plan
from breezeblock.model.errors import Conflict, Forbidden, InvalidInput
from breezeblock.model.servers import (
    ComputeHost,
    Flavor,
    Server,
    ServerVolume,
    check_idle,
    check_volumes_rest,
    choose_host,
)
from breezeblock.web.types import decode_custom

NOW = datetime(2026, 1, 1)  # noqa: DTZ001


def server(status: str = "ACTIVE", task_state: str | None = None) -> Server:
    return Server(
        id="s",
        project_id="p",
        user_id="u",
        name="s",
        status=status,
        task_state=task_state,
        flavor=Flavor(id="f", name="f", ram=1),
        created_at=NOW,
    )


def host(
    name: str, *, up: bool = True, zone: str = "nova", servers: int = 0, **details: str
) -> Any:
    return ComputeHost(
        name=name,
        availability_zone=zone,
        details=details,
        reported_at=0.0,
        up=up,
        servers=servers,
    )


def test_a_server_with_work_under_way_or_in_another_state_is_not_idle() -> None:
    check_idle(server(), "stop", ("ACTIVE",))
    with pytest.raises(Conflict, match="task_state powering-off"):
        check_idle(server(task_state="powering-off"), "stop", ("ACTIVE",))
    with pytest.raises(Conflict, match="vm_state stopped"):
        check_idle(server("SHUTOFF"), "stop", ("ACTIVE",))


@pytest.mark.parametrize(("state", "rests"), [("attached", True), ("attaching", False)])
def test_a_volume_on_its_way_keeps_the_guest_from_being_stopped(state: str, rests: bool) -> None:
    row = ServerVolume(id="r", server_id="s", volume_id="v", state=state, created_at=NOW)
    if rests:
        check_volumes_rest(server(), "stop", [row])
    else:
        with pytest.raises(Conflict, match="volume v is attaching"):
            check_volumes_rest(server(), "stop", [row])


def test_the_host_with_the_fewest_servers_is_chosen() -> None:
    hosts = [host("a", servers=2), host("b", servers=1), host("c", up=False)]
    assert choose_host(hosts, None, None) == "b"
    assert choose_host(hosts, None, "a") == "a"
    assert choose_host(hosts, None, "c") is None
    assert choose_host(hosts, "mars", None) is None
    assert choose_host([], None, None) is None


def test_a_host_that_cannot_run_guests_is_the_last_choice() -> None:
    broken = host("a", problem="no qemu")
    assert choose_host([broken, host("b", servers=9)], None, None) == "b"
    assert choose_host([broken], None, None) == "a"


def devices(*wanted: dict[str, Any]) -> list[BlockDevice]:
    return msgspec.convert(list(wanted), list[BlockDevice], dec_hook=decode_custom)


VOLUME = {"source_type": "volume", "destination_type": "volume"}


def test_the_boot_disk_is_vda_and_wanted_names_come_before_free_ones() -> None:
    planned = plan(
        devices(
            {**VOLUME, "uuid": "a"},
            {**VOLUME, "uuid": "b", "device_name": "vdb"},
            {**VOLUME, "uuid": "c", "boot_index": "0", "device_name": "vda"},
        ),
        "demo",
    )
    assert {one.volume_id: one.device for one in planned} == {
        "c": "/dev/vda",
        "b": "/dev/vdb",
        "a": "/dev/vdc",
    }


def test_what_is_to_be_made_keeps_its_wishes() -> None:
    [made] = plan(
        devices({"source_type": "blank", "volume_size": 3, "volume_type": "fast"}), "demo"
    )
    assert made.volume_id is None
    assert made.source is not None
    assert (made.source.size, made.source.volume_type) == (3, "fast")


@pytest.mark.parametrize(
    "wanted",
    [
        [{**VOLUME, "uuid": "a", "boot_index": 0}, {**VOLUME, "uuid": "b", "boot_index": 0}],
        [{**VOLUME, "uuid": "a"}, {**VOLUME, "uuid": "a"}],
        [{**VOLUME, "uuid": "a", "boot_index": "first"}],
        [{**VOLUME}],
        [{"source_type": "snapshot"}],
        [{"source_type": "blank"}],
        [{"source_type": "blank", "volume_size": 1, "destination_type": "local"}],
        [{"source_type": "image", "uuid": "demo", "destination_type": "volume"}],
    ],
)
def test_mappings_that_make_no_sense_are_refused(wanted: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidInput, match="Block Device Mapping is Invalid"):
        plan(devices(*wanted), "demo")


def test_device_names_are_refused_in_the_wires_terms() -> None:
    assert next_device(None, ["/dev/vda", None]) == "/dev/vdb"
    assert next_device("vdx", []) == "/dev/vdx"
    with pytest.raises(InvalidInput):
        next_device("/dev/sda", [])
    with pytest.raises(Conflict):
        next_device("vdb", ["/dev/vdb"])
    with pytest.raises(Forbidden):
        next_device(None, (f"/dev/vd{letter}" for letter in "bcdefghijklmnopqrstuvwxyz"))
