"""What block storage asks of the compute API, and tells it, with the calls that Nova has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from breezeblock.config import Config
from breezeblock.model.errors import Unavailable

if TYPE_CHECKING:
    import httpx2

log = structlog.get_logger()

TIMEOUT = 20.0
EXTENDED_VERSION = "compute 2.51"
REIMAGED_VERSION = "compute 2.93"
"""The first versions in which these events can be told."""
ATTACHMENT_ID_VERSION = "compute 2.89"
"""The first version that shows which attachment a server's volume has."""


class ComputeClient:
    """A client of the compute API (shared facts, connection_info.md 4 and 5)."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._client: httpx2.AsyncClient | None = None

    async def volume_extended(self, servers: list[str], volume_id: str) -> None:
        """Have each server look at its volume again. Raises Unavailable when one was not told."""
        await self._tell("volume-extended", EXTENDED_VERSION, servers, volume_id)

    async def volume_reimaged(self, servers: list[str], volume_id: str) -> None:
        """Have each server go on with its rebuilding. Raises Unavailable when one was not told."""
        await self._tell("volume-reimaged", REIMAGED_VERSION, servers, volume_id)

    async def _tell(self, event: str, version: str, servers: list[str], volume_id: str) -> None:
        events = [{"name": event, "server_uuid": server, "tag": volume_id} for server in servers]
        reply = await self._call("POST", "/os-server-external-events", version, {"events": events})
        if reply.status_code not in (200, 207):
            raise Unavailable(f"the compute API answered {reply.status_code}: {reply.text[:200]}")
        told = {
            event.get("server_uuid"): event.get("code", 200)
            for event in reply.json().get("events", [])
        }
        missed = [server for server in servers if told.get(server) != 200]
        if missed:
            raise Unavailable(f"the compute API could not tell server {', '.join(missed)}")

    async def attachment_in_use(self, server_id: str, volume_id: str) -> str | None:
        """The attachment by which the server uses the volume; None when it does not.

        Where no compute API listens there are no servers; that is believed where every caller is an
        administrator, no volume of another's is at stake. Raises Unavailable when it cannot say.
        """
        import httpx2

        path = f"/servers/{server_id}/os-volume_attachments/{volume_id}"
        try:
            reply = await self._call("GET", path, ATTACHMENT_ID_VERSION)
        except Unavailable as error:
            everybody_may = self._config.auth.strategy == "none"
            if everybody_may and isinstance(error.__cause__, httpx2.ConnectError):
                log.warning("no compute API to ask", endpoint=self._config.compute_endpoint)
                return None
            raise
        if reply.status_code == 404:
            return None
        if reply.status_code != 200:
            raise Unavailable(f"the compute API answered {reply.status_code}")
        found: str | None = reply.json()["volumeAttachment"].get("attachment_id")
        return found

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _call(
        self, method: str, path: str, version: str, body: Any = None
    ) -> httpx2.Response:
        import httpx2  # nobody asks in most processes

        from breezeblock.auth.between_services import between_services

        if self._client is None:
            credentials = between_services(self._config)
            token = "" if credentials.for_client else credentials.token or "admin:admin"
            self._client = httpx2.AsyncClient(
                timeout=TIMEOUT,
                headers={"X-Auth-Token": token} if token else {},
                **credentials.for_client,
            )
        url = f"{self._config.compute_endpoint}{path}"
        headers = {"OpenStack-API-Version": version}
        try:
            return await self._client.request(method, url, json=body, headers=headers)
        except httpx2.HTTPError as error:
            raise Unavailable(f"the compute API does not answer: {error}") from error
