"""No request for a page, and nothing that is done again and again, looks at all rows of a table
that grows with a cloud: on either kind of database, what is looked at has a bound.

Not asked here: what counts or sums up on purpose (`with_count`, volume-summary).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from breezeblock.api.application import Application
from breezeblock.api.routes import ROUTES
from breezeblock.config import build
from breezeblock.model.idempotency import Scope
from breezeblock.model.ids import new_id
from breezeblock.store import (
    attachments,
    facts,
    hosts,
    idempotency_keys,
    messages,
    operations,
    quotas,
    schema,
    snapshots,
    tables,
    transfers,
    volume_types,
    volumes,
)
from breezeblock.store.store import Store
from breezeblock.web.app import make_app
from breezeblock.web.service import block_storage
from tests import many_rows
from tests.explained import ExplainedStore
from tests.many_rows import HOSTS, PROJECT, TYPES, USER, ident
from tests.new_database import new_store
from tests.service.catalog_fixture import POLICY, Caller, Personas

VOLUMES = 4000
VOLUME, SNAPSHOT = ident("volume", 2002), ident("snapshot", 2002)
IN_USE, MESSAGE = ident("volume", 2001), ident("message", 2003)
OPEN = ident("operation", 2003)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "sqlite":
        store = new_store(tmp_path_factory.mktemp("plans") / "volumes.sqlite")
    else:
        store = Store(
            request.getfixturevalue("postgres").create_database(f"plans_{new_id()[-12:]}")
        )
        schema.upgrade(store)
    many_rows.fill(store, VOLUMES)
    yield store
    store.close()


@pytest.fixture
def explained(full: Store) -> ExplainedStore:
    return ExplainedStore(full)


@pytest.fixture
async def admin(explained: ExplainedStore) -> AsyncIterator[Caller]:
    """Calls the API over that database."""
    store: Any = explained
    waiter: Any = SimpleNamespace(topic="nobody")
    app = make_app(
        block_storage(),
        ROUTES,
        app=Application(build({}), store, waiter),
        authenticator=Personas(),
        policy=POLICY,
    )
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://cloud") as client:
        yield Caller(client, f"{USER}:{PROJECT}:admin")


ASKED: dict[str, tuple[str, ...]] = {
    "/volumes": (
        *("", f"marker={VOLUME}", "all_tenants=1", f"all_tenants=1&marker={VOLUME}"),
        *("sort=name:asc", f"sort=name:asc&marker={VOLUME}", f"sort=name:desc&marker={VOLUME}"),
        *("sort=status:asc", f"sort=status:desc&marker={VOLUME}"),
        *("all_tenants=1&sort=name", f"all_tenants=1&sort=name:asc&marker={VOLUME}"),
        f"all_tenants=1&sort=status:asc&marker={VOLUME}",
    ),
    "/volumes/detail": (
        *("", f"marker={VOLUME}", f"all_tenants=1&marker={VOLUME}"),
        *("status=error", f"status=error&marker={VOLUME}", "all_tenants=1&status=error"),
        *("status=nonesuch", "name=pvc-77", "name=nonesuch", "all_tenants=1&name=pvc-77"),
        *(f"all_tenants=1&host={HOSTS[3].replace('#', '%23')}", "all_tenants=1&host=nonesuch"),
        *(f"id={VOLUME}", f"all_tenants=1&id={VOLUME}"),
    ),
    "/snapshots": ("", f"marker={SNAPSHOT}", "all_tenants=1", f"all_tenants=1&marker={SNAPSHOT}"),
    "/snapshots/detail": (
        *("", "status=error", "all_tenants=1&status=error", "name=snap-78", "name=nonesuch"),
        *(f"volume_id={VOLUME}", f"all_tenants=1&volume_id={VOLUME}"),
        *("all_tenants=1&name=snap-78", f"sort=name:asc&marker={SNAPSHOT}"),
    ),
    "/attachments": ("", "all_tenants=1", f"marker={ident('attachment', 2001)}"),
    "/attachments/detail": (
        *("", f"volume_id={IN_USE}", f"instance_id={ident('server', 2001)}"),
        f"all_tenants=1&marker={ident('attachment', 2001)}",
    ),
    "/messages": (
        *("", f"marker={MESSAGE}", f"resource_uuid={ident('volume', 2003)}"),
        f"request_id=req-{ident('request', 2003)}",
    ),
    "/volume-transfers": ("", "all_tenants=1"),
    "/volume-transfers/detail": ("",),
    "/os-volume-transfer": ("",),
    "/os-volume-transfer/detail": ("",),
    "/operations": (
        *(f"resource_id={VOLUME}", f"request_id=req-{ident('request', 2003)}"),
        "resource_id=nonesuch",
    ),
    f"/volumes/{IN_USE}": ("",),
    f"/snapshots/{SNAPSHOT}": ("",),
    f"/attachments/{ident('attachment', 2001)}": ("",),
    f"/messages/{MESSAGE}": ("",),
    f"/operations/{OPEN}": ("",),
    "/limits": ("",),
    f"/os-quota-sets/{PROJECT}": ("usage=true",),
}
SMALL = ("/types", "/qos-specs")
"""Lists of what a cloud has few of."""
ELSEWHERE = ("/manageable_", "/os-volume-manage", "/os-snapshot-manage", "/volumes/summary")
"""Backends are asked for these, or all that there is is summed up on purpose."""


def test_every_list_is_asked_for() -> None:
    lists = {route.path for route in ROUTES if "marker" in (route.query or ())}
    assert {
        path for path in lists - ASKED.keys() if not path.startswith((*SMALL, *ELSEWHERE))
    } == set()


@pytest.mark.parametrize("path", ASKED)
async def test_a_request_for_a_page_looks_at_little_more_than_the_page(
    path: str, admin: Caller, explained: ExplainedStore
) -> None:
    for query in ASKED[path]:
        paged = "" if "=" not in query and path.count("/") > 2 else "limit=5&"
        reply = await admin.get(f"{path}?{paged}{query}")
        assert reply.status_code == 200, reply.text
        assert [str(one) for one in explained.seen if one.too_much] == []
    assert explained.seen


AGAIN: dict[str, Callable[[Any], object]] = {
    "poll": lambda tx: operations.due(tx, ["scheduler", "volume.node3@ssd"], ["create_volume"], 10),
    "tally of open work": operations.tally_open,
    "sweep of what waits": lambda tx: operations.waiting_longer_than(tx, 60.0, limit=5),
    "sweep of the queues of the dead": lambda tx: operations.waiting_longer_than(
        tx, 60.0, queues=["volume.node3@ssd"]
    ),
    "leases of a host": lambda tx: operations.leases_of_host(tx, "node3"),
    "release of leases": lambda tx: operations.release_leases(tx, "node3:1:1"),
    "claim and end": lambda tx: _work(tx),
    "open work on a volume": lambda tx: (
        operations.open_on(tx, VOLUME),
        operations.check_on(tx, VOLUME),
        operations.lock_open(tx, VOLUME),
        operations.open_touching(tx, VOLUME),
        operations.of_resource(tx, VOLUME),
    ),
    "old questions": lambda tx: operations.forget_answers(tx, "list_manageable", older_than=60.0),
    "old sweeps": lambda tx: operations.forget_ended(tx, "sweep_backend", "node3@ssd", keep=10),
    "messages that have expired": messages.forget_expired,
    "keys that have expired": idempotency_keys.forget_expired,
    "a key": lambda tx: idempotency_keys.find(
        tx, Scope("volume", PROJECT, USER, ident("key", 2000))
    ),
    "quota": lambda tx: quotas.record(tx, PROJECT, {"volumes": 1, "gigabytes": 1}),
    "inventory of a backend": lambda tx: facts.of_backend(tx, "node77@ssd", ()),
    "load of a host": lambda tx: hosts.load_by_project(tx, "node77"),
    "placed on a backend": lambda tx: volumes.placed(tx, "node77@ssd"),
    "a volume's status": lambda tx: (
        volumes.lock(tx, IN_USE),
        attachments.of_volume(tx, IN_USE),
        volumes.transition(tx, IN_USE, ["in-use"], "detaching"),
    ),
    "a volume's snapshots": lambda tx: (
        snapshots.of_volume(tx, VOLUME),
        snapshots.latest_locked(tx, VOLUME),
    ),
    "end of a volume": lambda tx: volumes.delete(tx, VOLUME),
    "offer of a volume": lambda tx: (
        transfers.is_offered(tx, VOLUME),
        transfers.withdraw(tx, VOLUME),
    ),
    "use of a type": lambda tx: volume_types.in_use(tx, TYPES[0]),
}


def _work(tx: Any) -> None:
    """A worker takes an operation, keeps it a while and ends it."""
    held = operations.claim(tx, OPEN, "volume.node3@ssd", "node3:2:2", 20.0)
    assert held is not None
    assert operations.renew(tx, [(held.id, held.epoch)], 20.0) == set()
    assert operations.is_held(tx, held)
    operations.report(tx, held, 50)
    operations.advance(tx, held, {"event": "done"}, state="succeeded", ended_at=1.0)


@pytest.mark.parametrize("name", AGAIN)
async def test_what_is_done_again_and_again_looks_at_little(
    name: str, explained: ExplainedStore
) -> None:
    await explained.write(AGAIN[name])
    assert explained.seen
    assert [str(one) for one in explained.seen if one.too_much] == []


async def test_a_scan_is_noticed(explained: ExplainedStore) -> None:
    """Else the tests above would hold whatever the plans are."""
    by_size = sa.select(tables.volumes.c.id).order_by(tables.volumes.c.size).limit(5)
    rare = sa.select(tables.messages.c.id).where(tables.messages.c.event_id == "none")
    for statement in (by_size, rare):
        await explained.read(lambda tx, one=statement: tx.rows(one))
    assert [one.too_much for one in explained.seen] == [True, True]
