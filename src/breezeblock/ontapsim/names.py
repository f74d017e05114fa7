"""What things may be called, and how large: pure rules over text and numbers."""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass
from fractions import Fraction

from breezeblock.ontapsim.errors import ApiError

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
SECTOR = 512
SMALLEST_LUN = 4 * KIB
LARGEST_LUN = 128 * TIB

LUN_OS_TYPES = [
    "aix",
    "hpux",
    "hyper_v",
    "linux",
    "netware",
    "openvms",
    "solaris",
    "solaris_efi",
    "vmware",
    "windows",
    "windows_2008",
    "windows_gpt",
    "xen",
]
IGROUP_OS_TYPES = [
    "aix",
    "hpux",
    "hyper_v",
    "linux",
    "netware",
    "openvms",
    "solaris",
    "vmware",
    "windows",
    "xen",
]
PROTOCOLS = ("fcp", "iscsi", "mixed")

_UNITS = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB, "p": 1 << 50}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_LUN_NAME = re.compile(r"[A-Za-z0-9._{}-]+")
_IQN = re.compile(r"iqn\.\d{4}-\d{2}\.[^\s,]+|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16,32}")
_WWPN = re.compile(r"([0-9A-Fa-f]{2}:){7}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{16}")
_OBJECT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_LUN_PATH = 255
_LONGEST_OBJECT = 203
_LONGEST_IGROUP = 96
_LONGEST_COMMENT = 254
_SERIAL = string.ascii_letters + string.digits + "+-/"


@dataclass(frozen=True, slots=True)
class LunPath:
    """`/vol/VOLUME/LUN`, or `/vol/VOLUME/.snapshot/SNAPSHOT/LUN`."""

    volume: str
    lun: str
    snapshot: str = ""


def size(text: str) -> int | None:
    """Bytes: 1073741824, "1073741824", "1G", "1GB", "1.5T"; None if it is no size."""
    match = _SIZE.fullmatch(text.strip())
    return int(Fraction(match[1]) * _UNITS[match[2].lower()]) if match else None


def lun_path(text: str, target: str = "name") -> LunPath:
    """Take a LUN's path apart. A qtree is no part of it: the simulator has none."""
    parts = text.split("/")
    if len(parts) < 4 or parts[:2] != ["", "vol"] or not all(parts[2:]):
        raise ApiError(400, "5374862", f'"{text}" is not a LUN path: /vol/VOLUME/LUN.', target)
    volume, *rest = parts[2:]
    snapshot = ""
    if rest[0] == ".snapshot" and len(rest) == 3:
        _, snapshot, *rest = rest
    if len(rest) > 1:
        raise ApiError(404, "5242950", f'Qtree "{rest[0]}" does not exist.', target)
    lun_name(rest[0], target)
    if len(text) > _LONGEST_LUN_PATH:
        raise ApiError(400, "5374352", f"LUN path is longer than {_LONGEST_LUN_PATH}.", target)
    return LunPath(volume, rest[0], snapshot)


def lun_name(text: str, target: str) -> str:
    if not _LUN_NAME.fullmatch(text) or text in (".", ".."):
        reason = "allowed are letters, digits and - . _ { }"
        raise ApiError(400, "5374121", f'"{text}" is not a LUN name: {reason}.', target)
    return text


def lun_size(count: int, target: str = "space.size") -> int:
    """A size ONTAP would take, rounded up to whole sectors."""
    if count < SMALLEST_LUN:
        raise ApiError(400, "5374124", f"A LUN has {SMALLEST_LUN} bytes at least.", target)
    if count > LARGEST_LUN:
        raise ApiError(400, "5374125", f"A LUN has {LARGEST_LUN} bytes at most.", target)
    return -(-count // SECTOR) * SECTOR


def object_name(text: str, target: str = "name") -> str:
    """FlexVols and the like: letters, digits and underscores."""
    if not _OBJECT.fullmatch(text) or len(text) > _LONGEST_OBJECT:
        raise ApiError(400, "917525", f'"{text}" is not a valid name.', target)
    return text


def plain_name(text: str, target: str = "name", longest: int = 255) -> str:
    """Snapshots, policies, groups: whatever is not a path."""
    if not text or len(text) > longest or "/" in text or text != text.strip():
        raise ApiError(400, "262197", f'"{text}" is not a valid name.', target)
    return text


def igroup_name(text: str) -> str:
    if not 0 < len(text) <= _LONGEST_IGROUP or re.search(r"[\s/:,]", text):
        text = f"An initiator group's name has 1 to {_LONGEST_IGROUP} characters, no blanks."
        raise ApiError(400, "5374027", text, "name")
    return text


def comment(text: str) -> str:
    if len(text) > _LONGEST_COMMENT:
        text = f"A comment has {_LONGEST_COMMENT} characters at most."
        raise ApiError(400, "5374119", text, "comment")
    return text


def initiator(text: str, protocol: str) -> str:
    """An IQN, EUI or WWPN, as the igroup's protocol allows."""
    forms = {"iscsi": (_IQN,), "fcp": (_WWPN,), "mixed": (_IQN, _WWPN)}[protocol]
    if not any(form.fullmatch(text) for form in forms):
        raise ApiError(400, "5374039", f'"{text}" is not an initiator.', "initiators.name")
    return text


def new_serial() -> str:
    """A LUN's serial number: 12 characters."""
    return "".join(secrets.choice(_SERIAL) for _ in range(12))
