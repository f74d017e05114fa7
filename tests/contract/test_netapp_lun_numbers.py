"""Under which numbers hosts find LUNs: always a free one, and rather not the one of just now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from breezeblock.drivers.netapp import igroups
from tests.contract.rest_only import Sim, a_volume, rest_only

CONNECTOR = {"host": "rack1", "initiator": "iqn.2026-11.test:rack1"}


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Sim]:
    with rest_only(tmp_path) as sim:
        yield sim


def _exported(sim: Sim, count: int) -> list[int]:
    driver, numbers = sim.driver(), []
    for _ in range(count):
        volume = a_volume()
        driver.create(volume, None)
        numbers.append(driver.export(volume, CONNECTOR).data["target_lun"])
    return numbers


def test_one_host_gets_many_volumes_at_the_same_moment(
    sim: Sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(igroups.time, "time", lambda: 1_800_000_000.0)
    assert len(set(_exported(sim, 12))) == 12


def test_the_last_number_that_is_free_is_found(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(igroups, "HIGHEST_NUMBER", 10)
    assert sorted(_exported(sim, 10)) == list(range(1, 11))
    assert _exported(sim, 1) == [11]
