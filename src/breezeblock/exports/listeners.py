"""Where hosts connect, and what lets the right ones in: unix sockets, or TCP with keys.

A storage daemon serves whoever reaches its socket, so reaching it is what has to be limited
(`nbd` runs one daemon a volume). We make the listening socket and hand it to the daemon:

* over unix sockets each host gets a hard link of the socket, under a name that only it is told, in
  a directory that is closed to other users. A new daemon's socket takes over the links before the
  old daemon goes, so hosts that reconnect wait instead of being refused;
* over TCP each host gets a key of its own (TLS-PSK); the daemon reads the key file anew at each
  handshake. The socket has TCP_NODELAY, which QEMU before 8.0 does not set by itself: without it
  each batch of requests waits for a delayed acknowledgement, 40 ms.
"""

from __future__ import annotations

import ctypes
import ipaddress
import secrets
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from breezeblock.exports.errors import ExportBusy
from breezeblock.exports.intents import Grant, Intent

BACKLOG = 64
FIRST_PORT, LAST_PORT = 10809, 14904
"""From NBD's own port on, well below those that the kernel gives to outgoing connections."""

LONGEST_PATH = 107
"""Bytes in a unix socket's address on Linux."""

NAME_DIGITS = 24

FFDHE2048 = """-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""The public group of RFC 7919. Without one, QEMU makes one up at each start: 0.6 s."""

_PIDFD_GETFD = 438


@dataclass(frozen=True, slots=True)
class Listen:
    """The option `nbd_listen`: unix sockets when `address` is empty, else a range of TCP ports."""

    address: str = ""
    first: int = FIRST_PORT
    last: int = LAST_PORT

    @classmethod
    def parse(cls, text: str) -> Listen:
        """`unix`, `tcp://ADDRESS` or `tcp://ADDRESS:FIRST-LAST`. Raises ValueError."""
        if text == "unix":
            return cls()
        scheme, _, rest = text.partition("://")
        host, colon, ports = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
        if not colon:
            host, ports = rest, f"{FIRST_PORT}-{LAST_PORT}"
        first, _, last = ports.partition("-")
        try:
            address = ipaddress.ip_address(host.strip("[]"))
            listen = cls(str(address), int(first), int(last or first))
        except ValueError as error:
            raise ValueError(f"{text!r} is not unix or tcp://ADDRESS:FIRST-LAST") from error
        if scheme != "tcp" or not 0 < listen.first <= listen.last < 65536:
            raise ValueError(f"{text!r} is not unix or tcp://ADDRESS:FIRST-LAST")
        if address.is_unspecified:
            raise ValueError(f"{text!r} is no address that hosts could connect to")
        return listen


class UnixListener:
    """The sockets of one export on this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._socket = directory / "nbd.sock"

    def admit(self, grants: Mapping[str, Grant]) -> None:
        """Make the granted hosts' links, of the socket that is served now, and no other."""
        links = {self._link(grant) for grant in grants.values()}
        for path in self.directory.glob("*.link"):
            if path not in links:
                path.unlink(missing_ok=True)
        for link in links:
            if self._socket.exists() and not (link.exists() and link.samefile(self._socket)):
                scratch = self.directory / "scratch"
                scratch.unlink(missing_ok=True)
                scratch.hardlink_to(self._socket)
                scratch.rename(link)

    def open(self, intent: Intent) -> socket.socket:
        """A new listening socket that the hosts' links lead to from now on."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # QEMU unlinks the name that its socket was bound to when it ends: never a name in use.
        bound = self.directory / f"new-{secrets.token_hex(4)}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(bound))
        listener.listen(BACKLOG)
        bound.rename(self._socket)
        self.admit(intent.grants)
        return listener

    def way(self, _host: str, grant: Grant) -> dict[str, Any]:
        """How the host gets here, in the words of connection_info."""
        return {"transport": "unix", "path": str(self._link(grant))}

    def _link(self, grant: Grant) -> Path:
        return self.directory / f"{grant.secret[:NAME_DIGITS]}.link"


class TcpListener:
    """The port of one export, and the keys of the hosts that may use it."""

    def __init__(self, address: str, port: int, keys: Path) -> None:
        self.address = address
        self.port = port
        self.keys = keys

    def admit(self, grants: Mapping[str, Grant]) -> None:
        """Write the file of keys: these hosts pass the handshake from now on, no other."""
        self.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = [f"{_username(host)}:{grant.secret}\n" for host, grant in grants.items()]
        for name, text in (("dh-params.pem", FFDHE2048), ("keys.psk", "".join(lines))):
            scratch = self.keys / "scratch"
            scratch.touch(mode=0o600)
            scratch.write_text(text)
            scratch.rename(self.keys / name)

    def open(self, intent: Intent) -> socket.socket:
        """A listening socket on the export's port. Raises ExportBusy when another has it."""
        self.admit(intent.grants)
        try:
            return tcp_socket(self.address, self.port)
        except OSError as error:
            raise ExportBusy(f"Port {self.port} of {self.address}: {error}.") from error

    def way(self, host: str, grant: Grant) -> dict[str, Any]:
        """How the host gets here, in the words of connection_info."""
        return {
            "transport": "tcp",
            "host": self.address,
            "port": self.port,
            "tls_psk_username": _username(host),
            "tls_psk_key": grant.secret,
        }


def tcp_socket(address: str, port: int) -> socket.socket:
    """A listening socket whose accepted connections have TCP_NODELAY. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def free_port(listen: Listen, taken: Collection[int]) -> int:
    """A port of the range that nobody listens on. Raises ExportBusy when there is none.

    Not the first one: two deployments on one machine with the same range should rarely meet.
    """
    ports = range(listen.first, listen.last + 1)
    start = secrets.randbelow(len(ports))
    candidates: list[int] = [*ports[start:], *ports[:start]]
    for port in candidates:
        if port in taken:
            continue
        try:
            tcp_socket(listen.address, port).close()
        except OSError:
            continue
        return port
    raise ExportBusy(
        f"All ports from {listen.first} to {listen.last} of {listen.address} are taken.",
        remedy="Give nbd_listen a wider range of ports.",
    )


def is_local(ip: str) -> bool:
    """Whether this machine has the address."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True


def borrow(pidfd: int, descriptor: int) -> socket.socket | None:
    """Another process's socket, or None when the kernel does not let us.

    With it a port is served on while daemons change: connections wait in its queue instead of
    being refused, which costs a QEMU client a second before it tries again.
    """
    number = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, pidfd, descriptor, 0)
    return socket.socket(fileno=number) if number >= 0 else None


def _username(host: str) -> str:
    """The host's name as the key file can hold it: no colon, no line's end, no leading #."""
    return quote(host, safe="")
