"""What a type's QoS asks of the array: pure rules from QoS specs to the settings of a policy group.

Keys are those that operators know (upper and lower case are the same):

    maxIOPS, maxIOPSperGiB, maxBPS, maxBPSperGiB    at most one of the four
    minIOPS, minIOPSperGiB                          at most one; all-flash nodes keep them
    expectedIOPSperGiB, peakIOPSperGiB              both or none: an adaptive policy group, with
    expectedIOPSAllocation, peakIOPSAllocation      `used-space` or `allocated-space`
    absoluteMinIOPS, blockSize                      blockSize: ANY, 4K … 128K

An adaptive group follows the LUN's size by itself; the settings of the others are computed from it
again when the volume grows. Keys that are meant for hypervisors are not looked at. Alternatively
two extra specs name a policy group that the array's administrator made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from breezeblock.drivers.base import PermanentError

GROUP = "netapp:qos_policy_group"
GROUP_IS_ADAPTIVE = "netapp:qos_policy_group_is_adaptive"
BLOCK_SIZES = ("any", "4k", "8k", "16k", "32k", "64k", "128k")
MIB = 1 << 20
GIB_IN_TIB = 1024
LARGEST = 2**31 - 1

_ADAPTIVE_KEYS = (
    "expectedIOPSperGiB",
    "peakIOPSperGiB",
    "expectedIOPSAllocation",
    "peakIOPSAllocation",
    "absoluteMinIOPS",
    "blockSize",
)
_OURS = re.compile("(max|min|expected|peak|absolute)|blocksize$", re.IGNORECASE)

Kind = Literal["fixed", "adaptive"]


@dataclass(frozen=True, slots=True)
class Limits:
    """A policy group of the volume's own: its kind, and its settings as the array names them."""

    kind: Kind
    settings: Mapping[str, int | str]

    @property
    def body(self) -> dict[str, int | str]:
        return {f"{self.kind}.{key}": value for key, value in self.settings.items()}

    def held_by(self, record: Mapping[str, object]) -> bool:
        """Whether a policy group, as the array shows it, has these settings."""
        shown = record.get(self.kind)
        if not isinstance(shown, dict):
            return False
        return all(shown.get(key, _UNSET) == value for key, value in self.settings.items())


@dataclass(frozen=True, slots=True)
class Shared:
    """A policy group of the administrator's that the type names."""

    name: str
    kind: Kind


_UNSET = 0
"""What the array leaves out when it shows a limit that there is not."""


def wanted(
    extra_specs: Mapping[str, str], qos: Mapping[str, str], size: int
) -> Limits | Shared | None:
    """What these ask for a volume of so many GiB. Raises PermanentError that names the key."""
    limits = _limits(qos, size)
    name = extra_specs.get(GROUP)
    if name is None:
        if GROUP_IS_ADAPTIVE in extra_specs:
            raise _wrong(GROUP_IS_ADAPTIVE, f"says nothing without {GROUP}")
        return limits
    if not name.strip():
        raise _wrong(GROUP, "names no policy group")
    if limits is not None:
        raise _wrong(GROUP, "and limits in QoS specs exclude each other")
    return Shared(name.strip(), "adaptive" if _is_adaptive(extra_specs) else "fixed")


def _limits(qos: Mapping[str, str], size: int) -> Limits | None:
    given = _known(qos)
    if not given:
        return None
    adaptive = [key for key in given if key in _ADAPTIVE_KEYS]
    if not adaptive:
        return _fixed(given, size)
    for key in given:
        if key not in adaptive:
            raise _wrong(key, f"and {adaptive[0]} exclude each other")
    return _adaptive(given)


def _known(qos: Mapping[str, str]) -> dict[str, str]:
    """The specs that are for us, by the names that this file has for them."""
    names = {name.lower(): name for name in (*_CEILINGS, *_FLOORS, *_ADAPTIVE_KEYS)}
    for key in qos:
        if _OURS.match(key) and key.lower() not in names:
            raise _wrong(key, f"is unknown; known: {', '.join(sorted(names.values()))}")
    return {names[key.lower()]: value for key, value in qos.items() if key.lower() in names}


