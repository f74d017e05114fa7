"""The short chaos run: half a minute of faults on real processes, then everything must be true.

`make chaos SECONDS=… SEED=…` runs the same for longer. It is marked e2e because it needs RabbitMQ,
PostgreSQL and QEMU; when one is missing it fails and says which.
"""

from __future__ import annotations

import itertools

import pytest
from rich.console import Console

from tests.crash.chaos.content import ZEROS, Content, Mark
from tests.crash.chaos.plan import LEASE, SERVICE_KINDS, WEIGHTS, rounds
from tests.crash.chaos.run import Wanted, run

SEED = 7
SECONDS = 30.0
VOLUME = "7e3d6a36-5a63-4f66-9023-952d6f4382ed"


@pytest.mark.e2e
@pytest.mark.timeout(600)
async def test_faults_of_all_kinds_lose_nothing_and_leave_nothing_stuck() -> None:
    result = await run(Wanted(SEED, SECONDS), Console(highlight=False))
    result.save()
    print(result.last_line)
    assert [str(one) for one in result.violations] == []
    assert result.tally.faults.total() > 5
    assert result.tally.bytes_verified > 0


class TestThePlan:
    def test_the_order_of_the_faults_follows_from_the_seed(self) -> None:
        first, again, other = (
            list(itertools.islice(rounds(seed), 50)) for seed in (SEED, SEED, SEED + 1)
        )
        assert first == again
        assert first != other

    def test_every_kind_of_fault_comes_and_two_at_once_hit_different_parts(self) -> None:
        planned = list(itertools.islice(rounds(SEED), 300))
        faults = [fault for one in planned for fault in one.faults]
        assert {fault.kind for fault in faults} == set(WEIGHTS)
        pairs = [one.faults for one in planned if len(one.faults) == 2]
        assert pairs
        for first, second in pairs:
            assert first.victim != second.victim or {first.kind, second.kind} <= {*SERVICE_KINDS}

    def test_freezing_lasts_longer_than_a_lease(self) -> None:
        planned = itertools.islice(rounds(SEED), 300)
        frozen = [fault for one in planned for fault in one.faults if fault.kind == "freeze"]
        assert min(fault.lasts for fault in frozen) > LEASE


class TestWhatAVolumeMustHold:
    def test_a_write_that_was_kept_must_be_there(self) -> None:
        content, mark = Content(), Mark.next(VOLUME, 3)
        content.attempt(3, mark)
        content.keep(3, mark)
        assert content.problem(3, mark.block) is None
        assert "zeros" in (content.problem(3, ZEROS) or "")

    def test_a_write_without_an_answer_may_be_there_or_not_also_in_part(self) -> None:
        content, mark = Content(), Mark.next(VOLUME, 3)
        content.attempt(3, mark)
        half = mark.block[: len(ZEROS) // 2] + ZEROS[len(ZEROS) // 2 :]
        assert [content.problem(3, block) for block in (mark.block, ZEROS, half)] == [None] * 3
        other = Mark.next(VOLUME, 3)
        assert str(other) in (content.problem(3, other.block) or "")

    def test_a_snapshot_holds_what_was_kept_before_and_may_hold_what_came_meanwhile(self) -> None:
        content = Content()
        before, meanwhile, after = (Mark.next(VOLUME, 3) for _ in range(3))
        content.attempt(3, before)
        content.keep(3, before)
        snapshot = content.begin_copy()
        content.attempt(3, meanwhile)
        content.keep(3, meanwhile)
        content.end_copy(snapshot)
        content.attempt(3, after)
        content.keep(3, after)
        assert content.problem(3, before.block) is not None
        assert snapshot.problem(3, before.block) is None
        assert snapshot.problem(3, meanwhile.block) is None
        assert snapshot.problem(3, after.block) is not None
        assert snapshot.problem(3, ZEROS) is not None

    def test_a_block_of_another_volume_or_place_is_seen(self) -> None:
        content = Content()
        mark, elsewhere = Mark.next(VOLUME, 3), Mark.next(VOLUME, 4)
        content.attempt(3, mark)
        content.keep(3, mark)
        assert "slot 4" in (content.problem(3, elsewhere.block) or "")
