"""NBD exports: one storage daemon a volume, reached only by the hosts that were let in.

The local driver calls this, holding the volume's lock. Why a daemon each: an NBD server tells all
its exports' names to anybody who connects, so a server is the unit of access control.

An export is an intent (`intents`) that is made true by `follow`: keys or socket links for exactly
the granted hosts, a daemon that serves the volume's present image. `follow` may be called at any
time and by any process, and finishes whatever a killed one left half done. `supervisor` does so
when a daemon dies.

Modes: when only "ro" was granted the daemon itself refuses writes. As soon as one host has "rw" it
has to accept them, and a host that was told `read_only` must see to it itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from breezeblock.exports import intents
from breezeblock.exports.errors import ExportRefused
from breezeblock.exports.files import Locks
from breezeblock.exports.intents import Intent, Mode
from breezeblock.exports.listeners import (
    LONGEST_PATH,
    NAME_DIGITS,
    Listen,
    TcpListener,
    UnixListener,
    free_port,
    is_local,
)
from breezeblock.exports.storage_daemon import Image, Serving, StorageDaemon, check_installed

UUID_LENGTH = 36


class NbdExports:
    """All exports of one backend.

    `home` outlives the machine's restart and holds a directory an export; `sockets` need not, and
    its path has to be short. `locate` says which image a volume is on now (None: no such volume).
    """

    def __init__(
        self,
        home: Path,
        sockets: Path,
        listen: Listen,
        locks: Locks,
        locate: Callable[[str], Image | None],
        *,
        write_back: bool = False,
    ) -> None:
        longest = len(os.fsencode(sockets)) + len("//.link") + UUID_LENGTH + NAME_DIGITS
        if longest > LONGEST_PATH:
            spare = LONGEST_PATH - longest + len(os.fsencode(sockets))
            raise ValueError(f"socket_dir: {sockets} is longer than {spare} bytes")
        self.home = home
        self.sockets = sockets
        self.listen = listen
        self.locks = locks
        self._locate = locate
        self._write_back = write_back

    def grant(self, volume_id: str, host: str, mode: Mode, ip: str = "") -> dict[str, Any]:
        """Let the host in, whose address is `ip`; returns the data of its connection_info.

        Raises ExportRefused or ExportBusy.
        """
        check_installed()
        present = intents.load(self._home(volume_id))
        if present is not None and not present.grants:
            present = self.follow(volume_id)  # the rest of an earlier export
        if not (present or self.listen).address and ip and not is_local(ip):
            raise ExportRefused(
                f"Host {host} ({ip}) is another machine, volumes are exported to this one only.",
                remedy="Set nbd_listen to tcp://ADDRESS, an address that the hosts can reach.",
            )
        if present is None:
            with self._address() as fresh:
                intents.save(self._home(volume_id), fresh.granting(host, mode))
        elif (wider := present.granting(host, mode)) is not present:
            intents.save(self._home(volume_id), wider)
        intent = self.follow(volume_id)
        if intent is None:
            raise ExportRefused(f"There is no volume {volume_id} to export.")
        way = self._listener(volume_id, intent).way(host, intent.grants[host])
        return {**way, "export": volume_id, "volume_id": volume_id, "read_only": mode == "ro"}

    def revoke(self, volume_id: str, *hosts: str) -> None:
        """Take the hosts' access away, also from connections that are open; no hosts: from all.

        The other hosts are cut off for a moment, too; they connect again by themselves.
        """
        present = intents.load(self._home(volume_id))
        if present is not None:
            left = present.revoking(*(hosts or present.grants))
            if left is not present:
                intents.save(self._home(volume_id), left)
        self.follow(volume_id)

    def follow(self, volume_id: str) -> Intent | None:
        """Make the intent true; None when there is nothing to export (any more)."""
        intent = intents.load(self._home(volume_id))
        image = self._locate(volume_id) if intent and intent.grants else None
        daemon = self._daemon(volume_id)
        if intent is None or image is None:
            daemon.stop()
            shutil.rmtree(self.sockets / volume_id, ignore_errors=True)
            shutil.rmtree(self._home(volume_id), ignore_errors=True)
            return None
        self._listener(volume_id, intent).admit(intent.grants)
        if not daemon.serves(self._serving(volume_id, intent, image)):
            with self._listening(volume_id, intent) as listener:
                daemon.stop()
                self._start(volume_id, intent, image, listener)
        return intent

    @contextmanager
    def interrupted(self, volume_id: str) -> Iterator[None]:
        """Nobody has the image open during the body; hosts wait, without losing a write."""
        intent = self.follow(volume_id)
        if intent is None:
            yield
            return
        with self._listening(volume_id, intent) as listener:
            self._daemon(volume_id).stop()
            try:
                yield
            finally:
                image = self._locate(volume_id)
                if image is not None:
                    self._start(volume_id, intent, image, listener)

    def served(self, volume_id: str) -> bool:
        """Whether a daemon has the volume's image open."""
        return self._daemon(volume_id).running()

    def copy(
        self, volume_id: str, image: Image, target: Path, told: Callable[[float], None]
    ) -> None:
        """Write the content that a served volume has now to a raw file, while hosts go on.

        `told` hears now and then how far it is, in percent.
        """
        self._daemon(volume_id).copy(image, target, told)

    def pidfd(self, volume_id: str) -> int | None:
        """A descriptor that becomes readable when the volume's daemon dies."""
        return self._daemon(volume_id).pidfd()

    def volumes(self) -> list[str]:
        """The volumes that have an export, or half of one."""
        try:
            return sorted(os.listdir(self.home))  # noqa: PTH208 - names, read several times a second
        except FileNotFoundError:
            return []

    def granted(self) -> list[tuple[str, str]]:
        """Volume and host of every grant."""
        found = []
        for volume_id in self.volumes():
            with contextlib.suppress(NotADirectoryError):
                intent = intents.load(self._home(volume_id))
                found += [(volume_id, host) for host in (intent.grants if intent else ())]
        return found

    def stop_all(self) -> None:
        """End all daemons and leave the intents: the next `follow` serves again."""
        for volume_id in self.volumes():
            with self.locks.hold(volume_id):
                self._daemon(volume_id).stop()
        shutil.rmtree(self.sockets, ignore_errors=True)

    @contextmanager
    def _address(self) -> Iterator[Intent]:
        """An intent without grants, at an address that stays ours once the body has written it."""
        if not self.listen.address:
            yield Intent()
            return
        with self.locks.hold("ports"):
            intended = (intents.load(self._home(one)) for one in self.volumes())
            taken = {intent.port for intent in intended if intent is not None}
            port = free_port(self.listen, taken)
            yield Intent(self.listen.address, port)

    def _listening(self, volume_id: str, intent: Intent) -> socket.socket:
        """The socket at which hosts wait from now on for the next daemon."""
        listener = self._listener(volume_id, intent)
        if isinstance(listener, UnixListener):
            return listener.open(intent)
        daemon = self._daemon(volume_id)
        held = daemon.listener()
        if held is None:
            daemon.stop()  # if it runs it has the port, and does not share it
        return held or listener.open(intent)

    def _start(self, volume_id: str, intent: Intent, image: Image, listener: socket.socket) -> None:
        self._daemon(volume_id).start(self._serving(volume_id, intent, image), listener)

    def _serving(self, volume_id: str, intent: Intent, image: Image) -> Serving:
        return Serving(
            image=image,
            name=volume_id,
            read_only=intent.read_only,
            # qcow2 keeps its tables in the daemon's memory until a flush. Should the daemon be
            # killed, hosts would reconnect and never learn that acknowledged writes are gone. A
            # raw file has no tables: what was written is in the kernel, which lives on.
            write_through=image.format == "qcow2" and not self._write_back,
            generation=intent.generation,
            keys=str(self._home(volume_id) / "keys") if intent.address else "",
        )

    def _listener(self, volume_id: str, intent: Intent) -> UnixListener | TcpListener:
        if not intent.address:
            return UnixListener(self.sockets / volume_id)
        return TcpListener(intent.address, intent.port, self._home(volume_id) / "keys")

    def _daemon(self, volume_id: str) -> StorageDaemon:
        return StorageDaemon(self._home(volume_id), self.sockets / volume_id)

    def _home(self, volume_id: str) -> Path:
        return self.home / volume_id
