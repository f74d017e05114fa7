"""Which device name a disk gets."""

from __future__ import annotations

import pytest

from breezeblock.compute.device_names import SLOTS, choose_slot, device_name
from breezeblock.compute.hypervisor import DeviceNameInvalid, DeviceNameTaken, TooManyDisks


def _name(wanted: str | None, taken: set[int], *, boot: bool = False) -> str:
    return device_name(choose_slot(wanted, taken, boot=boot))


def test_the_first_free_name_is_taken_from_vdb_on() -> None:
    assert _name(None, set()) == "/dev/vdb"
    assert _name(None, {1, 3}) == "/dev/vdc"


def test_vda_is_for_the_disk_that_the_guest_boots_from() -> None:
    assert _name(None, set(), boot=True) == "/dev/vda"


@pytest.mark.parametrize("wanted", ["/dev/vdz", "vdz"])
def test_a_wanted_name_is_given(wanted: str) -> None:
    assert _name(wanted, {1}) == "/dev/vdz"


def test_a_name_in_use_is_refused() -> None:
    with pytest.raises(DeviceNameTaken, match="/dev/vdc"):
        choose_slot("/dev/vdc", {2})


@pytest.mark.parametrize("wanted", ["/dev/vda", "/dev/sdb", "vdaa", "/dev/vdB", "vdb\n", ""])
def test_a_name_that_no_disk_can_have_is_refused(wanted: str) -> None:
    with pytest.raises(DeviceNameInvalid):
        choose_slot(wanted, set())


def test_a_guest_without_a_free_slot_takes_no_disk() -> None:
    with pytest.raises(TooManyDisks):
        choose_slot(None, set(range(1, SLOTS)))
