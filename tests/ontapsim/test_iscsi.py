"""What hosts see of their LUNs while these come, go, grow and are replaced; nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from breezeblock.ontapsim import files
from breezeblock.ontapsim.iscsi import IscsiDataPlane
from breezeblock.ontapsim.iscsi.tgt import TgtError
from tests.ontapsim.iscsi import ALICE, BOB, Array, Disk, MiB, Writer, discover, inquire, tool


@pytest.fixture
def array(tmp_path: Path) -> Iterator[Array]:
    plane = IscsiDataPlane(tmp_path)
    plane.start()
    try:
        yield Array(tmp_path, plane)
    finally:
        plane.stop()


def _tgtds(directory: Path) -> list[int]:
    """The tgtd processes that serve a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = (process / "cwd").readlink() == directory
            if ours and (process / "comm").read_text().strip() == "tgtd":
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_two_hosts_see_different_luns_under_the_same_number(array: Array) -> None:
    one, two = array.lun("one"), array.lun("two")
    array.show({ALICE: {1: one}, BOB: {1: two}})
    with Disk(array, ALICE, 1) as hers, Disk(array, BOB, 1) as his:
        hers.write(0, 4096, 1)
        his.write(0, 4096, 2)
    assert one.path.read_bytes()[:4096] == b"\1" * 4096
    assert two.path.read_bytes()[:4096] == b"\2" * 4096


def test_two_hosts_see_one_lun(array: Array) -> None:
    unit = array.lun("shared")
    array.show({ALICE: {1: unit}, BOB: {7: unit}})
    with Disk(array, ALICE, 1) as hers, Disk(array, BOB, 7) as his:
        hers.write(0, 4096, 1)
        assert his.holds(0, 4096, 1)


def test_a_host_sees_only_what_is_mapped_to_it(array: Array) -> None:
    array.show({ALICE: {1: array.lun("one"), 3: array.lun("three")}, BOB: {2: array.lun("two")}})
    assert discover(ALICE, array.portals[0]).count("DIRECT_ACCESS") == 2 * len(array.portals)
    assert discover(BOB, array.portals[0]).count("DIRECT_ACCESS") == len(array.portals)


def test_unmapping_frees_blocks(array: Array) -> None:
    unit = array.lun("a")
    array.show({ALICE: {1: unit}})
    with Disk(array, ALICE, 1) as disk:
        disk.write(0, 8 * MiB, 1)
        assert files.used(unit.path) >= 8 * MiB
        disk.ask(f"discard 0 {4 * MiB}")
        assert 4 * MiB <= files.used(unit.path) < 5 * MiB
        assert disk.holds(0, 4 * MiB, 0)
        assert disk.holds(4 * MiB, 4 * MiB, 1)


def test_a_lun_grows_under_an_open_session(array: Array) -> None:
    unit = array.lun("a", 16 * MiB)
    array.show({ALICE: {1: unit}})
    with Disk(array, ALICE, 1) as disk, Writer(disk, 4096) as writer:
        for size in (32 * MiB, 48 * MiB, 64 * MiB):
            writer.wait_for(20)
            files.resize(unit.path, size)
            array.show({ALICE: {1: replace(unit, size=size)}})
            writer.wait_for(20)
    assert not writer.complaints
    assert not Writer.lost(unit.path, writer.acknowledged)
    capacity = tool("iscsi-readcapacity16", "-i", ALICE, array.url(1))
    assert f"Total size:{64 * MiB}" in capacity.stdout
    assert unit.serial in inquire(ALICE, array.url(1), "-e", "1", "-c", "128")


def test_large_writes_go_on_while_luns_are_put_back(array: Array) -> None:
    """Writes whose data comes after the command, in pieces: the worst moment to lose a LUN."""
    unit = array.lun("a", 16 * MiB)
    array.show({ALICE: {1: unit}})
    with Disk(array, ALICE, 1) as disk:
        done = threading.Event()
        said: list[str] = []

        def write() -> None:
            while not done.is_set():
                said.append(disk.write(0, 8 * MiB, len(said) % 251 + 1))

        thread = threading.Thread(target=write)
        thread.start()
        for generation in range(1, 21):
            array.show({ALICE: {1: replace(unit, generation=generation)}})
        done.set()
        thread.join()
        assert [one for one in said if "wrote" not in one] == []
        assert disk.holds(0, 8 * MiB, (len(said) - 1) % 251 + 1)


