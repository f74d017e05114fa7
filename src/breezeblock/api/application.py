"""What the handlers of the block storage API work with: store, waiter, configuration.

One `Application` a process, made by `services/` and handed to handlers as `call.app`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from breezeblock.config import Config
from breezeblock.images.base import ImageService
from breezeblock.model.errors import UnderWay
from breezeblock.model.operation import Operation
from breezeblock.operations.submit import Caller
from breezeblock.operations.waiting import Waiter
from breezeblock.store import operations
from breezeblock.store.store import ReadTx, Store, WriteTx
from breezeblock.web.call import Call

T = TypeVar("T")


class Servers(Protocol):
    """The compute service as far as the API needs it."""

    async def attachment_in_use(self, server_id: str, volume_id: str) -> str | None:
        """The attachment by which the server uses the volume, if any. Raises Unavailable."""


@dataclass(frozen=True)
class Application:
    """The block storage API's own tools. It holds no state: put any number side by side."""

    config: Config
    store: Store
    waiter: Waiter
    servers: Servers | None = None
    images: ImageService | None = None

    @property
    def quota_defaults(self) -> dict[str, int]:
        """Configured limits by resource."""
        quota = self.config.quota
        return {name: getattr(quota, name) for name in quota.__struct_fields__}

    def caller(self, call: ApiCall, *, waits: bool = False) -> Caller:
        """On whose behalf an operation is opened, and whether we want to be told of its end."""
        return Caller(
            project_id=call.identity.project_id,
            user_id=call.identity.user_id,
            request_id=call.request_id,
            reply_to=self.waiter.topic if waits else None,
        )

    async def wait(self, operation_id: str) -> Operation:
        """The operation's good end. Raises OperationFailed, StillRunning."""
        return await self.waiter.wait(operation_id, self.config.api.operation_timeout)

    async def wait_and_read(self, operation_id: str, then: Callable[[ReadTx], T]) -> T:
        """What `then` reads when the operation has come to its good end. Raises as `wait`."""
        patience = self.config.api.operation_timeout
        return (await self.waiter.wait_and_read(operation_id, patience, then))[1]

    async def write_in_turn(
        self, turn: str | Callable[[ReadTx], str], fn: Callable[[WriteTx], T]
    ) -> T:
        """As store.write, but when an operation on the resource is under way, wait for its end.
        `turn` is the resource's id, or finds it.

        For work that takes turns by nature (exports): the client should not have to try again.
        Raises UnderWay when it does not end in time.
        """
        deadline = asyncio.get_running_loop().time() + self.config.api.operation_timeout
        while True:
            try:
                return await self.store.write(fn)
            except UnderWay:
                under_way = await self.store.read(lambda tx: _under_way(tx, turn))
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    raise
                if under_way is not None:  # otherwise it has just ended
                    await self.waiter.wait_for_end(under_way.id, left)


def _under_way(tx: ReadTx, turn: str | Callable[[ReadTx], str]) -> Operation | None:
    return operations.open_on(tx, turn if isinstance(turn, str) else turn(tx))


ApiCall: TypeAlias = Call[Application]
