"""Which way leads to a LUN, and is it the LUN that is meant? Asked before QEMU depends on it.

QEMU logs in with the whole guest standing still, so it is only sent where somebody else has just
logged in: `iscsi-inq`, which also tells the LUN's identity. A portal that is down costs a moment,
however many there are; a login that is refused through one portal is tried through the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from breezeblock.compute.hypervisor import HostError
from breezeblock.compute.transports.base import Data, Json, required
from breezeblock.compute.transports.iscsi import address, credentials, iscsi_name, lun_number

CONNECT_PATIENCE = 2.0
"""Seconds in which a portal must take a connection."""
LOGIN_PATIENCE = 8.0
"""Seconds for a login and a question."""
_INQUIRY = "iscsi-inq"
_UNIT_SERIAL, _DEVICE_IDENTIFICATION = 0x80, 0x83
_SERIAL = re.compile(rb"Unit Serial Number:\[(.*?)\]\n", re.DOTALL)
_NAA = re.compile(
    rb"Designator Type:\(3\) NAA\nDesignator:\[(.*?)\]\n(?=DEVICE DESIGNATOR|\Z)", re.DOTALL
)
_AUTHENTICATION, _AUTHORIZATION, _NO_TARGET = "(513)", "(514)", "(515)"  # RFC 7143, 11.13.5


@dataclass(frozen=True, slots=True)
class Path:
    """One way to a LUN."""

    host: str
    port: str
    target: str
    lun: int

    @property
    def portal(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: this host's name, and what it proves it with."""

    initiator: str
    chap: tuple[str, str] | None = field(repr=False)


class _LoginRefused(Exception):
    """Through this path the LUN did not answer."""


async def settled(data: Data, initiator: str | None) -> Json:
    """The data with the path that is to be used; HostError when none leads to the right LUN."""
    caller = Caller(iscsi_name(initiator or ""), credentials(data))
    paths = paths_of(data)
    open_ = await asyncio.gather(*map(_takes_connections, paths))
    complaints = [f"{path.portal} is down" for path, up in zip(paths, open_, strict=True) if not up]
    for path in (path for path, up in zip(paths, open_, strict=True) if up):
        try:
            await _check_identity(path, caller, data)
        except _LoginRefused as refusal:
            complaints.append(f"{path.portal}: {refusal}")
            continue
        return {
            **data,
            "target_portal": path.portal,
            "target_iqn": path.target,
            "target_lun": path.lun,
        }
    raise _no_path(complaints, caller)


def paths_of(data: Data) -> tuple[Path, ...]:
    """All ways that the storage names, in its order, each once."""
    portals = data.get("target_portals") or [required(data, "iscsi", "target_portal")]
    targets = data.get("target_iqns") or [required(data, "iscsi", "target_iqn")] * len(portals)
    luns = data.get("target_luns") or [required(data, "iscsi", "target_lun")] * len(portals)
    if not len(portals) == len(targets) == len(luns):
        raise HostError("The connection_info's target_portals, target_iqns and target_luns differ.")
    found = (
        Path(*address(portal), iscsi_name(target), lun_number(lun))
        for portal, target, lun in zip(portals, targets, luns, strict=True)
    )
    return tuple(dict.fromkeys(found))


async def _takes_connections(path: Path) -> bool:
    try:
        async with asyncio.timeout(CONNECT_PATIENCE):
            _, writer = await asyncio.open_connection(path.host.strip("[]"), int(path.port))
    except (OSError, OverflowError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _check_identity(path: Path, caller: Caller, data: Data) -> None:
    """Log in, and compare the LUN with the one that is meant, as far as the storage named it.

    The serial goes before the NAA: where both are known one is made of the other.
    """
    if data.get("lun_serial"):
        said = await _inquire(path, caller, _UNIT_SERIAL)
        _same("serial", str(data["lun_serial"]), serials_in(said), path)
    elif data.get("wwn"):
        said = await _inquire(path, caller, _DEVICE_IDENTIFICATION)
        _same("NAA", normal_naa(str(data["wwn"])), naas_in(said), path)
    else:
        await _inquire(path, caller, None)


def _same(what: str, expected: str, found: Sequence[str], path: Path) -> None:
    if expected not in found:
        shown = " and ".join(found) or "none"
        raise HostError(
            f"LUN {path.lun} of {path.target} at {path.portal} has {what} {shown}, "
            f"{expected} is expected: it is another volume's.",
            remedy="The array's LUN maps have changed meanwhile: detach, and attach again.",
        )


def serials_in(said: bytes) -> list[str]:
    """The unit serial that iscsi-inq printed; arrays pad it with blanks."""
    return [one.decode(errors="replace").strip() for one in _SERIAL.findall(said)]


def naas_in(said: bytes) -> list[str]:
    """The NAA identifiers that iscsi-inq printed, which it does byte by byte, in hexadecimal."""
    return [one.hex() for one in _NAA.findall(said)]


def normal_naa(wwn: str) -> str:
    """As `naas_in` shows it: iscsi-inq ends at a byte that is zero."""
    digits = wwn.lower().removeprefix("naa.").removeprefix("0x")
    try:
        return bytes.fromhex(digits).partition(b"\0")[0].hex()
    except ValueError:
        raise HostError(f"{wwn[:50]!r} is no NAA identifier.") from None


async def _inquire(path: Path, caller: Caller, page: int | None) -> bytes:
    """What the LUN says of itself. The secret goes by the environment, which only we can read."""
    arguments = ["-i", caller.initiator]
    if page is not None:
        arguments += ["-e", "1", "-c", str(page)]
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    if caller.chap is not None:
        user, password = caller.chap
        environment |= {"LIBISCSI_CHAP_USERNAME": user, "LIBISCSI_CHAP_PASSWORD": password}
    url = f"iscsi://{path.portal}/{path.target}/{path.lun}"
    try:
        asked = await asyncio.create_subprocess_exec(
            *(_INQUIRY, *arguments, url),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise HostError(
            f"This host has no {_INQUIRY}, which asks a LUN who it is.",
            remedy="Install libiscsi-bin on the compute host.",
        ) from None
    try:
        async with asyncio.timeout(LOGIN_PATIENCE):
            said, complaint = await asked.communicate()
    except TimeoutError:
        raise _LoginRefused(f"no answer within {LOGIN_PATIENCE:.0f} s") from None
    finally:
        if asked.returncode is None:
            asked.kill()
            await asked.wait()
    if asked.returncode:
        raise _LoginRefused(complaint.decode(errors="replace").strip() or "no answer")
    return said


def _no_path(complaints: Sequence[str], caller: Caller) -> HostError:
    said = "; ".join(complaints)
    remedy = "See that the array's portals are up and reachable from this host."
    if _AUTHENTICATION in said:
        remedy = f"The CHAP user or secret that the array has for {caller.initiator} is another."
    elif _AUTHORIZATION in said or _NO_TARGET in said:
        remedy = f"The array must let {caller.initiator} in (its igroup, its LUN map)."
    return HostError(
        f"No path leads to the LUN: {said}.", remedy=remedy, temporary=_AUTHENTICATION not in said
    )
