"""The route table: the one place that says what the API answers to.

Each resource file of an API declares its routes; the application gathers them in a `Table`. The
table drives routing, validation of bodies, the first policy check, the OpenAPI document and the
coverage listing, so none of them can disagree with another.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from breezeblock.web.microversion import Version

if TYPE_CHECKING:
    from breezeblock.web.call import Call

Handler = Callable[["Call[Any]"], Awaitable[Any]]
Body = Any
"""A msgspec type, or a function from the request's Version to one."""

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_FOREVER = Version(9999, 0)


class BadTable(Exception):
    """Two routes claim the same request, or a route contradicts itself: a programming error."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One thing a client can do.

    `path` begins behind the prefix and the project: `/volumes/{volume_id}/action`. An `action` is
    the single key of the JSON body, and `body` then describes the value under that key; otherwise
    `body` describes the whole document. With no `body` a JSON document is accepted and not looked
    at. `since` and `until` are the first and last version that know the route (None: no bound).
    `query` names the query parameters it understands, for the document; handlers do the parsing.
    `answer` is the msgspec type of a success's document, and `faults` are the statuses of failures
    beside those that any route may have: both for the document, too. With `secret` a success's
    document tells one (a password, a key): what is kept of it for an Idempotency-Key is sealed.
    `policy` is the rule checked before the handler with the caller's own project as the target;
    a handler that must look at the resource first leaves it out and calls `call.require`.
    """

    method: str
    path: str
    handler: Handler
    _: KW_ONLY
    action: str | None = None
    since: str | None = None
    until: str | None = None
    body: Body = None
    query: Collection[str] | None = None
    policy: str | None = None
    success: int = 200
    answer: Any = None
    faults: tuple[int, ...] = ()
    secret: bool = False
    summary: str = ""
    tags: tuple[str, ...] = ()

    def body_type(self, version: Version) -> Any:
        """The msgspec type of the body at this version, or None."""
        return self.body(version) if inspect.isfunction(self.body) else self.body

    def describe(self) -> str:
        action = f" ({self.action})" if self.action else ""
        return f"{self.method} {self.path}{action}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A route with its version range as numbers."""

    route: Route
    since: Version
    until: Version

    def serves(self, version: Version) -> bool:
        return self.since <= version <= self.until


Candidates = Mapping[str | None, tuple[Entry, ...]]
"""What is behind one method and path: by action (None: no action), in order of version."""


class Place(NamedTuple):
    """A path of the table, `/volumes/{volume_id}`, and what is behind it by method."""

    path: str
    methods: Mapping[str, Candidates]


class Paths:
    """The paths of a table as a tree of their segments. A literal segment wins over a field."""

    def __init__(self) -> None:
        self._literals: dict[str, Paths] = {}
        self._other: Paths | None = None
        self._field = ""
        self._place: Place | None = None

    def add(self, place: Place) -> None:
        """Raises BadTable when a field has another name than in the paths before."""
        here = self
        for segment in place.path.split("/")[1:]:
            if not segment.startswith("{"):
                here = here._literals.setdefault(segment, Paths())
                continue
            name = segment[1:-1]
            if here._other is None:
                here._other, here._field = Paths(), name
            elif here._field != name:
                raise BadTable(f"{place.path}: another path has {{{here._field}}} here")
            here = here._other
        here._place = place

    def find(self, segments: Sequence[str]) -> tuple[Place, dict[str, str]] | None:
        """Where these segments of a path lead to, and the values of the fields on the way."""
        if not segments:
            return (self._place, {}) if self._place else None
        first, rest = segments[0], segments[1:]
        ahead = self._literals.get(first)
        found = ahead.find(rest) if ahead else None
        if found is None and self._other is not None:
            found = self._other.find(rest)
            if found is not None:
                found[1][self._field] = first
        return found


class Table:
    """All routes of a service, checked. Raises BadTable for what can never work."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes: tuple[Route, ...] = tuple(routes)
        gathered: dict[str, dict[str, dict[str | None, list[Entry]]]] = defaultdict(dict)
        for route in self.routes:
            entry = _entry(route)
            candidates = gathered[route.path].setdefault(route.method, {})
            same_key = candidates.setdefault(route.action, [])
            _refuse_overlap(entry, same_key)
            same_key.append(entry)
        for path, methods in gathered.items():
            for method, candidates in methods.items():
                if len(candidates) > 1 and None in candidates:
                    raise BadTable(f"{method} {path} has routes with an action and without one")
        self.paths: Mapping[str, Mapping[str, Candidates]] = MappingProxyType(
            {
                path: {
                    method: {
                        action: tuple(sorted(entries, key=lambda entry: entry.since))
                        for action, entries in candidates.items()
                    }
                    for method, candidates in methods.items()
                }
                for path, methods in gathered.items()
            }
        )
        self.collections: frozenset[str] = frozenset(path.split("/")[1] for path in self.paths)
        self.tree = Paths()
        for path, methods_there in self.paths.items():
            self.tree.add(Place(path, methods_there))

    def __iter__(self) -> Iterator[Route]:
        return iter(self.routes)

    def __len__(self) -> int:
        return len(self.routes)


def _entry(route: Route) -> Entry:
    if route.method not in METHODS:
        raise BadTable(f"{route.describe()}: unknown method")
    if (
        not route.path.startswith("/")
        or route.path.endswith("/")
        or "{" in route.path.split("/")[1]
    ):
        raise BadTable(f"{route.describe()}: a path is /collection[/…], without a slash at its end")
    if route.action is not None and route.method != "POST":
        raise BadTable(f"{route.describe()}: an action is a POST")
    since = Version.parse(route.since) if route.since else Version(0, 0)
    until = Version.parse(route.until) if route.until else _FOREVER
    if since > until:
        raise BadTable(f"{route.describe()}: ends at {until} before it begins at {since}")
    return Entry(route, since, until)


def _refuse_overlap(entry: Entry, others: Iterable[Entry]) -> None:
    for other in others:
        if entry.since <= other.until and other.since <= entry.until:
            raise BadTable(f"{entry.route.describe()} is declared twice for the same versions")
