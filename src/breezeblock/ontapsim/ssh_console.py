"""The console on SSH, as far as a driver uses it: setting an initiator's CHAP secret.

`iscsi security create|modify -vserver S -initiator-name I -auth-type CHAP -user-name U` asks for a
password and becomes the REST call that does the same, in the name of whoever logged in. It needs
paramiko, which is not ours: without it there is no console.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from breezeblock.ontapsim.dispatch import Asked, Dispatcher
from breezeblock.ontapsim.rest import Reply
from breezeblock.ontapsim.sockets import listen

_CREDENTIALS = ("protocols", "san", "iscsi", "credentials")
_LONGEST_LINE = 1024
_PAUSE_SECONDS = 0.1
_FLAGS = {
    "-vserver": "svm",
    "-initiator-name": "initiator",
    "-auth-type": "kind",
    "-user-name": "user",
}


class NoConsoleError(Exception):
    """The console cannot be had."""


class CommandError(Exception):
    """What was typed is no command of this console, or did not work."""


@dataclass(frozen=True, slots=True)
class SetCredential:
    """`iscsi security create|modify`: whose, and how it proves who it is."""

    new: bool
    svm: str
    initiator: str
    kind: str
    user: str = ""

    @classmethod
    def parse(cls, line: str) -> SetCredential:
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if words[:2] != ["iscsi", "security"] or words[2:3] not in (["create"], ["modify"]):
            raise CommandError(f'"{line[:60]}" is not a recognized command')
        flags, values = words[3::2], words[4::2]
        unknown = [flag for flag in flags if flag not in _FLAGS]
        if unknown or len(flags) != len(values):
            raise CommandError(f'invalid argument "{(unknown or flags)[-1]}"')
        given = {_FLAGS[flag]: value for flag, value in zip(flags, values, strict=True)}
        missing = [flag for flag, name in _FLAGS.items() if name != "user" and name not in given]
        if missing:
            raise CommandError(f"missing argument {missing[0]}")
        given["kind"] = given["kind"].lower()
        if given["kind"] == "chap" and "user" not in given:
            raise CommandError("missing argument -user-name")
        return cls(new=words[2] == "create", **given)

    @property
    def needs_password(self) -> bool:
        return self.kind == "chap"

    def body(self, password: str) -> dict[str, object]:
        body: dict[str, object] = {"authentication_type": self.kind}
        if self.new:
            body |= {"svm": {"name": self.svm}, "initiator": self.initiator}
        if self.needs_password:
            body["chap"] = {"inbound": {"user": self.user, "password": password}}
        return body


class _Rest:
    """The array's REST calls in the name of an account."""

    def __init__(self, dispatcher: Dispatcher, user: str, password: str) -> None:
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._dispatcher = dispatcher
        self._authorization = f"Basic {token}"

    def knows_me(self) -> bool:
        return self._ask("GET", _CREDENTIALS).status == 200

    def set_credential(self, command: SetCredential, password: str) -> None:
        body = command.body(password)
        if command.new:
            reply = self._ask("POST", _CREDENTIALS, body)
        else:
            key = (self._svm_of(command), quote(command.initiator, safe=""))
            reply = self._ask("PATCH", (*_CREDENTIALS, *key), body)
        if reply.status >= 400:
            raise CommandError(_message(reply))

    def _svm_of(self, command: SetCredential) -> str:
        """The UUID of the SVM that has the credential already."""
        wanted = urlencode({"svm.name": command.svm, "initiator": command.initiator})
        reply = self._ask("GET", _CREDENTIALS, query=wanted)
        if reply.status >= 400:
            raise CommandError(_message(reply))
        records = _json(reply).get("records", [])
        if not records:
            raise CommandError("entry doesn't exist")
        return str(records[0]["svm"]["uuid"])

    def _ask(
        self, method: str, path: tuple[str, ...], body: object = None, query: str = ""
    ) -> Reply:
        raw = b"" if body is None else json.dumps(body).encode()
        asked = Asked(method, path, query, raw, self._authorization)
        return self._dispatcher.handle(asked)


def _json(reply: Reply) -> dict[str, Any]:
    return reply.body if isinstance(reply.body, dict) else {}


def _message(reply: Reply) -> str:
    return str(_json(reply).get("error", {}).get("message", f"status {reply.status}"))


