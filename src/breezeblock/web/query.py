"""List queries: paging, sorting and filters, from the query string to one plain object.

A resource file declares a `Listing` once; its list handlers call `parse_list(call, LISTING)` and
hand the `ListQuery` to the store, then `page(…)` to make the body. The rules are those of
shared/api/query.md; what they refuse is a 400 whose message names the parameter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlencode

from breezeblock.model.errors import InvalidInput, shortened
from breezeblock.model.listing import Comparison, Direction, ListQuery
from breezeblock.web.call import Call
from breezeblock.web.microversion import Version
from breezeblock.web.types import MAX_INT
from breezeblock.web.values import (
    NO_MATCH,
    TRUE,
    Column,
    parse_bool,
    parse_number,
    read_comparisons,
    read_filter,
    version_of,
)

__all__ = [
    "RESERVED",
    "Column",
    "ListQuery",
    "Listing",
    "next_link",
    "page",
    "parse_bool",
    "parse_limit",
    "parse_list",
    "parse_offset",
]

RESERVED = frozenset({"limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants"})


@dataclass(frozen=True)
class Listing:
    """What lists of one resource understand.

    `columns` are all filterable columns by their name in the query; `public` are the names that
    callers who are no administrators may use (`name~` allows the like-filter). `sortable` maps
    names in the query to the version that first sorts by them. `ignored` are words of the query
    that are no filters here. `all_tenants`: "strict" wants a boolean text, "lenient" takes any
    other text for false, "presence" counts the mere key, "no" ignores it. `binds_admins` holds
    administrators to `public` too, from `strict_since` on. `for_everybody`: all callers may use any
    column, and a name that is none finds nothing, as it is for administrators elsewhere.
    """

    resource: str
    collection: str
    columns: Mapping[str, Column]
    public: Collection[str]
    sortable: Mapping[str, str]
    links_key: str | None = None
    with_count_since: str | None = None
    like_since: str | None = "3.34"
    strict_since: str = "3.31"
    all_tenants: Literal["strict", "lenient", "presence", "no"] = "no"
    ignored: Collection[str] = ()
    binds_admins: bool = False
    for_everybody: bool = False
    default_sort: tuple[str, Direction] = ("created_at", "desc")

    def names(self) -> tuple[str, ...]:
        """All query parameters, for the OpenAPI document."""
        return (*sorted(RESERVED - {"all_tenants"}), *sorted(self.columns))


def parse_list(call: Call[Any], listing: Listing) -> ListQuery:
    """The list query of a call. Raises InvalidInput by the rules of query.md."""
    query = call.query
    limit = parse_limit(call)
    offset = parse_offset(query)
    reader = _Filters(call, listing)
    reader.read()
    return ListQuery(
        limit=limit,
        marker=query.get("marker"),
        offset=offset,
        sort=_sort(query, listing, call.version),
        filters=MappingProxyType(reader.filters),
        like=MappingProxyType(reader.like),
        times=MappingProxyType(reader.times),
        all_tenants=_all_tenants(call, listing),
        with_count=reader.with_count,
        empty=reader.empty,
    )


def parse_limit(call: Call[Any]) -> int:
    """`limit`, at most the service's maximum, which is also the default."""
    text = call.query.get("limit")
    if text is None:
        return call.service.max_limit
    return min(parse_number("limit", text), call.service.max_limit)


def parse_offset(query: Mapping[str, str]) -> int:
    return parse_number("offset", query.get("offset", "0"), MAX_INT)


def page(
    call: Call[Any],
    listing: Listing,
    query: ListQuery,
    views: Sequence[Any],
    last: str | None,
    total: int | None = None,
) -> dict[str, Any]:
    """The body of a list: the views, the link to the next page if any, the count if asked for.

    `last` is the id of the last view (None when there is none), `total` the number of all matches,
    needed when `query.with_count`.
    """
    body: dict[str, Any] = {listing.collection: views}
    if query.with_count:
        body["count"] = total
    links = next_link(call, query, len(views), last, total if query.with_count else None)
    if links and listing.links_key:
        body[listing.links_key] = links
    return body


def next_link(
    call: Call[Any], query: ListQuery, shown: int, last: str | None, total: int | None = None
) -> list[dict[str, str]]:
    """The array of the link to the next page; empty when this page is the last one."""
    if not shown or last is None or query.limit > (shown if total is None else total):
        return []
    parameters = urlencode({**call.query, "marker": last})
    return [{"rel": "next", "href": f"{call.base_url}{call.path}?{parameters}"}]


