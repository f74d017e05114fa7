"""Idempotency-Key: a request that is sent again is done once, and answered the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from breezeblock.api.routes import ROUTES
from breezeblock.drivers.base import PermanentError
from breezeblock.model.errors import Conflict
from breezeblock.model.ids import new_id
from breezeblock.services import compute
from breezeblock.services.scheduler import SchedulerService
from breezeblock.store import idempotency_keys
from breezeblock.store.store import Store
from breezeblock.store.tables import idempotency_keys as table
from breezeblock.web.app import make_app
from breezeblock.web.call import Call
from breezeblock.web.idempotency import Idempotency
from breezeblock.web.routes import Route
from breezeblock.web.service import block_storage
from tests.overheard import overheard
from tests.service.catalog_fixture import OTHER, POLICY, PROJECT, Personas
from tests.service.house import House
from tests.service.mortal import MortalStore, lapse

KEY = "6f1c9d1e-one-key"
ONE = {"volume": {"size": 1, "name": "one"}}


@dataclass(frozen=True)
class Sender:
    """Somebody who sends POSTs with a key."""

    client: httpx2.AsyncClient
    user: str = "member-user"
    project: str = PROJECT
    role: str = "member"

    async def __call__(
        self, path: str, body: Any, key: str | None = KEY, version: str = "3.71", **more: Any
    ) -> httpx2.Response:
        headers = {
            "X-Auth-Token": f"{self.user}:{self.project}:{self.role}",
            "OpenStack-API-Version": f"volume {version}",
            **({} if key is None else {"Idempotency-Key": key}),
        }
        sent = {"content": body} if isinstance(body, bytes) else {"json": body}
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
        return await self.client.post(f"/v3{path}", headers=headers, **sent, **more)


@pytest.fixture
def send(house: House) -> Sender:
    return Sender(house.client)


async def count(house: House, what: str) -> int:
    reply = await house.admin.get(f"/{what}")
    return len(reply.json()[what])


def is_replay(second: httpx2.Response, first: httpx2.Response) -> bool:
    """Whether the second answer is the first one, and says so."""
    ours = ("x-openstack-request-id", "x-compute-request-id", "idempotency-replayed")
    told = [
        (one.status_code, one.content, {k: v for k, v in one.headers.items() if k not in ours})
        for one in (first, second)
    ]
    said = [one.headers.get("idempotency-replayed") for one in (first, second)]
    return told[0] == told[1] and said == [None, "true"]


# -- the same again --------------------------------------------------------------------------------


async def test_a_volume_that_is_asked_for_twice_is_made_once(house: House, send: Sender) -> None:
    first = await send("/volumes", ONE)
    await house.quiet()
    second = await send("/volumes", ONE)
    await house.quiet()
    assert first.status_code == 202
    assert is_replay(second, first)
    assert await count(house, "volumes") == 1


async def test_it_is_charged_once(house: House, send: Sender) -> None:
    for _ in range(3):
        await send("/volumes", ONE)
    shown = (await house.member.get("/limits")).json()["limits"]["absolute"]
    assert (shown["totalVolumesUsed"], shown["totalGigabytesUsed"]) == (1, 1)


async def test_every_request_has_an_id_of_its_own(house: House, send: Sender) -> None:
    ids = {(await send("/volumes", ONE)).headers["x-openstack-request-id"] for _ in range(2)}
    assert len(ids) == 2


async def test_an_attachment_shows_its_connection_again(house: House, send: Sender) -> None:
    wishes = {"volume_uuid": await house.volume(), "connector": {"host": "compute1"}}
    first = await send("/attachments", {"attachment": wishes})
    second = await send("/attachments", {"attachment": wishes})
    assert first.json()["attachment"]["connection_info"]
    assert is_replay(second, first)
    assert await count(house, "attachments") == 1


async def test_an_answer_is_given_again_when_what_it_tells_of_has_gone(
    house: House, send: Sender
) -> None:
    first = await send("/volumes", ONE)
    await house.quiet()
    await house.member.delete(f"/volumes/{first.json()['volume']['id']}")
    await house.quiet()
    assert is_replay(await send("/volumes", ONE), first)
    assert await count(house, "volumes") == 0


async def test_an_action_is_not_done_again(house: House, send: Sender) -> None:
    volume = await house.volume()
    path, body = f"/volumes/{volume}/action", {"os-set_bootable": {"bootable": True}}
    first = await send(path, body)
    await house.act(volume, "os-set_bootable", {"bootable": False})
    assert is_replay(await send(path, body), first)
    assert (await house.show(volume))["bootable"] == "false"


async def test_the_layout_of_the_body_does_not_matter(house: House, send: Sender) -> None:
    first = await send("/volumes", b'{"volume": {"size": 1, "name": "one"}}')
    assert is_replay(await send("/volumes", b'{"volume":{"name":"one",\n"size":1}}'), first)


async def test_concurrent_duplicates_get_one_answer(house: House, send: Sender) -> None:
    replies = await asyncio.gather(*(send("/volumes", ONE) for _ in range(8)))
    assert {(reply.status_code, reply.content) for reply in replies} == {(202, replies[0].content)}
    await house.quiet()
    assert await count(house, "volumes") == 1


async def test_concurrent_duplicates_wait_for_the_answer(house: House, send: Sender) -> None:
    wishes = {"volume_uuid": await house.volume(), "connector": {"host": "compute1"}}
    replies = await asyncio.gather(*(send("/attachments", {"attachment": wishes}) for _ in "1234"))
    assert {(reply.status_code, reply.content) for reply in replies} == {(200, replies[0].content)}
    assert await count(house, "attachments") == 1


# -- another request -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "version"),
    [
        ("/volumes", {"volume": {"size": 2, "name": "one"}}, "3.71"),
        ("/volumes?x=1", ONE, "3.71"),
        ("/volumes", ONE, "3.70"),
        ("/snapshots", {"snapshot": {"volume_id": new_id()}}, "3.71"),
    ],
    ids=["body", "query", "version", "path"],
)
async def test_another_request_with_the_same_key_is_refused(
    house: House, send: Sender, path: str, body: Any, version: str
) -> None:
    await send("/volumes", ONE)
    reply = await send(path, body, version=version)
    assert reply.status_code == 422
    [fault] = reply.json().values()
    assert fault["code"] == 422
    assert "Idempotency-Key" in fault["message"]


async def test_another_action_with_the_same_value_is_another_request(
    house: House, send: Sender
) -> None:
    path = f"/volumes/{await house.volume()}/action"
    await send(path, {"os-reserve": None})
    assert (await send(path, {"os-unreserve": None})).status_code == 422


@pytest.mark.parametrize(
    ("user", "project"), [("other-user", PROJECT), ("member-user", OTHER)], ids=["user", "project"]
)
async def test_others_have_keys_of_their_own(
    house: House, send: Sender, user: str, project: str
) -> None:
    mine = await send("/volumes", ONE)
    theirs = await Sender(house.client, user, project)("/volumes", ONE)
    assert theirs.status_code == 202
    assert theirs.json()["volume"]["id"] != mine.json()["volume"]["id"]


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é".encode().decode("latin-1"), "a\tb"])
async def test_a_key_is_visible_ascii(house: House, send: Sender, key: str) -> None:
    reply = await house.client.post(
        "/v3/volumes",
        json=ONE,
        headers=[
            (b"X-Auth-Token", f"member-user:{PROJECT}:member".encode()),
            (b"Idempotency-Key", key.encode("latin-1")),
        ],
    )
    assert reply.status_code == 400
    assert "Idempotency-Key" in reply.json()["badRequest"]["message"]
    assert await count(house, "volumes") == 0


async def test_the_longest_key_is_taken(house: House, send: Sender) -> None:
    first = await send("/volumes", ONE, "~" * 255)
    assert is_replay(await send("/volumes", ONE, "~" * 255), first)


# -- what is remembered ----------------------------------------------------------------------------


async def test_a_refusal_is_not_remembered(house: House, send: Sender) -> None:
    volume = await house.volume()
    path, body = f"/volumes/{volume}/action", {"os-extend": {"new_size": 2}}
    await house.put(volume, status="error")
    refused = await send(path, body)
    await house.put(volume, status="available")
    assert (refused.status_code, (await send(path, body)).status_code) == (400, 202)


async def test_a_refusal_leaves_the_key_to_another_request(house: House, send: Sender) -> None:
    refused = await send("/volumes", {"volume": {"size": 1, "volume_type": "none"}})
    assert (refused.status_code, (await send("/volumes", ONE)).status_code) == (404, 202)


async def test_a_failure_after_the_work_began_is_answered_the_same(
    house: House, send: Sender
) -> None:
    """It is not kept: the request goes on where it was, and finds the same end."""
    volume = await house.volume()
    house.driver.failures["export"] = PermanentError("no tool")
    body = {"attachment": {"volume_uuid": volume, "connector": {"host": "compute1"}}}
    first = await send("/attachments", body)
    second = await send("/attachments", body)
    assert first.status_code == 500
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert await count(house, "attachments") == 1


async def test_a_key_is_forgotten_after_a_day(house: House, send: Sender) -> None:
    await send("/volumes", ONE)
    store = house.app.store
    assert await store.write(idempotency_keys.forget_expired) == 0
    a_day = table.c.expires_at - 24 * 3600 - 1
    await store.write(lambda tx: tx.run(table.update().values(expires_at=a_day)))
    assert await store.write(idempotency_keys.forget_expired) == 1
    assert (await send("/volumes", {"volume": {"size": 2}})).status_code == 202


@pytest.mark.parametrize("service", ["block storage", "compute"])
async def test_the_service_forgets_by_itself(house: House, send: Sender, service: str) -> None:
    await send("/volumes", ONE)
    store, engine, config = house.app.store, house.engine, house.app.config
    assert engine is not None
    await store.write(lambda tx: tx.run(table.update().values(expires_at=1.0)))
    sweep = (
        SchedulerService(store, engine, config)._report_and_sweep()
        if service == "block storage"
        else compute._sweep(engine, config)
    )
    sweeping = asyncio.create_task(sweep)
    while await store.read(lambda tx: tx.rows(sa.select(table))):
        await asyncio.sleep(0.01)
    sweeping.cancel()


async def test_nothing_but_the_answer_is_kept_in_the_end(house: House, send: Sender) -> None:
    await send("/volumes", ONE)
    [row] = await house.app.store.read(lambda tx: tx.rows(sa.select(table)))
    assert (row.status, row.log) == (202, [])


async def test_a_request_without_a_key_runs_the_same_statements(house: House, send: Sender) -> None:
    with overheard() as seen:
        await send("/volumes", ONE, None)
        await house.quiet()
    assert any("INSERT INTO volumes" in statement for statement in seen)
    assert not [statement for statement in seen if "idempotency_keys" in statement]


async def test_other_methods_take_no_notice_of_a_key(house: House) -> None:
    headers = {"X-Auth-Token": f"u:{PROJECT}:member", "Idempotency-Key": "not a key"}
    assert (await house.client.get("/v3/volumes", headers=headers)).status_code == 200


# -- when the one who has the key is silent -------------------------------------------------------


def process(
    house: House,
    store: Any = None,
    routes: Any = ROUTES,
    lease: float = 20.0,
    patience: float = 5.0,
) -> Sender:
    """Another api process before the same database."""
    store = store or house.app.store
    asgi = make_app(
        block_storage(),
        routes,
        app=replace(house.app, store=store),
        authenticator=Personas(),
        policy=POLICY,
        idempotency=Idempotency(store, lease=lease, patience=patience),
    )
    transport = httpx2.ASGITransport(app=asgi)
    return Sender(httpx2.AsyncClient(transport=transport, base_url="http://cloud"))


async def die_after_the_write(house: House) -> asyncio.Task[httpx2.Response]:
    """A process begins to make a volume, and dies when it is to keep the answer."""
    store = MortalStore(house.app.store, dies_at=4)
    hanging = asyncio.create_task(process(house, store)("/volumes", ONE))
    await store.died.wait()
    return hanging


async def test_while_the_first_may_live_the_second_is_told_to_come_again(house: House) -> None:
    hanging = await die_after_the_write(house)
    reply = await process(house, patience=0.1)("/volumes", ONE)
    assert reply.status_code == 409
    assert int(reply.headers["retry-after"]) > 0
    assert "under way" in reply.json()["conflictingRequest"]["message"]
    hanging.cancel()


async def test_another_request_is_refused_while_the_first_is_under_way(house: House) -> None:
    hanging = await die_after_the_write(house)
    assert (await process(house)("/volumes", {"volume": {"size": 2}})).status_code == 422
    hanging.cancel()


async def test_who_waits_takes_over_when_the_lease_runs_out(house: House, send: Sender) -> None:
    hanging = await die_after_the_write(house)
    waiting = asyncio.create_task(send("/volumes", ONE))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    await lapse(house.app.store)
    assert (await waiting).status_code == 202
    assert await count(house, "volumes") == 1
    hanging.cancel()


class Gate:
    """A handler that waits between two things that it writes."""

    def __init__(self) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        self.ran = 0

    async def __call__(self, call: Call[Any]) -> dict[str, Any]:
        store: Store = call.app.store
        one = await store.write(lambda tx: new_id())
        self.ran += 1
        self.reached.set()
        await self.open.wait()
        return {"made": [one, await store.write(lambda tx: new_id())]}

    @property
    def routes(self) -> tuple[Route, ...]:
        return (Route("POST", "/gates", self),)


async def test_a_lease_is_renewed_for_as_long_as_the_handler_works(house: House) -> None:
    gate = Gate()
    first = asyncio.create_task(process(house, routes=gate.routes, lease=0.1)("/gates", {}))
    await gate.reached.wait()
    second = await process(house, routes=gate.routes, patience=0.5)("/gates", {})
    assert (second.status_code, gate.ran) == (409, 1)
    gate.open.set()
    assert (await first).status_code == 200


async def test_who_was_taken_over_writes_nothing_and_gives_the_others_answer(house: House) -> None:
    gate, other = Gate(), Gate()
    other.open.set()
    first = asyncio.create_task(process(house, routes=gate.routes)("/gates", {}))
    await gate.reached.wait()
    await lapse(house.app.store)
    second = await process(house, routes=other.routes)("/gates", {})
    gate.open.set()
    assert is_replay(await first, second)


async def test_what_was_refused_on_the_way_is_refused_again(house: House) -> None:
    """A handler may go on after a refusal; its successor must go the same way."""

    def routes(*, busy: bool) -> tuple[Route, ...]:
        def take(_tx: Any) -> None:
            if busy:
                raise Conflict("busy")

        async def handler(call: Call[Any]) -> dict[str, Any]:
            try:
                await call.app.store.write(take)
                way = "free"
            except Conflict as error:
                way = str(error)
            return {"way": way, "made": await call.app.store.write(lambda tx: new_id())}

        return (Route("POST", "/gates", handler),)

    store = MortalStore(house.app.store, dies_at=6)
    hanging = asyncio.create_task(process(house, store, routes(busy=True))("/gates", {}))
    await store.died.wait()
    [noted] = await house.app.store.read(lambda tx: tx.rows(sa.select(table.c.log)))
    await lapse(house.app.store)
    reply = await process(house, routes=routes(busy=False))("/gates", {})
    assert reply.json() == {"way": "busy", "made": noted.log[0][1][1]}
    hanging.cancel()


async def test_what_cannot_be_noted_is_not_written(house: House, send: Sender) -> None:
    async def careless(call: Call[Any]) -> None:
        def write(tx: Any) -> object:
            tx.run(table.update().values(epoch=7))
            return object()

        await call.app.store.write(write)

    await send("/volumes", ONE)
    routes = (Route("POST", "/gates", careless),)
    assert (await process(house, routes=routes)("/gates", {}, "another")).status_code == 500
    rows = await house.app.store.read(lambda tx: tx.rows(sa.select(table)))
    assert [(row.key, row.epoch) for row in rows] == [(KEY, 0)]


async def test_a_request_that_an_older_version_began_otherwise_is_not_guessed_at(
    house: House,
) -> None:
    def reading(then: Callable[[Call[Any]], Any]) -> tuple[Route, ...]:
        return (Route("POST", "/gates", then),)

    async def old(call: Call[Any]) -> None:
        await call.app.store.write(lambda tx: 1)

    async def new(call: Call[Any]) -> None:
        await call.app.store.read(lambda tx: 1)
        await call.app.store.write(lambda tx: 1)

    store = MortalStore(house.app.store, dies_at=4)
    hanging = asyncio.create_task(process(house, store, reading(old))("/gates", {}))
    await store.died.wait()
    await lapse(house.app.store)
    reply = await process(house, routes=reading(new))("/gates", {})
    assert reply.status_code == 409
    assert "another key" in reply.json()["conflictingRequest"]["message"]
    hanging.cancel()


# -- answers that tell a secret --------------------------------------------------------------------


async def kept(house: House) -> list[str]:
    rows = await house.app.store.read(lambda tx: tx.rows(sa.select(table)))
    return [str(tuple(row)) for row in rows]


async def test_a_key_that_an_answer_tells_is_kept_sealed(house: House, send: Sender) -> None:
    offer = {"transfer": {"volume_id": await house.volume(), "name": "one"}}
    first = await send("/volume-transfers", offer)
    auth_key = first.json()["transfer"]["auth_key"]
    (row,) = await kept(house)
    assert auth_key not in row and KEY not in row and KEY.encode().hex() not in row
    assert is_replay(await send("/volume-transfers", offer), first)
    other = await send("/volume-transfers", {"transfer": {**offer["transfer"], "name": "two"}})
    assert other.status_code == 422


async def test_a_connection_that_an_answer_tells_is_kept_sealed(house: House, send: Sender) -> None:
    wishes = {"volume_uuid": await house.volume(), "connector": {"host": "compute1"}}
    first = await send("/attachments", {"attachment": wishes})
    told = first.json()["attachment"]["connection_info"]["address"]
    (row,) = await kept(house)
    assert told not in row and KEY not in row


async def test_what_the_release_before_has_kept_is_answered_with(
    house: House, send: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sealed nothing."""
    offer = {"transfer": {"volume_id": await house.volume()}}
    with monkeypatch.context() as before:
        before.setattr(Idempotency, "_claims", lambda self, call, key: claims(self, call, key)[1:])
        first = await send("/volume-transfers", offer)
    assert first.json()["transfer"]["auth_key"] in (await kept(house))[0]
    assert is_replay(await send("/volume-transfers", offer), first)


claims = Idempotency._claims
