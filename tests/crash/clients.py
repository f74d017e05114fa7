"""The hands of the clients: what scenarios prepare and do through HTTP, and how an end is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from breezeblock.drivers.backend import Backend
from breezeblock.drivers.base import PermanentError, TemporaryError
from breezeblock.store import services
from breezeblock.workflows import apply_type, sweep_backend
from tests.crash.asgi import Reply
from tests.crash.shelf import IMAGE, staged_at
from tests.crash.world import ZONE, World
from tests.service.catalog_fixture import PROJECT

Known = SimpleNamespace
"""What a scenario has prepared: ids."""
Act = Callable[[World, Known], Awaitable[Reply | None]]
HOST = {"host": "compute1", "mountpoint": "/dev/vdb"}


async def nothing(_world: World, _known: Known) -> None:
    """Nothing to prepare."""


# -- how ends are told -------------------------------------------------------------------------


def volume_named(name: str) -> Callable[[World, Known], str]:
    """`available`, `error`, … of the volume with this name; `none` when there is none."""

    def tell(world: World, _known: Known) -> str:
        found = [one for one in world.facts().volumes.values() if one.name == name]
        return found[0].status if found else "none"

    return tell


def volume(world: World, known: Known) -> str:
    found = world.facts().volumes.get(known.volume)
    return found.status if found else "gone"


def sized(world: World, known: Known) -> str:
    found = world.facts().volumes[known.volume]
    return f"{found.status} {found.size}"


def snapshot(world: World, _known: Known) -> str:
    found = list(world.facts().snapshots.values())
    return found[0].status if found else "none"


def let_go(world: World, known: Known) -> str:
    """The volume's status and its snapshots', and the kinds of what is kept and not ours."""
    kinds = {known.volume: "volume", getattr(known, "snapshot", ""): "snapshot"}
    kept = sorted(kinds[one] for driver in world.drivers for one in driver.released)
    words = [volume(world, known), snapshot(world, known)]
    return " ".join([*words, *(f"kept {kind}" for kind in kept)])


def taken_over(world: World, _known: Known) -> str:
    """The volume's status and size, and whose it is by the backend, what there was to adopt."""
    driver = world.drivers[0]
    found = [f"{one.status} {one.size}" for one in world.facts().volumes.values()]
    whose = [*(["ours"] if driver.adopted else []), *(["free"] if driver.strangers else [])]
    return " ".join([*(found or ["none"]), *whose])


def snapshot_taken_over(world: World, known: Known) -> str:
    driver = world.drivers[0]
    whose = [*(["ours"] if driver.adopted else []), *(["free"] if driver.strange_snapshots else [])]
    return " ".join([snapshot(world, known), *whose])


def uploaded(world: World, known: Known) -> str:
    """The volume's status, and what became of the new image."""
    made = [one for one in world.outside.shelf.images.values() if one.id != IMAGE]
    return " ".join([volume(world, known), *(one.status for one in made)])


def of_type(world: World, known: Known) -> str:
    """The volume's status and type, and what its backend takes it for if that is something else;
    and when it has been moved, where it is."""
    found = world.facts().volumes[known.volume]
    name = world.facts().type_names[found.volume_type_id]
    told = world.drivers[0].types[known.volume].get("fake:tier", "__DEFAULT__")
    words = [found.status, name, *([f"told {told}"] if told != name else [])]
    return " ".join([*words, *_moved(world, known)])


def moved(world: World, known: Known) -> str:
    """The volume's status and where it is."""
    return " ".join([volume(world, known), *_moved(world, known)])


def _moved(world: World, known: Known) -> list[str]:
    found = world.facts().volumes[known.volume]
    if found.host == "node1@fast#pool0":
        return [found.migration_status] if found.migration_status else []
    return [found.pool, found.migration_status or "none"]


def put_back(world: World, known: Known) -> str:
    """The volume's status, the snapshot's, and `done` when the volume holds what that holds."""
    words = [volume(world, known), snapshot(world, known)]
    content = world.drivers[0].contents.get(known.volume)
    return " ".join([*words, *(["done"] if content == known.snapshot else [])])


def filled(name: str) -> Callable[[World, Known], str]:
    """The status of the volume with this name, and `done` when it holds the image."""

    def tell(world: World, _known: Known) -> str:
        found = [one for one in world.facts().volumes.values() if one.name == name]
        held = {one.contents.get(found[0].id) for one in world.drivers} if found else set()
        done = ["done"] if str(staged_at(IMAGE)) in held else []
        return " ".join([found[0].status if found else "none", *done])

    return tell