class _Filters:
    """Reads the filters of one query into `filters`, `like` and `times`."""

    def __init__(self, call: Call[Any], listing: Listing) -> None:
        self.call = call
        self.listing = listing
        self.admin = call.identity.is_admin
        self.strict = call.version >= version_of(listing.strict_since)
        self.filters: dict[str, Any] = {}
        self.like: dict[str, str] = {}
        self.times: dict[str, tuple[Comparison, ...]] = {}
        self.with_count = False
        self.empty = False

    def read(self) -> None:
        unknown = []
        for name, value in self.call.query.items():
            if name in RESERVED or name in self.listing.ignored:
                continue
            if not name.isascii():
                raise InvalidInput("The names of filters can only hold ASCII characters.")
            if name == "with_count" and self._takes_count(value):
                continue
            if self._is_dropped(name):
                continue
            if self._may_use(name):
                self._take(name, value)
            else:
                unknown.append(name)
        if unknown:
            names = shortened(", ".join(sorted(unknown)), 1000)
            raise InvalidInput(f"Invalid filters {names} are found in query.")

    def _takes_count(self, value: str) -> bool:
        since = self.listing.with_count_since
        if since is None:
            return True
        if not self._knows(since):
            return False
        self.with_count = parse_bool("with_count", value)
        return True

    def _knows(self, since: str | None) -> bool:
        return since is not None and self.call.version >= version_of(since)

    def _is_dropped(self, name: str) -> bool:
        """Before unknown filters were refused, they were dropped, and so were those of later."""
        if self.strict:
            return False
        column = self.listing.columns.get(name)
        if column is not None and self.call.version < column.known_from:
            return True
        return not self._may_use(name)

    def _may_use(self, name: str) -> bool:
        if self.listing.for_everybody:
            return True
        if self.admin and not (self.strict and self.listing.binds_admins):
            return True
        if name.endswith("~"):
            return self._knows(self.listing.like_since) and name in self.listing.public
        return name in self.listing.public or f"{name}~" in self.listing.public

    def _take(self, name: str, value: str) -> None:
        plain = name.removesuffix("~")
        column = self.listing.columns.get(plain)
        is_like = plain != name
        if column is None or (is_like and not self._knows(self.listing.like_since)):
            self.empty = True
        elif is_like:
            self.like[plain] = value
        elif column.kind == "time":
            self.times[name] = read_comparisons(name, value)
        else:
            found = read_filter(name, value, column, self.call.version)
            if found is NO_MATCH:
                self.empty = True
            else:
                self.filters[name] = found


def _sort(
    query: Mapping[str, str], listing: Listing, version: Version
) -> tuple[tuple[str, Direction], ...]:
    pairs = _sort_pairs(query, listing)
    for key, direction in pairs:
        if direction not in ("asc", "desc"):
            raise InvalidInput(
                f"Unknown sort direction {shortened(direction)!r}, must be 'asc' or 'desc'."
            )
        since = listing.sortable.get(key)
        if since is None or version < version_of(since):
            raise InvalidInput(f"{shortened(key)!r} is not a key to sort {listing.collection} by.")
    given = {key for key, _ in pairs}
    rest = [(key, pairs[0][1]) for key in ("created_at", "id") if key not in given]
    return tuple(pairs + rest)


def _sort_pairs(query: Mapping[str, str], listing: Listing) -> list[tuple[str, Any]]:
    default_key, default_direction = listing.default_sort
    if "sort" in query:
        if "sort_key" in query or "sort_dir" in query:
            raise InvalidInput("The sort parameter cannot be used with sort_key or sort_dir.")
        pairs = []
        for part in query["sort"].split(","):
            key, _, direction = part.strip().partition(":")
            pairs.append((key.strip() or default_key, direction.strip() or default_direction))
        return pairs
    key = query.get("sort_key", "").strip() or default_key
    return [(key, query.get("sort_dir", "").strip() or default_direction)]


def _all_tenants(call: Call[Any], listing: Listing) -> bool:
    text = call.query.get("all_tenants")
    if text is None or listing.all_tenants == "no" or not call.identity.is_admin:
        return False
    if listing.all_tenants == "presence":
        return True
    if listing.all_tenants == "lenient":
        return text.strip().lower() in TRUE
    return parse_bool("all_tenants", text)
