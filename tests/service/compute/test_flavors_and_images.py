"""What clients look up before they create a server, and how they find the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.compute.cloud import ComputeCloud, open_compute
from tests.service.house import House


async def test_the_configured_flavors_are_listed_in_their_order(cloud: ComputeCloud) -> None:
    for path in ("/flavors", "/flavors/detail?is_public=None"):
        listed = (await cloud.member.call("GET", path)).json()["flavors"]
        assert [one["name"] for one in listed] == ["tiny", "small", "medium"]


async def test_a_flavor_is_shown_and_an_unknown_one_is_404(cloud: ComputeCloud) -> None:
    shown = (await cloud.member.call("GET", "/flavors/tiny")).json()["flavor"]
    assert (shown["ram"], shown["vcpus"], shown["disk"]) == (256, 1, 0)
    assert (await cloud.member.call("GET", "/flavors/huge")).status_code == 404
    specs = await cloud.member.call("GET", "/flavors/tiny/os-extra_specs")
    assert specs.json() == {"extra_specs": {}}


@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ("2.1", {"rxtx_factor", "OS-FLV-DISABLED:disabled"}, {"description", "extra_specs"}),
        ("2.55", {"description"}, {"extra_specs"}),
        ("2.61", {"extra_specs"}, set()),
        ("2.102", set(), {"rxtx_factor", "OS-FLV-DISABLED:disabled"}),
    ],
)
async def test_a_flavors_fields_follow_the_version(
    cloud: ComputeCloud, version: str, present: set[str], absent: set[str]
) -> None:
    shown = (await cloud.member.call("GET", "/flavors/tiny", version=version)).json()["flavor"]
    assert present <= set(shown)
    assert not absent & set(shown)


async def test_flavors_come_in_pages(cloud: ComputeCloud) -> None:
    async def names(query: str) -> list[str]:
        reply = await cloud.member.call("GET", f"/flavors?{query}")
        return [one["id"] for one in reply.json()["flavors"]]

    assert await names("limit=1") == ["tiny"]
    assert await names("limit=5&marker=tiny") == ["small", "medium"]
    assert await names("marker=medium") == []
    assert await names("minRam=512") == ["small", "medium"]
    assert (await cloud.member.call("GET", "/flavors?marker=huge")).status_code == 400


async def test_limits_say_what_the_project_uses(cloud: ComputeCloud) -> None:
    await cloud.server()
    absolute = (await cloud.member.call("GET", "/limits")).json()["limits"]["absolute"]
    assert (absolute["totalInstancesUsed"], absolute["totalRAMUsed"]) == (1, 256)
    assert absolute["maxTotalInstances"] == -1


async def test_the_configured_kernel_is_an_image(cloud: ComputeCloud) -> None:
    listed = (await cloud.member.call("GET", "/images?name=demo")).json()["images"]
    assert [(one["id"], one["name"]) for one in listed] == [("demo", "demo")]
    assert (await cloud.member.call("GET", "/images?name=other")).json() == {"images": []}
    assert (await cloud.member.call("GET", "/images/demo")).status_code == 200
    assert (await cloud.member.call("GET", "/images/other")).status_code == 404


async def test_an_image_of_glances_may_stand_for_the_kernel(tmp_path: Path, house: House) -> None:
    image = "6c5b1a5e-6d34-4a86-9b3e-0f7f1a7f5d11"
    async with open_compute(tmp_path, house, kernel_image=image) as cloud:
        flavor = (await cloud.member.call("GET", "/flavors")).json()["flavors"][0]["id"]
        disk = {
            "source_type": "image",
            "destination_type": "local",
            "uuid": image,
            "boot_index": 0,
        }
        wanted = {"name": "one", "flavorRef": flavor, "networks": "none"}
        for server in (
            {**wanted, "imageRef": image},
            {**wanted, "imageRef": image, "block_device_mapping_v2": [disk]},
        ):
            reply = await cloud.member.call("POST", "/servers", {"server": server})
            assert reply.status_code == 202, reply.text
            ident = reply.json()["server"]["id"]
            shown = (await cloud.member.call("GET", f"/servers/{ident}")).json()["server"]
            assert shown["image"]["id"] == image
        refused = {"server": {**wanted, "imageRef": "demo"}}
        assert (await cloud.member.call("POST", "/servers", refused)).status_code == 400


async def test_without_a_kernel_there_is_no_image(tmp_path: Path, house: House) -> None:
    async with open_compute(tmp_path, house, kernel="") as cloud:
        assert (await cloud.member.call("GET", "/images")).json() == {"images": []}


async def test_the_api_can_be_discovered_without_credentials(cloud: ComputeCloud) -> None:
    [entry] = (await cloud.client.get("/")).json()["versions"]
    assert (entry["version"], entry["min_version"], entry["status"]) == ("2.104", "2.1", "CURRENT")
    assert (await cloud.client.get("/v2.1/")).json()["version"]["version"] == "2.104"
    assert (await cloud.client.get("/healthcheck")).status_code == 200
    paths = (await cloud.client.get("/openapi.json")).json()["paths"]
    assert any(path.endswith("/os-volume_attachments") for path in paths)
