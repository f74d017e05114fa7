"""The guest's initramfs as bytes: busybox, a few kernel modules, and the two scripts in `guest/`.

Called by `guest_image` only. Written in Python because a demo machine need not have cpio, kmod or
initramfs-tools; the format is Linux's "newc" archive (kernel: driver-api/early-userspace/
buffer-format). It is left uncompressed: an emulated guest takes longer to decompress than to read.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

MODULES = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "button", "evdev")
"""What a guest needs for our disks and for its power button; what is built in is left out."""

APPLETS = (
    "sh acpid awk base64 basename blkdiscard blockdev cat cmp cut date dd df dmesg echo expr false"
    " find free grep head hexdump hostname insmod kill ls lsmod md5sum mkdir mke2fs mount mv nproc"
    " od poweroff printf ps rm sed seq setsid sha256sum sleep sort stat stty sync tail tee test"
    " touch tr true umount uname uptime usleep wc"
)

_DIRECTORIES = ("bin", "dev", "etc", "etc/acpi", "mnt", "modules", "proc", "sys", "tmp")
_POWER_BUTTON = "etc/acpi/PWRF/00000080"  # acpid runs the file named by the event


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive: its path without the leading slash, its mode, its content."""

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def archive(entries: Iterable[Entry]) -> bytes:
    """Lay the entries out as a newc archive, the trailer included."""
    out = bytearray()
    for inode, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.path.encode() + b"\0"
        fields = (
            inode,
            entry.mode,
            0,
            0,
            1,
            0,
            len(entry.content),
            0,
            0,
            *entry.device,
            len(name),
            0,
        )
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += bytes(-len(out) % 4) + entry.content
        out += bytes(-len(out) % 4)
    return bytes(out)


def module_files(tree: Path, names: Sequence[str]) -> list[Path]:
    """Find the modules and all they depend on below `tree`, in the order they must be loaded."""
    known = {path.stem.replace("-", "_"): path for path in tree.rglob("*.ko")}
    ordered: dict[Path, None] = {}

    def add(name: str) -> None:
        path = known.get(name.replace("-", "_"))
        if path is None or path in ordered:
            return
        for dependency in _depends(path.read_bytes()):
            add(dependency)
        ordered[path] = None

    for name in names:
        add(name)
    return list(ordered)


def _depends(module: bytes) -> list[str]:
    found = re.search(rb"\0depends=([^\0]+)\0", module)
    return found.group(1).decode().split(",") if found else []


def script(name: str) -> bytes:
    """One of the guest's own scripts, from `guest/` beside this module."""
    return resources.files(__package__).joinpath("guest", name).read_bytes()


def build(busybox: Path, kernel_tree: Path) -> bytes:
    """The whole initramfs for the modules found in an unpacked kernel package."""
    modules = module_files(kernel_tree, MODULES)
    order = "".join(f"{path.name}\n" for path in modules).encode()
    executable, plain = stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
    return archive(
        [
            *(Entry(path, stat.S_IFDIR | 0o755) for path in _DIRECTORIES),
            Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
            Entry("bin/busybox", executable, busybox.read_bytes()),
            *(
                Entry(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox")
                for applet in APPLETS.split()
            ),
            *(Entry(f"modules/{path.name}", plain, path.read_bytes()) for path in modules),
            Entry("modules/order", plain, order),
            Entry(str(Path(_POWER_BUTTON).parent), stat.S_IFDIR | 0o755),
            Entry(_POWER_BUTTON, executable, b"#!/bin/sh\nsync\npoweroff -f\n"),
            Entry("init", executable, script("init.sh")),
            Entry("agent.sh", plain, script("agent.sh")),
        ]
    )
