"""A qemu-storage-daemon for tests of the hypervisor layer: one NBD listener, some exports.

It stands where the product's own exporter stands, and can do to a guest what an exporter may do on
a bad day: be killed, come back, show another size.
"""

from __future__ import annotations

import json
import secrets
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from breezeblock.compute.qmp import Refused, monitor


class NbdServer:
    """Exports sparse files of `folder` over a unix socket, or over TCP with a pre-shared key."""

    def __init__(self, folder: Path, *, tcp: bool = False) -> None:
        self._folder = folder
        self._control = folder / "control.sock"
        self._unix = folder / "nbd.sock"
        self._username, self._key = "host-a", secrets.token_hex(32)
        self._listener = socket.create_server(("127.0.0.1", 0)) if tcp else None
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        (folder / "keys.psk").write_text(f"{self._username}:{self._key}\n")

    def file(self, volume_id: str) -> Path:
        return self._folder / f"{volume_id}.raw"

    def create(self, volume_id: str, size: int) -> None:
        with self.file(volume_id).open("ab") as file:
            file.truncate(size)

    def connection_info(self, volume_id: str) -> dict[str, Any]:
        data: dict[str, Any] = {"export": volume_id, "volume_id": volume_id, "access_mode": "rw"}
        if self._listener is None:
            data |= {"transport": "unix", "path": str(self._unix)}
        else:
            host, port = self._listener.getsockname()
            data |= {"transport": "tcp", "host": host, "port": port}
            data |= {"tls_psk_username": self._username, "tls_psk_key": self._key}
        return {"driver_volume_type": "nbd", "data": data}

    def start(self) -> None:
        """Start, or start again after `kill`, with an export for each file there is."""
        command = ["setpriv", "--pdeathsig", "KILL", "qemu-storage-daemon"]
        command += ["--chardev", f"socket,id=control,path={self._control},server=on,wait=off"]
        command += ["--monitor", "chardev=control"]
        files = []
        if self._listener is None:
            command += ["--nbd-server", f"addr.type=unix,addr.path={self._unix}"]
        else:
            number = self._listener.fileno()
            files = [number]
            credentials = f"tls-creds-psk,id=tls,dir={self._folder},endpoint=server"
            command += ["--object", credentials]
            command += ["--nbd-server", f"addr.type=fd,addr.str={number},tls-creds=tls"]
        for path in self._folder.glob("*.raw"):
            command += ["--blockdev", json.dumps(self._node(path.stem))]
            command += ["--export", json.dumps(self._export(path.stem))]
        self._control.unlink(missing_ok=True)
        self._process = subprocess.Popen(command, pass_fds=files)
        while not self._control.exists():
            if self._process.poll() is not None:
                raise RuntimeError("qemu-storage-daemon did not start")

    async def serve(self, volume_id: str, size: int) -> dict[str, Any]:
        """Create and export one more volume; return its connection_info."""
        self.create(volume_id, size)
        async with monitor(self._control) as qmp:
            await qmp.execute("blockdev-add", **self._node(volume_id))
            await qmp.execute("block-export-add", **self._export(volume_id))
        return self.connection_info(volume_id)

    async def grow(self, volume_id: str, size: int) -> None:
        """As an exporter does it: the export goes for a moment, and comes back larger."""
        await self.withdraw(volume_id)
        async with monitor(self._control) as qmp:
            await qmp.execute("block_resize", node_name=self._node_name(volume_id), size=size)
            await qmp.execute("block-export-add", **self._export(volume_id))

    async def withdraw(self, volume_id: str) -> None:
        """Take the export away, also from clients that have it open."""
        async with monitor(self._control) as qmp:
            with qmp.events("BLOCK_EXPORT_DELETED") as deleted:
                export_id = self._export(volume_id)["id"]
                await qmp.execute("block-export-del", id=export_id, mode="hard")
                assert await deleted.seen(10, id=export_id)

    async def has_client(self, volume_id: str) -> bool:
        """Whether somebody holds the export open. It is gone after this when nobody does."""
        async with monitor(self._control) as qmp:
            try:
                await qmp.execute("block-export-del", id=self._export(volume_id)["id"], mode="safe")
            except Refused:
                return True
            return False

    def kill(self) -> None:
        """kill -9; a daemon that is not running is left so."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        self.kill()
        if self._listener is not None:
            self._listener.close()

    @staticmethod
    def _node_name(volume_id: str) -> str:
        return f"v{volume_id[:23]}"

    def _node(self, volume_id: str) -> dict[str, Any]:
        name = self._node_name(volume_id)
        file = {"driver": "file", "filename": str(self.file(volume_id))}
        return {"driver": "raw", "node-name": name, "file": file, "discard": "unmap"}

    def _export(self, volume_id: str) -> dict[str, Any]:
        node = self._node_name(volume_id)
        named = {"id": f"e{volume_id[:23]}", "node-name": node, "name": volume_id}
        return {"type": "nbd", "writable": True, **named}
