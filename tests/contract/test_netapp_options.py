"""What each option of the NetApp driver changes: a table of option and effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import BackendConfig, PermanentError
from breezeblock.drivers.netapp import NetAppDriver, open_driver
from breezeblock.drivers.netapp.iscsi import IscsiDriver
from breezeblock.drivers.netapp.nfs import NfsDriver
from breezeblock.drivers.netapp.options import NetAppOptions
from tests.contract.rest_only import Sim, a_volume, rest_only

HOST = {"host": "host-a", "initiator": "iqn.2026-01.example:a"}
KEY = "only these tests know"


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Sim]:
    with rest_only(tmp_path) as sim:
        yield sim


def a_lun(driver: IscsiDriver, *asked: str) -> dict[str, Any]:
    """A new volume's LUN, with these fields."""
    driver.create(a_volume(), None)
    (lun,) = driver.client.records("/storage/luns", fields=asked)
    return lun


def an_export(driver: IscsiDriver) -> dict[str, Any]:
    volume = a_volume()
    driver.create(volume, None)
    return dict(driver.export(volume, HOST).data)


def reserved(driver: IscsiDriver) -> object:
    return a_lun(driver, "space.guarantee.requested")["space"]["guarantee"]["requested"]


def os_type(driver: IscsiDriver) -> object:
    return a_lun(driver, "os_type")["os_type"]


def host_type(driver: IscsiDriver) -> object:
    an_export(driver)
    (igroup,) = driver.client.records("/protocols/san/igroups", fields=("os_type",))
    return igroup["os_type"]


def own_initiator(driver: IscsiDriver) -> object:
    volume = a_volume()
    driver.create(volume, None)
    driver.readable(volume)
    (igroup,) = driver.client.records("/protocols/san/igroups", fields=("initiators.name",))
    return [one["name"] for one in igroup["initiators"]]


def login(driver: IscsiDriver) -> object:
    return an_export(driver).get("auth_method")


def credentials(driver: IscsiDriver) -> object:
    an_export(driver)
    return len(driver.client.records("/protocols/san/iscsi/credentials"))


def secret(driver: IscsiDriver) -> object:
    return an_export(driver)["auth_password"]


def pools(driver: IscsiDriver) -> object:
    return sorted(pool.name for pool in driver.stats().pools)


def of_pools(attribute: str) -> Callable[[IscsiDriver], object]:
    return lambda driver: {getattr(pool, attribute) for pool in driver.stats().pools}


def extra(key: str) -> Callable[[IscsiDriver], object]:
    return lambda driver: {pool.extra.get(key) for pool in driver.stats().pools}


def backend_name(driver: IscsiDriver) -> object:
    return driver.stats().extra["volume_backend_name"]


