"""The driver contract, images: a volume is made from one, or gets its content, once a turn."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from breezeblock.drivers.base import Image, PermanentError, TemporaryError
from tests.contract.crashing import Crasher
from tests.contract.drivers import Backend, a_volume
from tests.contract.scenes import Scene, finishes_what_a_killed_one_began, kinds

GIB = 1 << 30
MIB = 1 << 20
FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx")


def an_image(directory: Path, byte: int = 1, qemu_format: str = "qcow2", size: int = GIB) -> Image:
    """A disk that holds the byte in its first MiB, and the next one in its last."""
    path = directory / f"image-{byte}-{size}.{qemu_format}"
    force = ["-o", "force_size=on"] if qemu_format == "vpc" else []
    create = ["qemu-img", "create", "-q", "-f", qemu_format, *force, str(path), str(size)]
    subprocess.run(create, check=True)
    writes = (f"write -P {byte} 0 1M", f"write -P {byte + 1} {size - MIB} 1M")
    commands = [part for write in writes for part in ("-c", write)]
    subprocess.run(["qemu-io", "-f", qemu_format, *commands, str(path)], check=True)
    return Image(path, qemu_format, size)


def holds(backend: Backend, volume: object, byte: int, size: int = GIB) -> bool:
    with backend.connected(volume) as disk:  # type: ignore[arg-type]
        return bool(
            disk.reads(byte, length=MIB)
            and disk.reads(0, offset=MIB, length=MIB)
            and disk.reads(byte + 1, offset=size - MIB, length=MIB)
        )


@pytest.mark.parametrize("qemu_format", FORMATS)
def test_a_volume_from_an_image_holds_it(
    backend: Backend, tmp_path: Path, qemu_format: str
) -> None:
    volume = backend.create(an_image(tmp_path, qemu_format=qemu_format))
    assert holds(backend, volume, 1)


def test_a_raw_image_is_never_taken_for_what_it_begins_with(
    backend: Backend, tmp_path: Path
) -> None:
    inner = an_image(tmp_path, size=8 * MIB)
    content = inner.path.read_bytes()
    volume = backend.create(Image(inner.path, "raw", len(content)))
    with backend.connected(volume) as disk:
        assert bytes(disk.byte_at(at) for at in range(4)) == b"QFI\xfb"


def test_a_larger_volume_reads_zeros_beyond_the_image(backend: Backend, tmp_path: Path) -> None:
    volume = backend.create(an_image(tmp_path, size=64 * MIB), size=2)
    with backend.connected(volume) as disk:
        assert disk.gib == 2
        assert disk.reads(2, offset=63 * MIB, length=MIB)
        assert disk.reads(0, offset=64 * MIB, length=16 * MIB)
        assert disk.reads(0, offset=2 * GIB - MIB, length=MIB)


def test_creating_again_changes_nothing_though_the_image_has_gone(
    backend: Backend, tmp_path: Path
) -> None:
    image = an_image(tmp_path)
    volume = backend.create(image)
    backend.write(volume, 7)
    image.path.unlink()
    backend.driver.create(volume, image)
    backend.another_process().create(volume, image)
    assert backend.reads(volume, 7)


@pytest.mark.parametrize("qemu_format", ["raw", "qcow2", "vmdk"])
def test_what_does_not_fit_or_is_damaged_leaves_nothing(
    backend: Backend, tmp_path: Path, qemu_format: str
) -> None:
    whole = an_image(tmp_path, qemu_format=qemu_format, size=2 * GIB)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"x" * 3 * MIB)
    wrong = [whole, Image(whole.path, qemu_format, GIB)]  # the second is said to be smaller
    wrong += [] if qemu_format == "raw" else [Image(damaged, qemu_format, GIB)]
    for image in wrong:
        volume = a_volume()
        with pytest.raises(PermanentError):
            backend.driver.create(volume, image)
        backend.driver.delete(volume)
    assert backend.driver.inventory() == []
    assert backend.case.leftovers(backend.driver) == []


def test_an_overwritten_volume_holds_the_image_and_zeros_beyond(
    backend: Backend, tmp_path: Path
) -> None:
    volume = backend.create(size=2)
    backend.write(volume, 9, offset=32 * MIB)
    backend.write(volume, 9, offset=2 * GIB - MIB)
    backend.driver.overwrite(volume, an_image(tmp_path, size=64 * MIB), turn="one")
    with backend.connected(volume) as disk:
        assert disk.gib == 2
        assert disk.reads(1, length=MIB)
        assert disk.reads(0, offset=32 * MIB, length=MIB)
        assert disk.reads(2, offset=63 * MIB, length=MIB)
        assert disk.reads(0, offset=2 * GIB - MIB, length=MIB)


def test_a_turn_that_was_served_changes_nothing_when_it_comes_again(
    backend: Backend, tmp_path: Path
) -> None:
    volume, image = backend.create(), an_image(tmp_path)
    backend.driver.overwrite(volume, image, turn="one")
    with backend.connected(volume) as disk:
        assert disk.write(5) and disk.flush()
        backend.driver.overwrite(volume, image, turn="one")
        backend.another_process().overwrite(volume, image, turn="one")
        assert disk.reads(5)
    backend.driver.overwrite(volume, image, turn="two")
    backend.write(volume, 6)
    backend.driver.overwrite(volume, image, turn="one")
    assert backend.reads(volume, 6)


def test_what_a_host_can_reach_is_not_overwritten(backend: Backend, tmp_path: Path) -> None:
    volume = backend.create()
    with backend.connected(volume) as disk:
        assert disk.write(5)
        with pytest.raises(PermanentError):
            backend.driver.overwrite(volume, an_image(tmp_path), turn="late")
        assert disk.reads(5)


def test_snapshots_and_copies_of_what_was_there_before_are_not_harmed(
    backend: Backend, tmp_path: Path
) -> None:
    volume = backend.create()
    backend.write(volume, 5)
    snapshot, clone = backend.snapshot(volume), backend.create(volume)
    backend.driver.overwrite(volume, an_image(tmp_path), turn="one")
    assert holds(backend, volume, 1)
    assert backend.reads(clone, 5)
    assert backend.reads(backend.create(snapshot), 5)
    backend.driver.delete_snapshot(snapshot)
    assert holds(backend, volume, 1)


def test_an_overwriting_that_fails_leaves_the_old_content(backend: Backend, tmp_path: Path) -> None:
    volume = backend.create()
    backend.write(volume, 5)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"x" * 3 * MIB)
    for image in (Image(damaged, "qcow2", GIB), an_image(tmp_path, size=2 * GIB)):
        with pytest.raises(PermanentError):
            backend.driver.overwrite(volume, image, turn="one")
    assert backend.reads(volume, 5)
    other = a_volume()
    with pytest.raises(PermanentError):
        backend.driver.overwrite(other, an_image(tmp_path), turn="one")
    for one in (volume, other):
        backend.driver.delete(one)
    assert backend.case.leftovers(backend.driver) == []


def test_nothing_is_stranded(backend: Backend, tmp_path: Path) -> None:
    volume = backend.create(an_image(tmp_path))
    for turn in ("one", "two"):
        backend.driver.overwrite(volume, an_image(tmp_path), turn=turn)
    assert kinds(backend.driver) == [("volume", volume.id)]
    backend.driver.delete(volume)
    assert backend.case.leftovers(backend.driver) == []


def test_calls_of_one_turn_at_the_same_time_are_one(backend: Backend, tmp_path: Path) -> None:
    volume, image = backend.create(), an_image(tmp_path)
    drivers = [backend.driver, backend.another_process(), backend.driver]

    def overwrite(driver: object) -> None:
        with suppress(TemporaryError):
            driver.overwrite(volume, image, turn="one")  # type: ignore[attr-defined]

    with ThreadPoolExecutor(len(drivers)) as threads:
        list(threads.map(overwrite, drivers))
    backend.driver.overwrite(volume, image, turn="one")
    assert holds(backend, volume, 1)


def create_from_image(backend: Backend, stack: ExitStack) -> Scene:
    volume, image = a_volume(), an_image(backend.root)
    return Scene("create", (volume, image), lambda: holds(backend, volume, 1))


def overwrite(backend: Backend, stack: ExitStack) -> Scene:
    volume, image = backend.create(), an_image(backend.root)
    backend.write(volume, 5)
    return Scene("overwrite", (volume, image), lambda: holds(backend, volume, 1), {"turn": "one"})


@pytest.mark.parametrize("scene", [create_from_image, overwrite], ids=lambda one: one.__name__)
def test_the_next_process_finishes_what_a_killed_one_began(
    backend: Backend, crasher: Crasher, scene: Callable[..., Scene]
) -> None:
    finishes_what_a_killed_one_began(backend, crasher, scene)
