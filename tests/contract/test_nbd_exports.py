"""What only NBD exports promise: who gets in, and that a killed storage daemon is not felt."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from breezeblock.drivers.base import (
    BackendConfig,
    ConnectionInfo,
    PermanentError,
    TemporaryError,
    Volume,
)
from breezeblock.drivers.local import LocalDriver
from tests.contract.drivers import (
    CASES,
    Backend,
    Local,
    a_volume,
    assert_all_there,
    daemons,
    wait_for,
    writing,
)

RECONNECT = 30
SECRET = "5a" * 32
BY_NBD = [case for case in CASES if case.name in ("local-qcow2-unix", "local-qcow2-tcp")]
by_nbd = pytest.mark.parametrize("backend", BY_NBD, indirect=True, ids=lambda case: case.name)


def daemon_of(backend: Backend, volume: Volume) -> int:
    """The process id of the volume's storage daemon."""
    state = backend.driver.config.state_dir
    return int((state / "exports" / volume.id / "pid").read_text())


def serves_anew(backend: Backend, volume: Volume, killed: int) -> bool:
    try:
        return daemon_of(backend, volume) != killed
    except (FileNotFoundError, ValueError):
        return False


def altered(info: ConnectionInfo, **data: Any) -> ConnectionInfo:
    changed = {**info.data, **data}
    return replace(info, data={key: told for key, told in changed.items() if told is not None})


def raw_connection(info: ConnectionInfo) -> socket.socket:
    """Connected as far as the server's greeting; nothing negotiated yet."""
    data = info.data
    if data["transport"] == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(data["path"])
    else:
        connection = socket.create_connection((data["host"], data["port"]))
    connection.settimeout(10)
    assert connection.recv(8) == b"NBDMAGIC"
    return connection


def is_tcp(backend: Backend) -> bool:
    return "tcp" in backend.case.name


@by_nbd
class TestAKilledDaemon:
    @pytest.mark.parametrize("overlay", [False, True], ids=["file", "copy"])
    def test_hosts_write_on_and_lose_nothing(self, backend: Backend, overlay: bool) -> None:
        volume = backend.create()
        if overlay:
            volume = backend.create(volume)
        with backend.connected(volume, reconnect=RECONNECT) as disk, writing(disk) as written:
            for _ in range(2):
                os.kill(daemon_of(backend, volume), signal.SIGKILL)
                enough = len(written) + 4
                wait_for(lambda enough=enough: len(written) > enough)  # type: ignore[misc]
        assert_all_there(backend, volume, written)

    @pytest.mark.parametrize("overlay", [False, True], ids=["file", "copy"])
    def test_what_was_acknowledged_but_not_flushed_is_there(
        self, backend: Backend, overlay: bool
    ) -> None:
        volume = backend.create()
        if overlay:
            volume = backend.create(volume)
        with backend.connected(volume, reconnect=RECONNECT) as disk:
            for number in range(20):
                assert disk.write(number + 1, offset=number << 20)
            os.kill(daemon_of(backend, volume), signal.SIGKILL)
            assert disk.flush()
            assert all(disk.reads(number + 1, offset=number << 20) for number in range(20))

    def test_it_comes_back_at_the_same_address(self, backend: Backend) -> None:
        volume = backend.create()
        info = backend.driver.export(volume, backend.host.connector)
        killed = daemon_of(backend, volume)
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: serves_anew(backend, volume, killed))
        assert backend.driver.export(volume, backend.host.connector) == info
        assert not backend.host.refused(info)

    def test_two_processes_restart_one_daemon(self, backend: Backend) -> None:
        backend.another_process()
        volume = backend.create()
        with backend.connected(volume, reconnect=RECONNECT) as disk:
            os.kill(daemon_of(backend, volume), signal.SIGKILL)
            assert disk.write(1)
            assert len(daemons(backend.driver.config.state_dir)) == 1

    def test_one_that_died_while_nobody_looked_is_restarted_at_setup(
        self, backend: Backend
    ) -> None:
        volume = backend.create()
        with backend.connected(volume, reconnect=RECONNECT) as disk:
            backend.driver.close()
            os.kill(daemon_of(backend, volume), signal.SIGKILL)
            backend.driver = backend.another_process()
            assert disk.write(1)

    def test_a_stopped_deployment_serves_again_after_setup(self, backend: Backend) -> None:
        assert isinstance(backend.driver, LocalDriver)
        volume = backend.create()
        info = backend.driver.export(volume, backend.host.connector)
        backend.driver.stop_all()
        assert daemons(backend.driver.config.state_dir) == []
        assert backend.host.refused(info)
        backend.driver = backend.another_process()
        assert not backend.host.refused(info)


