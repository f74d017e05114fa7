"""The NetApp driver, with each of its requests going wrong in each way: see `array_faults`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.crash.array_faults import ArrayStage, Fault
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
    for fault in faults if os.environ.get("EVERY_PLACE") else quick(faults):
        stage.play(scene, fault, shown)


def quick(faults: list[Fault]) -> list[Fault]:
    """All that can happen to a request that changes something; of questions every third one."""
    questions = [fault for fault in faults if fault.request.startswith("GET ")]
    left_out = [fault for number, fault in enumerate(questions) if number % 3]
    return [fault for fault in faults if fault not in left_out]
