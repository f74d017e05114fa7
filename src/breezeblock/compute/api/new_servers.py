"""Creating servers over HTTP: POST /servers.

The request is checked as far as it can be at once; what takes time, or may fail on a host, is the
operation's (`workflows.create_server`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType, field

from breezeblock.compute.api import images, made_volumes, policy
from breezeblock.compute.api.application import ApiCall
from breezeblock.compute.api.block_devices import BlockDevice, PlannedVolume, plan
from breezeblock.compute.api.volumes import MULTIATTACH, check_attachable, visible_volume
from breezeblock.compute.workflows import create_server
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.ids import new_id
from breezeblock.model.servers import Flavor, Server, ServerVolume, choose_host
from breezeblock.operations.submit import Caller
from breezeblock.store import servers
from breezeblock.store.store import WriteTx
from breezeblock.web.call import Reply
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Bool, Description, LooseBody, Metadata, RequiredName, Size

MOST_AT_ONCE = 100


class NewServer(Body, frozen=True):
    """What a new server is. Fields that only a network or an image could serve are refused when
    they are set, see `_refuse`; the others without a meaning here are accepted and ignored."""

    name: RequiredName
    flavor_ref: str | int = field(name="flavorRef")
    image_ref: str | None = field(default=None, name="imageRef")
    block_device_mapping_v2: Annotated[list[BlockDevice], Meta(max_length=255)] = []
    networks: Any = None
    metadata: Metadata = {}
    description: Description | None = None
    availability_zone: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    host: str | None = None
    hypervisor_hostname: str | None = None
    min_count: Size | UnsetType = UNSET
    max_count: Size | UnsetType = UNSET
    return_reservation_id: Bool = False
    key_name: str | None = None
    user_data: str | None = None
    personality: list[Any] = []
    tags: list[str] = []
    admin_pass: str | None = field(default=None, name="adminPass")
    config_drive: Any = None
    security_groups: list[Any] = []
    hostname: str | None = None
    access_ip_v4: str | None = field(default=None, name="accessIPv4")
    access_ip_v6: str | None = field(default=None, name="accessIPv6")
    disk_config: str | None = field(default=None, name="OS-DCF:diskConfig")
    trusted_image_certificates: Any = None


class CreateServer(LooseBody, frozen=True):
    """Scheduler hints may stand beside the server; there is nothing here that they could steer."""

    server: NewServer


async def create(call: ApiCall) -> Reply:
    wanted: NewServer = call.body.server
    _refuse(wanted)
    flavor = call.app.flavors.get(str(wanted.flavor_ref))
    if flavor is None:
        raise InvalidInput(f"Flavor {wanted.flavor_ref} could not be found.")
    planned = plan(wanted.block_device_mapping_v2, call.app.config.compute.kernel_image)
    names = _names(wanted)
    await _check_volumes(call, planned, len(names))
    image = _image(call, wanted, planned)
    ordered = await call.app.store.write(
        lambda tx: _insert(tx, call, wanted, names, flavor, image, planned)
    )
    await made_volumes.make(call, ordered)
    first = ordered[0].server
    if wanted.return_reservation_id:
        return Reply({"reservation_id": f"r-{first.id[:8]}"})
    return _created(call, first, wanted)


def _refuse(wanted: NewServer) -> None:
    """Say no to what would silently not be done."""
    if isinstance(wanted.networks, list) and any(wanted.networks):
        raise InvalidInput("This compute service has no networks: ask for 'none' or 'auto'.")
    if wanted.key_name:
        raise InvalidInput(f"Invalid key_name provided: there is no key pair {wanted.key_name}.")
    for name in ("user_data", "personality", "tags"):
        if getattr(wanted, name):
            raise InvalidInput(f"This compute service cannot give servers any {name}.")


def _names(wanted: NewServer) -> list[str]:
    """Names of the servers that are made: as many as could be, which is max_count."""
    least = 1 if wanted.min_count is UNSET else wanted.min_count
    most = least if wanted.max_count is UNSET else wanted.max_count
    if least > most:
        raise InvalidInput("min_count must be <= max_count")
    if most > MOST_AT_ONCE:
        raise InvalidInput(f"max_count must be at most {MOST_AT_ONCE}")
    if most == 1:
        return [wanted.name]
    return [f"{wanted.name}-{number}" for number in range(1, most + 1)]


async def _check_volumes(call: ApiCall, planned: Sequence[PlannedVolume], number: int) -> None:
    """Whether the wanted volumes may be attached. Raises InvalidInput, InvalidState."""
    storage = call.app.block_storage.of(call.identity.user_id, call.identity.project_id)
    for one in planned:
        if one.volume_id is None:
            made_volumes.check(call)
            continue
        try:
            volume = await visible_volume(call, storage, one.volume_id)
        except NotFound as error:
            # It stands in the body, not in the path.
            raise InvalidInput(f"Block Device Mapping is Invalid: {error}") from None
        check_attachable(volume, multiattach_allowed=call.at_least(*MULTIATTACH))
        if number > 1 and not volume.multiattach:
            raise InvalidInput("Cannot attach one or more volumes to multiple instances")


def _image(call: ApiCall, wanted: NewServer, planned: Sequence[PlannedVolume]) -> str | None:
    """What the server boots: None for its root volume, else the configured kernel."""
    known = images.known(call.app.config)
    if wanted.image_ref and wanted.image_ref not in known:
        raise InvalidInput("Can not find requested image")
    if any(one.boot_index == 0 for one in planned):
        return None
    if not known:
        raise InvalidInput(
            "Block Device Mapping is Invalid: the server has nothing to boot. Give it a volume "
            "with boot_index 0, or have the operator set compute.kernel."
        )
    return call.app.config.compute.kernel_image


def _insert(
    tx: WriteTx,
    call: ApiCall,
    wanted: NewServer,
    names: Sequence[str],
    flavor: Flavor,
    image: str | None,
    planned: Sequence[PlannedVolume],
) -> list[create_server.Ordered]:
    zone, host = _place(call, wanted)
    caller: Caller = call.app.caller(call)
    default_zone = zone or call.app.config.availability_zone
    ordered = []
    for name in names:
        hosts = servers.hosts(tx, call.app.config.service_down_time)
        if zone and zone not in {one.availability_zone for one in hosts}:
            raise InvalidInput(f"The requested availability zone is not available: {zone}")
        chosen = choose_host(hosts, zone, host)
        zones = {one.name: one.availability_zone for one in hosts}
        server = Server(
            id=new_id(),
            project_id=call.identity.project_id,
            user_id=call.identity.user_id,
            name=name,
            description=wanted.description,
            status="BUILD",
            flavor=flavor,
            host=chosen,
            availability_zone=zones.get(chosen or "", default_zone),
            image_ref=image,
            metadata=wanted.metadata,
            created_at=tx.now,
        )
        ordered.append(create_server.Ordered(server, _rows(tx, server, planned)))
        create_server.submit(tx, caller, ordered[-1])
    return ordered


def _place(call: ApiCall, wanted: NewServer) -> tuple[str | None, str | None]:
    """(zone, host) that the server must be in: `zone`, `zone:host`, or a field of its own."""
    zone, _, host = (wanted.availability_zone or "").partition(":")
    forced = wanted.host or wanted.hypervisor_hostname or host.partition(":")[0]
    if forced:
        call.require(policy.CREATE_ON_HOST)
    return zone or None, forced or None


def _rows(tx: WriteTx, server: Server, planned: Sequence[PlannedVolume]) -> list[ServerVolume]:
    return [
        ServerVolume(
            id=new_id(),
            server_id=server.id,
            volume_id=one.volume_id,
            source=one.source,
            device=one.device,
            boot_index=one.boot_index,
            tag=one.tag,
            delete_on_termination=one.delete_on_termination,
            state="attaching",
            created_at=tx.now,
        )
        for one in planned
    ]


def _created(call: ApiCall, server: Server, wanted: NewServer) -> Reply:
    links = call.link("servers", server.id)
    shown = {
        "id": server.id,
        "links": links,
        "OS-DCF:diskConfig": wanted.disk_config or "MANUAL",
        "security_groups": wanted.security_groups or [{"name": "default"}],
        "adminPass": wanted.admin_pass or secrets.token_urlsafe(9),
    }
    return Reply({"server": shown}, headers={"Location": links[0]["href"]})


ROUTES = (
    Route(
        "POST",
        "/servers",
        create,
        body=CreateServer,
        policy=policy.CREATE,
        success=202,
        secret=True,
        summary="Create servers",
        tags=("servers",),
    ),
)
