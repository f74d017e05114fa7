"""Actions on volumes: grow, flags, image metadata, and what administrators may force."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from breezeblock.drivers.base import PermanentError
from tests.service.catalog_fixture import PROJECT
from tests.service.house import House


async def _gigabytes(house: House) -> int:
    reply = await house.member.get(f"/os-quota-sets/{PROJECT}?usage=true")
    used: int = reply.json()["quota_set"]["gigabytes"]["in_use"]
    return used


# -- os-extend ---------------------------------------------------------------------------------


async def test_a_volume_grows(house: House) -> None:
    ident = await house.volume(1)
    assert (await house.act(ident, "os-extend", {"new_size": 3})).status_code == 202
    await house.quiet()
    shown = await house.show(ident)
    assert (shown["status"], shown["size"]) == ("available", 3)
    assert house.driver.sizes[ident] == 3
    assert await _gigabytes(house) == 3


@pytest.mark.parametrize("size", [1, 2])
async def test_a_volume_does_not_shrink(house: House, size: int) -> None:
    ident = await house.volume(2)
    assert (await house.act(ident, "os-extend", {"new_size": size})).status_code == 400


async def test_a_volume_in_use_grows_from_3_42(house: House) -> None:
    ident = await house.volume(1)
    await house.in_use(ident)
    old = await house.act(ident, "os-extend", {"new_size": 2}, version="3.41")
    assert old.status_code == 400
    assert (await house.act(ident, "os-extend", {"new_size": 2})).status_code == 202
    await house.quiet()
    shown = await house.show(ident)
    assert (shown["status"], shown["size"]) == ("in-use", 2)


async def test_a_failed_growth_gives_the_quota_back(house: House) -> None:
    ident = await house.volume(1)
    house.driver.failures["extend"] = PermanentError("no")
    await house.act(ident, "os-extend", {"new_size": 5})
    await house.quiet()
    assert await house.status(ident) == "error_extending"
    assert await _gigabytes(house) == 1


async def test_a_detach_during_the_growth_does_not_end_it(house: House) -> None:
    ident = await house.volume(1)
    attachment = await house.in_use(ident)
    house.driver.gates["extend"] = threading.Event()
    await house.act(ident, "os-extend", {"new_size": 2})
    assert (await house.member.delete(f"/attachments/{attachment}")).status_code == 200
    assert await house.status(ident) == "extending"
    house.driver.gates["extend"].set()
    await house.quiet()
    assert await house.status(ident) == "available"


# -- flags -------------------------------------------------------------------------------------


async def test_the_bootable_flag_is_text_on_the_wire(house: House) -> None:
    ident = await house.volume()
    assert (await house.act(ident, "os-set_bootable", {"bootable": "yes"})).status_code == 200
    assert (await house.show(ident))["bootable"] == "true"


async def test_the_readonly_flag_is_shown_in_the_metadata(house: House) -> None:
    ident = await house.volume(metadata={"k": "v"})
    assert "readonly" not in (await house.show(ident))["metadata"]
    reply = await house.act(ident, "os-update_readonly_flag", {"readonly": True})
    assert reply.status_code == 202
    assert (await house.show(ident))["metadata"] == {"k": "v", "readonly": "True"}
    own = await house.member.get(f"/volumes/{ident}/metadata")
    assert own.json() == {"metadata": {"k": "v"}}


async def test_the_readonly_flag_is_for_available_volumes(house: House) -> None:
    ident = await house.volume()
    await house.in_use(ident)
    reply = await house.act(ident, "os-update_readonly_flag", {"readonly": True})
    assert reply.status_code == 400


# -- image metadata ----------------------------------------------------------------------------


async def test_image_metadata_is_merged_shown_and_unset(house: House) -> None:
    ident = await house.volume()
    await house.act(ident, "os-set_image_metadata", {"metadata": {"a": "1"}})
    merged = await house.act(ident, "os-set_image_metadata", {"metadata": {"b": "2"}})
    assert (merged.status_code, merged.json()) == (200, {"metadata": {"a": "1", "b": "2"}})
    assert (await house.show(ident))["volume_image_metadata"] == {"a": "1", "b": "2"}
    unset = await house.act(ident, "os-unset_image_metadata", {"key": "a"})
    assert (unset.status_code, unset.content) == (200, b"")
    shown = await house.act(ident, "os-show_image_metadata", {}, house.reader)
    assert shown.json() == {"metadata": {"b": "2"}}
    listed = await house.admin.get("/volumes?glance_metadata={'b': '2'}")
    assert [one["id"] for one in listed.json()["volumes"]] == [ident]


async def test_a_volume_without_image_metadata_shows_none(house: House) -> None:
    ident = await house.volume()
    assert (await house.act(ident, "os-show_image_metadata")).status_code == 404
    assert "volume_image_metadata" not in await house.show(ident)


async def test_image_metadata_values_may_be_long_but_not_too_long(house: House) -> None:
    ident = await house.volume()
    for size, status in ((65535, 200), (65536, 400)):
        reply = await house.act(ident, "os-set_image_metadata", {"metadata": {"a": "x" * size}})
        assert reply.status_code == status
    reply = await house.act(ident, "os-set_image_metadata", {"metadata": {"a": "ä" * 40000}})
    assert reply.status_code == 400


# -- administrators ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ("os-reset_status", {"status": "error"}),
        ("os-force_delete", {}),
        ("os-force_detach", {}),
    ],
)
async def test_forcing_is_for_administrators(house: House, action: str, value: Any) -> None:
    ident = await house.volume()
    assert (await house.act(ident, action, value)).status_code == 403
    assert (await house.act(ident, action, value, house.other)).status_code == 404


async def test_reset_sets_the_status_in_lower_case(house: House) -> None:
    ident = await house.volume()
    reply = await house.act(ident, "os-reset_status", {"status": "ERROR"}, house.admin)
    assert reply.status_code == 202
    assert await house.status(ident) == "error"


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"status": None},
        {"status": "bogus"},
        {"status": "reverting"},
        {"status": "deleting"},
        {"status": "in-use"},
        {"attach_status": "attaching"},
        {"migration_status": "bogus"},
    ],
)
async def test_reset_refuses_what_is_no_status(house: House, wish: dict[str, Any]) -> None:
    ident = await house.volume()
    assert (await house.act(ident, "os-reset_status", wish, house.admin)).status_code == 400
    assert await house.status(ident) == "available"


async def test_reset_ends_what_is_under_way_and_its_charge(house: House) -> None:
    ident = await house.volume(1)
    house.driver.gates["extend"] = threading.Event()
    await house.act(ident, "os-extend", {"new_size": 4})
    reply = await house.act(ident, "os-reset_status", {"status": "available"}, house.admin)
    assert reply.status_code == 202
    house.driver.gates["extend"].set()
    await house.quiet()
    row = await house.row(ident)
    assert row is not None
    assert (row.status, row.size) == ("available", 1)
    assert await _gigabytes(house) == 1


async def test_reset_to_detached_removes_the_attachments(house: House) -> None:
    ident = await house.volume()
    attachment = await house.in_use(ident)
    wish = {"status": "available", "attach_status": "detached"}
    await house.act(ident, "os-reset_status", wish, house.admin)
    shown = await house.show(ident)
    assert (shown["status"], shown["attachments"]) == ("available", [])
    assert (await house.member.get(f"/attachments/{attachment}")).status_code == 404


async def test_reset_clears_the_migration_status(house: House) -> None:
    ident = await house.volume()
    wish = {"migration_status": "migrating"}
    await house.act(ident, "os-reset_status", wish, house.admin)
    assert (await house.show(ident, house.admin))["migration_status"] == "migrating"
    await house.act(ident, "os-reset_status", {"migration_status": "none"}, house.admin)
    assert (await house.show(ident, house.admin))["migration_status"] is None


async def test_force_delete_takes_any_status_but_not_an_attached_volume(house: House) -> None:
    ident = await house.volume()
    attachment = await house.in_use(ident)
    assert (await house.act(ident, "os-force_delete", {}, house.admin)).status_code == 400
    await house.member.delete(f"/attachments/{attachment}")
    await house.put(ident, status="maintenance")
    assert (await house.act(ident, "os-force_delete", {}, house.admin)).status_code == 202
    await house.quiet()
    assert await house.status(ident) == "gone"
