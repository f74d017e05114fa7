"""Rules of snapshots."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition

from tests.crash.asgi import Reply
from tests.crash.histories import answers
from tests.crash.histories.belief import Belief
from tests.crash.histories.client import TROUBLE, Client, Lost, lost, which
from tests.crash.histories.tally import step
from tests.crash.histories.ways import Snapshot, Volume


class Snapshots(Client):
    """Rules."""

    @precondition(lambda self: self.volumes)
    @step(number=which, lose=lost, key=st.booleans())
    def take_snapshot(self, number: int, lose: bool, key: bool) -> None:
        self.snap(self.volume(number), lose=lose, key=key)

    def snap(self, parent: Belief[Volume], *, lose: bool = False, key: bool = False) -> None:
        name = f"snapshot-{next(self.numbers)}"
        most = max((one.most for one in parent.ways), default=0)
        body = {"snapshot": {"volume_id": parent.ident, "name": name}}
        named = name if key else None
        reply, asked = self.send("POST", "/snapshots", body, key=named)
        if lose or reply is None or reply.status in TROUBLE:
            self.lost.append(Lost("snapshot", name, body, named, most, asked, parent))
            return
        limited = partial(self.over, snapshots=1, gigabytes=most)
        parent.answered(reply.status, self.options(parent, answers.source, limited))
        if reply.status == 202:
            made = reply.json["snapshot"]
            self.add_snapshot(made, name, Snapshot("creating", made["size"], "create"), parent)

    @precondition(lambda self: self.snapshots)
    @step(number=which, lose=lost, force=st.sampled_from([False, False, True]))
    def delete_snapshot(self, number: int, lose: bool, force: bool) -> None:
        force = force and not self.peaceful
        self.meddled |= force
        self.drop(self.snapshot(number), lose=lose, force=force)

    def drop(
        self, about: Belief[Snapshot], *, lose: bool = False, force: bool = False
    ) -> Reply | None:
        path = f"/snapshots/{about.ident}"
        step = partial(answers.drop, force=force)
        if force:
            forced: dict[str, Any] = {"os-force_delete": {}}
            return self.ask(about, step, "POST", f"{path}/action", forced, lose=lose, role="admin")
        return self.ask(about, step, "DELETE", path, lose=lose)

    @precondition(lambda self: self.snapshots)
    @precondition(lambda self: not self.peaceful)
    @step(number=which, status=st.sampled_from(("available", "error", "creating", "deleting")))
    def reset_snapshot(self, number: int, status: str) -> None:
        about = self.snapshot(number)
        self.meddled = True
        self.ask(
            about,
            lambda one: answers.reset_snapshot(one, status),
            "POST",
            f"/snapshots/{about.ident}/action",
            {"os-reset_status": {"status": status}},
            role="admin",
        )
