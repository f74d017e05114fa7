"""The guest's initramfs."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

from breezeblock.compute.initramfs import Entry, archive, module_files, script


def _module(folder: Path, name: str, depends: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.ko").write_bytes(b"ELF\0depends=" + depends.encode() + b"\0name=x\0")


def test_each_entry_begins_at_a_multiple_of_four() -> None:
    entries = [Entry("a", stat.S_IFREG | 0o644, b"12345"), Entry("bc", stat.S_IFREG | 0o644, b"6")]
    made = archive(entries)
    places = [place for place in range(len(made)) if made.startswith(b"070701", place)]
    assert len(places) == 3
    assert all(place % 4 == 0 for place in places)


def test_busyboxs_cpio_reads_the_archive(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    assert busybox
    folder = Entry("etc", stat.S_IFDIR | 0o755)
    file = Entry("etc/motd", stat.S_IFREG | 0o600, b"good day\n")
    link = Entry("motd", stat.S_IFLNK | 0o777, b"etc/motd")
    subprocess.run(
        [busybox, "cpio", "-i"], input=archive([folder, file, link]), cwd=tmp_path, check=True
    )
    assert (tmp_path / "motd").read_bytes() == b"good day\n"
    assert stat.S_IMODE((tmp_path / "etc/motd").stat().st_mode) == 0o600


def test_a_module_comes_after_all_that_it_needs(tmp_path: Path) -> None:
    _module(tmp_path / "drivers", "virtio_blk", "virtio,virtio_ring")
    _module(tmp_path / "lib", "virtio_ring")
    _module(tmp_path / "lib", "virtio", "virtio-ring")
    _module(tmp_path / "lib", "unneeded")
    found = [path.stem for path in module_files(tmp_path, ["virtio_blk"])]
    assert found == ["virtio_ring", "virtio", "virtio_blk"]


def test_a_module_that_is_built_in_is_left_out(tmp_path: Path) -> None:
    _module(tmp_path, "virtio_blk", "virtio")
    assert [path.stem for path in module_files(tmp_path, ["ext4", "virtio_blk"])] == ["virtio_blk"]


def test_the_guests_scripts_are_valid_shell() -> None:
    for name in ("init.sh", "agent.sh"):
        subprocess.run(["sh", "-n"], input=script(name), check=True)
