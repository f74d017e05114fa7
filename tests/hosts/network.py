"""A network of hosts on this machine: each is a network namespace, a switch joins them.

The switch is a bridge in a namespace of its own, so this machine has one interface more and nothing
else: its end of a pair whose other end is in the switch, by which the tests reach the hosts. The
hosts know each other's hardware addresses and never ask for them. So whatever is cut is silent, as
if the frames were lost on the way: nobody hears "no route to host" or a reset.

All names carry the process id of the tests; what a killed run has left behind goes before the next
one begins. It takes root, as iproute2 does.
"""

from __future__ import annotations

import atexit
import contextlib
import ipaddress
import json
import os
import random
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.engines.process import EngineMissing, Place

PREFIX = "breezeblock-"
RANGE = ipaddress.ip_network("198.18.0.0/15")
"""For tests of networks (RFC 2544): nothing real is there."""

OURS = 254
"""The last part of the address by which hosts see the tests."""

NOBODY = "02:bb:00:00:ff:ff"
"""A hardware address that no host has: frames to it are lost in the switch."""


@dataclass(frozen=True, slots=True)
class Host:
    """One host: the namespace's name, and its address."""

    name: str
    namespace: str
    address: str
    number: int

    @property
    def place(self) -> Place:
        """Where a server runs that runs here."""
        return Place(self.address, ("ip", "netns", "exec", self.namespace))


class Network:
    """The hosts by name. `remove` ends what runs in them, and takes all away."""

    def __init__(self, *names: str) -> None:
        sweep()
        self._switch = f"{PREFIX}{os.getpid()}-switch"
        self._leg = f"bb{os.getpid()}"
        net = _free_net()
        addresses = list(net.hosts())
        self.hosts = {
            name: Host(name, f"{PREFIX}{os.getpid()}-{name}", str(addresses[number]), number + 1)
            for number, name in enumerate(names)
        }
        self._us = Host("us", "", str(addresses[OURS - 1]), OURS)
        atexit.register(self.remove)
        try:
            self._build(net.prefixlen)
        except BaseException:
            self.remove()
            raise

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def cut(self, name: str) -> None:
        """No frame goes to the host or comes from it any more; its link stays up."""
        _ip("-n", self._switch, "link", "set", _port(self[name]), "nomaster")

    def heal(self, name: str) -> None:
        """The host is back, after `cut`."""
        _ip("-n", self._switch, "link", "set", _port(self[name]), "master", "switch")

    def deafen(self, name: str, speaker: str) -> None:
        """The host does not hear the speaker any more, who still hears it."""
        self._know(self[speaker], self[name], NOBODY)

    def part(self, one: str, other: str) -> None:
        """These two do not hear each other any more; all others do."""
        self.deafen(one, other)
        self.deafen(other, one)

    def join(self, one: str, other: str) -> None:
        """They hear each other again, after `deafen` or `part`."""
        self._know(self[one], self[other], _hardware(self[other]))
        self._know(self[other], self[one], _hardware(self[one]))

    def remove(self) -> None:
        """Kill what still runs in the hosts, and take the network down."""
        _remove([*(one.namespace for one in self.hosts.values()), self._switch])
        with contextlib.suppress(subprocess.CalledProcessError):  # it goes with its other end
            _ip("link", "delete", self._leg)
        atexit.unregister(self.remove)

    def _build(self, prefix: int) -> None:
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        for host in self.hosts.values():
            _ip("netns", "add", host.namespace)
            _ip("-n", host.namespace, "link", "set", "lo", "up")
        everybody = [*self.hosts.values(), self._us]
        for host in everybody:
            own = ("name", self._device(host), "address", _hardware(host))
            inside = ("netns", host.namespace) if host.namespace else ()
            pair = ("type", "veth", "peer", "name", _port(host))
            _ip("-n", self._switch, "link", "add", *own, *inside, *pair)
            if not host.namespace:
                _ip("-n", self._switch, "link", "set", self._leg, "netns", str(os.getpid()))
            _ip("-n", self._switch, "link", "set", _port(host), "master", "switch", "up")
            address = ("address", "add", f"{host.address}/{prefix}")
            self._ip_in(host, *address, "dev", self._device(host))
            self._ip_in(host, "link", "set", self._device(host), "up")
        for host in everybody:
            for other in everybody:
                if other is not host:
                    self._know(host, other, _hardware(other))

    def _device(self, host: Host) -> str:
        return "wire" if host.namespace else self._leg

    def _know(self, host: Host, other: Host, hardware: str) -> None:
        """What the host takes for the other's hardware address, for ever."""
        told = (other.address, "lladdr", hardware, "dev", self._device(host), "nud", "permanent")
        self._ip_in(host, "neighbour", "replace", *told)

    def _ip_in(self, host: Host, *words: str) -> None:
        _ip(*(("-n", host.namespace) if host.namespace else ()), *words)


def sweep() -> None:
    """Take down what test runs that were killed have left behind."""
    left = []
    for line in _ip("netns", "list").splitlines():
        name = line.split()[0] if line.split() else ""
        owner = name.removeprefix(PREFIX).partition("-")[0]
        ours = name.startswith(PREFIX) and owner.isdigit()
        if ours and not Path("/proc", owner).exists():
            left.append(name)
    _remove(left)


def _remove(namespaces: Sequence[str]) -> None:
    for name in namespaces:
        with contextlib.suppress(subprocess.CalledProcessError):
            for pid in _ip("netns", "pids", name).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
    for name in namespaces:
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", name)


def _free_net() -> ipaddress.IPv4Network:
    """A small part of the range that no interface of this machine is in."""
    interfaces = json.loads(_ip("-json", "-4", "address"))
    taken = {
        ipaddress.ip_interface(f"{one['local']}/{one['prefixlen']}").network
        for interface in interfaces
        for one in interface.get("addr_info", [])
    }
    parts = [net for net in RANGE.subnets(new_prefix=24) if isinstance(net, ipaddress.IPv4Network)]
    return random.choice([net for net in parts if not any(net.overlaps(one) for one in taken)])


def _hardware(host: Host) -> str:
    return f"02:bb:00:00:00:{host.number:02x}"


def _port(host: Host) -> str:
    """The switch's end of the host's wire."""
    return f"port{host.number}"


def _ip(*words: str) -> str:
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise EngineMissing("iproute2 is not installed: apt-get install iproute2") from None
    except subprocess.CalledProcessError as error:
        error.add_note(f"{error.stderr}(network namespaces are for root only)")
        raise
    return done.stdout
