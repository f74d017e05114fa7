"""How initiators prove who they are: /protocols/san/iscsi/credentials.

Passwords go in and never come out.
"""

from __future__ import annotations

from typing import Literal, cast

from msgspec.structs import replace

from breezeblock.ontapsim import errors, names
from breezeblock.ontapsim.body import Body, Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import Secret
from breezeblock.ontapsim.resources.common import Lookup
from breezeblock.ontapsim.rest import Call, Identity, Resource

DEFAULT = "default"
KINDS = ("chap", "none", "deny")
LONGEST = 128

Kind = Literal["chap", "none", "deny"]


def _records(call: Call) -> list[Document]:
    lookup = Lookup(call.array)
    return [
        _document(secret, lookup)
        for secret in call.array.state.all(Secret)
        if call.sees(secret.svm)
    ]


def _document(secret: Secret, lookup: Lookup) -> Document:
    document: Document = {
        "svm": lookup.svm(secret.svm),
        "initiator": secret.initiator,
        "authentication_type": secret.kind,
    }
    if secret.kind == "chap":
        document["chap"] = {"inbound": {"user": secret.user}}
        if secret.outbound_user:
            document["chap"]["outbound"] = {"user": secret.outbound_user}
    return document


def _create(call: Call) -> Identity:
    svm = call.svm()
    initiator = call.body.need("initiator")
    if initiator != DEFAULT:
        names.initiator(initiator, "iscsi")
    key = f"{svm.uuid}/{initiator}"
    if call.array.state.find(Secret, key):
        text = f'A credential for "{initiator}" exists already.'
        raise ApiError(409, "5374142", text, "initiator")
    kind = call.body.choice("authentication_type", KINDS)
    if kind is None:
        raise errors.required("authentication_type")
    secret = Secret(
        uuid=key, name=initiator, svm=svm.uuid, initiator=initiator, kind=cast(Kind, kind)
    )
    call.array.state.put(_with_chap(secret, call.body))
    return (svm.uuid, initiator)


def _modify(call: Call, found: Document) -> None:
    key = f"{found['svm']['uuid']}/{found['initiator']}"
    secret = call.array.state.get(Secret, key)
    kind = call.body.choice("authentication_type", KINDS)
    if kind:
        secret = replace(secret, kind=cast(Kind, kind))
    call.array.state.put(_with_chap(secret, call.body))


def _with_chap(secret: Secret, body: Body) -> Secret:
    """The credential with the users and passwords of the body; CHAP needs both."""
    if secret.kind != "chap":
        if body.has("chap"):
            text = "CHAP users and passwords need the authentication type chap."
            raise ApiError(400, "5374153", text, "authentication_type")
        return replace(secret, user="", password="", outbound_user="", outbound_password="")
    result = replace(
        secret,
        user=_word(body, "chap.inbound.user") or secret.user,
        password=_word(body, "chap.inbound.password") or secret.password,
        outbound_user=_word(body, "chap.outbound.user") or secret.outbound_user,
        outbound_password=_word(body, "chap.outbound.password") or secret.outbound_password,
    )
    if not result.user or not result.password:
        text = "CHAP needs an inbound user and an inbound password."
        raise ApiError(400, "5374149", text, "chap.inbound")
    if bool(result.outbound_user) != bool(result.outbound_password):
        text = "CHAP needs an outbound user and an outbound password, or neither."
        raise ApiError(400, "5374149", text, "chap.outbound")
    if result.outbound_password and result.outbound_password == result.password:
        text = "The inbound and the outbound password must differ."
        raise ApiError(400, "5374152", text, "chap.outbound.password")
    return result


def _word(body: Body, name: str) -> str | None:
    text = body.text(name)
    if text is not None and not 0 < len(text) <= LONGEST:
        raise errors.invalid(name, "(hidden)")
    return text


def _remove(call: Call, found: Document) -> None:
    key = f"{found['svm']['uuid']}/{found['initiator']}"
    call.array.state.drop(call.array.state.get(Secret, key))


RESOURCE = Resource(
    path="/protocols/san/iscsi/credentials",
    fields="svm initiator authentication_type chap initiator_address",
    identity=("svm.uuid", "initiator"),
    keys=("svm", "initiator"),
    records=_records,
    create=_create,
    modify=_modify,
    remove=_remove,
    missing=lambda key: ApiError(404, "5374895", f'No credential "{key}".', "initiator"),
)
ROUTES = RESOURCE.routes()
