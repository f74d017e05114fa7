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

import msgspec
from prometheus_client.exposition import choose_encoder

from breezeblock.config import Monitoring
from breezeblock.model.idempotency import Answer
from breezeblock.services.figures import Figures
from breezeblock.services.readiness import Readiness
from breezeblock.web.asgi import Pages, Request
from breezeblock.web.connections import Limits
from breezeblock.web.server import HttpServer

CONNECTIONS = 50
"""A few scrapers and probes; whoever asks for more takes no descriptors from the process's work."""

_JSON = {"content-type": "application/json"}

Ask = Callable[[], Awaitable[Readiness]]


def monitoring_server(config: Monitoring, readiness: Ask, figures: Figures) -> HttpServer:
    """The server behind `monitoring.listen`, not yet started. Raises ConfigError."""
    app = Pages({"/live": _live, "/ready": _Ready(readiness), "/metrics": _Metrics(figures)})
    return HttpServer(app, *config.address, limits=Limits(connections=CONNECTIONS))


async def _live(_asked: Request) -> Answer:
    return Answer(200, _JSON, b'{"live":true}')


class _Ready:
    def __init__(self, readiness: Ask) -> None:
        self._readiness = readiness

    async def __call__(self, _asked: Request) -> Answer:
        found = await self._readiness()
        told = {"ready": found.ready, "missing": found.missing, "impaired": found.impaired}
        return Answer(200 if found.ready else 503, _JSON, msgspec.json.encode(told))


class _Metrics:
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    async def __call__(self, asked: Request) -> Answer:
        encode, content_type = choose_encoder(asked.headers.get("accept", ""))
        body = encode(await self._figures.collect())
        return Answer(200, {"content-type": content_type}, body)
