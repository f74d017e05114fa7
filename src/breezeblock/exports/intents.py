"""What an export is meant to be: who may reach the volume, and at which address.

One JSON file a volume, written by `nbd`. It is the truth: the storage daemon, its sockets and its
key file are derived from it and may be rebuilt at any time, by any process.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from breezeblock.exports.files import read_json, write_json

Mode = Literal["rw", "ro"]

FILE = "intent.json"


@dataclass(frozen=True, slots=True)
class Grant:
    """One host's access. `secret` (64 hexadecimal digits) is what only that host is told."""

    mode: Mode
    secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)


@dataclass(frozen=True, slots=True)
class Intent:
    """An export. Without an address it is on unix sockets, otherwise on TCP.

    `generation` goes up with each revocation: a daemon of an older one must not run on, it may
    have a revoked host's connection open.
    """

    address: str = ""
    port: int = 0
    generation: int = 0
    grants: dict[str, Grant] = field(default_factory=dict)

    @property
    def read_only(self) -> bool:
        return all(grant.mode == "ro" for grant in self.grants.values())

    def granting(self, host: str, mode: Mode) -> Intent:
        """With access for the host, too. Access widens only: what was rw stays rw."""
        held = self.grants.get(host)
        if held is None:
            return replace(self, grants={**self.grants, host: Grant(mode)})
        if held.mode == mode or held.mode == "rw":
            return self
        return replace(self, grants={**self.grants, host: replace(held, mode="rw")})

    def revoking(self, *hosts: str) -> Intent:
        """Without these hosts."""
        kept = {host: grant for host, grant in self.grants.items() if host not in hosts}
        if len(kept) == len(self.grants):
            return self
        return replace(self, grants=kept, generation=self.generation + 1)


def load(home: Path) -> Intent | None:
    """The intent of the export whose files are in `home`."""
    told = read_json(home / FILE)
    if told is None:
        return None
    grants = {host: Grant(**grant) for host, grant in told.pop("grants").items()}
    return Intent(**told, grants=grants)


def save(home: Path, intent: Intent) -> None:
    """Write it down; from here on it will come true."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    grants = {
        host: {"mode": grant.mode, "secret": grant.secret} for host, grant in intent.grants.items()
    }
    told = {
        "address": intent.address,
        "port": intent.port,
        "generation": intent.generation,
        "grants": grants,
    }
    write_json(home / FILE, told)
