"""How long an agent waits before it asks once more."""

from __future__ import annotations

from breezeblock.compute.pauses import LONGEST, pause_after


def test_pauses_grow_and_stay_short() -> None:
    pauses = [pause_after(attempts) for attempts in range(1, 10_000)]
    assert pauses[:3] == [2.0, 4.0, 8.0]
    assert pauses == sorted(pauses)
    assert max(pauses) == LONGEST <= 10.0
