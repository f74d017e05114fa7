"""Records what a real client sends and gets, as JSON, whatever the client makes of it.

It sits in `requests`, below the clients, so discovery and repeated requests are seen, too. A
session is a list of steps; what is only waited for is not recorded, because how often one has to
ask is no part of an answer.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests

MISSING_ID = "00000000-0000-4000-8000-000000000000"
PATIENCE = 30.0
HEADERS = (
    "content-type",
    "location",
    "openstack-api-version",
    "retry-after",
    "vary",
    "www-authenticate",
    "x-compute-request-id",
    "x-openstack-request-id",
)


class Recorder:
    """The exchanges of one session with the service at `root`."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._step = ""
        self._labels: Counter[str] = Counter()
        self.exchanges: list[dict[str, Any]] = []
        self._send = requests.Session.send
        recorder = self

        def send(session: requests.Session, request: Any, **rest: Any) -> requests.Response:
            reply = recorder._send(session, request, **rest)
            if recorder._step:
                recorder._note(request, reply)
            return reply

        requests.Session.send = send  # type: ignore[method-assign]

    def _note(self, request: requests.PreparedRequest, reply: requests.Response) -> None:
        self.exchanges.append(
            {
                "step": self._step,
                "method": request.method,
                "path": (request.url or "").removeprefix(self._root),
                "version": request.headers.get("OpenStack-API-Version", ""),
                "request": _document(request.body),
                "status": reply.status_code,
                "headers": {name: reply.headers.get(name) for name in HEADERS},
                "body": _document(reply.content),
            }
        )

    @contextlib.contextmanager
    def step(self, label: str) -> Iterator[None]:
        """What happens inside is recorded under this label; a second time as "label (2)"."""
        self._labels[label] += 1
        often = self._labels[label]
        self._step = label if often == 1 else f"{label} ({often})"
        try:
            yield
        finally:
            self._step = ""

    def do(self, label: str, call: Callable[[], Any]) -> Any:
        """One step. A client's own error is an answer, too; what it would have made is Missing."""
        with self.step(label):
            try:
                return call()
            except Exception as error:
                if type(error).__module__.partition(".")[0] in ("cinderclient", "keystoneauth1"):
                    return Missing()
                raise

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.exchanges))


class Nothing(str):
    """The id that nothing has, in whatever way it is used."""

    def __call__(self, *_: object, **__: object) -> Nothing:
        return self


class Missing:
    """What a refused request did not make: each field is Nothing."""

    id = Nothing(MISSING_ID)

    def __getattr__(self, name: str) -> Any:
        return Nothing(MISSING_ID) if not name.startswith("_") else super().__getattribute__(name)

    def __str__(self) -> str:
        return MISSING_ID


def until(look: Callable[[], Any], settled: Callable[[Any], bool]) -> None:
    """Look, unrecorded, until it is settled or gone. Gives up in the end: the record will tell."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if settled(look()):
                return
        except Exception:
            return
        time.sleep(0.1)


def _document(content: bytes | str | None) -> Any:
    """JSON where it is JSON, else the text."""
    if isinstance(content, bytes):
        content = content.decode(errors="replace")
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return f"text: {content}"