def test_a_lun_that_was_overwritten_shows_the_new_file(array: Array) -> None:
    unit, snapshot = array.lun("a"), array.lun("s")
    array.show({ALICE: {1: unit}})
    with Disk(array, ALICE, 1) as disk:
        disk.write(0, 4096, 1)
        files.copy(unit.path, snapshot.path)
        disk.write(0, 4096, 2)
        files.copy(snapshot.path, unit.path)
        array.show({ALICE: {1: replace(unit, generation=1)}})
        assert disk.holds(0, 4096, 1)
        disk.write(0, 4096, 3)
    assert unit.path.read_bytes()[:4096] == b"\3" * 4096


def test_a_lun_that_is_unmapped_is_written_by_nobody(array: Array) -> None:
    unit = array.lun("a")
    array.show({ALICE: {1: unit, 2: array.lun("b")}})
    with Disk(array, ALICE, 1) as disk, Writer(disk, 4096) as writer:
        writer.wait_for(20)
        array.show({ALICE: {2: array.access[ALICE][2]}})
        after = unit.path.read_bytes()
        assert not Writer.lost(unit.path, writer.acknowledged)
        with Disk(array, ALICE, 2) as other:  # and the host is still let in
            assert "wrote" in other.write(0, 4096, 1)
        while not writer.complaints:
            assert unit.path.read_bytes() == after
    assert unit.path.read_bytes() == after


def test_an_initiator_that_left_its_igroups_is_thrown_out(array: Array) -> None:
    unit = array.lun("a")
    array.show({ALICE: {1: unit}, BOB: {1: unit}})
    with Disk(array, ALICE, 1) as disk, Writer(disk, 4096) as writer:
        writer.wait_for(20)
        array.show({BOB: {1: unit}})
        after = unit.path.read_bytes()
        acknowledged = list(writer.acknowledged)
        assert "(514)" in inquire(ALICE, array.url(1))
        assert unit.path.read_bytes() == after
        assert not Writer.lost(unit.path, acknowledged)
        # It comes back by itself when it may.
        array.show({ALICE: {1: unit}, BOB: {1: unit}})
        writer.wait_for(20)
    assert not writer.complaints
    assert not Writer.lost(unit.path, writer.acknowledged)


def test_a_new_lun_is_seen_in_an_open_session(array: Array) -> None:
    array.show({ALICE: {1: array.lun("a")}})
    with Disk(array, ALICE, 1) as disk, Writer(disk, 4096) as writer:
        writer.wait_for(5)
        array.show({ALICE: {**array.access[ALICE], 2: array.lun("b")}})
        assert "NETAPP" in inquire(ALICE, array.url(2))
        writer.wait_for(5)
    assert not writer.complaints


def test_a_portal_goes_down_and_comes_back(array: Array) -> None:
    unit = array.lun("a")
    array.show({ALICE: {1: unit}})
    up, other = list(array.portals), array.portals[1:]
    with Disk(array, ALICE, 1) as disk, Writer(disk, 4096) as writer:
        writer.wait_for(20)
        array.portals = other
        array.publish()
        assert "NETAPP" in inquire(ALICE, array.url(1))
        array.portals = up
        assert "NETAPP" not in inquire(ALICE, array.url(1))
        array.publish()
        writer.wait_for(20)
    assert not writer.complaints
    assert not Writer.lost(unit.path, writer.acknowledged)


def test_a_service_that_is_off_answers_nobody(array: Array) -> None:
    array.enabled = False
    array.show({ALICE: {1: array.lun("a")}})
    assert "NETAPP" not in inquire(ALICE, array.url(1))
    array.enabled = True
    array.publish()
    assert "NETAPP" in inquire(ALICE, array.url(1))


def test_tgtd_killed_under_a_writer(array: Array) -> None:
    unit = array.lun("a")
    array.show({ALICE: {1: unit}})
    with Disk(array, ALICE, 1) as disk, Writer(disk, 4096) as writer:
        for _ in range(3):
            writer.wait_for(20)
            (victim,) = _tgtds(array.directory)
            os.kill(victim, signal.SIGKILL)
        writer.wait_for(20)
    assert not writer.complaints
    assert not Writer.lost(unit.path, writer.acknowledged)
    array.show({ALICE: {1: unit, 2: array.lun("b")}})
    assert "NETAPP" in inquire(ALICE, array.url(2))


def test_publishing_while_tgtd_is_killed(array: Array) -> None:
    unit = array.lun("a")
    array.show({ALICE: {1: unit}})
    for number in range(2, 6):
        for victim in _tgtds(array.directory):
            os.kill(victim, signal.SIGKILL)
        array.show({ALICE: {**array.access[ALICE], number: array.lun(f"l{number}")}})
        assert array.access[ALICE][number].serial in inquire(
            ALICE, array.url(number), "-e", "1", "-c", "128"
        )


