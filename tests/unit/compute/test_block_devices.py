"""From a connection_info to what QEMU is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from breezeblock.compute.block_devices import DiskPlan, plan_disk
from breezeblock.compute.disk_names import DiskNames, volume_of_device
from breezeblock.compute.hypervisor import Disk, HostError

VOLUME = "0f5a33cd-9f0e-4f4e-b9a1-6a1f6f9f2b11"
OTHER = "11111111-2222-4333-8444-555555555555"
SECRETS = Path("/state/secrets")
UNIX = {"transport": "unix", "path": "/run/a.link", "export": VOLUME, "volume_id": VOLUME}
TCP = {
    "transport": "tcp",
    "host": "192.0.2.1",
    "port": 10809,
    "export": VOLUME,
    "tls_psk_username": "host-a",
    "tls_psk_key": "c0ffee",
}


def _plan(kind: str, data: dict[str, Any], **disk: Any) -> DiskPlan:
    info = {"driver_volume_type": kind, "data": data}
    return plan_disk(Disk(VOLUME, info, **disk), 1, SECRETS)


def test_the_flat_and_the_nested_form_mean_the_same() -> None:
    flat = {"driver_volume_type": "nbd", **UNIX, "attachment_id": OTHER}
    assert plan_disk(Disk(VOLUME, flat), 1, SECRETS).nodes == _plan("nbd", UNIX).nodes


def test_a_device_has_the_first_20_characters_of_the_volume_as_its_serial() -> None:
    device = _plan("nbd", UNIX).device
    assert device["serial"] == "0f5a33cd-9f0e-4f4e-b"
    assert device["bus"] == "slot1"


def test_a_volume_is_found_again_by_its_device() -> None:
    assert volume_of_device(_plan("nbd", UNIX).device["id"]) == VOLUME
    assert volume_of_device("slot1") is None
    assert volume_of_device("volume-of-something-else") is None


def test_names_of_nodes_fit_into_31_characters_and_do_not_clash() -> None:
    names = DiskNames.of(VOLUME.upper())
    nodes = [names.filter, names.probe, names.protocol("a"), names.protocol("b")]
    assert len(set(nodes)) == 4
    assert max(map(len, nodes)) <= 31


def test_a_limited_disk_sits_on_a_throttle_of_its_own() -> None:
    plan = _plan("nbd", {**UNIX, "qos_specs": {"total_iops_sec": "100"}})
    _, above = plan.nodes
    group = plan.names.throttle
    assert (above["driver"], above["throttle-group"]) == ("throttle", group)
    limits = {"iops-total": 100}
    assert plan.objects == ({"qom-type": "throttle-group", "id": group, "limits": limits},)


@pytest.mark.parametrize("more", [{}, {"qos_specs": None}, {"qos_specs": {"other": "1"}}])
def test_a_disk_without_limits_has_no_throttle(more: dict[str, Any]) -> None:
    plan = _plan("nbd", {**UNIX, **more})
    assert (plan.nodes[1]["driver"], plan.objects) == ("raw", ())


def test_a_unix_socket_is_reached_without_secrets() -> None:
    plan = _plan("nbd", UNIX)
    protocol, above = plan.nodes
    assert protocol["server"] == {"type": "unix", "path": "/run/a.link"}
    assert protocol["export"] == VOLUME
    assert above["file"] == protocol["node-name"]
    assert plan.transport.objects == ()


def test_a_guest_waits_for_an_nbd_server_that_is_away() -> None:
    assert _plan("nbd", UNIX).nodes[0]["reconnect-delay"] == 600


def test_the_guests_discards_reach_the_storage() -> None:
    assert [node["discard"] for node in _plan("nbd", UNIX).nodes] == ["unmap", "unmap"]


def test_a_preshared_key_is_handed_over_in_a_file() -> None:
    plan = _plan("nbd", TCP)
    [credentials] = plan.transport.objects
    assert plan.nodes[0]["server"] == {"type": "inet", "host": "192.0.2.1", "port": "10809"}
    assert plan.nodes[0]["tls-creds"] == credentials["id"]
    assert credentials["dir"] == str(SECRETS)
    assert plan.transport.secrets == {"keys.psk": "host-a:c0ffee\n"}
    assert "c0ffee" not in repr((plan, plan.nodes, plan.device))


@pytest.mark.parametrize("told", [{"read_only": True}, {"access_mode": "ro"}])
def test_what_the_storage_calls_read_only_is_read_only(told: dict[str, Any]) -> None:
    assert all(node["read-only"] for node in _plan("nbd", UNIX | told).nodes)
    assert not any(node["read-only"] for node in _plan("nbd", UNIX).nodes)
    assert all(node["read-only"] for node in _plan("nbd", UNIX, read_only=True).nodes)


def test_a_file_is_a_disk_and_a_missing_one_may_appear_later(tmp_path: Path) -> None:
    path = tmp_path / "volume"
    with pytest.raises(HostError) as refused:
        _plan("local", {"device_path": str(path)})
    assert refused.value.temporary
    path.touch()
    protocol = _plan("local", {"device_path": str(path)}).nodes[0]
    assert (protocol["driver"], protocol["filename"]) == ("file", str(path))


@pytest.mark.parametrize("wrong", [{"volume_id": OTHER}, {"export": f"volume-{OTHER}"}])
def test_another_volumes_export_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(HostError, match=OTHER):
        _plan("nbd", UNIX | wrong)


@pytest.mark.parametrize("missing", ["transport", "path", "export"])
def test_a_missing_key_is_named(missing: str) -> None:
    data = {key: value for key, value in UNIX.items() if key != missing}
    with pytest.raises(HostError, match=missing):
        _plan("nbd", data)


def test_an_unknown_transport_is_refused_with_what_is_known() -> None:
    with pytest.raises(HostError, match="fibre_channel") as refused:
        _plan("fibre_channel", {})
    assert "local, nbd" in refused.value.remedy


def test_an_encrypted_volume_is_refused() -> None:
    with pytest.raises(HostError, match="encrypted"):
        _plan("nbd", UNIX | {"encrypted": True})
