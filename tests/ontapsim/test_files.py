"""LUN files: what a copy holds and costs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from breezeblock.ontapsim import files

MiB = 1 << 20


@pytest.fixture
def lun(tmp_path: Path) -> Path:
    path = tmp_path / "fv" / "lun-1"
    files.make(path, 64 * MiB)
    return path


def _write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_new_file_is_long_and_empty(lun: Path) -> None:
    assert lun.stat().st_size == 64 * MiB
    assert files.used(lun) == 0


def test_a_file_that_is_there_is_not_made_again(lun: Path) -> None:
    _write(lun, 0, b"kept")
    with pytest.raises(FileExistsError):
        files.make(lun, MiB)
    assert lun.read_bytes()[:4] == b"kept"


def test_a_copy_has_the_same_data_and_the_same_holes(lun: Path) -> None:
    for offset in (0, 5 * MiB, 63 * MiB):
        _write(lun, offset, os.urandom(MiB))
    copy = lun.with_name("lun-2")
    files.copy(lun, copy)
    assert _digest(copy) == _digest(lun)
    assert 3 * MiB <= files.used(copy) <= 3 * MiB + 64 * 1024


def test_a_copy_of_nothing_costs_nothing(lun: Path) -> None:
    copy = lun.parent.parent / "elsewhere" / "lun-2"
    files.copy(lun, copy)
    assert copy.stat().st_size == 64 * MiB
    assert files.used(copy) == 0


def test_a_copy_is_independent(lun: Path) -> None:
    _write(lun, 0, b"before")
    copy = lun.with_name("lun-2")
    files.copy(lun, copy)
    _write(lun, 0, b"after!")
    assert copy.read_bytes()[:6] == b"before"


def test_a_copy_over_a_file_leaves_the_old_one_to_whoever_has_it_open(lun: Path) -> None:
    other = lun.with_name("lun-2")
    files.make(other, MiB)
    _write(other, 0, b"old")
    _write(lun, 0, b"new")
    with other.open("rb") as held:
        files.copy(lun, other)
        assert held.read(3) == b"old"
    assert other.read_bytes()[:3] == b"new"
    assert other.stat().st_size == 64 * MiB
    assert sorted(file.name for file in lun.parent.iterdir()) == ["lun-1", "lun-2"]


def test_a_copy_that_fails_leaves_nothing(lun: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.copy(lun.with_name("no-such"), lun.with_name("lun-2"))
    assert [file.name for file in lun.parent.iterdir()] == ["lun-1"]


def test_growing_keeps_the_data_and_allocates_nothing(lun: Path) -> None:
    _write(lun, 0, b"x" * MiB)
    before = files.used(lun)
    files.resize(lun, 128 * MiB)
    assert lun.stat().st_size == 128 * MiB
    assert files.used(lun) == before


def test_shrinking_frees_what_is_cut_off(lun: Path) -> None:
    _write(lun, 32 * MiB, b"x" * MiB)
    files.resize(lun, 32 * MiB)
    assert files.used(lun) == 0


def test_removing_twice_is_fine(lun: Path) -> None:
    files.remove(lun)
    files.remove(lun)
    assert not lun.exists()