def attached(world: World, known: Known) -> str:
    """The volume's status, the attachments' and the hosts that are let in."""
    facts = world.facts()
    hosts = {host for one in world.drivers for _, host in one.exports}
    words = [facts.volumes[known.volume].status]
    words += sorted(one.attach_status for one in facts.attachments)
    return " ".join([*words, *sorted(hosts)])


# -- what clients do ---------------------------------------------------------------------------


async def made(world: World, known: Known, **wishes: Any) -> None:
    """A volume, `known.volume`."""
    body = {"volume": {"size": 1, "name": "first", **wishes}}
    reply = await world.ask("POST", "/volumes", body)
    assert reply.status == 202, reply.json
    known.volume = reply.json["volume"]["id"]


async def frozen(world: World, known: Known) -> None:
    await made(world, known)
    reply = await world.ask("POST", "/snapshots", {"snapshot": {"volume_id": known.volume}})
    assert reply.status == 202, reply.json
    known.snapshot = reply.json["snapshot"]["id"]


async def stranger(world: World, _known: Known) -> None:
    """A volume of an operator, which he calls `old`."""
    world.drivers[0].strangers["old"] = 2


async def stranger_too_large(world: World, known: Known) -> None:
    await stranger(world, known)
    path, body = f"/os-quota-sets/{PROJECT}", {"quota_set": {"gigabytes": 1}}
    assert (await world.call("PUT", path, body, role="admin")).status == 200


async def strange_snapshot(world: World, known: Known) -> None:
    await made(world, known)
    world.drivers[0].strange_snapshots["old"] = (known.volume, 1)


async def connected(
    world: World, known: Known, connector: dict[str, str] = HOST, server: int = 1, **wishes: Any
) -> None:
    """A volume in use, by one attachment more: `known.attachment` is the last."""
    if not hasattr(known, "volume") or wishes:
        await made(world, known, **wishes)
    wanted = {
        "volume_uuid": known.volume,
        "connector": connector,
        "instance_uuid": f"{server:08d}-0000-4000-8000-000000000000",
    }
    reply = await world.ask("POST", "/attachments", {"attachment": wanted})
    assert reply.status == 200, reply.json
    known.attachment = reply.json["attachment"]["id"]
    path = f"/attachments/{known.attachment}/action"
    assert (await world.ask("POST", path, {"os-complete": None})).status == 204


async def connected_twice(world: World, known: Known) -> None:
    await connected(world, known, volume_type="shared")
    await connected(world, known, server=2)


async def legacy_connected(world: World, known: Known) -> None:
    await made(world, known)
    for action, value in (
        ("os-reserve", None),
        ("os-initialize_connection", {"connector": HOST}),
        ("os-attach", {"host_name": "compute1", "mountpoint": "/dev/vdb"}),
    ):
        reply = await world.ask("POST", f"/volumes/{known.volume}/action", {action: value})
        assert reply.status < 300, reply.json


async def legacy_let_in(world: World, known: Known) -> None:
    await made(world, known)
    action = {"os-initialize_connection": {"connector": HOST}}
    reply = await world.ask("POST", f"/volumes/{known.volume}/action", action)
    assert reply.status == 200, reply.json


async def reserved(world: World, known: Known, **wishes: Any) -> None:
    """A volume with an attachment that is not complete: `known.attachment`."""
    await made(world, known)
    body = {"attachment": {"volume_uuid": known.volume, **wishes}}
    reply = await world.ask("POST", "/attachments", body)
    assert reply.status == 200, reply.json
    known.attachment = reply.json["attachment"]["id"]


async def half_connected(world: World, known: Known) -> None:
    await reserved(world, known, connector=HOST)


async def legacy_reserved(world: World, known: Known) -> None:
    await made(world, known)
    task = world.spawn(in_turn(world, known, ("os-reserve", "os-initialize_connection")))
    await world.settle(task)


async def made_without_limits(world: World, known: Known) -> None:
    await unlimited(world, known)
    await made(world, known)


def creating(**wishes: Any) -> Act:
    """`$volume` and `$snapshot` in the wishes stand for what was prepared."""

    async def act(world: World, known: Known) -> Reply:
        told = {
            key: getattr(known, value[1:]) if str(value).startswith("$") else value
            for key, value in wishes.items()
        }
        return await world.call(
            "POST", "/volumes", {"volume": {"size": 1, "name": "subject", **told}}
        )

    return act


def acting(action: str, value: Any = None, role: str = "member") -> Act:
    async def act(world: World, known: Known) -> Reply:
        path = f"/volumes/{known.volume}/action"
        return await world.call("POST", path, {action: value}, role=role)

    return act


async def reverting(world: World, known: Known) -> Reply:
    return await acting("revert", {"snapshot_id": known.snapshot})(world, known)


