"""The console on SSH, asked by real SSH clients."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from breezeblock.ontapsim.dispatch import Dispatcher
from breezeblock.ontapsim.ssh_console import NoConsoleError, SshConsole
from tests.engines.ontap import PASSWORD, SVM_PASSWORD, SVM_USER, USER
from tests.engines.process import free_port
from tests.ontapsim.house import House

ADDRESS = "127.0.0.1"
IQN = "iqn.1994-05.com.redhat:a"
SET = f"-vserver svm1 -initiator-name {IQN} -auth-type CHAP -user-name u"


class Shell:
    """A console and clients of it."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house, self.folder = house, folder
        self.port = free_port()
        self.known = folder / "known_hosts"
        self.known.touch()
        self.open()

    def open(self) -> None:
        self.console = SshConsole(Dispatcher(self.house.array), self.folder)
        self.console.start(ADDRESS, self.port)

    @contextlib.contextmanager
    def client(self, user: str = USER, password: str = PASSWORD) -> Iterator[paramiko.SSHClient]:
        """One that takes a host's first key, and no other later."""
        with paramiko.SSHClient() as client:
            client.load_host_keys(str(self.known))
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            client.connect(
                ADDRESS,
                self.port,
                user,
                password,
                allow_agent=False,
                look_for_keys=False,
                timeout=20,
            )
            yield client

    def run(
        self, line: str, typed: str | bytes = "", user: str = USER, password: str = PASSWORD
    ) -> str:
        with self.client(user, password) as client:
            return run(client, line, typed)


def run(client: paramiko.SSHClient, line: str, typed: str | bytes = "") -> str:
    """What the console says; at the end stands its status."""
    stdin, stdout, _ = client.exec_command(line, timeout=20)
    with contextlib.suppress(OSError):  # it may be over before anything is typed
        stdin.write(typed)
        stdin.channel.shutdown_write()
    said = stdout.read().decode()
    return f"{said.strip()} [{stdout.channel.recv_exit_status()}]".lstrip()


@pytest.fixture
def shell(house: House, tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(house, tmp_path)
    try:
        yield shell
    finally:
        shell.console.stop()


def credentials(house: House) -> list[tuple[str, str, str]]:
    """Of all initiators: kind, user, secret, as hosts meet them."""
    return sorted(
        (name, gate.user, gate.password) for name, gate in house.svm().credentials.items()
    )


def test_a_secret_is_set_and_then_another(shell: Shell) -> None:
    assert shell.run(f"iscsi security create {SET}", "first secret\n") == "Password: [0]"
    assert credentials(shell.house) == [(IQN, "u", "first secret")]
    assert shell.run(f"iscsi security modify {SET}", "second\r\nnot this\n") == "Password: [0]"
    assert credentials(shell.house) == [(IQN, "u", "second")]


@pytest.mark.parametrize("kind", ["none", "deny"])
def test_no_password_is_asked_where_none_is_needed(shell: Shell, kind: str) -> None:
    line = f"iscsi security create -vserver svm1 -initiator-name {IQN} -auth-type {kind.upper()}"
    assert shell.run(line) == "[0]"
    assert shell.house.svm().credentials[IQN].kind == kind


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "is not a recognized command"),
        ("version", '"version" is not a recognized command'),
        ("iscsi security show", "is not a recognized command"),
        ('iscsi security create "', "No closing quotation"),
        (f"iscsi security create {SET} -force", 'invalid argument "-force"'),
        (f"iscsi security create {SET} -password p", 'invalid argument "-password"'),
        ("iscsi security create -vserver svm1", "missing argument -initiator-name"),
        (f"iscsi security create {SET.removesuffix(' -user-name u')}", "missing argument -user"),
    ],
)
def test_a_line_that_is_no_command_is_refused(shell: Shell, line: str, says: str) -> None:
    said = shell.run(line, "secret\n")
    assert said.startswith("Error: command failed: ") and says in said and said.endswith("[255]")
    assert "Password" not in said
    assert credentials(shell.house) == []


