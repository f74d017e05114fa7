"""What a host says of itself when it wants a volume, and what it is told.

Shared by the attachments and by the older volume actions, which differ in the form of the answer
(shared facts, connection_info.md 2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from breezeblock.model.errors import InvalidInput, shortened

LONGEST_TEXT = 255
"""Characters of a text in a connector: names of hosts, initiators, ports."""
MOST = 16_384
"""Bytes of a connector as JSON; a host with many ports has some hundreds."""
BESIDE_DATA = ("driver_volume_type", "attachment_id")


def checked_connector(connector: Any) -> dict[str, Any]:
    """The connector, whose `host` work on exports is ordered by. Raises InvalidInput."""
    if not isinstance(connector, dict):
        raise InvalidInput("connector: it must be an object that describes the host.")
    host = connector.get("host")
    if not isinstance(host, str) or not 1 <= len(host) <= LONGEST_TEXT:
        raise InvalidInput("connector.host: the host's name is needed, as text.")
    if connector.get("mode") not in (None, "rw", "ro"):
        raise InvalidInput("connector.mode: it must be rw or ro.")
    mountpoint = connector.get("mountpoint")
    if mountpoint is not None and not isinstance(mountpoint, str):
        raise InvalidInput("connector.mountpoint: it must be text.")
    ip = connector.get("ip")
    if ip is not None and not isinstance(ip, str):
        raise InvalidInput("connector.ip: it must be the host's address, as text.")
    for name, value in connector.items():
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, str) and len(one) > LONGEST_TEXT:
                raise InvalidInput(
                    f"connector.{shortened(name)}: a text has up to {LONGEST_TEXT} characters."
                )
    if len(msgspec.json.encode(connector)) > MOST:
        raise InvalidInput(f"connector: it has up to {MOST} bytes.")
    return connector


def nested(flat: dict[str, Any], top_level: Iterable[str]) -> dict[str, Any]:
    """The older form: the driver's keys under `data`, except those that it wants beside it."""
    above = {key: flat[key] for key in top_level if key in flat}
    hidden = {*BESIDE_DATA, *above}
    return {
        "driver_volume_type": flat["driver_volume_type"],
        "data": {key: value for key, value in flat.items() if key not in hidden},
        **above,
        "enforce_multipath": flat["enforce_multipath"],
    }
