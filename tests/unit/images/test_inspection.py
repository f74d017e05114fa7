"""Image files that lie, or lead elsewhere, are refused; no other program sees them before."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from breezeblock.images import qemu_img
from breezeblock.images.inspection import GIB, Refused, detect, inspect

FORMATS = {"qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"} | {
    "ploop": "parallels"
}


def create(path: Path, qemu_format: str, size: str = "1G", *options: str) -> Path:
    command = ["qemu-img", "create", "-q", "-f", qemu_format, *options, str(path), size]
    subprocess.run(command, check=True, capture_output=True)
    return path


def look(path: Path, disk_format: str | None, most: int = 2048) -> tuple[str, int]:
    found = inspect(path, disk_format, max_gigabytes=most)
    return found.format, found.virtual_bytes


@pytest.mark.parametrize("disk_format", FORMATS)
def test_good_images_are_what_they_say(tmp_path: Path, disk_format: str) -> None:
    path = create(tmp_path / "disk", FORMATS[disk_format])
    qemu_format, size = look(path, disk_format)
    assert qemu_format == FORMATS[disk_format]
    assert GIB <= size < GIB + (2 << 20)  # some formats have whole cylinders only
    assert detect(path)[0] == disk_format


@pytest.mark.parametrize("subformat", ["streamOptimized", "monolithicSparse"])
def test_vmdk_in_one_file_is_taken(tmp_path: Path, subformat: str) -> None:
    path = create(tmp_path / "disk", "vmdk", "1G", "-o", f"subformat={subformat}")
    assert look(path, "vmdk") == ("vmdk", GIB)


def test_a_raw_disk_may_begin_with_anything(tmp_path: Path) -> None:
    path = create(tmp_path / "disk", "qcow2")
    assert look(path, "raw") == ("raw", path.stat().st_size)


@pytest.mark.parametrize("disk_format", FORMATS)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, disk_format: str) -> None:
    text = tmp_path / f"disk.{disk_format}"
    text.write_text("This is no disk at all.\n" * 100)
    other = create(tmp_path / "other", "vmdk" if disk_format == "vdi" else "vdi")
    for path in (text, other):
        with pytest.raises(Refused, match=f"says it is of format {disk_format}"):
            look(path, disk_format)


@pytest.mark.parametrize("disk_format", [None, "qed", "docker", "luks", "../../etc"])
def test_formats_that_nobody_can_read_are_refused(tmp_path: Path, disk_format: str | None) -> None:
    (tmp_path / "disk").write_bytes(b"x" * 4096)
    with pytest.raises(Refused, match="format"):
        look(tmp_path / "disk", disk_format)


@pytest.mark.parametrize("disk_format", ["raw", "iso", "qcow2"])
def test_a_file_without_a_byte_is_refused(tmp_path: Path, disk_format: str) -> None:
    (tmp_path / "disk").touch()
    with pytest.raises(Refused, match="file is empty"):
        look(tmp_path / "disk", disk_format)


def test_a_backing_file_is_refused(tmp_path: Path) -> None:
    base = create(tmp_path / "base", "raw")
    path = create(tmp_path / "disk", "qcow2", "1G", "-b", str(base), "-F", "raw")
    with pytest.raises(Refused, match="backing_file"):
        look(path, "qcow2")


def test_an_external_data_file_is_refused(tmp_path: Path) -> None:
    options = f"data_file={tmp_path / 'secret'},data_file_raw=on"
    path = create(tmp_path / "disk", "qcow2", "1G", "-o", options)
    with pytest.raises(Refused, match="data_file"):
        look(path, "qcow2")


def test_unknown_features_are_refused(tmp_path: Path) -> None:
    path = create(tmp_path / "disk", "qcow2")
    with path.open("r+b") as file:
        file.seek(72)
        file.write(struct.pack(">Q", 1 << 40))
    with pytest.raises(Refused, match="unknown_features"):
        look(path, "qcow2")


def test_extents_in_other_files_are_refused(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.vmdk", "vmdk", "1G", "-o", "subformat=monolithicFlat")
    with pytest.raises(Refused):
        look(path, "vmdk")


def test_an_extent_that_leads_out_of_a_sparse_vmdk_is_refused(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.vmdk", "vmdk")
    content = path.read_bytes()
    changed = content.replace(b'SPARSE "disk.vmdk"', b'FLAT "/etc/passwd"', 1)
    assert changed != content
    path.write_bytes(changed)
    with pytest.raises(Refused):
        look(path, "vmdk")


@pytest.mark.parametrize("disk_format", FORMATS)
@pytest.mark.parametrize("length", [0, 3, 40, 300])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, disk_format: str, length: int) -> None:
    path = create(tmp_path / "disk", FORMATS[disk_format])
    os.truncate(path, length)
    with pytest.raises(Refused):
        look(path, disk_format)


def with_data(path: Path, qemu_format: str, options: str = "") -> Path:
    """A disk of 32 MiB with a little data at its beginning, in its middle and at its end."""
    disk = path.with_name("base.raw")
    with disk.open("wb") as file:
        for at in (0, 13, 30):
            file.seek(at << 20)
            file.write(os.urandom(2 << 20))
    command = ["qemu-img", "convert", "-O", qemu_format, *(["-o", options] if options else [])]
    subprocess.run([*command, str(disk), str(path)], check=True, capture_output=True)
    disk.unlink()
    return path


KINDS = [
    ("qcow2", ""),
    ("qcow2", "compression_type=zstd"),
    ("vmdk", "subformat=monolithicSparse"),
    ("vmdk", "subformat=streamOptimized"),
    ("vdi", ""),
    ("vdi", "static=on"),
    ("vhd", "subformat=dynamic,force_size=on"),
    ("vhdx", ""),
    ("vhdx", "subformat=fixed"),
    ("ploop", ""),
]


@pytest.mark.parametrize(("disk_format", "options"), KINDS)
def test_an_image_of_which_some_data_are_missing_is_refused(
    tmp_path: Path, disk_format: str, options: str
) -> None:
    path = with_data(tmp_path / "disk", FORMATS[disk_format], options)
    assert look(path, disk_format)[0] == FORMATS[disk_format]
    for left in (path.stat().st_size - (1 << 20), path.stat().st_size // 2):
        os.truncate(path, left)
        with pytest.raises(Refused) as refusal:
            look(path, disk_format)
        assert str(tmp_path) not in str(refusal.value)


def test_room_in_a_file_that_nobody_uses_is_no_reason_to_refuse_it(tmp_path: Path) -> None:
    path = with_data(tmp_path / "disk", "qcow2")
    content = path.read_bytes()
    table = struct.unpack_from(">Q", content, 40)[0]  # of the disk's first cluster, and more
    with path.open("r+b") as file:
        file.seek(struct.unpack_from(">Q", content, table)[0] & 0x00FF_FFFF_FFFF_FE00)
        file.write(bytes(8))
    check = subprocess.run(["qemu-img", "check", "-f", "qcow2", path], capture_output=True)
    assert check.returncode == 3
    assert look(path, "qcow2") == ("qcow2", 32 << 20)


def test_two_formats_in_one_file_are_refused(tmp_path: Path) -> None:
    path = create(tmp_path / "disk", "qcow2")
    with path.open("r+b") as file:
        file.seek(0x8001)
        file.write(b"CD001")
    with pytest.raises(Refused, match="iso and qcow2"):
        look(path, "qcow2")


def test_a_disk_larger_than_allowed_is_refused_however_small_its_file(tmp_path: Path) -> None:
    path = create(tmp_path / "disk", "qcow2", "100T")
    assert path.stat().st_size < 1 << 25
    with pytest.raises(Refused, match="102400 GiB, 2048 are allowed"):
        look(path, "qcow2")


def test_a_raw_file_larger_than_allowed_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(2 * GIB + 1)
    assert look(tmp_path / "disk", "raw", 3)[1] == 2 * GIB + 1
    with pytest.raises(Refused, match="3 GiB, 2 are allowed"):
        look(tmp_path / "disk", "raw", 2)


def test_a_disc_must_be_one_and_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "disc.iso"
    path.write_bytes(b"\0" * 0x8001 + b"CD001" + b"\0" * 100_000)
    assert look(path, "iso") == ("raw", path.stat().st_size)
    assert detect(path)[0] == "iso"
    path.write_bytes(b"\0" * 200_000)
    with pytest.raises(Refused, match="iso"):
        look(path, "iso")


@pytest.mark.parametrize("name", ["disk,file=/etc/passwd", "json:{}", "nbd:localhost:10809"])
def test_a_files_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    path = create(tmp_path / "disk", "qcow2").rename(tmp_path / name.replace("/", "_"))
    assert look(path, "qcow2") == ("qcow2", GIB)


def test_qemu_img_is_told_the_format_and_kept_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    real: Callable[..., list[str]] = qemu_img.bounded

    def noted(*arguments: str, seconds: int | None = None) -> list[str]:
        command = real(*arguments, seconds=seconds)
        asked.append(command)
        return command

    monkeypatch.setattr(qemu_img, "bounded", noted)
    look(create(tmp_path / "disk", "qcow2"), "qcow2")
    assert len(asked) == 2  # what it is, and whether it is whole
    for command in asked:
        assert command[0] == "prlimit"
        assert command[command.index("-f") + 1] == "qcow2"
    limits = qemu_img.bounded("info", seconds=3)
    limits[limits.index("qemu-img") :] = ["sh", "-c", "ulimit -t; ulimit -v"]
    told = subprocess.run(limits, capture_output=True, text=True, check=True).stdout.split()
    assert told == ["3", str(qemu_img.MEMORY // 1024)]


def test_what_qemu_says_counts_when_it_sees_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"virtual-size": GIB, "format": "qcow2", "backing-filename": "/etc/passwd"}
    monkeypatch.setattr(qemu_img, "run", lambda *_: json.dumps(told))
    with pytest.raises(Refused, match="another file"):
        look(create(tmp_path / "disk", "qcow2"), "qcow2")
