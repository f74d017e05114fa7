"""Who calls in the conformance suites, by HTTP basic authentication in both systems."""

from __future__ import annotations

import base64
from dataclasses import dataclass

PROJECT = "0c1d2e3f405162738495a6b7c8d9eaf0"
OTHER_PROJECT = "1c1d2e3f405162738495a6b7c8d9eaf1"
PASSWORD = "conformance"


@dataclass(frozen=True)
class Person:
    """A user, his project, and the roles that he has there."""

    name: str
    project: str
    roles: tuple[str, ...]

    @property
    def authorization(self) -> str:
        """The value of his Authorization header."""
        return "Basic " + base64.b64encode(f"{self.name}:{PASSWORD}".encode()).decode()


PEOPLE = {
    person.name: person
    for person in (
        Person("admin", PROJECT, ("admin", "member", "reader")),
        Person("member", PROJECT, ("member", "reader")),
        Person("reader", PROJECT, ("reader",)),
        Person("other", OTHER_PROJECT, ("member", "reader")),
        # The compute service: what a server uses, only it may take away.
        Person("compute", PROJECT, ("admin", "member", "reader", "service")),
    )
}
