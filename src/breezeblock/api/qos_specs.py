"""QoS specs over HTTP: limits for volumes, and the volume types that have them.

The three calls that tie and untie types are GETs on this API, although they change things.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta

from breezeblock.api.application import ApiCall
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.model.ids import new_id
from breezeblock.model.qos_specs import QosSpecs, consumer_of
from breezeblock.store import qos_specs
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.query import Column, Listing, page, parse_bool, parse_list
from breezeblock.web.routes import Route
from breezeblock.web.types import Body, MetadataOrNull, Text, Text1

QOS_SPECS = Listing(
    resource="qos_specs",
    collection="qos_specs",
    links_key="qos_specs_links",
    columns={
        "id": Column(),
        "name": Column(),
        "consumer": Column(),
    },
    public=("id", "name", "consumer"),
    sortable=dict.fromkeys(("id", "name", "consumer", "created_at", "updated_at"), "3.0"),
    strict_since="4.0",  # no version of this API refuses filters that it does not know
)


class CreateQosSpecs(Body, frozen=True):
    """`name` and `consumer` stand among the specs; all other keys are the specs."""

    qos_specs: dict[Text1, Text | None]


class UpdateQosSpecs(Body, frozen=True):
    """Keys to set, `consumer` among them; null takes a key away."""

    qos_specs: MetadataOrNull


class DeleteKeys(Body, frozen=True):
    keys: Annotated[list[Text1], Meta(extra_json_schema={"uniqueItems": True})]


def view(qos: QosSpecs) -> dict[str, Any]:
    return {"id": qos.id, "name": qos.name, "consumer": qos.consumer, "specs": qos.specs}


def _with_links(call: ApiCall, qos: QosSpecs) -> dict[str, Any]:
    return {"qos_specs": view(qos), "links": call.link("qos-specs", qos.id)}


async def list_qos_specs(call: ApiCall) -> dict[str, Any]:
    query = parse_list(call, QOS_SPECS)
    found = await call.app.store.read(lambda tx: qos_specs.page(tx, query))
    last = found.items[-1].id if found.items else None
    return page(call, QOS_SPECS, query, [view(one) for one in found.items], last, found.total)


async def show(call: ApiCall) -> dict[str, Any]:
    qos_id = call.params["qos_id"]
    return _with_links(call, await call.app.store.read(lambda tx: qos_specs.get(tx, qos_id)))


async def create(call: ApiCall) -> dict[str, Any]:
    given: dict[str, str | None] = dict(call.body.qos_specs)
    name = (given.pop("name", None) or "").strip()
    if not name:
        raise InvalidInput("qos_specs.name: must have 1 to 255 characters.")
    consumer = consumer_of(given.pop("consumer", None))
    specs = {key: value for key, value in given.items() if value is not None}

    def insert(tx: WriteTx) -> QosSpecs:
        qos = QosSpecs(id=new_id(), name=name, consumer=consumer, specs=specs, created_at=tx.now)
        qos_specs.insert(tx, qos)
        return qos

    return _with_links(call, await call.app.store.write(insert))


async def update(call: ApiCall) -> UpdateQosSpecs:
    qos_id, body = call.params["qos_id"], call.body
    changes: dict[str, str | None] = dict(body.qos_specs)
    consumer = consumer_of(changes.pop("consumer")) if "consumer" in changes else None
    await call.app.store.write(lambda tx: qos_specs.change(tx, qos_id, changes, consumer))
    echoed: UpdateQosSpecs = body
    return echoed


async def delete(call: ApiCall) -> None:
    qos_id = call.params["qos_id"]
    force = parse_bool("force", call.query.get("force", "false"))
    await call.app.store.write(lambda tx: qos_specs.delete(tx, qos_id, force=force))


async def delete_keys(call: ApiCall) -> None:
    qos_id, keys = call.params["qos_id"], call.body.keys
    if len(set(keys)) < len(keys):
        raise InvalidInput("keys: each may be named once.")
    missing = await call.app.store.write(lambda tx: qos_specs.remove_keys(tx, qos_id, keys))
    if missing is not None:
        raise NotFound(f"QoS specs {qos_id}: key", missing)


async def associations(call: ApiCall) -> dict[str, Any]:
    qos_id = call.params["qos_id"]

    def read(tx: ReadTx) -> dict[str, str]:
        qos_specs.get(tx, qos_id)
        return qos_specs.types(tx, qos_id)

    found = await call.app.store.read(read)
    return {
        "qos_associations": [
            {"association_type": "volume_type", "name": name, "id": ident}
            for ident, name in found.items()
        ]
    }


async def associate(call: ApiCall) -> None:
    await _with_type(call, qos_specs.associate)


async def disassociate(call: ApiCall) -> None:
    await _with_type(call, qos_specs.disassociate)


async def _with_type(call: ApiCall, change: Callable[[WriteTx, str, str], None]) -> None:
    qos_id, type_id = call.params["qos_id"], call.query.get("vol_type_id")
    if not type_id:
        raise InvalidInput("vol_type_id: the query must name the volume type.")
    await call.app.store.write(lambda tx: change(tx, qos_id, type_id))


async def disassociate_all(call: ApiCall) -> None:
    qos_id = call.params["qos_id"]
    await call.app.store.write(lambda tx: qos_specs.disassociate_all(tx, qos_id))


_TAGS = ("qos specs",)
_RULE = "volume_extension:qos_specs_manage"
_PATH = "/qos-specs/{qos_id}"

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/qos-specs",
        list_qos_specs,
        query=QOS_SPECS.names(),
        policy=f"{_RULE}:get_all",
        summary="List QoS specs",
        tags=_TAGS,
    ),
    Route(
        "POST",
        "/qos-specs",
        create,
        body=CreateQosSpecs,
        policy=f"{_RULE}:create",
        summary="Create QoS specs",
        tags=_TAGS,
    ),
    Route("GET", _PATH, show, policy=f"{_RULE}:get", summary="Show QoS specs", tags=_TAGS),
    Route(
        "PUT",
        _PATH,
        update,
        body=UpdateQosSpecs,
        policy=f"{_RULE}:update",
        summary="Set keys of QoS specs",
        tags=_TAGS,
    ),
    Route(
        "DELETE",
        _PATH,
        delete,
        query=("force",),
        policy=f"{_RULE}:delete",
        success=202,
        summary="Delete QoS specs, with force=true also those that types have",
        tags=_TAGS,
    ),
    Route(
        "PUT",
        f"{_PATH}/delete_keys",
        delete_keys,
        body=DeleteKeys,
        policy=f"{_RULE}:delete",
        success=202,
        summary="Take keys away",
        tags=_TAGS,
    ),
    Route(
        "GET",
        f"{_PATH}/associations",
        associations,
        policy=f"{_RULE}:get_all",
        summary="List the volume types that have these QoS specs",
        tags=_TAGS,
    ),
    Route(
        "GET",
        f"{_PATH}/associate",
        associate,
        query=("vol_type_id",),
        policy=f"{_RULE}:update",
        success=202,
        summary="Give a volume type these QoS specs",
        tags=_TAGS,
    ),
    Route(
        "GET",
        f"{_PATH}/disassociate",
        disassociate,
        query=("vol_type_id",),
        policy=f"{_RULE}:update",
        success=202,
        summary="Take these QoS specs from a volume type",
        tags=_TAGS,
    ),
    Route(
        "GET",
        f"{_PATH}/disassociate_all",
        disassociate_all,
        policy=f"{_RULE}:update",
        success=202,
        summary="Take these QoS specs from all volume types",
        tags=_TAGS,
    ),
)
