"""The local driver's folder `adoptable`: what an operator puts there becomes a volume, or not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from breezeblock.drivers.base import PermanentError
from breezeblock.drivers.local import LocalDriver
from tests.contract.drivers import GIB, a_snapshot, a_volume
from tests.contract.hosts import Host
from tests.contract.local_volumes import Start, layers, reads, write


def place(driver: LocalDriver, name: str, content: bytes = b"\5" * 65536) -> Path:
    path = driver.options.path / "adoptable" / name
    path.write_bytes(content)
    return path


def why(driver: LocalDriver, name: str) -> str:
    (found,) = [one for one in driver.manageable() if one.reference == {"source-name": name}]
    return found.reason


def test_a_file_is_moved_in_and_filled_up(start: Start, host: Host) -> None:
    driver, volume = start(pool="pool"), a_volume()
    path = place(driver, "old disk.img")
    assert driver.adopt(volume, {"source-name": "old disk.img"}) == 1
    assert not path.exists()
    (layer,) = layers(driver)
    assert (layer.stat().st_size, layer.stat().st_mode & 0o777) == (GIB, 0o600)
    assert reads(driver, host, volume, 5)
    start(pool="pool")  # sweeps
    assert layers(driver) == [layer]
    driver.delete(volume)
    assert layers(driver) == []


@pytest.mark.parametrize(
    "name", ["../layers", "/etc/passwd", "..", ".", "a/b", "a\0b", "\ud800", "x" * 300, "a\nb"]
)
def test_names_that_lead_elsewhere_are_none(start: Start, name: str) -> None:
    driver = start(pool="pool")
    with pytest.raises(PermanentError):
        driver.adopt(a_volume(), {"source-name": name})
    assert driver.inventory() == []


def test_links_and_what_is_no_raw_disk_stay(start: Start, tmp_path: Path) -> None:
    driver = start(pool="pool")
    folder = driver.options.path / "adoptable"
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    (folder / "link").symlink_to(secret)
    os.link(secret, folder / "second-name")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    place(driver, "empty", b"")
    place(driver, "image", b"QFI\xfb" + bytes(100))
    before = sorted(path.name for path in folder.iterdir())
    for name in before:
        assert why(driver, name)
        with pytest.raises(PermanentError):
            driver.adopt(a_volume(), {"source-name": name})
    assert sorted(path.name for path in folder.iterdir()) == before
    assert layers(driver) == [] and driver.inventory() == []


def test_one_that_was_begun_only_is_let_go_of_where_it_lies(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, volume = start(pool="pool"), a_volume()
    path = place(driver, "old")
    begun = driver.options.path / "manifests" / f"{volume.id}.json"

    def die(_path: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    rename = Path.rename
    monkeypatch.setattr(
        Path, "rename", lambda one, to: die(one, to) if one == path else rename(one, to)
    )
    with pytest.raises(KeyboardInterrupt):
        driver.adopt(volume, {"source-name": "old"})
    monkeypatch.undo()
    assert begun.exists() and driver.inventory() == []
    driver.release(volume)
    assert path.exists() and not begun.exists()
    assert list((driver.options.path / "released").iterdir()) == []
    assert driver.adopt(a_volume(), {"source-name": "old"}) == 1


def test_what_changed_its_kind_in_between_is_put_back(start: Start, tmp_path: Path) -> None:
    driver, volume = start(pool="pool"), a_volume()
    path = place(driver, "old")
    manifest = driver._adoptable._begin(volume.id, "old")
    path.unlink()
    path.symlink_to(tmp_path)
    with pytest.raises(PermanentError):
        driver.adopt(volume, {"source-name": "old"})
    assert path.is_symlink() and layers(driver) == []
    assert manifest.taking == "old" and driver.inventory() == []


def test_a_released_snapshot_is_no_volume_nor_of_another(start: Start, host: Host) -> None:
    driver, volume, other = start(pool="pool", format="qcow2"), a_volume(), a_volume()
    for one in (volume, other):
        driver.create(one, None)
    write(driver, host, volume, 5)
    snapshot = a_snapshot(volume)
    driver.snapshot(snapshot)
    driver.release_snapshot(snapshot)
    reference = {"source-name": snapshot.id}
    with pytest.raises(PermanentError, match="snapshot"):
        driver.adopt(a_volume(), reference)
    with pytest.raises(PermanentError):
        driver.adopt_snapshot(a_snapshot(other), reference)
    again = a_snapshot(volume)
    assert driver.adopt_snapshot(again, reference) == 1
    assert driver.manageable_snapshots()[0].managed == again.id


def test_a_paper_of_a_snapshot_that_does_not_say_so_leads_to_no_volume(
    start: Start, host: Host
) -> None:
    """As those were written before: its layer may be what others stand on."""
    driver, volume = start(pool="pool", format="qcow2"), a_volume()
    driver.create(volume, None)
    write(driver, host, volume, 5)
    snapshot = a_snapshot(volume)
    driver.snapshot(snapshot)
    driver.release_snapshot(snapshot)
    paper = driver.options.path / "released" / f"{snapshot.id}.json"
    paper.write_text(paper.read_text().replace(f'"volume": "{volume.id}"', '"volume": ""'))
    assert why(driver, snapshot.id)
    with pytest.raises(PermanentError, match="stand on it"):
        driver.adopt(a_volume(), {"source-name": snapshot.id})
    assert reads(driver, host, volume, 5)


def test_another_file_system_is_told_of(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, volume = start(pool="pool"), a_volume()
    path = place(driver, "old")
    rename = Path.rename

    def elsewhere(one: Path, to: Path) -> Path:
        if one == path:
            raise OSError(18, "Invalid cross-device link")
        return rename(one, to)

    monkeypatch.setattr(Path, "rename", elsewhere)
    with pytest.raises(PermanentError, match="cannot be moved in"):
        driver.adopt(volume, {"source-name": "old"})
    assert path.exists() and driver.inventory() == []
