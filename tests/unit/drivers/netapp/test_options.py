"""The NetApp driver's options: what is checked, and what is not told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import BackendConfig
from breezeblock.drivers.netapp.options import NetAppOptions
from tests.unit.drivers.netapp.ontap import OPTIONS, options


def test_little_is_needed() -> None:
    found = options()
    assert found.url == "https://array.example:443"
    assert (found.storage_protocol, found.lun_space_reservation) == ("iscsi", True)
    assert found.own_initiator == "iqn.2026-11.cloud.breezeblock:host-a-volume"
    assert found.volume_backend_name == "gold"
    assert options(netapp_transport_type="http").url == "http://array.example:80"
    assert options(netapp_server_hostname="fd00::7").url == "https://[fd00::7]:443"


@pytest.mark.parametrize("key", ["netapp_server_hostname", "netapp_login", "netapp_password"])
def test_what_is_needed_is_asked_for(key: str) -> None:
    left = {name: value for name, value in OPTIONS.items() if name != key}
    with pytest.raises(ValueError, match=f"{key}: is needed"):
        NetAppOptions.of(BackendConfig("gold", "host-a", Path("/nowhere"), left))


@pytest.mark.parametrize(
    "wrong",
    [
        {"netapp_server_hostname": "https://array"},
        {"netapp_server_port": "443"},
        {"netapp_server_port": 70000},
        {"netapp_transport_type": "ftp"},
        {"netapp_storage_protocol": "fcp"},
        {"netapp_pool_name_search_pattern": "("},
        {"netapp_lun_space_reservation": True},
        {"netapp_lun_ostype": "beos"},
        {"netapp_own_initiator": "me"},
        {"use_chap_auth": "yes"},
        {"chap_secret_key": "short"},
        {"reserved_percentage": 101},
        {"max_over_subscription_ratio": 0.5},
    ],
    ids=str,
)
def test_what_is_wrong_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        options(**wrong)


def test_what_is_unknown_is_named() -> None:
    with pytest.raises(ValueError, match="unknown option: netapp_vservr"):
        options(netapp_vservr="svm1")


def test_chap_needs_a_key() -> None:
    with pytest.raises(ValueError, match="chap_secret_key"):
        options(use_chap_auth=True)
    assert options(use_chap_auth=True, chap_secret_key="k" * 16).use_chap_auth


def test_secrets_are_never_told() -> None:
    assert "geheim" not in repr(options(chap_secret_key="geheim" * 4))
    with pytest.raises(ValueError) as told:
        options(chap_secret_key="geheim")
    assert "geheim" not in str(told.value)
