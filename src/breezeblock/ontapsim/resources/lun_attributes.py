"""Name/value pairs that clients keep with a LUN: /storage/luns/{uuid}/attributes."""

from __future__ import annotations

from msgspec.structs import replace

from breezeblock.ontapsim import errors
from breezeblock.ontapsim.body import Body, Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import Lun
from breezeblock.ontapsim.rest import Call, Identity, Resource

LONGEST, LONGEST_PAIR = 4091, 4092


def attributes(body: Body) -> dict[str, str]:
    """Those given with a new LUN."""
    result: dict[str, str] = {}
    for part in body.parts("attributes"):
        part.only(("name", "value"))
        name, value = pair(part.need("name"), part.need("value"))
        if name in result:
            raise _exists(name)
        result[name] = value
    return result


def pair(name: str, value: str) -> tuple[str, str]:
    lengths = len(name.encode()), len(value.encode())
    if max(lengths) > LONGEST or sum(lengths) > LONGEST_PAIR:
        text = f"An attribute's name and value have {LONGEST_PAIR} bytes together at most."
        raise ApiError(400, "5374931", text, "attributes")
    return name, value


def _exists(name: str) -> ApiError:
    return ApiError(409, "5374929", f'The attribute "{name}" exists already.', "name")


def _lun(call: Call) -> Lun:
    lun = call.array.state.find(Lun, call.params["lun"])
    if lun is None or not call.sees(lun.svm):
        raise errors.no_such_lun(call.params["lun"], "lun.uuid")
    return lun


def _records(call: Call) -> list[Document]:
    lun = _lun(call)
    return [
        {"lun": {"uuid": lun.uuid}, "name": name, "value": value}
        for name, value in lun.attributes.items()
    ]


def _create(call: Call) -> Identity:
    lun = _lun(call)
    name, value = pair(call.body.need("name"), call.body.need("value"))
    if name in lun.attributes:
        raise _exists(name)
    call.array.state.put(replace(lun, attributes=lun.attributes | {name: value}))
    return (name,)


def _modify(call: Call, found: Document) -> None:
    lun = _lun(call)
    name, value = pair(found["name"], call.body.need("value"))
    call.array.state.put(replace(lun, attributes=lun.attributes | {name: value}))


def _remove(call: Call, found: Document) -> None:
    lun = _lun(call)
    kept = {name: value for name, value in lun.attributes.items() if name != found["name"]}
    call.array.state.put(replace(lun, attributes=kept))


RESOURCE = Resource(
    path="/storage/luns/{lun}/attributes",
    fields="lun name value",
    identity=("name",),
    keys=("lun.uuid", "name"),
    records=_records,
    create=_create,
    modify=_modify,
    remove=_remove,
)
ROUTES = RESOURCE.routes()
