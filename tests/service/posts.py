"""A request of every POST of the block storage API, for suites that try them all.

A request that is missing here is found by `test_idempotency_crashes.py`, which compares with the
route table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from breezeblock.model.ids import new_id
from breezeblock.operations.submit import Caller, submit
from breezeblock.store import operations, volumes
from breezeblock.store.store import WriteTx
from breezeblock.workflows import extend_volume
from tests.service.catalog_fixture import PROJECT
from tests.service.house import House
from tests.service.mortal import Post

TRANSFERS, OLDER_TRANSFERS = "/volume-transfers", "/os-volume-transfer"
CONNECTOR = {"host": "compute1", "mountpoint": "/dev/vdb"}


Prepared = Callable[[House], Awaitable[Post]]
POSTS: dict[str, Prepared] = {}
"""By the route's description, with a note behind it where a route has several."""


def _post(name: str) -> Callable[[Prepared], Prepared]:
    def register(prepared: Prepared) -> Prepared:
        POSTS[name] = prepared
        return prepared

    return register


@_post("POST /volumes")
async def _create_volume(house: House) -> Post:
    return Post("/volumes", {"volume": {"size": 2, "name": "one", "metadata": {"k": "v"}}})


@_post("POST /volumes from a snapshot")
async def _create_from_snapshot(house: House) -> Post:
    snapshot = await house.snapshot(await house.volume())
    return Post("/volumes", {"volume": {"snapshot_id": snapshot}})


@_post("POST /volumes from an image")
async def _create_from_image(house: House) -> Post:
    return Post("/volumes", {"volume": {"size": 1, "imageRef": house.image()}})


async def _adopt_volume(house: House) -> Post:
    name = new_id()
    house.driver.strangers[name] = 2
    wanted = {"host": "node1@fast#pool0", "ref": {"source-name": name}, "name": "one"}
    return Post("/manageable_volumes", {"volume": wanted}, "admin")


async def _adopt_snapshot(house: House) -> Post:
    volume, name = await house.volume(2), new_id()
    house.driver.strange_snapshots[name] = (volume, 1)
    wanted = {"volume_id": volume, "ref": {"source-name": name}}
    return Post("/manageable_snapshots", {"snapshot": wanted}, "admin")


def _on_older_path(newer: str, older: str, prepared: Prepared) -> None:
    async def on_older(house: House) -> Post:
        return replace(await prepared(house), path=older)

    POSTS[f"POST {newer}"] = prepared
    POSTS[f"POST {older}"] = on_older


_on_older_path("/manageable_volumes", "/os-volume-manage", _adopt_volume)
_on_older_path("/manageable_snapshots", "/os-snapshot-manage", _adopt_snapshot)


@_post("POST /snapshots")
async def _create_snapshot(house: House) -> Post:
    return Post("/snapshots", {"snapshot": {"volume_id": await house.volume(), "name": "one"}})


@_post("POST /attachments")
async def _reserve(house: House) -> Post:
    wishes = {"volume_uuid": await house.volume(), "instance_uuid": new_id()}
    return Post("/attachments", {"attachment": wishes})


@_post("POST /attachments with a connector")
async def _connect(house: House) -> Post:
    wishes = {"volume_uuid": await house.volume(), "connector": CONNECTOR}
    return Post("/attachments", {"attachment": wishes})


@_post("POST /attachments/{attachment_id}/action (os-complete)")
async def _complete(house: House) -> Post:
    ident = await house.attachment(await house.volume(), "compute1")
    return Post(f"/attachments/{ident}/action", {"os-complete": None})


@_post("POST /types")
async def _create_type(house: House) -> Post:
    return Post("/types", {"volume_type": {"name": new_id(), "extra_specs": {"a": "b"}}}, "admin")


@_post("POST /qos-specs")
async def _create_qos_specs(house: House) -> Post:
    return Post("/qos-specs", {"qos_specs": {"name": new_id(), "total_iops_sec": "9"}}, "admin")


@_post("POST /types/{type_id}/extra_specs")
async def _extra_specs(house: House) -> Post:
    made = await house.new_type(new_id())
    return Post(f"/types/{made['id']}/extra_specs", {"extra_specs": {"a": "b"}}, "admin")


@_post("POST /types/{type_id}/encryption")
async def _encrypt(house: House) -> Post:
    made = await house.new_type(new_id())
    encryption = {"provider": "luks", "control_location": "front-end"}
    return Post(f"/types/{made['id']}/encryption", {"encryption": encryption}, "admin")


