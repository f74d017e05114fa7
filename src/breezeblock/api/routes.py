"""The route table of the block storage API: all that the resource files declare."""

from __future__ import annotations

import importlib
import pkgutil

from breezeblock import api
from breezeblock.web.routes import Route

ROUTES: tuple[Route, ...] = tuple(
    route
    for module in pkgutil.iter_modules(api.__path__)
    if module.name != "routes"
    for route in getattr(importlib.import_module(f"breezeblock.api.{module.name}"), "ROUTES", ())
)
