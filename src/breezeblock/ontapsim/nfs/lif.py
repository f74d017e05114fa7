"""A LIF of an SVM, as NFS clients see it: a portmapper, a mount service, an NFS service.

What comes in goes on to the SVM's ganesha, which listens where no host looks for it. A LIF that
goes down takes its connections with it; a ganesha that is being replaced is waited for.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from breezeblock.ontapsim.nfs import portmapper, rpc
from breezeblock.ontapsim.nfs.listener import Listener
from breezeblock.ontapsim.sockets import listen

NFS_PORT = 2049
MOUNT_PORT = 635
PROGRAMS = {(rpc.NFS, 3): NFS_PORT, (rpc.MOUNT, 3): MOUNT_PORT}
_PATIENCE = 30.0
_CHUNK = 1 << 18

Where = Callable[[], tuple[str, int]]


class Lif:
    """An address that is up; `nfs` and `mount` say where the services are at present."""

    def __init__(self, address: str, *, nfs: Where, mount: Where) -> None:
        self.address = address
        self._closed = threading.Event()
        self._listeners: list[Listener] = []
        services = (
            (portmapper.PORT, lambda stream: portmapper.serve_hosts(stream, PROGRAMS)),
            (MOUNT_PORT, lambda stream: self._relay(stream, mount)),
            (NFS_PORT, lambda stream: self._relay(stream, nfs)),
        )
        try:
            for port, serve in services:
                self._listeners.append(Listener(listen((address, port)), serve))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._closed.set()
        for listener in self._listeners:
            listener.close()

    def _relay(self, host: socket.socket, where: Where) -> None:
        with self._reach(where) as server:
            for end in (host, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_pump, args=(server, host), daemon=True)
            back.start()
            _pump(host, server)
            back.join()

    def _reach(self, where: Where) -> socket.socket:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return socket.create_connection(where(), timeout=None)
            except OSError:
                if time.monotonic() > deadline or self._closed.wait(0.02):
                    raise


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes one way; when one end has gone, end both ways."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
