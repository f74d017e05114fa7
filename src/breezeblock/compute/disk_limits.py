"""How fast a guest may use a volume: from the QoS specs of a connection_info to QEMU's limits.

The keys are those that operators know from QoS specs whose consumer is the front-end
(`total_iops_sec`, `read_bytes_sec_max`, `size_iops_sec`, …); other keys are meant for somebody
else. `block_devices` puts the limits into a disk's plan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from breezeblock.compute.hypervisor import HostError

_KEYS = {
    f"{way}_{what}_sec{kind}": f"{name}-{way}{kind.replace('_', '-')}"
    for what, name in (("bytes", "bps"), ("iops", "iops"))
    for way in ("total", "read", "write")
    for kind in ("", "_max", "_max_length")
} | {"size_iops_sec": "iops-size"}
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)


def limits_of(qos_specs: object) -> dict[str, int]:
    """What QEMU is to keep; empty: no limit. HostError, not temporary, for what is no number."""
    if not isinstance(qos_specs, Mapping):
        return {}
    return {name: _number(key, qos_specs[key]) for key, name in _KEYS.items() if key in qos_specs}


def _number(key: str, value: Any) -> int:
    text = str(value).strip()
    if not _NUMBER.fullmatch(text):
        raise HostError(
            f"The volume's QoS specs say {key} = {text[:50]!r}, which is no whole number.",
            remedy="Have the operator mend the QoS specs of the volume's type.",
        )
    return int(text)
