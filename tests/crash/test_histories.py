"""Random histories from fixed seeds: whatever happens, the service is as its clients were told.

Any other seed and any length: python -m tests.crash.histories --seed 11 --examples 200 --steps 60
"""

import pytest

from tests.crash.histories.run import run


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_happens_the_service_is_as_its_clients_were_told(seed: int) -> None:
    figures = run(seed, examples=12, steps=40)
    assert figures.steps >= 250
    assert {answer // 100 for answer in figures.answers} >= {2, 4}, "only one side of the rules"
    assert len(figures.faults) >= 6, "hardly anything went wrong"
    assert figures.hit >= figures.examples / 3, "hardly any work was hit by a fault"
