"""QEMU's command line for a guest."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from breezeblock.compute.block_devices import plan_disk
from breezeblock.compute.guest_directory import GuestDirectory
from breezeblock.compute.hypervisor import Disk, GuestSpec, HostError
from breezeblock.compute.qemu_command import qemu_command

GUEST = "5b1b8a52-6d1c-4f0e-8f0a-0c8f2f1f3a10"
VOLUME = "0f5a33cd-9f0e-4f4e-b9a1-6a1f6f9f2b11"
DIRECTORY = GuestDirectory.of(Path("/state"), GUEST)
TCP = {
    "driver_volume_type": "nbd",
    "transport": "tcp",
    "host": "192.0.2.1",
    "port": 10809,
    "export": VOLUME,
    "tls_psk_username": "host-a",
    "tls_psk_key": "c0ffee",
}
ROOT = Disk(VOLUME, TCP, boot=True)
LINUX = GuestSpec(GUEST, "web", 512, 2, kernel=Path("/vmlinuz"), initrd=Path("/initrd"))
FROM_VOLUME = GuestSpec(GUEST, "web", 512, 2, disks=(ROOT,))


def _command(spec: GuestSpec, accelerator: Any = "tcg") -> list[str]:
    plans = [plan_disk(disk, 0, Path("/state/secrets")) for disk in spec.disks]
    return qemu_command("/usr/bin/qemu", spec, DIRECTORY, accelerator, plans)


def _values(command: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(command) if name == option]


def _devices(command: list[str]) -> list[dict[str, Any]]:
    return [json.loads(value) for value in _values(command, "-device")]


def test_memory_and_processors_are_the_specs() -> None:
    command = _command(LINUX)
    assert (_values(command, "-m"), _values(command, "-smp")) == (["512"], ["2"])


@pytest.mark.parametrize(("accelerator", "cpu"), [("kvm", "host"), ("tcg", "max")])
def test_the_processor_fits_the_accelerator(accelerator: str, cpu: str) -> None:
    command = _command(LINUX, accelerator)
    assert (_values(command, "-accel"), _values(command, "-cpu")) == ([accelerator], [cpu])


def test_a_kernel_is_started_directly() -> None:
    command = _command(LINUX)
    assert _values(command, "-kernel") == ["/vmlinuz"]
    assert _values(command, "-initrd") == ["/initrd"]
    assert _values(command, "-append") == ["console=ttyS0 quiet"]


def test_a_volume_is_started_by_the_firmware() -> None:
    command = _command(FROM_VOLUME)
    assert not _values(command, "-kernel")
    assert [one["bootindex"] for one in _devices(command) if "bootindex" in one] == [1]


@pytest.mark.parametrize(
    "spec",
    [
        replace(FROM_VOLUME, disks=()),
        replace(FROM_VOLUME, disks=(replace(ROOT, boot=False),)),
        replace(FROM_VOLUME, disks=(ROOT, ROOT)),
        replace(LINUX, disks=(ROOT,)),
    ],
    ids=["nothing", "no disk marked", "two disks marked", "kernel and disk"],
)
def test_a_guest_boots_from_exactly_one_thing(spec: GuestSpec) -> None:
    with pytest.raises(HostError, match="boot"):
        _command(spec)


def test_each_slot_is_a_port_at_an_address_of_its_own() -> None:
    ports = [one for one in _devices(_command(LINUX)) if one["driver"] == "pcie-root-port"]
    assert [port["id"] for port in ports] == [f"slot{number}" for number in range(26)]
    assert len({port["addr"] for port in ports}) == len({port["chassis"] for port in ports}) == 26
    first = [port for port in ports if port["addr"].endswith(".0")]
    assert all(port["multifunction"] for port in first)


def test_no_secret_is_on_the_command_line() -> None:
    command = _command(FROM_VOLUME)
    assert _values(command, "-object")
    assert not [part for part in command if "c0ffee" in part]


def test_what_a_node_refers_to_stands_before_it() -> None:
    command = _command(FROM_VOLUME)
    order = [command.index(option) for option in ("-object", "-blockdev")]
    disk = next(place for place, part in enumerate(command) if "virtio-blk-pci" in part)
    assert [*order, disk] == sorted([*order, disk])


def test_a_comma_in_a_name_is_no_option() -> None:
    [name] = _values(_command(replace(LINUX, name="a,debug-threads=on")), "-name")
    assert name == "guest=a,,debug-threads=on"
