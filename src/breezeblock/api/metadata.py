"""The user's metadata as a resource of its own, the same for volumes and for snapshots.

`volume_metadata.py` and `snapshot_metadata.py` say what differs, in one `MetadataOf` each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from breezeblock.api.access import Owned, owner_of
from breezeblock.api.application import ApiCall
from breezeblock.api.scope import seen_by
from breezeblock.model.errors import InvalidInput, NotFound
from breezeblock.store.store import ReadTx, WriteTx
from breezeblock.web.call import Reply
from breezeblock.web.faults import Fault
from breezeblock.web.routes import Route


class Described(Owned, Protocol):
    """A resource with metadata."""

    @property
    def id(self) -> str: ...
    @property
    def metadata(self) -> dict[str, str]: ...


@dataclass(frozen=True)
class MetadataOf:
    """Handlers and routes for the metadata of one kind of resource.

    `path` is the resource's with its id in braces, `rule` maps get, create, update and delete to
    policy rules. `get` and `lock` find the row if the project may see it, `check` raises
    InvalidState when it may not be changed now, `save` writes the whole set. `etags_since`: the
    version whose replies and conditions carry ETags; None: no version's.
    """

    path: str
    rule: dict[str, str]
    get: Callable[[ReadTx, str, str | None], Described]
    lock: Callable[[WriteTx, str, str | None], Described]
    check: Callable[[Any], None]
    save: Callable[[WriteTx, str, dict[str, str]], None]
    whole_body: type
    item_body: type
    tags: tuple[str, ...]
    etags_since: tuple[int, int] | None = None

    @property
    def field(self) -> str:
        """The name of the id in the path."""
        return self.path.partition("{")[2].rstrip("}")

    async def show(self, call: ApiCall) -> Reply:
        document = {"metadata": await self._read(call)}
        headers = {"Etag": etag(document)} if self._has_etags(call) else {}
        return Reply(document, headers=headers)

    async def merge(self, call: ApiCall) -> dict[str, Any]:
        given: dict[str, str] = call.body.metadata
        return {"metadata": await self._change(call, "create", lambda old: {**old, **given})}

    async def replace(self, call: ApiCall) -> dict[str, Any]:
        given: dict[str, str] = call.body.metadata
        return {"metadata": await self._change(call, "update", lambda _old: given)}

    async def show_one(self, call: ApiCall) -> dict[str, Any]:
        key = call.params["key"]
        return {"meta": {key: _value(await self._read(call), key)}}

    async def set_one(self, call: ApiCall) -> dict[str, Any]:
        key, given = call.params["key"], call.body.meta
        if list(given) != [key]:
            raise InvalidInput(
                f"meta: it must hold the key of the path, {key[:255]}, and no other."
            )
        await self._change(call, "update", lambda old: {**old, **given})
        return {"meta": given}

    async def delete_one(self, call: ApiCall) -> None:
        def without(old: dict[str, str]) -> dict[str, str]:
            _value(old, call.params["key"])
            return {key: value for key, value in old.items() if key != call.params["key"]}

        await self._change(call, "delete", without)

    async def _read(self, call: ApiCall) -> dict[str, str]:
        ident, project = call.params[self.field], seen_by(call)
        found = await call.app.store.read(lambda tx: self.get(tx, ident, project))
        call.require(self.rule["get"], owner_of(found))
        return found.metadata

    async def _change(
        self, call: ApiCall, what: str, change: Callable[[dict[str, str]], dict[str, str]]
    ) -> dict[str, str]:
        conditional = what == "update" and self._has_etags(call)

        def write(tx: WriteTx) -> dict[str, str]:
            found = self.lock(tx, call.params[self.field], seen_by(call))
            call.require(self.rule[what], owner_of(found))
            self.check(found)
            if conditional:
                _check_condition(call.headers.get("if-match"), found.metadata)
            changed = change(found.metadata)
            self.save(tx, found.id, changed)
            return changed

        return await call.app.store.write(write)

    def _has_etags(self, call: ApiCall) -> bool:
        return self.etags_since is not None and call.at_least(*self.etags_since)

    def routes(self) -> tuple[Route, ...]:
        """The six routes."""
        whole, one = f"{self.path}/metadata", f"{self.path}/metadata/{{key}}"
        tags, body, item = self.tags, self.whole_body, self.item_body
        faults = (412,) if self.etags_since else ()
        return (
            Route("GET", whole, self.show, summary="Show the metadata", tags=tags),
            Route("POST", whole, self.merge, body=body, summary="Add metadata", tags=tags),
            Route(
                "PUT",
                whole,
                self.replace,
                body=body,
                faults=faults,
                summary="Replace the metadata",
                tags=tags,
            ),
            Route("GET", one, self.show_one, summary="Show one key of the metadata", tags=tags),
            Route(
                "PUT",
                one,
                self.set_one,
                body=item,
                faults=faults,
                summary="Set one key",
                tags=tags,
            ),
            Route("DELETE", one, self.delete_one, summary="Remove one key", tags=tags),
        )


def etag(document: dict[str, Any]) -> str:
    """The ETag of a document: the MD5 of its JSON text, without quotes, as the wire has it."""
    return hashlib.md5(msgspec.json.encode(document), usedforsecurity=False).hexdigest()


def _check_condition(condition: str | None, metadata: dict[str, str]) -> None:
    """Raises the 412 of a change that was meant for another state than the present one."""
    if condition is None:
        return
    wanted = {one.strip().removeprefix("W/").strip('"') for one in condition.split(",")}
    if not wanted & {"*", etag({"metadata": metadata})}:
        raise Fault(412, "")


def _value(metadata: dict[str, str], key: str) -> str:
    if key not in metadata:
        raise NotFound("Metadata item", key)
    return metadata[key]
