"""Glance as the image service, by its API v2.

Questions of the API carry the caller's token, so that Glance itself decides what he may see; all
else carries our own identity (`own`), which with Keystone is our service user's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import quote
from uuid import UUID

import httpx2
import msgspec
import structlog

from breezeblock.images.base import Image, ImageService, NewImage
from breezeblock.model.errors import (
    BreezeblockError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    OverQuota,
    Unavailable,
)

log = structlog.get_logger()

TIMEOUT = 60.0
CHUNK = 1 << 20
SAID_ELSEWHERE = frozenset(Image.__struct_fields__) | {
    *("created_at", "updated_at", "tags", "self", "file", "schema", "locations", "direct_url"),
    *("os_hash_algo", "os_hash_value", "os_hidden", "stores"),
}
"""Keys of an image in Glance's words that are no custom properties."""
INTERNAL = "os_glance_"
UNWRITTEN = ("queued", "saving", "importing", "killed")


class FixedToken(httpx2.Auth):
    """Sends one token that the operator has configured."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx2.Request) -> Any:
        request.headers["X-Auth-Token"] = self._token
        yield request


class Glance(ImageService):
    """A client of Glance at `endpoint`, the URL before /v2; `own` is our own identity."""

    checks_tokens: ClassVar[bool] = True

    def __init__(self, endpoint: str, own: httpx2.Auth | None = None) -> None:
        base = endpoint.rstrip("/").removesuffix("/v2")
        self._own = own
        self._http = httpx2.AsyncClient(base_url=f"{base}/v2", timeout=TIMEOUT)

    async def close(self) -> None:
        await self._http.aclose()

    async def find(self, name_or_id: str, *, token: str | None = None) -> Image:
        ident = _uuid(name_or_id)
        if ident is not None:
            reply = await self._ask("GET", _path(ident), token=token)
            if reply.status_code == HTTPStatus.OK:
                return _image(reply)
            self._refuse_unless(reply, ident, HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)
        reply = await self._ask("GET", "/images", token=token, params={"name": _named(name_or_id)})
        self._refuse_unless(reply, name_or_id, HTTPStatus.OK)
        found = [one for one in reply.json()["images"] if one.get("name") == name_or_id]
        if not found:
            raise NotFound("Image", name_or_id)
        if len(found) > 1:
            raise Conflict(f"{len(found)} images have the name {name_or_id}; say which by its id.")
        return _of(found[0])

    async def read(self, image_id: str) -> AsyncIterator[bytes]:
        try:
            async with self._http.stream(
                "GET", f"{_path(image_id)}/file", auth=self._own or httpx2.USE_CLIENT_DEFAULT
            ) as reply:
                if reply.status_code == HTTPStatus.NO_CONTENT:
                    raise NotFound("Image", image_id)
                if reply.status_code != HTTPStatus.OK:
                    await reply.aread()
                    self._refuse_unless(reply, image_id, HTTPStatus.OK)
                async for chunk in reply.aiter_bytes(CHUNK):
                    yield chunk
        except httpx2.HTTPError as error:
            raise _away(error) from error

    async def create(self, image: NewImage, *, token: str | None = None) -> Image:
        reply = await self._ask("POST", "/images", token=token, json=_wanted(image, token))
        if reply.status_code == HTTPStatus.CONFLICT:  # the id is taken: by us, a moment ago
            return await self.find(image.id, token=token)
        self._refuse_unless(reply, image.id, HTTPStatus.CREATED)
        return _image(reply)

    async def write(self, image_id: str, content: AsyncIterator[bytes]) -> None:
        if (await self._status(image_id)) not in UNWRITTEN:
            return
        reply = await self._ask(
            "PUT",
            f"{_path(image_id)}/file",
            content=content,
            headers={"Content-Type": "application/octet-stream"},
        )
        if reply.status_code == HTTPStatus.CONFLICT:
            if (await self._status(image_id)) not in UNWRITTEN:
                return  # somebody else was there first, with the same bytes
            raise Unavailable(f"Image {image_id} is being written by somebody else.")
        self._refuse_unless(reply, image_id, HTTPStatus.NO_CONTENT, HTTPStatus.OK)

    async def discard(self, image_id: str) -> None:
        reply = await self._ask("GET", _path(image_id))
        if reply.status_code == HTTPStatus.NOT_FOUND:
            return
        self._refuse_unless(reply, image_id, HTTPStatus.OK)
        image = _image(reply)
        if image.status not in UNWRITTEN:
            return
        if image.protected:
            patch = [{"op": "replace", "path": "/protected", "value": False}]
            reply = await self._ask(
                "PATCH",
                _path(image_id),
                content=msgspec.json.encode(patch),
                headers={"Content-Type": "application/openstack-images-v2.1-json-patch"},
            )
            self._refuse_unless(reply, image_id, HTTPStatus.OK, HTTPStatus.NOT_FOUND)
        reply = await self._ask("DELETE", _path(image_id))
        self._refuse_unless(reply, image_id, HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND)

    async def _status(self, image_id: str) -> str:
        """Raises NotFound."""
        reply = await self._ask("GET", _path(image_id))
        self._refuse_unless(reply, image_id, HTTPStatus.OK)
        return _image(reply).status

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        **rest: Any,
    ) -> httpx2.Response:
        """One request, as the token's owner or as ourselves. Raises Unavailable."""
        headers = dict(headers or {})
        if token is not None:
            headers["X-Auth-Token"] = token
        try:
            return await self._http.request(
                method, path, headers=headers, auth=self._own if token is None else None, **rest
            )
        except httpx2.HTTPError as error:
            raise _away(error) from error

    def _refuse_unless(self, reply: httpx2.Response, ident: str, *fine: HTTPStatus) -> None:
        """Raise what Glance's answer means, unless its status is one of these."""
        if reply.status_code in fine:
            return
        told = reply.text[:300].strip()
        match reply.status_code:
            case HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
                raise NotFound("Image", ident)
            case HTTPStatus.FORBIDDEN:
                raise Forbidden(f"The image service does not allow it: {_plain(told)}")
            case HTTPStatus.BAD_REQUEST:
                raise InvalidInput(f"The image service refuses: {_plain(told)}")
            case HTTPStatus.CONFLICT:
                raise Conflict(f"The image service refuses: {_plain(told)}")
            case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                raise OverQuota(f"the image service refuses: {_plain(told)}", "ImageLimitExceeded")
        log.error("image service", status=reply.status_code, told=told)
        raise Unavailable(f"The image service answers {reply.status_code}.")


