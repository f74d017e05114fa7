"""A guest's folder on the host: where its sockets, its logs and its few notes lie.

`qemu` and its helpers read and write it; the demo and the tests find the agent's socket by it. The
folder is the only memory of the hypervisor layer: `discover` reads nothing else.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import msgspec

from breezeblock.compute.hypervisor import GuestSpec, HostError

_LONGEST_SOCKET_PATH = 107  # sun_path, unix(7)
_ABANDONED = ".abandoned"


@dataclass(frozen=True, slots=True)
class Note:
    """What the host remembers of a guest beside what QEMU itself can tell."""

    name: str
    memory_mib: int
    vcpus: int


@dataclass(frozen=True, slots=True)
class GuestDirectory:
    """One guest's folder, `<state_dir>/<uuid>`."""

    path: Path

    @classmethod
    def of(cls, state_dir: Path, guest_uuid: str) -> GuestDirectory:
        """The folder of a guest, which need not exist; ValueError when that is no UUID."""
        return cls(state_dir / str(uuid.UUID(guest_uuid)))

    @classmethod
    def all(cls, state_dir: Path) -> list[GuestDirectory]:
        """The folders of all guests that were started at least once."""
        return [cls(note.parent) for note in sorted(state_dir.glob("*/guest.json"))]

    @property
    def uuid(self) -> str:
        return self.path.name

    @property
    def qmp_socket(self) -> Path:
        return self.path / "qmp.sock"

    @property
    def agent_socket(self) -> Path:
        """The second serial port; `guest_agent` talks to the demo guest over it."""
        return self.path / "agent.sock"

    @property
    def console_log(self) -> Path:
        return self.path / "console.log"

    @property
    def qemu_log(self) -> Path:
        return self.path / "qemu.log"

    @property
    def pid_file(self) -> Path:
        return self.path / "qemu.pid"

    @property
    def _note(self) -> Path:
        return self.path / "guest.json"

    @property
    def _stop_reason(self) -> Path:
        return self.path / "stopped"

    @property
    def exists(self) -> bool:
        return self._note.exists()

    def prepare(self, spec: GuestSpec) -> None:
        """Make the folder ready for a start: the note is there, the last run's traces are not."""
        if len(str(self.agent_socket)) > _LONGEST_SOCKET_PATH:
            raise HostError(
                f"{self.agent_socket} is too long for a unix socket's name.",
                remedy="Choose a shorter data directory.",
            )
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in (self._stop_reason, self.qmp_socket, self.agent_socket):
            old.unlink(missing_ok=True)
        shutil.rmtree(self.path / "disks", ignore_errors=True)
        self._write(self._note, msgspec.json.encode(Note(spec.name, spec.memory_mib, spec.vcpus)))

    def note(self) -> Note:
        return msgspec.json.decode(self._note.read_bytes(), type=Note)

    def remember_stop(self, reason: str) -> None:
        if self.exists:
            self._write(self._stop_reason, reason.encode())

    def stop_reason(self) -> str:
        """Why the guest stopped: as remembered, else from the last words of its QEMU."""
        if self._stop_reason.exists():
            return self._stop_reason.read_text()
        if words := self.last_words():
            return f"QEMU ended by itself: {words}"
        return "QEMU was killed or crashed; it left no message."

    def last_words(self) -> str:
        """The last line that QEMU wrote, "" when it wrote none."""
        if not self.qemu_log.exists():
            return ""
        lines = self.qemu_log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def disk(self, volume_id: str) -> DiskDirectory:
        return DiskDirectory(self.path / "disks" / volume_id)

    def disks(self) -> list[DiskDirectory]:
        """All disks of which something is noted."""
        return [DiskDirectory(folder) for folder in sorted((self.path / "disks").glob("*"))]

    def abandoned_disks(self) -> list[DiskDirectory]:
        """The disks of which nodes are left that could not be closed."""
        return [disk for disk in self.disks() if disk.abandoned()]

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        """Replace a note as a whole: a reader sees the old one or the new one."""
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.rename(path)


@dataclass(frozen=True, slots=True)
class DiskDirectory:
    """What lies on the host for one attached disk: secrets for a moment, its options for resize.

    And, for each node that was left because its server was away, the options that it has.
    """

    path: Path

    @property
    def volume_id(self) -> str:
        return self.path.name

    @property
    def _options(self) -> Path:
        return self.path / "node.json"

    def write_secrets(self, secrets: dict[str, str]) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, content in secrets.items():
            target = self.path / name
            target.touch(mode=0o600)
            target.write_text(content)

    def remove_secrets(self, names: list[str]) -> None:
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def remember_options(self, options: dict[str, object]) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._options.write_bytes(msgspec.json.encode(options))

    def options(self) -> dict[str, object] | None:
        """The protocol node's options without secrets; None when the disk is not remembered."""
        if not self._options.exists():
            return None
        return msgspec.json.decode(self._options.read_bytes(), type=dict[str, object])

    def abandon(self, node: str, options: dict[str, object]) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.path / f"{node}{_ABANDONED}").write_bytes(msgspec.json.encode(options))

    def abandoned(self) -> dict[str, dict[str, object]]:
        """The nodes that were left, and their options."""
        return {
            note.name.removesuffix(_ABANDONED): msgspec.json.decode(
                note.read_bytes(), type=dict[str, object]
            )
            for note in sorted(self.path.glob(f"*{_ABANDONED}"))
        }

    def closed(self, node: str) -> None:
        """A node that was left is gone at last."""
        (self.path / f"{node}{_ABANDONED}").unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget the disk, but not what of it is left in QEMU."""
        for path in self.path.glob("*"):
            if not path.name.endswith(_ABANDONED):
                path.unlink()
        if not self.abandoned():
            shutil.rmtree(self.path, ignore_errors=True)
