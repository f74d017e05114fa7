"""Version documents, health check and OpenAPI document: all without credentials."""

from __future__ import annotations

from typing import Any

import pytest

from breezeblock.auth.authenticators import Authenticator, Unauthenticated
from breezeblock.web.openapi import document
from breezeblock.web.routes import Route, Table
from breezeblock.web.service import block_storage, compute
from tests.unit.web.toy import PROJECT, ROUTES, client


class Closed(Authenticator):
    async def identify(self, headers: Any, method: str = "", path: str = "") -> Any:
        raise Unauthenticated("no")


async def test_the_root_lists_the_versions_with_status_300() -> None:
    async with client(authenticator=Closed()) as http:
        reply = await http.get("/")
    assert reply.status_code == 300
    (version,) = reply.json()["versions"]
    assert (version["id"], version["status"]) == ("v3.0", "CURRENT")
    assert (version["version"], version["min_version"]) == ("3.71", "3.0")
    assert version["media-types"] == [
        {
            "base": "application/json",
            "type": "application/vnd.openstack.volume+json;version=3",
        }
    ]
    assert {link["rel"]: link["href"] for link in version["links"]}["self"] == "http://cloud/v3/"
    assert reply.headers["x-openstack-request-id"].startswith("req-")


async def test_the_prefix_without_its_slash_leads_to_the_version_document() -> None:
    async with client(authenticator=Closed()) as http:
        reply = await http.get("/v3")
    assert (reply.status_code, reply.content) == (302, b"")
    assert reply.headers["Location"] == "http://cloud/v3/"


@pytest.mark.parametrize("path", ["/v3/", f"/v3/{PROJECT}"])
async def test_each_endpoint_a_client_may_be_given_is_a_version_document(path: str) -> None:
    async with client(authenticator=Closed()) as http:
        reply = await http.get(path)
    assert reply.status_code == 200
    assert reply.json()["versions"][0]["version"] == "3.71"


async def test_the_default_project_of_callers_without_token_is_an_endpoint_too() -> None:
    async with client() as http:
        default, other = await http.get("/v3/admin"), await http.get("/v3/others")
    assert (default.status_code, other.status_code) == (200, 404)


async def test_discovery_works_through_a_proxy() -> None:
    async with client() as http:
        reply = await http.get("/", headers={"X-Forwarded-Host": "front"})
    assert reply.json()["versions"][0]["links"][1]["href"] == "http://front/v3/"


async def test_the_compute_api_has_one_version_at_its_prefix() -> None:
    async with client(service=compute(), authenticator=Closed()) as http:
        root = await http.get("/")
        slash, bare = await http.get("/v2.1/"), await http.get("/v2.1")
    assert root.status_code == 200
    (version,) = root.json()["versions"]
    assert (version["id"], version["min_version"]) == ("v2.1", "2.1")
    assert slash.json() == bare.json() == {"version": version}


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_the_health_check_tells_whether_the_service_can_work(
    ready: bool, status: int
) -> None:
    async def is_ready() -> bool:
        return ready

    async with client(authenticator=Closed(), ready=is_ready) as http:
        reply = await http.get("/healthcheck")
    assert reply.status_code == status
    assert reply.headers["content-type"].startswith("text/plain")
    if ready:
        assert reply.text == "OK"


async def test_the_openapi_document_is_served() -> None:
    async with client(authenticator=Closed()) as http:
        reply = await http.get("/openapi.json")
    assert reply.json()["openapi"] == "3.1.0"


