"""Where a process tells machines how it is: `/live`, `/ready` and `/metrics`.

Started before anything else of a process and stopped after it, so that it answers while the
database is still away (live, not ready) and while the process drains (not ready).

- `/live`: 200 as long as the event loop turns. When it does not answer, restart the process.
- `/ready`: 200 when work can be done here now, else 503; the body says which part is `missing`, or
  merely `impaired`, and why (`services/readiness.py`). Not a reason to restart anything.
- `/metrics`: what Prometheus scrapes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import falcon.asgi
import msgspec
from prometheus_client.exposition import choose_encoder

from breezeblock.config import Monitoring
from breezeblock.services.figures import Figures
from breezeblock.services.readiness import Readiness
from breezeblock.web.connections import Limits
from breezeblock.web.server import HttpServer

Request = falcon.asgi.Request
Response = falcon.asgi.Response

CONNECTIONS = 50
"""A few scrapers and probes; whoever asks for more takes no descriptors from the process's work."""

Ask = Callable[[], Awaitable[Readiness]]


def monitoring_server(config: Monitoring, readiness: Ask, figures: Figures) -> HttpServer:
    """The server behind `monitoring.listen`, not yet started. Raises ConfigError."""
    app: falcon.asgi.App[Request, Response] = falcon.asgi.App()
    app.add_route("/live", _Live())
    app.add_route("/ready", _Ready(readiness))
    app.add_route("/metrics", _Metrics(figures))
    return HttpServer(app, *config.address, limits=Limits(connections=CONNECTIONS))


class _Live:
    async def on_get(self, _req: Request, resp: Response) -> None:
        resp.data = b'{"live":true}'
        resp.content_type = "application/json"

    on_head = on_get


class _Ready:
    def __init__(self, readiness: Ask) -> None:
        self._readiness = readiness

    async def on_get(self, _req: Request, resp: Response) -> None:
        found = await self._readiness()
        resp.status = 200 if found.ready else 503
        resp.data = msgspec.json.encode(
            {"ready": found.ready, "missing": found.missing, "impaired": found.impaired}
        )
        resp.content_type = "application/json"

    on_head = on_get


class _Metrics:
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    async def on_get(self, req: Request, resp: Response) -> None:
        encode, content_type = choose_encoder(req.get_header("accept") or "")
        resp.data = encode(await self._figures.collect())
        resp.content_type = content_type

    on_head = on_get
