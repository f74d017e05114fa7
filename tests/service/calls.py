"""A request of every GET, PUT and DELETE of the block storage API, for suites that try them all.

POSTs are in `posts.py`. What a request needs is there before: one volume, one snapshot, one type,
… that GETs and PUTs share (`furnish`), and something new for each DELETE.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from breezeblock.drivers.base import PermanentError
from breezeblock.model.ids import new_id
from tests.service.catalog_fixture import PROJECT
from tests.service.house import House
from tests.service.mortal import Post
from tests.service.posts import CONNECTOR, OLDER_TRANSFERS, TRANSFERS

LUKS = {"provider": "luks", "control_location": "front-end"}
SPEC = "multiattach"
"""An extra spec that all see; of others only administrators know."""
BACKEND, SPARE = "node1@fast", "node9@spare"


@dataclass(frozen=True)
class Furniture:
    """What requests are about: ids, by the names that paths have for them."""

    volume: str
    snapshot: str
    attachment: str
    transfer: str
    message: str
    operation: str
    type: str
    private_type: str
    qos: str


async def furnish(house: House) -> Furniture:
    """One of each, of the members' project where they belong to one."""
    house.driver.failures["create"] = PermanentError("no space")
    lost = await house.volume()
    house.driver.failures.clear()
    message = (await house.member.get("/messages")).json()["messages"][0]["id"]
    listed = await house.member.get(f"/operations?resource_id={lost}")
    operation = listed.json()["operations"][0]["id"]
    await house.member.delete(f"/volumes/{lost}")
    volume = await house.volume(metadata={"k": "v"})
    attachment = await house.attachment(await house.volume())
    await house.report_backend(SPARE, pool={})
    await _default_type(house)
    return Furniture(
        volume=volume,
        snapshot=await house.snapshot(volume, metadata={"k": "v"}),
        attachment=attachment,
        transfer=await _transfer(house),
        message=message,
        operation=operation,
        type=await _type(house),
        private_type=str((await house.new_type(new_id(), is_public=False))["id"]),
        qos=await _qos(house),
    )


async def _transfer(house: House) -> str:
    body = {"transfer": {"volume_id": await house.volume()}}
    return str((await house.member.post(TRANSFERS, body)).json()["transfer"]["id"])


async def _type(house: House) -> str:
    made = await house.new_type(new_id(), extra_specs={SPEC: "<is> False"})
    reply = await house.admin.post(f"/types/{made['id']}/encryption", {"encryption": LUKS})
    assert reply.status_code == 200, reply.text
    return str(made["id"])


async def _qos(house: House) -> str:
    body = {"qos_specs": {"name": new_id(), "k": "v"}}
    return str((await house.admin.post("/qos-specs", body)).json()["qos_specs"]["id"])


# -- GET -------------------------------------------------------------------------------------------

TARGETS: dict[str, Callable[[Furniture], str]] = {
    "{volume_id}": lambda one: one.volume,
    "{snapshot_id}": lambda one: one.snapshot,
    "{attachment_id}": lambda one: one.attachment,
    "{transfer_id}": lambda one: one.transfer,
    "{message_id}": lambda one: one.message,
    "{operation_id}": lambda one: one.operation,
    "{type_id}": lambda one: one.type,
    "{qos_id}": lambda one: one.qos,
    "{project}": lambda _: PROJECT,
    "{quota_class}": lambda _: "default",
    "{key}": lambda _: "k",
    "{alias}": lambda _: "os-hosts",
    "{host}": lambda _: BACKEND,
}
"""What stands in a path for its variables."""

QUERIES = {
    "GET /operations": "?resource_id={volume_id}",
    **{
        f"GET /{kind}{tail}": f"?host={BACKEND}%23pool0"
        for kind in (
            "manageable_volumes",
            "manageable_snapshots",
            "os-volume-manage",
            "os-snapshot-manage",
        )
        for tail in ("", "/detail")
    },
}