@_post("POST /types/{type_id}/action (addProjectAccess)")
async def _grant(house: House) -> Post:
    made = await house.new_type(new_id(), is_public=False)
    return Post(f"/types/{made['id']}/action", {"addProjectAccess": {"project": "p"}}, "admin")


@_post("POST /types/{type_id}/action (removeProjectAccess)")
async def _revoke(house: House) -> Post:
    grant = await _grant(house)
    await house.admin.post(grant.path, grant.body)
    return Post(grant.path, {"removeProjectAccess": {"project": "p"}}, "admin")


@_post("POST /volumes/{volume_id}/metadata")
async def _volume_metadata(house: House) -> Post:
    return Post(f"/volumes/{await house.volume()}/metadata", {"metadata": {"k": "v"}})


@_post("POST /snapshots/{snapshot_id}/metadata")
async def _snapshot_metadata(house: House) -> Post:
    ident = await house.snapshot(await house.volume())
    return Post(f"/snapshots/{ident}/metadata", {"metadata": {"k": "v"}})


@_post("POST /snapshots/{snapshot_id}/action (os-reset_status)")
async def _reset_snapshot(house: House) -> Post:
    ident = await house.snapshot(await house.volume())
    body = {"os-reset_status": {"status": "error"}}
    return Post(f"/snapshots/{ident}/action", body, "admin")


@_post("POST /snapshots/{snapshot_id}/action (os-force_delete)")
async def _force_delete_snapshot(house: House) -> Post:
    ident = await house.snapshot(await house.volume())
    return Post(f"/snapshots/{ident}/action", {"os-force_delete": None}, "admin")


@_post("POST /snapshots/{snapshot_id}/action (os-unmanage)")
async def _unmanage_snapshot(house: House) -> Post:
    ident = await house.snapshot(await house.volume())
    return Post(f"/snapshots/{ident}/action", {"os-unmanage": None}, "admin")


@_post("POST /volumes/{volume_id}/action (revert)")
async def _revert(house: House) -> Post:
    volume = await house.volume()
    snapshot = await house.snapshot(volume)
    return Post(f"/volumes/{volume}/action", {"revert": {"snapshot_id": snapshot}})


@_post("POST /snapshots/{snapshot_id}/action (os-update_snapshot_status)")
async def _report_snapshot(house: House) -> Post:
    ident = await house.snapshot(await house.volume())
    await house.put_snapshot(ident, status="creating")
    body = {"os-update_snapshot_status": {"status": "available", "progress": "100%"}}
    return Post(f"/snapshots/{ident}/action", body)


async def _offer(house: House) -> Post:
    return Post(TRANSFERS, {"transfer": {"volume_id": await house.volume(), "name": "one"}})


async def _accept(house: House) -> Post:
    """Of another project's volume with a snapshot, so that usage goes from one to the other."""
    volume = await house.volume(caller=house.other)
    await house.other.post("/snapshots", {"snapshot": {"volume_id": volume}})
    await house.quiet()
    body = {"transfer": {"volume_id": volume}}
    made = (await house.other.post(TRANSFERS, body)).json()["transfer"]
    accepted = {"accept": {"auth_key": made["auth_key"]}}
    return Post(f"{TRANSFERS}/{made['id']}/accept", accepted)


def _on_both_paths(name: str, prepared: Prepared) -> None:
    async def older(house: House) -> Post:
        post = await prepared(house)
        return replace(post, path=post.path.replace(TRANSFERS, OLDER_TRANSFERS))

    POSTS[f"POST {TRANSFERS}{name}"] = prepared
    POSTS[f"POST {OLDER_TRANSFERS}{name}"] = older


_on_both_paths("", _offer)
_on_both_paths("/{transfer_id}/accept", _accept)


@_post("POST /volumes/{volume_id}/action (os-reimage)")
async def _reimage(house: House) -> Post:
    volume, image = await house.volume(), new_id()
    house.image(f"{image}.raw")
    return Post(f"/volumes/{volume}/action", {"os-reimage": {"image_id": image}})


def _action(
    name: str,
    value: Any = None,
    role: str = "member",
    volume: Callable[[House], Awaitable[str]] = lambda house: house.volume(),
    note: str = "",
) -> None:
    async def prepared(house: House) -> Post:
        return Post(f"/volumes/{await volume(house)}/action", {name: value}, role)

    POSTS[f"POST /volumes/{{volume_id}}/action ({name}){note}"] = prepared


