"""Rules of what goes wrong by itself, at any time, and of time."""

from __future__ import annotations

from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import precondition

from breezeblock.workflows import sweep_backend
from tests.crash.histories.client import Client, do, which
from tests.crash.histories.tally import step

VERBS = (
    "create",
    "delete",
    "extend",
    "snapshot",
    "delete_snapshot",
    "export",
    "unexport",
    "inventory",
    "revert",
    "overwrite",
    "release",
    "release_snapshot",
)
"""What a driver can fail at."""


class Faults(Client):
    """Rules."""

    @precondition(lambda self: not self.peaceful)
    @step(
        name=st.sampled_from(("dies", "sleeps")),
        who=st.sampled_from(("worker", "worker", "api")),
        wait=st.integers(0, 12),
    )
    def freeze(self, name: str, who: str, wait: int) -> None:
        self.cloud.weather.forecast(name, who, wait=wait // 2 if who == "api" else wait)

    @precondition(lambda self: not self.peaceful)
    @step(
        name=st.sampled_from(
            (
                "message: lost",
                "message: doubled",
                "message: broker away",
                "database: away",
                "database: answer lost",
            )
        ),
        wait=st.integers(0, 6),
        times=st.integers(1, 4),
    )
    def disturb(self, name: str, wait: int, times: int) -> None:
        self.cloud.weather.forecast(name, wait=wait, times=times)

    @precondition(lambda self: not self.peaceful)
    @step(
        name=st.sampled_from(
            (
                "driver: not now",
                "driver: refuses",
                "driver: bug",
                "driver: answer lost",
                "driver: acts and breaks",
                "driver: twice",
            )
        ),
        verb=st.sampled_from(VERBS),
        times=st.integers(1, 4),
    )
    def fail(self, name: str, verb: str, times: int) -> None:
        self.cloud.weather.forecast(name, "worker", f".{verb}", times=times)

    @precondition(lambda self: not self.peaceful)
    @precondition(lambda self: len(self.cloud.offline) < 2)
    @step(number=st.integers(0, 1))
    def backend_offline(self, number: int) -> None:
        """It answers nothing and its service does not report."""
        self.cloud.offline.add(self.cloud.backend(number))
        self.cloud.weather.note("backend offline")

    @precondition(lambda self: self.cloud.offline)
    @step()
    def backends_online(self) -> None:
        self.cloud.offline.clear()
        self.cloud.report()

    @precondition(lambda self: self.cloud.weather.asleep)
    @step(number=which)
    def wake_up(self, number: int) -> None:
        sleepers = self.cloud.weather.asleep
        one = sleepers.pop(number % len(sleepers))
        self.run(self.cloud.wake(one))
        for belief in self.resources:
            belief.blurred.discard(one)

    @precondition(lambda self: len(self.cloud.workers) < 3)
    @step()
    def hire(self) -> None:
        self.run(do(self.cloud.hire))

    @step(seconds=st.sampled_from((1, 5, 25, 70, 700, 4000)))
    def time_passes(self, seconds: int) -> None:
        self.run(self.cloud.live(seconds))

    @step(inventory=st.booleans(), number=st.integers(0, 1))
    def sweep(self, inventory: bool, number: int) -> None:
        """What a scheduler does now and then, or a volume service."""
        if inventory:
            backend = self.cloud.backend(number)
            self.cloud.write(partial(sweep_backend.request, backend=backend))
            self.run(self.cloud.look_for_work())
        else:
            self.run(self.cloud.sweep())