@by_nbd
class TestWhoGetsIn:
    def test_each_host_has_a_way_of_its_own(self, backend: Backend) -> None:
        volume = backend.create()
        one = backend.driver.export(volume, backend.host.connector).data
        other = backend.driver.export(volume, backend.other_host.connector).data
        secret = "tls_psk_key" if is_tcp(backend) else "path"
        assert one[secret] != other[secret]

    def test_without_the_secret_nobody_gets_in(self, backend: Backend) -> None:
        volume = backend.create()
        info = backend.driver.export(volume, backend.host.connector)
        forged: list[Mapping[str, Any]]
        if is_tcp(backend):
            forged = [
                {"tls_psk_key": SECRET},
                {"tls_psk_username": "host-b"},
                {"tls_psk_key": None},
            ]
        else:
            place = Path(info.data["path"]).parent
            forged = [{"path": str(place / f"{SECRET[:24]}.link")}]
            assert place.stat().st_mode & 0o077 == 0
        assert not backend.host.refused(info)
        for data in forged:
            assert backend.host.refused(altered(info, **data))

    def test_the_secret_of_one_volume_opens_no_other(self, backend: Backend) -> None:
        one, other = backend.create(), backend.create()
        info = backend.driver.export(one, backend.host.connector)
        backend.driver.export(other, backend.host.connector)
        assert backend.host.refused(altered(info, export=other.id))

    def test_letting_a_host_in_or_out_of_another_volume_is_not_felt(self, backend: Backend) -> None:
        volume, another = backend.create(), backend.create()
        with backend.connected(volume) as disk:
            backend.driver.export(volume, backend.other_host.connector)
            backend.driver.export(another, backend.host.connector)
            backend.driver.unexport(another, backend.host.name)
            assert disk.write(1)

    def test_who_connected_without_a_word_is_cut_off_too(self, backend: Backend) -> None:
        volume = backend.create()
        info = backend.driver.export(volume, backend.host.connector)
        backend.driver.export(volume, backend.other_host.connector)
        with raw_connection(info) as silent:
            backend.driver.unexport(volume, backend.host.name)
            silent.recv(64)  # the rest of the greeting, or the end
            with contextlib.suppress(ConnectionResetError):
                assert silent.recv(64) == b""

    def test_no_daemon_runs_for_nobody(self, backend: Backend) -> None:
        volume = backend.create()
        with backend.connected(volume):
            assert len(daemons(backend.driver.config.state_dir)) == 1
        assert daemons(backend.driver.config.state_dir) == []

    def test_host_names_may_hold_anything(self, backend: Backend) -> None:
        volume = backend.create()
        for name in ("#1", "a:b", "übung host\n", "../../x"):
            backend.host.name = name
            info = backend.driver.export(volume, {**backend.host.connector, "host": name})
            assert not backend.host.refused(info)
            backend.driver.unexport(volume, name)
            assert backend.host.refused(info)


@by_nbd
class TestReadOnly:
    def test_a_host_that_may_only_read_cannot_write(self, backend: Backend) -> None:
        volume = backend.create()
        backend.write(volume, 1)
        info = backend.driver.export(volume, backend.host.connector, mode="ro")
        assert info.data["read_only"] is True
        with pytest.raises(ConnectionError):
            backend.host.open(info).__enter__()
        with backend.host.open(info, read_only=True) as disk:
            assert disk.reads(1)
            assert not disk.write(2)

    def test_a_second_host_may_write_all_the_same(self, backend: Backend) -> None:
        volume = backend.create()
        reader = backend.driver.export(volume, backend.host.connector, mode="ro")
        with backend.host.open(reader, read_only=True, reconnect=RECONNECT) as disk:
            writer = backend.driver.export(volume, backend.other_host.connector)
            assert writer.data["read_only"] is False
            with backend.other_host.open(writer) as writable:
                assert writable.write(3)
            assert disk.reads(3)
        assert backend.driver.export(volume, backend.host.connector, mode="ro") == reader


@pytest.fixture
def over_tcp(tmp_path: Path) -> Iterator[LocalDriver]:
    """A backend with two ports."""
    local = Local({"nbd_listen": "tcp://127.0.0.1:22001-22002"})
    driver = local.new(tmp_path)
    driver.setup()
    try:
        yield driver
    finally:
        local.remove(driver)


class TestAddresses:
    def test_a_host_elsewhere_cannot_use_unix_sockets(self, tmp_path: Path) -> None:
        local = Local()
        driver = local.new(tmp_path)
        driver.setup()
        try:
            volume = a_volume()
            driver.create(volume, None)
            with pytest.raises(PermanentError) as refused:
                driver.export(volume, {"host": "far", "ip": "192.0.2.7"})
            assert "nbd_listen" in refused.value.remedy
            assert [item.kind for item in driver.inventory()] == ["volume"]
            driver.export(volume, {"host": "near", "ip": "127.0.0.1"})
        finally:
            local.remove(driver)

    def test_a_host_that_is_out_leaves_no_way_in(self, tmp_path: Path) -> None:
        local = Local()
        driver = local.new(tmp_path)
        driver.setup()
        try:
            volume = a_volume()
            driver.create(volume, None)
            driver.export(volume, {"host": "host-b"})
            way = Path(driver.export(volume, {"host": "host-a"}).data["path"])
            assert way.is_socket()
            driver.unexport(volume, "host-a")
            assert not way.exists()
        finally:
            local.remove(driver)

    def test_volumes_get_ports_of_their_own_while_there_are_some(
        self, over_tcp: LocalDriver
    ) -> None:
        volumes = [a_volume() for _ in range(3)]
        for volume in volumes:
            over_tcp.create(volume, None)
        connector = {"host": "far", "ip": "192.0.2.7"}
        ports = {over_tcp.export(volume, connector).data["port"] for volume in volumes[:2]}
        assert ports == {22001, 22002}
        with pytest.raises(TemporaryError) as refused:
            over_tcp.export(volumes[2], connector)
        assert "nbd_listen" in refused.value.remedy
        over_tcp.unexport(volumes[0], "far")
        assert over_tcp.export(volumes[2], connector).data["port"] in ports

    def test_a_port_that_somebody_else_uses_is_left_alone(self, over_tcp: LocalDriver) -> None:
        volume = a_volume()
        over_tcp.create(volume, None)
        with socket.create_server(("127.0.0.1", 22001)):
            info = over_tcp.export(volume, {"host": "far"})
        assert info.data["port"] == 22002

    def test_too_long_a_path_for_sockets_is_refused_by_name(self, tmp_path: Path) -> None:
        options = {"socket_dir": "/run/" + "x" * 60}
        with pytest.raises(ValueError, match="socket_dir"):
            LocalDriver(BackendConfig("local", "here", tmp_path, options))
