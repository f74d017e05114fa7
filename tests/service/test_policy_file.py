"""An operator's policy.yaml, over HTTP: what it loosens and tightens, also while the API runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from breezeblock.auth.policy import Policy
from tests.service.house import House, open_house

RULES = """
"our_operators": "role:operator or rule:admin_api"
"volume:create": "rule:xena_system_admin_or_project_reader"
"volume:delete": "rule:our_operators"
"scheduler_extension:scheduler_stats:get_pools": "rule:our_operators"
"context_is_admin": "role:admin or role:overseer"
"volume_extension:types_manage": "role:typist"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture
async def house(tmp_path: Path, file: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, policy=Policy(file, look_every=0.0)) as opened:
        yield opened


def say(file: Path, text: str) -> None:
    """As an editor that writes the file anew."""
    file.write_text(text)


async def create(house: House, role: str) -> int:
    reply = await house.caller(role).post("/volumes", {"volume": {"size": 1}})
    return reply.status_code


async def test_a_loosened_rule(house: House) -> None:
    assert await create(house, "reader") == 202


async def test_a_tightened_rule(house: House) -> None:
    volume = await house.volume()
    refused = await house.member.delete(f"/volumes/{volume}")
    assert (refused.status_code, "volume:delete" in refused.text) == (403, True)
    assert (await house.caller("operator").delete(f"/volumes/{volume}")).status_code == 202


async def test_a_role_of_the_operators_own(house: House) -> None:
    pools = "/scheduler-stats/get_pools"
    assert (await house.caller("operator").get(pools)).status_code == 200
    assert (await house.member.get(pools)).status_code == 403


async def test_an_older_name(house: House) -> None:
    body = {"volume_type": {"name": "gold"}}
    assert (await house.caller("typist").post("/types", body)).status_code == 200


async def test_whom_the_operator_makes_an_administrator_sees_all_projects(house: House) -> None:
    volume = await house.volume(caller=house.other)
    overseer = house.caller("overseer")
    assert volume in (await overseer.get("/volumes?all_tenants=1")).text
    assert (await house.caller("operator").get(f"/volumes/{volume}")).status_code == 404


async def test_the_file_is_read_again_and_a_broken_one_is_not(house: House, file: Path) -> None:
    assert await create(house, "reader") == 202
    say(file, '"volume:create": "role:creator"\n')
    assert (await create(house, "reader"), await create(house, "creator")) == (403, 202)
    say(file, '"volume:create": [\n')
    assert (await create(house, "reader"), await create(house, "creator")) == (403, 202)
