"""What must be true after each rule and at the end of a history."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from hypothesis.stateful import invariant

from breezeblock.model.errors import CUT_SHORT
from breezeblock.model.invariants import Violation
from breezeblock.model.operation import Operation
from breezeblock.workflows import detach_volume, leftovers
from tests.crash.histories import tally
from tests.crash.histories.belief import Belief, Disagreement
from tests.crash.histories.client import LIMITS
from tests.crash.histories.contents import Contents
from tests.crash.histories.giving import Giving
from tests.crash.histories.looking import Looking
from tests.crash.world import NeverQuiet
from tests.service.catalog_fixture import PROJECT


class Ending(Contents, Giving, Looking):
    """Rules."""

    @invariant()
    def nothing_is_wrong(self) -> None:
        with self.noticing():
            if self.cloud.escaped:
                raise self.cloud.escaped[0]
            self.check(self.inexcusable(self.cloud.violations(quiet=False)))
            self.check(self.inexcusable(self.cloud.findings()))

    def inexcusable(self, found: Iterable[Violation]) -> list[Violation]:
        """Without differences that may be, until a sweep comes: work was late, was cut short or
        broke down half-way."""
        late, acted = self.late(), self.cloud.weather.acted
        late |= {one.resource_id.partition("@")[0] for one in self._operations if _let_be(one)}
        return [one for one in found if not _about(one) & _excuse(one, late, acted)]

    @property
    def _operations(self) -> Iterable[Operation]:
        return self.cloud.facts().operations

    def late(self) -> set[str]:
        """What work was late on, or cut short."""
        cut_short = {
            one.resource_id.partition("@")[0] for one in self._operations if _was_cut_short(one)
        }
        return self.cloud.weather.late | cut_short

    def check(self, wrong: Collection[Any]) -> None:
        if wrong:
            raise AssertionError("\n".join(map(str, wrong)) + "\n" + self.cloud.trails())

    def teardown(self) -> None:
        try:
            if not self.broken:
                self.end()
        finally:
            tally.TALLY.faults.update(self.cloud.weather.struck)
            self.runner.run(self.cloud.close())
            self.runner.close()
            self._ids.stop()

    def end(self) -> None:
        """All faults are over: it becomes quiet, and is as clients were told."""
        for belief in self.resources:
            belief.blurred -= set(self.cloud.weather.asleep)
        try:
            self.run(self.cloud.end())
        except NeverQuiet:
            self.check(self.cloud.violations())  # says which work it is
            raise
        self.check(self.cloud.violations())
        self.check(self.inexcusable(self.cloud.findings()))
        for one in list(self.lost):
            self.find(one)
        for volume in self.volumes:
            self.look_at(volume)
        for snapshot in self.snapshots:
            self.look_at_snapshot(snapshot)
        self.check_list("volume", self.volumes)
        self.check_list("snapshot", self.snapshots)
        self.check_usage()
        self.check_given()
        self.check_contents(self.late() | self.cloud.weather.acted)

    def check_list(self, kind: str, known: Iterable[Belief[Any]]) -> None:
        """There is what the clients know of, and nothing else."""
        reply, _ = self.send("GET", f"/{kind}s")
        names = sorted(one["name"] for one in reply.json[f"{kind}s"])
        expected = sorted(one.name for one in known if not one.may_be_gone)
        if names != expected:
            raise Disagreement(f"the {kind}s are {names}, but should be {expected}")

    def check_usage(self) -> None:
        reply, _ = self.send("GET", f"/os-quota-sets/{PROJECT}?usage=true", role="admin")
        told = {name: reply.json["quota_set"][name]["in_use"] for name in LIMITS}
        there = [
            max(one.size for one in belief.ways)
            for belief in (*self.volumes, *self.snapshots)
            if not belief.may_be_gone
        ]
        expected = {
            "volumes": sum(not one.may_be_gone for one in self.volumes),
            "snapshots": sum(not one.may_be_gone for one in self.snapshots),
            "gigabytes": sum(there),
        }
        if told != expected:
            raise Disagreement(f"the usage is {told}, but should be {expected}")


DIFFERENCES = (
    "attachment-without-export",
    "orphan",
    "missing",
    "size",
    leftovers.LEFTOVER,
    leftovers.RELEASED,
    leftovers.GROWN,
)


def _was_cut_short(one: Operation) -> bool:
    """An administrator has cancelled it, or a sweep ended it in the place of its worker."""
    cancelled = (one.failure or {}).get("code") == CUT_SHORT
    return cancelled or any(entry.get("sweep") for entry in one.trail)


def _let_be(one: Operation) -> bool:
    """An administrator has reset the attachments away, and the backend would not shut the host out:
    it was told, and a sweep tries again."""
    shutting_out = one.workflow == detach_volume.WORKFLOW.name and one.state == "failed"
    return shutting_out and not one.data["attachment_id"]


def _about(one: Violation) -> set[str]:
    """The resource, and the volume of a snapshot, which may go with it."""
    return {one.subject, *([one.item.volume_id] if one.item and one.item.volume_id else ())}


def _excuse(one: Violation, late: set[str], acted: set[str]) -> set[str]:
    """A host that a driver let in without saying so is known all the same from the attachment."""
    if one.rule == "export-without-attachment":
        return late
    return late | acted if one.rule in DIFFERENCES else set()