async def reverting_and(world: World, known: Known, action: dict[str, Any]) -> Reply:
    """Something an administrator does to the snapshot while its volume is put back to it."""
    reply = await reverting(world, known)
    if reply.status != 202:
        return reply
    return await world.call("POST", f"/snapshots/{known.snapshot}/action", action, role="admin")


async def reimaging_and(world: World, known: Known, action: dict[str, Any]) -> Reply:
    """Something an administrator does while a volume is overwritten with an image."""
    reply = await acting("os-reimage", {"image_id": IMAGE})(world, known)
    if reply.status != 202:
        return reply
    return await world.call("POST", f"/volumes/{known.volume}/action", action, role="admin")


async def creating_reserved(world: World, known: Known) -> Reply:
    """A volume from an image, which a server reserves at once, while it is downloading or not."""
    reply = await creating(imageRef=IMAGE)(world, known)
    if reply.status != 202:
        return reply
    wanted = {"volume_uuid": reply.json["volume"]["id"]}
    return await world.call("POST", "/attachments", {"attachment": wanted})


def deleting(path: str) -> Act:
    async def act(world: World, known: Known) -> Reply:
        return await world.call("DELETE", path.format(**vars(known)))

    return act


def posting(path: str, key: str, **wishes: Any) -> Act:
    async def act(world: World, known: Known) -> Reply:
        body = {
            name: getattr(known, value[1:]) if str(value).startswith("$") else value
            for name, value in wishes.items()
        }
        return await world.call("POST", path, {key: body})

    return act


async def deleted(world: World, known: Known) -> None:
    """Every volume is deleted by its owner, whatever he finds."""
    for ident in list(world.facts().volumes):
        await world.ask("DELETE", f"/volumes/{ident}?cascade=true")


async def detached(world: World, known: Known) -> None:
    """Every attachment is deleted by its owner."""
    for one in list(world.facts().attachments):
        await world.ask("DELETE", f"/attachments/{one.id}")


async def first_refuses(world: World, _known: Known) -> None:
    world.drivers[0].failures["create"] = PermanentError("It is full.", remedy="Free space.")


async def first_not_ready(world: World, _known: Known) -> None:
    world.drivers[0].failures["create"] = TemporaryError("Not now.")


async def add_pool(world: World, **told: Any) -> None:
    """A further pool of the first backend, which says this of itself."""
    driver = world.drivers[0]
    driver.pools["pool1"] = told
    backend = Backend(driver, availability_zone=ZONE, threads=1)
    reports = backend.reports(driver.stats())
    world.write(lambda tx: services.report_pools(tx, backend.name, reports))


async def typed(world: World, _known: Known) -> None:
    """A type that asks something of backends, and one that only the first one's second pool has."""
    for name, specs in (("gold", {}), ("there", {"place": "there"})):
        wanted = {"name": name, "extra_specs": {"fake:tier": name, **specs}}
        reply = await world.call("POST", "/types", {"volume_type": wanted}, role="admin")
        assert reply.status == 200, reply.json


async def to_retype(world: World, known: Known, *, used: bool = False) -> None:
    await typed(world, known)
    await (connected if used else made)(world, known)
    await add_pool(world, place="there")


async def to_migrate(world: World, known: Known, *, used: bool = False) -> None:
    await (connected if used else made)(world, known)
    await add_pool(world)


async def to_apply(world: World, known: Known) -> None:
    """A volume of which the backend was told something untrue, and a task to put that right."""
    await to_retype(world, known)
    world.drivers[0].types[known.volume] = {"fake:tier": "gold"}


def retyping(new_type: str, policy: str = "never") -> Act:
    return acting("os-retype", {"new_type": new_type, "migration_policy": policy})


def migrating(pool: str = "pool1", **how: Any) -> Act:
    return acting("os-migrate_volume", {"host": f"node1@fast#{pool}", **how}, role="admin")


def and_then(first: Act, action: dict[str, Any]) -> Act:
    """Something an administrator does to the volume while that is being done."""

    async def act(world: World, known: Known) -> Reply | None:
        reply = await first(world, known)
        if reply is None or reply.status != 202:
            return reply
        return await world.call("POST", f"/volumes/{known.volume}/action", action, role="admin")

    return act


async def kept_as_it_was(world: World, known: Known) -> None:
    """The volume gets its first type back, by its owner."""
    path = f"/volumes/{known.volume}/action"
    wanted = {"new_type": "__DEFAULT__", "migration_policy": "on-demand"}
    await world.ask("POST", path, {"os-retype": wanted})


