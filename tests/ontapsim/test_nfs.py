"""FlexVols over NFS, as hosts see them: QEMU's NFS client against the real ganesha."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from breezeblock.ontapsim.nfs import NfsDataPlane, NfsSvm
from tests.contract.drivers import GIB, HANG, wait_for, writing
from tests.contract.hosts import Disk

MIB = 1 << 20
BLOCK = 65536


def lif(number: int) -> str:
    """An address that no other process's tests use."""
    return f"127.{90 + number}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"


ONE, OTHER = lif(1), lif(2)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[NfsDataPlane]:
    plane = NfsDataPlane(tmp_path / "nfs")
    plane.start()
    try:
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return flexvol(tmp_path, "vol1")


def flexvol(root: Path, name: str) -> Path:
    """A FlexVol's folder with an empty file in it."""
    folder = root / "flexvols" / name
    folder.mkdir(parents=True)
    sized(folder / "disk", MIB)
    return folder


def sized(file: Path, size: int) -> None:
    with file.open("ab") as opened:
        opened.truncate(size)


def opened(address: str = ONE, path: str = "vol1/disk") -> Disk:
    return Disk(["-f", "raw", f"nfs://{address}/{path}"])


def served(folder: Path, *addresses: str) -> tuple[NfsSvm, ...]:
    return (NfsSvm("svm1", addresses or (ONE,), {"/vol1": folder}),)


def gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def refused(address: str, path: str = "vol1/disk") -> bool:
    try:
        opened(address, path).close()
    except ConnectionError:
        return True
    return False


def test_what_a_host_writes_is_in_the_file_and_at_every_address(
    plane: NfsDataPlane, folder: Path
) -> None:
    plane.publish(served(folder, ONE, OTHER))
    disk = opened()
    assert disk.write(7, offset=BLOCK) and disk.flush()
    disk.close()
    assert (folder / "disk").read_bytes()[BLOCK : 2 * BLOCK] == b"\7" * BLOCK
    other = opened(OTHER)
    assert other.reads(7, offset=BLOCK) and other.reads(0)
    other.close()


def test_a_disk_image_is_converted_into_a_file(
    plane: NfsDataPlane, folder: Path, tmp_path: Path
) -> None:
    plane.publish(served(folder))
    image = tmp_path / "image"
    image.write_bytes(os.urandom(3 * MIB))
    target = f"nfs://{ONE}/vol1/new"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "raw", image, target], check=True)
    assert (folder / "new").read_bytes() == image.read_bytes()


def test_what_changes_behind_its_back_is_seen(plane: NfsDataPlane, folder: Path) -> None:
    plane.publish(served(folder))
    first = opened()
    assert first.write(1)
    sized(folder / "disk", 2 * MIB)
    grown = opened()
    assert grown.write(2, offset=MIB)  # beyond the old end
    (folder / "disk").rename(folder / "old")
    assert refused(ONE)
    sized(folder / "disk", MIB)
    replaced, old = opened(), opened(path="vol1/old")
    assert replaced.reads(0) and old.reads(1) and old.reads(2, offset=MIB)
    assert first.reads(1)  # who has a file open keeps it
    for disk in (first, grown, replaced, old):
        disk.close()


def test_who_has_a_removed_file_open_writes_to_it_no_more(
    plane: NfsDataPlane, folder: Path
) -> None:
    plane.publish(served(folder))
    disk, other = opened(), opened()
    assert disk.write(1) and other.reads(1)
    plane.remove(folder / "disk")
    assert not disk.write(2) and not other.reads(1)
    assert refused(ONE) and list(folder.iterdir()) == []
    plane.remove(folder / "disk")
    for one in (disk, other):
        one.close()


def test_two_simulators_side_by_side_do_not_meet(
    plane: NfsDataPlane, folder: Path, tmp_path: Path
) -> None:
    other_plane = NfsDataPlane(tmp_path / "another")
    other_folder = flexvol(tmp_path / "elsewhere", "vol1")
    other_plane.start()
    try:
        plane.publish(served(folder, ONE))
        other_plane.publish(served(other_folder, OTHER))
        disks = opened(ONE), opened(OTHER)
        assert disks[0].write(1) and disks[1].write(2)
        assert disks[0].reads(1) and disks[1].reads(2)
        other_plane.stop()
        assert disks[0].write(3) and disks[0].reads(3)
        for disk in disks:
            disk.close()
        assert (other_folder / "disk").read_bytes()[:BLOCK] == b"\2" * BLOCK
    finally:
        other_plane.stop()


