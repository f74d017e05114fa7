"""os-migrate_volume: bring a volume to another pool; os-migrate_volume_completion: the compute
service says that it has exchanged a server's volume for another."""

from __future__ import annotations

from typing import Any

from breezeblock.api.access import locked_volume
from breezeblock.api.application import ApiCall
from breezeblock.api.volume_actions import ADMIN, volume_action
from breezeblock.model.errors import InvalidInput
from breezeblock.model.volumes import Volume, check_exchange
from breezeblock.store import volumes
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.microversion import Version
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, Bool, Text, Uuid
from breezeblock.workflows import migrate_volume


class Migrate(Body, frozen=True):
    """The wish before 3.16."""

    host: Text | None = None
    force_host_copy: Bool = False
    lock_volume: Bool = False

    @property
    def target(self) -> str:
        if not self.host:
            raise InvalidInput("host: it is needed.")
        return self.host


class MigrateAnywhere(Migrate, frozen=True):
    cluster: Text | None = None

    @property
    def target(self) -> str:
        if bool(self.host) == bool(self.cluster):
            raise InvalidInput("host, cluster: give exactly one of them.")
        if self.cluster:
            raise InvalidInput("cluster: there is no such cluster; name a host.")
        return self.host or ""


def migrate_body(version: Version) -> type:
    return MigrateAnywhere if version >= (3, 16) else Migrate


class Complete(Body, frozen=True):
    new_volume: Uuid
    error: Bool | None = None


async def migrate(call: ApiCall) -> None:
    body: Migrate = call.body

    def submit(tx: WriteTx) -> None:
        volume = locked_volume(tx, call, f"{ADMIN}:migrate_volume")
        migrate_volume.submit(
            tx,
            call.app.caller(call),
            volume,
            body.target,
            force_host_copy=bool(body.force_host_copy),
            lock=bool(body.lock_volume),
            down_time=call.app.config.service_down_time,
        )

    await call.app.store.write(submit)


async def complete(call: ApiCall) -> dict[str, Any]:
    """Nothing is copied here from one volume to another, so each keeps its id and its content:
    who has exchanged them of his own accord is told that the new one stays what it is."""

    def read(tx: ReadTx) -> Volume:
        volume = volumes.get(tx, call.params["volume_id"])
        call.require(f"{ADMIN}:migrate_volume_completion")
        new = volumes.get(tx, call.body.new_volume)
        check_exchange(volume, new)
        return new

    return {"save_volume_id": (await call.app.store.read(read)).id}


ROUTES: tuple[Route, ...] = (
    volume_action(
        "os-migrate_volume", migrate, "Move a volume to another pool of its backend", migrate_body
    ),
    volume_action(
        "os-migrate_volume_completion",
        complete,
        "Say that a server's volume was exchanged for another",
        Complete,
        success=200,
    ),
)