def at(furniture: Furniture, path: str) -> str:
    """The path with something real in it."""
    for name, value in TARGETS.items():
        path = path.replace(name, value(furniture))
    assert "{" not in path, path
    return path


def _read(method: str, path: str, furniture: Furniture) -> Post:
    if path.endswith("/encryption/{key}"):
        key = "cipher" if "type_id" in path else "encryption_key_id"
        path = path.replace("{key}", key)
    if path.endswith("/extra_specs/{key}"):
        path = path.replace("{key}", SPEC)
    if path.endswith("/os-volume-type-access"):
        path = path.replace("{type_id}", furniture.private_type)
    return Post(at(furniture, path + QUERIES.get(f"{method} {path}", "")), None)


async def _associate(house: House, furniture: Furniture, *, first: bool, then: str) -> Post:
    """QoS specs are associated by GETs: the only ones that change anything."""
    made, qos = await house.new_type(new_id()), await _qos(house)
    query = f"?vol_type_id={made['id']}"
    if first:
        reply = await house.admin.get(f"/qos-specs/{qos}/associate{query}")
        assert reply.status_code == 202, reply.text
    return Post(f"/qos-specs/{qos}/{then}{query}", None)


# -- PUT and DELETE --------------------------------------------------------------------------------

_SERVICE = {"binary": "cinder-volume", "host": SPARE}
_METADATA = {"metadata": {"k": "v"}}

PUTS: dict[str, Any] = {
    "/attachments/{attachment_id}": {"attachment": {"connector": CONNECTOR}},
    "/default-types/{project}": {"default_type": {"volume_type": "__DEFAULT__"}},
    "/types/{type_id}/encryption/{key}": {"encryption": {"cipher": "aes"}},
    "/os-hosts/{host}": {"status": "enable"},
    "/qos-specs/{qos_id}": {"qos_specs": {"k": "v"}},
    "/qos-specs/{qos_id}/delete_keys": {"keys": ["k"]},
    "/os-quota-class-sets/{quota_class}": {"quota_class_set": {"backups": 5}},
    "/os-quota-sets/{project}": {"quota_set": {"backups": 5}},
    "/os-services/enable": _SERVICE,
    "/os-services/disable": _SERVICE,
    "/os-services/disable-log-reason": {**_SERVICE, "disabled_reason": "broken"},
    "/os-services/freeze": {"host": SPARE},
    "/os-services/thaw": {"host": SPARE},
    "/os-services/failover_host": {"host": SPARE},
    "/os-services/failover": {"host": SPARE},
    "/os-services/get-log": {},
    "/os-services/set-log": {"level": "INFO", "binary": "cinder-scheduler", "server": "nowhere"},
    "/snapshots/{snapshot_id}/metadata": _METADATA,
    "/snapshots/{snapshot_id}/metadata/{key}": {"meta": {"k": "w"}},
    "/snapshots/{snapshot_id}": {"snapshot": {"name": "other"}},
    "/types/{type_id}/extra_specs/{key}": {"k": "w"},
    "/types/{type_id}": {"volume_type": {"description": "other"}},
    "/volumes/{volume_id}/metadata": _METADATA,
    "/volumes/{volume_id}/metadata/{key}": {"meta": {"k": "w"}},
    "/volumes/{volume_id}": {"volume": {"name": "other"}},
}


async def _thawable(house: House, _: Furniture, *, first: str, then: str) -> Post:
    await house.admin.put(f"/os-services/{first}", {"host": SPARE})
    return Post(f"/os-services/{then}", {"host": SPARE})


async def _connectable(house: House, _: Furniture) -> Post:
    ident = await house.attachment(await house.volume())
    return Post(f"/attachments/{ident}", PUTS["/attachments/{attachment_id}"])


async def _without_key(house: House, _: Furniture) -> Post:
    return Post(f"/qos-specs/{await _qos(house)}/delete_keys", {"keys": ["k"]})


Made = Callable[[House], Awaitable[str]]