@contextlib.contextmanager
def serve_console(
    dispatcher: Dispatcher, folder: Path, address: tuple[str, int] | None
) -> Iterator[None]:
    """Serve a console at that address meanwhile, if there is one. NoConsoleError: no paramiko."""
    if address is None:
        yield
        return
    console = SshConsole(dispatcher, folder)
    console.start(*address)
    try:
        yield
    finally:
        console.stop()


class SshConsole:
    """Listens and serves; each command of each connection on a thread of its own."""

    def __init__(self, dispatcher: Dispatcher, folder: Path) -> None:
        try:
            self._paramiko: Any = importlib.import_module("paramiko")
        except ImportError as error:
            raise NoConsoleError(
                "The SSH console needs paramiko: install it, or leave out --ssh."
            ) from error
        self._dispatcher = dispatcher
        self._key = self._host_key(folder / "ssh_host_key")
        self._listener: socket.socket | None = None
        self._transports: set[Any] = set()
        self._stopping = threading.Event()

    def start(self, address: str, port: int) -> None:
        self._listener = listen((address, port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for transport in list(self._transports):
            transport.close()

    def _host_key(self, path: Path) -> Any:
        """The same after a restart: clients remember it."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            self._paramiko.ECDSAKey.generate().write_private_key_file(str(part))
            part.replace(path)
        return self._paramiko.ECDSAKey(filename=str(path))

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # stopped; or a client left early, or there are too many of them
                if self._stopping.wait(_PAUSE_SECONDS):
                    return
                continue
            # A client that talks nonsense ends its own connection only.
            try:
                self._serve(client)
            except (OSError, EOFError, self._paramiko.SSHException):
                client.close()

    def _serve(self, client: socket.socket) -> None:
        transport = self._paramiko.Transport(client)
        self._transports = {one for one in self._transports if one.is_active()} | {transport}
        transport.add_server_key(self._key)
        transport.start_server(event=threading.Event(), server=self._rules())

    def _rules(self) -> Any:
        """What a connection may do: log in with an account's password, run commands."""
        rules = self._paramiko.ServerInterface()
        accounts: list[_Rest] = []
        turn = threading.Lock()

        def log_in(user: str, password: str) -> int:
            rest = _Rest(self._dispatcher, user, password)
            if not rest.knows_me():
                return int(self._paramiko.AUTH_FAILED)
            accounts.append(rest)
            return int(self._paramiko.AUTH_SUCCESSFUL)

        def run(channel: Any, command: bytes) -> bool:
            arguments = (channel, command.decode(errors="replace"), accounts[-1], turn)
            threading.Thread(target=_run, args=arguments, daemon=True).start()
            return True

        rules.get_allowed_auths = lambda _user: "password"
        rules.check_auth_password = log_in
        rules.check_channel_request = lambda _kind, _id: self._paramiko.OPEN_SUCCEEDED
        rules.check_channel_exec_request = run
        return rules


def _run(channel: Any, line: str, rest: _Rest, turn: threading.Lock) -> None:
    with contextlib.suppress(OSError, EOFError):  # the client is gone
        with turn:
            _let_client_know(channel)
        try:
            status = _do(line, rest, lambda: _ask_password(channel))
        except CommandError as error:
            status = 255
            channel.sendall(f"\nError: command failed: {error}\n".encode())
        channel.send_exit_status(status)
        channel.close()


def _let_client_know(channel: Any) -> None:
    """Return when the client was told that its command runs: it must not hear of the end before.

    paramiko tells it after `check_channel_exec_request`, and only then reads on; so whatever
    the client answers to a question of ours is read later than that.
    """
    channel.get_transport().global_request("keepalive@openssh.com")


def _do(line: str, rest: _Rest, password: Callable[[], str]) -> int:
    command = SetCredential.parse(line)
    rest.set_credential(command, password() if command.needs_password else "")
    return 0


def _ask_password(channel: Any) -> str:
    """A whole line: half a secret, of a client that left, is none."""
    channel.sendall(b"\nPassword: ")
    typed = b""
    while b"\n" not in typed and len(typed) < _LONGEST_LINE:
        piece = channel.recv(_LONGEST_LINE)
        if not piece:
            break
        typed += piece
    line, end, _ = typed.partition(b"\n")
    with contextlib.suppress(UnicodeDecodeError):
        if end:
            return line.rstrip(b"\r").decode()
    raise CommandError("no password was entered")
