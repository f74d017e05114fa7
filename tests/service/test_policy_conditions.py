"""Rules of the policy that hold for some requests only, and those that decide what is shown.

`test_policy_walk.py` has those that a call is always judged by. Who passes is taken from the same
list of facts; that the rule itself is asked is seen by taking it from everybody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from breezeblock.model.ids import new_id
from tests.service.calls import furnish
from tests.service.catalog_fixture import PROJECT
from tests.service.house import House, open_house
from tests.service.mortal import Post
from tests.service.personas import WHO, Overridden
from tests.service.posts import POSTS

OWNERS = ("reader", "member", "admin")


@pytest.fixture
def policy() -> Overridden:
    return Overridden()


@pytest.fixture
async def house(tmp_path: Path, policy: Overridden) -> AsyncIterator[House]:
    async with open_house(tmp_path, policy=policy) as opened:
        yield opened


def may(role: str, rule: str) -> bool:
    """Whether a member of the owning project with this role passes the rule, by the facts."""
    least = {"admin": "admin", "admin or owner-member": "member", "admin or owner-reader": "reader"}
    return OWNERS.index(role) >= OWNERS.index(least[WHO[rule]])


# -- requests --------------------------------------------------------------------------------------


async def _force(house: House) -> tuple[str, Post]:
    return "DELETE", Post(f"/volumes/{await house.volume()}?force=true", None)


async def _from_image(house: House) -> tuple[str, Post]:
    return "POST", await POSTS["POST /volumes from an image"](house)


async def _shared(house: House) -> tuple[str, Post]:
    wishes = {"size": 1, "volume_type": await house.multiattach_type()}
    return "POST", Post("/volumes", {"volume": wishes})


async def _shared_bootable(house: House) -> tuple[str, Post]:
    volume = await house.volume(volume_type=await house.multiattach_type())
    await house.act(volume, "os-set_bootable", {"bootable": True})
    await house.in_use(volume)
    wishes = {"volume_uuid": volume, "instance_uuid": new_id()}
    return "POST", Post("/attachments", {"attachment": wishes})


async def _grow_in_use(house: House) -> tuple[str, Post]:
    volume = await house.volume()
    await house.in_use(volume)
    return "POST", Post(f"/volumes/{volume}/action", {"os-extend": {"new_size": 2}})


async def _publish(house: House) -> tuple[str, Post]:
    wishes = {"image_name": "copy", "disk_format": "raw", "visibility": "public"}
    path = f"/volumes/{await house.volume()}/action"
    return "POST", Post(path, {"os-volume_upload_image": wishes})


async def _reimage_reserved(house: House) -> tuple[str, Post]:
    volume, image = await house.volume(), new_id()
    house.image(f"{image}.raw")
    await house.put(volume, status="reserved")
    wishes = {"image_id": image, "reimage_reserved": True}
    return "POST", Post(f"/volumes/{volume}/action", {"os-reimage": wishes})


CONDITIONS: dict[str, Callable[[House], Awaitable[tuple[str, Post]]]] = {
    "volume:force_delete": _force,
    "volume:create_from_image": _from_image,
    "volume:multiattach": _shared,
    "volume:multiattach_bootable_volume": _shared_bootable,
    "volume:extend_attached_volume": _grow_in_use,
    "volume_extension:volume_actions:upload_public": _publish,
    "volume:reimage_reserved": _reimage_reserved,
}


@pytest.mark.parametrize("rule", CONDITIONS)
async def test_a_rule_that_holds_for_some_requests(
    house: House, policy: Overridden, rule: str
) -> None:
    method, request = await CONDITIONS[rule](house)
    policy.taken = frozenset({rule})
    reply = await house.admin.call(method, request.path, request.body)
    assert (reply.status_code, rule in reply.text) == (403, True), reply.text
    policy.taken = frozenset()
    for role in ("reader", "member") if WHO[rule] == "admin" else ("reader",):
        reply = await house.caller(role).call(method, request.path, request.body)
        assert reply.status_code == 403, reply.text
    who = house.admin if WHO[rule] == "admin" else house.member
    reply = await who.call(method, request.path, request.body)
    assert reply.status_code < 300, reply.text


# -- what is shown ---------------------------------------------------------------------------------

SHOWN = {
    "volume_extension:volume_host_attribute": ("/volumes/{volume}", "os-vol-host-attr:host"),
    "volume_extension:volume_tenant_attribute": (
        "/volumes/{volume}",
        "os-vol-tenant-attr:tenant_id",
    ),
    "volume_extension:volume_mig_status_attribute": (
        "/volumes/{volume}",
        "os-vol-mig-status-attr:migstat",
    ),
    "volume_extension:volume_image_metadata:show": ("/volumes/{volume}", "volume_image_metadata"),
    "volume_extension:extended_snapshot_attributes": (
        "/snapshots/{snapshot}",
        "os-extended-snapshot-attributes:project_id",
    ),
    "limits_extension:used_limits": ("/limits", "totalVolumesUsed"),
    "volume_extension:access_types_extra_specs": ("/types/{type}", "extra_specs"),
    "volume_extension:access_types_qos_specs_id": ("/types/{type}", "qos_specs_id"),
    "volume_extension:types_extra_specs:read_sensitive": ("/types/{type}", "secret-spec"),
}
"""By rule: where something is shown that only those see who pass it, and what it is called."""


@pytest.mark.parametrize("rule", SHOWN)
async def test_a_rule_decides_what_is_shown(house: House, policy: Overridden, rule: str) -> None:
    furniture = await furnish(house)
    specs = {"extra_specs": {"secret-spec": "v"}}
    await house.admin.post(f"/types/{furniture.type}/extra_specs", specs)
    metadata = {"metadata": {"os_distro": "debian"}}
    await house.act(furniture.volume, "os-set_image_metadata", metadata)
    template, key = SHOWN[rule]
    path = template.format(
        volume=furniture.volume, snapshot=furniture.snapshot, type=furniture.type
    )
    for role in OWNERS:
        reply = await house.caller(role, PROJECT).get(path)
        assert (reply.status_code, f'"{key}"' in reply.text) == (200, may(role, rule)), role
    policy.taken = frozenset({rule})
    reply = await house.admin.get(path)
    assert (reply.status_code, f'"{key}"' in reply.text) == (200, False)