def _fixed(given: Mapping[str, str], size: int) -> Limits:
    """All three settings, so that a change takes away what is not asked any more (0: no limit)."""
    settings = {"max_throughput_iops": 0, "max_throughput_mbps": 0, "min_throughput_iops": 0}
    for rules in (_CEILINGS, _FLOORS):
        found = [key for key in rules if key in given]
        if len(found) > 1:
            raise _wrong(found[0], f"and {found[1]} exclude each other")
        for key in found:
            setting, value = rules[key](_number(key, given[key]), size)
            settings[setting] = value
    most = settings["max_throughput_iops"]
    if most and settings["min_throughput_iops"] > most:
        key = next(key for key in _FLOORS if key in given)
        raise _wrong(key, "asks more than the maximum allows")
    return Limits("fixed", settings)


def _adaptive(given: Mapping[str, str]) -> Limits:
    settings: dict[str, int | str] = {}
    for key, setting in (
        ("expectedIOPSperGiB", "expected_iops"),
        ("peakIOPSperGiB", "peak_iops"),
    ):
        if key not in given:
            raise _wrong(key, "is missing: an adaptive policy group needs expected and peak IOPS")
        settings[setting] = _number(key, given[key]) * GIB_IN_TIB  # the array counts by TiB
    if int(settings["peak_iops"]) < int(settings["expected_iops"]):
        raise _wrong("peakIOPSperGiB", "is less than expectedIOPSperGiB")
    for key, setting in (
        ("expectedIOPSAllocation", "expected_iops_allocation"),
        ("peakIOPSAllocation", "peak_iops_allocation"),
    ):
        if key in given:
            word = _one_of(key, given[key], ("used-space", "allocated-space"))
            settings[setting] = word.replace("-", "_")
    if "absoluteMinIOPS" in given:
        settings["absolute_min_iops"] = _number("absoluteMinIOPS", given["absoluteMinIOPS"])
    if "blockSize" in given:
        settings["block_size"] = _one_of("blockSize", given["blockSize"], BLOCK_SIZES)
    return Limits("adaptive", settings)


Rule = Callable[[int, int], tuple[str, int]]
"""A number and the volume's GiB → the array's setting and its value."""

_CEILINGS: Mapping[str, Rule] = {
    "maxIOPS": lambda number, _size: ("max_throughput_iops", number),
    "maxIOPSperGiB": lambda number, size: ("max_throughput_iops", number * size),
    "maxBPS": lambda number, _size: ("max_throughput_mbps", _megabytes(number)),
    "maxBPSperGiB": lambda number, size: ("max_throughput_mbps", _megabytes(number * size)),
}
_FLOORS: Mapping[str, Rule] = {
    "minIOPS": lambda number, _size: ("min_throughput_iops", number),
    "minIOPSperGiB": lambda number, size: ("min_throughput_iops", number * size),
}


def _megabytes(count: int) -> int:
    """The array knows whole megabytes; a limit is never below what was asked."""
    return -(-count // MIB)


def _number(key: str, text: str) -> int:
    word = text.strip()
    if not re.fullmatch(r"[0-9]{1,15}", word) or not 0 < int(word) <= LARGEST * MIB:
        raise _wrong(key, f"must be a whole number above 0, not {text[:40]!r}")
    return int(word)


def _one_of(key: str, text: str, words: tuple[str, ...]) -> str:
    word = text.strip().lower()
    if word not in words:
        raise _wrong(key, f"must be one of {', '.join(words)}, not {text[:40]!r}")
    return word


def _is_adaptive(extra_specs: Mapping[str, str]) -> bool:
    """The value as capabilities spell booleans, too: `<is> True`."""
    text = extra_specs.get(GROUP_IS_ADAPTIVE, "false")
    word = text.removeprefix("<is>").strip().lower()
    if word not in ("true", "false"):
        raise _wrong(GROUP_IS_ADAPTIVE, f"must be <is> True or <is> False, not {text[:40]!r}")
    return word == "true"


def _wrong(key: str, why: str) -> PermanentError:
    return PermanentError(
        f"The volume type's {key} {why}.", remedy="Correct the type's extra specs or QoS specs."
    )
