"""List queries: every rule of shared/api/query.md that is common to resources."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from breezeblock.auth.identity import Identity
from breezeblock.auth.policy import Policy
from breezeblock.model.errors import InvalidInput
from breezeblock.web.call import Call
from breezeblock.web.microversion import Version
from breezeblock.web.query import Listing, ListQuery, next_link, page, parse_bool, parse_list
from breezeblock.web.service import block_storage
from tests.unit.web.toy import BOXES, PROJECT, ROUTES

MEMBER = Identity.with_roles("alice", PROJECT, {"member"})
ADMIN = Identity.with_roles("root", PROJECT, {"admin"})


def call(
    query: dict[str, str] | None = None, *, version: str = "3.71", who: Identity = MEMBER
) -> Call[Any]:
    return Call(
        app=None,
        service=block_storage(),
        route=ROUTES[1],
        identity=who,
        policy=Policy(),
        version=Version.parse(version),
        params={},
        query=query or {},
        headers={},
        body=None,
        raw=b"",
        path="/v3/boxes",
        base_url="http://cloud",
        url_has_project=False,
        request_id="req-1",
        global_request_id=None,
    )


def parse(
    query: dict[str, str],
    listing: Listing = BOXES,
    *,
    version: str = "3.71",
    who: Identity = MEMBER,
) -> ListQuery:
    return parse_list(call(query, version=version, who=who), listing)


def refused(query: dict[str, str], **options: Any) -> str:
    with pytest.raises(InvalidInput) as error:
        parse(query, **options)
    return str(error.value)


class TestPaging:
    @pytest.mark.parametrize(
        ("text", "limit"), [("0", 0), ("7", 7), ("1000", 1000), ("1001", 1000), ("9" * 18, 1000)]
    )
    def test_the_limit_is_at_most_the_services_maximum(self, text: str, limit: int) -> None:
        assert parse({"limit": text}).limit == limit

    def test_without_limit_the_maximum_counts(self) -> None:
        assert parse({}).limit == 1000

    @pytest.mark.parametrize("text", ["a", "-1", "1.5", "", "٣"])
    def test_other_limits_are_refused(self, text: str) -> None:
        assert "limit" in refused({"limit": text})

    @pytest.mark.parametrize("text", ["a", "-1", "2147483648"])
    def test_the_offset_has_bounds(self, text: str) -> None:
        assert "offset" in refused({"offset": text})

    def test_offset_and_marker_are_taken(self) -> None:
        query = parse({"offset": "2147483647", "marker": "m1"})
        assert (query.offset, query.marker) == (2147483647, "m1")


class TestSorting:
    def test_the_default_is_the_newest_first(self) -> None:
        assert parse({}).sort == (("created_at", "desc"), ("id", "desc"))

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (
                {"sort": "size:asc"},
                (("size", "asc"), ("created_at", "asc"), ("id", "asc")),
            ),
            (
                {"sort": "size,name:asc"},
                (("size", "desc"), ("name", "asc"), ("created_at", "desc"), ("id", "desc")),
            ),
            (
                {"sort_key": "size", "sort_dir": "asc"},
                (("size", "asc"), ("created_at", "asc"), ("id", "asc")),
            ),
            ({"sort_dir": "asc"}, (("created_at", "asc"), ("id", "asc"))),
            ({"sort": "id:asc"}, (("id", "asc"), ("created_at", "asc"))),
        ],
    )
    def test_ties_are_broken_in_the_direction_of_the_first_key(
        self, query: dict[str, str], expected: tuple[tuple[str, str], ...]
    ) -> None:
        assert parse(query).sort == expected

    @pytest.mark.parametrize(
        "query",
        [
            {"sort": "name", "sort_key": "id"},
            {"sort": "name", "sort_dir": "asc"},
            {"sort": "name:up"},
            {"sort": "name:ASC"},
            {"sort_key": "bogus"},
            {"sort": "size,bogus"},
            {"sort": "host"},
        ],
    )
    def test_wrong_sorts_are_refused(self, query: dict[str, str]) -> None:
        refused(query)

    def test_a_key_may_come_with_a_version(self) -> None:
        refused({"sort": "name"}, version="3.29")
        assert parse({"sort": "name"}, version="3.30").sort[0] == ("name", "desc")


class TestWhoMayFilter:
    def test_before_3_31_unknown_filters_are_dropped(self) -> None:
        query = parse({"foo": "bar", "host": "h", "name~": "x", "size": "1"}, version="3.30")
        assert (dict(query.filters), dict(query.like), query.empty) == ({"size": 1}, {}, False)

    def test_from_3_31_on_unknown_filters_are_refused_by_name(self) -> None:
        text = refused({"foo": "1", "host": "h", "size": "1"}, version="3.31")
        assert "foo, host" in text
        assert "size" not in text

    def test_all_tenants_is_never_refused(self) -> None:
        assert parse({"all_tenants": "1"}, version="3.31").all_tenants is False

    def test_administrators_filter_by_any_column(self) -> None:
        assert parse({"host": "h"}, who=ADMIN).filters == {"host": "h"}

    @pytest.mark.parametrize("version", ["3.0", "3.71"])
    def test_an_administrators_filter_that_is_no_column_matches_nothing(self, version: str) -> None:
        query = parse({"foo": "bar"}, who=ADMIN, version=version)
        assert query.empty

    def test_a_listing_may_bind_administrators_too(self) -> None:
        strict = replace(BOXES, binds_admins=True)
        refused({"host": "h"}, listing=strict, who=ADMIN)
        assert parse({"host": "h"}, strict, who=ADMIN, version="3.30").filters == {"host": "h"}

    @pytest.mark.parametrize("who", [MEMBER, ADMIN])
    def test_a_later_filter_is_dropped_below_its_version(self, who: Identity) -> None:
        assert parse({"group_id": "g"}, version="3.9", who=who) == parse({}, version="3.9", who=who)
        assert parse({"group_id": "g"}, version="3.10", who=who).filters == {"group_id": "g"}

    def test_from_3_31_on_single_filters_have_no_version(self) -> None:
        query = parse({"created_at": "gt:2026-01-01T00:00:00"}, version="3.31")
        assert "created_at" in query.times

    def test_ignored_words_are_no_filters(self) -> None:
        assert parse({"cascade": "true"}).filters == {}

    def test_names_of_filters_are_ascii(self) -> None:
        assert "ASCII" in refused({"größe": "1"}, who=ADMIN)


class TestLikeFilters:
    def test_administrators_may_use_them_on_any_column_from_3_34_on(self) -> None:
        assert parse({"host~": "h"}, who=ADMIN).like == {"host": "h"}
        assert parse({"host~": "h"}, who=ADMIN, version="3.33").empty

    def test_others_only_where_the_filter_file_says_so(self) -> None:
        refused({"name~": "x"})
        listing = replace(BOXES, public=("name~",))
        assert parse({"name~": "x"}, listing).like == {"name": "x"}
        assert parse({"name": "x"}, listing).filters == {"name": "x"}
        refused({"name~": "x"}, listing=listing, version="3.33")


class TestValues:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("available", "available"),
            ("1", "1"),
            ("None", None),
            ("['available', 'error']", ("available", "error")),
            ("('a', 1, None)", ("a", "1", None)),
            ("1.5", "1.5"),
            ("[1", "[1"),
            ("__import__('os')", "__import__('os')"),
            ("(" * 5000, "(" * 5000),
            ("9" * 5000, "9" * 5000),
        ],
    )
    def test_a_value_is_read_as_a_literal_where_it_is_one(self, text: str, value: object) -> None:
        assert parse({"status": text}).filters == {"status": value}

    @pytest.mark.parametrize(
        ("text", "value"), [("1", 1), ("-1", -1), ("None", None), ("2147483647", 2147483647)]
    )
    def test_a_whole_number_is_one(self, text: str, value: object) -> None:
        assert parse({"size": text}).filters == {"size": value}

    def test_a_list_of_numbers_keeps_what_is_one(self) -> None:
        assert parse({"size": "[1, 'a', 2.5, 2, True]"}).filters == {"size": (1, 2)}

    @pytest.mark.parametrize("text", ["a", "1.5", "99999999999", "[]", "['a']", "{}", "True"])
    def test_what_is_no_number_matches_nothing(self, text: str) -> None:
        query = parse({"size": text})
        assert (query.empty, query.filters) == (True, {})

    @pytest.mark.parametrize("text", ["'\\x00'", "'\\ud800'"])
    def test_characters_that_no_database_holds_are_refused(self, text: str) -> None:
        refused({"status": text})
        refused({"status": f"['a', {text}]"})
        refused({"metadata": f"{{'k': {text}}}"})

    def test_a_text_is_not_evaluated(self) -> None:
        assert parse({"name": "['a']"}).filters == {"name": "['a']"}

    @pytest.mark.parametrize("text", ["true", "T", "1", "Yes", "on"])
    def test_true_booleans(self, text: str) -> None:
        assert parse({"bootable": text}).filters == {"bootable": True}

    @pytest.mark.parametrize("text", ["false", "F", "0", "No", "off"])
    def test_false_booleans(self, text: str) -> None:
        assert parse({"bootable": text}).filters == {"bootable": False}

    def test_other_booleans_are_refused_from_3_2_on_and_true_before(self) -> None:
        refused({"bootable": "maybe"}, version="3.2")
        assert parse({"bootable": "maybe"}, version="3.1").filters == {"bootable": True}

    def test_metadata_is_a_dict_of_texts(self) -> None:
        query = parse({"metadata": "{'k': 'v', 'n': 1}"})
        assert query.filters == {"metadata": {"k": "v", "n": "1"}}

    @pytest.mark.parametrize("text", ["k=v", "['k']", "{'k'"])
    def test_metadata_that_is_no_dict_matches_nothing(self, text: str) -> None:
        assert parse({"metadata": text}).empty


class TestTimes:
    def test_comparisons_are_kept_in_order(self) -> None:
        query = parse({"created_at": "gt:2026-01-01T00:00:00,lte:2026-02-01"})
        assert query.times["created_at"] == (
            ("gt", datetime(2026, 1, 1)),  # noqa: DTZ001
            ("lte", datetime(2026, 2, 1)),  # noqa: DTZ001
        )

    def test_zones_are_turned_into_utc(self) -> None:
        query = parse({"created_at": "eq:2026-01-01T02:00:00+02:00"})
        assert query.times["created_at"] == (("eq", datetime(2026, 1, 1)),)  # noqa: DTZ001

    @pytest.mark.parametrize(
        "text",
        [
            "2026-01-01",
            "zz:2026-01-01",
            "gt:yesterday",
            "gt:",
            "",
            "gt:2026-01-01,",
            "gt:0001-01-01T00:00:00+23:59",
        ],
    )
    def test_other_texts_are_refused(self, text: str) -> None:
        assert "created_at" in refused({"created_at": text})


class TestAllTenants:
    @pytest.mark.parametrize(
        ("mode", "text", "expected"),
        [
            ("strict", "1", True),
            ("strict", "false", False),
            ("lenient", "true", True),
            ("lenient", "zz", False),
            ("presence", "0", True),
            ("no", "1", False),
        ],
    )
    def test_each_resource_has_its_way(self, mode: Any, text: str, expected: bool) -> None:
        listing = replace(BOXES, all_tenants=mode)
        assert parse({"all_tenants": text}, listing, who=ADMIN).all_tenants is expected
        assert parse({"all_tenants": text}, listing, who=MEMBER).all_tenants is False

    def test_the_strict_way_refuses_nonsense(self) -> None:
        refused({"all_tenants": "zz"}, who=ADMIN)


class TestCount:
    def test_it_is_known_from_its_version_on(self) -> None:
        assert parse({"with_count": "true"}, version="3.45").with_count
        assert not parse({"with_count": "0"}, version="3.45").with_count

    def test_below_it_is_an_unknown_filter(self) -> None:
        refused({"with_count": "true"}, version="3.44")
        assert not parse({"with_count": "true"}, version="3.30").with_count

    def test_nonsense_is_refused(self) -> None:
        refused({"with_count": "maybe"})

    def test_resources_without_it_ignore_it(self) -> None:
        listing = replace(BOXES, with_count_since=None)
        assert not parse({"with_count": "maybe"}, listing).with_count


class TestPages:
    def test_a_full_page_has_a_link_to_the_next(self) -> None:
        asked = call({"limit": "2", "name": "a b", "marker": "old"})
        (link,) = next_link(asked, parse_list(asked, BOXES), shown=2, last="b2")
        url = urlsplit(link["href"])
        assert (link["rel"], url.path) == ("next", "/v3/boxes")
        assert parse_qs(url.query) == {"limit": ["2"], "name": ["a b"], "marker": ["b2"]}

    @pytest.mark.parametrize(("limit", "shown", "last"), [("3", 2, "b2"), ("0", 0, None)])
    def test_a_short_or_empty_page_has_none(self, limit: str, shown: int, last: str | None) -> None:
        asked = call({"limit": limit})
        assert next_link(asked, parse_list(asked, BOXES), shown, last) == []

    def test_with_count_the_total_decides(self) -> None:
        asked = call({"limit": "3", "with_count": "true"})
        body = page(asked, BOXES, parse_list(asked, BOXES), ["v"], "b1", total=4)
        assert (body["count"], len(body["boxes_links"])) == (4, 1)

    def test_the_last_page_has_no_links_key(self) -> None:
        asked = call({"limit": "3"})
        assert page(asked, BOXES, parse_list(asked, BOXES), ["v"], "b1") == {"boxes": ["v"]}

    def test_resources_without_links_have_none(self) -> None:
        asked = call({"limit": "1"})
        listing = replace(BOXES, links_key=None)
        assert page(asked, listing, parse_list(asked, listing), ["v"], "b1") == {"boxes": ["v"]}


def test_a_boolean_is_named_when_refused() -> None:
    assert parse_bool("force", " TRUE ") is True
    with pytest.raises(InvalidInput, match="force"):
        parse_bool("force", "2")