RESERVATION = "netapp_lun_space_reservation"
IQN = "iqn.2026-01.example:service"
TABLE: list[tuple[dict[str, Any], Callable[[IscsiDriver], object], object]] = [
    ({RESERVATION: "disabled"}, reserved, False),
    ({RESERVATION: "enabled"}, reserved, True),
    ({RESERVATION: None}, reserved, True),
    ({RESERVATION: "disabled"}, of_pools("thin_provisioning_support"), {True}),
    ({RESERVATION: "enabled"}, of_pools("thin_provisioning_support"), {False}),
    ({RESERVATION: "enabled"}, of_pools("thick_provisioning_support"), {True}),
    ({}, os_type, "linux"),
    ({"netapp_lun_ostype": "windows_gpt"}, os_type, "windows_gpt"),
    ({}, host_type, "linux"),
    ({"netapp_host_type": "windows"}, host_type, "windows"),
    ({"netapp_own_initiator": IQN}, own_initiator, [IQN]),
    ({}, own_initiator, ["iqn.2026-11.cloud.breezeblock:host-a-volume"]),
    ({}, login, None),
    ({"chap_secret_key": KEY}, credentials, 0),
    ({"use_chap_auth": True, "chap_secret_key": KEY}, login, "CHAP"),
    ({"use_chap_auth": True, "chap_secret_key": KEY}, credentials, 1),
    ({"netapp_pool_name_search_pattern": None}, pools, ["bare", "other", "pool"]),
    ({"netapp_pool_name_search_pattern": "po.*"}, pools, ["pool"]),
    ({"netapp_pool_name_search_pattern": "(pool|bare)"}, pools, ["bare", "pool"]),
    ({"netapp_pool_name_search_pattern": ".*", "netapp_vserver": "svm2"}, pools, ["hidden"]),
    ({"netapp_login": "vsadmin", "netapp_vserver": None}, pools, ["other", "pool"]),
    ({"netapp_login": "vsadmin"}, extra("netapp_aggregate"), {None}),
    ({"netapp_login": "admin"}, extra("netapp_aggregate"), {"fast", "slow"}),
    ({}, backend_name, "gold"),
    ({"volume_backend_name": "shiny"}, backend_name, "shiny"),
    ({}, of_pools("max_over_subscription_ratio"), {20.0}),
    ({"max_over_subscription_ratio": 3}, of_pools("max_over_subscription_ratio"), {3}),
    ({"max_over_subscription_ratio": "auto"}, of_pools("max_over_subscription_ratio"), {"auto"}),
    ({}, of_pools("reserved_percentage"), {0}),
    ({"reserved_percentage": 7}, of_pools("reserved_percentage"), {7}),
    ({"filter_function": "volume.size < 9"}, extra("filter_function"), {"volume.size < 9"}),
    ({"goodness_function": "42"}, extra("goodness_function"), {"42"}),
    ({}, extra("goodness_function"), {None}),
]


@pytest.mark.parametrize(
    ("options", "look", "seen"),
    TABLE,
    ids=[", ".join(row[0]) or row[1].__name__ for row in TABLE],
)
def test_an_option_has_its_effect(
    sim: Sim, options: dict[str, Any], look: Callable[[IscsiDriver], object], seen: object
) -> None:
    assert look(sim.driver(**options)) == seen


@pytest.mark.parametrize(
    ("protocol", "driver"), [(None, IscsiDriver), ("iscsi", IscsiDriver), ("nfs", NfsDriver)]
)
def test_the_protocol_picks_the_driver(
    tmp_path: Path, protocol: str | None, driver: type[NetAppDriver]
) -> None:
    needed = ("netapp_server_hostname", "netapp_login", "netapp_password")
    given = {**dict.fromkeys(needed, "array"), "netapp_storage_protocol": protocol}
    options = {key: value for key, value in given.items() if value is not None}
    assert type(open_driver(BackendConfig("gold", "host-a", tmp_path, options))) is driver


def test_the_secret_follows_the_key(sim: Sim) -> None:
    keys = (KEY, KEY, f"{KEY} now")
    told = [secret(sim.driver(use_chap_auth=True, chap_secret_key=key)) for key in keys]
    assert told[0] == told[1] != told[2]


@pytest.mark.parametrize(
    "options",
    [
        {"netapp_password": "not-this-one"},
        {"netapp_login": "nobody"},
        {"netapp_vserver": "no-such-svm"},
    ],
    ids=lambda options: ", ".join(options),
)
def test_who_is_not_let_in_is_told(sim: Sim, options: dict[str, Any]) -> None:
    with pytest.raises(PermanentError):
        sim.driver(**options).stats()


def test_the_table_and_the_page_know_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "drivers" / "netapp.md").read_text()
    known = [field.name for field in fields(NetAppOptions)]
    documented = [name for name in known if f"`{name}`" in page or f"`netapp_{name}`" in page]
    assert documented == known
    looked_at = {key for options, _, _ in TABLE for key in options} | {"netapp_password"}
    elsewhere = {"server_hostname", "server_port", "transport_type", "ssl_cert_path"}
    lacking = {
        name for name in known if not {name, f"netapp_{name}"} & looked_at and name not in elsewhere
    }
    assert lacking == {"storage_protocol"}, "it picks the driver: see above"
