"""All routes of the compute API: one table for routing, validation, policy and documentation."""

from __future__ import annotations

from breezeblock.compute.api import (
    external_events,
    flavors,
    images,
    limits,
    new_servers,
    server_actions,
    servers,
    volume_attachments,
)
from breezeblock.web.routes import Route

ROUTES: tuple[Route, ...] = (
    *new_servers.ROUTES,
    *servers.ROUTES,
    *server_actions.ROUTES,
    *volume_attachments.ROUTES,
    *flavors.ROUTES,
    *images.ROUTES,
    *limits.ROUTES,
    *external_events.ROUTES,
)
