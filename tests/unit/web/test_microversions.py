"""How a request and a service agree on a version, and what the reply says about it."""

from __future__ import annotations

import pytest

from breezeblock.web.microversion import Version
from breezeblock.web.routes import Route
from breezeblock.web.service import compute
from tests.unit.web.toy import TOKEN, client, new_label

HEADER = "OpenStack-API-Version"


def test_versions_compare_as_numbers() -> None:
    assert Version.parse("3.9") < Version.parse("3.10") < Version.parse("4.0")
    assert Version.parse("3.27") >= (3, 27)


@pytest.mark.parametrize("text", ["3", "3.", ".3", "3.01", "03.1", "3.1.1", "a.b", "3.-1", ""])
def test_other_texts_are_no_versions(text: str) -> None:
    with pytest.raises(ValueError):
        Version.parse(text)


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        (None, "3.0"),
        ("volume 3.0", "3.0"),
        ("volume 3.27", "3.27"),
        ("volume 3.71", "3.71"),
        ("volume latest", "3.71"),
        ("volumev3 3.60", "3.60"),
        ("compute 2.1, volume 3.27", "3.27"),
        ("compute 2.1,volume  3.27", "3.27"),
        ("volume 3.5, volume 3.6", "3.5"),
    ],
)
async def test_the_version_asked_for_is_served_and_echoed(asked: str | None, served: str) -> None:
    async with client() as http:
        reply = await http.get("/v3/boxes", headers={HEADER: asked} if asked else {})
    assert reply.status_code == 200
    assert reply.headers[HEADER] == f"volume {served}"
    assert reply.headers["vary"] == HEADER


@pytest.mark.parametrize(
    "asked",
    ["compute 2.1", "block-storage 3.60", "Volume 3.27", "volume junk", "volume", "volume 3.x"],
)
async def test_a_malformed_header_is_400_without_version_headers(asked: str) -> None:
    async with client() as http:
        reply = await http.get("/v3/boxes", headers={HEADER: asked})
    assert (reply.status_code, list(reply.json())) == (400, ["badRequest"])
    assert HEADER not in reply.headers
    assert "vary" not in reply.headers


async def test_the_message_names_the_bad_number() -> None:
    async with client() as http:
        reply = await http.get("/v3/boxes", headers={HEADER: "volume junk"})
    assert "junk" in reply.json()["badRequest"]["message"]


@pytest.mark.parametrize("number", ["2.0", "3.72", "3.99", "4.0", "3.99999"])
async def test_a_version_out_of_range_is_406_and_names_the_range(number: str) -> None:
    async with client() as http:
        reply = await http.get("/v3/boxes", headers={HEADER: f"volume {number}"})
    assert reply.status_code == 406
    message = reply.json()["computeFault"]["message"]
    assert "3.0" in message
    assert "3.71" in message
    assert reply.headers[HEADER] == f"volume {number}"


async def test_legacy_headers_of_other_services_are_ignored() -> None:
    async with client() as http:
        reply = await http.get("/v3/boxes", headers={"X-OpenStack-Volume-API-Version": "3.50"})
    assert reply.headers[HEADER] == "volume 3.0"


async def test_a_method_of_a_later_version_is_a_json_404() -> None:
    async with client() as http:
        reply = await http.get("/v3/crates", headers={HEADER: "volume 3.26"})
    assert (reply.status_code, list(reply.json())) == (404, ["itemNotFound"])
    assert reply.headers[HEADER] == "volume 3.26"


async def test_an_action_of_a_later_version_is_a_json_404() -> None:
    async with client() as http:
        reply = await http.post(
            "/v3/boxes/b/action", json={"shrink": None}, headers={HEADER: "volume 3.39"}
        )
    assert (reply.status_code, list(reply.json())) == (404, ["itemNotFound"])


async def test_the_version_picks_among_routes_of_one_path() -> None:
    async with client() as http:
        old = await http.get("/v3/labels", headers={HEADER: "volume 3.9"})
        new = await http.get("/v3/labels", headers={HEADER: "volume 3.10"})
    assert (old.json()["label"], new.json()["label"]) == ("old", "new")


async def test_faults_of_handlers_carry_the_version_and_both_request_ids() -> None:
    async with client() as http:
        reply = await http.get("/v3/boxes/missing", headers=TOKEN | {HEADER: "volume 3.5"})
    assert reply.headers[HEADER] == "volume 3.5"
    assert reply.headers["x-compute-request-id"] == reply.headers["x-openstack-request-id"]


COMPUTE_ROUTES = [Route("GET", "/servers", new_label)]
LEGACY = "X-OpenStack-Nova-API-Version"


@pytest.mark.parametrize(
    ("headers", "served"),
    [
        ({}, "2.1"),
        ({HEADER: "compute 2.79"}, "2.79"),
        ({HEADER: "compute latest"}, "2.104"),
        ({LEGACY: "2.60"}, "2.60"),
        ({HEADER: "compute 2.79", LEGACY: "2.60"}, "2.79"),
        ({HEADER: "volume 3.27"}, "2.1"),
        ({HEADER: "volume 3.27", LEGACY: "2.60"}, "2.60"),
        ({HEADER: "volume 3.27, compute 2.89"}, "2.89"),
    ],
)
async def test_the_compute_api_echoes_both_of_its_headers(
    headers: dict[str, str], served: str
) -> None:
    async with client(COMPUTE_ROUTES, service=compute()) as http:
        reply = await http.get("/v2.1/servers", headers=headers)
    assert reply.status_code == 200
    assert reply.headers[HEADER] == f"compute {served}"
    assert reply.headers[LEGACY] == served
    assert reply.headers["vary"] == f"{HEADER}, {LEGACY}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({HEADER: "compute x"}, 400), ({LEGACY: "x"}, 400), ({HEADER: "compute 2.999"}, 406)],
)
async def test_the_compute_api_refuses_what_it_cannot_serve(
    headers: dict[str, str], status: int
) -> None:
    async with client(COMPUTE_ROUTES, service=compute()) as http:
        reply = await http.get("/v2.1/servers", headers=headers)
    assert reply.status_code == status
