"""Rules of looking: what is shown must be among what may be."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

from hypothesis.stateful import precondition

from breezeblock.model.messages import EXTEND_NOT_SEEN, REIMAGE_NOT_SEEN
from breezeblock.store import operations
from breezeblock.workflows.attach_volume import EXPORT
from tests.crash.histories import ways
from tests.crash.histories.attachments import host_of
from tests.crash.histories.belief import Belief, Disagreement
from tests.crash.histories.client import TROUBLE, Client, Lost, which
from tests.crash.histories.tally import step
from tests.crash.histories.ways import ANY, GONE, UNKNOWN, Snapshot, Use, Volume

PART = re.compile(r"[.!?:](?= |$)")
"""The end of a part of a message: what was to be done: what happened. Why. What would help."""
WORKS_SHOWN = {
    "creating": ("create", "copy", "image"),
    "deleting": ("delete",),
    "downloading": ("image", "reimage", "reimage error"),
    "extending": ("extend",),
    "reverting": ("revert",),
    "unmanaging": ("unmanage",),
    "uploading": ("upload",),
}
"""The work that may be under way on a volume of this status."""
ADVICE = (EXTEND_NOT_SEEN.event_id, REIMAGE_NOT_SEEN.event_id)
"""Tell of what has been done, not of a failure."""


class Looking(Client):
    """Rules."""

    @precondition(lambda self: self.volumes)
    @step(number=which)
    def look(self, number: int) -> None:
        self.look_at(self.volume(number))

    def look_at(self, about: Belief[Volume]) -> None:
        reply, _ = self.send("GET", f"/volumes/{about.ident}")
        listed, _ = self.send("GET", f"/attachments/detail?volume_id={about.ident}")
        if any(one is None or one.status in TROUBLE for one in (reply, listed)):
            return
        ways = about.present(self.cloud.clock, self.calm)
        if reply.status == 404:
            about.shown([one for one in ways if one.status == GONE], "404")
            return
        shown, present = reply.json["volume"], listed.json["attachments"]
        if not present and shown["status"] == "available":
            about.blurred.discard("actions")
        exact = [one for one in ways if _matches(one, shown, present)]
        unclear = [
            one._replace(size=shown["size"])
            for one in ways
            if one.status == ANY and shown["size"] in {one.size, *one.grown}
        ]
        if about.blurred or self.is_connecting(about.ident):
            found = [*exact, *unclear]
        else:
            found = [*exact, *(new for one in unclear for new in _adopted(one, shown, present))]
        what = f"{shown['status']}, {shown['size']} GiB, {[one['status'] for one in present]}"
        about.shown(found, what)
        self.check_told(about, shown["status"])
        self.uses += [(about, one["id"]) for one in present if (about, one["id"]) not in self.uses]

    def check_told(self, about: Belief[Any], status: str) -> list[dict[str, Any]]:
        """The messages about it that are new: each failure is told once, with cause and remedy."""
        reply, _ = self.send("GET", f"/messages?resource_uuid={about.ident}")
        if reply is None or reply.status in TROUBLE:
            return []
        messages = reply.json["messages"]
        fresh = [one for one in messages if one["id"] not in about.told]
        about.told |= {one["id"] for one in messages}
        for one in fresh:
            if self.calm and one["event_id"] not in ADVICE and not status.startswith("error"):
                raise Disagreement(f"nothing has failed, but: {one}")
            if len(PART.findall(one["user_message"])) < 4:
                raise Disagreement(f"a message without cause or remedy: {one}")
        requests = [one["request_id"] for one in messages]
        if len(set(requests)) < len(requests):
            raise Disagreement(f"a failure was told more than once: {messages}")
        parent = self.parents.get(about.ident)
        silent = not messages and not (parent and parent.told)
        if status.startswith("error") and silent and not self.meddled:
            raise Disagreement(f"{about.name} is {status}, and nobody was told why")
        return fresh

    def is_connecting(self, volume_id: str) -> bool:
        """Whether work on one of its exports is under way, which its owner cannot see."""
        open_work = self.cloud.read(lambda tx: operations.open_touching(tx, volume_id))
        return any(one.resource_type == EXPORT for one in open_work)

    @precondition(lambda self: self.snapshots)
    @step(number=which)
    def look_at_a_snapshot(self, number: int) -> None:
        self.look_at_snapshot(self.snapshot(number))

    def look_at_snapshot(self, about: Belief[Snapshot]) -> None:
        reply, _ = self.send("GET", f"/snapshots/{about.ident}")
        if reply is None or reply.status in TROUBLE:
            return
        ways = about.present(self.cloud.clock, self.calm)
        status = GONE if reply.status == 404 else reply.json["snapshot"]["status"]
        found = [one for one in ways if one.status == status]
        for one in ways:
            if one.status == ANY and status != GONE:
                work = {"creating": ("create",), "deleting": ("delete", "cascade")}
                works = {"", one.work, *work.get(status, ())}
                known = [one._replace(status=status, work=it) for it in works]
                found += [one] if about.blurred else known
        about.shown(found, status)
        if status != GONE:
            self.check_told(about, status)

    @precondition(lambda self: self.lost)
    @step(number=which)
    def send_again(self, number: int) -> None:
        """With its key a request that was not answered is made once, however often it is sent."""
        one = self.lost[number % len(self.lost)]
        if one.key is None:
            return
        reply, asked = self.send("POST", f"/{one.kind}s", one.body, key=one.key)
        if reply is None or reply.status in TROUBLE:
            one.asked = asked if asked in self.cloud.weather.asleep else one.asked
        elif reply.status == 202:
            self.found(one, reply.json[one.kind])
        elif reply.status not in (400, 404, 409, 413):
            raise Disagreement(f"{reply.status} for the repeated {one.body}")

    @precondition(lambda self: self.lost)
    @step(number=which)
    def find_lost(self, number: int) -> None:
        self.find(self.lost[number % len(self.lost)])

    def find(self, one: Lost) -> None:
        reply, _ = self.send("GET", f"/{one.kind}s/detail?name={one.name}")
        if reply is None or reply.status in TROUBLE:
            return
        found = reply.json[f"{one.kind}s"]
        if len(found) > 1:
            raise Disagreement(f"{len(found)} are called {one.name}")
        if found:
            self.found(one, found[0])
        elif one.asked not in self.cloud.weather.asleep:
            self.lost.remove(one)

    def found(self, one: Lost, made: dict[str, Any]) -> None:
        self.lost.remove(one)
        ident, size = made["id"], made["size"]
        if one.kind == "volume":
            shared = made.get("multiattach", False)
            held = frozenset({UNKNOWN})
            way = Volume(ANY, size, shared=shared, checked=True, contents=held)
            self.volumes.append(Belief(ident, one.name, frozenset({way}), ways.volume_goes_on))
        else:
            assert one.parent is not None
            gone = Snapshot(GONE, size)
            self.add_snapshot(made, one.name, Snapshot(ANY, size, "", True), one.parent)
            self.snapshots[-1].ways |= {gone}  # with its volume, perhaps


def _matches(one: Volume, shown: dict[str, Any], present: list[dict[str, Any]]) -> bool:
    uses = {(use.id, use.status) for use in one.uses}
    return (one.status, one.size, uses) == (
        shown["status"],
        shown["size"],
        {(use["id"], use["status"]) for use in present},
    )


def _adopted(one: Volume, shown: dict[str, Any], present: list[dict[str, Any]]) -> Iterable[Volume]:
    """What a volume of which little was known may be, now that it was looked at."""
    status, size = shown["status"], shown["size"]
    uses = [
        [
            Use(use["id"], use["instance"], use["status"], host, bool(use["connection_info"]))
            for host in (host_of(use["instance"]), "")
            if host or not use["connection_info"]
        ]
        for use in present
    ]
    for work in ("", *WORKS_SHOWN.get(status, ("hold",))):
        for goal in one.grown if work == "extend" else (0,):
            for chosen in itertools.product(*uses):
                yield one._replace(
                    status=status, size=size, uses=frozenset(chosen), work=work, goal=goal
                )
