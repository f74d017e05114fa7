"""Drafts that a process left when it died: removed when nobody can be at work on them any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx2

from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.chap import Chap
from breezeblock.drivers.netapp.exports import Exports
from breezeblock.drivers.netapp.igroups import Igroups
from breezeblock.drivers.netapp.luns import Lun, Luns
from breezeblock.drivers.netapp.making import Making
from tests.unit.drivers.netapp.ontap import client

ID = "0d3bd1a6-6a0f-4b0e-9f3e-3c1a4f8d2b77"


def test_only_drafts_that_are_a_day_old_are_swept() -> None:
    deleted: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":
            deleted.append(request.url.path.rpartition("/")[2])
        return httpx2.Response(200, json={"records": []})

    ontap = client(answer)
    exports = Exports(ontap, Igroups(ontap, "linux"), Chap(ontap, None))
    making = Making(Luns(ontap), exports, "iqn.2026-11.tests:me", "linux")
    now = datetime.now(UTC)
    ages = {"old": timedelta(hours=25), "young": timedelta(hours=23), "ahead": -timedelta(hours=2)}
    drafts = [
        Lun(
            uuid=age,
            path=names.making("pool", ID).path,
            create_time=(now - since).isoformat(timespec="seconds"),
        )
        for age, since in ages.items()
    ]
    unknown = Lun(uuid="unknown", path=names.making("pool", ID).path)
    volume = Lun(
        uuid="volume",
        path=names.volume("pool", ID).path,
        create_time=(now - timedelta(days=400)).isoformat(),
    )
    making.sweep([*drafts, unknown, volume])
    assert deleted == ["old"]
