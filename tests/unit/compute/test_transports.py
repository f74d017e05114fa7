"""iSCSI and NFS: from a connection_info's data to QEMU's node. (NBD, local: test_block_devices.)"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from breezeblock.compute.block_devices import DiskPlan, plan_disk
from breezeblock.compute.hypervisor import Disk, HostError

VOLUME = "0f5a33cd-9f0e-4f4e-b9a1-6a1f6f9f2b11"
OTHER = "11111111-2222-4333-8444-555555555555"
SECRETS = Path("/state/secrets")
INITIATOR = "iqn.2026-11.cloud.breezeblock:compute1"
LUN = {
    "target_portal": "192.0.2.1:3260",
    "target_iqn": "iqn.1992-08.com.netapp:sn.1:vs.3",
    "target_lun": 5,
    "volume_id": VOLUME,
}
CHAP = {"auth_method": "CHAP", "auth_username": "u", "auth_password": "a secret, with 'marks'\n"}
SHARE = {"export": f"nas.example:/vol/{OTHER}/", "name": f"volume-{VOLUME}", "format": "raw"}


def _plan(kind: str, data: dict[str, Any], **disk: Any) -> DiskPlan:
    info = {"driver_volume_type": kind, "data": data}
    return plan_disk(Disk(VOLUME, info, **disk), 1, SECRETS, INITIATOR)


def test_a_lun_is_reached_in_this_hosts_name() -> None:
    plan = _plan("iscsi", LUN)
    node = plan.nodes[0]
    assert (node["driver"], node["transport"]) == ("iscsi", "tcp")
    assert (node["portal"], node["target"]) == ("192.0.2.1:3260", LUN["target_iqn"])
    assert (node["lun"], node["initiator-name"]) == (5, INITIATOR)
    assert (plan.objects, plan.transport.secrets) == ((), {})


def test_requests_to_a_target_that_hangs_are_given_up_and_repeated() -> None:
    assert _plan("iscsi", LUN).nodes[0]["timeout"] == 20


def test_the_chap_secret_is_handed_over_in_a_file_as_it_is() -> None:
    plan = _plan("iscsi", LUN | CHAP)
    [secret] = plan.objects
    node = plan.nodes[0]
    assert (node["user"], node["password-secret"]) == ("u", secret["id"])
    assert (secret["qom-type"], secret["file"]) == ("secret", str(SECRETS / "chap"))
    assert plan.transport.secrets == {"chap": CHAP["auth_password"]}
    assert secret["id"] in plan.names.objects
    assert "a secret" not in repr((plan, plan.nodes, plan.objects, plan.device))


@pytest.mark.parametrize(
    ("portal", "reached"),
    [
        ("[2001:db8::1]:3261", "[2001:db8::1]:3261"),
        ("[2001:db8::1]", "[2001:db8::1]:3260"),
        ("192.0.2.1", "192.0.2.1:3260"),
        ("array.example:3260", "array.example:3260"),
    ],
)
def test_portals_in_every_form(portal: str, reached: str) -> None:
    assert _plan("iscsi", LUN | {"target_portal": portal}).nodes[0]["portal"] == reached


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"target_portal": None}, "target_portal"),
        ({"target_portal": "2001:db8::1:3260"}, "no address"),
        ({"target_portal": "192.0.2.1:3260/iqn.x:y"}, "no address"),
        ({"target_portal": "-oProxy"} | {"target_iqn": "x"}, "no iSCSI name"),
        ({"target_iqn": "iqn.x:y/0?header_digest=crc32c"}, "no iSCSI name"),
        ({"target_lun": -1}, "number of a LUN"),
        ({"target_lun": True}, "number of a LUN"),
        ({"target_lun": "٣"}, "number of a LUN"),
        ({"auth_method": "SRP"}, "SRP"),
        ({"auth_method": "CHAP", "auth_username": "u"}, "auth_password"),
        ({"volume_id": OTHER}, OTHER),
        ({"encrypted": True}, "encrypted"),
    ],
)
def test_data_that_cannot_be_meant_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(HostError, match=says) as refused:
        _plan("iscsi", LUN | wrong)
    assert not refused.value.temporary


def test_a_host_without_a_name_cannot_log_in() -> None:
    info = {"driver_volume_type": "iscsi", "data": LUN}
    with pytest.raises(HostError) as refused:
        plan_disk(Disk(VOLUME, info), 1, SECRETS)
    assert "compute.initiator" in refused.value.remedy


def test_a_read_only_lun_with_limits() -> None:
    plan = _plan("iscsi", LUN | CHAP | {"qos_specs": {"total_iops_sec": 9}, "access_mode": "ro"})
    assert [node["read-only"] for node in plan.nodes] == [True, True]
    assert [one["qom-type"] for one in plan.objects] == ["secret", "throttle-group"]


def test_a_file_on_an_nfs_server() -> None:
    node = _plan("nfs", SHARE).nodes[0]
    assert (node["driver"], node["server"]) == ("nfs", {"type": "inet", "host": "nas.example"})
    assert node["path"] == f"/vol/{OTHER}/volume-{VOLUME}"


def test_a_qcow2_file_is_used_as_one_and_alone() -> None:
    node = _plan("nfs", SHARE | {"format": "qcow2"}, read_only=True).nodes[0]
    assert (node["driver"], node["file"]["driver"]) == ("qcow2", "nfs")
    assert (node["backing"], node["read-only"]) == (None, True)


def test_an_nfs_server_by_its_ipv6_address() -> None:
    node = _plan("nfs", SHARE | {"export": "[2001:db8::1]:/vol"}).nodes[0]
    assert (node["server"]["host"], node["path"]) == ("2001:db8::1", f"/vol/volume-{VOLUME}")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"export": "/vol"}, "no NFS export"),
        ({"name": "../other"}, "no file"),
        ({"name": ""}, "name"),
        ({"format": "vmdk"}, "vmdk"),
    ],
)
def test_nfs_data_that_cannot_be_meant_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(HostError, match=says):
        _plan("nfs", SHARE | wrong)