@pytest.mark.parametrize(
    ("line", "typed", "says"),
    [
        (SET.replace("svm1", "svm2"), "secret\n", "svm2"),
        (SET.replace(IQN, "me"), "secret\n", "me"),
        (SET.replace("CHAP", "magic"), "secret\n", "authentication_type"),
        (SET, "\n", "chap.inbound.password"),
        (SET, "secret", "no password was entered"),
        (SET, "", "no password was entered"),
        (SET, "x" * 2000 + "\n", "no password was entered"),
        (SET, b"\xff\xfe\n", "no password was entered"),
    ],
)
def test_what_the_array_does_not_want_is_refused(
    shell: Shell, line: str, typed: str | bytes, says: str
) -> None:
    said = shell.run(f"iscsi security create {line}", typed)
    assert "Error: command failed: " in said and says in said and said.endswith("[255]")
    assert credentials(shell.house) == []


def test_new_and_known_initiators_are_told_apart(shell: Shell) -> None:
    assert "entry doesn't exist" in shell.run(f"iscsi security modify {SET}", "secret\n")
    assert shell.run(f"iscsi security create {SET}", "secret\n").endswith("[0]")
    assert "exists already" in shell.run(f"iscsi security create {SET}", "other\n")
    assert credentials(shell.house) == [(IQN, "u", "secret")]


def test_an_account_of_the_svm_may_do_it(shell: Shell) -> None:
    line = f"iscsi security create {SET}"
    assert shell.run(line, "secret\n", SVM_USER, SVM_PASSWORD).endswith("[0]")
    assert credentials(shell.house) == [(IQN, "u", "secret")]


@pytest.mark.parametrize(
    ("user", "password"), [(USER, "wrong"), (USER, SVM_PASSWORD), ("nobody", PASSWORD)]
)
def test_others_are_not_let_in(shell: Shell, user: str, password: str) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        shell.run("version", user=user, password=password)


def test_only_commands_are_run(shell: Shell) -> None:
    with shell.client() as client:
        with pytest.raises(paramiko.SSHException):
            client.invoke_shell()
        with pytest.raises(paramiko.SSHException):
            client.open_sftp()
        with pytest.raises(paramiko.ChannelException):
            transport = client.get_transport()
            assert transport
            transport.open_channel("direct-tcpip", (ADDRESS, shell.port), (ADDRESS, 1))


def test_many_commands_on_one_connection_are_all_answered(shell: Shell) -> None:
    with shell.client() as client:
        for number in range(40):
            assert f'"{number}" is not' in run(client, str(number))


def test_many_clients_at_once(shell: Shell) -> None:
    def set_secret(number: int) -> str:
        line = SET.replace(IQN, f"iqn.1994-05.com.redhat:{number:02}")
        return shell.run(f"iscsi security create {line}", f"secret {number}\n")

    numbers = range(16)
    with ThreadPoolExecutor(len(numbers)) as pool:
        assert set(pool.map(set_secret, numbers)) == {"Password: [0]"}
    assert credentials(shell.house) == [
        (f"iqn.1994-05.com.redhat:{number:02}", "u", f"secret {number}") for number in numbers
    ]


def test_who_talks_nonsense_or_nothing_holds_nobody_up(shell: Shell) -> None:
    with (
        socket.create_connection((ADDRESS, shell.port)) as silent,
        socket.create_connection((ADDRESS, shell.port)) as loud,
    ):
        loud.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        assert silent.recv(4) == b"SSH-"
        assert shell.run(f"iscsi security create {SET}", "secret\n").endswith("[0]")


def test_the_host_key_is_the_same_after_a_restart(shell: Shell) -> None:
    with shell.client() as client:
        shell.console.stop()
        shell.open()
        with pytest.raises((paramiko.SSHException, OSError, EOFError)):
            run(client, "version")
    assert "not a recognized" in shell.run("version")
    (key,) = shell.folder.glob("ssh_host_key*")
    assert key.stat().st_mode & 0o777 == 0o600

    shell.console.stop()
    key.unlink()
    shell.open()
    with pytest.raises(paramiko.BadHostKeyException):
        shell.run("version")


def test_without_paramiko_there_is_no_console(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(NoConsoleError, match="needs paramiko"):
        SshConsole(Dispatcher(house.array), tmp_path)
