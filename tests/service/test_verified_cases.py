"""Requests and the statuses that the reference implementation was measured to answer with.

`verified_cases.tsv` holds them, one a line, for what this service has so far; whoever adds a
resource adds its lines. `given` says what is brought about first:

    volume STATUS, snapshot STATUS   the volume, or a snapshot of it, in this status
    attached, migrating              the volume's attach status, its migration status
    reserved, in use                 by an attachment of server 11111111-…
    volumes|gigabytes quota reached  the project has no more
    metadata KEY                     the volume has this key
    qos specs q1                     QoS specs of this name are there
    NAME VALUE                       (a header's name) is sent with the request
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.service.catalog_fixture import PROJECT
from tests.service.house import House

SERVER = "11111111-1111-1111-1111-111111111111"
HEADERS = ("Content-Type", "If-Match")

with (Path(__file__).parent / "verified_cases.tsv").open(encoding="utf-8") as file:
    CASES = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{number}-{case['case']}" for number, case in enumerate(CASES, 2)]
)
async def test_the_answer_is_the_measured_one(house: House, case: dict[str, str]) -> None:
    caller = house.other if case["caller"] == "other" else house.caller(case["caller"])
    names = await _bring_about(house, case)
    names["p"] = caller.token.split(":")[1]
    headers = {"X-Auth-Token": caller.token, "Content-Type": "application/json"}
    if case["version"] != "-":
        headers["OpenStack-API-Version"] = case["version"]
    header, _, value = case["given"].partition(" ")
    if header in HEADERS:
        headers[header] = value
    content = None if case["body"] == "-" else _filled(case["body"], names)

    reply = await house.client.request(
        case["method"], _filled(case["path"], names), content=content, headers=headers
    )

    assert reply.status_code == int(case["status"]), reply.text
    assert _keys(reply.text) == case["keys"]


def _filled(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _keys(text: str) -> str:
    if not text:
        return "(empty)"
    try:
        return ",".join(sorted(json.loads(text)))
    except ValueError:
        return "(plain text)"


async def _bring_about(house: House, case: dict[str, str]) -> dict[str, str]:
    """What is given, and the ids that the request names."""
    given = case["given"]
    used = " ".join(case.values())
    names: dict[str, str] = {}
    if given.endswith("quota reached"):
        limit = {"volumes": 0} if given.startswith("volumes") else {"gigabytes": 0}
        reply = await house.admin.put(f"/os-quota-sets/{PROJECT}", {"quota_set": limit})
        assert reply.status_code == 200
    if any(name in used for name in ("{vol}", "{snap}", "{att}", "{tr}")):
        names["vol"] = await house.volume()
    if "{snap}" in used or given.startswith("snapshot "):
        names["snap"] = await house.snapshot(names["vol"])
        await house.put_snapshot(names["snap"], status=given.removeprefix("snapshot "))
    if given == "reserved":
        names["att"] = await house.attachment(names["vol"], server=SERVER)
    if given == "in use":
        names["att"] = await house.in_use(names["vol"], server=SERVER)
    if given == "qos specs q1":
        reply = await house.admin.post("/qos-specs", {"qos_specs": {"name": "q1"}})
        assert reply.status_code == 200
    if "{tr}" in used:
        body = {"transfer": {"volume_id": names["vol"]}}
        reply = await house.member.post("/volume-transfers", body)
        names["tr"] = reply.json()["transfer"]["id"]
    if given.startswith("volume "):
        await house.put(names["vol"], status=given.removeprefix("volume "))
    if given == "attached":
        await house.put(names["vol"], attach_status="attached")
    if given == "migrating":
        await house.put(names["vol"], migration_status="migrating")
    if given.startswith("metadata "):
        await house.put(names["vol"], metadata={given.removeprefix("metadata "): "1"})
    return names
