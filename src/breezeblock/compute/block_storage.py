"""The block storage API as the compute service needs it: a client of a dozen calls.

Workflow steps and API handlers call it; nothing else in `compute` knows HTTP. It sends what Nova
sends (shared facts, connection_info.md section 4), so that another block storage service may stand
behind the endpoint. The connection pool is shared; on whose behalf a call is made is a value of
its own (`BlockStorage.of`), never a state of the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2
import msgspec

from breezeblock.auth.between_services import between_services
from breezeblock.auth.identity import Identity
from breezeblock.config import Config
from breezeblock.model.errors import BreezeblockError
from breezeblock.telemetry import tracing

VERSION = "volume 3.44"
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 90.0
"""Longer than the service's own patience with a backend, so that its answer is heard."""

_AWAY = frozenset({0, 502, 503, 504})


class BlockStorageError(BreezeblockError):
    """The block storage API refused, or did not answer (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    @property
    def temporary(self) -> bool:
        """Whether the same call may succeed later unchanged."""
        return self.status in _AWAY


class Volume(msgspec.Struct, frozen=True):
    """A volume as far as servers care. `size` is GiB."""

    id: str
    size: int
    status: str
    name: str | None = None
    multiattach: bool = False
    migration_status: str | None = None
    project_id: str | None = msgspec.field(default=None, name="os-vol-tenant-attr:tenant_id")


class Attachment(msgspec.Struct, frozen=True):
    """One use of a volume. `connection_info` is the flat form, empty while merely reserved."""

    id: str
    status: str
    connection_info: dict[str, Any] | None = None


@dataclass(frozen=True)
class BlockStorage:
    """The API on behalf of one caller; `of` gives it another one."""

    http: httpx2.AsyncClient
    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict)
    acts_for_owners: bool = True
    """False: every call is made by a service user, whoever it is for."""
    callers_header: str = ""
    """Where callers of ours show credentials that block storage takes, too; "": nowhere."""
    project_id: str = ""
    """On behalf of which project a service user looks."""

    def of(self, user_id: str, project_id: str) -> BlockStorage:
        """The same API on behalf of a user and his project."""
        if not self.acts_for_owners:
            return replace(self, project_id=project_id)
        return replace(self, headers={"X-Auth-Token": f"{user_id}:{project_id}"})

    def as_caller(self, identity: Identity, shown: Mapping[str, str]) -> BlockStorage | None:
        """The same API in the caller's own name, by the headers of his request to us; None when
        block storage would not know him by them.

        What is made so belongs to his project. These credentials are for the time of his request:
        they are kept nowhere.
        """
        if self.acts_for_owners:
            return self.of(identity.user_id, identity.project_id)
        if self.callers_header == "":
            return None
        his = shown.get(self.callers_header, "")
        if not his or identity.is_anonymous:
            his = f"{identity.user_id}:{identity.project_id}"
        service = {"X-Service-Token": self.headers["X-Auth-Token"]} if self.headers else {}
        return replace(self, headers={self.callers_header: his, **service})

    async def close(self) -> None:
        await self.http.aclose()

    # -- volumes -------------------------------------------------------------------------------

    async def volume(self, volume_id: str) -> Volume:
        """Raises BlockStorageError (404: there is none that the caller may see)."""
        answer = await self._call("GET", f"/volumes/{volume_id}")
        return msgspec.convert(answer["volume"], Volume)

    async def find_volume(self, volume_id: str) -> Volume | None:
        """As `volume`; None when there is none."""
        try:
            return await self.volume(volume_id)
        except BlockStorageError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def volumes_named(self, name: str) -> list[Volume]:
        """Those of the project that bear the name."""
        wanted = {"name": name}
        if not self.acts_for_owners:
            wanted |= {"all_tenants": "1", "project_id": self.project_id}
        answer = await self._call("GET", "/volumes/detail", params=wanted)
        return msgspec.convert(answer["volumes"], list[Volume])

    async def create_volume(self, *, key: str, **wanted: Any) -> Volume:
        """Make a volume: one, however often, and however late, this is called with the same key."""
        answer = await self._call("POST", "/volumes", {"volume": wanted}, headers=_once(key))
        return msgspec.convert(answer["volume"], Volume)

    async def delete_volume(self, volume_id: str) -> None:
        """One that is gone is no error."""
        await self._call("DELETE", f"/volumes/{volume_id}", gone_is_fine=True)

    async def begin_detaching(self, volume_id: str) -> None:
        await self._call("POST", f"/volumes/{volume_id}/action", {"os-begin_detaching": {}})

    async def roll_detaching(self, volume_id: str) -> None:
        body: dict[str, Any] = {"os-roll_detaching": {}}
        await self._call("POST", f"/volumes/{volume_id}/action", body, gone_is_fine=True)

    # -- attachments ---------------------------------------------------------------------------

    async def attachments(self, volume_id: str, server_id: str) -> list[Attachment]:
        """A server's attachments of a volume: one, or more when an earlier try was cut short."""
        wanted = {"volume_id": volume_id, "instance_id": server_id}
        answer = await self._call("GET", "/attachments", params=wanted)
        return msgspec.convert(answer["attachments"], list[Attachment])

    async def attachments_of(self, server_id: str) -> list[Attachment]:
        """All attachments of a server."""
        answer = await self._call("GET", "/attachments", params={"instance_id": server_id})
        return msgspec.convert(answer["attachments"], list[Attachment])

    async def attachment(self, attachment_id: str) -> Attachment:
        answer = await self._call("GET", f"/attachments/{attachment_id}")
        return msgspec.convert(answer["attachment"], Attachment)

    async def reserve(self, volume_id: str, server_id: str, *, key: str) -> Attachment:
        """Reserve the volume for the server, without a connector yet; `key` as in create_volume."""
        wanted = {"volume_uuid": volume_id, "instance_uuid": server_id, "connector": None}
        body = {"attachment": wanted}
        answer = await self._call("POST", "/attachments", body, headers=_once(key))
        return msgspec.convert(answer["attachment"], Attachment)

    async def connect(self, attachment_id: str, connector: Mapping[str, Any]) -> None:
        """Have the volume exported to the host that the connector names."""
        body = {"attachment": {"connector": dict(connector)}}
        await self._call("PUT", f"/attachments/{attachment_id}", body)

    async def complete(self, attachment_id: str) -> None:
        """Say that the server has the volume."""
        await self._call("POST", f"/attachments/{attachment_id}/action", {"os-complete": {}})

    async def delete_attachment(self, attachment_id: str) -> None:
        """One that is gone is no error."""
        # The second token says that a service asks: it knows that no server holds the volume.
        service = {"X-Service-Token": self.headers.get("X-Auth-Token", "compute")}
        path = f"/attachments/{attachment_id}"
        await self._call("DELETE", path, headers=service, gone_is_fine=True)

    async def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        gone_is_fine: bool = False,
    ) -> Any:
        sent = {"OpenStack-API-Version": VERSION, **self.headers, **(headers or {})}
        if trace := tracing.traceparent():
            sent["traceparent"] = trace
        # A password of the caller's stands in the place of our own.
        auth = None if "authorization" in sent else httpx2.USE_CLIENT_DEFAULT
        try:
            reply = await self.http.request(
                method, f"{self.endpoint}{path}", json=body, params=params, headers=sent, auth=auth
            )
        except httpx2.HTTPError as error:
            why = f"The block storage API does not answer: {error or type(error).__name__}"
            raise BlockStorageError(0, why) from error
        if gone_is_fine and reply.status_code == HTTPStatus.NOT_FOUND:
            return None
        if reply.status_code >= HTTPStatus.BAD_REQUEST:
            raise BlockStorageError(reply.status_code, _message(reply))
        return reply.json() if reply.content else None


def _once(key: str) -> dict[str, str]:
    """For a POST that may be sent again: by a second agent, or late by one that slept."""
    return {"Idempotency-Key": key}


def _message(reply: httpx2.Response) -> str:
    """The message in the fault's envelope, else the beginning of whatever came."""
    try:
        [content] = reply.json().values()
        return str(content["message"])
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"The block storage API answered {reply.status_code}: {reply.text[:200]}"


def open_block_storage(config: Config) -> BlockStorage:
    """The API that the configuration names, with its credentials."""
    credentials = between_services(config)
    http = httpx2.AsyncClient(
        timeout=httpx2.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
        # One caller's session must never serve another.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        **credentials.for_client,
    )
    token = credentials.token
    return BlockStorage(
        http,
        config.block_storage_endpoint,
        headers={"X-Auth-Token": token} if token else {},
        acts_for_owners=not (token or credentials.for_client),
        callers_header=credentials.callers_header,
    )
