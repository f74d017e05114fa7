"""Microversions: the numbers, and how a request and a service agree on one.

The web application calls `negotiate` for each request. The rules differ by service: the block
storage API takes the first element of the header that contains its name, the compute API takes
the element that is its name and honours an older header of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

HEADER = "OpenStack-API-Version"
_NUMBER = re.compile(r"([1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})", re.ASCII)

_LONG_HEADER = 200  # not worth remembering


class Version(NamedTuple):
    """An API version such as 3.27. Compares as numbers do: 3.9 is before 3.10."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """Raises ValueError when the text is not of the form `3.27`."""
        match = _NUMBER.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a version such as 3.27")
        return cls(int(match[1]), int(match[2]))


class VersionMalformed(Exception):
    """The header cannot be understood; the reply is 400 and carries no version headers."""


class VersionOutOfRange(Exception):
    """The version is not served; the reply is 406 and names the range."""

    def __init__(self, message: str, wanted: Version) -> None:
        super().__init__(message)
        self.wanted = wanted


class Negotiation(NamedTuple):
    """How one service reads and answers the version headers."""

    name: str
    minimum: Version
    maximum: Version
    legacy_header: str | None = None
    by_substring: bool = False

    def reply_headers(self, version: Version) -> dict[str, str]:
        """The headers that tell the client which version served it."""
        headers = {HEADER: f"{self.name} {version}", "Vary": HEADER}
        if self.legacy_header:
            headers[self.legacy_header] = str(version)
            headers["Vary"] = f"{HEADER}, {self.legacy_header}"
        return headers

    def choose(self, headers: Mapping[str, str]) -> Version:
        """The version to serve; raises VersionMalformed or VersionOutOfRange."""
        header = headers.get("openstack-api-version", "")
        legacy = headers.get(self.legacy_header.lower(), "") if self.legacy_header else ""
        if len(header) + len(legacy) > _LONG_HEADER:
            return _choose.__wrapped__(self, header, legacy)
        return _choose(self, header, legacy)


@lru_cache(maxsize=256)
def _choose(rules: Negotiation, header: str, legacy: str) -> Version:
    wanted = _wanted(rules, header) or legacy.strip()
    if not wanted:
        return rules.minimum
    if wanted == "latest":
        return rules.maximum
    try:
        version = Version.parse(wanted)
    except ValueError:
        raise VersionMalformed(
            f"API Version String {wanted[:100]} is of invalid format. Must be of format "
            "MajorNum.MinorNum."
        ) from None
    if not rules.minimum <= version <= rules.maximum:
        raise VersionOutOfRange(
            f"Version {version} is not supported by the API. Minimum is {rules.minimum} and "
            f"maximum is {rules.maximum}.",
            version,
        )
    return version


def _wanted(rules: Negotiation, header: str) -> str:
    """The number asked for in the header, "" when it asks for none."""
    if not header.strip():
        return ""
    for element in header.split(","):
        service, _, number = element.strip().partition(" ")
        if service == rules.name or (rules.by_substring and rules.name in service):
            return number.strip() or _refuse(rules, header)
    return _refuse(rules, header) if rules.by_substring else ""


def _refuse(rules: Negotiation, header: str) -> str:
    raise VersionMalformed(
        f"The header {HEADER} ({header[:100]!r}) asks for no version of the service {rules.name}."
    )
