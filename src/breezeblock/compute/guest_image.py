"""The demo's and the tests' guest: Debian's cloud kernel and a busybox initramfs of our own.

`breezeblock demo`, the compute service's built-in flavour of guest and the end-to-end tests call
`ensure_guest_image`. Nothing is installed: the two Debian packages are downloaded with the
machine's own apt sources (so their signatures are checked) and unpacked into a folder. The attach
path of the product knows nothing of this image; any kernel, or a bootable volume, serves as well.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from breezeblock.compute import initramfs

KERNEL_METAPACKAGE = "linux-image-cloud-amd64"
BUSYBOX_PACKAGE = "busybox-static"


class GuestImageError(Exception):
    """The image could not be made; the text names the packages and says what to do."""


@dataclass(frozen=True, slots=True)
class GuestImage:
    """A kernel and its initramfs, as QEMU's -kernel and -initrd want them."""

    kernel: Path
    initrd: Path


def ensure_guest_image(directory: Path, progress: Callable[[str], None]) -> GuestImage:
    """Return the image in `directory`, making it first when it is missing (a few seconds).

    The image lies in a sub-directory named after its recipe, which appears by one rename: an
    interrupted run leaves nothing half-made, and two runs at once do no harm. `progress` gets one
    line for each step that takes time, none when the image is there. Raises GuestImageError.
    """
    if (found := find_guest_image(directory)) is not None:
        return found
    home = _home(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".guest-", dir=directory) as scratch:
        made = _make(Path(scratch), progress)
        try:
            made.rename(home)
        except OSError:
            if not home.is_dir():
                raise
    return _image(home)


def find_guest_image(directory: Path) -> GuestImage | None:
    """The image in `directory`, when it was made there before."""
    home = _home(directory)
    return _image(home) if home.is_dir() else None


def _home(directory: Path) -> Path:
    return directory / f"guest-{_recipe()}"


def _image(home: Path) -> GuestImage:
    return GuestImage(kernel=home / "vmlinuz", initrd=home / "initrd")


def _recipe() -> str:
    """A short name for what the image is made of: a changed script makes a new image."""
    parts = (
        initramfs.script("init.sh"),
        initramfs.script("agent.sh"),
        Path(initramfs.__file__).read_bytes(),
        KERNEL_METAPACKAGE.encode(),
    )
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _make(scratch: Path, progress: Callable[[str], None]) -> Path:
    kernel_package = _newest_kernel_package()
    progress(f"Downloading the guest's kernel and shell: {kernel_package}, {BUSYBOX_PACKAGE}")
    kernel_tree = _unpacked(kernel_package, scratch)
    busybox_tree = _unpacked(BUSYBOX_PACKAGE, scratch)
    progress("Making the guest's initramfs")
    home = scratch / "made"
    home.mkdir()
    shutil.copyfile(_only(kernel_tree, "boot/vmlinuz-*"), home / "vmlinuz")
    busybox = _only(busybox_tree, "**/bin/busybox")
    (home / "initrd").write_bytes(initramfs.build(busybox, kernel_tree))
    return home


def _newest_kernel_package() -> str:
    listing = _run("apt-cache", "depends", KERNEL_METAPACKAGE)
    found = re.search(r"Depends: (linux-image-\S+)", listing)
    if found is None:
        raise GuestImageError(
            f"apt knows no package {KERNEL_METAPACKAGE}. The demo guest is made from Debian's "
            f"packages {KERNEL_METAPACKAGE} and {BUSYBOX_PACKAGE}: run 'apt-get update' first."
        )
    return found.group(1)


def _unpacked(package: str, scratch: Path) -> Path:
    """Download one package and unpack it without running any of its scripts."""
    as_is = ("-o", "APT::Sandbox::User=root") if os.geteuid() == 0 else ()
    tree = scratch / package
    tree.mkdir()
    _run("apt-get", *as_is, "-qq", "download", package, cwd=scratch)
    archive = _only(scratch, f"{package}_*.deb")
    _run("dpkg-deb", "-x", str(archive), str(tree))
    archive.unlink()
    return tree


def _only(tree: Path, pattern: str) -> Path:
    found = next(iter(sorted(tree.glob(pattern))), None)
    if found is None:
        raise GuestImageError(f"Debian's package holds no {pattern}; cannot make the demo guest.")
    return found


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise GuestImageError(
            f"{command[0]} is not on this machine. The demo guest is made from Debian's packages "
            f"{KERNEL_METAPACKAGE} and {BUSYBOX_PACKAGE}, fetched with apt-get download: use a "
            "Debian or Ubuntu machine, or give a kernel and an initrd of your own."
        ) from None
    if done.returncode:
        raise GuestImageError(
            f"'{' '.join(command)}' failed: {done.stderr.strip()[-500:] or 'no reason given'} "
            f"(needed for the demo guest, from {KERNEL_METAPACKAGE} and {BUSYBOX_PACKAGE})."
        )
    return done.stdout
