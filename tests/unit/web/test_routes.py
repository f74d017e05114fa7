"""A table that cannot work is refused when the application is made."""

from __future__ import annotations

from typing import Any

import pytest

from breezeblock.web.routes import BadTable, Route, Table
from tests.unit.web.toy import ROUTES, new_label


def route(method: str = "GET", path: str = "/boxes", **options: Any) -> Route:
    return Route(method, path, new_label, **options)


@pytest.mark.parametrize(
    "routes",
    [
        [route(), route()],
        [route(until="3.10"), route(since="3.10")],
        [route(since="3.5"), route(until="3.20")],
        [route("POST", action="a"), route("POST", action="a")],
        [route("POST", action="a"), route("POST")],
        [route("POST", action="a"), route("POST", since="3.9")],
        [route("GET", action="a")],
        [route("FETCH")],
        [route(path="boxes")],
        [route(path="/boxes/")],
        [route(path="/{box_id}")],
        [route(since="3.9", until="3.8")],
    ],
)
def test_contradictions_are_refused(routes: list[Route]) -> None:
    with pytest.raises(BadTable):
        Table(routes)


def test_version_ranges_side_by_side_are_fine() -> None:
    table = Table([route(until="3.9"), route(since="3.10"), route("POST")])
    assert len(table) == 3


def test_actions_may_share_a_path() -> None:
    table = Table([route("POST", action="a"), route("POST", action="b")])
    assert set(table.paths["/boxes"]["POST"]) == {"a", "b"}


def test_the_table_lists_all_its_routes_in_order() -> None:
    assert tuple(Table(ROUTES)) == ROUTES