async def test_asked_for_a_version_the_openapi_document_describes_that_one_alone() -> None:
    async with client(authenticator=Closed()) as http:
        old, new = [
            await http.get("/openapi.json", headers={"OpenStack-API-Version": f"volume {version}"})
            for version in ("3.26", "latest")
        ]
        unknown = await http.get("/openapi.json", headers={"OpenStack-API-Version": "volume 3.99"})
    assert "/crates" not in old.json()["paths"]
    assert "/crates" in new.json()["paths"]
    assert (old.headers["openstack-api-version"], old.json()["info"]["version"]) == (
        "volume 3.26",
        "3.26",
    )
    body = new.json()["paths"]["/boxes"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/CreateBox"}
    assert (unknown.status_code, list(unknown.json())) == (406, ["computeFault"])


class TestOpenApi:
    paths = document(block_storage(), Table(ROUTES))["paths"]
    components = document(block_storage(), Table(ROUTES))["components"]

    def test_every_route_is_in_it(self) -> None:
        listed = sum(
            len(operation["x-openstack-routes"])
            for methods in self.paths.values()
            for operation in methods.values()
        )
        assert listed == len(ROUTES)

    def test_paths_have_their_parameters(self) -> None:
        names = [found.get("name") for found in self.paths["/boxes/{box_id}"]["get"]["parameters"]]
        assert "box_id" in names

    def test_known_query_parameters_are_listed(self) -> None:
        names = [found.get("name") for found in self.paths["/boxes"]["get"]["parameters"]]
        assert names[:2] == ["limit", "marker"]

    def test_actions_are_alternatives(self) -> None:
        body = self.paths["/boxes/{box_id}/action"]["post"]["requestBody"]
        alternatives = body["content"]["application/json"]["schema"]["oneOf"]
        assert [schema["required"] for schema in alternatives] == [["grow"], ["shrink"]]

    def test_a_body_that_changes_by_version_has_all_its_forms(self) -> None:
        body = self.paths["/boxes"]["post"]["requestBody"]
        forms = body["content"]["application/json"]["schema"]["anyOf"]
        assert [form["$ref"].rsplit("/")[-1] for form in forms] == ["CreateBox", "LooseCreateBox"]

    def test_custom_types_have_their_schema(self) -> None:
        size = self.components["schemas"]["NewBox"]["properties"]["size"]
        assert size["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 2147483647}

    def test_version_range_and_rule_are_told(self) -> None:
        (facts,) = self.paths["/crates"]["get"]["x-openstack-routes"]
        assert (facts["since"], facts["until"]) == ("3.27", None)
        (facts,) = self.paths["/boxes"]["post"]["x-openstack-routes"]
        assert (facts["policy"], facts["success"]) == ("volume:create", 202)

    def test_answers_are_told_with_their_faults(self) -> None:
        responses = self.paths["/boxes"]["post"]["responses"]
        assert list(responses["202"]["content"]) == ["application/json"]
        assert "content" not in self.paths["/boxes/{box_id}"]["delete"]["responses"]["202"]
        assert {"400", "401", "403", "404", "409", "422", "503"} <= set(responses)
        assert "422" not in self.paths["/boxes"]["get"]["responses"]

    def test_a_fault_has_the_key_of_its_status(self) -> None:
        content = self.components["responses"]["Fault413"]["content"]
        assert list(content) == ["application/json", "text/plain"]
        envelope = content["application/json"]["schema"]
        assert envelope["required"] == ["overLimit"]
        fault = envelope["properties"]["overLimit"]
        assert fault["required"] == ["code", "message", "retryAfter"]
        assert fault["properties"]["code"] == {"const": 413}
        assert "content" not in self.components["responses"]["Fault412"]

    def test_the_answer_and_the_faults_of_a_route_are_told(self) -> None:
        async def show(_call: Any) -> dict[str, object]:
            return {}

        route = Route("GET", "/lids", show, answer=dict[str, int], faults=(502,))
        described = document(block_storage(), Table([route]))["paths"]["/lids"]["get"]
        assert described["responses"]["200"]["content"]["application/json"]["schema"] == {
            "type": "object",
            "additionalProperties": {"type": "integer"},
        }
        assert "502" in described["responses"]


def test_the_document_names_the_idempotency_key_on_posts_and_on_nothing_else() -> None:
    described = document(block_storage(), Table(ROUTES))
    named = {"$ref": "#/components/parameters/idempotency"}
    assert described["components"]["parameters"]["idempotency"]["name"] == "Idempotency-Key"
    methods = {
        method
        for operations in described["paths"].values()
        for method, operation in operations.items()
        if named in operation["parameters"]
    }
    assert methods == {"post"}