async def brought_back(world: World, known: Known) -> None:
    """The volume is moved to the pool where it was."""
    path = f"/volumes/{known.volume}/action"
    body = {"os-migrate_volume": {"host": "node1@fast#pool0"}}
    await world.ask("POST", path, body, role="admin")


async def applying(world: World, known: Known) -> None:
    await world.api.store.write(partial(apply_type.submit, volume_id=known.volume))


async def deleting_and(world: World, known: Known, action: dict[str, Any]) -> Reply:
    """Something an administrator does while a volume is being deleted."""
    reply = await world.call("DELETE", f"/volumes/{known.volume}")
    if reply.status != 202:
        return reply
    return await world.call("POST", f"/volumes/{known.volume}/action", action, role="admin")


async def connecting(world: World, known: Known) -> Reply:
    path = f"/attachments/{known.attachment}"
    return await world.call("PUT", path, {"attachment": {"connector": HOST}})


async def creating_and(world: World, known: Known, action: dict[str, Any]) -> Reply:
    """Something an administrator does while a volume is being created."""
    reply = await world.call("POST", "/volumes", {"volume": {"size": 1, "name": "subject"}})
    if reply.status != 202:
        return reply
    path = f"/volumes/{reply.json['volume']['id']}/action"
    return await world.call("POST", path, action, role="admin")


async def in_turn(world: World, known: Known, actions: tuple[str, ...]) -> Reply | None:
    """Actions on the volume, one after the other, until one is refused."""
    reply = None
    for action in actions:
        value = {"connector": HOST} if "connection" in action else None
        reply = await acting(action, value)(world, known)
        if reply.status >= 300:
            break
    return reply


async def letting_go_of_snapshot(world: World, known: Known) -> Reply:
    path = f"/snapshots/{known.snapshot}/action"
    return await world.call("POST", path, {"os-unmanage": None}, role="admin")


async def letting_go_and(world: World, known: Known, action: dict[str, Any]) -> Reply:
    """Something an administrator does while a volume is being unmanaged."""
    reply = await acting("os-unmanage", role="admin")(world, known)
    if reply.status != 202:
        return reply
    return await world.call("POST", f"/volumes/{known.volume}/action", action, role="admin")


async def adopting(world: World, _known: Known) -> Reply:
    wanted = {"host": "node1@fast#pool0", "ref": {"source-name": "old"}}
    return await world.call("POST", "/manageable_volumes", {"volume": wanted}, role="admin")


async def adopting_and(world: World, known: Known, action: dict[str, Any]) -> Reply:
    """Something an administrator does while a volume is being adopted."""
    reply = await adopting(world, known)
    if reply.status != 202:
        return reply
    path = f"/volumes/{reply.json['volume']['id']}/action"
    return await world.call("POST", path, action, role="admin")


async def adopting_snapshot(world: World, known: Known) -> Reply:
    wanted = {"volume_id": known.volume, "ref": {"source-name": "old"}}
    return await world.call("POST", "/manageable_snapshots", {"snapshot": wanted}, role="admin")


async def listing_manageable(world: World, _known: Known) -> Reply:
    return await world.call("GET", "/manageable_volumes?host=node1@fast", role="admin")


uploading = acting("os-volume_upload_image", {"image_name": "copy"})


async def uploading_and(world: World, known: Known, action: dict[str, Any]) -> Reply:
    """Something an administrator does while a volume is being uploaded."""
    reply = await uploading(world, known)
    if reply.status != 202:
        return reply
    return await world.call("POST", f"/volumes/{known.volume}/action", action, role="admin")


def resetting_snapshot(status: str) -> Act:
    async def act(world: World, known: Known) -> Reply:
        path, action = (
            f"/snapshots/{known.snapshot}/action",
            {"os-reset_status": {"status": status}},
        )
        return await world.call("POST", path, action, role="admin")

    return act


def stored(world: World, known: Known) -> str:
    """The volume's status and size, and the hosts that its backend lets in."""
    hosts = sorted(host for _, host in world.drivers[0].exports)
    return " ".join([sized(world, known), *hosts])


async def stray(world: World, known: Known) -> None:
    """An export that nobody asked for, one that is missing, and a growth that was not recorded."""
    await connected(world, known)
    driver = world.drivers[0]
    driver.exports = {(known.volume, "compute9")}
    driver.sizes[known.volume] = 3


async def sweeping(world: World, known: Known) -> None:
    request = partial(sweep_backend.request, backend="node1@fast")
    await world.api.store.write(request)


async def unlimited(world: World, _known: Known) -> None:
    """A project that may ask for more than there is."""
    path, body = f"/os-quota-sets/{PROJECT}", {"quota_set": {"gigabytes": -1}}
    assert (await world.call("PUT", path, body, role="admin")).status == 200
