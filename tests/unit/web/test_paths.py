"""Which paths and methods lead to a handler, and what the others are answered."""

from __future__ import annotations

import pytest

from breezeblock.web.routes import Route
from tests.unit.web.toy import PROJECT, TOKEN, client, new_label


async def test_the_project_in_the_path_is_optional() -> None:
    async with client() as http:
        without = await http.get("/v3/boxes", headers=TOKEN)
        within = await http.get(f"/v3/{PROJECT}/boxes", headers=TOKEN)
    assert without.json() == within.json() == {"boxes": [], "project": PROJECT}


async def test_another_project_in_the_path_is_a_bad_request() -> None:
    async with client() as http:
        reply = await http.get("/v3/ffff/boxes", headers=TOKEN)
    assert reply.status_code == 400
    assert list(reply.json()) == ["badRequest"]


async def test_a_segment_that_is_no_project_id_is_a_wrong_path() -> None:
    async with client() as http:
        reply = await http.get("/v3/xyz/boxes", headers=TOKEN)
    assert (reply.status_code, reply.headers["content-type"].split(";")[0]) == (404, "text/plain")


async def test_the_callers_own_project_is_a_project_id_whatever_it_looks_like() -> None:
    async with client() as http:
        reply = await http.get("/v3/admin/boxes", headers={"X-Auth-Token": "bob:admin"})
    assert reply.json()["project"] == "admin"


async def test_a_caller_without_token_takes_the_project_of_the_path() -> None:
    async with client() as http:
        bare = await http.get(f"/v3/{PROJECT}/boxes")
        notused = await http.get(f"/v3/{PROJECT}/boxes", headers={"X-Auth-Token": "notused"})
        default = await http.get("/v3/boxes")
    assert bare.json()["project"] == notused.json()["project"] == PROJECT
    assert default.json()["project"] == "admin"


async def test_links_name_the_project_only_when_the_path_did() -> None:
    async with client() as http:
        without = await http.get("/v3/boxes/b1", headers=TOKEN)
        within = await http.get(f"/v3/{PROJECT}/boxes/b1", headers=TOKEN)
    hrefs = [link["href"] for link in without.json()["box"]["links"]]
    assert hrefs == ["http://cloud/v3/boxes/b1", "http://cloud/boxes/b1"]
    assert within.json()["box"]["links"][0]["href"] == f"http://cloud/v3/{PROJECT}/boxes/b1"


async def test_the_suffix_json_is_accepted() -> None:
    async with client() as http:
        reply = await http.get(f"/v3/{PROJECT}/boxes.json", headers=TOKEN)
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v3/boxes"),
        ("PATCH", "/v3/boxes"),
        ("DELETE", "/v3/boxes"),
        ("HEAD", "/v3/boxes"),
        ("OPTIONS", "/v3/boxes"),
        ("TRACE", "/v3/boxes"),
        ("PUT", "/v3/boxes/b1"),
        ("GET", "/v3/boxes/"),
        ("GET", "/v3/boxes//b1"),
        ("GET", "/v3/nothing"),
        ("GET", f"/v3/{PROJECT}/nothing"),
        ("GET", f"/v3/{PROJECT}/"),
        ("GET", "/v3/boxes/b1/more"),
        ("GET", "/boxes"),
        ("GET", "/v2/"),
        ("GET", "/v30/boxes"),
    ],
)
async def test_wrong_paths_and_wrong_methods_are_a_plain_404(method: str, path: str) -> None:
    async with client() as http:
        reply = await http.request(method, path, headers=TOKEN)
    assert reply.status_code == 404
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.headers["x-openstack-request-id"].startswith("req-")
    assert "openstack-api-version" not in reply.headers
    assert "x-compute-request-id" not in reply.headers
    assert "allow" not in reply.headers


async def test_a_literal_segment_wins_over_a_field() -> None:
    routes = [
        Route("GET", "/boxes/{box_id}", new_label),
        Route("GET", "/boxes/detail", new_label, success=203),
    ]
    async with client(routes) as http:
        detail = await http.get("/v3/boxes/detail")
        other = await http.get("/v3/boxes/details")
    assert (detail.status_code, other.status_code) == (203, 200)


async def test_the_route_says_the_status_and_the_handler_may_say_another() -> None:
    async with client() as http:
        deleted = await http.delete("/v3/boxes/b1")
        shrunk = await http.post(
            "/v3/boxes/b1/action",
            json={"shrink": None},
            headers={"OpenStack-API-Version": "volume 3.40"},
        )
    assert (deleted.status_code, deleted.content) == (202, b"")
    assert "content-type" not in deleted.headers
    assert (shrunk.status_code, shrunk.content) == (204, b"")


async def test_a_handler_may_send_headers() -> None:
    async with client() as http:
        reply = await http.put("/v3/locks/enable", json={})
    assert reply.headers["etag"] == "abc"