def _after(*steps: tuple[str, Any]) -> Callable[[House], Awaitable[str]]:
    """A volume that these actions were done to."""

    async def made(house: House) -> str:
        ident = await house.volume()
        for name, value in steps:
            reply = await house.act(ident, name, value)
            assert reply.status_code < 300, reply.text
        return ident

    return made


async def _on_two_hosts(house: House) -> str:
    name = new_id()
    await house.new_type(name, extra_specs={"multiattach": "<is> True"})
    ident = await house.volume(volume_type=name)
    for host in ("compute1", "compute2"):
        connector = {"host": host}
        reply = await house.act(ident, "os-initialize_connection", {"connector": connector})
        assert reply.status_code == 200, reply.text
    return ident


@_post("POST /volumes/{volume_id}/action (os-migrate_volume)")
async def _migrate(house: House) -> Post:
    volume = await house.volume()
    pools = {"node1@fast#pool0", await house.add_pool()}
    shown = await house.show(volume, house.admin)
    (elsewhere,) = pools - {shown["os-vol-host-attr:host"]}
    body = {"os-migrate_volume": {"host": elsewhere}}
    return Post(f"/volumes/{volume}/action", body, "admin")


@_post("POST /volumes/{volume_id}/action (os-retype)")
async def _retype(house: House) -> Post:
    gold = {"name": "gold", "extra_specs": {"fake:tier": "gold"}}
    made = await house.admin.post("/types", {"volume_type": gold})
    assert made.status_code in (200, 409), made.text  # usage tells the type by its name
    return Post(f"/volumes/{await house.volume()}/action", {"os-retype": {"new_type": "gold"}})


@_post("POST /volumes/{volume_id}/action (os-migrate_volume_completion)")
async def _exchanged(house: House) -> Post:
    body = {"os-migrate_volume_completion": {"new_volume": await house.volume()}}
    return Post(f"/volumes/{await house.volume()}/action", body, "admin")


async def _that_waits_for_its_host(house: House) -> str:
    """A volume that has grown, while its server is being told; no service here does that."""
    ident = await house.volume(3)
    caller = Caller(PROJECT, "member-user", "req")
    data = extend_volume.Data(new_size=3, old_size=1)

    def tell(tx: WriteTx) -> None:
        volumes.update(tx, ident, status="extending", previous_status="available")
        work = submit(tx, extend_volume.WORKFLOW, caller, ident, data, "volume.elsewhere")
        operations.amend(tx, work, step="announce", due_at=tx.clock() + 3600.0)

    await house.app.store.write(tell)
    return ident


_initialize = ("os-initialize_connection", {"connector": CONNECTOR})
_attach = ("os-attach", {"mountpoint": "/dev/vdb", "host_name": "compute1"})
_in_use = (("os-reserve", None), _initialize, _attach)
_image_metadata = ("os-set_image_metadata", {"metadata": {"k": "v"}})

_action("os-extend", {"new_size": 3})
_action("os-extend_volume_completion", {"error": True}, "admin", volume=_that_waits_for_its_host)
_action("os-set_bootable", {"bootable": True})
_action("os-update_readonly_flag", {"readonly": True})
_action("os-force_delete", role="admin")
_action("os-unmanage", role="admin")
_action("os-volume_upload_image", {"image_name": "copy", "disk_format": "qcow2"})
_action("os-reset_status", {"status": "error"}, "admin")
_action(*_image_metadata)
_action("os-show_image_metadata", volume=_after(_image_metadata))
_action("os-unset_image_metadata", {"key": "k"}, volume=_after(_image_metadata))
_action("os-reserve")
_action("os-unreserve", volume=_after(("os-reserve", None)))
_action("os-unreserve", volume=_after(("os-reserve", None), _initialize), note=" with a host")
_action(*_initialize)
_action("os-terminate_connection", {"connector": CONNECTOR}, volume=_after(_initialize))
_action("os-terminate_connection", {"connector": None}, volume=_on_two_hosts, note=" of two")
_action(*_attach, volume=_after(("os-reserve", None), _initialize))
_action("os-begin_detaching", volume=_after(*_in_use))
_action("os-roll_detaching", volume=_after(*_in_use, ("os-begin_detaching", None)))
_action("os-detach", {"attachment_id": None}, volume=_after(*_in_use))
_action("os-force_detach", {}, "admin", volume=_after(*_in_use))
