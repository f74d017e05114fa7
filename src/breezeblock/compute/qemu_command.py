"""QEMU's command line for a guest: a pure function of the spec, its folder and its disks' plans.

Called by `qemu`. The guest is created stopped (-S): `qemu` looks at the storage behind the initial
disks before it lets the guest run. No secret is on the command line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from breezeblock.compute.block_devices import DiskPlan
from breezeblock.compute.device_names import SLOTS
from breezeblock.compute.guest_directory import GuestDirectory
from breezeblock.compute.hypervisor import GuestSpec, HostError

_FIRST_PORT_ADDRESS = 4
_FUNCTIONS = 8  # of a PCI device: that many root ports share one address
_CPU = {"kvm": "host", "tcg": "max"}


def qemu_command(
    binary: str,
    spec: GuestSpec,
    directory: GuestDirectory,
    accelerator: Literal["kvm", "tcg"],
    plans: Sequence[DiskPlan],
) -> list[str]:
    """The argument vector; HostError when the spec says not, or not clearly, what to boot."""
    command = [binary, "-name", f"guest={_escaped(spec.name)}", "-uuid", spec.uuid]
    command += ["-machine", "q35", "-accel", accelerator, "-cpu", _CPU[accelerator]]
    command += ["-m", str(spec.memory_mib), "-smp", str(spec.vcpus)]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-S"]
    # A guest that shuts down stays until we have seen it: so its end has a reason, whoever looks.
    command += ["-action", "shutdown=pause"]
    command += [
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    ]
    command += ["-pidfile", str(directory.pid_file)]
    command += _ports(directory)
    command += _boot(spec)
    for slot in range(SLOTS):
        command += ["-device", _root_port(slot)]
    command += _disks(plans)
    return command


def _ports(directory: GuestDirectory) -> Iterator[str]:
    """Console on the first serial port, the guest's agent on the second, and the monitor."""
    yield from ("-chardev", f"file,id=console,path={_escaped(directory.console_log)}")
    yield from ("-serial", "chardev:console")
    yield from ("-chardev", _listening("agent", directory.agent_socket))
    yield from ("-serial", "chardev:agent")
    yield from ("-chardev", _listening("monitor", directory.qmp_socket))
    yield from ("-mon", "chardev=monitor,mode=control")


def _listening(name: str, path: object) -> str:
    return f"socket,id={name},path={_escaped(path)},server=on,wait=off"


def _boot(spec: GuestSpec) -> list[str]:
    marked = [disk for disk in spec.disks if disk.boot]
    if spec.kernel is None and len(marked) == 1:
        return []  # the firmware finds the disk by its bootindex
    if spec.kernel is None or marked:
        raise HostError(
            f"Guest {spec.uuid} has no single thing to boot from: give it a kernel, "
            "or mark exactly one of its disks as the one to boot."
        )
    command = ["-kernel", str(spec.kernel), "-append", spec.kernel_arguments]
    return command if spec.initrd is None else [*command, "-initrd", str(spec.initrd)]


def _root_port(slot: int) -> str:
    """Hot-plug on PCI Express needs a port for each disk, and ports are there from the start only.

    Without the reserved I/O windows, of which a machine has 16 at most, 26 ports are no trouble.
    """
    address, function = divmod(slot, _FUNCTIONS)
    return json.dumps(
        {
            "driver": "pcie-root-port",
            "id": f"slot{slot}",
            "bus": "pcie.0",
            "chassis": slot + 1,
            "addr": f"{_FIRST_PORT_ADDRESS + address:#x}.{function}",
            "multifunction": function == 0,
            "io-reserve": 0,
        }
    )


def _disks(plans: Sequence[DiskPlan]) -> Iterator[str]:
    def option(name: str, value: dict[str, Any]) -> tuple[str, str]:
        return name, json.dumps(value)

    for plan in plans:
        for helper in plan.objects:
            yield from option("-object", helper)
        for node in plan.nodes:
            yield from option("-blockdev", node)
        yield from option("-device", plan.device)


def _escaped(value: object) -> str:
    """QEMU's key=value lists write a comma as two."""
    return str(value).replace(",", ",,")
