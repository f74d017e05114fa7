"""What a compute host says of itself to block storage."""

from __future__ import annotations

import pytest

from breezeblock.compute.doors import LocalHost
from breezeblock.compute.qemu import QemuHypervisor
from breezeblock.config import ConfigError, build


def _connector(tmp_path: object, **compute: object) -> dict[str, object]:
    config = build({"data": str(tmp_path), "compute": compute})
    hypervisor = QemuHypervisor(config.data_dir)
    return dict(LocalHost.of(config, hypervisor).connector("/dev/vdb"))


def test_a_host_has_an_iscsi_name_made_of_its_own(tmp_path: object) -> None:
    connector = _connector(tmp_path, host="Rack 3_node.7:ü")
    assert connector["initiator"] == "iqn.2026-11.cloud.breezeblock:rack-3-node.7:-"


def test_the_operator_may_name_it(tmp_path: object) -> None:
    name = "iqn.1994-05.com.example:compute1"
    assert _connector(tmp_path, initiator=name)["initiator"] == name


def test_a_host_wants_to_know_all_portals(tmp_path: object) -> None:
    assert _connector(tmp_path)["multipath"] is True


def test_what_is_no_iscsi_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"compute\.initiator"):
        build({"compute": {"initiator": "compute1"}})
