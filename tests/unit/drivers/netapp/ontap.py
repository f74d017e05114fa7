"""An array for unit tests: a function that answers requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from breezeblock.drivers.base import BackendConfig
from breezeblock.drivers.netapp.client import Ontap
from breezeblock.drivers.netapp.options import NetAppOptions

Answer = Callable[[httpx2.Request], httpx2.Response]

OPTIONS = {
    "netapp_server_hostname": "array.example",
    "netapp_login": "admin",
    "netapp_password": "geheim-geheim",
    "netapp_vserver": "svm1",
}


def options(**more: Any) -> NetAppOptions:
    return NetAppOptions.of(BackendConfig("gold", "host-a", Path("/nowhere"), {**OPTIONS, **more}))


def client(answer: Answer, **more: Any) -> Ontap:
    return Ontap(options(**more), httpx2.MockTransport(answer))


def refusal(code: int, status: int = 400, message: str = "no") -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"code": str(code), "message": message}})
