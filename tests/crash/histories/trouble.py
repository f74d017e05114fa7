"""Calls that a fault is drawn together with, so that it hits their work.

Most of these faults may cost time only: then the work must succeed all the same. After the others
a client knows how it failed, and is told so once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition

from tests.crash.histories import tally
from tests.crash.histories.attachments import Attachments, host_of, server_of
from tests.crash.histories.belief import Belief, Disagreement
from tests.crash.histories.client import do, which
from tests.crash.histories.contents import Contents
from tests.crash.histories.looking import Looking
from tests.crash.histories.tally import step
from tests.crash.histories.ways import FREE, GONE
from tests.crash.histories.weather import BY_NAME, HARMLESS, REFUSALS, Fault
from tests.crash.stage import When


@dataclass(frozen=True)
class Work:
    """A sort of work: the driver's verb, and the statuses of a good and of a bad end."""

    verb: str
    done: tuple[str, ...]
    failed: str


WORKS = {
    "create": Work("create", ("available",), "error"),
    "extend": Work("extend", FREE, "error_extending"),
    "delete": Work("delete", (GONE,), "error_deleting"),
    "snapshot": Work("snapshot", ("available",), "error"),
    "delete snapshot": Work("delete_snapshot", (GONE,), "error_deleting"),
    "create from image": Work("create", ("available",), "error"),
    "revert": Work("revert", ("available",), "error"),
    "reimage": Work("overwrite", ("available",), "error"),
    "upload": Work("readable", ("available",), "available"),
    "unmanage": Work("release", (GONE,), "error_unmanaging"),
}
"""What a client asks for and then looks at."""
USES = {"attach": "export", "connect": "export", "detach": "unexport"}
"""What a client waits for, with the driver's verb."""

BREAKS = (*REFUSALS, "driver: acts and breaks")
"""Flavours after which the work may have failed."""
BLIPS = ("driver: not now", "driver: answer lost", "driver: twice")
AT_ONCE = 10.0
"""Seconds that a client may wait at most when a message was lost, and nothing else."""
STOPS = ("dies", "sleeps")
MORE = ("extend", "delete", "snapshot", "attach", "detach all")
"""What a client asks for while the work before may still be under way."""


@dataclass(frozen=True)
class Moment:
    """Where a worker stops: at the effects of this label (the driver's verb for "") or at any, on
    this side of them, after so many others."""

    label: str | None
    when: When | None
    wait: int = 0


MOMENTS = (
    Moment("", "before"),
    Moment("", "after"),
    Moment("_write", "before"),
    Moment("_write", "before", 1),
    *(Moment(None, None, number) for number in (4, 9, 14)),
)


WAYS = {
    "flavour": st.sampled_from((*BREAKS, *BLIPS, *STOPS, *STOPS)),
    "times": st.sampled_from((1, 1, 2)),
    "moment": st.sampled_from(MOMENTS),
    "then": st.sampled_from(("waits", "waits", "asks for more", "goes on")),
    "more": st.sampled_from(MORE),
}
"""What is in the way of work, and what the client does then."""
ANY_WORK = st.fixed_dictionaries({"name": st.sampled_from(sorted(WORKS)), **WAYS})


def in_trouble(name: str) -> Any:
    """A rule: this work, with something in its way."""

    @precondition(lambda self: not self.peaceful)
    @step(named=f"{name.replace(' ', '_')}_in_trouble", number=which, **WAYS)
    def trouble(self: Trouble, number: int, **way: Any) -> None:
        self.work_in_trouble(name, number, **way)

    return trouble


def used_in_trouble(name: str) -> Any:
    """A rule: a client connects or disconnects a host, and something is in its way."""

    @precondition(lambda self: not self.peaceful)
    @step(
        named=f"{name}_in_trouble",
        number=which,
        flavour=st.sampled_from((*BREAKS, *BLIPS, *STOPS, "message: lost")),
        moment=st.sampled_from(MOMENTS),
        more=st.sampled_from(("", "", *MORE)),
    )
    def trouble(self: Trouble, number: int, flavour: str, moment: Moment, more: str) -> None:
        times = 4 if flavour == "message: lost" else 1
        self.use_volume(name, number, _fault(flavour, USES[name], moment, times), more)

    return trouble


