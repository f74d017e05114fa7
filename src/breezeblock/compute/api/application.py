"""What the handlers of the compute API work with: store, waiter, block storage, configuration.

One `Application` a process, made by `services/` and handed to handlers as `call.app`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from breezeblock.compute.block_storage import BlockStorage
from breezeblock.config import Config
from breezeblock.model.servers import Flavor, Server
from breezeblock.operations.submit import Caller
from breezeblock.operations.waiting import Waiter
from breezeblock.store import servers
from breezeblock.store.store import Store
from breezeblock.web.call import Call


@dataclass(frozen=True)
class Application:
    """The compute API's own tools. It holds no state: put any number side by side."""

    config: Config
    store: Store
    waiter: Waiter
    block_storage: BlockStorage

    def caller(self, call: ApiCall) -> Caller:
        """On whose behalf an operation is opened."""
        return Caller(
            project_id=call.identity.project_id,
            user_id=call.identity.user_id,
            request_id=call.request_id,
            reply_to=self.waiter.topic,
        )

    def storage_of(self, server: Server) -> BlockStorage:
        """Block storage on behalf of the server's owner."""
        return self.block_storage.of(server.user_id, server.project_id)

    @property
    def flavors(self) -> dict[str, Flavor]:
        """The configured flavors by id, in their order."""
        return {flavor.id: flavor for flavor in self.config.compute.flavors}


ApiCall: TypeAlias = Call[Application]


def seen_by(call: ApiCall) -> str | None:
    """The project that limits what the caller finds; None: no limit."""
    return None if call.identity.is_admin else call.identity.project_id


async def find_server(call: ApiCall, rule: str) -> Server:
    """The server that the path names, if the caller may do `rule` to it.

    Raises NotFound (also for other projects' servers), Forbidden.
    """
    server_id, project = call.params["server_id"], seen_by(call)
    server = await call.app.store.read(lambda tx: servers.get(tx, server_id, project))
    call.require(rule, {"project_id": server.project_id, "user_id": server.user_id})
    return server
