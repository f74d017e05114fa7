"""The verified cases in process: requests and the answers that the reference was measured to give.

`tests/conformance/verified_cases.tsv` holds them, one a line; whoever adds a resource makes its
lines count by emptying their column `later`. `tests/conformance/verified.py` asks the same over
HTTP, of the reference, too.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx2
import pytest

from tests.conformance.cases import Case, answer, read_cases
from tests.service.house import House

CASES = [case for case in read_cases() if not case.later]


class Ground:
    """The house as `cases.Ground`."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def ask(
        self, caller: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> httpx2.Response:
        who = {} if caller == "anonymous" else {"X-Auth-Token": self._token(caller)}
        return await self._house.client.request(
            method, path, content=body, headers={**headers, **who}
        )

    def project(self, caller: str) -> str:
        return self._token(caller).split(":")[1]

    def _token(self, caller: str) -> str:
        return (self._house.other if caller == "other" else self._house.caller(caller)).token

    async def settled(self, kind: str, ident: str) -> None:
        await self._house.quiet()

    async def put(self, kind: str, ident: str, field: str, value: str) -> None:
        put = self._house.put if kind == "volume" else self._house.put_snapshot
        await put(ident, **{field: value})


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{number}-{case.case}" for number, case in enumerate(CASES, 1)]
)
async def test_the_answer_is_the_measured_one(house: House, case: Case) -> None:
    assert await answer(Ground(house), case) == case.wanted