class Trouble(Contents, Attachments, Looking):
    """Rules."""

    create_in_trouble = in_trouble("create")
    extend_in_trouble = in_trouble("extend")
    delete_in_trouble = in_trouble("delete")
    snapshot_in_trouble = in_trouble("snapshot")
    delete_snapshot_in_trouble = in_trouble("delete snapshot")
    create_from_image_in_trouble = in_trouble("create from image")
    revert_in_trouble = in_trouble("revert")
    reimage_in_trouble = in_trouble("reimage")
    upload_in_trouble = in_trouble("upload")
    unmanage_in_trouble = in_trouble("unmanage")
    attach_in_trouble = used_in_trouble("attach")
    connect_in_trouble = used_in_trouble("connect")
    detach_in_trouble = used_in_trouble("detach")

    def work_in_trouble(
        self,
        name: str,
        number: int,
        *,
        flavour: str,
        times: int,
        moment: Moment,
        then: str,
        more: str,
    ) -> None:
        fault = _fault(flavour, WORKS[name].verb, moment, times)
        about = self.work(name, number, fault, waits=then == "waits")
        if about in self.volumes and then == "asks for more":
            self.ask_for_more(about, more)

    def use_volume(self, name: str, number: int, fault: Fault, more: str) -> None:
        about = self.free_volume(number)
        if about is None:
            return
        alone, began = self.alone, self.cloud.clock
        server = number % 3
        if name != "attach":
            self.attach_to(about, server, connected=name == "detach")
        mine = [ident for used, ident in self.uses if used is about]
        with self.cloud.weather.expecting(fault):
            if name == "attach":
                self.attach_to(about, server, connected=True)
            elif mine and name == "connect":
                self.connect_use(about, mine[-1], host_of(server_of(server)))
            elif mine:
                self.leave(about, mine[-1])
        self.note_hit(name, fault)
        if alone and fault.flavour.name in HARMLESS and self.cloud.clock > began + AT_ONCE:
            raise Disagreement(f"{name} took {self.cloud.clock - began:.0f} s after {fault}")
        if more:
            self.ask_for_more(about, more)

    def ask_for_more(self, about: Belief[Any], more: str) -> None:
        """While the work that was in trouble may still be under way."""
        if more == "extend":
            self.extend_volume(about, max(one.most for one in about.ways) + 1)
        elif more == "delete":
            self.delete_volume(about)
        elif more == "snapshot":
            self.snap(about)
        elif more == "attach":
            self.attach_to(about, 1, connected=True)
        else:
            self.look_at(about)
            for ident in [ident for used, ident in self.uses if used is about]:
                self.leave(about, ident)

    # -- how work ends -------------------------------------------------------------------------

    def work(self, name: str, number: int, fault: Fault, *, waits: bool) -> Belief[Any] | None:
        """Ask for work, with this fault in its way, and look at how it ended if there was time."""
        alone = self.alone
        if not self.cloud.workers:
            self.run(do(self.cloud.hire))
        ask = self.prepared(number, name)
        if ask is None:
            return None
        with self.cloud.weather.expecting(fault):
            about = ask()
            if waits:
                if not self.cloud.workers:
                    self.run(do(self.cloud.hire))
                self.run(self.cloud.live(70))
        self.note_hit(name, fault)
        if about is not None and waits and alone:
            self.check_end(about, WORKS[name], fault)
        return about

    def note_hit(self, name: str, fault: Fault) -> None:
        if fault.struck:
            tally.TALLY.hits[f"{name}: {fault.flavour.name}"] += 1
            tally.TALLY.hit += not self.hit
            self.hit = True

    @property
    def alone(self) -> bool:
        """Whether nothing else is in the way."""
        weather = self.cloud.weather
        return not (weather.due or weather.asleep or self.cloud.offline)

    def prepared(self, number: int, name: str) -> Callable[[], Belief[Any] | None] | None:
        """The call, on something that it is certainly accepted for; it tells what to look at."""
        if name == "create":
            return self.creating(
                lambda: self.create_volume({"size": 1}, 1, False, False, shared=False)
            )
        if name == "create from image":
            return self.creating(lambda: self.create_of_image(1))
        if name == "delete snapshot":
            free = [one for one in self.snapshots if self.surely(one, ("available", "error"))]
            snapshot = free[number % len(free)] if free else None
            if snapshot is None:
                return None
            return lambda: self.accepted(snapshot, self.drop(snapshot))
        about = self.free_volume(number)
        if about is None:
            return None
        if name == "snapshot":
            return self.creating(lambda: self.snap(about))
        if name == "extend":
            size = max(one.size for one in about.ways) + 1
            return lambda: self.accepted(about, self.extend_volume(about, size))
        if name == "revert":
            return self.reverting(about)
        begin = {
            "delete": self.delete_volume,
            "upload": self.upload_volume,
            "reimage": self.reimage_volume,
            "unmanage": self.unmanage_volume,
        }[name]
        return lambda: self.accepted(about, begin(about))

    def reverting(self, about: Belief[Any]) -> Callable[[], Belief[Any] | None] | None:
        """To its latest snapshot, a fresh one if it has none."""
        if not self.children(about):
            self.snap(about)
        known = self.youngest(about)
        if not known:
            return None
        self.look_at_snapshot(known[-1])
        return lambda: self.accepted(about, self.revert_to(about, known[-1]))

    def accepted(self, about: Belief[Any], reply: Any) -> Belief[Any] | None:
        return about if reply is not None and reply.status == 202 else None

    def creating(self, ask: Callable[[], None]) -> Callable[[], Belief[Any] | None]:
        def create() -> Belief[Any] | None:
            known = {one.ident for one in self.resources}
            ask()
            return next((one for one in self.resources if one.ident not in known), None)

        return create

    def free_volume(self, number: int) -> Belief[Any] | None:
        """One that is surely available; a fresh one when there is none."""
        free = [one for one in self.volumes if self.surely(one, ("available",))]
        if not free and len(self.volumes) < 8:
            self.create_volume({"size": 1}, 1, False, False, shared=False)
            if self.volumes:
                self.look_at(self.volumes[-1])
            free = [one for one in self.volumes[-1:] if self.surely(one, ("available",))]
        return free[number % len(free)] if free else None

    def surely(self, about: Belief[Any], statuses: tuple[str, ...]) -> bool:
        now = about.present(self.cloud.clock, self.calm)
        return not about.blurred and all(
            one.status in statuses and not one.work and not one.checked for one in now
        )

    def check_end(self, about: Belief[Any], work: Work, fault: Fault) -> None:
        """Nothing else was wrong, so a client knows how it must have ended."""
        kind = "volumes" if about in self.volumes else "snapshots"
        reply, _ = self.send("GET", f"/{kind}/{about.ident}")
        if reply is None:
            return
        status = GONE if reply.status == 404 else reply.json[kind[:-1]]["status"]
        name = fault.flavour.name
        # A creation goes to the next backend when one refuses.
        fails = fault.struck > 0 and name in BREAKS and (work.verb != "create" or fault.struck > 1)
        expected = (work.failed,) if fails else work.done
        if status not in expected:
            raise Disagreement(f"{about} is {status} after {fault}, and should be {expected}")
        told = [] if status == GONE else self.check_told(about, status)
        if len(told) != fails:
            raise Disagreement(f"{about} is {status} after {fault}, and is told {told}")
        if fails and name == "driver: refuses" and "No." not in told[0]["user_message"]:
            raise Disagreement(f"the driver's words are not told: {told}")
        self.look_at(about) if kind == "volumes" else self.look_at_snapshot(about)


def _fault(flavour: str, verb: str, moment: Moment, times: int) -> Fault:
    if flavour in STOPS:
        label = {None: "", "": f".{verb}"}.get(moment.label, moment.label or "")
        return Fault(BY_NAME[flavour], "worker", label, wait=moment.wait, when=moment.when)
    if flavour == "message: lost":
        return Fault(BY_NAME[flavour], "", "", times=times)
    return Fault(BY_NAME[flavour], "worker", f".{verb}", times=times)
