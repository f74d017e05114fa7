"""Making and finding the demo guest's image."""

from __future__ import annotations

from pathlib import Path

import pytest

from breezeblock.compute import guest_image, initramfs
from breezeblock.compute.guest_image import GuestImageError, ensure_guest_image


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In apt's place: two small packages; the list tells what was downloaded."""
    asked: list[str] = []

    def run(*command: str, cwd: Path | None = None) -> str:
        if command[0] == "apt-cache":
            return "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-1-cloud-amd64\n"
        if "download" in command:
            assert cwd is not None
            asked.append(command[-1])
            (cwd / f"{command[-1]}_1_amd64.deb").touch()
        else:
            for name in ("boot/vmlinuz-6.1", "bin/busybox"):
                target = Path(command[-1], name)
                target.parent.mkdir(exist_ok=True)
                target.write_text(name)
        return ""

    monkeypatch.setattr(guest_image, "_run", run)
    return asked


def test_an_image_is_made_of_debians_kernel_and_busybox(tmp_path: Path, apt: list[str]) -> None:
    said: list[str] = []
    image = ensure_guest_image(tmp_path / "cache", said.append)
    assert apt == ["linux-image-6.1.0-1-cloud-amd64", "busybox-static"]
    assert image.kernel.read_text() == "boot/vmlinuz-6.1"
    assert b"bin/busybox" in image.initrd.read_bytes()
    assert "linux-image-6.1.0-1-cloud-amd64" in said[0]


def test_an_image_that_is_there_is_taken_as_it_is(tmp_path: Path, apt: list[str]) -> None:
    first = ensure_guest_image(tmp_path, print)
    apt.clear()
    said: list[str] = []
    assert ensure_guest_image(tmp_path, said.append) == first
    assert (apt, said) == ([], [])


def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, apt: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_busybox: Path, _tree: Path) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(initramfs, "build", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_guest_image(tmp_path, print)
    assert list(tmp_path.iterdir()) == []


def test_without_apt_the_error_names_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GuestImageError, match=r"linux-image-cloud-amd64 and busybox-static"):
        ensure_guest_image(tmp_path, print)
