"""Services: who works, who is taken out of scheduling, and why."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from breezeblock.api.application import ApiCall
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.services import Service
from breezeblock.store import services
from breezeblock.web.routes import Route
from breezeblock.web.types import UNSET, Body, RequiredName, Text, Text1, UnsetType, timestamp

HostName = Annotated[
    str,
    Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9\-._#@:/+\[\]]*(?![\s\S])"),
]


class ServiceName(Body, frozen=True):
    """Which service is meant. `service` is an older word for `binary`; there are no clusters."""

    binary: Text1 | UnsetType = UNSET
    service: Text1 | UnsetType = UNSET
    host: HostName | UnsetType | None = UNSET
    cluster: Text | UnsetType | None = UNSET


class ServiceWithReason(ServiceName, frozen=True):
    disabled_reason: RequiredName | UnsetType = UNSET


class BackendName(Body, frozen=True):
    host: HostName | UnsetType | None = UNSET
    cluster: Text | UnsetType | None = UNSET


def view(call: ApiCall, service: Service) -> dict[str, Any]:
    """A service with the keys of the request's version."""
    shown: dict[str, Any] = {
        "binary": service.binary,
        "host": service.host,
        "zone": service.availability_zone,
        "status": "disabled" if service.disabled else "enabled",
        "state": "up" if service.up else "down",
        "updated_at": timestamp(service.updated_at),
        "disabled_reason": service.disabled_reason,
    }
    if call.at_least(3, 7):
        shown["cluster"] = None
    if service.binary == services.VOLUME:
        shown |= {
            "replication_status": "disabled",
            "active_backend_id": None,
            "frozen": service.frozen,
        }
        if call.at_least(3, 49):
            shown["backend_state"] = service.backend_state
    return shown


async def list_services(call: ApiCall) -> dict[str, list[dict[str, Any]]]:
    down_time = call.app.config.service_down_time
    known = await call.app.store.read(lambda tx: services.all_services(tx, down_time))
    binary, host = call.query.get("binary"), call.query.get("host")
    return {
        "services": [
            view(call, service)
            for service in known
            if binary in (None, service.binary) and (host is None or _is_on(service, host))
        ]
    }


def _is_on(service: Service, host: str) -> bool:
    """A machine's name stands for all backends that it serves."""
    return service.host == host or service.host.startswith(f"{host}@")


async def enable(call: ApiCall) -> dict[str, Any]:
    return await _set_disabled(call, False, None)


async def disable(call: ApiCall) -> dict[str, Any]:
    return await _set_disabled(call, True, None)


async def disable_log_reason(call: ApiCall) -> dict[str, Any]:
    reason = call.body.disabled_reason or None
    return {**await _set_disabled(call, True, reason), "disabled_reason": reason}


async def _set_disabled(call: ApiCall, disabled: bool, reason: str | None) -> dict[str, Any]:
    named: ServiceName = call.body
    binary = named.binary or named.service
    if not binary:
        raise InvalidInput("One of binary and service must be given.")
    host = _host(named)
    change = partial(
        services.set_disabled, binary=binary, host=host, disabled=disabled, reason=reason
    )
    if not await call.app.store.write(change):
        raise NotFound("Service", f"{binary} on {host}")
    return {
        "host": host,
        "service": named.service or "",
        "binary": named.binary or "",
        "status": "disabled" if disabled else "enabled",
        "disabled": disabled,
    }


def _host(named: ServiceName | BackendName) -> str:
    if not named.host:
        raise InvalidInput("Missing required element 'host' in request body.")
    return named.host


async def freeze(call: ApiCall) -> None:
    await _set_frozen(call, "volume:freeze_host", True)


async def thaw(call: ApiCall) -> None:
    await _set_frozen(call, "volume:thaw_host", False)


async def _set_frozen(call: ApiCall, rule: str, frozen: bool) -> None:
    call.require(rule)
    named: BackendName = call.body
    if call.at_least(3, 26) and named.cluster:
        raise InvalidInput(f"Cluster {named.cluster[:100]} is not known; name a host.")
    host = _host(named)
    if not await call.app.store.write(partial(services.set_frozen, host=host, frozen=frozen)):
        raise InvalidInput(f"There is no volume service on host {host}.")


_TAGS = ("services",)
_UPDATE = "volume_extension:services:update"


def _put(name: str, handler: Any, body: type[Body], summary: str) -> Route:
    return Route(
        "PUT",
        f"/os-services/{name}",
        handler,
        body=body,
        policy=_UPDATE,
        summary=summary,
        tags=_TAGS,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/os-services",
        list_services,
        query=("host", "binary"),
        policy="volume_extension:services:index",
        summary="List services with their state",
        tags=_TAGS,
    ),
    _put("enable", enable, ServiceName, "Take a service back into scheduling"),
    _put("disable", disable, ServiceName, "Take a service out of scheduling"),
    _put("disable-log-reason", disable_log_reason, ServiceWithReason, "Disable, and say why"),
    _put("freeze", freeze, BackendName, "Place nothing new on a backend"),
    _put("thaw", thaw, BackendName, "Undo a freeze"),
)
