"""Requests of one client, and what he may conclude from the answer.

An answer below 500 is an answer. Everything else (5xx, refused, cut off, no answer in time) is
`Unknown`: the wish may have been fulfilled, or not, or may be fulfilled a while later.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2

from tests.crash.chaos.tally import Tally

WITHIN = 10.0
"""Seconds that a client waits for one answer."""
HURRIED = 0.06
"""How often a client has no patience at all, and cuts his request off."""
LOOKING = 60.0
"""Seconds for which a client tries to look at something."""
VERSION = "3.71"


class Unknown(Exception):
    """Nobody can say whether it happened."""


class Silent(Exception):
    """The API did not answer a mere question, for long."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any

    @property
    def good(self) -> bool:
        return self.status < 300


class Api:
    """One user's way to one of the two APIs."""

    def __init__(
        self,
        url: str,
        kind: str,
        version: str,
        project: str,
        tally: Tally,
        choice: random.Random,
        *,
        keys: bool,
    ) -> None:
        self._url = url
        self._tally = tally
        self._keys = keys
        self._choice = choice
        headers = {
            "X-Auth-Token": f"user:{project}",
            "OpenStack-API-Version": f"{kind} {version}",
        }
        self._http = httpx2.AsyncClient(timeout=WITHIN, headers=headers)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request. Raises Unknown."""
        try:
            async with asyncio.timeout(self._patience(method)):
                reply = await self._http.request(
                    method, f"{self._url}{path}", json=body, headers=dict(headers or {})
                )
                content = reply.json() if reply.content else None
        except (httpx2.HTTPError, TimeoutError, ValueError) as error:
            self._tally.answers["none"] += 1
            raise Unknown(f"{method} {path}: {type(error).__name__}") from error
        self._tally.answers[str(reply.status_code)] += 1
        if reply.status_code >= 500:
            if reply.status_code not in (503, 504):
                self._tally.wrong(
                    "server-error",
                    path,
                    f"{method} {path} was answered with {reply.status_code}: {reply.text[:300]}",
                )
            raise Unknown(f"{method} {path}: {reply.status_code}")
        return Answer(reply.status_code, content)

    def _patience(self, method: str) -> float:
        if method != "GET" and self._choice.random() < HURRIED:
            self._tally.wishes["cut off"] += 1
            return self._choice.uniform(0.01, 0.4)
        return 2 * WITHIN

    async def create(self, path: str, body: Any) -> Answer:
        """A POST that makes something: at times with a key, then repeated until it is answered.

        Raises Unknown.
        """
        if not self._keys or self._choice.random() < 0.5:
            return await self.ask("POST", path, body)
        self._tally.wishes["keyed POST"] += 1
        headers = {"Idempotency-Key": str(uuid4())}
        deadline = time.monotonic() + LOOKING
        while True:
            try:
                return await self.ask("POST", path, body, headers)
            except Unknown:
                if time.monotonic() > deadline:
                    raise
                self._tally.wishes["keyed POST repeated"] += 1
                await asyncio.sleep(0.3)

    async def look(self, path: str) -> Any:
        """What is there now; None when it is not there. Raises Silent."""
        deadline = time.monotonic() + LOOKING
        while True:
            try:
                answer = await self.ask("GET", path)
                if answer.good:
                    return answer.body
                if answer.status == 404:
                    return None
            except Unknown:
                pass
            if time.monotonic() > deadline:
                raise Silent(path)
            await asyncio.sleep(0.25)
