"""Each verified case, asked of Cinder 29 and of Breezeblock.

Cinder's own answers prove the list (and what brings about what is given); Breezeblock's have to be
the same, and 400 where Cinder fails with 500.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import httpx2

from tests.conformance.breezeblock import Breezeblock
from tests.conformance.cases import Case, answer, read_cases
from tests.conformance.cinder import Cinder
from tests.conformance.people import PEOPLE
from tests.conformance.suite import Difference, Result, main

NAME = "verified cases"
PATIENCE = 30.0
TABLES = {"volume": "volumes", "snapshot": "snapshots", "backup": "backups"}
UNLIMITED = dict.fromkeys(("volumes", "gigabytes", "snapshots", "backups", "backup_gigabytes"), -1)


class Remote:
    """A running system as `cases.Ground`."""

    def __init__(self, system: Cinder | Breezeblock, client: httpx2.AsyncClient) -> None:
        self._system = system
        self._client = client

    async def ask(
        self, caller: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> httpx2.Response:
        person = PEOPLE.get(caller)
        who = {"Authorization": person.authorization} if person else {}
        return await self._client.request(
            method, f"{self._system.root}{path}", content=body, headers={**headers, **who}
        )

    def project(self, caller: str) -> str:
        return PEOPLE.get(caller, PEOPLE["member"]).project

    async def settled(self, kind: str, ident: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await self._status(kind, ident)).endswith("ing"):
                await asyncio.sleep(0.05)

    async def _status(self, kind: str, ident: str) -> str:
        reply = await self.ask("member", "GET", f"/v3/{TABLES[kind]}/{ident}", None, {})
        return str(reply.json()[kind]["status"])

    async def put(self, kind: str, ident: str, field: str, value: str) -> None:
        await asyncio.to_thread(self._system.put, TABLES[kind], ident, field, value)

    async def without_limits(self) -> None:
        """Let the next case not meet the last one's limits."""
        path = f"/v3/os-quota-sets/{self.project('member')}"
        body = json.dumps({"quota_set": UNLIMITED}).encode()
        reply = await self.ask("admin", "PUT", path, body, {"Content-Type": "application/json"})
        reply.raise_for_status()


async def ask_all(system: Cinder | Breezeblock, cases: list[Case]) -> list[Difference]:
    """The cases that are answered otherwise."""
    wrong = []
    async with httpx2.AsyncClient(timeout=60) as client:
        ground = Remote(system, client)
        for case in cases:
            await ground.without_limits()
            try:
                came = await answer(ground, case)
            except (RuntimeError, TimeoutError, httpx2.HTTPError) as error:
                came = f"what is given could not be brought about: {error!r}"
            expected = case.wanted if isinstance(system, Breezeblock) else case.measured
            if came != expected:
                wrong.append(Difference(f"{system.name}: {case}", expected, came))
    return wrong


def run() -> Result:
    cases = read_cases()
    served = [case for case in cases if not case.later]
    with Cinder() as cinder:
        wrong = asyncio.run(ask_all(cinder, cases))
    with Breezeblock() as breezeblock:
        wrong += asyncio.run(ask_all(breezeblock, served))
    reasons = sorted({case.later for case in cases if case.later})
    return Result(
        NAME,
        len(cases) + len(served) - len(wrong),
        len(wrong),
        len(cases) - len(served),
        [*wrong, f"skipped for Breezeblock, because it comes later: {', '.join(reasons)}"],
    )


if __name__ == "__main__":
    main(NAME, run)
