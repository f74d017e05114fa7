"""deploy/systemd: each role has a unit, and none is killed before it has stopped by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from breezeblock.cli.run import STOP_SECONDS
from breezeblock.services.process import ROLES
from breezeblock.web.descriptors import DESCRIPTORS

SYSTEMD = Path(__file__).parents[3] / "deploy" / "systemd"
LEAVES_PROCESSES_BEHIND = {"volume", "compute-agent"}


def settings(role: str) -> dict[str, str]:
    lines = (SYSTEMD / f"breezeblock-{role}.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")


def test_there_is_a_unit_for_each_role() -> None:
    units = {path.stem.removeprefix("breezeblock-") for path in SYSTEMD.glob("*.service")}
    assert units == set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_unit_runs_its_role_and_lets_it_stop(role: str) -> None:
    unit = settings(role)
    assert unit["ExecStart"] == f"/opt/breezeblock/bin/breezeblock run {role}"
    assert unit["PartOf"] == unit["WantedBy"] == "breezeblock.target"
    assert int(unit["TimeoutStopSec"]) > STOP_SECONDS
    assert unit["Type"] == "notify"
    assert int(unit["LimitNOFILE"]) >= DESCRIPTORS


@pytest.mark.parametrize("role", ROLES)
def test_daemons_and_guests_outlive_the_services_that_leave_them(role: str) -> None:
    assert (settings(role).get("KillMode") == "process") == (role in LEAVES_PROCESSES_BEHIND)


@pytest.mark.parametrize("role", sorted(LEAVES_PROCESSES_BEHIND))
def test_no_unit_that_has_guests_keeps_devices_from_them(role: str) -> None:
    # ProtectClock= implies a list of devices, which /dev/kvm is not on.
    assert not {"PrivateDevices", "ProtectClock", "PrivateTmp"} & set(settings(role))