def _new(path: str, made: Made, tail: str = "") -> Callable[[House, Furniture], Awaitable[Post]]:
    async def prepared(house: House, _: Furniture) -> Post:
        return Post(f"{path}/{await made(house)}{tail}", None)

    return prepared


async def _volume(house: House) -> str:
    return await house.volume(metadata={"k": "v"})


async def _snapshot(house: House) -> str:
    return await house.snapshot(await house.volume(), metadata={"k": "v"})


async def _message(house: House) -> str:
    house.driver.failures["snapshot"] = PermanentError("no space")
    await house.snapshot(await house.volume())
    house.driver.failures.clear()
    return str((await house.member.get("/messages")).json()["messages"][0]["id"])


async def _default_type(house: House) -> str:
    body = PUTS["/default-types/{project}"]
    assert (await house.admin.put(f"/default-types/{PROJECT}", body)).status_code == 200
    return PROJECT


async def _quota(house: House) -> str:
    return PROJECT


async def _plain_type(house: House) -> str:
    return str((await house.new_type(new_id(), extra_specs={"k": "v"}))["id"])


Prepared = Callable[[House, Furniture], Awaitable[Post]]

CHANGING: dict[str, Prepared] = {
    "PUT /os-services/freeze": partial(_thawable, first="thaw", then="freeze"),
    "PUT /os-services/thaw": partial(_thawable, first="freeze", then="thaw"),
    "PUT /attachments/{attachment_id}": _connectable,
    "PUT /qos-specs/{qos_id}/delete_keys": _without_key,
    "GET /qos-specs/{qos_id}/associate": partial(_associate, first=False, then="associate"),
    "GET /qos-specs/{qos_id}/disassociate": partial(_associate, first=True, then="disassociate"),
    "GET /qos-specs/{qos_id}/disassociate_all": partial(
        _associate, first=True, then="disassociate_all"
    ),
    "DELETE /attachments/{attachment_id}": _new(
        "/attachments", lambda house: _attached(house, "compute1")
    ),
    "DELETE /default-types/{project}": _new("/default-types", _default_type),
    "DELETE /types/{type_id}/encryption/{key}": _new("/types", _type, "/encryption/cipher"),
    "DELETE /messages/{message_id}": _new("/messages", _message),
    "DELETE /qos-specs/{qos_id}": _new("/qos-specs", _qos),
    "DELETE /os-quota-sets/{project}": _new("/os-quota-sets", _quota),
    "DELETE /snapshots/{snapshot_id}/metadata/{key}": _new("/snapshots", _snapshot, "/metadata/k"),
    "DELETE /snapshots/{snapshot_id}": _new("/snapshots", _snapshot),
    f"DELETE {TRANSFERS}/{{transfer_id}}": _new(TRANSFERS, _transfer),
    f"DELETE {OLDER_TRANSFERS}/{{transfer_id}}": _new(OLDER_TRANSFERS, _transfer),
    "DELETE /types/{type_id}/extra_specs/{key}": _new("/types", _plain_type, "/extra_specs/k"),
    "DELETE /types/{type_id}": _new("/types", _plain_type),
    "DELETE /volumes/{volume_id}/metadata/{key}": _new("/volumes", _volume, "/metadata/k"),
    "DELETE /volumes/{volume_id}": _new("/volumes", _volume),
}
"""Requests that can be made once only, with what they need."""


async def _attached(house: House, host: str) -> str:
    return await house.attachment(await house.volume(), host)


async def request_of(house: House, furniture: Furniture, method: str, path: str) -> Post:
    """A request of this route; KeyError when nobody has said what it looks like."""
    prepared = CHANGING.get(f"{method} {path}")
    if prepared is not None:
        return await prepared(house, furniture)
    if method == "GET":
        return _read(method, path, furniture)
    assert method == "PUT", f"{method} {path}: say in CHANGING what it needs"
    return Post(at(furniture, path), PUTS[path])
