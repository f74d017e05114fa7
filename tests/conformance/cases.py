"""The verified cases: one request each, and the status and keys that the reference answers with.

`verified_cases.tsv` holds them, one a line. They are asked in process in CI (`tests/service`), and
over HTTP of both systems (`verified`); `Ground` is what both have to offer. `given` says what is
brought about first:

    volume STATUS, snapshot STATUS, backup STATUS   made, and put into this status
    attached, migrating              the volume's attach status, its migration status
    reserved, in use                 by an attachment of server 11111111-…
    volumes|gigabytes quota reached  the project has no more
    metadata KEY                     the volume has this key
    type NAME, qos specs NAME        there is one
    default type in use              by a volume
    NAME VALUE                       (a header's name) is sent with the request

`{p}` is the caller's project; `{vol}`, `{snap}`, `{att}`, `{tr}`, `{bk}` are made for the case.
`later` names what a case is about that this service does not have yet.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

SERVER = "11111111-1111-1111-1111-111111111111"
HEADERS = ("Content-Type", "If-Match")


@dataclass(frozen=True)
class Case:
    """A row of the file; `-` is nothing in `version` and `body`."""

    case: str
    given: str
    caller: str
    method: str
    path: str
    version: str
    body: str
    status: str
    keys: str
    later: str

    @property
    def uses(self) -> str:
        return f"{self.path} {self.body}"

    @property
    def measured(self) -> str:
        """What the reference answers."""
        return f"{self.status} {self.keys}"

    @property
    def wanted(self) -> str:
        """What this service answers: where the reference fails, it refuses."""
        return "400 badRequest" if self.status == "500" else self.measured

    def __str__(self) -> str:
        return f"{self.case} ({self.given or 'nothing given'}): {self.method} {self.path}"


class Answer(Protocol):
    """What is looked at of an HTTP response."""

    @property
    def status_code(self) -> int: ...

    @property
    def text(self) -> str: ...

    def json(self) -> Any: ...


class Ground(Protocol):
    """A running service that cases can be asked of."""

    async def ask(
        self, caller: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer: ...

    def project(self, caller: str) -> str: ...

    async def settled(self, kind: str, ident: str) -> None:
        """Wait until a volume, snapshot or backup is in no passing status."""

    async def put(self, kind: str, ident: str, field: str, value: str) -> None:
        """Bring a row into a state that no call leads to."""


def read_cases() -> list[Case]:
    path = Path(__file__).parent / "verified_cases.tsv"
    with path.open(encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Case(**row) for row in rows]


async def answer(ground: Ground, case: Case) -> str:
    """What the case's request is answered with, as `status keys`."""
    names = await _bring_about(ground, case)
    headers = {} if case.body == "-" else {"Content-Type": "application/json"}
    if case.version != "-":
        headers["OpenStack-API-Version"] = case.version
    header, _, value = case.given.partition(" ")
    if header in HEADERS:
        headers[header] = value
    body = None if case.body == "-" else _filled(case.body, names).encode()
    reply = await ground.ask(case.caller, case.method, _filled(case.path, names), body, headers)
    return f"{reply.status_code} {_keys(reply.text)}"


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _keys(text: str) -> str:
    if not text:
        return "(empty)"
    try:
        return ",".join(sorted(json.loads(text)))
    except ValueError:
        return "(plain text)"


async def _bring_about(ground: Ground, case: Case) -> dict[str, str]:
    """What is given, and the ids that the request names."""
    given, uses = case.given, case.uses
    kind, _, status = given.partition(" ")
    names = {"p": ground.project(case.caller)}
    if given.endswith("quota reached"):
        await _use_up(ground, kind)
    if given.startswith("type "):
        await _make(ground, "types", {"volume_type": {"name": status}}, "admin")
    if given.startswith("qos specs "):
        name = given.removeprefix("qos specs ")
        await _make(ground, "qos-specs", {"qos_specs": {"name": name}}, "admin")
    if "{default_type_id}" in uses:
        found = await _ask(ground, "admin", "GET", "/types/default")
        names["default_type_id"] = found["volume_type"]["id"]
    if any(f"{{{name}}}" in uses for name in ("vol", "snap", "att", "tr", "bk")) or (
        given == "default type in use"
    ):
        names["vol"] = await _made(ground, "volumes", {"size": 1})
    if "{snap}" in uses or kind == "snapshot":
        names["snap"] = await _made(ground, "snapshots", {"volume_id": names["vol"]})
    if "{bk}" in uses:
        names["bk"] = await _made(ground, "backups", {"volume_id": names["vol"]})
    if given in ("reserved", "in use"):
        names["att"] = await _attached(ground, names["vol"], connected=given == "in use")
    if "{tr}" in uses:
        wanted = {"transfer": {"volume_id": names["vol"]}}
        made = await _ask(ground, "member", "POST", "/volume-transfers", wanted)
        names["tr"] = made["transfer"]["id"]
    if given.startswith("metadata "):
        path = f"/volumes/{names['vol']}/metadata"
        await _ask(ground, "member", "POST", path, {"metadata": {status: "1"}})
    await _put(ground, given, names)
    return names


async def _put(ground: Ground, given: str, names: Mapping[str, str]) -> None:
    kind, _, status = given.partition(" ")
    made = {"volume": "vol", "snapshot": "snap", "backup": "bk"}
    if kind in made:
        await ground.put(kind, names[made[kind]], "status", status)
    if given == "attached":
        await ground.put("volume", names["vol"], "attach_status", "attached")
    if given == "migrating":
        await ground.put("volume", names["vol"], "migration_status", "migrating")


async def _use_up(ground: Ground, resource: str) -> None:
    """Lower the limit to what is in use."""
    path = f"/os-quota-sets/{ground.project('member')}"
    usage = (await _ask(ground, "admin", "GET", f"{path}?usage=True"))["quota_set"][resource]
    limit = {resource: usage["in_use"] + usage["reserved"]}
    await _ask(ground, "admin", "PUT", path, {"quota_set": limit})


async def _attached(ground: Ground, volume: str, *, connected: bool) -> str:
    wanted: dict[str, Any] = {"volume_uuid": volume, "instance_uuid": SERVER}
    if connected:
        wanted["connector"] = {"host": "compute1", "mountpoint": "/dev/vdb"}
    made = await _ask(ground, "member", "POST", "/attachments", {"attachment": wanted})
    ident = str(made["attachment"]["id"])
    if connected:
        await _ask(ground, "member", "POST", f"/attachments/{ident}/action", {"os-complete": None})
    return ident


async def _made(ground: Ground, collection: str, wishes: dict[str, Any]) -> str:
    kind = collection.removesuffix("s")
    made = await _ask(ground, "member", "POST", f"/{collection}", {kind: wishes})
    ident = str(made[kind]["id"])
    await ground.settled(kind, ident)
    return ident


async def _make(ground: Ground, collection: str, wanted: dict[str, Any], caller: str) -> None:
    """Make something that may be there already."""
    await _ask(ground, caller, "POST", f"/{collection}", wanted, also=409)


async def _ask(
    ground: Ground, caller: str, method: str, path: str, wanted: Any = None, also: int = 0
) -> Any:
    """A request that has to succeed; its document."""
    headers = {"OpenStack-API-Version": "volume 3.71", "Content-Type": "application/json"}
    body = None if wanted is None else json.dumps(wanted).encode()
    reply = await ground.ask(caller, method, f"/v3{path}", body, headers)
    if reply.status_code >= 300 and reply.status_code != also:
        raise RuntimeError(f"{method} {path}: {reply.status_code} {reply.text[:300]}")
    return reply.json() if reply.text else None