def _away(error: Exception) -> BreezeblockError:
    log.warning("image service away", error=repr(error))
    return Unavailable("The image service does not answer.")


def _uuid(text: str) -> str | None:
    """The id that this is, in the usual form."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _named(name: str) -> str:
    """The filter for a name, which Glance takes for a list of names when it begins with `in:`."""
    return f'in:"{name}"' if name.startswith("in:") else name


def _path(image_id: str) -> str:
    return f"/images/{quote(image_id, safe='')}"


def _image(reply: httpx2.Response) -> Image:
    return _of(reply.json())


def _of(told: dict[str, Any]) -> Image:
    known = {key: value for key, value in told.items() if key in Image.__struct_fields__}
    for key in ("min_disk", "min_ram"):
        known[key] = known.get(key) or 0
    known.pop("properties", None)
    return msgspec.convert(known | {"properties": dict(_properties(told))}, Image)


def _properties(told: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for key, value in told.items():
        if value is None or key in SAID_ELSEWHERE or key.startswith(INTERNAL):
            continue
        yield key, value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _wanted(image: NewImage, token: str | None) -> dict[str, Any]:
    wanted = msgspec.to_builtins(image)
    properties: dict[str, str] = wanted.pop("properties")
    owner = wanted.pop("owner")
    if token is None and owner:  # the caller of his own token is the owner anyway
        wanted["owner"] = owner
    return {**properties, **wanted}


def _plain(text: str) -> str:
    """Glance's errors are pages of HTML: their last sentence."""
    lines = [line.strip() for line in text.replace("<br />", "\n").splitlines()]
    lines = [line for line in lines if line and not line.startswith("<")]
    return lines[-1] if lines else "it gives no reason."