def test_two_svms_may_use_the_same_junction(
    plane: NfsDataPlane, folder: Path, tmp_path: Path
) -> None:
    other_folder = flexvol(tmp_path / "of-svm2", "vol1")
    plane.publish((*served(folder, ONE), NfsSvm("svm2", (OTHER,), {"/vol1": other_folder})))
    disks = opened(ONE), opened(OTHER)
    assert disks[0].write(1) and disks[1].reads(0)
    for disk in disks:
        disk.close()


def test_a_writer_loses_nothing_when_ganesha_is_killed(plane: NfsDataPlane, folder: Path) -> None:
    sized(folder / "disk", GIB)
    plane.publish(served(folder))
    killed = plane.pids()
    disk = opened()
    with writing(disk) as written:
        os.kill(killed[0], signal.SIGKILL)
    assert all(disk.reads(number % 255 + 1, offset=number * BLOCK) for number in written)
    assert plane.pids() != killed
    disk.close()


def test_junctions_come_and_go_under_a_host_that_works(
    plane: NfsDataPlane, folder: Path, tmp_path: Path
) -> None:
    plane.publish(served(folder))
    disk = opened()
    assert disk.write(1) and refused(ONE, "vol0/disk")
    before = flexvol(tmp_path, "vol0")
    plane.publish((NfsSvm("svm1", (ONE,), {"/vol0": before, "/vol1": folder}),))
    added = opened(path="vol0/disk")
    assert disk.write(2) and disk.reads(2) and added.reads(0)
    added.close()
    plane.publish(served(folder))
    assert disk.reads(2) and refused(ONE, "vol0/disk")
    disk.close()


def test_an_address_that_goes_down_takes_its_connections_with_it(
    plane: NfsDataPlane, folder: Path
) -> None:
    plane.publish(served(folder, ONE, OTHER))
    with socket.create_connection((ONE, 2049)) as connected:
        plane.publish(served(folder, OTHER))
        connected.settimeout(HANG)
        assert connected.recv(1) == b""
    assert refused(ONE) and not refused(OTHER)
    plane.publish(served(folder, ONE, OTHER))
    assert not refused(ONE)


def test_nothing_is_written_while_it_stands_still(plane: NfsDataPlane, folder: Path) -> None:
    plane.publish(served(folder))
    disk = opened()
    assert disk.write(1)
    answered = threading.Event()

    def write() -> None:
        assert disk.write(2)
        answered.set()

    with plane.still():
        writer = threading.Thread(target=write)
        writer.start()
        assert not answered.wait(0.3)
        assert (folder / "disk").read_bytes()[:BLOCK] == b"\1" * BLOCK
    writer.join()
    assert answered.is_set() and disk.reads(2)
    disk.close()


def test_stopping_leaves_nothing_that_runs_or_listens(plane: NfsDataPlane, folder: Path) -> None:
    plane.publish(served(folder, ONE, OTHER))
    (pid,) = plane.pids()
    plane.stop()
    assert gone(pid)
    for port in (111, 635, 2049):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((ONE, port))


def test_a_host_goes_on_when_the_simulator_was_killed_and_is_back(
    tmp_path: Path, folder: Path
) -> None:
    program = f"""
        import time
        from pathlib import Path
        from breezeblock.ontapsim.nfs import NfsDataPlane, NfsSvm
        plane = NfsDataPlane(Path({str(tmp_path / "nfs")!r}))
        plane.start()
        plane.publish((NfsSvm("svm1", ({ONE!r},), {{"/vol1": Path({str(folder)!r})}}),))
        print(*plane.pids(), flush=True)
        time.sleep(600)
    """

    def simulator() -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-c", textwrap.dedent(program)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    process, pid = simulator()
    disk = opened()
    assert disk.write(1)
    process.kill()
    process.communicate()
    wait_for(lambda: gone(pid))  # nobody serves on behind the dead one's back
    process, pid = simulator()
    try:
        assert disk.reads(1) and disk.write(2)
    finally:
        disk.close()
        process.kill()
        process.communicate()
    wait_for(lambda: gone(pid))
