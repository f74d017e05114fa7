"""Telling the compute API that a volume has grown: the wire's external event, as Nova takes it."""

from __future__ import annotations

import httpx2

from breezeblock.config import Config
from breezeblock.model.errors import Unavailable

TIMEOUT = 20.0
COMPUTE_VERSION = "compute 2.51"


class ComputeEvents:
    """A client of `POST /os-server-external-events` (shared facts, connection_info.md 4)."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._client: httpx2.AsyncClient | None = None

    async def volume_extended(self, servers: list[str], volume_id: str) -> None:
        """Have each server look at its volume again. Raises Unavailable when one was not told."""
        events = [
            {"name": "volume-extended", "server_uuid": server, "tag": volume_id}
            for server in servers
        ]
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=TIMEOUT, headers=self._headers(), auth=self._auth()
            )
        url = f"{self._config.compute_endpoint}/os-server-external-events"
        try:
            reply = await self._client.post(url, json={"events": events})
        except httpx2.HTTPError as error:
            raise Unavailable(f"the compute API does not answer: {error}") from error
        if reply.status_code not in (200, 207):
            raise Unavailable(f"the compute API answered {reply.status_code}: {reply.text[:200]}")
        told = {
            event.get("server_uuid"): event.get("code", 200)
            for event in reply.json().get("events", [])
        }
        missed = [server for server in servers if told.get(server) != 200]
        if missed:
            raise Unavailable(f"the compute API could not tell server {', '.join(missed)}")

    def _headers(self) -> dict[str, str]:
        headers = {"OpenStack-API-Version": COMPUTE_VERSION}
        if not self._config.compute.block_storage_user:
            headers["X-Auth-Token"] = self._config.compute.block_storage_token or "admin:admin"
        return headers

    def _auth(self) -> tuple[str, str] | None:
        compute = self._config.compute
        if not compute.block_storage_user:
            return None
        return compute.block_storage_user, compute.block_storage_password