def test_a_copy_made_while_all_stands_still_holds_what_was_acknowledged(array: Array) -> None:
    one, two = array.lun("one"), array.lun("two")
    array.show({ALICE: {1: one, 2: two}})
    with (
        Disk(array, ALICE, 1) as first,
        Disk(array, ALICE, 2) as second,
        Writer(first, 4096) as writer,
        Writer(second, 4096) as other,
    ):
        for number in range(5):
            writer.wait_for(20)
            other.wait_for(20)
            with array.plane.still():
                seen = {one: list(writer.acknowledged), two: list(other.acknowledged)}
                before = {unit: unit.path.read_bytes() for unit in seen}
                for unit in seen:
                    files.copy(unit.path, unit.path.with_suffix(f".{number}"))
                assert all(unit.path.read_bytes() == data for unit, data in before.items())
            for unit, acknowledged in seen.items():
                copy = unit.path.with_suffix(f".{number}")
                assert copy.read_bytes() == before[unit]
                assert not Writer.lost(copy, acknowledged)
    assert not writer.complaints
    assert not other.complaints


def test_all_goes_on_after_a_copy_that_failed(array: Array) -> None:
    array.show({ALICE: {1: array.lun("a")}})
    with pytest.raises(FileNotFoundError), array.plane.still():
        files.copy(array.directory / "no-such", array.directory / "copy")
    assert "NETAPP" in inquire(ALICE, array.url(1))


def test_a_lun_without_a_file_is_an_error_and_the_others_are_served(array: Array) -> None:
    unit, gone = array.lun("a"), array.lun("b")
    files.remove(gone.path)
    with pytest.raises(TgtError):
        array.show({ALICE: {1: unit, 2: gone}})
    assert "NETAPP" in inquire(ALICE, array.url(1))
    array.show({ALICE: {1: unit}})
    assert "NETAPP" in inquire(ALICE, array.url(1))


def test_nobody_else_may_serve_the_same_directory(array: Array) -> None:
    array.show({ALICE: {1: array.lun("a")}})
    other = IscsiDataPlane(array.directory)
    with pytest.raises(TgtError, match="another simulator"):
        other.start()
    other.stop()
    assert "NETAPP" in inquire(ALICE, array.url(1))


def test_stopping_leaves_no_process_and_starting_again_serves_the_same(array: Array) -> None:
    array.show({ALICE: {1: array.lun("a")}})
    array.plane.stop()
    assert _tgtds(array.directory) == []
    assert "NETAPP" not in inquire(ALICE, array.url(1))
    array.plane.start()
    array.publish()
    assert "NETAPP" in inquire(ALICE, array.url(1))


def test_a_tgtd_left_behind_is_ended_by_the_next_start(tmp_path: Path) -> None:
    orphan = subprocess.Popen(
        ["tgtd", "-f", "-C", "0", "--iscsi", f"portal=127.19.0.1:{20000 + os.getpid() % 9999}"],
        cwd=tmp_path,
        env={**os.environ, "TGT_IPC_SOCKET": "tgt"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (tmp_path / "tgt.0").exists():
            assert orphan.poll() is None
        plane = IscsiDataPlane(tmp_path)
        plane.start()
        try:
            assert orphan.wait() == -signal.SIGKILL
            array = Array(tmp_path, plane)
            array.show({ALICE: {1: array.lun("a")}})
            assert "NETAPP" in inquire(ALICE, array.url(1))
        finally:
            plane.stop()
    finally:
        orphan.kill()
        orphan.wait()


_SIMULATOR = """
import sys, time
from pathlib import Path
from breezeblock.ontapsim.iscsi import IscsiDataPlane
plane = IscsiDataPlane(Path(sys.argv[1]))
plane.start()
if sys.argv[2] == "still":
    with plane.still():
        print("ready", flush=True)
        time.sleep(600)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["serving", "still"])
def test_tgtd_does_not_outlive_a_simulator_that_was_killed(tmp_path: Path, how: str) -> None:
    simulator = subprocess.Popen(
        [sys.executable, "-c", _SIMULATOR, str(tmp_path), how], stdout=subprocess.PIPE
    )
    assert simulator.stdout is not None
    with simulator:
        assert simulator.stdout.readline() == b"ready\n"
        (left,) = _tgtds(tmp_path)
        simulator.kill()
    while Path(f"/proc/{left}").exists() and left in _tgtds(tmp_path):
        pass
    plane = IscsiDataPlane(tmp_path)
    plane.start()
    try:
        assert len(_tgtds(tmp_path)) == 1
    finally:
        plane.stop()
