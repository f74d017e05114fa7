"""The NetApp driver, with each of its requests going wrong in each way: see `array_faults`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.array_faults import ArrayStage
from tests.crash.array_scenes import SCENES, Scene
from tests.ontapsim.house import House


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArrayStage]:
    directory = tmp_path_factory.mktemp("array")
    house = House(directory / "array")
    try:
        yield ArrayStage(house, directory / "state")
    finally:
        house.close()


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_a_request_that_goes_wrong_in_any_way_harms_nothing(
    stage: ArrayStage, scene: Scene
) -> None:
    faults, shown = stage.rehearse(scene)
    assert faults
    for fault in faults:
        stage.play(scene, fault, shown)
