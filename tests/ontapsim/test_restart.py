"""What a start makes of what a process that was killed has left."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.seed import SeedError
from tests.engines.ontap import Ontap
from tests.ontapsim.house import House, Paper

A = "iqn.1994-05.com.redhat:a"


def again(house: House) -> None:
    house.close()
    house.open()


def test_a_start_serves_what_was_served(house: House) -> None:
    house.lun()
    house.igroup("g", A)
    house.map("/vol/vol1/lun1", "g")
    before = house.plane.svms
    house.plane.svms = ()
    again(house)
    assert house.plane.svms == before


def test_files_without_a_record_go(house: House) -> None:
    house.lun()
    orphan = house.folder / "flexvols" / house.volume() / ".luns" / "lun-none"
    orphan.write_bytes(b"x")
    (house.folder / "snapshots" / "none" / "luns").mkdir(parents=True)
    again(house)
    assert not orphan.exists()
    assert list((house.folder / "snapshots").iterdir()) == []
    assert len(house.records("/storage/luns")) == 1


def test_a_resize_that_was_not_committed_is_undone(house: House) -> None:
    file = house.file(house.lun(size="1M"))
    with file.open("r+b") as grown:
        grown.truncate(2 << 20)
    again(house)
    assert file.stat().st_size == 1 << 20


def test_another_seed_is_refused(house: House) -> None:
    other = msgspec.structs.replace(house.seed, version="9.15.1")
    house.close()
    with pytest.raises(
        SeedError, match=r"version: the seed has 9\.15\.1 where .* has 9\.14\.1; .* remove this one"
    ):
        Array(house.folder, other, Paper()).start()
    house.open()


def test_nobody_else_reads_the_state(house: House) -> None:
    def modes() -> dict[str, int]:
        return {f.name: f.stat().st_mode & 0o777 for f in house.folder.glob("state.sqlite*")}

    private = dict.fromkeys(("state.sqlite", "state.sqlite-shm", "state.sqlite-wal"), 0o600)
    assert modes() == private
    again(house)
    assert modes() == private


def test_killed_between_requests(ontap: Ontap, tmp_path: Path) -> None:
    for number in range(3):
        body = {
            "svm.name": "svm1",
            "name": f"/vol/vol1/l{number}",
            "os_type": "linux",
            "space.size": "1M",
        }
        ontap.api("POST", "/storage/luns", body)
        ontap.kill()
        ontap.start()
    assert len(ontap.records("/storage/luns")) == 3
    assert len([entry for entry in ontap.requests() if entry["method"] == "POST"]) == 3
