"""Services: who works, who is taken out of scheduling and why, and how much each logs."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from msgspec import Meta

from breezeblock import log_level
from breezeblock.api.application import ApiCall
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.services import Service, is_on
from breezeblock.store import services
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.routes import Route
from breezeblock.web.types import UNSET, Body, RequiredName, Text, Text1, UnsetType, timestamp

HostName = Annotated[
    str,
    Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9\-._#@:/+\[\]]*(?![\s\S])"),
]


API = "cinder-api"
"""Processes of the API do not report; this one answers for itself."""
Binary = Literal["cinder-scheduler", "cinder-volume", "cinder-backup", "cinder-api", "", "*"]


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


class Failover(BackendName, frozen=True):
    """`backend_id` is the target; the backend chooses when there is none."""

    backend_id: Text | UnsetType | None = UNSET


class Loggers(Body, frozen=True):
    """Which services are meant, and which of their loggers."""

    binary: Binary = ""
    server: Text | None = None
    prefix: Text | None = None


class LoggersWithLevel(Loggers, frozen=True):
    level: str | None = None


def view(call: ApiCall, service: Service) -> dict[str, Any]:
    """A service with the keys of the request's version."""
    shown: dict[str, Any] = {
        "binary": service.binary,
        "host": service.host,
        "zone": service.availability_zone,
        "status": "disabled" if service.out_of_scheduling else "enabled",
        "state": "up" if service.up else "down",
        "updated_at": timestamp(service.updated_at),
        "disabled_reason": service.out_because,
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
            if binary in (None, "", service.binary) and (not host or is_on(service.host, host))
        ]
    }


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


# -- backends --------------------------------------------------------------------------------------


async def freeze(call: ApiCall) -> None:
    await _set_frozen(call, "volume:freeze_host", True)


async def thaw(call: ApiCall) -> None:
    await _set_frozen(call, "volume:thaw_host", False)


async def _set_frozen(call: ApiCall, rule: str, frozen: bool) -> None:
    call.require(rule)
    host = _backends_host(call)

    def write(tx: WriteTx) -> None:
        if not services.set_frozen(tx, _backends_on(tx, call, host), frozen=frozen):
            raise InvalidInput(f"Every backend on {host} is {'frozen' if frozen else 'thawed'}.")

    await call.app.store.write(write)


async def failover(call: ApiCall) -> None:
    """Have a backend go on with the copies that it keeps elsewhere. None of our drivers keeps any,
    so there is always a reason why not."""
    call.require("volume:failover_host")
    host = _backends_host(call)
    backends = await call.app.store.read(lambda tx: _backends_on(tx, call, host))
    raise InvalidInput(
        f"The replication of {', '.join(backends)} is disabled; it must be enabled or failed-over."
    )


def _backends_host(call: ApiCall) -> str:
    """The host that is asked for: there are no clusters, which count from 3.26 on."""
    named: BackendName = call.body
    if not call.at_least(3, 26):
        return _host(named)
    if bool(named.host) == bool(named.cluster):
        raise InvalidInput("One and only one of cluster and host must be given.")
    if named.cluster:
        raise InvalidInput(f"There is no cluster {named.cluster[:100]}.")
    return _host(named)


def _backends_on(tx: ReadTx, call: ApiCall, host: str) -> list[str]:
    known = services.all_services(tx, call.app.config.service_down_time)
    found = [one.host for one in known if one.binary == services.VOLUME and is_on(one.host, host)]
    if not found:
        raise InvalidInput(f"There is no volume service on host {host}.")
    return found


# -- logs ------------------------------------------------------------------------------------------


async def get_log(call: ApiCall) -> dict[str, Any]:
    """What each service said at its last report, and this process of itself."""
    wanted: Loggers = call.body
    found = await call.app.store.read(lambda tx: _meant(tx, call, wanted))
    levels = [_levels(one.host, one.binary, one.log_level, wanted) for one in found]
    if _means_us(call, wanted):
        ours = _levels(call.app.config.hostname, API, log_level.current(), wanted)
        levels.insert(0, ours)
    return {"log_levels": levels}


def _levels(host: str, binary: str, level: str | None, wanted: Loggers) -> dict[str, Any]:
    shown = level is not None and log_level.LOGGER.startswith(wanted.prefix or "")
    levels = {log_level.LOGGER: level.upper()} if shown and level else {}
    return {"host": host, "binary": binary, "levels": levels}


async def set_log(call: ApiCall) -> None:
    """This process follows at once, other services with their next report."""
    wanted: LoggersWithLevel = call.body
    level = (wanted.level or "").lower()
    if level not in log_level.LEVELS:
        raise InvalidInput(f"level: it must be one of {', '.join(log_level.LEVELS)}.")
    if not log_level.LOGGER.startswith(wanted.prefix or ""):
        return

    def write(tx: WriteTx) -> None:
        meant = [one.id for one in _meant(tx, call, wanted)]
        services.want_log_level(tx, meant, level)

    await call.app.store.write(write)
    if _means_us(call, wanted):
        log_level.change(level)


def _meant(tx: ReadTx, call: ApiCall, wanted: Loggers) -> list[Service]:
    known = services.all_services(tx, call.app.config.service_down_time)
    return [
        one
        for one in known
        if one.up
        and wanted.binary in ("", "*", one.binary)
        and (not wanted.server or is_on(one.host, wanted.server))
    ]


def _means_us(call: ApiCall, wanted: Loggers) -> bool:
    us = call.app.config.hostname
    return wanted.binary in ("", "*", API) and wanted.server in (None, "", us)


_TAGS = ("services",)
_UPDATE = "volume_extension:services:update"


def _put(
    name: str,
    handler: Any,
    body: type[Body],
    summary: str,
    *,
    since: str | None = None,
    success: int = 200,
) -> Route:
    return Route(
        "PUT",
        f"/os-services/{name}",
        handler,
        since=since,
        body=body,
        policy=_UPDATE,
        success=success,
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
    _put("freeze", freeze, BackendName, "Forbid changes on a backend"),
    _put("thaw", thaw, BackendName, "Undo a freeze"),
    _put("failover_host", failover, Failover, "Fail a replicated backend over", success=202),
    _put(
        "failover",
        failover,
        Failover,
        "Fail a replicated backend over (newer name)",
        since="3.26",
        success=202,
    ),
    _put("get-log", get_log, Loggers, "Show how much services log", since="3.32"),
    _put(
        "set-log",
        set_log,
        LoggersWithLevel,
        "Change how much services log",
        since="3.32",
        success=202,
    ),
)
