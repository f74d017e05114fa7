"""Images over HTTP: this service has none but the guest that the operator has configured.

Clients look names up here before they create a server; with the `image` endpoint set to this API
they find the configured kernel by the name `demo`.
"""

from __future__ import annotations

from typing import Any

from breezeblock.compute.api.application import ApiCall
from breezeblock.config import Config
from breezeblock.model.errors import NotFound
from breezeblock.web.routes import Route

NAME = "demo"


def known(config: Config) -> dict[str, str]:
    """Image id → name: the configured kernel, if there is one."""
    return {config.compute.kernel_image: NAME} if config.compute.kernel else {}


def of_server(call: ApiCall, image_ref: str | None) -> dict[str, Any] | str:
    """The image inside a server: "" when it was booted from a volume."""
    if not image_ref:
        return ""
    [_self, bookmark] = call.link("images", image_ref)
    return {"id": image_ref, "links": [bookmark]}


def _view(call: ApiCall, ident: str, name: str) -> dict[str, Any]:
    return {"id": ident, "name": name, "status": "ACTIVE", "links": call.link("images", ident)}


async def list_images(call: ApiCall) -> dict[str, Any]:
    name = call.query.get("name")
    found = known(call.app.config).items()
    return {"images": [_view(call, *image) for image in found if name in (None, image[1])]}


async def show(call: ApiCall) -> dict[str, Any]:
    ident = call.params["image_id"]
    images = known(call.app.config)
    if ident not in images:
        raise NotFound("Image", ident)
    return {"image": _view(call, ident, images[ident])}


_TAGS = ("images",)

ROUTES = (
    Route("GET", "/images", list_images, query=("name",), summary="List images", tags=_TAGS),
    Route("GET", "/images/detail", list_images, query=("name",), summary="As above", tags=_TAGS),
    Route("GET", "/images/{image_id}", show, summary="Show an image", tags=_TAGS),
)
